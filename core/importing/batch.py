"""Many items at once, as far as their drives allow."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import CancelledError
from ..jobs import JobContext, JobItem
from ..storage.drives import Drive, at_once, drive_of
from ..storage.roots import real_path

MAX_AT_ONCE = 16
"""Items at once, however many drives there are: each has threads and buffers of its own (16 MB)."""

Drives = frozenset[Drive]


class DriveQueue:
    """Runs the items of all imports so that no drive has more to do at once than is good for it.

    Jobs that want the same drive take turns, item by item, and the items of one job begin in their order. So a
    small import waits for nothing that other drives do, and for one item of a large import at most. ``width``
    says how many items work on one drive at once, if a person chose that.
    """

    def __init__(self, width: Callable[[], int | None] = lambda: None) -> None:
        self._width = width
        self._changed = threading.Condition()
        self._batches: list[_Batch] = []
        """Whose turn it is comes first, who had the last one at the end."""
        self._last: _Batch | None = None
        self._busy: Counter[str] = Counter()
        self._at_work = 0
        self._pool = ThreadPoolExecutor(MAX_AT_ONCE, "librarian-import")

    def run(
        self,
        work: Sequence[Callable[[], None]],
        places: Sequence[Collection[Path]],
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Do all of ``work``, each of which reads or writes at its ``places``.

        Whoever makes ``is_cancelled`` true calls `wake`. Raises `CancelledError` then, or if any work does, once
        what runs has ended too; the rest is not begun.
        """
        known: dict[Path, Drive] = {}
        batch = _Batch(work, [frozenset(_drive_at(path, known) for path in where) for where in places])
        with self._changed:
            had_its_turn = self._batches[-1:] == [self._last]
            self._batches.insert(len(self._batches) - had_its_turn, batch)
            self._begin()
            while not batch.ended:
                if not batch.failures and is_cancelled():
                    batch.failures.append(CancelledError("The job was cancelled."))
                else:
                    self._changed.wait()
            self._batches.remove(batch)
            if self._last is batch:
                self._last = None
        if batch.failures:
            raise next((f for f in batch.failures if not isinstance(f, CancelledError)), batch.failures[0])

    def wake(self) -> None:
        """Have every `run` look whether it was cancelled."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the threads. Nothing may run any more."""
        self._pool.shutdown()

    def _begin(self) -> None:
        """Begin all that can begin now. The lock is held."""
        while self._at_work < MAX_AT_ONCE:
            found = ((batch, batch.first(self._has_room)) for batch in self._batches)
            batch, drives = next((each for each in found if each[1] is not None), (None, None))
            if batch is None or drives is None:
                return
            number = batch.waiting[drives].popleft()
            self._count(batch, drives, 1)
            self._batches.remove(batch)
            self._batches.append(batch)
            self._last = batch
            self._pool.submit(self._do, batch, number, drives)

    def _do(self, batch: _Batch, number: int, drives: Drives) -> None:
        failure: BaseException | None = None
        try:
            batch.work[number]()
        except BaseException as error:
            failure = error
        with self._changed:
            if failure is not None:
                batch.failures.append(failure)
            self._count(batch, drives, -1)
            self._begin()
            self._changed.notify_all()

    def _count(self, batch: _Batch, drives: Drives, change: int) -> None:
        self._at_work += change
        batch.running += change
        for drive in drives:
            self._busy[drive.id] += change

    def _has_room(self, drives: Drives) -> bool:
        width = self._width()
        return all(self._busy[drive.id] < at_once(drive, width) for drive in drives)


class _Batch:
    """The items of one job: which of them wait, for which drives, and how many run."""

    def __init__(self, work: Sequence[Callable[[], None]], needs: Sequence[Drives]) -> None:
        self.work = work
        self.waiting: dict[Drives, deque[int]] = {}
        for number, drives in enumerate(needs):
            self.waiting.setdefault(drives, deque()).append(number)
        self.running = 0
        self.failures: list[BaseException] = []

    @property
    def ended(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not self.running and (bool(self.failures) or not any(self.waiting.values()))

    def first(self, has_room: Callable[[Drives], bool]) -> Drives | None:
        """The drives of the first item that waits for none of its own."""
        if self.failures:
            return None
        free = (drives for drives, numbers in self.waiting.items() if numbers and has_room(drives))
        return min(free, key=lambda drives: self.waiting[drives][0], default=None)


def _drive_at(path: Path, known: dict[Path, Drive]) -> Drive:
    """The drive of a file or folder; those of files in one folder are looked up once."""
    real = real_path(path)
    folder = real if real.is_dir() else real.parent
    if folder not in known:
        known[folder] = drive_of(folder)
    return known[folder]


class BatchProgress:
    """The bytes of several items that are worked on at once, as one number."""

    def __init__(self, job: JobContext, sizes: Sequence[int]) -> None:
        self.job = job
        self._lock = threading.Lock()
        self._total = sum(sizes)
        self._done = 0
        self._begun = False
        job.stage("waiting", total=self._total, unit="bytes")

    def begin(self) -> None:
        """An item has its turn."""
        with self._lock:
            if not self._begun:
                self._begun = True
                self.job.stage("import", total=self._total, unit="bytes")

    def add(self, count: int) -> None:
        """Count bytes of any item."""
        with self._lock:
            self._done += count
            self.job.advance(self._done)


class ItemProgress:
    """How far one item of a batch is; calling it tells the bytes done and raises `CancelledError`."""

    def __init__(self, batch: BatchProgress, item: JobItem, size: int) -> None:
        self._batch = batch
        self._item = item
        self._size = size
        self._counted = 0
        item.total = size

    def __call__(self, done: int) -> None:
        """Tell the bytes done."""
        self._batch.job.check_cancelled()
        self._item.current = done
        self._count(done)

    def finish(self) -> None:
        """Count the item as done, whatever became of it."""
        self._count(self._size)

    def _count(self, done: int) -> None:
        added, self._counted = done - self._counted, done
        self._batch.add(added)
