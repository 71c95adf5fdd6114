from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from ..library.metadata import INCOMING, METADATA_NAME, MetadataStore
from ..storage.atomic import fsync_directory, make_directories, remove_tree, write_atomic

logger = logging.getLogger(__name__)

JOURNAL_NAME = "journal.json"


class Entry(BaseModel):
    """What one import is doing, as it stands on disk before each step that a crash could cut in two.

    ``placing`` means that the staged folder may have its final name already. ``inode``, ``size`` (bytes)
    and ``mtime_ns`` tell whether the source is still the file that was read.
    """

    model_id: str
    mode: Literal["copy", "move"]
    state: Literal["staging", "placing"] = "staging"
    source: Path
    staged_name: str
    size: int
    mtime_ns: int
    inode: str


class Staging:
    """The folder in ``.incoming`` where one import is made ready, with its journal and lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model_folder = folder / "model"
        self.lock = FileLock(folder / "lock", blocking=False)

    def write(self, entry: Entry) -> None:
        """Make the journal durable."""
        write_atomic(self.folder / JOURNAL_NAME, entry.model_dump_json().encode())

    def read(self) -> Entry | None:
        """The journal, or nothing if there is none that can be read."""
        try:
            return Entry.model_validate_json((self.folder / JOURNAL_NAME).read_bytes())
        except (OSError, ValidationError):
            return None


class Recovered(BaseModel):
    """What became of an import that was cut off."""

    model_id: str
    source: str
    outcome: Literal["finished", "undone"]


class Journal:
    """Every running import of a library, by every process that works on it."""

    def __init__(self, metadata: MetadataStore) -> None:
        self._metadata = metadata
        self._incoming = metadata.root / INCOMING

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """A fresh folder, locked while it is used and removed afterwards."""
        with self._metadata.locked():
            staging = Staging(self._incoming / uuid.uuid4().hex)
            make_directories(staging.model_folder)
            staging.lock.acquire()
        try:
            yield staging
        finally:
            entry = staging.read()
            if entry is not None:
                _give_back(staging, entry)
            staging.lock.release()
            remove_tree(staging.folder)

    def place(self, staging: Staging, entry: Entry) -> bool:
        """Give the staged folder its final name; ``False`` if that name is taken meanwhile.

        The journal says so first, and both parents are durable afterwards.
        """
        final = self._metadata.folder(entry.model_id)
        make_directories(final.parent)
        entry.state = "placing"
        staging.write(entry)
        with self._metadata.locked():
            if final.exists():
                return False
            staging.model_folder.rename(final)
        fsync_directory(final.parent)
        fsync_directory(staging.folder)
        return True

    def recover(self) -> Iterator[Recovered]:
        """Finish or undo what a crash cut off. Imports that still run in another process are left alone."""
        if not self._incoming.is_dir():
            return
        for folder in sorted(self._incoming.iterdir()):
            if not folder.is_dir():
                continue
            staging = Staging(folder)
            with self._metadata.locked():
                try:
                    staging.lock.acquire()
                except Timeout:
                    continue
            entry = staging.read()
            try:
                recovered = self._recover(staging, entry) if entry is not None else None
            except OSError as error:
                logger.warning(
                    "%s could not be cleaned up and is tried again at the next start: %s", folder, error
                )
                staging.lock.release()
                continue
            staging.lock.release()
            remove_tree(folder)
            if recovered is not None:
                logger.info("the import of %s was cut off and is now %s", recovered.source, recovered.outcome)
                yield recovered

    def _recover(self, staging: Staging, entry: Entry) -> Recovered:
        placed = (
            entry.state == "placing"
            and not staging.model_folder.exists()
            and (self._metadata.folder(entry.model_id) / METADATA_NAME).exists()
        )
        if placed:
            if entry.mode == "move":
                remove_source(entry)
            return Recovered(model_id=entry.model_id, source=str(entry.source), outcome="finished")
        _give_back(staging, entry)
        return Recovered(model_id=entry.model_id, source=str(entry.source), outcome="undone")


def _give_back(staging: Staging, entry: Entry) -> None:
    """Return a file that was moved into staging, where that is its only name."""
    staged = staging.model_folder / entry.staged_name
    if entry.mode == "move" and staged.exists() and not os.path.lexists(entry.source):
        staged.rename(entry.source)
        fsync_directory(entry.source.parent)


def remove_source(entry: Entry) -> bool:
    """Remove the original of a move, if it is still the very file that was read."""
    with suppress(FileNotFoundError):
        status = entry.source.stat(follow_symlinks=False)
        if (status.st_size, status.st_mtime_ns, f"{status.st_dev}:{status.st_ino}") == (
            entry.size,
            entry.mtime_ns,
            entry.inode,
        ):
            entry.source.unlink()
            fsync_directory(entry.source.parent)
            return True
        logger.warning("%s changed after it was imported and was therefore kept", entry.source)
    return False
