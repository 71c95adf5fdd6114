from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from ..errors import LibrarianError
from ..formats import FileFacts, classify, identify
from ..jobs import JobContext
from ..settings import MODEL_EXTENSIONS, TargetFolder
from ..storage.names import name_with_suffix, safe_name
from ..storage.roots import is_within, real_path
from .index import Index, IndexedFile, IndexedModel
from .metadata import IN_PLACE, METADATA_NAME, MetadataError, MetadataStore
from .records import LibraryChange, Model, ModelFile

logger = logging.getLogger(__name__)

BATCH = 500
PREVIEW_ENDINGS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".preview.png",
    ".preview.jpg",
    ".preview.jpeg",
    ".preview.webp",
)

Announce = Callable[[LibraryChange], None]


class ScanResult(BaseModel):
    """What a scan found. ``models_skipped_missing_files`` counts models whose files are not on disk."""

    models_found: int = 0
    models_indexed: int = 0
    models_removed: int = 0
    models_skipped_missing_files: int = 0
    errors: list[str] = Field(default_factory=list)


class FoundFile(NamedTuple):
    """A file met in a watched folder."""

    path: str
    folder: TargetFolder
    size: int
    mtime_ns: int
    inode: str
    has_preview: bool


class Scanner:
    """Keeps the index in step with what is on disk.

    The quick scan looks at names, sizes and times and opens only what is new or changed; the deep scan
    reads every ``metadata.json`` again. Neither ever empties the index first: each writes in
    transactions that leave it whole.
    """

    def __init__(self, metadata: MetadataStore, index: Index, announce: Announce) -> None:
        self._metadata = metadata
        self._index = index
        self._announce = announce

    def quick(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """List what is new, changed or gone in the library and in ``folders``; then read new headers."""
        result = ScanResult()
        self._scan_owned(job, result, every=False)
        self._list_in_place(folders, job, result)
        self._read_headers(job, result)
        return result

    def deep(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """Read every ``metadata.json`` again and check that the files are there; then a quick scan."""
        result = ScanResult()
        self._scan_owned(job, result, every=True)
        self._list_in_place(folders, job, result)
        self._read_headers(job, result)
        return result

    # The library's own models

    def _scan_owned(self, job: JobContext, result: ScanResult, *, every: bool) -> None:
        job.stage("library", unit="models")
        known = self._index.owned_folders()
        present: set[str] = set()
        changed: list[IndexedModel] = []
        for count, (model_id, path) in enumerate(self._metadata.owned(), start=1):
            job.check_cancelled()
            job.advance(count)
            result.models_found += 1
            mtime_ns, main_path = known.get(model_id, (None, None))
            in_step = mtime_ns == _mtime_ns(path) and str(main_path).startswith(str(path.parent))
            if in_step and not every:
                present.add(model_id)
                continue
            try:
                entry = self.owned_entry(model_id, path.parent)
            except MetadataError as error:
                result.errors.append(error.message)
                logger.warning("%s", error.message)
                if model_id in known:
                    present.add(model_id)
                    self._index.set_problem([model_id], error.message)
                continue
            if entry is None:
                result.models_skipped_missing_files += 1
                continue
            present.add(model_id)
            changed.append(entry)
        self._index.put(changed)
        result.models_indexed += len(changed)
        gone = [model_id for model_id in known if model_id not in present]
        if gone and not self._metadata.root.is_dir():
            result.errors.append(
                f"The library {self._metadata.root} cannot be reached; its models stay listed."
            )
            return
        self._index.remove(gone)
        result.models_removed += len(gone)
        self._tell([entry.model.model_id for entry in changed], gone)

    def owned_entry(self, model_id: str, folder: Path) -> IndexedModel | None:
        """What the index should say of one model folder; nothing if a listed file is not there.

        Raises `MetadataError`.
        """
        model = self._metadata.read_file(folder / METADATA_NAME)
        if model is None or not model.files:
            return None
        model.model_id = model_id  # where it lies is its id, whatever a copied file says
        files = []
        for file in model.files:
            path = folder / file.name
            if not is_within(real_path(path), real_path(folder)):
                raise MetadataError(
                    f"{folder / METADATA_NAME} lists {file.name!r}, which lies outside its folder."
                )
            try:
                status = path.stat()
            except OSError:
                return None
            if status.st_size != file.size:
                return None
            files.append(
                IndexedFile(
                    str(path),
                    None,
                    status.st_size,
                    status.st_mtime_ns,
                    inode_of(status),
                    file.sha256,
                    file.blake3,
                )
            )
        preview = model.preview_image is not None and (folder / Path(model.preview_image).name).is_file()
        return IndexedModel(
            model, files, has_preview=preview, metadata_mtime_ns=_mtime_ns(folder / METADATA_NAME)
        )

    # Models that stay where they are

    def _list_in_place(self, folders: Iterable[TargetFolder], job: JobContext, result: ScanResult) -> None:
        job.stage("folders", unit="models")
        known = self._index.in_place_files()
        by_inode = {file.inode: path for path, (_, file) in known.items()}
        written = {file.name: model for model in self._metadata.in_place() for file in model.files}
        taken = self._index.all_ids()
        present: set[str] = set()
        new: list[FoundFile] = []
        for found in self._walk(folders, result):
            job.check_cancelled()
            result.models_found += 1
            present.add(found.path)
            indexed = known.get(found.path)
            if indexed is None or (indexed[1].size, indexed[1].mtime_ns) != (found.size, found.mtime_ns):
                new.append(found)
            if result.models_found % 1000 == 0:
                job.advance(result.models_found)
        gone_paths = {path for path in known if path not in present and self._really_gone(known[path][1])}
        job.stage("list", total=len(new), unit="models")
        kept: set[str] = set()
        for start in range(0, len(new), BATCH):
            job.check_cancelled()
            entries = []
            for found in new[start : start + BATCH]:
                before = known.get(found.path)
                moved_from = by_inode.get(found.inode)
                if before is None and moved_from in gone_paths and _same_file(known[moved_from][1], found):
                    entry = self._moved(known[moved_from][0], found)
                    kept.add(known[moved_from][0])
                else:
                    entry = self._listed(found, before, written.get(found.path), taken)
                taken.add(entry.model.model_id)
                entries.append(entry)
            self._index.put(entries)
            result.models_indexed += len(entries)
            self._tell([entry.model.model_id for entry in entries], [])
            job.advance(start + len(entries))
        gone = [known[path][0] for path in gone_paths if known[path][0] not in kept]
        self._index.remove(gone)
        result.models_removed += len(gone)
        self._tell([], gone)

    def _really_gone(self, file: IndexedFile) -> bool:
        """A folder that cannot be reached, such as an unplugged drive, says nothing about its files."""
        return file.folder is None or Path(file.folder).is_dir()

    def _listed(
        self, found: FoundFile, before: tuple[str, IndexedFile] | None, written: Model | None, taken: set[str]
    ) -> IndexedModel:
        """A file as it is listed before its header is read."""
        path = Path(found.path)
        if written is not None:
            model = written.model_copy(deep=True)
            same = model.files[0].size == found.size
            file = model.files[0]
            file.size = found.size
            if not same:
                file.sha256 = file.blake3 = None
        else:
            model_id = before[0] if before else in_place_id(found.folder, path, taken)
            guess = classify(None, path.name, subtype=found.folder.subtype)
            model = Model(
                **guess.model_dump(),
                model_id=model_id,
                cleaned_name=model_id.partition("/")[2],
                storage="in-place",
                files=[ModelFile(name=found.path, original_name=path.name, size=found.size)],
                added_date=datetime.fromtimestamp(found.mtime_ns / 1e9, timezone.utc),
            )
        model.size_bytes = found.size
        model.approx_weight_size_gb = weight_size_gb(found.size)
        indexed = IndexedFile(
            found.path,
            str(found.folder.path),
            found.size,
            found.mtime_ns,
            found.inode,
            model.files[0].sha256,
            model.files[0].blake3,
        )
        return IndexedModel(model, [indexed], has_preview=found.has_preview, header_read=False)

    def _moved(self, model_id: str, found: FoundFile) -> IndexedModel:
        """A known file under a new name: the model stays what it is, its hashes stay true."""
        model = self._index.model(model_id)
        before = self._index.files(model_id)[0]
        model.files[0].name = found.path
        model.subtype = found.folder.subtype if model.match_source == "auto" else model.subtype
        if self._metadata.read(model_id) is not None:
            self._metadata.write(model)
        file = before._replace(path=found.path, folder=str(found.folder.path))
        return IndexedModel(model, [file], has_preview=found.has_preview, header_read=False)

    def _walk(self, folders: Iterable[TargetFolder], result: ScanResult) -> Iterator[FoundFile]:
        """Every model file below the folders once, however many names and links lead to it."""
        library = real_path(self._metadata.root)
        seen_folders: set[str] = set()
        seen_paths: set[str] = set()
        seen_inodes: set[str] = {file.inode for _, file in self._library_files()}
        for folder in folders:
            stack = [os.path.realpath(folder.path)]
            while stack:
                directory = stack.pop()
                if directory in seen_folders or is_within(Path(directory), library):
                    continue
                seen_folders.add(directory)
                try:
                    with os.scandir(directory) as entries:
                        listing = sorted(entries, key=lambda entry: entry.name)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    result.errors.append(f"{directory} cannot be read: {error.strerror or error}.")
                    continue
                names = {entry.name for entry in listing}
                for entry in listing:
                    extension = os.path.splitext(entry.name)[1].lower()
                    try:
                        if extension not in MODEL_EXTENSIONS:
                            if not entry.name.startswith(".") and entry.is_dir():
                                stack.append(
                                    os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                                )
                            continue
                        if not entry.is_file():
                            if entry.is_dir() and not entry.is_symlink():
                                stack.append(entry.path)
                            continue
                        status = entry.stat()
                        path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                    except OSError:
                        continue  # a broken link, or gone between listing and looking
                    inode = inode_of(status)
                    if path in seen_paths or (status.st_nlink > 1 and inode in seen_inodes):
                        continue
                    if entry.is_symlink() and is_within(Path(path), library):
                        continue
                    seen_paths.add(path)
                    if status.st_nlink > 1:
                        seen_inodes.add(inode)
                    stem = os.path.splitext(entry.name)[0]
                    preview = any(stem + ending in names for ending in PREVIEW_ENDINGS)
                    yield FoundFile(path, folder, status.st_size, status.st_mtime_ns, inode, preview)

    def _library_files(self) -> Iterator[tuple[str, IndexedFile]]:
        for model_id in self._index.owned_folders():
            for file in self._index.files(model_id):
                yield model_id, file

    def _read_headers(self, job: JobContext, result: ScanResult) -> None:
        job.stage("headers", total=self._index.count_unread(), unit="models")
        done = 0
        while batch := self._index.unread(BATCH // 5):
            entries = []
            for model_id in batch:
                job.check_cancelled()
                entries.append(self._with_header(model_id))
            self._index.put(entries)
            self._tell([entry.model.model_id for entry in entries], [])
            done += len(batch)
            job.advance(done)

    def _with_header(self, model_id: str) -> IndexedModel:
        model = self._index.model(model_id)
        files = self._index.files(model_id)
        path = Path(files[0].path)
        facts: FileFacts | None = None
        problem: str | None = None
        try:
            facts = identify(path)
            model.security_tier = facts.security_tier
        except LibrarianError as error:
            problem = error.message
        if model.match_source == "auto":
            guess = classify(facts, path.name, subtype=model.subtype if model.subtype != "unknown" else None)
            for field, value in guess.model_dump().items():
                setattr(model, field, value)
        return IndexedModel(
            model, files, has_preview=self._index.summary(model_id).preview_url is not None, problem=problem
        )

    def _tell(self, changed: list[str], removed: list[str]) -> None:
        if len(changed) + len(removed) > BATCH:
            self._announce(LibraryChange(everything=True))
        elif changed or removed:
            self._announce(LibraryChange(changed=changed, removed=removed))


def in_place_id(folder: TargetFolder, path: Path, taken: set[str]) -> str:
    """The id of a model that stays where it is, from its place below the folder.

    The same file below another root, on another machine or after a rebuilt index gets the same id.
    """
    below = (
        path.relative_to(os.path.realpath(folder.path)) if is_within(path, real_path(folder.path)) else path
    )
    name = safe_name(path.stem, max_bytes=200)
    for identity in (f"{folder.subtype}/{below.as_posix()}", str(path)):
        digest = hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=4).hexdigest()
        model_id = f"{IN_PLACE}/{name_with_suffix(name, digest)}"
        if model_id not in taken:
            return model_id
    return model_id


def inode_of(status: os.stat_result) -> str:
    """``<device>:<inode>``, which two names of one file share."""
    return f"{status.st_dev}:{status.st_ino}"


def weight_size_gb(size: int) -> float:
    """Bytes on disk as GiB, for information."""
    return round(size / 2**30, 3)


def _same_file(before: IndexedFile, found: FoundFile) -> bool:
    return (before.size, before.mtime_ns, before.inode) == (found.size, found.mtime_ns, found.inode)


def _mtime_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
