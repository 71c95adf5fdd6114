from __future__ import annotations

import filecmp
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import InvalidRequestError, LibrarianError, NotFoundError, PlanChangedError, StorageError
from ..jobs import JobContext
from ..library import Library
from ..settings import App, TargetFolder
from ..storage.atomic import free_name
from ..storage.disk import storage_error
from ..storage.names import is_text, shown
from ..storage.roots import is_same_folder, is_within, real_path
from ..storage.trash import to_trash
from ..turns import in_turns
from .apps import AddedApp, AddedApps, KnownAppError, described, kind_of, models_folder_of, program_folder
from .health import Health
from .links import Glance, fingerprint
from .maker import Maker
from .mappings import Mappings
from .planner import Fingerprint, Planner, Prepared, can_be_made
from .rebuilding import rebuild
from .records import (
    NO_APP,
    Conflict,
    HealthReport,
    Link,
    LinkChoice,
    NewApp,
    Plan,
    PlannedLink,
    Resolution,
    SyncResult,
)
from .registered import RegisteredFolders
from .registry import NewLink, Registry
from .relocation import Relocation

logger = logging.getLogger(__name__)

KEPT_PLANS = 20
BATCH = 500


class Linker:
    """Makes and removes links, always through the registry; what others put into a folder stays theirs."""

    def __init__(
        self,
        registry: Registry,
        library: Library,
        apps: Sequence[App],
        mappings: Mappings,
        added: AddedApps,
        folders: RegisteredFolders,
    ) -> None:
        self.registry = registry
        self.mappings = mappings
        self.maker = Maker(registry)
        self._library = library
        self._planner = Planner(library, registry, mappings, folders)
        self._apps = {app.app: app for app in apps}
        self._added = added
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._lock = threading.Lock()
        self.folders = folders
        self.health = Health(registry, library, self.maker, lambda: self.apps, added)
        self.relocation = Relocation(registry, library, self.maker, added)
        for app in self.apps:
            registry.settle(app)

    # Apps

    @property
    def apps(self) -> list[App]:
        """The apps of this process, and those that a person added."""
        known = dict(self._apps)
        try:
            added = self._added.all()
        except OSError as error:
            logger.warning("the added apps cannot be read: %s", error)
            added = []
        roots = {app.root for app in known.values()}
        known.update({app.app: app for app in added if app.app not in known and app.root not in roots})
        return list(known.values())

    def app(self, name: str) -> App:
        """An app by its id. Raises `NotFoundError`."""
        apps = {app.app: app for app in self.apps}
        try:
            return apps[name]
        except KeyError:
            known = ", ".join(sorted(apps)) or "none"
            raise NotFoundError(f"There is no app {name!r}. Known apps: {known}.") from None

    def add_app(self, new: NewApp) -> App:
        """Add an app by its root; its kind is told by what lies there.

        One that was added before takes another kind, name or variant. Raises `KnownAppError` if it is known and
        nothing new is said of it, `NotFoundError` if there is no such folder, `InvalidRequestError`, `StorageError`.
        """
        root = self._possible_root(new.root)
        known = self._known_at(root)
        if known is not None and (not known.added or not _says_more(new, known)):
            raise KnownAppError(f"{root} is the app «{known.name}», which Librarian knows already.")
        name = new.name or (known.name if known else root.name) or str(root)
        kind = new.kind or kind_of(root)
        key = known.app if known else (root.name.casefold().replace(" ", "-") or kind)
        variant = known.variant if known and "variant" not in new.model_fields_set else new.variant
        added = AddedApp(app=key.lstrip("._-") or kind, name=name, kind=kind, root=root, variant=variant)
        settled = self.registry.settle(described(added, self.mappings))
        try:
            self._added.add(added.model_copy(update={"app": settled.app}))
        except OSError as error:
            raise storage_error(error, root) from error
        return settled

    def _known_at(self, root: Path) -> App | None:
        """The app whose root this is, however it is spelled. Raises `KnownAppError` for a folder inside of one."""
        apps = self.apps
        for app in apps:
            if is_same_folder(app.root, root):
                return app
        for app in apps:
            models = models_folder_of(app.root)
            folders = [folder.path for folder in app.folders] + ([models] if models != app.root else [])
            if any(is_within(root, real_path(folder)) or is_same_folder(folder, root) for folder in folders):
                raise KnownAppError(
                    f"{root} belongs to the app «{app.name}», which looks for models in it. Give the folder that "
                    "another app lies in."
                )
        return None

    def _possible_root(self, given: Path) -> Path:
        text = str(given)
        wrong = InvalidRequestError(
            f"{shown(text)} cannot be an app. Give the full path of the app's folder."
        )
        if "\0" in text or not is_text(text) or not given.is_absolute():
            raise wrong
        try:
            root = real_path(program_folder(given))
            is_folder = root.is_dir()
        except OSError as error:  # such as a name that is too long
            raise wrong from error
        if not is_folder:
            raise NotFoundError(f"{given} is not a folder. Give the folder that the app lies in.")
        if root == root.parent:
            raise wrong
        if is_within(root, self._library.root) or is_same_folder(root, self._library.root):
            raise InvalidRequestError(
                f"{root} lies in the library, whose models would be linked to themselves. Give the folder that the "
                "app lies in."
            )
        return root

    def remove_app(self, name: str) -> SyncResult:
        """Remove all links of an app and nothing else; one that was added is then forgotten.

        It stays known as long as links of it cannot be reached. Raises `NotFoundError`.
        """
        result = self.uninstall(name)
        if not result.unreachable and not result.errors and name not in self._apps:
            self.registry.forget_app(name)
            try:
                self._added.remove(name)
            except OSError as error:
                raise storage_error(error, self._library.root) from error
        return result

    # Looking

    def links(
        self, *, model_ids: Sequence[str] | None = None, app: str | None = None, state: str | None = None
    ) -> list[Link]:
        """Registered links with their state on disk."""
        self.complete_registry()
        glance, found = Glance(), []
        for link in self.registry.each(model_ids=model_ids, app=app):
            link.state = glance.state_of(link)
            if state in (None, link.state):
                found.append(link)
        return found

    def preview(self, *, app: str | None = None, model_ids: list[str] | None = None) -> Plan:
        """What a sync would do for one app or all, for all models or some. Changes nothing.

        Raises `NotFoundError` for an unknown app or model.
        """
        self.complete_registry()
        apps = [self.app(app)] if app is not None else self.apps
        prepared = self._planner.plan(apps, model_ids)
        plan = prepared.plan
        # The links that stand are most of a large plan, and nothing is to be done about them.
        to_do = plan.model_copy(update={"to_skip_exists": []})
        with self._lock:
            self._prepared[plan.plan_id] = prepared._replace(plan=to_do, standing=len(plan.to_skip_exists))
            while len(self._prepared) > KEPT_PLANS:
                self._prepared.popitem(last=False)
        return plan

    # Mending

    def recover(self) -> None:
        """Mend what a crash cut off between registry and disk."""
        self.maker.recover()

    def complete_registry(self) -> None:
        """Take over the links of a registry that was damaged and set aside, if that was not done yet."""
        if self.registry.to_rebuild() is not None:
            with self.registry.changing():
                rebuild(self.registry, self._library, self.apps)

    def mend(self, job: JobContext) -> HealthReport:
        """What is done at each start, in the background: take over, heal what was moved, look at the rest."""
        self.complete_registry()
        self.relocation.heal(job)
        job.check_cancelled()
        return self.health.check(job)

    # Changing

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
            for target, seen in in_turns(prepared.seen.items()):
                if fingerprint(Path(target)) != seen:
                    raise PlanChangedError(f"{target} has changed since the preview. Preview again.")
            return self._carry_out(prepared, choice, job)

    def _carry_out(self, prepared: Prepared, choice: LinkChoice, job: JobContext) -> SyncResult:
        plan = prepared.plan
        result = SyncResult(skipped=prepared.standing)
        removals = [*plan.broken_to_remove, *plan.orphaned_to_remove]
        job.stage("links", total=plan.total_actions + len(plan.conflicts), unit="links")
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            job.advance(done)
            job.check_cancelled()

        self._remove([one.link_id for one in removals], result, advance)
        for start in range(0, len(plan.to_create), BATCH):
            batch = plan.to_create[start : start + BATCH]
            self._create([_new_link(planned) for planned in batch], result)
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
            self.maker.replace(NewLink(model_id, name, target, source, file_hash, pinned=True), seen)
            registered = self.registry.link_at(name, target)
        assert registered is not None
        return registered

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
        self.complete_registry()
        result = SyncResult()
        with self.registry.changing():
            self.maker.remove(self.registry.links(model_ids=model_ids), result)
        if result.errors:
            raise StorageError(result.errors[0])
        return result.links_removed, result.unreachable

    def uninstall(self, app: str) -> SyncResult:
        """Remove all links of one app and nothing else. Raises `NotFoundError` for an unknown app."""
        self.complete_registry()
        result = SyncResult()
        with self.registry.changing():
            links = self.registry.ids(app)
            if not links and app != NO_APP and self.registry.root_of(app) is None:
                self.app(app)
            self._remove(links, result)
        return result

    def _remove(
        self, link_ids: Sequence[int], result: SyncResult, advance: Callable[[int], None] = lambda _: None
    ) -> None:
        """Remove registered links some at a time; ``advance`` is told each time how many those were."""
        for start in range(0, len(link_ids), BATCH):
            some = link_ids[start : start + BATCH]
            self.maker.remove(self.registry.links(link_ids=some), result)
            advance(len(some))

    def uninstall_all(self) -> dict[str, SyncResult]:
        """Remove every link of every app that ever was known, and those outside apps; by the app's id."""
        self.complete_registry()
        self.folders.clear()
        known = {*self.registry.counts(), *(app.app for app in self.apps)}
        return {name: self.uninstall(name) for name in sorted(known)}

    def _create(self, links: list[NewLink], result: SyncResult) -> int:
        return self.maker.create(links, result, self._make_folder, lambda link: self._register(link, result))

    def _register(self, link: NewLink, result: SyncResult) -> bool:
        """Where no link can be made, let ComfyUI look into the model's own folder."""
        app = self._apps.get(link.app)
        if app is None or link.aside is not None or not link.source.is_file():
            return False
        subtypes = [folder.subtype for folder in app.folders if folder.path in link.target.parents]
        try:
            told = bool(subtypes) and self.folders.add(
                TargetFolder(subtype=subtypes[0], path=link.source.parent)
            )
        except OSError as error:
            result.errors.append(storage_error(error, link.source).message)
            return True
        if told:
            result.registered += 1
            result.notes.append(
                f"No link can be made at {link.target}, so ComfyUI was told to look into {link.source.parent}."
            )
        return told

    def _make_folder(self, link: NewLink) -> None:
        """The app's folder where that may be made, and in it the one for a name that two models share."""
        folder = link.target.parent
        if folder.is_dir():
            return
        app = self.app(link.app)
        wishes, _ = self.mappings.wishes(app)
        known = [wish.folder for wish in wishes.all if wish.folder == folder or wish.folder in folder.parents]
        nearest = max(known, key=lambda path: len(path.parts), default=None)
        if nearest is None or not can_be_made(nearest, app.root):
            raise StorageError(f"{folder} is not there. Connect its drive, or make the folder.")
        self.maker.make_folder_below(nearest, folder)

    def _resolve(
        self, conflict: Conflict, resolution: Resolution, seen: Fingerprint, result: SyncResult
    ) -> None:
        """Put a link where something else is, as the person chose."""
        if resolution == "skip" or seen is None:
            result.skipped += 1
        elif resolution == "overwrite" and conflict.reason == "same_bytes":
            self._replace_copy(conflict, seen, result)
        else:
            self._make_room(conflict, resolution, seen, result)

    def _replace_copy(self, conflict: Conflict, seen: tuple[int, ...], result: SyncResult) -> None:
        """Put a link in the place of a copy, once every byte was compared."""
        target, source = Path(conflict.target), Path(conflict.source)
        try:
            shared = target.stat().st_nlink > 1
            if not filecmp.cmp(target, source, shallow=False):
                result.errors.append(f"{target} holds other bytes than the model and was left as it is.")
                return
            self.maker.replace(_new_link(conflict), seen)
        except LibrarianError as error:
            result.errors.append(error.message)
        except OSError as error:
            result.errors.append(storage_error(error, target).message)
        else:
            result.links_created += 1
            result.conflicts_resolved += 1
            result.bytes_freed += 0 if shared else conflict.size_bytes

    def _make_room(
        self, conflict: Conflict, resolution: Resolution, seen: tuple[int, ...], result: SyncResult
    ) -> None:
        """Put a link where something else is, which goes aside or to the trash only once the link stands."""
        target = Path(conflict.target)
        aside = free_name(target, ".old")
        if fingerprint(target) != seen or real_path(target) == real_path(Path(conflict.source)):
            result.errors.append(
                f"{target} has changed since the preview and was left as it is. Preview again."
            )
            return
        if not self._create([_new_link(conflict, aside)], result):
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


def _says_more(new: NewApp, known: App) -> bool:
    """Whether anything is asked of an app that is not so already."""
    return any(
        (
            new.kind not in (None, known.kind),
            new.name not in (None, known.name),
            "variant" in new.model_fields_set and new.variant != known.variant,
        )
    )


def _new_link(planned: PlannedLink, aside: Path | None = None) -> NewLink:
    return NewLink(
        planned.model_id, planned.app, Path(planned.target), Path(planned.source), planned.file_hash, aside
    )
