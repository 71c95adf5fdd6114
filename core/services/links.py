from __future__ import annotations

from ..jobs import Job, JobRunner
from ..linking import Link, LinkChoice, Linker, LinkState, Plan, SyncResult
from .reports import AppReport


class Links:
    """Linking models into apps."""

    def __init__(self, linker: Linker, jobs: JobRunner) -> None:
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
            "sync", lambda job: self._linker.apply(choice, job).model_dump(), lane="links", items=[]
        )

    def apps(self) -> list[AppReport]:
        """The apps that are there."""
        counts = self._linker.registry.counts()
        reports = []
        for app in self._linker.apps:
            folders: dict[str, list[str]] = {}
            for folder in app.folders:
                folders.setdefault(folder.subtype, []).append(str(folder.path))
            reports.append(
                AppReport(
                    app=app.app,
                    name=app.name,
                    kind=app.kind,
                    root=str(app.root),
                    folders=folders,
                    links=counts.get(app.app, 0),
                )
            )
        return reports

    def uninstall(self, app: str) -> SyncResult:
        """Remove all links of an app and nothing else. Raises `NotFoundError`."""
        return self._linker.uninstall(app)
