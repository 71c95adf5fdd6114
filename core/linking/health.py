from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..jobs import JobContext, utc_now
from ..library import Library
from ..library.compact import TextSet
from ..settings import App
from ..storage.disk import storage_error
from ..turns import in_turns
from .apps import AddedApps
from .links import Glance, is_link, is_reachable
from .maker import Maker
from .rebuilding import FoundEntry, entries, source_in
from .records import (
    NO_APP,
    CleanChoice,
    CleanResult,
    FoundLink,
    GhostApp,
    HealthReport,
    SyncResult,
)
from .registry import Registry


class Health:
    """Says how the links do, and cleans what the person chose; what others made is never touched."""

    def __init__(
        self,
        registry: Registry,
        library: Library,
        maker: Maker,
        apps: Callable[[], list[App]],
        added: AddedApps,
    ) -> None:
        self._registry = registry
        self._library = library
        self._maker = maker
        self._apps = apps
        self._added = added

    def check(self, job: JobContext | None = None) -> HealthReport:
        """Look at every registered link, and at every link in the apps' folders. Changes nothing.

        Ends early if it is a cancelled job's.
        """
        report = HealthReport(checked_at=utc_now())
        report.ghost_apps = self._ghosts()
        ghosts = {ghost.app for ghost in report.ghost_apps}
        roots, glance = self._registry.roots(), Glance()
        for link in self._registry.each():
            if job is not None:
                job.check_cancelled()
            if link.app in ghosts:
                continue
            link.state = glance.state_of(link)
            if link.state == "missing" and not is_reachable(Path(link.target), roots.apps.get(link.app)):
                report.unreachable.append(link)
            elif link.state == "missing":
                report.missing_files.append(link)
            elif link.state == "broken":
                report.broken_links.append(link)
            elif link.state == "changed":
                report.changed_links.append(link)
        for entry in self._unregistered():
            found = FoundLink(app=entry.app, target=str(entry.path), source=str(entry.leads_to))
            if source_in(self._library.root, entry) is not None:
                report.orphaned_links.append(found)
            elif not entry.path.exists():
                report.others_broken.append(found)
        report.total_issues = sum(
            len(issues)
            for issues in (
                report.broken_links,
                report.orphaned_links,
                report.ghost_apps,
                report.missing_files,
                report.changed_links,
            )
        )
        fails_to_load = report.broken_links or any(
            not Path(found.target).exists() for found in report.orphaned_links
        )
        if fails_to_load:
            report.status = "errors"
        elif report.total_issues:
            report.status = "warnings"
        return report

    def clean(self, choice: CleanChoice) -> CleanResult:
        """Remove broken links and those that nobody registered; forget links and apps that are gone.

        Everything is looked at anew: only what is still so is cleaned.
        """
        result = CleanResult()
        with self._registry.changing():
            ghosts = self._ghosts()
            if choice.ghosts:
                result.ghosts = self._forget(ghosts, result)
            if choice.broken or choice.missing:
                self._clean_registered(choice, {ghost.app for ghost in ghosts}, result)
            if choice.orphaned:
                for entry in list(self._unregistered()):
                    if source_in(self._library.root, entry) is not None and is_link(entry.path):
                        try:
                            entry.path.unlink()
                            result.orphaned += 1
                        except OSError as error:
                            result.errors.append(storage_error(error, entry.path).message)
        return result

    def _clean_registered(self, choice: CleanChoice, ghosts: set[str], result: CleanResult) -> None:
        roots, glance = self._registry.roots(), Glance()
        broken, gone = [], []
        for link in self._registry.each():
            state = glance.state_of(link) if link.app not in ghosts else "ok"
            if state == "broken":
                broken.append(link)
            elif state == "missing" and is_reachable(Path(link.target), roots.apps.get(link.app)):
                gone.append(link.link_id)
        if choice.broken:
            removed = SyncResult()
            self._maker.remove(broken, removed)
            result.broken = removed.links_removed
            result.errors += removed.errors
        if choice.missing:
            self._registry.remove(gone)
            result.missing = len(gone)

    def _forget(self, ghosts: list[GhostApp], result: CleanResult) -> int:
        forgotten = 0
        for ghost in ghosts:
            try:
                self._added.remove(ghost.app)
                self._registry.forget_app(ghost.app)
                forgotten += 1
            except OSError as error:
                result.errors.append(storage_error(error, Path(ghost.root)).message)
        return forgotten

    def _ghosts(self) -> list[GhostApp]:
        """Apps whose root is gone, that have links or were added by a person."""
        counts = self._registry.counts()
        known = {app.app for app in self._apps()}
        return [
            GhostApp(app=app, root=str(root), links=counts.get(app, 0))
            for app, root in sorted(self._registry.roots().apps.items())
            if app != NO_APP and not root.is_dir() and (counts.get(app) or app in known)
        ]

    def _unregistered(self) -> list[FoundEntry]:
        """The links in the apps' folders that are not registered."""
        real: dict[str, str] = {}

        def place(path: str) -> str:
            folder, name = os.path.split(path)
            if folder not in real:
                real[folder] = os.path.realpath(folder)
            return f"{real[folder]}{os.sep}{name}"

        registered = TextSet()
        for target in self._registry.targets():
            registered.add(place(target))
        found = [
            entry
            for entry in in_turns(entries(self._apps(), only_links=True))
            if place(str(entry.path)) not in registered
        ]
        registered.release()
        return found
