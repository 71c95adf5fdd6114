"""What becomes of the files that a model was made from, once it is in the library."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from ..errors import LibrarianError
from ..storage.atomic import fsync_directory
from ..storage.disk import storage_error
from ..storage.trash import NoTrashError, to_trash
from .entry import Entry, EntryFile

logger = logging.getLogger(__name__)


class NoLinkError(LibrarianError):
    """No link could be left where a file was; the file still is there."""


class LeaveLink(Protocol):
    """Puts a link to ``source`` in the place of the file ``target``, if ``is_same`` says that it is still the one.

    Where the link stands already it is only registered. Raises `LibrarianError`, with the file untouched.
    """

    def __call__(
        self, *, model_id: str, target: Path, source: Path, is_same: Callable[[os.stat_result], bool]
    ) -> object:
        """Leave the link; once this returns it is registered."""


class Originals:
    """Removes originals or leaves links in their places: only files that are still what was read."""

    def __init__(self, leave_link: LeaveLink) -> None:
        self._leave_link = leave_link

    def settle(self, entry: Entry, final: Path) -> tuple[list[str], bool]:
        """Do what the entry says to the sources of the model in ``final``; what is done already is fine.

        The model must be durable there. Answers what the person should know, and whether nothing is left that
        trying again could do. Never raises.
        """
        if entry.originals == "keep":
            return [], True
        notes: list[str] = []
        done = True
        parents: dict[Path, None] = {}
        for file in _whole_folder_first(entry, parents):
            try:
                note = self._settle(entry, file, final / file.staged_name)
            except NoLinkError as error:
                note, done = error.message, False
            except LibrarianError as error:
                note = error.message
            except OSError as error:
                note = storage_error(error, file.source).message
            if note is not None:
                logger.warning("%s: %s", file.source, note)
                notes.append(note)
            parents[file.source.parent] = None
        _make_durable(parents)
        if entry.originals in ("remove", "trash") and entry.folder is not None:
            _remove_empty(entry.folder, parents)
        return list(dict.fromkeys(notes)), done

    def _settle(self, entry: Entry, file: EntryFile, placed: Path) -> str | None:
        """Settle one file; what the person should know of it."""
        source = file.source
        if file.keep or not os.path.lexists(source):
            return None

        def is_same(status: os.stat_result) -> bool:
            return file.is_of(status) or os.path.samestat(status, placed.stat(follow_symlinks=False))

        if entry.originals == "link":
            is_link = source.is_symlink() and source.exists() and source.samefile(placed)
            if not is_link and not is_same(source.lstat()):
                return f"{source} changed after it was imported and was left as it is."
            try:
                self._leave_link(
                    model_id=entry.model_id,
                    target=source,
                    source=placed,
                    is_same=lambda status: is_link or is_same(status),
                )
            except LibrarianError as error:
                raise NoLinkError(
                    f"It was imported, but no link could be left at {source}, which is tried again at the next "
                    f"start: {error.message}"
                ) from error
            return None
        if source.is_symlink():
            return f"{source} is a link, which was kept, like what it leads to."
        if not is_same(source.lstat()):
            return f"{source} changed after it was imported and was therefore kept."
        if entry.originals == "trash":
            if not os.access(source, os.W_OK):
                return f"{source} is write-protected and was therefore kept."
            try:
                to_trash(source)
                return None
            except NoTrashError as error:
                logger.info("%s is deleted for good: %s", source, error)
        try:
            source.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s cannot be removed: %s", source, error)
            return f"It was imported, but the original could not be removed: delete it by hand ({source})."
        return None


def _whole_folder_first(entry: Entry, parents: dict[Path, None]) -> list[EntryFile]:
    """The files that are left to settle, once a folder that holds nothing else went to the trash as one."""
    folder = entry.folder
    if entry.originals != "trash" or folder is None or not _holds_only(folder, entry.files):
        return entry.files
    try:
        to_trash(folder)
    except (LibrarianError, OSError) as error:
        logger.info("%s goes file by file: %s", folder, error)
        return entry.files
    parents[folder.parent] = None
    return []


def _holds_only(folder: Path, files: Iterable[EntryFile]) -> bool:
    """Whether a folder holds these very files, writable and unchanged, and nothing else."""
    expected = {file.source: file for file in files if not file.keep}

    def give_up(error: OSError) -> None:
        raise error

    try:
        if folder.is_symlink():
            return False
        for where, folders, names in os.walk(folder, onerror=give_up):
            if any(Path(where, name).is_symlink() for name in folders):
                return False
            for path in (Path(where, name) for name in names):
                file = expected.pop(path, None)
                if file is None or not file.is_of(path.lstat()) or not os.access(path, os.W_OK):
                    return False
    except OSError:
        return False
    return not expected


def _make_durable(folders: Iterable[Path]) -> None:
    for folder in folders:
        try:
            fsync_directory(folder)
        except OSError as error:  # gone meanwhile, or unplugged: the names in it are, too
            logger.info("%s: %s", folder, error)


def _remove_empty(folder: Path, parents: Iterable[Path]) -> None:
    """Remove the folders that the files left empty, up to ``folder`` itself."""
    inside = {
        place
        for parent in parents
        for place in (parent, *parent.parents)
        if place == folder or folder in place.parents
    }
    for place in sorted(inside, key=lambda found: -len(found.parts)):
        try:
            place.rmdir()
        except OSError:
            continue  # not empty: what else lies there is the person's
    _make_durable([folder.parent])
