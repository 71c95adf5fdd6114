from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CancelledError, ConflictError, LibrarianError, NotFoundError
from ..importing import Importer, ImportItem, ImportRequest, Inspection
from ..importing.grouping import group_paths
from ..importing.originals import LeaveLink
from ..importing.uploads import Uploads
from ..jobs import Job, JobContext, JobItem, JobRunner, utc_now
from ..linking import LinkChoice, Linker, SyncResult
from ..linking.links import fingerprint
from ..settings import MODEL_EXTENSIONS
from ..storage.disk import storage_error
from ..storage.names import is_text
from ..turns import in_turns
from .places import Places
from .reports import BrowseEntry, BrowseReport

MAX_JOBS = 64
"""How many imports may wait for their drives at once, each with a thread; more wait for those to end."""


class Imports:
    """Bringing models into the library."""

    def __init__(
        self, importer: Importer, uploads: Uploads, linker: Linker, jobs: JobRunner, places: Places
    ) -> None:
        self._importer = importer
        self._uploads = uploads
        self._linker = linker
        self._jobs = jobs
        self._places = places
        self._linking = threading.Lock()

    def recover(self) -> None:
        """Mend the imports that an earlier run left half done; each is listed as an interrupted job."""
        for recovered in self._importer.recover():
            if recovered.pending and recovered.outcome == "finished":
                continue  # it was told when it was imported
            now = utc_now()
            self._jobs.record(
                Job(
                    id=os.urandom(16).hex(),
                    kind="share" if recovered.shares else "import",
                    state="interrupted",
                    items=[
                        JobItem(
                            name=Path(recovered.source).name,
                            state="done" if recovered.outcome == "finished" else "cancelled",
                            model_id=recovered.model_id or None,
                            message=" ".join(
                                [
                                    f"{recovered.what} was cut off and is now {recovered.outcome}.",
                                    *recovered.notes,
                                ]
                            ),
                        )
                    ],
                    result=recovered.model_dump(),
                    started_at=now,
                    finished_at=now,
                )
            )

    def browse(self, path: str | None) -> BrowseReport:
        """What lies in a folder inside the allowed roots; without a path, the roots.

        Raises `OutsideRootsError`, `NotFoundError`, `InvalidRequestError`.
        """
        roots = self._places.allowed()
        if not path:
            entries = [
                BrowseEntry(name=str(root), path=str(root), is_dir=True)
                for root in roots.roots
                if root.is_dir()
            ]
            return BrowseReport(path=None, parent=None, entries=entries)
        folder = roots.confine(path)
        if not folder.is_dir():
            raise NotFoundError(f"{folder} is not a folder.")
        entries = []
        try:
            with os.scandir(folder) as listing:
                for entry in in_turns(listing):
                    shown = not entry.name.startswith(".") and is_text(entry.path)
                    if not shown or (entry.is_symlink() and not roots.contains(Path(entry.path))):
                        continue
                    is_dir = entry.is_dir()
                    importable = not is_dir and Path(entry.name).suffix.lower() in MODEL_EXTENSIONS
                    if not (is_dir or importable):
                        continue
                    try:
                        size = entry.stat().st_size if importable else None
                    except OSError:  # a link to nowhere, or gone meanwhile
                        continue
                    entries.append(
                        BrowseEntry(
                            name=entry.name,
                            path=entry.path,
                            is_dir=is_dir,
                            size=size,
                            importable=importable,
                        )
                    )
        except OSError as error:
            raise storage_error(error, folder) from error
        roots.confine(str(folder))  # also now that it is listed: a link may have been put in its place
        entries.sort(key=lambda entry: (not entry.is_dir, entry.name.casefold()))
        parent = folder.parent if roots.contains(folder.parent) else None
        return BrowseReport(path=str(folder), parent=str(parent) if parent else None, entries=entries)

    def inspect(self, paths: list[str]) -> Inspection:
        """Say what the files at some paths are. Raises `OutsideRootsError`, `NotFoundError`."""
        roots = self._places.allowed()
        return self._importer.inspect([roots.confine(path) for path in paths], roots)

    def inspect_uploads(self, uploads: list[str]) -> Inspection:
        """Say what complete uploads are. Raises `NotFoundError`, `UploadIncompleteError`, `InvalidRequestError`."""
        return self._importer.inspect_uploads(uploads)

    def start(self, request: ImportRequest) -> Job:
        """Queue an import. A single item that cannot be imported is refused at once.

        Raises `OutsideRootsError` and, for a single item, whatever `Importer.check` raises.
        """
        roots = self._places.allowed()
        paths = [[roots.confine(path) for path in item.paths] for item in request.items]
        if len(paths) == 1 and paths[0]:
            self._importer.check(
                self._importer.sort_out(
                    request.items[0], paths[0], roots, delete_originals=request.delete_originals
                )
            )

        def work(job: JobContext) -> dict[str, Any]:
            imported = self._importer.run(request, paths, roots, job)
            states = [item.state for item in job.job.items]
            if states.count("failed") == len(states):
                first = job.job.items[0]
                raise ImportFailedError(
                    first.message or "Nothing could be imported.", first.code or "import_failed"
                )
            result = {
                "imported": imported,
                "skipped": states.count("skipped"),
                "failed": states.count("failed"),
                "links": None,
            }
            if request.link and imported:
                result["links"] = self.link(imported, job).model_dump()
            return result

        return self._jobs.submit(
            "import",
            work,
            lane="import",
            width=MAX_JOBS,
            on_cancel=self._importer.queue.wake,
            items=[self._item(*of) for of in zip(request.items, paths, strict=True)],
        )

    def link(self, model_ids: list[str], job: JobContext) -> SyncResult:
        """Link new models into the apps; they are in the library, whatever becomes of their links.

        Raises `CancelledError`.
        """
        try:
            with self._linking:  # or the links of one import would make the plan of another wrong
                plan = self._linker.preview(model_ids=model_ids)
                return self._linker.apply(LinkChoice(plan_id=plan.plan_id), job)
        except CancelledError:
            raise
        except LibrarianError as error:
            return SyncResult(errors=[error.message])
        except OSError as error:
            return SyncResult(errors=[storage_error(error, Path("registry.db")).message])

    def models_at(self, paths: list[str]) -> list[list[str]]:
        """The paths of each model that lies at some paths: what one `ImportItem` is to have.

        Raises `OutsideRootsError`, `NotFoundError`, `InvalidRequestError`.
        """
        roots = self._places.allowed()
        groups = group_paths([roots.confine(path) for path in paths], roots)
        return [
            [str(group.folder)]
            if group.folder is not None
            else [str(member.path) for member in group.members]
            for group in groups
        ]

    def _item(self, item: ImportItem, paths: list[Path]) -> JobItem:
        """An item as a job shows it, before anybody looked at its files."""
        more = len(item.paths or item.uploads) - 1
        try:
            name = paths[0].name if paths else self._uploads.get(item.uploads[0]).name
        except LibrarianError:
            name = item.uploads[0]
        return JobItem(name=f"{name} (+ {more})" if more else name)


def leaving_links(linker: Linker) -> LeaveLink:
    """How the importer leaves links; it knows nothing of linking itself."""

    def leave_link(
        *, model_id: str, target: Path, source: Path, is_same: Callable[[os.stat_result], bool]
    ) -> None:
        seen = fingerprint(target)
        if seen is None or not is_same(target.lstat()):
            raise ConflictError(f"{target} is not the file that was imported any more. It was left as it is.")
        linker.replace_with_link(
            model_id=model_id, app=None, target=target, source=source, file_hash=None, seen=seen
        )

    return leave_link


class ImportFailedError(LibrarianError):
    """Every item of an import failed; the code is that of the first."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
