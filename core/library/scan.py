"""Scans: what is on disk is looked at and brought into the index."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice

from ..jobs import JobContext
from ..settings import TargetFolder
from ..storage.database import Database
from ..worker import Worker
from .deep import NewState
from .headers import with_headers
from .in_place import InPlaceModels
from .index import Index, UnreadModel, row_of
from .metadata import MetadataStore
from .owned import OwnedModels
from .records import LibraryChange, ScanResult
from .search import Search
from .staging import ModelRow, id_of

FIRST_BATCH = 200
BATCH = 2000
"""How many models are written in one transaction: few at first, so that something is there at once."""

HEADERS_READ = 25
HEADERS_WRITTEN = 200
"""Of how many models the headers are read in one go, and written in one transaction."""

TOLD_BY_NAME = 500
"""Of how many changed models an event tells the ids."""

Announce = Callable[[LibraryChange], None]


class Scanner:
    """Keeps the index in step with what is on disk.

    The quick scan looks at names, sizes and times, opens only what is new or changed, and writes it batch by
    batch; what is gone goes last. The deep scan reads every ``metadata.json`` again, lays a new index out beside
    the old one and takes it over in one step. Neither ever empties the index, and cut off at any moment each
    leaves every model as it was or as it is.
    """

    def __init__(
        self,
        metadata: MetadataStore,
        database: Database,
        index: Index,
        search: Search,
        announce: Announce,
    ) -> None:
        self._metadata = metadata
        self._database = database
        self._index = index
        self._search = search
        self._announce = announce

    def quick(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """List what is new, changed or gone in the library and in ``folders``; then read new headers."""
        result = ScanResult()
        job.stage("library", unit="models")
        owned = OwnedModels(self._metadata, self._index, result)
        self._write_all(map(row_of, owned.changed(job)), result, job)
        for model_id, problem in owned.damaged.items():
            self._index.set_problem([model_id], problem)
        if self._metadata.root.is_dir():  # still: a drive may go while it is scanned
            self._remove(owned.gone, result)
        elif owned.gone:
            result.errors.append(
                f"The library {self._metadata.root} cannot be reached; its models stay listed."
            )
        job.stage("folders", unit="models")
        with Worker(job.check_cancelled) as worker:
            with closing(
                InPlaceModels(self._metadata, self._index, folders, result, every=False)
            ) as in_place:
                self._bring_in_step(in_place, result, job, worker)
            self._read_headers(job, worker)
        return result

    def deep(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """Build the index anew from every ``metadata.json`` and every folder, changed or not."""
        with Worker(job.check_cancelled) as worker:
            return self._anew(folders, job, worker)

    def _anew(self, folders: Iterable[TargetFolder], job: JobContext, worker: Worker) -> ScanResult:
        result = ScanResult()
        with NewState.beside(self._database) as new:
            job.stage("library", unit="models")
            owned = OwnedModels(self._metadata, self._index, result)
            new.put(owned.all(job, worker))
            new.keep(owned.damaged)
            for beginning in owned.unreadable:
                new.keep_below(beginning)
            if not self._metadata.root.is_dir():
                result.errors.append(
                    f"The library {self._metadata.root} cannot be reached; its models stay listed."
                )
                new.keep_below("")
            job.stage("folders", unit="models")
            with closing(InPlaceModels(self._metadata, self._index, folders, result, every=True)) as in_place:
                in_place.compare(job)
                if in_place.new_count:
                    job.stage("list", total=in_place.new_count, unit="models")
                    new.put(_checked(in_place.rows(worker), job))
                new.put(map(row_of, in_place.declared(job)))
                new.remove(in_place.gone)
                new.remember_folders(in_place.looked, in_place.forgotten)
            job.stage("swap", unit="models")
            swapped = new.swap(job, TOLD_BY_NAME + 1)
        for model_id, problem in owned.damaged.items():
            self._index.set_problem([model_id], problem)
        result.models_indexed += swapped.changed
        result.models_removed += swapped.removed
        self._tell(swapped.changed_ids, swapped.removed_ids)
        self._read_headers(job, worker)
        return result

    def _bring_in_step(
        self, in_place: InPlaceModels, result: ScanResult, job: JobContext, worker: Worker
    ) -> None:
        in_place.compare(job)
        # What is not done with has no fingerprint, so that a scan that is cut off is taken up again.
        if in_place.looked:
            self._index.remember_folders(folder._replace(fingerprint="") for folder in in_place.looked)
        if in_place.new_count:
            job.stage("list", total=in_place.new_count, unit="models")
            with self._search.put_off(in_place.new_count):
                self._write_all(in_place.rows(worker), result, job, first=FIRST_BATCH, told=True)
        self._write_all(map(row_of, in_place.declared(job)), result, job)
        self._remove(in_place.gone, result)
        if in_place.looked or in_place.forgotten:
            self._index.remember_folders(in_place.looked, in_place.forgotten)

    def _read_headers(self, job: JobContext, worker: Worker) -> None:
        unread = self._index.count_unread()
        if not unread:
            return
        job.stage("headers", total=unread, unit="models")
        done = 0
        while read := self._read_once(job, worker, done):
            done += read

    def _read_once(self, job: JobContext, worker: Worker, before: int) -> int:
        """Read the headers of all models that wait for it, and write them; answers how many they were.

        Whom an import takes away, or a person edits, while headers are read is not brought back as it was: such a
        model waits again.
        """
        changes: deque[int] = deque()
        done = 0
        read = (rows for _, rows in worker.map(with_headers, self._unread(changes)))
        while some := list(islice(read, HEADERS_WRITTEN // HEADERS_READ)):
            since = changes[0]
            for _ in some:
                changes.popleft()
            done += self._write(chain.from_iterable(some), job, unless_changed_since=since)
            job.advance(before + done)
        return done

    def _unread(self, changes: deque[int]) -> Iterator[tuple[list[UnreadModel]]]:
        """Models whose headers wait to be read, some at a time; ``changes`` gets the number of the last change then."""
        last = 0
        while True:
            changes.append(self._index.last_change())
            some = self._index.unread(HEADERS_READ, last)
            if not some:
                return
            last = some[-1].key
            yield (some,)

    # The index

    def _write_all(
        self,
        rows: Iterator[ModelRow],
        result: ScanResult,
        job: JobContext,
        *,
        first: int = BATCH,
        told: bool = False,
    ) -> None:
        """Write models batch by batch; with ``told`` their count is the job's progress."""
        count, size = 0, first
        while written := self._write(islice(rows, size), job):
            count, size = count + written, BATCH
            result.models_indexed += written
            if told:
                job.advance(count)

    def _write(
        self, rows: Iterable[ModelRow], job: JobContext, *, unless_changed_since: int | None = None
    ) -> int:
        """Write models in one transaction and tell it; answers how many they were."""
        written: list[str] = []

        def noted() -> Iterator[ModelRow]:
            for row in rows:
                job.check_cancelled()
                written.append(id_of(row))
                yield row

        self._index.put_rows(noted(), unless_changed_since=unless_changed_since)
        self._tell(written, [])
        return len(written)

    def _remove(self, gone: list[str], result: ScanResult) -> None:
        if not gone:
            return
        self._index.remove(gone)
        result.models_removed += len(gone)
        self._tell([], gone)

    def _tell(self, changed: list[str], removed: list[str]) -> None:
        if changed or removed:
            self._announce(change_told(changed, removed))


def change_told(changed: list[str], removed: list[str] | None = None) -> LibraryChange:
    """The record of a change; of a large one it does not name the models."""
    if len(changed) + len(removed or ()) > TOLD_BY_NAME:
        return LibraryChange(everything=True)
    return LibraryChange(changed=changed, removed=removed or [])


def _checked(rows: Iterator[ModelRow], job: JobContext) -> Iterator[ModelRow]:
    """The rows, counted, and broken off when the job is."""
    for count, row in enumerate(rows, 1):
        job.check_cancelled()
        job.advance(count)
        yield row
