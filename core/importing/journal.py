from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import Timeout
from pydantic import BaseModel, Field, ValidationError

from ..errors import StorageError
from ..library.metadata import INCOMING, METADATA_NAME, MetadataStore
from ..sentences import Sentence, say
from ..storage.atomic import (
    free_name,
    fsync_directory,
    make_directories,
    remove_tree,
    rename_new,
    write_atomic,
)
from ..storage.disk import storage_error
from ..storage.locks import ProcessLock
from .entry import Entry
from .originals import Originals

logger = logging.getLogger(__name__)

JOURNAL_NAME = "journal.json"
LIBRARY_NAME = "library.json"
GRAVEYARD = "removed-"

_OURS = re.compile(rf"(?:{GRAVEYARD})?[0-9a-f]{{32}}")
"""What Librarian itself puts into ``.incoming``; anything else there is somebody's and stays."""


class Staging:
    """The folder in ``.incoming`` where one import is made ready, with its journal and lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model_folder = folder / "model"
        self.lock = ProcessLock(folder / "lock")
        self.entry: Entry | None = None
        self.settled: Recovered | None = None
        """How the import ended, once it did."""

    def write(self, entry: Entry) -> None:
        """Make the journal durable."""
        write_atomic(self.folder / JOURNAL_NAME, entry.model_dump_json().encode())
        self.entry = entry

    def read(self) -> None:
        """Read the journal that an earlier process left; none means that nothing had begun.

        Raises `OSError` or `ValidationError` if there is one that cannot be read.
        """
        try:
            self.entry = Entry.model_validate_json((self.folder / JOURNAL_NAME).read_bytes())
        except FileNotFoundError:
            self.entry = None

    def remove(self) -> None:
        """Remove the folder and its lock; the journal first, so that nobody takes it for an unfinished one."""
        (self.folder / JOURNAL_NAME).unlink(missing_ok=True)
        self.lock.release()
        remove_tree(self.folder)


class Recovered(BaseModel):
    """What became of an import, or of one file that was to share its bytes (``shares``), such as one that was cut off.

    ``notes`` say what the person should know of it; with ``pending`` some links could not be left where its files
    were, or some files could not be given back, which is tried again at the next start.
    """

    model_id: str
    source: str
    outcome: Literal["finished", "undone"]
    replaces: str | None = None
    notes: list[str] = Field(default_factory=list)
    pending: bool = False
    shares: bool = False

    @property
    def what(self) -> str:
        """What was done to the source, as a sentence begins."""
        return "Sharing the bytes" if self.shares else "The import"


def has_library(root: Path) -> bool:
    """Whether the library is there: where its drive was, there may be an empty folder, or only errors."""
    try:
        return (root / LIBRARY_NAME).is_file()
    except OSError:
        return False


def library_unreachable(root: Path) -> Sentence:
    """What is said of a library that is not there."""
    return say(
        "library_unreachable",
        "The library {root} cannot be reached. Connect its drive, or choose another folder.",
        root=root,
    )


def require_library(root: Path) -> None:
    """Raise `StorageError` unless the library is there."""
    if not has_library(root):
        raise StorageError(library_unreachable(root))


class Journal:
    """Every running import of a library, by every process that works on it."""

    def __init__(self, metadata: MetadataStore, originals: Originals) -> None:
        self._metadata = metadata
        self._originals = originals
        self._incoming = metadata.root / INCOMING

    @contextmanager
    def staging(self, told: Callable[[str], object]) -> Iterator[Staging]:
        """A fresh folder, locked while it is used. However it is left, its import is finished or undone then.

        What the person should know of one that was undone goes to ``told``.
        """
        with self._metadata.locked():
            staging = Staging(self._incoming / uuid.uuid4().hex)
            make_directories(staging.model_folder)
            staging.lock.acquire(0)
        try:
            yield staging
        finally:
            recovered = self._close(staging)
            if recovered is not None and recovered.outcome == "undone":
                for note in recovered.notes:
                    told(note)

    def place(self, staging: Staging, entry: Entry, known: Callable[[], str | None]) -> str | None:
        """Give the staged folder its final name; answers the id of the model that then has its files.

        That is another one if ``known`` names it, which is asked when no other process can place anything; none if
        the name is taken meanwhile. The journal says so first, and both parents are durable afterwards.
        """
        final = self._metadata.folder(entry.model_id)
        make_directories(final.parent)
        entry.state = "placing"
        staging.write(entry)
        with self._metadata.locked():
            same = known()
            if same is not None or os.path.lexists(final):
                return same
            self._metadata.note_placed(entry.model_id)
            staging.model_folder.rename(final)
        return entry.model_id

    def recover(self) -> Iterator[Recovered]:
        """Finish or undo what a crash cut off. Imports that still run in another process are left alone.

        Never raises: what cannot be mended now stays as it is until the next start.
        """
        try:
            folders = sorted(path for path in self._incoming.iterdir() if _is_ours(path))
        except OSError as error:
            logger.warning("%s cannot be read, so nothing is mended there: %s", self._incoming, error)
            return
        for folder in folders:
            staging = Staging(folder)
            try:
                with self._metadata.locked():
                    staging.lock.acquire(0)
                staging.read()
            except Timeout:
                continue
            except FileNotFoundError:
                continue  # another process was faster
            except (OSError, ValidationError) as error:
                logger.warning("%s holds an import that cannot be understood and is kept: %s", folder, error)
                staging.lock.release()
                continue
            recovered = self._close(staging)
            if recovered is not None:
                logger.info(
                    "%s of %s was cut off and is now %s", recovered.what, recovered.source, recovered.outcome
                )
                yield recovered

    def _close(self, staging: Staging) -> Recovered | None:
        """Finish or undo the import and remove its staging; what cannot be settled is kept for the next start."""
        recovered = None
        try:
            if staging.entry is not None:
                recovered = staging.settled = self._settle(staging, staging.entry)
            if recovered is not None and recovered.pending:
                staging.lock.release()
            else:
                staging.remove()
        except OSError as error:
            logger.warning("%s could not be cleaned up and is tried again later: %s", staging.folder, error)
            staging.lock.release()
        return recovered

    def _settle(self, staging: Staging, entry: Entry) -> Recovered:
        """The one way in which an import ends, whether it ran through, failed, or was killed."""
        if entry.shares:
            return _settle_shared(staging, entry)
        final = self._metadata.folder(entry.model_id)
        done = (
            entry.state == "placing" and not os.path.lexists(staging.model_folder) and _is_whole(final, entry)
        )
        recovered = Recovered(
            model_id=entry.model_id,
            source=str(entry.folder or entry.files[0].source),
            outcome="finished" if done else "undone",
            replaces=entry.replaces if done else None,
        )
        if done:
            fsync_directory(final.parent)
            fsync_directory(staging.folder)
            recovered.notes, all_settled = self._originals.settle(entry, final)
            recovered.pending = not all_settled
            if entry.replaces is not None and all_settled:
                self._metadata.discard(entry.replaces)
        else:
            recovered.notes = _give_back_all(staging, entry)
            recovered.pending = bool(recovered.notes)
        return recovered


def _settle_shared(staging: Staging, entry: Entry) -> Recovered:
    """One file has taken the place of another, or not; the folder goes with what is left in it."""
    [file] = entry.files
    done = entry.state == "sharing" and not os.path.lexists(staging.model_folder / file.staged_name)
    if done:
        with suppress(FileNotFoundError):  # the model was deleted since
            fsync_directory(file.source.parent)
    return Recovered(
        model_id=entry.model_id,
        source=str(file.source),
        outcome="finished" if done else "undone",
        shares=True,
    )


def _is_ours(folder: Path) -> bool:
    return bool(_OURS.fullmatch(folder.name)) and folder.is_dir() and not folder.is_symlink()


def _is_whole(final: Path, entry: Entry) -> bool:
    try:
        return (final / METADATA_NAME).is_file() and all(
            (final / file.staged_name).stat().st_size == file.size for file in entry.files
        )
    except FileNotFoundError:
        return False


def _give_back_all(staging: Staging, entry: Entry) -> list[str]:
    """Return every file that was taken into staging; one that cannot be returned holds up no other, and is told."""
    notes = []
    for file in entry.files:
        staged = staging.model_folder / file.staged_name
        if file.taken and os.path.lexists(staged):
            try:
                _give_back(staged, file.source)
            except OSError as error:
                reason = storage_error(error, file.source).message
                logger.warning("%s could not be given back and waits as %s: %s", file.source, staged, error)
                notes.append(
                    f"{file.source} could not be given back, which is tried again at the next start; until then the "
                    f"file is kept as {staged}: {reason}"
                )
    return notes


def _give_back(staged: Path, source: Path) -> None:
    """Return a file that was taken into staging; if its name has another file now, under a name beside it."""
    if os.path.lexists(source) and not source.is_symlink() and staged.samefile(source):
        return  # it never lost its own name
    try:
        rename_new(staged, source)
    except FileExistsError:
        source = free_name(source, ".recovered")
        logger.warning("another file has the name of an import that was undone; it is kept as %s", source)
        rename_new(staged, source)
    fsync_directory(source.parent)
