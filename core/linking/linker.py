from __future__ import annotations

import logging
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout

from ..errors import ConflictError, LibrarianError, NotFoundError, PlanChangedError, StorageError
from ..jobs import JobContext
from ..library import Library
from ..settings import App
from ..storage.atomic import free_name, fsync_directory, make_directories, rename_new
from ..storage.disk import same_filesystem, storage_error
from ..storage.roots import is_within, real_path
from ..storage.trash import to_trash
from .links import fingerprint, leads_to, make_link, remove_link, same_name, state_of
from .planner import Planner, can_be_made
from .records import NO_APP, Conflict, Link, LinkChoice, LinkType, Plan, PlannedLink, Resolution, SyncResult
from .registry import NewLink, Registry

logger = logging.getLogger(__name__)

KEPT_PLANS = 20
BATCH = 500
RECOVERY_TIMEOUT_S = 10.0


class _Prepared(NamedTuple):
    """A plan and what lay at each of its places when it was made."""

    plan: Plan
    seen: dict[str, tuple[int, ...] | None]


class Linker:
    """Makes and removes links, always through the registry; what others put into a folder stays theirs."""

    def __init__(self, registry: Registry, library: Library, apps: Sequence[App]) -> None:
        self.registry = registry
        self._library = library
        self._planner = Planner(library)
        self._apps = {app.app: app for app in apps}
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def apps(self) -> list[App]:
        """The apps that are there now."""
        return list(self._apps.values())

    def app(self, name: str) -> App:
        """An app by its id. Raises `NotFoundError`."""
        try:
            return self._apps[name]
        except KeyError:
            known = ", ".join(sorted(self._apps)) or "none"
            raise NotFoundError(f"There is no app {name!r}. Known apps: {known}.") from None

    def recover(self) -> None:
        """Register the links that a crash left on disk without an entry, and undo what it cut in two."""
        try:
            with self.registry.changing(timeout=RECOVERY_TIMEOUT_S):
                intents = list(self.registry.intents())
                for intent in intents:
                    _put_back(intent)
                    _drop_temporary(intent)
                self.registry.register(
                    [(intent, kind, ext) for intent in intents for kind, ext in _standing(intent)], intents
                )
        except Timeout:
            logger.info("another process is linking; what was cut off is mended at the next start")

    def links(
        self, *, model_ids: Sequence[str] | None = None, app: str | None = None, state: str | None = None
    ) -> list[Link]:
        """Registered links with their state on disk."""
        links = self.registry.links(model_ids=model_ids, app=app)
        for link in links:
            link.state = state_of(Path(link.target), Path(link.source), link.link_type)
        return [link for link in links if state in (None, link.state)]

    def preview(self, *, app: str | None = None, model_ids: list[str] | None = None) -> Plan:
        """What a sync would do for one app or all, for all models or some. Changes nothing.

        Raises `NotFoundError` for an unknown app or model.
        """
        apps = [self.app(app)] if app is not None else self.apps
        plan = self._planner.plan(apps, self.registry.links(), model_ids)
        places = [p.target for p in (*plan.to_create, *plan.conflicts)]
        places += [removal.target for removal in (*plan.broken_to_remove, *plan.orphaned_to_remove)]
        with self._lock:
            self._prepared[plan.plan_id] = _Prepared(
                plan, {target: fingerprint(Path(target)) for target in places}
            )
            while len(self._prepared) > KEPT_PLANS:
                self._prepared.popitem(last=False)
        return plan

    def apply(self, choice: LinkChoice, job: JobContext) -> SyncResult:
        """Carry out a plan that was previewed.

        Raises `NotFoundError` for a plan that is not known (any more), `PlanChangedError` before anything
        is changed if the folders are not as they were.
        """
        with self._lock:
            prepared = self._prepared.pop(choice.plan_id, None)
        if prepared is None:
            raise NotFoundError("This plan is not known any more. Preview again.")
        with self.registry.changing():
            for target, seen in prepared.seen.items():
                if fingerprint(Path(target)) != seen:
                    raise PlanChangedError(f"{target} has changed since the preview. Preview again.")
            return self._carry_out(prepared, choice, job)

    def _carry_out(self, prepared: _Prepared, choice: LinkChoice, job: JobContext) -> SyncResult:
        plan = prepared.plan
        result = SyncResult(skipped=len(plan.to_skip_exists))
        removals = [*plan.broken_to_remove, *plan.orphaned_to_remove]
        job.stage("links", total=plan.total_actions + len(plan.conflicts), unit="links")
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            job.advance(done)
            job.check_cancelled()

        by_id = {link.link_id: link for link in self.registry.links()}
        self._unlink([by_id[r.link_id] for r in removals if r.link_id in by_id], result)
        advance(len(removals))
        for start in range(0, len(plan.to_create), BATCH):
            batch = plan.to_create[start : start + BATCH]
            self._create([self._new_link(planned) for planned in batch], result)
            advance(len(batch))
        for conflict in plan.conflicts:
            resolution = choice.resolutions.get(conflict.target, choice.default_resolution)
            self._resolve(conflict, resolution, prepared.seen[conflict.target], result)
            advance(1)
        return result

    def replace_with_link(
        self,
        *,
        model_id: str,
        app: str | None,
        target: Path,
        source: Path,
        file_hash: str | None,
        seen: tuple[int, ...],
    ) -> Link:
        """Put a link to ``source`` in the place of a real file with the same bytes.

        The caller has compared the bytes and gives the `fingerprint` that the file had when it did. The link
        is made beside and renamed over the file, so that the name means the whole bytes at every instant; a
        kill leaves the one or the other, and the next `recover` registers what stands. Where the link stands
        already it is only registered. Without an ``app`` it is the one in whose folders the place lies, or
        none. The link is pinned.

        Raises `ConflictError` if the file is not the one that was seen, `NotFoundError` if the source is not
        there, `StorageError`; the file is then untouched.
        """
        with self.registry.changing():
            name = app if app is not None else self._app_around(target)
            beside = target.with_name(f".{uuid.uuid4().hex}.link")
            link = NewLink(
                model_id, name, target, source, file_hash, aside=None, temporary=beside, pinned=True
            )
            self._replace(link, seen)
            registered = self.registry.link_at(name, target)
        assert registered is not None
        return registered

    def _replace(self, link: NewLink, seen: tuple[int, ...]) -> None:
        made: list[tuple[NewLink, LinkType, bool]] = []
        self.registry.intend([link])
        try:
            if not link.source.is_file():
                raise NotFoundError(f"{link.source} is not there, so nothing can lead to it.")
            external = not same_filesystem(link.source, link.target.parent)
            if link.target.is_symlink() and leads_to(link.target, link.source):
                kind: LinkType = "symlink"
            else:
                kind = _renamed_over(link, seen)
            made.append((link, kind, external))
        except OSError as error:
            raise storage_error(error, link.target) from error
        finally:
            _drop_temporary(link)
            self.registry.register(made, [link])

    def _app_around(self, target: Path) -> str:
        """The app in one of whose folders a place lies."""
        folder = real_path(target.parent)
        around = (a.app for a in self.apps if any(is_within(folder, real_path(f.path)) for f in a.folders))
        return next(around, NO_APP)

    def unlink_models(self, model_ids: Sequence[str]) -> tuple[int, list[str]]:
        """Remove every link of some models.

        Answers how many went, and the places that could not be reached and stay registered. Raises
        `StorageError` if a link cannot be removed.
        """
        result = SyncResult()
        with self.registry.changing():
            self._unlink(self.registry.links(model_ids=model_ids), result)
        if result.errors:
            raise StorageError(result.errors[0])
        return result.links_removed, result.unreachable

    def uninstall(self, app: str) -> SyncResult:
        """Remove all links of one app and nothing else. Raises `NotFoundError` for an unknown app."""
        result = SyncResult()
        with self.registry.changing():
            links = self.registry.links(app=app)
            if not links:
                self.app(app)
            self._unlink(links, result)
        return result

    def _new_link(self, planned: PlannedLink, aside: Path | None = None) -> NewLink:
        file_hash = self._hash(planned.model_id, planned.source)
        return NewLink(
            planned.model_id, planned.app, Path(planned.target), Path(planned.source), file_hash, aside
        )

    def _create(self, links: list[NewLink], result: SyncResult) -> int:
        """Make links; answers how many. What fails is told in ``result`` and is as it was before."""
        self.registry.intend(links)
        made: list[tuple[NewLink, LinkType, bool]] = []
        for link in links:
            try:
                kind = self._make(link)
                made.append((link, kind, not same_filesystem(link.source, link.target.parent)))
            except FileExistsError:
                if leads_to(link.target, link.source):  # two apps that share a folder
                    result.skipped += 1
                else:
                    result.errors.append(
                        f"{link.target} appeared meanwhile and was left as it is. Preview again."
                    )
            except LibrarianError as error:
                result.errors.append(error.message)
            except OSError as error:
                result.errors.append(storage_error(error, link.target).message)
        self.registry.register(made, links)
        result.links_created += len(made)
        return len(made)

    def _make(self, link: NewLink) -> LinkType:
        self._make_folder(link)
        if link.aside is None:
            return make_link(link.source, link.target)
        rename_new(link.target, link.aside)
        try:
            return make_link(link.source, link.target)
        except BaseException:
            rename_new(link.aside, link.target)
            raise

    def _make_folder(self, link: NewLink) -> None:
        """The app's folder where that may be made, and in it the one for a name that two models share."""
        folder = link.target.parent
        if folder.is_dir():
            return
        app = self.app(link.app)
        known = next((f.path for f in app.folders if f.path == folder or f.path in folder.parents), None)
        if known is None or not can_be_made(known, app.root):
            raise StorageError(f"{folder} is not there. Connect its drive, or make the folder.")
        make_directories(known)
        if folder != known:
            self.registry.own_folder(folder)
            make_directories(folder)

    def _unlink(self, links: Iterable[Link], result: SyncResult) -> None:
        gone: list[int] = []
        for link in links:
            target = Path(link.target)
            if not self._is_reachable(link):
                result.unreachable.append(link.target)
                continue
            try:
                if remove_link(target, Path(link.source), link.link_type):
                    result.links_removed += 1
                elif os.path.lexists(target):
                    logger.info("%s is not the link that was made there and was left as it is", target)
                gone.append(link.link_id)
                self._remove_own_folder(target.parent)
            except OSError as error:
                result.errors.append(storage_error(error, target).message)
        self.registry.remove(gone)

    def _is_reachable(self, link: Link) -> bool:
        """Whether the link's place can be looked at; a drive that is not there says nothing of its links."""
        target, root = Path(link.target), self.registry.root_of(link.app)
        if target.parent.is_dir():
            return True
        return root is not None and root.is_dir() and is_within(target, root)

    def _remove_own_folder(self, folder: Path) -> None:
        """Remove a folder that was made for links, if it is empty; one of the person's stays."""
        if self.registry.owns_folder(folder):
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            self.registry.disown_folder(folder)

    def _resolve(
        self, conflict: Conflict, resolution: Resolution, seen: tuple[int, ...] | None, result: SyncResult
    ) -> None:
        """Put a link where something else is, which goes aside or to the trash only once the link stands."""
        target = Path(conflict.target)
        if resolution == "skip":
            result.skipped += 1
            return
        aside = free_name(target, ".old")
        if fingerprint(target) != seen or real_path(target) == real_path(Path(conflict.source)):
            result.errors.append(
                f"{target} has changed since the preview and was left as it is. Preview again."
            )
            return
        if not self._create([self._new_link(conflict, aside)], result):
            return
        result.conflicts_resolved += 1
        if resolution == "rename":
            return
        try:
            if fingerprint(aside) != seen:
                result.errors.append(f"{target} changed meanwhile. What was there is kept as {aside}.")
            elif aside.is_symlink():
                aside.unlink()
            else:
                size = aside.stat().st_size
                to_trash(aside)
                result.bytes_freed += size
        except LibrarianError as error:
            result.errors.append(error.message)
        except OSError as error:
            result.errors.append(storage_error(error, aside).message)

    def _hash(self, model_id: str, source: str) -> str | None:
        return next((file.sha256 for file in self._library.files(model_id) if file.path == source), None)


