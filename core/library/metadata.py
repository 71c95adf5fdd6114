"""The one room that reads and writes ``metadata.json``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import LibrarianError, NotFoundError, StorageError
from ..jobs import utc_now
from ..sentences import say
from ..storage.atomic import make_directories, remove_tree, write_atomic
from ..storage.disk import storage_error
from ..storage.locks import ProcessLock
from .records import Model

METADATA_NAME = "metadata.json"
LIBRARY_NAME = "library.json"
IN_PLACE = "in-place"
INCOMING = ".incoming"
MAX_METADATA_BYTES = 16 * 1024 * 1024
MAX_PLACED_BYTES = 64 * 1024
"""Of the list of what was placed lately: some thousand models."""

LAYOUT_VERSION = 1
WRITERS = 8
"""How many files of a bulk edit wait for the disk at a time."""

StillListed = Callable[[list[str]], set[str]]
"""Which of some models the index knows: who is not known any more was deleted."""

Written = Callable[[list[tuple[Model, int]]], object]
"""Takes over models that were written, with their files' times; called under the lock, so that none is outrun."""


class MetadataError(LibrarianError):
    """A ``metadata.json`` cannot be read; the model stays listed from its files."""

    code = "metadata_unreadable"


class LibraryIdentity(BaseModel):
    """``library.json``: which library this is and how it is laid out."""

    model_config = ConfigDict(extra="allow")

    id: str
    layout: int = LAYOUT_VERSION


