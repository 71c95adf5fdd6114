from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from blake3 import blake3

from ..errors import (
    ConflictError,
    InvalidRequestError,
    LibrarianError,
    NotFoundError,
    SourceChangedError,
    StorageError,
)
from ..events import Events
from ..jobs import JobContext
from ..settings import TargetFolder
from ..storage.database import Database, is_damage
from ..storage.disk import storage_error
from ..storage.roots import is_within, real_path
from ..turns import rest
from .edits import MAX_EDITED, BulkEdit, BulkEditResult, bulk_change_of, change_of, result_of, setting
from .in_place import ELSEWHERE, preview_paths
from .index import Index, IndexedFile, IndexedModel, inode_of
from .metadata import METADATA_NAME, MetadataStore
from .owned import read_owned
from .pickles import PickleFindings
from .records import (
    Facets,
    LibraryChange,
    LibraryTotals,
    Model,
    ModelFile,
    ModelQuery,
    ModelSummary,
    ScanResult,
    SearchResult,
)
from .scan import Scanner, change_told
from .schema import migrate
from .search import Search
from .usage import Usage

HASH_BLOCK_BYTES = 8 * 1024 * 1024
EDITED_AT_ONCE = 100
"""How many models a bulk edit changes before others who wait for the library's lock have their turn."""

T = TypeVar("T")


