from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from stat import S_ISREG

from ..settings import MODEL_EXTENSIONS
from ..turns import give_way, in_turns
from .metadata import INCOMING, METADATA_NAME

logger = logging.getLogger(__name__)

SETTLE_MS = 500
"""A change is told when nothing more has changed for this long: a copy is one change, not thousands."""

PATIENCE_MS = 4 * SETTLE_MS
"""After so long it is told although more is changing."""


class Watcher:
    """Tells which files came, went or changed in some folders, where the filesystem can notify.

    A folder that is not there, or goes, is looked for twice a second, which also finds a drive that is mounted in
    its place. Network shares and full watch tables cannot notify; there the quick scan at start and on demand
    does it.
    """

    def __init__(self, folders: Iterable[Path], changed: Callable[[set[Path]], object]) -> None:
        self._folders = [*dict.fromkeys(folders)]
        self._changed = changed
        self._lock = threading.Lock()
        self._started = self._closed = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch in a thread of its own."""
        with self._lock:
            self._started = True
            self._begin()

    def watch(self, folders: Iterable[Path]) -> None:
        """Watch these folders from now on. Takes up to half a second."""
        with self._lock:
            wanted = [*dict.fromkeys(folders)]
            if wanted == self._folders or self._closed:
                return
            self._folders = wanted
            if self._started:
                self._end()
                self._begin()

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            self._closed = True
            self._end()

    def _begin(self) -> None:
        if self._folders and not self._closed:
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._watch, args=(self._folders, self._stop), name="librarian-watch", daemon=True
            )
            self._thread.start()

    def _end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, folders: list[Path], stop: threading.Event) -> None:
        notified = _by_inotify if sys.platform == "linux" else _by_watchfiles
        try:
            for paths in notified(folders, stop):
                try:
                    self._changed(paths)
                except Exception:  # the next change is told all the same
                    logger.exception("a change in the models folders was not looked at")
        except (OSError, RuntimeError, ImportError) as error:
            logger.info("changes in the models folders are not noticed by themselves here: %s", error)


def _there(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if os.path.isdir(folder)]  # noqa: PTH112  # never raises


def _matters(path: Path) -> bool:
    if INCOMING in path.parts:
        return False
    return path.suffix.lower() in MODEL_EXTENSIONS or path.name == METADATA_NAME or path.is_dir()


def _by_watchfiles(folders: list[Path], stop: threading.Event) -> Iterator[set[Path]]:
    from watchfiles import watch

    there: list[Path] = []
    while not stop.is_set():
        before, there = there, _there(folders)
        come = set(there).difference(before)
        if come:
            yield come
        if not there:
            stop.wait(SETTLE_MS / 1000)
            continue
        for changes in watch(
            *there,
            watch_filter=lambda _, path: _matters(Path(path)),
            step=SETTLE_MS // 5,
            debounce=PATIENCE_MS,
            stop_event=stop,
            rust_timeout=SETTLE_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            if changes:
                yield {Path(path) for _, path in changes}
            if _there(folders) != there:
                break


def _by_inotify(folders: list[Path], stop: threading.Event) -> Iterator[set[Path]]:
    """Watch each directory by itself; docs/decisions/0007 says why not by watchfiles here. Raises `OSError`."""
    from inotify_simple import INotify, flags

    watched = (
        flags.CREATE | flags.CLOSE_WRITE | flags.MOVED_FROM | flags.MOVED_TO | flags.DELETE | flags.ONLYDIR
    )
    directories: dict[int, str] = {}
    missing = list(folders)

    def watch(folder: str) -> None:
        """Watch a directory and all below it, also through links; one that is watched already ends the way."""
        waiting = [folder]
        while waiting and not stop.is_set():
            directory = waiting.pop()
            if os.path.basename(directory) == INCOMING:  # noqa: PTH119
                continue
            try:
                number = inotify.add_watch(directory, watched)
                if number in directories and os.path.isdir(directories[number]):  # noqa: PTH112
                    continue
                directories[number] = directory
                with os.scandir(directory) as entries:
                    waiting += [entry.path for entry in in_turns(entries) if entry.is_dir()]
            except OSError as error:
                if error.errno == errno.ENOSPC:  # the table of watches is full
                    raise
            give_way()

    with INotify() as inotify:
        changed: set[Path] = set()
        since = looked = 0.0
        while not stop.is_set():
            if missing and time.monotonic() - looked > SETTLE_MS / 2000:
                for folder in _there(missing):
                    watch(str(folder))
                    missing.remove(folder)
                    changed.add(folder)  # what came before it was watched was told by nobody
                looked = time.monotonic()
            events = inotify.read(timeout=SETTLE_MS)
            for event in events:
                if event.mask & flags.Q_OVERFLOW:
                    changed.update(folders)
                if event.mask & flags.IGNORED:
                    gone = Path(directories.pop(event.wd, ""))
                    if gone in folders and gone not in missing:
                        missing.append(gone)
                if event.wd not in directories or not event.name:
                    continue
                path = Path(directories[event.wd], event.name)
                if event.mask & flags.ISDIR:
                    if event.mask & (flags.CREATE | flags.MOVED_TO):
                        watch(str(path))
                    changed.add(path)
                elif _matters(path) and not (event.mask & flags.CREATE and _is_being_written(path)):
                    changed.add(path)
            if changed and not since:
                since = time.monotonic()
            if changed and (not events or time.monotonic() - since > PATIENCE_MS / 1000):
                yield changed
                changed, since = set(), 0.0


def _is_being_written(path: Path) -> bool:
    """Whether a file that was just made will be told of once it is closed, too; links are whole at once."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return S_ISREG(status.st_mode) and status.st_nlink == 1
