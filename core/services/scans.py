from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ..errors import ConflictError, NotFoundError
from ..jobs import Job, JobContext, JobRunner
from ..library import Library
from ..storage.disk import lower_disk_priority
from .places import Places
from .reports import IndexReport


class Scans:
    """Keeping the index in step with what is on disk."""

    def __init__(self, library: Library, jobs: JobRunner, places: Places) -> None:
        self._library = library
        self._jobs = jobs
        self._places = places
        self._scan: Job | None = None
        self._hashing: Job | None = None
        library.on_renewed = lambda: self.start("quick")

    def start(self, kind: Literal["quick", "deep"]) -> Job:
        """Queue a scan. One that waits already serves for a second request of its kind."""

        def work(job: JobContext) -> dict[str, Any]:
            scan = self._library.deep_scan if kind == "deep" else self._library.quick_scan
            result = scan(self._places.indexed_in_place(), job)
            changed = result.models_indexed or result.models_removed or self._hashing is None
            if changed and self._library.usage.has_unhashed():
                self._hashing = self.hash_in_background()
            return {"kind": kind, **result.model_dump()}

        self._scan = self._jobs.submit("scan", work, lane="scan", afterwards=self._library.tidy)
        return self._scan

    def hash_in_background(self, *, hurry: bool = False) -> Job:
        """Queue the hashing of files that only a hash can tell apart.

        Unless somebody waits for it and it should ``hurry``, it lets others have the disk first and takes half of
        one processor at most.
        """

        def work(job: JobContext) -> dict[str, Any]:
            if not hurry:
                lower_disk_priority()
            return {"files_hashed": self._library.hash_what_only_hashes_tell(job, hurry=hurry)}

        return self._jobs.submit("hash", work, lane="hash")

    def look_at(self, paths: set[Path]) -> None:
        """Somebody else changed files: look what it was, unless a scan that will see it waits already."""
        scan = self.last()
        waiting = scan is not None and scan.state == "queued"
        with suppress(OSError, ConflictError):
            if not waiting and any(self._library.is_news(path) for path in paths):
                self.start("quick")

    def report(self) -> IndexReport:
        """Whether the index is in step, and how far a scan is."""
        job = self.last()
        if job is not None and not job.ended:
            return IndexReport(state="indexing", stage=job.stage, progress=job.progress)
        return IndexReport(state="error" if job is not None and job.state == "failed" else "ready")

    def last(self) -> Job | None:
        """The newest scan as it is now, or nothing if there was none or so many jobs ago that it is forgotten."""
        if self._scan is not None:
            with suppress(NotFoundError):
                return self._jobs.get(self._scan.id)
        return None
