"""What the operating system knows of disks and files."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import psutil

from ..errors import InsufficientSpaceError, StorageError
from ..sentences import say
from .mounts import ROOT, mount_of

if sys.platform == "linux":
    import fcntl

SPACE_MARGIN_BYTES = 64 * 1024 * 1024
"""Room that stays free after an import, so that the disk is not filled to the last byte."""

_SYNC_FILE_RANGE_WRITE = 2
"""From ``linux/fs.h``; Python has no name for it."""

_NTFS = {"ntfs", "ntfs3", "fuseblk", "fuse.ntfs-3g", "ntfs-3g"}
"""Types of mounts that are NTFS; ``fuseblk`` nearly always is."""


def lower_disk_priority() -> None:
    """Let this thread have the disk only when nobody else wants it, where the system can.

    Its priority for the processors stays as it is: a thread that waits for one while it holds Python's interpreter
    keeps all others waiting, ComfyUI's event loop among them.
    """
    thread = threading.get_native_id()
    with suppress(OSError, AttributeError, psutil.Error, ValueError):
        if sys.platform == "linux":
            psutil.Process(thread).ionice(psutil.IOPRIO_CLASS_IDLE)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    function = getattr(ctypes.CDLL(None), "sync_file_range", None) if sys.platform == "linux" else None
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


def begin_writing_back(descriptor: int, start: int, length: int) -> None:
    """Have the disk begin with ``length`` bytes from ``start`` that were just written, where the system can.

    They stay in memory, and nothing is promised: what must be durable still needs its `fsync`.
    """
    function = _sync_file_range()
    if function is not None:
        function(descriptor, start, length, _SYNC_FILE_RANGE_WRITE)


def bypass_cache(file: BinaryIO) -> None:
    """Have what is written to a file go to its disk at once and past the system's memory, where that can be.

    So a large file does not push out of memory what others need, and is not copied once more. Linux alone knows it,
    not every filesystem does, and then each write is of whole blocks of the disk, from memory that begins with a
    page: else it raises `OSError` with EINVAL, and `use_cache` helps.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)


def use_cache(file: BinaryIO) -> bool:
    """End what `bypass_cache` began; whether it had begun."""
    if sys.platform != "linux":
        return False
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    fcntl.fcntl(file, fcntl.F_SETFL, flags & ~os.O_DIRECT)
    return bool(flags & os.O_DIRECT)


def existing_ancestor(path: Path) -> Path:
    """The path itself or its nearest parent that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def same_filesystem(one: Path, other: Path) -> bool:
    """Whether a rename or hard link between the two places can work. Neither needs to exist."""
    return existing_ancestor(one).stat().st_dev == existing_ancestor(other).stat().st_dev


def require_space(folder: Path, size: int) -> None:
    """Raise `InsufficientSpaceError` unless ``size`` bytes and a margin are free at ``folder``."""
    free = shutil.disk_usage(existing_ancestor(folder)).free
    if free < size + SPACE_MARGIN_BYTES:
        raise InsufficientSpaceError(no_room(folder, size, free))


def no_room(folder: Path, size: int, free: int) -> str:
    """Says that ``size`` bytes and a margin do not fit where only ``free`` bytes are."""
    return say(
        "insufficient_space",
        "Not enough room at {place}: {needed_bytes} needed, {free_bytes} free. Free some room, or move the library "
        "to a larger disk.",
        place=folder,
        needed_bytes=size + SPACE_MARGIN_BYTES,
        free_bytes=free,
    )


def require_writable(folder: Path) -> None:
    """Raise `StorageError` unless files can be made in ``folder`` or its nearest existing parent."""
    problem = why_not_writable(existing_ancestor(folder))
    if problem:
        raise StorageError(problem)


def why_not_writable(place: Path, root: Path = ROOT) -> str | None:
    """Why nothing can be made in an existing folder, and what to do; nothing if it can."""
    mount = mount_of(place, root)
    if mount is not None and mount.read_only:
        return _read_only(place, root)
    if os.access(place, os.W_OK | os.X_OK):
        return None
    if sys.platform != "win32" and os.statvfs(place).f_flag & os.ST_RDONLY:
        return _read_only(place, root)
    return say(
        "not_writable",
        "{place} is read-only for this user. Change its permissions or choose another folder.",
        place=place,
    )


def is_dirty_ntfs(place: Path, root: Path = ROOT) -> bool:
    """Whether a place is on an NTFS drive that was not shut down cleanly, as far as the system tells.

    The kernel's driver says so in ``/proc/fs/ntfs3``; of other drivers only a mount that became read-only tells.
    """
    mount = mount_of(place, root)
    if mount is None or mount.fstype not in _NTFS:
        return False
    device = Path(mount.source).name
    for name in {device, (root / "sys/dev/block" / mount.device).resolve().name}:
        try:
            return b"dirty" in (root / "proc/fs/ntfs3" / name / "volinfo").read_bytes().split(b"\n")
        except OSError:
            continue
    return mount.read_only


class Presence:
    """Whether something is there, as ``look`` finds; who asks waits ``PATIENCE_S`` at most.

    It is looked for in a thread of its own, since a network share that is gone may not answer for minutes.
    """

    PATIENCE_S = 1.0

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found = True

    def __call__(self) -> bool:
        """What was found last: just now, if that takes no longer."""
        with self._lock:
            thread = self._thread
            if thread is None or not thread.is_alive():
                thread = self._thread = threading.Thread(
                    target=self._find, name="librarian-presence", daemon=True
                )
                thread.start()
        thread.join(self.PATIENCE_S)
        return self._found

    def _find(self) -> None:
        self._found = self._look()


def is_disk_full(error: OSError) -> bool:
    """Whether there is no room, or no more than a quota allows."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def storage_error(error: OSError, path: Path) -> StorageError:
    """What an `OSError` means to a person; ``path`` is named where the error itself names none."""
    place = error.filename if isinstance(error.filename, str) else path
    if is_disk_full(error):
        return InsufficientSpaceError(
            say(
                "disk_full",
                "The disk became full while writing {place}. Nothing was changed. Free some room and try again.",
                place=place,
            )
        )
    if error.errno == errno.EROFS:
        return StorageError(_read_only(Path(place)))
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(
            say(
                "no_permission",
                "No permission for {place}. Change its permissions, or choose another folder.",
                place=place,
            )
        )
    if error.errno == errno.EFBIG:
        return StorageError(
            say(
                "too_large_for_drive",
                "{place} is too large for its drive, such as one with FAT32. Choose another drive.",
                place=place,
            )
        )
    if error.errno == errno.ENAMETOOLONG:
        return StorageError(
            say(
                "name_too_long_for_drive",
                "{place} has a name that is too long for its drive. Shorten it.",
                place=place,
            )
        )
    return StorageError(
        say(
            "drive_failed",
            "{place}: {error}. Check the drive and try again.",
            place=place,
            error=error.strerror or error,
        )
    )


def _read_only(place: Path, root: Path = ROOT) -> str:
    if is_dirty_ntfs(place, root):
        return say(
            "ntfs_read_only",
            "{place} is on a Windows drive (NTFS) that is mounted read-only: it was not shut down cleanly, or has "
            "errors. Shut Windows down fully (not to sleep) or run «chkdsk /f» there, or unmount the drive and run "
            "«sudo ntfsfix -d» on it; then mount it again.",
            place=place,
        )
    return say(
        "read_only_filesystem",
        "{place} lies on a read-only filesystem. Make it writable, or choose another folder.",
        place=place,
    )
