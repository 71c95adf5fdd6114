"""The models in the library: a folder each, whose ``metadata.json`` is the truth."""

# ruff: noqa: PTH112, PTH113, PTH116, PTH118
from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from ..formats.sidecars import Preview
from ..jobs import JobContext
from ..sentences import say
from ..settings import MODEL_EXTENSIONS
from ..storage.names import is_text
from ..storage.roots import is_within, real_path
from ..turns import give_way
from ..worker import Worker
from .index import Index, IndexedFile, IndexedModel, OwnedModel, inode_of, row_of
from .metadata import IN_PLACE, INCOMING, METADATA_NAME, MetadataError, MetadataStore
from .records import Model, ModelFile, ScanResult, weight_size_gb
from .staging import ModelRow
from .walk import Unchanged, nearness

logger = logging.getLogger(__name__)

_READ_AT_ONCE = 100


class OwnedModels:
    """One look at the library's folders; what is wrong there is said in ``result``."""

    def __init__(self, metadata: MetadataStore, index: Index, result: ScanResult) -> None:
        self._metadata = metadata
        self._index = index
        self._result = result
        self._root = str(metadata.root)
        self._unchanged = Unchanged()
        self.gone: list[str] = []
        """Ids of known models whose folders or files are not there."""
        self.unreadable: list[str] = []
        """Beginnings of ids below which nothing is known, since their folders cannot be read."""
        self.damaged: dict[str, str] = {}
        """What is wrong with the ``metadata.json`` of known models, which therefore stay as they are."""

    def changed(self, job: JobContext) -> Iterator[IndexedModel]:
        """The models that are new or different from what the index says."""
        unseen = set(self._index.owned_families())
        for family, names in self._families():
            unseen.discard(family)
            known = self._index.owned_family(family)
            for name in names:
                job.check_cancelled()
                model_id = f"{family}/{name}"
                before = known.get(model_id)
                if before is not None and self._is_unchanged(model_id, before):
                    self._result.models_found += 1
                    del known[model_id]
                    continue
                entry = self._entry(model_id, known=before is not None)
                if entry is not None:
                    yield self._without_stale_hashes(entry, before)
                if entry is not None or model_id in self.damaged:
                    known.pop(model_id, None)
            self.gone += known
            job.advance(self._result.models_found)
        for family in unseen:
            if not family.startswith(tuple(self.unreadable)):
                self.gone += self._index.owned_family(family)

    def all(self, job: JobContext, worker: Worker) -> Iterator[ModelRow]:
        """Every model as its ``metadata.json`` says."""
        for (_, ids), rows in worker.map(rows_of_owned, self._batches(), shared=True):
            for model_id, row in zip(ids, rows, strict=True):
                job.check_cancelled()
                if row is not None:
                    self._result.models_found += 1
                    yield row
                elif (entry := self._entry(model_id, known=None)) is not None:
                    yield row_of(entry)
            job.advance(self._result.models_found)

    def _batches(self) -> Iterator[tuple[Path, list[str]]]:
        ids = (f"{family}/{name}" for family, names in self._families() for name in names)
        while some := list(islice(ids, _READ_AT_ONCE)):
            yield self._metadata.root, some

    def _families(self) -> Iterator[tuple[str, list[str]]]:
        """Each ``<type>/<family>`` in the library with the names of the folders in it."""
        for model_type in folders_in(self._root) if os.path.isdir(self._root) else ():
            if model_type in (IN_PLACE, INCOMING):
                continue
            below = f"{model_type}/"
            try:
                for family in folders_in(os.path.join(self._root, model_type)):
                    below = f"{model_type}/{family}"
                    names = folders_in(os.path.join(self._root, below))
                    yield below, names
                    below = f"{model_type}/"
            except OSError as error:
                self._result.errors.append(
                    f"{os.path.join(self._root, below)} cannot be read: {error.strerror or error}. "
                    "Its models stay listed."
                )
                self.unreadable.append(f"{model_type}/")

    def _is_unchanged(self, model_id: str, before: OwnedModel) -> bool:
        folder = _folder(self._root, model_id)
        try:
            if os.stat(f"{folder}{os.sep}{METADATA_NAME}").st_mtime_ns != before.metadata_mtime_ns:
                return False
            for path, seen in before.files.items():
                status = os.stat(path)
                now = (status.st_size, status.st_mtime_ns, inode_of(status))
                if not self._unchanged(path, seen, now) or not path.startswith(folder):
                    return False
        except OSError:
            return False
        return bool(before.files) and not before.has_problem

    def _entry(self, model_id: str, *, known: bool | None) -> IndexedModel | None:
        """A model read anew; nothing if there is none, or not all of it, or if it stays as it is known."""
        folder = _folder(self._root, model_id)
        try:
            entry = read_owned(self._metadata, model_id)
        except MetadataError as error:
            self._result.models_found += 1
            self._result.errors.append(error.message)
            logger.warning("%s", error.message)
            if self._index.contains(model_id) if known is None else known:
                self.damaged[model_id] = error.message
                return None
            return _from_files(model_id, folder, error.message)
        if entry is None:
            if os.path.lexists(f"{folder}{os.sep}{METADATA_NAME}"):
                self._result.models_found += 1
                self._result.models_skipped_missing_files += 1
            return None
        self._result.models_found += 1
        return entry

    def _without_stale_hashes(self, entry: IndexedModel, before: OwnedModel | None) -> IndexedModel:
        """The entry without the hashes of files that were replaced after they were hashed."""
        if before is None or entry.metadata_mtime_ns != before.metadata_mtime_ns:
            return entry
        files = [
            file._replace(sha256=None, blake3=None)
            if file.path in before.files
            and not self._unchanged(file.path, before.files[file.path], file.state)
            else file
            for file in entry.files
        ]
        return entry._replace(files=files)


