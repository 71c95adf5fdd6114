"""Files and folders that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path


def fsync_directory(path: Path) -> None:
    """Make the names in a folder durable. Windows does that by itself and cannot be asked to."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Replace a file's content: readers see the old or the new bytes, never a mixture.

    ``mode`` is what the umask then narrows. Raises `OSError`; the old file is then untouched.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
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


def remove_tree(path: Path) -> None:
    """Remove a folder of our own with all that is in it; one that is gone already is fine.

    Links inside are removed as links.
    """
    with suppress(FileNotFoundError):
        shutil.rmtree(path)
