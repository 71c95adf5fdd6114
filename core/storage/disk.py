"""What the operating system knows of disks and files."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from ..errors import InsufficientSpaceError, StorageError

SPACE_MARGIN_BYTES = 64 * 1024 * 1024
"""Room that stays free after an import, so that the disk is not filled to the last byte."""


def lower_thread_priority() -> None:
    """Let this thread have processor and disk only when nobody else wants them, where the system can."""
    thread = threading.get_native_id()
    with suppress(OSError, AttributeError, psutil.Error, ValueError):
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, thread, 19)
            psutil.Process(thread).ionice(psutil.IOPRIO_CLASS_IDLE)


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
        raise InsufficientSpaceError(
            f"Not enough room at {folder}: {_gigabytes(size)} needed, {_gigabytes(free)} free. "
            "Free some room, or move the library to a larger disk."
        )


def require_writable(folder: Path) -> None:
    """Raise `StorageError` unless files can be made in ``folder`` or its nearest existing parent."""
    place = existing_ancestor(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(
            f"{place} is read-only for this user. Change its permissions or choose another folder."
        )


def storage_error(error: OSError, path: Path) -> StorageError:
    """What an `OSError` means to a person; ``path`` is named where the error itself names none."""
    place = error.filename if isinstance(error.filename, str) else path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InsufficientSpaceError(
            f"The disk became full while writing {place}. Nothing was changed. Free some room and try again."
        )
    if error.errno == errno.EROFS:
        return StorageError(
            f"{place} lies on a read-only filesystem. Make it writable, or choose another folder."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(f"No permission for {place}. Change its permissions, or choose another folder.")
    return StorageError(f"{place}: {error.strerror or error}. Check the drive and try again.")


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
