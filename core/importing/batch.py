"""Many items at once, as far as their drives allow."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import CancelledError
from ..jobs import JobContext, JobItem
from ..storage.drives import drive_of, queue_width

MAX_AT_ONCE = 8
"""Items at once, however many drives there are: each has threads and buffers of its own (32 MB)."""


class Queues:
    """Runs work so that no drive has more to do at once than is good for it, in order of arrival otherwise."""

    def __init__(self, width: int | None = None) -> None:
        self._width = width
        self._widths: dict[str, int] = {}
        self._drives: dict[Path, str] = {}

    def run(self, work: Sequence[Callable[[], None]], places: Sequence[Collection[Path]]) -> None:
        """Do all of ``work``, each of which reads or writes at its ``places``.

        Raises `CancelledError` if one of them does, once those that run have ended too; the rest is not begun.
        """
        needs = [frozenset(map(self._drive, where)) for where in places]
        waiting: dict[frozenset[str], deque[int]] = {}
        for number, drives in enumerate(needs):
            waiting.setdefault(drives, deque()).append(number)
        busy: Counter[str] = Counter()
        changed = threading.Condition()
        failures: list[BaseException] = []

        def next_one() -> int | None:
            """The first whose drives are free; nothing once none waits any more."""
            with changed:
                while not failures and any(waiting.values()):
                    free = (
                        numbers
                        for drives, numbers in waiting.items()
                        if numbers and all(busy[drive] < self._widths[drive] for drive in drives)
                    )
                    first = min(free, key=lambda numbers: numbers[0], default=None)
                    if first is not None:
                        busy.update(needs[first[0]])
                        return first.popleft()
                    changed.wait()
                return None

        def worker() -> None:
            while (number := next_one()) is not None:
                try:
                    work[number]()
                except BaseException as error:
                    failures.append(error)
                finally:
                    with changed:
                        busy.subtract(needs[number])
                        changed.notify_all()

        workers = min(MAX_AT_ONCE, len(work), sum(self._widths[drive] for drive in frozenset().union(*needs)))
        if workers <= 1:
            worker()
        else:
            with ThreadPoolExecutor(workers, "librarian-import") as pool:
                for _ in range(workers):
                    pool.submit(worker)
        if failures:
            raise next((f for f in failures if not isinstance(f, CancelledError)), failures[0])

    def _drive(self, path: Path) -> str:
        """The drive of a path's folder, looked up once."""
        folder = path.parent
        if folder not in self._drives:
            drive = drive_of(folder)
            self._drives[folder] = drive.id
            self._widths.setdefault(drive.id, queue_width(folder, self._width))
        return self._drives[folder]


class BatchProgress:
    """The bytes of several items that are worked on at once, as one number."""

    def __init__(self, job: JobContext, sizes: Sequence[int]) -> None:
        self.job = job
        self._lock = threading.Lock()
        self._done = 0
        job.stage("import", total=sum(sizes), unit="bytes")

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
