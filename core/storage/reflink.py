"""Second names for a file's bytes that cost no room: each file changes by itself, what is equal is stored once."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path
from typing import BinaryIO

_FICLONE = 0x40049409
"""``_IOW(0x94, 9, int)`` of ``linux/fs.h``; btrfs, XFS, bcachefs, OCFS2, NFS 4.2 and SMB 3 may know it."""

_FIEMAP = 0xC020660B
"""``_IOWR('f', 11, struct fiemap)`` of ``linux/fs.h``."""

_ASKED = struct.Struct("=QQIIII")
"""``struct fiemap`` of ``linux/fiemap.h``: start, length, flags, extents that came, extents wanted, reserved."""

_EXTENT = struct.Struct("=QQQ16xI12x")
"""``struct fiemap_extent``: where it begins in the file and on the disk, length, flags; bytes."""

_NOWHERE = 0x2 | 0x4 | 0x200
"""Flags of an extent that has no place of its own on the disk: unknown, not written yet, kept in the inode."""

_LOOKS = 16
"""In how many places it is looked where the bytes of a file are."""

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


def places_on_disk(path: Path) -> tuple[int, ...] | None:
    """Where on its disk some of a file's bytes are; nothing where the system does not tell.

    Files of equal bytes on one filesystem share them where the answers are equal. Of a file that was written just
    now it may not be known yet.
    """
    if sys.platform != "linux":
        return None
    import fcntl

    places = []
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            for offset in sorted({size * look // _LOOKS for look in range(_LOOKS)}):
                request = bytearray(_ASKED.pack(offset, 1, 0, 0, 1, 0) + bytes(_EXTENT.size))
                fcntl.ioctl(file, _FIEMAP, request)
                start, on_disk, _, flags = _EXTENT.unpack_from(request, _ASKED.size)
                if not _ASKED.unpack_from(request)[3]:
                    continue  # a hole: nothing is there
                if flags & _NOWHERE:
                    return None
                places.append(on_disk + offset - start)
    except OSError:
        return None
    return tuple(places) or None


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
