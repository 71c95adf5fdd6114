from __future__ import annotations

from collections.abc import Callable

from ..jobs import Job, JobRunner
from ..linking import (
    CleanChoice,
    CleanResult,
    HealthReport,
    Link,
    LinkChoice,
    Linker,
    LinkState,
    Mapping,
    MappingReport,
    NamedMapping,
    NewApp,
    Plan,
    RelocateRequest,
    RelocateResult,
    SyncResult,
)
from ..settings import App
from .reports import AppReport

LANE = "links"


class Links:
    """Linking models into apps."""

    def __init__(self, linker: Linker, jobs: JobRunner) -> None:
        self.apps_changed: Callable[[], object] = lambda: None
        """Called when an app was added or forgotten: other folders hold models now."""
        self._linker = linker
        self._jobs = jobs

    def registered(
        self, model_id: str | None = None, app: str | None = None, state: LinkState | None = None
    ) -> list[Link]:
        """Registered links with their state on disk."""
        return self._linker.links(model_ids=[model_id] if model_id else None, app=app, state=state)

    def preview(self, app: str | None = None, model_ids: list[str] | None = None) -> Plan:
        """What a sync would do. Changes nothing. Raises `NotFoundError`."""
        return self._linker.preview(app=app, model_ids=model_ids)

    def apply(self, choice: LinkChoice) -> Job:
        """Queue a previewed plan."""
        return self._jobs.submit(
            "sync", lambda job: self._linker.apply(choice, job).model_dump(), lane=LANE, items=[]
        )

    # Apps

    def apps(self) -> list[AppReport]:
        """The apps that are there."""
        counts = self._linker.registry.counts()
        return [_report(app, counts.get(app.app, 0)) for app in self._linker.apps]

    def add_app(self, new: NewApp) -> AppReport:
        """Add an app by its root folder; the models that it holds are listed where they lie.

        Raises `KnownAppError`, `NotFoundError`, `InvalidRequestError`, `StorageError`.
        """
        app = self._linker.add_app(new)
        self.apps_changed()
        return _report(app, self._linker.registry.counts().get(app.app, 0))

    def uninstall(self, app: str) -> SyncResult:
        """Remove all links of an app and nothing else; one that was added is forgotten. Raises `NotFoundError`."""
        result = self._linker.remove_app(app)
        if app not in {known.app for known in self._linker.apps}:
            self.apps_changed()
        return result

    def uninstall_all(self) -> dict[str, SyncResult]:
        """Remove every link, by the apps' ids; the empty one stands for places outside all apps."""
        return self._linker.uninstall_all()

    # Mappings

    def mappings(self) -> MappingReport:
        """Every mapping, and what is wrong with those that cannot be used."""
        return self._linker.mappings.report()

    def mapping(self, name: str) -> NamedMapping:
        """One mapping. Raises `NotFoundError`, `MappingError`."""
        return self._linker.mappings.get(name)

    def put_mapping(self, name: str, mapping: Mapping) -> NamedMapping:
        """Write a person's mapping. Raises `InvalidRequestError`, `StorageError`."""
        return self._linker.mappings.put(name, mapping)

    def delete_mapping(self, name: str) -> MappingReport:
        """Remove a person's mapping; answers those that are left. Raises `NotFoundError`, `StorageError`."""
        self._linker.mappings.delete(name)
        return self._linker.mappings.report()

    # Health

    def health(self) -> HealthReport:
        """Look at every link. Changes nothing but a registry that was damaged, which is completed first."""
        self._linker.complete_registry()
        return self._linker.health.check()

    def clean(self, choice: CleanChoice) -> CleanResult:
        """Clean what the person chose."""
        self._linker.complete_registry()
        return self._linker.health.clean(choice)

    def repair(self) -> Job:
        """Queue the repair of broken links by hash."""
        return self._jobs.submit(
            "repair", lambda job: self._linker.relocation.repair(job).model_dump(), lane=LANE
        )

    def relocate(self, request: RelocateRequest) -> RelocateResult:
        """Let links follow a folder to its new place. Raises `InvalidRequestError`, `StorageError`."""
        self._linker.complete_registry()
        return self._linker.relocation.relocate(request)

    def mend_in_background(self) -> Job:
        """Queue what is done at each start: heal links after a move, then look how all of them do."""
        return self._jobs.submit(
            "health", lambda job: self._linker.mend(job).model_dump(mode="json"), lane=LANE
        )


def _report(app: App, links: int) -> AppReport:
    folders: dict[str, list[str]] = {}
    for folder in app.folders:
        folders.setdefault(folder.subtype, []).append(str(folder.path))
    return AppReport(
        app=app.app,
        name=app.name,
        kind=app.kind,
        version=app.version,
        root=str(app.root),
        added=app.added,
        ghost=not app.root.is_dir(),
        folders=folders,
        links=links,
        problems=app.problems,
    )
