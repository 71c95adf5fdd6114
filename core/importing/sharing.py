"""Files of the library with the same bytes, stored once. Each model keeps its own file, under its own name."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ..errors import ConflictError, SourceChangedError, StorageError
from ..library import Library
from ..library.index import inode_of
from ..library.metadata import INCOMING
from ..library.usage import copies_on_disk
from ..storage.atomic import fsync_directory, fsync_file
from ..storage.disk import require_writable, storage_error
from ..storage.reflink import clone, places_on_disk
from ..storage.roots import real_path
from .entry import Entry, EntryFile, entry_file
from .journal import Journal, require_library
from .transfer import Progress, Transferred, clone_file, hash_file

logger = logging.getLogger(__name__)

ShareWay = Literal["clone", "hardlink"]
"""How two files share bytes: each a file of its own that changes by itself, or two names of one file."""

PROBE_BYTES = 64 * 1024
"""Of the file with which it is tried whether a filesystem shares bytes: less may be kept beside its name."""


class SharedFile(BaseModel):
    """A file that is to share the bytes of ``keeper``, the same bytes in another file of the library.

    ``bytes_to_win`` is its size, or 0 where another name of it has to be replaced, too.
    """

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    path: str
    keeper: str
    way: ShareWay
    size_bytes: int
    bytes_to_win: int


class LeftFile(BaseModel):
    """A file that stays as it is, and why: a stable ``code``, and a sentence about it."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    path: str
    code: str
    reason: str


class SharePlan(BaseModel):
    """What sharing would do. What shares its bytes already is not mentioned."""

    files: list[SharedFile] = Field(default_factory=list)
    left: list[LeftFile] = Field(default_factory=list)
    bytes_to_win: int = 0


class ShareRequest(BaseModel):
    """Which files are to share their bytes: those with a SHA-256 of the list, or all.

    ``hard_links`` says that a person knows what a hard link means: what changes one of the files where it is
    changes the others. Without it, files are shared only where each stays a file of its own.
    """

    model_config = ConfigDict(extra="forbid")

    sha256: list[str] | None = Field(default=None, max_length=100_000)
    hard_links: bool = False


_HARD_LINKED = ("hard_linked", "It has more names (hard links) elsewhere, so its room would stay taken.")
_NO_SHARING = ("no_sharing", "This filesystem can neither share bytes (btrfs, XFS) nor hold hard links.")


class _Look(NamedTuple):
    """A file as it is; ``refusal`` says why nothing can take its place."""

    model_id: str
    path: Path
    status: os.stat_result
    refusal: tuple[str, str] | None


class Sharing:
    """Makes equal files of the library's models share their bytes.

    Each file is replaced by one rename, once both files were read and found equal; at every instant its name means
    a whole file with these bytes. What is under way is in the journal of imports.
    """

    def __init__(self, library: Library, journal: Journal) -> None:
        self._library = library
        self._journal = journal

    def plan(self, digests: Collection[str] | None = None) -> SharePlan:
        """What can share its bytes, among all or among files of these SHA-256. Changes nothing.

        Raises `StorageError` if the library is not there or cannot be written.
        """
        require_library(self._library.root)
        require_writable(self._library.root)
        plan = SharePlan()
        way: ShareWay | None = None
        for number, files in enumerate(self._library.usage.to_share(digests)):
            if number == 0:
                way = self._way()
            self._plan(files, way, plan)
        plan.bytes_to_win = sum(file.bytes_to_win for file in plan.files)
        return plan

    def share(self, file: SharedFile, progress: Progress) -> None:
        """Do it with one file; ``progress`` is told up to twice its size, since both files are read.

        Raises `ConflictError` if the bytes differ, `SourceChangedError`, `StorageError`, `CancelledError`; the file is
        as it was then, unless all that failed was to make its new name durable.
        """
        path, keeper = Path(file.path), Path(file.keeper)
        try:
            seen, kept = _file_at(path), _file_at(keeper)
            if seen.inode == kept.inode:
                return  # another process was faster
            with self._journal.staging(logger.warning) as staging:
                entry = Entry(model_id=file.model_id, files=[seen], shares=True)
                staging.write(entry)
                staged = staging.model_folder / seen.staged_name
                held = _stage(file.way, kept, staged, path, progress)
                there = hash_file(path, lambda done: progress(seen.size + done), _same_as(seen))
                if there != held:
                    raise ConflictError(
                        f"{path} and {keeper} have different bytes, whatever was known of them. Both were left as "
                        "they are. Scan the library deeply, and check the drive."
                    )
                fsync_directory(staging.model_folder)
                entry.state = "sharing"
                staging.write(entry)
                with self._library.metadata.locked():
                    _same_as(seen)(path.lstat())
                    if file.way == "hardlink":
                        _same_as(kept)(staged.lstat())
                    staged.replace(path)
                    self._note(file.model_id, path)
                    fsync_directory(path.parent)
        except FileNotFoundError as error:
            raise SourceChangedError(f"{error.filename} is not there any more.") from error
        except OSError as error:
            raise storage_error(error, path) from error

    def _note(self, model_id: str, path: Path) -> None:
        try:
            self._library.note_shared(model_id, path)
        except sqlite3.Error as error:
            logger.warning("%s shares its bytes, which the index learns with the next scan: %s", path, error)

    def _way(self) -> ShareWay | None:
        """How files can share bytes here. Raises `StorageError`."""
        try:
            with self._journal.staging(logger.warning) as staging:
                return way_in(staging.model_folder)
        except OSError as error:
            raise storage_error(error, self._library.root) from error

    def _plan(self, files: Sequence[tuple[str, Path]], way: ShareWay | None, plan: SharePlan) -> None:
        looks = []
        for model_id, path in files:
            try:
                looks.append(self._look(model_id, path))
            except CannotShareError as error:
                plan.left.append(
                    LeftFile(model_id=model_id, path=str(path), code=error.code, reason=error.message)
                )
        copies = copies_on_disk(looks, lambda look: (inode_of(look.status), str(look.path)))
        sets: dict[object, list[list[_Look]]] = {}
        for names in map(_with_other_names, copies):
            sets.setdefault(_owner(names[0].status) if way == "hardlink" else None, []).append(names)
        keepers = [_plan_set(some, way, plan) for some in sets.values()]
        for look in (look for names in keepers[1:] for look in names):
            other = keepers[0][0].path
            reason = f"It has another owner or other permissions than {other}, which one file cannot have."
            plan.left.append(_left(look, "other_owner", reason))

    def _look(self, model_id: str, path: Path) -> _Look:
        """A file as it is. Raises `CannotShareError` for what neither gives nor takes bytes."""
        try:
            status = path.lstat()
            device = (self._library.root / INCOMING).stat().st_dev
        except OSError:
            raise CannotShareError("It is not there. Scan the library.", "not_there") from None
        if not stat.S_ISREG(status.st_mode) or real_path(path) != path:
            raise CannotShareError("It is a link, or reached through one.", "is_link")
        if status.st_dev != device:
            raise CannotShareError(
                "It lies on another drive than the rest of the library.", "other_filesystem"
            )
        if not status.st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
            return _Look(model_id, path, status, ("read_only", "It is write-protected."))
        return _Look(model_id, path, status, None)


