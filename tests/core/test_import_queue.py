"""Imports side by side: each drive has as much to do as is good for it, whichever job the work belongs to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from model_librarian.core.errors import CancelledError
from model_librarian.core.importing import ImportRequest, batch
from model_librarian.core.importing.batch import DriveQueue
from model_librarian.core.importing.source import Source
from model_librarian.core.services.reports import SettingsChange
from model_librarian.core.storage.drives import Drive, DriveKind

LIBRARY = Path("/library/.incoming")
KINDS: dict[str, DriveKind] = {"hdd": "rotating", "ssd": "ssd", "usb": "unknown", "library": "memory"}


def request(*paths: Path, **more) -> ImportRequest:
    return ImportRequest.model_validate({"items": [{"paths": [str(path)], **more} for path in paths]})


class Items:
    """Work that begins when the queue lets it and ends when the test says so; ``begun`` tells the order."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: dict[str, threading.Event] = {}
        self._changed = threading.Condition()

    def make(self, *names: str) -> list[Callable[[], None]]:
        return [self._one(name) for name in names]

    def _one(self, name: str) -> Callable[[], None]:
        self.ended[name] = threading.Event()

        def run() -> None:
            with self._changed:
                self.begun.append(name)
                self._changed.notify_all()
            assert self.ended[name].wait(20)

        return run

    def expect(self, *names: str) -> None:
        """Wait until exactly these have begun, in whatever order."""
        with self._changed:
            assert self._changed.wait_for(lambda: set(names) <= set(self.begun), 10), self.begun
            assert sorted(self.begun) == sorted(names)

    def end(self, *names: str) -> None:
        for name in names:
            self.ended[name].set()


@pytest.fixture
def items() -> Iterator[Items]:
    items = Items()
    yield items
    items.end(*items.ended)


@pytest.fixture
def queue(monkeypatch) -> Iterator[DriveQueue]:
    monkeypatch.setattr(
        batch, "drive_of", lambda path: Drive(path.parts[1], KINDS[path.parts[1]], path.parts[1])
    )
    queue = DriveQueue()
    yield queue
    queue.close()


@pytest.fixture
def job(queue) -> Iterator[Callable[..., Future[None]]]:
    """Begin a job: items that read from a drive, and write to the library unless they stay in place."""
    with ThreadPoolExecutor(8) as threads:

        def begin(work, drive: str, *, in_place: bool = False, is_cancelled=lambda: False) -> Future[None]:
            places = [Path("/", drive, "folder", "file")] + ([] if in_place else [LIBRARY])
            enrolled = len(queue._batches)
            running = threads.submit(queue.run, work, [places] * len(work), is_cancelled)
            while len(queue._batches) == enrolled and not running.done():
                time.sleep(0.001)  # the order in which jobs arrive is the test's
            return running

        yield begin


def test_a_disk_gets_one_an_ssd_two_and_an_unknown_drive_one(queue, items, job):
    jobs = [job(items.make(*(f"{drive}{n}" for n in range(4))), drive, in_place=True) for drive in KINDS]
    items.expect("hdd0", "ssd0", "ssd1", "usb0", "library0", "library1")
    items.end(*items.ended)
    for each in jobs:
        each.result(10)
    assert [name for name in items.begun if name.startswith("hdd")] == ["hdd0", "hdd1", "hdd2", "hdd3"]


def test_a_small_import_does_not_wait_for_a_large_one_on_another_drive(items, job):
    large = job(items.make("large", "large too"), "hdd")
    items.expect("large")
    small = job(items.make("small"), "usb")
    items.expect("large", "small")
    items.end("small")
    small.result(10)
    assert items.begun == ["large", "small"], "the large one still is at its first file"
    items.end("large", "large too")
    large.result(10)


def test_two_jobs_never_work_on_one_disk_at_once_and_take_turns(items, job):
    first = job(items.make("a1", "a2", "a3"), "hdd", in_place=True)
    items.expect("a1")
    second = job(items.make("b1", "b2"), "hdd", in_place=True)
    items.expect("a1")
    order = ["a1", "b1", "a2", "b2", "a3"]
    for number, name in enumerate(order):
        items.expect(*order[: number + 1])
        items.end(name)
    first.result(10)
    second.result(10)
    assert items.begun == order


def test_what_needs_two_drives_takes_a_place_on_both(items, job):
    jobs = [
        job(items.make(f"{drive}0"), drive) for drive in ("hdd", "usb", "ssd")
    ]  # all write to the library
    items.expect("hdd0", "usb0")
    items.end("usb0")
    items.expect("hdd0", "usb0", "ssd0")
    items.end("hdd0", "ssd0")
    for each in jobs:
        each.result(10)


def test_one_that_waits_for_its_drive_is_cancelled_at_once(queue, items, job):
    first = job(items.make("a"), "hdd")
    items.expect("a")
    cancelled = threading.Event()
    second = job(items.make("b"), "hdd", is_cancelled=cancelled.is_set)
    cancelled.set()
    queue.wake()
    with pytest.raises(CancelledError):
        second.result(10)
    assert not first.done()
    items.end("a")
    first.result(10)
    assert items.begun == ["a"]