def rows_of_owned(root: Path, model_ids: Iterable[str]) -> list[ModelRow | None]:
    """The row of each model of a library; nothing where something is missing or wrong, which is to be looked at."""
    metadata = MetadataStore(root)

    def row(model_id: str) -> ModelRow | None:
        give_way()
        try:
            entry = read_owned(metadata, model_id)
        except MetadataError:
            return None
        return row_of(entry) if entry is not None else None

    return [*map(row, model_ids)]


def read_owned(metadata: MetadataStore, model_id: str) -> IndexedModel | None:
    """What the index should say of one model folder; nothing if a listed file is not there.

    Raises `MetadataError`.
    """
    folder = _folder(metadata.root, model_id)
    read = metadata.read_with_time(f"{folder}{os.sep}{METADATA_NAME}")
    if read is None or not read[0].files:
        return None
    model, metadata_mtime_ns = read
    if model.model_id != model_id:  # where it lies is its id, whatever a copied file says
        model.model_id = model_id
    files = []
    for file in model.files:
        status = _status(folder, file.name)
        if status is None or status.st_size != file.size:
            return None
        files.append(
            IndexedFile(
                f"{folder}{os.sep}{_native(file.name)}",
                None,
                status.st_size,
                status.st_mtime_ns,
                inode_of(status),
                file.sha256,
                file.blake3,
            )
        )
    shown = Preview.NONE
    if model.preview_image:
        preview = Path(model.preview_image).name
        if os.path.isfile(os.path.join(folder, preview)):
            shown = Preview.of(preview)
    return IndexedModel(model, files, shown, metadata_mtime_ns=metadata_mtime_ns)


def _folder(root: Path | str, model_id: str) -> str:
    return f"{root}{os.sep}{_native(model_id)}"


def _native(name: str) -> str:
    return name if os.sep == "/" else name.replace("/", os.sep)


def _status(folder: str, name: str) -> os.stat_result | None:
    """The status of a model's file, or nothing if it is not there. Raises `MetadataError` for one elsewhere."""
    path = f"{folder}{os.sep}{_native(name)}"
    try:
        if "/" not in name and "\\" not in name and name not in ("", ".", ".."):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                return status
        if not is_within(real_path(Path(folder, name)), real_path(Path(folder))):
            raise MetadataError(
                say(
                    "metadata_leads_out",
                    "{path} lists {name}, which lies outside its folder. Remove it there.",
                    path=f"{folder}{os.sep}{METADATA_NAME}",
                    name=repr(name),
                )
            )
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _from_files(model_id: str, folder: str, problem: str) -> IndexedModel | None:
    """A model whose ``metadata.json`` cannot be read, as far as its files tell; nothing if there are none."""
    found = []
    for below, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(below, name)
            if os.path.splitext(name)[1].lower() in MODEL_EXTENSIONS and is_text(path):
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                found.append(IndexedFile(path, None, status.st_size, status.st_mtime_ns, inode_of(status)))
    if not found:
        return None
    found.sort(key=lambda file: nearness(file.path[len(folder) + 1 :]))
    model_type, family, name = model_id.split("/")
    size = sum(file.size for file in found)
    model = Model(
        model_id=model_id,
        official_name=name,
        cleaned_name=name,
        model_type=model_type,
        family=family,
        files=[
            ModelFile(name=Path(file.path[len(folder) + 1 :]).as_posix(), size=file.size) for file in found
        ],
        size_bytes=size,
        approx_weight_size_gb=weight_size_gb(size),
    )
    return IndexedModel(model, found, problem=problem)


def folders_in(path: str) -> list[str]:
    """The folders in a folder, none if it is gone meanwhile. Raises `OSError` if it cannot be read."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and is_text(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
