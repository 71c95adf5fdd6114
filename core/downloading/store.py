"""What is written down of downloads, so that they outlive this process and the machine."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import Timeout
from pydantic import ValidationError

from ..library.metadata import INCOMING
from ..storage.atomic import make_directories, remove_tree, write_atomic
from ..storage.disk import storage_error
from ..storage.locks import ProcessLock
from ..storage.names import safe_name
from .records import Entry

logger = logging.getLogger(__name__)

_JOURNAL = "download.json"
_LOCK = "lock"
_ASIDE = "aside"
_WRONG = ".mismatch"
_LONGEST_ASIDE = 200
_FOLDER = re.compile(r"download-[0-9a-f]{32}")


class Kept:
    """One download's folder in ``.incoming``, held by this process until it is released or removed.

    ``download-<id>/download.json`` is the entry, ``download-<id>/lock`` is held by the process that works on it,
    ``download-<id>/aside/`` has what came with other bytes than published.
    """

    def __init__(self, folder: Path, lock: ProcessLock) -> None:
        self.folder = folder
        self._lock = lock

    def write(self, entry: Entry) -> None:
        """Write the entry down, durably. Raises `StorageError`."""
        try:
            write_atomic(self.folder / _JOURNAL, entry.model_dump_json().encode())
        except OSError as error:
            raise storage_error(error, self.folder) from error

    def aside(self, name: str) -> Path:
        """Where a file called so is kept aside: under no name that a model's file could have."""
        return self.aside_at(safe_name(name, max_bytes=_LONGEST_ASIDE) + _WRONG)

    def aside_at(self, name: str) -> Path:
        """Where what is kept aside under this name lies."""
        return self.folder / _ASIDE / name

    def remove_aside(self) -> None:
        """Remove all that is kept aside. Raises `StorageError`."""
        try:
            if (self.folder / _ASIDE).is_dir():
                remove_tree(self.folder / _ASIDE)
        except OSError as error:
            raise storage_error(error, self.folder) from error

    def release(self) -> None:
        """Leave it to whoever looks next."""
        self._lock.release()

    def remove(self) -> None:
        """Remove it, the entry first, so that what a crash leaves is nobody's. Raises `StorageError`."""
        try:
            (self.folder / _JOURNAL).unlink(missing_ok=True)
            self._lock.release()
            remove_tree(self.folder)
        except OSError as error:
            raise storage_error(error, self.folder) from error


class Store:
    """The downloads of a library."""

    def __init__(self, root: Path) -> None:
        self._incoming = root / INCOMING

    def create(self, entry: Entry) -> Kept:
        """Write a new download down. Raises `StorageError`."""
        folder = self._incoming / f"download-{entry.id}"
        try:
            make_directories(folder)
            lock = ProcessLock(folder / _LOCK)
            lock.acquire(0)
        except (OSError, Timeout) as error:
            if isinstance(error, Timeout):
                raise
            raise storage_error(error, folder) from error
        kept = Kept(folder, lock)
        try:
            kept.write(entry)
        except BaseException:
            lock.release()
            with suppress(OSError):
                remove_tree(folder)
            raise
        return kept

    def load(self) -> Iterator[tuple[Entry, Kept]]:
        """The downloads that no other process works on, oldest first. Never raises: what cannot be read is kept."""
        found: list[tuple[Entry, Kept]] = []
        for folder in self._folders():
            lock = ProcessLock(folder / _LOCK)
            try:
                lock.acquire(0)
            except (OSError, Timeout):
                continue
            kept = Kept(folder, lock)
            try:
                found.append((Entry.model_validate_json((folder / _JOURNAL).read_bytes()), kept))
            except FileNotFoundError:  # it was cut off while it was created or removed
                with suppress(Exception):
                    kept.remove()
            except (OSError, ValidationError) as error:
                logger.warning("%s holds a download that cannot be understood and is kept: %s", folder, error)
                lock.release()
        yield from sorted(found, key=lambda one: one[0].created_at)

    def _folders(self) -> list[Path]:
        try:
            return [
                path
                for path in self._incoming.iterdir()
                if _FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
            ]
        except OSError:
            return []