def test_a_cancelled_item_ends_its_own_job_only(items, job):
    def cancelled() -> None:
        raise CancelledError("The job was cancelled.")

    other = job(items.make("other", "other too"), "usb", in_place=True)
    with pytest.raises(CancelledError):
        job([cancelled, *items.make("never")], "hdd", in_place=True).result(10)
    items.end("other", "other too")
    other.result(10)
    assert items.begun == ["other", "other too"]


def test_an_error_of_our_own_is_told_rather_than_the_cancel_that_it_led_to(job):
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job([broken], "hdd").result(10)


def test_the_drive_of_a_folder_is_that_on_which_its_files_lie(monkeypatch, tmp_path):
    asked: list[Path] = []

    def drive_of(path: Path) -> Drive:
        asked.append(path)
        return Drive("x", "ssd", "x")

    monkeypatch.setattr(batch, "drive_of", drive_of)
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "usb" / "a")
    queue = DriveQueue()
    queue.run([lambda: None] * 3, [[tmp_path / "usb"], [tmp_path / "usb" / "a"], [tmp_path / "link"]])
    queue.close()
    assert asked == [tmp_path / "usb"]


# --- Through the Librarian ----------------------------------------------------------------------------------


@pytest.fixture
def held(librarian, monkeypatch) -> Iterator[Callable[[str], threading.Event]]:
    """Let the import of a file wait in its turn until the test sets what is answered."""
    waits: dict[str, tuple[threading.Event, threading.Event]] = {}
    real = librarian.importer._import

    def one(item, paths, *more):
        begun, go = waits.get(paths[0].name, (threading.Event(), None))
        begun.set()
        assert go is None or go.wait(20)
        return real(item, paths, *more)

    monkeypatch.setattr(librarian.importer, "_import", one)

    def hold(name: str) -> tuple[threading.Event, threading.Event]:
        waits[name] = threading.Event(), threading.Event()
        return waits[name]

    yield hold
    for _, go in waits.values():
        go.set()


def test_a_job_overtakes_one_that_is_busy_on_another_drive(
    librarian, finished, make_model, downloads, monkeypatch, held
):
    monkeypatch.setattr(
        batch,
        "drive_of",
        lambda path: (
            Drive("usb", "unknown", "")
            if downloads / "usb" in (path, path.parent)
            else Drive("ssd", "ssd", "")
        ),
    )
    begun, go = held("large.safetensors")
    large = librarian.imports.start(request(make_model(downloads / "usb" / "large.safetensors")))
    assert begun.wait(10)
    waiting = librarian.imports.start(request(make_model(downloads / "usb" / "next.safetensors")))
    small = finished(librarian.imports.start(request(make_model(downloads / "small.safetensors"))))
    assert [item.state for item in small.items] == ["done"]
    seen = librarian.jobs.get(waiting.id)
    assert (seen.items[0].state, seen.ended) == ("queued", False)
    librarian.jobs.cancel(waiting.id)
    assert finished(waiting).state == "cancelled", "while the drive still is busy"
    assert librarian.jobs.get(large.id).state == "running"
    go.set()
    assert finished(large).items[0].state == "done"
    assert (downloads / "usb" / "next.safetensors").exists()


def test_what_waits_for_its_drive_says_so(librarian, finished, make_model, downloads, held):
    librarian.preferences.change(SettingsChange(transfers_at_once=1))
    begun, go = held("first.safetensors")
    first = librarian.imports.start(request(make_model(downloads / "first.safetensors")))
    assert begun.wait(10)
    stages: list[str] = []
    librarian.events.subscribe(
        lambda _, job: stages.append(job.stage) if getattr(job, "id", "") != first.id else None
    )
    second = librarian.imports.start(request(make_model(downloads / "second.safetensors")))
    go.set()
    assert finished(second).items[0].state == "done"
    assert [stage for at, stage in enumerate(stages) if stage and stage not in stages[:at]][:2] == [
        "waiting",
        "import",
    ]


def test_the_same_bytes_under_two_names_side_by_side_are_one_model(
    librarian, finished, make_model, downloads, monkeypatch
):
    """Both have read their file before either of them looks whether it is known."""
    librarian.preferences.change(SettingsChange(transfers_at_once=2))
    paths = [make_model(downloads / f"{name}.safetensors", seed=1) for name in ("one", "two")]
    read = threading.Barrier(2, timeout=10)
    transfer = Source.transfer

    def transferred(self, staging):
        arrived = transfer(self, staging)
        read.wait()
        return arrived

    monkeypatch.setattr(Source, "transfer", transferred)
    job = finished(librarian.imports.start(request(*paths)))
    assert sorted(item.state for item in job.items) == ["done", "skipped"], job.items
    assert len(list(librarian.library.root.glob("*/*/*/metadata.json"))) == 1


def test_the_index_is_written_back_every_five_models_and_at_the_end(
    librarian, finished, make_model, downloads, monkeypatch
):
    librarian.preferences.change(SettingsChange(transfers_at_once=1))
    at: list[int] = []
    real = librarian.library.checkpoint

    def checkpoint() -> None:
        at.append(librarian.library.totals().models)
        real()

    monkeypatch.setattr(librarian.library, "checkpoint", checkpoint)
    paths = [make_model(downloads / f"{number}.safetensors") for number in range(11)]
    finished(librarian.imports.start(request(*paths)))
    assert at == [5, 10, 11]
