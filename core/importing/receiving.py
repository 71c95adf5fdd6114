"""One file that arrives in pieces: what is written down of it, its bytes, its hashes."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import psutil
from blake3 import blake3
from pydantic import BaseModel, Field

from ..errors import ChecksumError, InsufficientSpaceError, StorageError, UploadTooLongError
from ..storage.atomic import write_atomic
from ..storage.disk import storage_error
from ..storage.locks import ProcessLock

LIFETIME = timedelta(days=7)
"""How long an upload is kept after the last byte that came."""

RECORD_NAME = "upload.json"
CONTENT = "content"
FOLDER_PREFIX = "upload-"

_DURABLE_EVERY_BYTES = 256 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_CATCH_UP = 8
"""Bytes hashed for each byte that comes, while an upload's hashes lag behind what is on the disk."""

_SAME_BOOT_S = 60.0


class Upload(NamedTuple):
    """An upload as it stands. ``size`` and ``offset`` in bytes; ``name`` with ``/`` where it came in folders.

    ``metadata`` is what its creator said of it, as it was said. The hashes, in lower-case hexadecimal, are known
    once every byte has come.
    """

    id: str
    name: str
    size: int
    offset: int
    expires_at: datetime
    metadata: str = ""
    sha256: str | None = None
    blake3: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every byte has come."""
        return self.offset == self.size


class Record(BaseModel):
    """What lies in ``upload.json``.

    Up to ``durable`` the bytes survive a power cut. What came after that survives anything but one, which shows in
    the time at which the machine was started (``boot``, in seconds since 1970).

    ``told`` are fields of a model as the file's source tells them. As long as there is a folder called ``owner``
    beside the upload's own, the upload does not grow too old.
    """

    name: str
    size: int
    metadata: str = ""
    told: dict[str, Any] = Field(default_factory=dict)
    owner: str = ""
    durable: int = 0
    boot: float
    sha256: str | None = None
    blake3: str | None = None

    @property
    def same_boot(self) -> bool:
        """Whether the machine has run ever since somebody wrote to the file."""
        return abs(self.boot - psutil.boot_time()) < _SAME_BOOT_S


class Hashes:
    """SHA-256 and BLAKE3 of a file's first ``done`` bytes."""

    def __init__(self) -> None:
        self.sha, self.b3, self.done = hashlib.sha256(), blake3(), 0

    def update(self, block: bytes | memoryview) -> None:
        """Take in the bytes that come next."""
        self.sha.update(block)
        self.b3.update(block)
        self.done += len(block)

    def copy(self) -> Hashes:
        """The same state, which goes its own way from here."""
        copied = Hashes()
        copied.sha, copied.b3, copied.done = self.sha.copy(), self.b3.copy(), self.done
        return copied

    def catch_up(self, file: BinaryIO, end: int, most: int | None = None) -> None:
        """Take in what lies in the file before ``end``; at most ``most`` bytes of it. Moves in the file."""
        stop = end if most is None else min(end, self.done + most)
        file.seek(self.done)
        while self.done < stop:
            block = file.read(min(_READ_BYTES, stop - self.done))
            if not block:
                raise StorageError(f"{file.name} became shorter while it was read. Upload it again.")
            self.update(block)


