from __future__ import annotations

from pathlib import Path

from send2trash import TrashPermissionError, send2trash

from ..errors import StorageError


def to_trash(path: Path) -> None:
    """Move a file or folder to the trash of its disk. Raises `StorageError` where there is none.

    A link goes as a link; what it points to stays.
    """
    try:
        send2trash(path)
    except (TrashPermissionError, OSError) as error:
        raise StorageError(f"{path} cannot go to the trash ({error}). It was left where it is.") from error