def _standing(intent: NewLink) -> list[tuple[LinkType, bool]]:
    """The link that an intent left on disk, as its kind and whether it is external; or nothing."""
    if not os.path.lexists(intent.target) or not leads_to(intent.target, intent.source):
        return []
    kind: LinkType = "symlink" if intent.target.is_symlink() else "hardlink"
    return [(kind, not same_filesystem(intent.source, intent.target.parent))]


def _renamed_over(link: NewLink, seen: tuple[int, ...]) -> LinkType:
    """Make a link under its temporary name and let it take the place of the file that was seen."""
    assert link.temporary is not None
    if same_name(link.target, link.source):
        raise ConflictError(f"{link.target} is the model's own file, and no copy of it.")
    kind = make_link(link.source, link.temporary)
    if fingerprint(link.target) != seen:
        raise ConflictError(
            f"{link.target} is not the file that was compared any more. It was left as it is."
        )
    # Renaming one name of a file over another does nothing: then the place is a hard link already.
    link.temporary.replace(link.target)
    fsync_directory(link.target.parent)
    return kind


def _drop_temporary(intent: NewLink) -> None:
    """Remove the link that waited to take a file's place."""
    if intent.temporary is None or not leads_to(intent.temporary, intent.source):
        return
    try:
        intent.temporary.unlink()
    except OSError as error:
        logger.warning("%s is left over: %s", intent.temporary, error)


def _put_back(intent: NewLink) -> None:
    """Return what had to make room for a link that was never made."""
    if intent.aside is None or not os.path.lexists(intent.aside):
        return
    try:
        if not os.path.lexists(intent.target):
            rename_new(intent.aside, intent.target)
        elif os.path.samestat(intent.aside.lstat(), intent.target.lstat()):
            intent.aside.unlink()  # cut off between getting the second name and losing the first
    except OSError as error:
        logger.warning("%s is kept as %s: %s", intent.target, intent.aside, error)
