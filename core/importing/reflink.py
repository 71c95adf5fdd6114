"""Second names for a file's bytes that cost no room: each file changes by itself, what is equal is stored once."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

_FICLONE = 0x40049409
"""``_IOW(0x94, 9, int)`` of ``linux/fs.h``; btrfs, XFS, bcachefs, OCFS2, NFS 4.2 and SMB 3 may know it."""

_CANNOT = {
    errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM,
    errno.ETXTBSY, errno.EXDEV,
}  # fmt: skip


def clone(source: BinaryIO, target: BinaryIO) -> bool:
    """Give an empty file the bytes of another without copying them; whether the filesystem can.

    Both must be open, the second one for writing; it is not durable yet. Raises `OSError` where the filesystem
    could but fails, such as a full one.
    """
    try:
        if sys.platform == "linux":
            import fcntl

            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
            return True
        if sys.platform == "darwin":
            return _clone_on_macos(source, target)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    return False


def _clone_on_macos(source: BinaryIO, target: BinaryIO) -> bool:
    """``fclonefileat`` makes a file of its own, which takes the place of the empty one."""
    library = ctypes.CDLL(None, use_errno=True)
    beside = f"{target.name}.clone"
    at_current_folder = -2
    if library.fclonefileat(source.fileno(), at_current_folder, os.fsencode(beside), 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), beside)
    Path(beside).replace(target.name)
    return True
