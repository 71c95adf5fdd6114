from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import LibrarianError, NotFoundError, PlanChangedError
from ..jobs import JobContext
from ..library import Library
from ..settings import App
from ..storage.atomic import make_directories
from ..storage.disk import same_filesystem, storage_error
from ..storage.trash import to_trash
from .links import fingerprint, leads_to, make_link, remove_link, state_of
from .planner import Planner
from .records import Conflict, Link, LinkChoice, LinkType, Plan, PlannedLink, Resolution, SyncResult
from .registry import NewLink, Registry

logger = logging.getLogger(__name__)

KEPT_PLANS = 20
BATCH = 500


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
        """Register the links that a crash left on disk without an entry, and drop other intents."""
        intents = list(self.registry.intents())
        self.registry.register(
            [(intent, kind, ext) for intent in intents for kind, ext in _standing(intent)], intents
        )

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
            prepared = self._prepared.get(choice.plan_id)
        if prepared is None:
            raise NotFoundError("This plan is not known any more. Preview again.")
        plan = prepared.plan
        for target, seen in prepared.seen.items():
            if fingerprint(Path(target)) != seen:
                raise PlanChangedError(f"{target} has changed since the preview. Preview again.")
        with self._lock:
            self._prepared.pop(choice.plan_id, None)

        result = SyncResult()
        chosen = [
            (conflict, choice.resolutions.get(conflict.target, choice.default_resolution))
            for conflict in plan.conflicts
        ]
        job.stage("links", total=plan.total_actions + len(plan.conflicts), unit="links")
        removals = [*plan.broken_to_remove, *plan.orphaned_to_remove]
        by_id = {link.link_id: link for link in self.registry.links()}
        result.links_removed += self._unlink(
            [by_id[r.link_id] for r in removals if r.link_id in by_id], result
        )
        job.advance(len(removals))
        for start in range(0, len(plan.to_create), BATCH):
            job.check_cancelled()
            result.links_created += self._create(plan.to_create[start : start + BATCH], result)
            job.advance(len(removals) + min(start + BATCH, len(plan.to_create)))
        for conflict, resolution in chosen:
            job.check_cancelled()
            self._resolve(conflict, resolution, result)
        result.skipped += len(plan.to_skip_exists)
        return result

    def unlink_models(self, model_ids: Sequence[str]) -> tuple[int, list[Link]]:
        """Remove every link of some models; answers how many went and which could not be reached."""
        result = SyncResult()
        links = self.registry.links(model_ids=model_ids)
        unreachable = [link for link in links if not Path(link.target).parent.is_dir()]
        removed = self._unlink([link for link in links if link not in unreachable], result)
        return removed, unreachable

    def uninstall(self, app: str) -> SyncResult:
        """Remove all links of one app and nothing else. Raises `NotFoundError` for an unknown app."""
        links = self.registry.links(app=app)
        if not links:
            self.app(app)
        result = SyncResult()
        result.links_removed = self._unlink(links, result)
        return result

    def _create(self, planned: Iterable[PlannedLink], result: SyncResult) -> int:
        links = [
            NewLink(p.model_id, p.app, Path(p.target), Path(p.source), self._hash(p.model_id, p.source))
            for p in planned
        ]
        self.registry.intend(links)
        made: list[tuple[NewLink, LinkType, bool]] = []
        for link in links:
            try:
                make_directories(link.target.parent)
                made.append(
                    (
                        link,
                        make_link(link.source, link.target),
                        not same_filesystem(link.source, link.target.parent),
                    )
                )
            except FileExistsError:
                result.errors.append(f"{link.target} appeared meanwhile and was left as it is.")
            except LibrarianError as error:
                result.errors.append(error.message)
            except OSError as error:
                result.errors.append(storage_error(error, link.target).message)
        self.registry.register(made, links)
        return len(made)

    def _unlink(self, links: Iterable[Link], result: SyncResult) -> int:
        removed = 0
        gone: list[int] = []
        for link in links:
            target = Path(link.target)
            try:
                if remove_link(target, Path(link.source), link.link_type):
                    removed += 1
                elif os.path.lexists(target):
                    logger.info("%s is not the link that was made there and was left as it is", target)
                gone.append(link.link_id)
                self._remove_own_folder(target.parent, link)
            except OSError as error:
                result.errors.append(storage_error(error, target).message)
        self.registry.remove(gone)
        return removed

    def _remove_own_folder(self, folder: Path, link: Link) -> None:
        """Remove the folder that was made for one model of several with the same file name, if it is empty."""
        app = self._apps.get(link.app)
        if app is not None and folder not in {known.path for known in app.folders}:
            try:
                folder.rmdir()
            except OSError:
                return

    def _resolve(self, conflict: Conflict, resolution: Resolution, result: SyncResult) -> None:
        target = Path(conflict.target)
        if resolution == "skip":
            result.skipped += 1
            return
        aside = _free_name(target)
        try:
            target.rename(aside)
            if not self._create([conflict], result):
                aside.rename(target)
                return
            result.links_created += 1
            result.conflicts_resolved += 1
            if resolution == "overwrite":
                if aside.is_symlink():
                    aside.unlink()
                else:
                    size = aside.stat().st_size
                    to_trash(aside)
                    result.bytes_freed += size
        except LibrarianError as error:
            result.errors.append(error.message)
        except OSError as error:
            result.errors.append(storage_error(error, target).message)

    def _hash(self, model_id: str, source: str) -> str | None:
        return next((file.sha256 for file in self._library.files(model_id) if file.path == source), None)


def _standing(intent: NewLink) -> list[tuple[LinkType, bool]]:
    """The link that an intent left on disk, as its kind and whether it is external; or nothing."""
    if not os.path.lexists(intent.target) or not leads_to(intent.target, intent.source):
        return []
    kind: LinkType = "symlink" if intent.target.is_symlink() else "hardlink"
    return [(kind, not same_filesystem(intent.source, intent.target.parent))]


def _free_name(target: Path) -> Path:
    """``name.old``, or ``name.old.1``, ``.old.2``, … where that is taken."""
    aside = target.with_name(target.name + ".old")
    number = 0
    while os.path.lexists(aside):
        number += 1
        aside = target.with_name(f"{target.name}.old.{number}")
    return aside