class CannotShareError(ConflictError):
    """A file neither gives its bytes to others nor takes theirs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def way_in(folder: Path) -> ShareWay | None:
    """How files can share their bytes in an empty folder: tried there. Raises `OSError`.

    Clones only where the system tells which files are clones of each other, or they would be found again and again.
    """
    one, other = folder / "one", folder / "other"
    one.write_bytes(os.urandom(PROBE_BYTES))
    fsync_file(one)
    with open(one, "rb") as source, open(other, "xb", buffering=0) as target:
        cloned = clone(source, target)
        os.fsync(target.fileno())
    if cloned and (places := places_on_disk(one)) is not None and places == places_on_disk(other):
        return "clone"
    other.unlink()
    with suppress(OSError):
        os.link(one, other)
        return "hardlink"
    return None


def _with_other_names(names: list[_Look]) -> list[_Look]:
    """The names of one copy; none can be replaced if the copy has further names, under which it would stay."""
    here = Counter(inode_of(look.status) for look in names)
    looks = []
    for look in names:
        more = look.status.st_nlink - here[inode_of(look.status)]
        looks.append(look._replace(refusal=_HARD_LINKED) if more > 0 and look.refusal is None else look)
    return looks


def _plan_set(copies: list[list[_Look]], way: ShareWay | None, plan: SharePlan) -> list[_Look]:
    """Plan for copies of which each could be the others; answers the one that stays."""
    # What cannot be replaced stays.
    copies.sort(key=lambda names: all(look.refusal is None for look in names))
    keeper = copies[0]
    for names in copies[1:]:
        refusal = next((look.refusal for look in names if look.refusal is not None), None)
        for number, look in enumerate(names, 1):
            if way is None or refusal is not None:
                plan.left.append(_left(look, *(refusal or _NO_SHARING)))
                continue
            size = look.status.st_size
            plan.files.append(
                SharedFile(
                    model_id=look.model_id,
                    path=str(look.path),
                    keeper=str(keeper[0].path),
                    way=way,
                    size_bytes=size,
                    bytes_to_win=size if number == len(names) else 0,
                )
            )
    return keeper


def _left(look: _Look, code: str, reason: str) -> LeftFile:
    return LeftFile(model_id=look.model_id, path=str(look.path), code=code, reason=reason)


def _owner(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_uid, status.st_gid, status.st_mode


def _file_at(path: Path) -> EntryFile:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise SourceChangedError(f"{path} is a link now, and was left as it is.")
    return entry_file(path, path.name, status)


def _same_as(file: EntryFile) -> Callable[[os.stat_result], None]:
    """Raises `SourceChangedError` unless a status is that of the very file that was looked at."""

    def check(status: os.stat_result) -> None:
        if not file.is_of(status):
            raise SourceChangedError(
                f"{file.source} changed since it was looked at, and was left as it is. Preview again."
            )

    return check


def _stage(way: ShareWay, kept: EntryFile, staged: Path, path: Path, progress: Progress) -> Transferred:
    """A second name of what is kept, or a clone with times, permissions and owner of what it will take the place of.

    Answers what was read of it; it is durable.
    """
    if way == "hardlink":
        os.link(kept.source, staged, follow_symlinks=False)
        held = hash_file(staged, progress, _same_as(kept))
    else:
        cloned = clone_file(kept.source, staged, progress, _same_as(kept))
        if cloned is None:
            raise StorageError(f"{kept.source} cannot share its bytes any more. Preview again.")
        held = cloned
        shutil.copystat(path, staged)
        ours, theirs = staged.stat(), path.lstat()
        if (ours.st_uid, ours.st_gid) != (theirs.st_uid, theirs.st_gid):
            os.chown(staged, theirs.st_uid, theirs.st_gid)
    fsync_file(staged)
    return held