class Writing:
    """An upload while bytes are added to it: written and hashed in a thread, in the order in which they came.

    ``offset`` is where the next byte belongs. Nothing raises at once; the futures do.
    """

    def __init__(
        self,
        folder: Path,
        record: Record,
        offset: int,
        hashes: Hashes,
        lock: ProcessLock,
        checksum: tuple[str, bytes] | None,
    ) -> None:
        self.on_end: Callable[[], None] = lambda: None
        self.hashes = hashes
        self.offset = offset
        self._folder = folder
        self._record = record
        self._start = offset
        self._lock = lock
        self._checksum = checksum
        self._digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
        self._hashes_at_start = hashes.copy() if checksum else None
        self._failed: Exception | None = None
        self._closing: Future[Upload] | None = None
        self._closing_lock = threading.Lock()
        self._file = content_of(folder, record).open("r+b", buffering=0)
        try:
            self._file.truncate(offset)  # what may not have survived a power cut
            if not record.same_boot:
                self._make_durable()
            self._file.seek(offset)
        except BaseException:
            self._file.close()
            raise
        self._thread = ThreadPoolExecutor(1, "librarian-upload")
        self._thread.submit(int).result()  # whoever starts a thread waits for it: not the event loop, later

    @property
    def complete(self) -> bool:
        """Whether every byte has come and the hashes are known."""
        return self._record.sha256 is not None

    def append(self, blocks: Iterable[bytes]) -> Future[None]:
        """Add bytes. Wait for the answer before the next but one, or they pile up in memory.

        It raises `UploadTooLongError`, `InsufficientSpaceError`, `StorageError`; what came before is kept.
        """
        return self._thread.submit(self._append, blocks)

    def close(self) -> Future[Upload]:
        """Make what has come durable and let go of the upload; safe to call twice.

        It raises `ChecksumError`, with nothing kept of what came, and `StorageError`.
        """
        with self._closing_lock:
            if self._closing is None:
                self._closing = self._thread.submit(self._close)
                self._thread.shutdown(wait=False)
            return self._closing

    def _append(self, blocks: Iterable[bytes]) -> None:
        if self._failed is not None:
            raise self._failed
        try:
            for block in blocks:
                self._write(memoryview(block))
            if self.offset - self._record.durable >= _DURABLE_EVERY_BYTES:
                self._make_durable()
        except OSError as error:
            self._failed = storage_error(error, self._folder)
            if isinstance(self._failed, InsufficientSpaceError):
                self._failed = InsufficientSpaceError(
                    f"The disk of the library is full. {self.offset} bytes of {self._record.name} are kept: free some "
                    "room, then go on."
                )
            raise self._failed from error
        except Exception as error:
            self._failed = error
            raise

    def _write(self, block: memoryview) -> None:
        if self.offset + len(block) > self._record.size:
            raise UploadTooLongError(
                f"{self._record.name} was said to have {self._record.size} bytes. Upload it anew."
            )
        while block:
            written = block[: self._file.write(block)]
            if self._digest is not None:
                self._digest.update(written)
            self.offset += len(written)
            if self.hashes.done == self.offset - len(written):
                self.hashes.update(written)
            else:
                self.hashes.catch_up(self._file, self.offset, _CATCH_UP * len(written))
                self._file.seek(self.offset)
            block = block[len(written) :]

    def _close(self) -> Upload:
        try:
            wrong = self._checksum is not None and (
                self._digest is None or self._digest.digest() != self._checksum[1]
            )
            if wrong:
                self._go_back()
            elif self.offset == self._record.size and self._failed is None and not self.complete:
                self._sync()
                self.hashes.catch_up(self._file, self.offset)
                self._record.sha256 = self.hashes.sha.hexdigest()
                self._record.blake3 = self.hashes.b3.hexdigest()
            self._make_durable()
        except OSError as error:
            raise self._failed or storage_error(error, self._folder) from error
        finally:
            self._file.close()
            self.on_end()
            self._lock.release()
        if wrong:
            raise ChecksumError(
                f"{self._record.name}: what arrived is not what was sent. Send it again from {self.offset}."
            )
        return Upload(
            self._folder.name.removeprefix(FOLDER_PREFIX),
            self._record.name,
            self._record.size,
            self.offset,
            now() + LIFETIME,
            self._record.metadata,
            self._record.sha256,
            self._record.blake3,
        )

    def _go_back(self) -> None:
        """Forget what came since this began."""
        if self._hashes_at_start is not None and self.offset > self._start:
            self._file.truncate(self._start)
            self.offset, self.hashes = self._start, self._hashes_at_start

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError:  # what it could not write may be gone from memory, too
            self.offset, self.hashes = self._record.durable, Hashes()
            self._file.truncate(self.offset)
            raise

    def _make_durable(self) -> None:
        self._sync()
        self._record.durable, self._record.boot = self.offset, psutil.boot_time()
        write_atomic(self._folder / RECORD_NAME, self._record.model_dump_json().encode())


def now() -> datetime:
    """The present moment, with its time zone."""
    return datetime.now(timezone.utc)


def content_of(folder: Path, record: Record) -> Path:
    """Where the file of an upload lies."""
    return folder / CONTENT / record.name.rpartition("/")[2]