class MetadataStore:
    """The ``metadata.json`` files below one library root.

    A model's id is the path of its folder below the root, so an id leads straight to its file. Changes
    happen under a lock that every process using this library honours.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock_path = root / INCOMING / "metadata.lock"
        self._placed_path = root / INCOMING / "placed"

    def identity(self) -> LibraryIdentity:
        """The library's id; a new library gets one, with its folders.

        A library that can only be read is opened like any other. Raises `MetadataError` for a damaged
        ``library.json``, `StorageError` where a new library cannot be made.
        """
        path = self.root / LIBRARY_NAME
        try:
            known = _read_identity(path)
            if known is not None:
                return known
            with self._hold_lock():
                identity = _read_identity(path) or LibraryIdentity(id=str(uuid.uuid4()))
                write_atomic(path, identity.model_dump_json(indent=2).encode())
                return identity
        except OSError as error:
            raise storage_error(error, path) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the library's lock; other processes wait.

        Raises `StorageError` if the library is not there, `OSError` where nothing can be written.
        """
        if not (self.root / LIBRARY_NAME).exists():
            # Its drive is missing: nothing must be made in the empty folder that the drive would cover.
            raise StorageError(f"The library {self.root} is not there. Connect its drive and try again.")
        with self._hold_lock():
            yield

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        make_directories(self._lock_path.parent)
        with ProcessLock(self._lock_path):
            yield

    def lately_placed(self) -> list[str]:
        """Ids of the last models that any process has brought in, which this one's index may not know yet.

        Some may not be there: a kill, or a deletion, can come after they were noted.
        """
        try:
            noted = self._placed_path.read_bytes()
        except FileNotFoundError:
            return []
        return [line for line in noted.decode(errors="replace").split("\n") if line]

    def note_placed(self, model_id: str) -> None:
        """Note a model that is about to come in, under the lock that it comes in under. Raises `OSError`.

        It is for processes that run now, so that nothing waits for the disk.
        """
        with open(self._placed_path, "ab+", buffering=0) as file:
            if file.tell() > MAX_PLACED_BYTES:
                file.seek(MAX_PLACED_BYTES // 2)
                newer = file.read()
                file.truncate(0)
                file.write(newer)
            file.write(f"\n{model_id}".encode())

    def folder(self, model_id: str) -> Path:
        """Where a model's ``metadata.json`` lies."""
        return self.root / model_id

    def read(self, model_id: str) -> Model | None:
        """The model as its file says, or nothing if it has no file. Raises `MetadataError`."""
        return self.read_file(self.folder(model_id) / METADATA_NAME)

    def read_file(self, path: Path) -> Model | None:
        """Read one ``metadata.json``; nothing if it is not there. Raises `MetadataError`."""
        read = self.read_with_time(path)
        return read[0] if read is not None else None

    def read_with_time(self, path: Path | str) -> tuple[Model, int] | None:
        """The same, with the modification time in nanoseconds of the very file that was read."""
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                status = os.fstat(descriptor)
                if status.st_size > MAX_METADATA_BYTES:
                    raise MetadataError(
                        say("metadata_too_large", "{path} is larger than 16 MB and was not read.", path=path)
                    )
                data = os.read(descriptor, status.st_size + 1)
            finally:
                os.close(descriptor)
            return Model.model_validate_json(data), status.st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            raise MetadataError(
                say(
                    "metadata_damaged", "{path} is damaged: {reason}.", path=path, reason=_first_reason(error)
                )
            ) from error
        except OSError as error:
            raise MetadataError(
                say(
                    "metadata_unreadable",
                    "{path} cannot be read: {error}.",
                    path=path,
                    error=error.strerror or error,
                )
            ) from error

    def mtime_ns(self, model_id: str) -> int | None:
        """When a model's file was written, in nanoseconds, or nothing if it is not there."""
        try:
            return (self.folder(model_id) / METADATA_NAME).stat().st_mtime_ns
        except OSError:
            return None

    def write(self, model: Model) -> int:
        """Write a model's file whole; answers its modification time in nanoseconds."""
        folder = self.folder(model.model_id)
        make_directories(folder)
        path = folder / METADATA_NAME
        write_atomic(path, serialise(model))
        return path.stat().st_mtime_ns

    def discard(self, model_id: str) -> None:
        """Remove a model's folder with all that is in it, for good. Raises `OSError`."""
        folder = self.folder(model_id)
        graveyard = self.root / INCOMING / f"removed-{uuid.uuid4().hex}"
        if folder.is_dir():
            folder.rename(graveyard)  # gone whole for everybody, even if removing is cut off
            remove_tree(graveyard)

    def update(
        self,
        current: Model,
        change: Callable[[Model], None],
        still_listed: StillListed,
        written: Written | None = None,
    ) -> tuple[Model, int]:
        """Read, change and write one model under the lock, so that nobody's edit is lost.

        ``current`` is what the index knows, for a model in place that has no file yet. Raises `NotFoundError`
        for a model that was deleted meanwhile, `MetadataError`, `StorageError`.
        """
        [changed] = self.update_many([current], change, still_listed, written)
        if isinstance(changed, LibrarianError):
            raise changed
        return changed

    def update_many(
        self,
        models: Sequence[Model],
        change: Callable[[Model], None],
        still_listed: StillListed,
        written: Written | None = None,
    ) -> list[tuple[Model, int] | LibrarianError]:
        """The same for several models at once: each one's record and time, or why it could not be changed.

        Each file is written whole and durably; what waits for the disk waits side by side. Raises
        `StorageError` if the library is not there or cannot be written.
        """

        def changed(current: Model) -> tuple[Model, int] | LibrarianError:
            try:
                return self._change(current, change) if current.model_id in listed else _deleted(current)
            except LibrarianError as error:
                return error
            except OSError as error:
                return storage_error(error, self.folder(current.model_id))

        try:
            with self.locked():
                listed = still_listed([model.model_id for model in models])
                if len(models) == 1:
                    results = [changed(models[0])]
                else:
                    with ThreadPoolExecutor(WRITERS, thread_name_prefix="librarian-metadata") as pool:
                        results = list(pool.map(changed, models))
                if written is not None:
                    written([result for result in results if not isinstance(result, LibrarianError)])
                return results
        except OSError as error:
            raise storage_error(error, self.root) from error

    def _change(self, current: Model, change: Callable[[Model], None]) -> tuple[Model, int] | LibrarianError:
        model = self.read(current.model_id)
        if model is None:
            if current.storage == "owned":
                return _deleted(current)
            model = current
        model.model_id = current.model_id  # where it lies is its id, whatever a copied file says
        change(model)
        model.updated_date = utc_now()
        return model, self.write(model)


def _deleted(model: Model) -> NotFoundError:
    return NotFoundError(f"{model.model_id!r} was deleted or moved. Search for it again.")


def _read_identity(path: Path) -> LibraryIdentity | None:
    try:
        return LibraryIdentity.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise MetadataError(f"{path} is damaged: {_first_reason(error)}. Restore or delete it.") from error


def serialise(model: Model) -> bytes:
    """The model as the bytes of its ``metadata.json``."""
    return (model.model_dump_json(indent=2, by_alias=True) + "\n").encode()


def _first_reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
