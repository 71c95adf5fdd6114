"""What the operating system knows of disks and files."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from ..errors import InsufficientSpaceError, StorageError

SPACE_MARGIN_BYTES = 64 * 1024 * 1024
"""Room that stays free after an import, so that the disk is not filled to the last byte."""


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
    """What an `OSError` means to a person."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InsufficientSpaceError(f"The disk became full while writing {path}. Nothing was changed.")
    if error.errno == errno.EROFS:
        return StorageError(f"{path} lies on a read-only filesystem.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(f"No permission for {path}.")
    return StorageError(f"{path}: {error.strerror or error}")


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
