"""Locks between processes, also on filesystems that have none."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from types import TracebackType

from filelock import FileLock

_NO_LOCKS = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What ``flock`` answers on network shares and FUSE filesystems that know no locks."""


class ProcessLock:
    """A lock file that one holder at a time has, among all threads and processes; it ends with its process.

    Where the filesystem knows no locks, a file in this machine's temporary folder stands for it, which keeps out
    this person's other processes, but none on other machines.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path, thread_local=False)

    def acquire(self, timeout_s: float = -1) -> None:
        """Wait for the lock, for ever if ``timeout_s`` is negative. Raises `filelock.Timeout`, `OSError`."""
        try:
            self._lock.acquire(timeout=timeout_s)
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            self._lock = FileLock(_stand_in(self._path), thread_local=False)
            self._lock.acquire(timeout=timeout_s)

    def release(self) -> None:
        """Let others have it; one that is not held is fine."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _stand_in(path: Path) -> Path:
    folder = Path(tempfile.gettempdir()) / f"librarian-locks-{os.getuid() if hasattr(os, 'getuid') else ''}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
        raise PermissionError(errno.EACCES, "It belongs to somebody else", str(folder))
    return folder / hashlib.blake2b(os.fsencode(os.path.realpath(path)), digest_size=16).hexdigest()