class Library:
    """All models that a person owns: those in the library folder and those that stay where they are.

    ``metadata.json`` files are the truth; the index can be deleted at any time and comes back whole.
    """

    def __init__(self, root: Path, database_path: Path, events: Events) -> None:
        self.root = root
        self.metadata = MetadataStore(root)
        self.identity = self.metadata.identity()
        self._database = Database(database_path, migrate)
        self._checked = False
        self._unscanned: dict[str, tuple[tuple[int, int], tuple[str, str]]] = {}
        """Size, time and hashes of files that are not as the last scan saw them, the latest first."""
        self._events = events
        self.on_renewed: Callable[[], object] | None = None
        """Called after a damaged index was set aside between two scans: the time for a quick scan."""
        self.index = Index(self._database)
        self._search = Search(self._database)
        self._scanner = Scanner(self.metadata, self._database, self.index, self._search, self._announce)
        self.usage = Usage(self._database)
        self.pickles = PickleFindings(self.metadata, self.index, self._announce)

    @property
    def searchable(self) -> bool:
        """Whether full-text search is there; else names are searched with LIKE."""
        return self._database.searchable

    @property
    def set_aside(self) -> Path | None:
        """Where an unusable ``models.db`` was put at start, if there was one."""
        return self._database.set_aside

    def search(self, query: ModelQuery) -> SearchResult:
        """One page of the models that fit."""
        return self._mending(lambda: self._search.find(query))

    def facets(self, query: ModelQuery) -> Facets:
        """The filters' values and counts."""
        return self._mending(lambda: self._search.facets(query))

    def totals(self) -> LibraryTotals:
        """How much there is."""
        return self._mending(lambda: self.index.totals())

    def model(self, model_id: str) -> Model:
        """The whole record of one model. Raises `NotFoundError`."""
        return self._mending(lambda: self.index.model(model_id))

    def summary(self, model_id: str) -> ModelSummary:
        """One model as lists show it. Raises `NotFoundError`."""
        return self._mending(lambda: self.index.summary(model_id))

    def files(self, model_id: str) -> list[IndexedFile]:
        """A model's files with their absolute paths, the main file first. Raises `NotFoundError`."""
        files = self._mending(lambda: self.index.files(model_id))
        if not files:
            self.model(model_id)
            raise NotFoundError(f"The files of {model_id!r} are not there any more. Rescan the library.")
        return files

    def main_path(self, model_id: str) -> Path:
        """The file that is loaded. Raises `NotFoundError` if the model or its file is not there."""
        path = self._loaded_file(model_id)
        if path is None:
            raise NotFoundError(
                f"The file of {model_id!r} is not there. Connect its drive, or rescan the library."
            )
        return path

    def is_here(self, model_id: str) -> bool:
        """Whether the file that is loaded is there; not while its drive is not connected."""
        return self._loaded_file(model_id) is not None

    def _loaded_file(self, model_id: str) -> Path | None:
        main = Path(self.files(model_id)[0].path)
        return main if main.is_file() else None

    def find_file_by_hash(self, digest: str) -> Path | None:
        """A file on disk with this SHA-256 or BLAKE3, in any indexed place."""
        for model_id in self.index.models_with_hash(digest.lower()):
            for file in self.index.files(model_id):
                if digest.lower() in (file.sha256, file.blake3) and Path(file.path).is_file():
                    return Path(file.path)
        return None

    def hash_of(self, model_id: str, told: Callable[[int, int], object] | None = None) -> tuple[str, str]:
        """SHA-256 and BLAKE3 of the main file, read once and remembered.

        ``told`` gets the bytes read so far and the file's size after each block; what it raises ends the reading.
        Raises `SourceChangedError` if the file changes meanwhile, `StorageError` if it cannot be read.
        """
        file = self.files(model_id)[0]
        path = Path(file.path)
        try:
            status = path.stat()
            state = status.st_size, status.st_mtime_ns
            if file.sha256 and file.blake3 and state == (file.size, file.mtime_ns):
                return file.sha256, file.blake3
            of_unscanned = self._unscanned.get(file.path)
            if of_unscanned is not None and of_unscanned[0] == state:
                return of_unscanned[1]
            sha, b3, read = hashlib.sha256(), blake3(), 0
            with open(path, "rb", buffering=0) as stream:
                while block := stream.read(HASH_BLOCK_BYTES):
                    sha.update(block)
                    b3.update(block)
                    read += len(block)
                    if told is not None:
                        told(read, status.st_size)
                after = os.fstat(stream.fileno())
        except OSError as error:
            raise storage_error(error, path) from error
        if (after.st_size, after.st_mtime_ns) != state:
            raise SourceChangedError(f"{path} changed while it was read. Try again when it is complete.")
        digests = sha.hexdigest(), b3.hexdigest()
        if state == (file.size, file.mtime_ns):
            self.index.set_hashes(file.path, *digests)
            self._search.catch_up()
        else:
            self._unscanned = {file.path: (state, digests), **dict(islice(self._unscanned.items(), 100))}
        return digests

    def hash_what_only_hashes_tell(self, job: JobContext, *, hurry: bool = False) -> int:
        """Hash the files that share their size with another; answers how many were hashed.

        Unless it should ``hurry``, it takes half of one processor at most. What was hashed is remembered, so that a
        job that was cut off goes on where it was.
        """

        def between_blocks(*_: int) -> None:
            job.check_cancelled()
            if not hurry:
                rest()

        total, waiting = self.usage.unhashed()
        job.stage("hashes", total=total, unit="bytes")
        done = hashed = 0
        for model_id, size in waiting:
            job.check_cancelled()
            with contextlib.suppress(NotFoundError, SourceChangedError, StorageError):
                self.hash_of(model_id, between_blocks)
                hashed += 1
            done += size
            job.advance(done)
        return hashed

    def add_owned(self, model_id: str) -> Model:
        """Index a model whose folder has just come into the library."""
        entry = read_owned(self.metadata, model_id)
        if entry is None:
            raise NotFoundError(f"{self.metadata.folder(model_id)} has no complete model.")
        self.index.put([entry])
        self._announce(LibraryChange(changed=[model_id]))
        return entry.model

    def add_in_place(self, model: Model) -> None:
        """Write down a model whose files stay where they are, and index it. Raises `StorageError`.

        Its files have absolute paths; ``model_id`` is one of `in_place_ids`. The caller holds the library's lock.
        """
        try:
            files = [_in_place_file(file) for file in model.files]
            self.metadata.note_placed(model.model_id)
            mtime_ns = self.metadata.write(model)
        except OSError as error:
            raise storage_error(error, Path(model.files[0].name)) from error
        self.index.put([IndexedModel(model, files, metadata_mtime_ns=mtime_ns)])
        self._announce(LibraryChange(changed=[model.model_id]))

    def note_shared(self, model_id: str, path: Path) -> None:
        """A model's file has the bytes that it had, but is another one on the disk. Raises `OSError`."""
        self.index.set_state(str(path), path.lstat())
        self._announce(LibraryChange(changed=[model_id]))

    def hand_over(self, old_id: str, new_id: str) -> None:
        """A model has become another one: its last use is that one's, and it is not listed any more."""
        with self._database.write() as db:
            db.execute(
                "UPDATE models SET last_used = (SELECT last_used FROM models WHERE model_id = ?) "
                "WHERE model_id = ? AND last_used IS NULL",
                (old_id, new_id),
            )
        self.forget([old_id])

    def edit(self, model_id: str, changes: dict[str, Any]) -> Model:
        """Change what a person may change; from then on no lookup overwrites it.

        Raises `InvalidRequestError` for unknown fields or wrong values, `NotFoundError`, `StorageError`.
        """
        return self._update(model_id, change_of(changes))

    def update(self, model_id: str, changes: dict[str, Any]) -> Model:
        """Write fields into the model's ``metadata.json`` and the index.

        Raises `InvalidRequestError`, `NotFoundError`, `StorageError`.
        """
        return self._update(model_id, setting(changes))

    def describe(self, model_id: str, changes: dict[str, Any]) -> Model:
        """Write what was found out about a model, unless a person has edited it.

        Raises `ConflictError` if a person has, and what `update` raises.
        """
        set_fields = setting(changes)

        def change(model: Model) -> None:
            if model.match_source == "manual":
                raise ConflictError(f"{model_id!r} was edited by a person and stays as it is.")
            set_fields(model)

        return self._update(model_id, change)

    def awaiting_lookup(self) -> list[str]:
        """Ids of the models that nobody has been asked about yet, in the order in which they came."""
        rows = self._database.read().execute(
            "SELECT model_id FROM models WHERE pending_online_lookup AND match_source = 'auto' ORDER BY id"
        )
        return [row[0] for row in rows]

    def _update(self, model_id: str, change: Callable[[Model], None]) -> Model:
        model, _ = self.metadata.update(
            self.model(model_id), change, self.index.known, self.index.replace_metadata
        )
        self._announce(LibraryChange(changed=[model_id]))
        return model

    def edit_many(
        self, model_ids: Iterable[str], edit: BulkEdit, job: JobContext | None = None
    ) -> BulkEditResult:
        """Make the same changes to many models; what cannot be changed is said, and the others are.

        Each ``metadata.json`` is written whole and durably, `EDITED_AT_ONCE` in one hold of the library's lock,
        in which the index follows; one event tells it. Cut off, what is written stays and is indexed already or
        by the next scan. Raises `InvalidRequestError` with nothing changed, `CancelledError`.
        """
        wanted = [*dict.fromkeys(model_ids)]
        if len(wanted) > MAX_EDITED:
            raise InvalidRequestError(f"At most {MAX_EDITED} models can be edited at once.")
        change = bulk_change_of(edit)
        changed: list[str] = []
        failures: dict[str, tuple[str, str]] = {}
        try:
            for start in range(0, len(wanted), EDITED_AT_ONCE):
                if job is not None:
                    job.check_cancelled()
                    job.advance(start)
                some: list[Model] = []
                for model_id in wanted[start : start + EDITED_AT_ONCE]:
                    try:
                        some.append(self.model(model_id))
                    except NotFoundError as error:
                        failures[model_id] = (error.code, error.message)
                try:
                    results = self.metadata.update_many(
                        some, change, self.index.known, self.index.replace_metadata
                    )
                except StorageError as error:
                    results = [error] * len(some)
                for model, result in zip(some, results, strict=True):
                    if isinstance(result, LibrarianError):
                        failures[model.model_id] = (result.code, result.message)
                    else:
                        changed.append(model.model_id)
        finally:
            if changed:
                self._announce(change_told(changed))
        return result_of(wanted, failures)

    def forget(self, model_ids: Iterable[str]) -> None:
        """Take models out of the index; their files are not touched."""
        gone = list(model_ids)
        self.index.remove(gone)
        self._announce(LibraryChange(removed=gone))

    def preview(self, model_id: str) -> Path | None:
        """The model's own picture, or nothing if it has none. Raises `NotFoundError`."""
        model = self.model(model_id)
        if model.storage == "owned":
            folder = self.metadata.folder(model_id)
            paths = [folder / Path(model.preview_image).name] if model.preview_image else []
            return next((path for path in paths if path.is_file()), None)
        beside = preview_paths(Path(self.files(model_id)[0].shown_as), model.model_format)
        return next((path for path in beside if path.is_file()), None)

    def is_news(self, path: Path) -> bool:
        """Whether a change at a path is one that the index does not know yet: not of our own making."""
        db = self._database.read()
        if not os.path.lexists(path):
            below = str(path) + os.sep
            return (
                db.execute(
                    "SELECT 1 FROM model_files WHERE path = ?1 OR (path >= ?2 AND path < ?3) "
                    "OR link = ?1 OR (link >= ?2 AND link < ?3) LIMIT 1",
                    (str(path), below, below + "\U0010ffff"),
                ).fetchone()
                is not None
            )
        if path.name == METADATA_NAME and is_within(path, self.root):
            return self._is_unknown(path)
        if is_within(path, self.root) and not path.is_symlink():  # a model, or a folder of models, came whole
            depth = 3 - len(path.relative_to(self.root).parts)
            pattern = "/".join(["*"] * depth + [METADATA_NAME])
            return 0 <= depth < 3 and any(map(self._is_unknown, path.glob(pattern)))
        if is_within(real_path(path), self.root):
            return False  # one of our links, or a file that its metadata speaks for
        if path.is_dir():
            return True
        at = self.index.file_at(str(real_path(path)))
        status = path.stat()
        return at is None or at[1].state[:2] != (status.st_size, status.st_mtime_ns)

    def _is_unknown(self, metadata: Path) -> bool:
        """Whether a ``metadata.json`` is another one than that which was indexed."""
        row = (
            self._database.read()
            .execute(
                "SELECT metadata_mtime_ns FROM models WHERE model_id = ?",
                (metadata.parent.relative_to(self.root).as_posix(),),
            )
            .fetchone()
        )
        return row is None or row[0] != metadata.stat().st_mtime_ns

    def quick_scan(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """Bring the index in step with what changed on disk; see `Scanner.quick`."""
        return self._scan(self._scanner.quick, list(folders), job)

    def deep_scan(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """Read all metadata again; see `Scanner.deep`."""
        return self._scan(self._scanner.deep, list(folders), job)

    def _scan(
        self,
        scan: Callable[[list[TargetFolder], JobContext], ScanResult],
        folders: list[TargetFolder],
        job: JobContext,
    ) -> ScanResult:
        """Scan; an index that turns out to be damaged is set aside and built anew by the same scan."""
        try:
            if not self._checked:
                self._checked = True
                self._database.check()
            self._search.load()
            result = scan(folders, job)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._database.renew(error)
            self._search.load()
            result = scan(folders, job)
            self._announce(LibraryChange(everything=True))
        return result

    def tidy(self) -> None:
        """What is left to do after a scan, and nobody waits for: forget old changes, fold the write-ahead log in."""
        self.index.forget_changes()
        self.checkpoint()

    def _mending(self, read: Callable[[], T]) -> T:
        """What ``read`` answers; if the index turns out to be damaged, it is set aside and asked anew."""
        try:
            return read()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._database.renew(error)
            if self.on_renewed is not None:
                self.on_renewed()
            return read()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database file."""
        self._database.checkpoint()

    def close(self) -> None:
        """Close the index."""
        self._search.close()
        self._database.close()

    def _announce(self, change: LibraryChange) -> None:
        self._search.catch_up()
        self._events.publish("librarian.library", change)


def _in_place_file(file: ModelFile) -> IndexedFile:
    status = Path(file.name).stat()
    return IndexedFile(
        file.name, ELSEWHERE, status.st_size, status.st_mtime_ns, inode_of(status), file.sha256, file.blake3
    )


def sha256_of(path: Path, told: Callable[[int, int], object] | None = None) -> str:
    """SHA-256 of a file as lower-case hexadecimal; ``told`` as for `Library.hash_of`. Raises `StorageError`."""
    digest, read = hashlib.sha256(), 0
    try:
        with open(path, "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            while block := stream.read(HASH_BLOCK_BYTES):
                digest.update(block)
                read += len(block)
                if told is not None:
                    told(read, size)
    except OSError as error:
        raise storage_error(error, path) from error
    return digest.hexdigest()
