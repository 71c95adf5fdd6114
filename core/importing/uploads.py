"""Files that arrive in pieces, and wait in ``.incoming`` until an import takes them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
from blake3 import blake3
from filelock import Timeout
from pydantic import ValidationError

from ..errors import (
    InvalidRequestError,
    NotFoundError,
    StorageError,
    TooManyUploadsError,
    UnavailableError,
    UploadBusyError,
    UploadExpiredError,
    UploadIncompleteError,
    UploadOffsetError,
    UploadTooLongError,
)
from ..library.metadata import INCOMING
from ..storage.atomic import fsync_directory, make_directories, remove_tree, write_atomic
from ..storage.disk import require_space, require_writable, storage_error
from ..storage.locks import ProcessLock
from ..storage.names import collision_key, name_with_suffix, safe_name
from .journal import require_library
from .receiving import (
    CONTENT,
    FOLDER_PREFIX,
    LIFETIME,
    RECORD_NAME,
    Hashes,
    Record,
    Upload,
    Writing,
    content_of,
    now,
)
from .records import Staged
from .transfer import Transferred

logger = logging.getLogger(__name__)

MAX_UPLOADS = 1000
"""How many may wait at once, begun or complete."""

MAX_WRITTEN = 16
"""How many may be written to at once."""

MAX_SIZE = 2**62

_MAX_PARTS, _MAX_NAME_BYTES = 32, 1024
_LOCK = "lock"
_FOLDER = re.compile(r"upload-[0-9a-f]{32}")
_ID = re.compile(r"[0-9a-f]{32}")


class Uploads:
    """The uploads of a library, by every process that works on it.

    Each has a folder of its own in ``.incoming``, which no import takes for its own::

        upload-<id>/upload.json   what is to come, and how much of it is durable
        upload-<id>/lock          held by whoever writes, removes or imports the file
        upload-<id>/content/…     the file under its own name, as long as what has come

    So an upload outlives its connection, this process, and the machine. Methods block.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / INCOMING
        self._creating = threading.Lock()
        self._hashes: dict[str, Hashes] = {}
        self._writings: set[Writing] = set()

    def create(
        self,
        size: int,
        name: str,
        metadata: str = "",
        *,
        upload_id: str | None = None,
        told: Mapping[str, Any] | None = None,
        owner: str = "",
    ) -> Upload:
        """Make room for a file of ``size`` bytes that is to come. Whoever wants it open uses `write`.

        ``name`` is a file name, or a path with ``/`` below the folder that was dropped. Old uploads that nobody
        wants any more are removed first. ``upload_id`` is one that the caller made up (32 hexadecimal digits);
        what an earlier attempt left under it is removed. ``told`` and ``owner`` are as in `Record`.

        Raises `InvalidRequestError`, `TooManyUploadsError`, `InsufficientSpaceError` if this and all others that
        have begun do not fit, `StorageError`.
        """
        if not 0 <= size <= MAX_SIZE:
            raise InvalidRequestError(f"{size} is no possible size of a file.")
        record = Record(
            name=_safe_path(name),
            size=size,
            metadata=metadata,
            told=dict(told or {}),
            owner=owner,
            boot=psutil.boot_time(),
        )
        if size == 0:
            record.sha256, record.blake3 = hashlib.sha256().hexdigest(), blake3().hexdigest()
        again = upload_id is not None
        folder = self._folder(upload_id or uuid.uuid4().hex)
        require_library(self._root)
        require_writable(self._root)
        with self._creating:
            if again:
                self.discard(folder.name.removeprefix(FOLDER_PREFIX))
            self.remove_expired()
            others = list(self._all())
            if len(others) >= MAX_UPLOADS:
                raise TooManyUploadsError(
                    f"{len(others)} uploads wait already. Import some of them, or cancel them."
                )
            require_space(self._root, size + sum(other.size - other.offset for other in others))
            try:
                make_directories(folder / CONTENT)
                content_of(folder, record).touch(exist_ok=False)
                fsync_directory(folder / CONTENT)
                write_atomic(folder / RECORD_NAME, record.model_dump_json().encode())
            except OSError as error:
                with suppress(OSError):
                    remove_tree(folder)
                raise storage_error(error, folder) from error
        return self._upload(folder)

    def get(self, upload_id: str) -> Upload:
        """An upload as it stands. Raises `NotFoundError`, `UploadExpiredError`, `StorageError`."""
        upload = self._upload(self._folder(upload_id))
        if upload.expires_at <= now():
            raise UploadExpiredError(f"The upload of {upload.name} was left for too long. Upload it again.")
        return upload

    def write(
        self,
        upload_id: str,
        offset: int,
        *,
        length: int | None = None,
        checksum: tuple[str, bytes] | None = None,
    ) -> Writing:
        """Go on with an upload at ``offset``. Close what is answered; until then nobody else can write to it.

        Args:
            upload_id: Which one.
            offset: Where the bytes that come belong; must be the upload's own.
            length: How many bytes will come, if that is known.
            checksum: The name of a `hashlib` algorithm and the digest that the bytes which come must have.

        Raises `NotFoundError`, `UploadExpiredError`, `UploadBusyError`, `UploadOffsetError`, `UploadTooLongError`,
        `InsufficientSpaceError` if the rest does not fit, `UnavailableError` if too many are written to already,
        `StorageError`.
        """
        folder = self._folder(upload_id)
        require_library(self._root)
        if len(self._writings) >= MAX_WRITTEN:
            raise UnavailableError("Too many files are sent at once. Go on when one of them is done.")
        lock = self._lock(folder)
        try:
            upload = self.get(upload_id)
            if offset != upload.offset:
                raise UploadOffsetError(
                    f"{upload.offset} bytes of {upload.name} are here. Go on from there.", upload.offset
                )
            if length is not None and length > upload.size - offset:
                raise UploadTooLongError(
                    f"{upload.name} was said to have {upload.size} bytes. Upload it anew."
                )
            require_space(self._root, upload.size - offset)
            try:
                writing = Writing(
                    folder, self._read(folder), offset, self._known_hashes(upload), lock, checksum
                )
            except OSError as error:
                raise storage_error(error, folder) from error
        except BaseException:
            lock.release()
            raise
        writing.on_end = lambda: self._ended(upload_id, writing)
        self._writings.add(writing)
        return writing

    def remove(self, upload_id: str) -> None:
        """Remove an upload and what came of it. Raises `NotFoundError`, `UploadBusyError`, `StorageError`."""
        folder = self._folder(upload_id)
        lock = self._lock(folder, wait_s=2.0)
        try:
            self._read(folder)
            self._remove(folder, lock)
        except OSError as error:
            raise storage_error(error, folder) from error
        finally:
            lock.release()

    def discard(self, upload_id: str) -> None:
        """As `remove`, also of one of which only a part was made, or nothing."""
        folder = self._folder(upload_id)
        if not folder.is_dir():
            return
        lock = self._lock(folder, wait_s=2.0)
        try:
            self._remove(folder, lock)
        except OSError as error:
            raise storage_error(error, folder) from error
        finally:
            lock.release()

    def set_aside(self, upload_id: str, target: Path) -> int:
        """Move what came of an upload to ``target``, over what lies there, and forget the upload; answers its bytes.

        Raises `NotFoundError`, `UploadBusyError`, `StorageError`.
        """
        folder = self._folder(upload_id)
        lock = self._lock(folder, wait_s=2.0)
        try:
            make_directories(target.parent)
            content_of(folder, self._read(folder)).replace(target)
            fsync_directory(target.parent)
            self._remove(folder, lock)
            return target.stat().st_size
        except OSError as error:
            raise storage_error(error, folder) from error
        finally:
            lock.release()

    def staged(self, upload_ids: Sequence[str]) -> list[Staged]:
        """The files of complete uploads, hashed, in the order asked for; each has a name of its own.

        A file whose hashes a crash has cut off is read again for them.

        Raises `NotFoundError`, `UploadIncompleteError`, `UploadExpiredError`, `StorageError`.
        """
        files: list[Staged] = []
        taken: set[str] = set()
        for upload_id in dict.fromkeys(upload_ids):
            upload = self.get(upload_id)
            if not upload.complete:
                raise UploadIncompleteError(
                    f"{upload.name} is not complete: {upload.offset} of {upload.size} bytes are here. Upload the rest."
                )
            folder = self._folder(upload_id)
            transferred = self._transferred(folder, upload)
            name = _distinct(upload.name, transferred.sha256, taken)
            record = self._read(folder)
            files.append(Staged(content_of(folder, record), name, transferred, record.told))
        return files

    @contextmanager
    def taking(self, upload_ids: Sequence[str]) -> Iterator[list[Staged]]:
        """As `staged`, for an import: nobody else can remove them meanwhile, and those it took are forgotten after.

        Raises as `staged`, and `UploadBusyError`.
        """
        with ExitStack() as stack:
            locks: list[ProcessLock] = []
            for upload_id in dict.fromkeys(upload_ids):
                locks.append(self._lock(self._folder(upload_id)))
                stack.callback(locks[-1].release)
            files = self.staged(upload_ids)
            try:
                yield files
            finally:
                for file, lock in zip(files, locks, strict=True):
                    if not os.path.lexists(file.path):
                        with suppress(OSError):
                            self._remove(file.path.parent.parent, lock)

    def remove_expired(self) -> None:
        """Remove what nobody went on with. What is in use stays. Never raises."""
        for folder in self._folders():
            try:
                if self._touched(folder) + LIFETIME > now() or self._is_owned(folder):
                    continue
                lock = self._lock(folder)
                try:
                    self._remove(folder, lock)
                finally:
                    lock.release()
                logger.info("%s was left for too long and is removed", folder)
            except (OSError, NotFoundError, UploadBusyError) as error:
                logger.info("%s is not removed: %s", folder, error)

    def close(self) -> None:
        """End what is being written; what has come is kept."""
        for writing in list(self._writings):
            with suppress(Exception):
                writing.close().result()

    def _folder(self, upload_id: str) -> Path:
        if not _ID.fullmatch(upload_id):
            raise NotFoundError("There is no such upload. Upload the file again.")
        return self._incoming / f"{FOLDER_PREFIX}{upload_id}"

    def _folders(self) -> list[Path]:
        try:
            with os.scandir(self._incoming) as entries:
                return [
                    Path(entry.path)
                    for entry in entries
                    if _FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return []

    def _all(self) -> Iterator[Upload]:
        for folder in self._folders():
            with suppress(NotFoundError, StorageError):
                yield self._upload(folder)

    def _read(self, folder: Path) -> Record:
        try:
            return Record.model_validate_json((folder / RECORD_NAME).read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError("There is no such upload (any more). Upload the file again.") from error
        except ValidationError as error:
            raise NotFoundError(
                f"{folder / RECORD_NAME} cannot be understood. Upload the file again."
            ) from error
        except OSError as error:
            raise storage_error(error, folder) from error

    def _upload(self, folder: Path) -> Upload:
        record = self._read(folder)
        try:
            there = content_of(folder, record).stat().st_size
            expires_at = (now() if self._is_owned(folder) else self._touched(folder)) + LIFETIME
        except FileNotFoundError as error:
            raise NotFoundError(f"{record.name} was imported or removed. Upload it again.") from error
        except OSError as error:
            raise storage_error(error, folder) from error
        return Upload(
            folder.name.removeprefix(FOLDER_PREFIX),
            record.name,
            record.size,
            min(there, record.size if record.same_boot else record.durable),
            expires_at,
            record.metadata,
            record.sha256,
            record.blake3,
        )

    def _touched(self, folder: Path) -> datetime:
        """When something last came, also to one that was cut off while it was created."""
        places = [folder / RECORD_NAME]
        with suppress(FileNotFoundError):
            places += (folder / CONTENT).iterdir()
        times = []
        for place in places:
            with suppress(FileNotFoundError):
                times.append(place.stat().st_mtime)
        return datetime.fromtimestamp(max(times, default=folder.stat().st_mtime), timezone.utc)

    def _is_owned(self, folder: Path) -> bool:
        """Whether somebody answers for an upload, however old it is."""
        try:
            owner = self._read(folder).owner
        except (NotFoundError, StorageError):
            return False
        return bool(owner) and (self._incoming / safe_name(owner)).is_dir()

    def _lock(self, folder: Path, wait_s: float = 0.0) -> ProcessLock:
        lock = ProcessLock(folder / _LOCK)
        if not folder.is_dir():  # the lock would make it anew
            raise NotFoundError("There is no such upload (any more). Upload the file again.")
        try:
            lock.acquire(wait_s)
        except Timeout as error:
            raise UploadBusyError(
                "Somebody else sends or imports this file right now. Try again in a moment."
            ) from error
        except FileNotFoundError as error:
            raise NotFoundError("There is no such upload (any more). Upload the file again.") from error
        except OSError as error:
            raise storage_error(error, folder) from error
        return lock

    def _remove(self, folder: Path, lock: ProcessLock) -> None:
        """Remove an upload that is locked; the record first, so that what is left is nobody's."""
        (folder / RECORD_NAME).unlink(missing_ok=True)
        self._hashes.pop(folder.name.removeprefix(FOLDER_PREFIX), None)
        lock.release()
        remove_tree(folder)

    def _known_hashes(self, upload: Upload) -> Hashes:
        """The hashes of what has come; of a part of it, or nothing, if another process or an earlier one wrote it."""
        known = self._hashes.get(upload.id)
        if known is None or known.done > upload.offset:
            known = self._hashes[upload.id] = Hashes()
        return known

    def _ended(self, upload_id: str, writing: Writing) -> None:
        self._writings.discard(writing)
        if writing.complete:
            self._hashes.pop(upload_id, None)
        else:
            self._hashes[upload_id] = writing.hashes

    def _transferred(self, folder: Path, upload: Upload) -> Transferred:
        if upload.sha256 is not None and upload.blake3 is not None:
            return Transferred(upload.size, upload.sha256, upload.blake3)
        hashes = self._known_hashes(upload).copy()
        record = self._read(folder)
        try:
            with open(content_of(folder, record), "rb", buffering=0) as file:
                hashes.catch_up(file, upload.size)
                os.fsync(file.fileno())
            record.sha256, record.blake3 = hashes.sha.hexdigest(), hashes.b3.hexdigest()
            record.durable, record.boot = upload.size, psutil.boot_time()
            write_atomic(folder / RECORD_NAME, record.model_dump_json().encode())
        except OSError as error:
            raise storage_error(error, folder) from error
        self._hashes.pop(upload.id, None)
        return Transferred(upload.size, record.sha256, record.blake3)


def _safe_path(name: str) -> str:
    """A path below some folder, each part of which every filesystem accepts."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    if len(parts) > _MAX_PARTS or len(name.encode(errors="replace")) > _MAX_NAME_BYTES:
        raise InvalidRequestError(
            f"Its path is too long: at most {_MAX_PARTS} folders and {_MAX_NAME_BYTES} bytes. Shorten it."
        )
    return "/".join(safe_name(part) for part in parts) or "upload"


def _distinct(name: str, sha256: str, taken: set[str]) -> str:
    """The name, or one with a piece of the hash and a number where another file has it."""
    folder, slash, last = name.rpartition("/")
    stem, extension = os.path.splitext(last)
    candidate, number = name, 0
    while collision_key(candidate) in taken:
        suffix = sha256[:8] + (f"-{number}" if number else "")
        candidate = f"{folder}{slash}{name_with_suffix(stem, suffix, max_bytes=200)}{extension}"
        number += 1
    taken.add(collision_key(candidate))
    return candidate
