from __future__ import annotations

import threading
from pathlib import Path

from send2trash import TrashPermissionError, send2trash

from ..errors import StorageError

_one_at_a_time = threading.Lock()
"""Send2Trash looks for a free name and then renames: two at once could take the same name."""


class NoTrashError(StorageError):
    """The disk has no trash, and none can be made there."""


def to_trash(path: Path) -> None:
    """Move a file or folder to the trash of its disk.

    Raises `NoTrashError` where there is none, `StorageError` if it cannot go there; it is then where it was.

    A link goes as a link; what it points to stays.
    """
    try:
        with _one_at_a_time:
            send2trash(path)
    except (TrashPermissionError, OSError) as error:
        kind = NoTrashError if isinstance(error, TrashPermissionError) else StorageError
        raise kind(
            f"{path} cannot go to the trash ({error}). It was left where it is. Delete it for good, or by hand."
        ) from error
