"""Files and folders that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

_CANNOT_SYNC_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""What filesystems answer that make names durable by themselves or not at all (SMB, some FUSE)."""


def fsync_directory(path: Path) -> None:
    """Make the names in a folder durable. Windows does that by itself and cannot be asked to."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make a file's bytes durable, whoever wrote them."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o666, replace: bool = True) -> None:
    """Replace a file's content: readers see the old or the new bytes, never a mixture.

    ``mode`` is what the umask then narrows. Without ``replace``, what is there stays. Raises `OSError`, which then
    is a `FileExistsError`; the old file is untouched.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            rename_new(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_directory(path.parent)


def make_directories(path: Path) -> None:
    """Create a folder and its missing parents, each made durable in its own parent."""
    missing = []
    current = path
    while not current.exists():
        missing.append(current)
        current = current.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_directory(folder.parent)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file, link or folder, but never over something that is there.

    Where the filesystem has hard links nothing can come in between; a kill may then leave both names.
    Raises `FileExistsError` if ``target`` is taken.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:  # a folder, or a filesystem without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        source.rename(target)
    else:
        source.unlink()


def free_name(path: Path, suffix: str) -> Path:
    """A name beside ``path`` that nothing has.

    It ends in ``suffix`` or, where that is taken, in ``suffix.1``, ``suffix.2`` and so on. A long name is
    shortened in front of the suffix, so that it stays within 255 bytes.
    """
    number = 0
    while True:
        ending = suffix + (f".{number}" if number else "")
        room = 255 - len(os.fsencode(ending))
        candidate = path.with_name(os.fsdecode(os.fsencode(path.name)[:room]) + ending)
        if not os.path.lexists(candidate):
            return candidate
        number += 1


def remove_tree(path: Path) -> None:
    """Remove a folder of our own with all that is in it; one that is gone already is fine.

    Links, also ``path`` itself where it is one, are removed as links. Somebody else may be removing the
    same folder.
    """
    for _ in range(10):
        try:
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)
            return
        except FileNotFoundError:
            if not os.path.lexists(path):
                return
