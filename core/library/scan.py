# A scan looks at 100,000 files, and `os` does that several times faster than `pathlib`.
# ruff: noqa: PTH112, PTH116, PTH118, PTH119
from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from ..errors import LibrarianError
from ..formats import FileFacts, classify, identify
from ..formats.classify import model_type_of
from ..jobs import JobContext
from ..settings import MODEL_EXTENSIONS, TargetFolder
from ..storage.names import name_with_suffix, safe_name
from ..storage.roots import is_within, real_path
from .index import Index, IndexedFile, IndexedModel, OwnedModel, ScannedFolder
from .metadata import IN_PLACE, INCOMING, METADATA_NAME, MetadataError, MetadataStore
from .records import LibraryChange, Model, ModelFile

logger = logging.getLogger(__name__)

FIRST_BATCH = 200
BATCH = 2000
"""How many models are written in one transaction: few at first, so that something is there at once."""

HEADER_BATCH = 200
TOLD_BY_NAME = 500
"""Of how many changed models an event tells the ids."""

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
    """A file met in a watched folder, of which ``root`` is the real path."""

    path: str
    folder: TargetFolder
    root: str
    size: int
    mtime_ns: int
    inode: str
    has_preview: bool


class Known(NamedTuple):
    """A file in a watched folder as the index knows it, with its model's id."""

    model_id: str
    file: IndexedFile


class Scanner:
    """Keeps the index in step with what is on disk.

    The quick scan looks at names, sizes and times and opens only what is new or changed; the deep scan
    reads every ``metadata.json`` again. Neither ever empties the index: models are replaced some
    hundred at a time, each batch in one transaction, and what is gone goes last. A scan that is cut off
    therefore leaves every model as it was or as it is.
    """

    def __init__(self, metadata: MetadataStore, index: Index, announce: Announce) -> None:
        self._metadata = metadata
        self._index = index
        self._announce = announce

    def quick(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """List what is new, changed or gone in the library and in ``folders``; then read new headers."""
        return self._scan(folders, job, every=False)

    def deep(self, folders: Iterable[TargetFolder], job: JobContext) -> ScanResult:
        """The same, but read every ``metadata.json`` and look at every folder, changed or not."""
        return self._scan(folders, job, every=True)

    def _scan(self, folders: Iterable[TargetFolder], job: JobContext, *, every: bool) -> ScanResult:
        result = ScanResult()
        self._scan_owned(job, result, every=every)
        self._scan_in_place(folders, job, result, every=every)
        self._read_headers(job)
        return result

    # The library's own models

    def _scan_owned(self, job: JobContext, result: ScanResult, *, every: bool) -> None:
        job.stage("library", unit="models")
        gone: list[str] = []
        changed = self._changed_owned(job, result, gone, every=every)
        while self._write(islice(changed, BATCH), result):
            job.check_cancelled()
        if self._metadata.root.is_dir():  # still: a drive may go while it is scanned
            self._remove(gone, result)
        elif gone:
            result.errors.append(
                f"The library {self._metadata.root} cannot be reached; its models stay listed."
            )

    def _changed_owned(
        self, job: JobContext, result: ScanResult, gone: list[str], *, every: bool
    ) -> Iterator[IndexedModel]:
        """The owned models that are new or different; adds to ``gone`` those whose folders are not there."""
        unseen = set(self._index.owned_families())
        for family, names in self._families(result, unseen):
            unseen.discard(family)
            known = self._index.owned_family(family)
            for name in names:
                job.check_cancelled()
                model_id = f"{family}/{name}"
                present, entry = self._look_at(model_id, known.get(model_id), result, every=every)
                if present:
                    known.pop(model_id, None)
                if entry is not None:
                    yield entry
            gone += known
            job.advance(result.models_found)
        for family in unseen:
            gone += self._index.owned_family(family)

    def _families(self, result: ScanResult, unseen: set[str]) -> Iterator[tuple[str, list[str]]]:
        """Each ``<type>/<family>`` in the library with the names of the folders in it.

        A folder that cannot be read says nothing about its models: they are taken out of ``unseen``.
        """
        root = str(self._metadata.root)
        for model_type in _folders_in(root) if os.path.isdir(root) else ():
            if model_type in (IN_PLACE, INCOMING):
                continue
            below = f"{model_type}/"
            try:
                for family in _folders_in(os.path.join(root, model_type)):
                    below = f"{model_type}/{family}"
                    yield below, _folders_in(os.path.join(root, below))
                    below = f"{model_type}/"
            except OSError as error:
                result.errors.append(
                    f"{os.path.join(root, below)} cannot be read: {error.strerror or error}. "
                    "Its models stay listed."
                )
                unseen -= {family for family in unseen if family.startswith(f"{model_type}/")}

    def _look_at(
        self,
        model_id: str,
        before: OwnedModel | None,
        result: ScanResult,
        *,
        every: bool,
    ) -> tuple[bool, IndexedModel | None]:
        """Whether a folder holds a model that stays or comes into the index, and what is new about it."""
        folder = os.path.join(self._metadata.root, model_id)
        try:
            mtime_ns = os.stat(os.path.join(folder, METADATA_NAME)).st_mtime_ns
        except OSError:
            return False, None
        result.models_found += 1
        same_files = before is not None and all(
            path.startswith(folder) and _size_and_time(path) == seen for path, seen in before.files.items()
        )
        if before is not None and same_files and before.metadata_mtime_ns == mtime_ns and not every:
            return True, None
        try:
            entry = self.owned_entry(model_id, Path(folder))
        except MetadataError as error:
            result.errors.append(error.message)
            logger.warning("%s", error.message)
            if before is not None:
                self._index.set_problem([model_id], error.message)
            return before is not None, None
        if entry is None:
            result.models_skipped_missing_files += 1
            return False, None
        if before is None or not same_files or self._differs(entry, before):
            return True, _without_stale_hashes(entry, before)
        return True, None

    def _differs(self, entry: IndexedModel, before: OwnedModel) -> bool:
        """Whether what was read anew is not what the index says."""
        return (
            (entry.metadata_mtime_ns, entry.has_preview, entry.problem)
            != (before.metadata_mtime_ns, before.has_preview, before.problem)
            or len(entry.files) != len(before.files)
            or self._index.metadata_text(entry.model.model_id) != entry.model.model_dump_json(by_alias=True)
        )

    def owned_entry(self, model_id: str, folder: Path) -> IndexedModel | None:
        """What the index should say of one model folder; nothing if a listed file is not there.

        Raises `MetadataError`.
        """
        metadata_path = folder / METADATA_NAME
        model = self._metadata.read_file(metadata_path)
        if model is None or not model.files:
            return None
        model.model_id = model_id  # where it lies is its id, whatever a copied file says
        files = []
        for file in model.files:
            path = os.path.join(folder, file.name)
            try:
                plain = not os.path.split(file.name)[0] and file.name not in ("", ".", "..")
                status = os.lstat(path) if plain else None
                if status is None or not stat.S_ISREG(status.st_mode):
                    if not is_within(real_path(Path(path)), real_path(folder)):
                        raise MetadataError(
                            f"{metadata_path} lists {file.name!r}, which lies outside its folder."
                        )
                    status = os.stat(path)
            except (OSError, ValueError):
                return None
            if status.st_size != file.size:
                return None
            files.append(
                IndexedFile(
                    path,
                    None,
                    status.st_size,
                    status.st_mtime_ns,
                    inode_of(status),
                    file.sha256,
                    file.blake3,
                )
            )
        preview = model.preview_image is not None and (folder / Path(model.preview_image).name).is_file()
        return IndexedModel(model, files, has_preview=preview, metadata_mtime_ns=_mtime_ns(metadata_path))

    # Models that stay where they are

    def _scan_in_place(
        self, folders: Iterable[TargetFolder], job: JobContext, result: ScanResult, *, every: bool
    ) -> None:
        job.stage("folders", unit="models")
        unvisited = self._index.scanned_folders()
        looked: list[ScannedFolder] = []
        new: list[tuple[TargetFolder, str, list[str]]] = []
        changed_before: dict[str, Known] = {}
        gone: dict[str, Known] = {}
        walk = _Walk(self._metadata.root, self._index, folders, result)
        for directory, files in walk.directories():
            job.check_cancelled()
            result.models_found += len(files)
            job.advance(result.models_found)
            before = unvisited.pop(directory.path, None)
            if before == directory and directory.fingerprint and not every:
                continue
            known = {
                file.path: Known(model_id, file) for model_id, file in self._index.files_in(directory.path)
            }
            packed: list[str] = []
            for found in walk.found(files):
                seen = known.pop(found.path, None)
                if seen is None:
                    packed.append(_pack(found))
                elif (seen.file.size, seen.file.mtime_ns) != (found.size, found.mtime_ns):
                    changed_before[found.path] = seen
                    packed.append(_pack(found))
            if packed:
                new.append((files.folder, files.root, packed))
            gone |= known
            if before != directory:
                looked.append(directory)
        for directory in unvisited.values():
            # A folder that cannot be reached, such as an unplugged drive, says nothing about its files.
            if os.path.isdir(directory.folder):
                gone |= {
                    file.path: Known(model_id, file)
                    for model_id, file in self._index.files_in(directory.path)
                }
        # What is not done with has no fingerprint, so that a scan that is cut off is taken up again.
        if looked:
            self._index.remember_folders(directory._replace(fingerprint="") for directory in looked)
        moved = self._list(new, changed_before, gone, job, result)
        self._remove([known.model_id for known in gone.values() if known.model_id not in moved], result)
        forgotten = [path for path, directory in unvisited.items() if os.path.isdir(directory.folder)]
        if looked or forgotten:
            self._index.remember_folders(looked)
            self._index.forget_folders(forgotten)
        self._take_over_written(job, result)

    def _list(
        self,
        new: list[tuple[TargetFolder, str, list[str]]],
        changed_before: dict[str, Known],
        gone: dict[str, Known],
        job: JobContext,
        result: ScanResult,
    ) -> set[str]:
        """Write files into the index as far as their names tell; answers which models only moved."""
        moved: set[str] = set()
        if new:
            job.stage("list", total=sum(len(packed) for _, _, packed in new), unit="models")
            entries = self._entries(new, changed_before, gone, moved)
            count, size = 0, FIRST_BATCH
            while written := self._write(islice(entries, size), result):
                job.check_cancelled()
                count, size = count + written, BATCH
                job.advance(count)
        return moved

    def _entries(
        self,
        new: list[tuple[TargetFolder, str, list[str]]],
        changed_before: dict[str, Known],
        gone: dict[str, Known],
        moved: set[str],
    ) -> Iterator[IndexedModel]:
        by_inode = {known.file.inode: known for known in gone.values()}
        written = {file.name: model for model in self._metadata.in_place() for file in model.files}
        taken: set[str] = set()
        for folder, root, packed in new:
            while packed:
                found = _unpack(packed.pop(), folder, root)
                before = changed_before.get(found.path)
                origin = by_inode.get(found.inode) if before is None else None
                if origin is not None and origin.model_id not in moved and _same_file(origin.file, found):
                    moved.add(origin.model_id)
                    yield self._moved(origin, found)
                else:
                    yield self._listed(found, before, written.get(found.path), taken)

    def _listed(
        self, found: FoundFile, before: Known | None, written: Model | None, taken: set[str]
    ) -> IndexedModel:
        """A file as it is listed before its header is read."""
        metadata_mtime_ns = None
        if written is not None:
            model = written.model_copy(deep=True)
            file = model.files[0]
            if file.size != found.size or (before is not None and before.file.mtime_ns != found.mtime_ns):
                file.sha256 = file.blake3 = None
            file.size = found.size
            metadata_mtime_ns = _mtime_ns(self._metadata.folder(model.model_id) / METADATA_NAME)
        else:
            name = os.path.basename(found.path)
            model_id = before.model_id if before else self._free_id(found, taken)
            taken.add(model_id)
            # The family and the rest follow with the header: to be found by name must not wait for that.
            model = Model(
                official_name=name.rpartition(".")[0] or name,
                subtype=found.folder.subtype,
                model_type=model_type_of(found.folder.subtype),
                model_id=model_id,
                cleaned_name=model_id.partition("/")[2],
                storage="in-place",
                files=[ModelFile(name=found.path, original_name=name, size=found.size)],
                added_date=datetime.fromtimestamp(max(0, found.mtime_ns) / 1e9, timezone.utc),
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
        return IndexedModel(
            model,
            [indexed],
            has_preview=found.has_preview,
            header_read=False,
            metadata_mtime_ns=metadata_mtime_ns,
        )

    def _free_id(self, found: FoundFile, taken: set[str]) -> str:
        """The id of a new model that stays where it is; another file's id is never given again."""
        model_id = ""
        for model_id in in_place_ids(found.root, found.folder.subtype, found.path):
            if model_id not in taken and not self._index.contains(model_id):
                break
        return model_id

    def _moved(self, origin: Known, found: FoundFile) -> IndexedModel:
        """A known file under a new name: the model stays what it is, its hashes stay true."""
        model = self._index.model(origin.model_id)
        model.files[0].name = found.path
        model.subtype = found.folder.subtype if model.match_source == "auto" else model.subtype
        metadata_mtime_ns = None
        if self._metadata.read(origin.model_id) is not None:
            metadata_mtime_ns = self._metadata.write(model)
        file = origin.file._replace(path=found.path, folder=str(found.folder.path))
        return IndexedModel(
            model,
            [file],
            has_preview=found.has_preview,
            header_read=False,
            metadata_mtime_ns=metadata_mtime_ns,
        )

    def _take_over_written(self, job: JobContext, result: ScanResult) -> None:
        """Take over what another machine or process wrote about models whose files stay elsewhere."""
        known = self._index.written_in_place()
        changed: list[str] = []
        folder = self._metadata.root / IN_PLACE
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    job.check_cancelled()
                    model_id = f"{IN_PLACE}/{entry.name}"
                    mtime_ns = _mtime_ns(Path(entry.path, METADATA_NAME))
                    if mtime_ns is not None and known.get(model_id) != mtime_ns:
                        changed.append(model_id)
        except OSError:
            return
        entries_ = []
        for model_id in changed:
            try:
                model = self._metadata.read(model_id)
            except MetadataError as error:
                result.errors.append(error.message)
                continue
            if model is not None and self._index.contains(model_id):
                model.model_id = model_id
                summary = self._index.summary(model_id)
                entries_.append(
                    IndexedModel(
                        model,
                        self._index.files(model_id),
                        has_preview=summary.preview_url is not None,
                        problem=summary.problem,
                        metadata_mtime_ns=_mtime_ns(self._metadata.folder(model_id) / METADATA_NAME),
                    )
                )
        self._write(entries_, result)

    # Headers

    def _read_headers(self, job: JobContext) -> None:
        job.stage("headers", total=self._index.count_unread(), unit="models")
        done = 0
        while read := self._write(self._with_headers(job)):
            done += read
            job.advance(done)

    def _with_headers(self, job: JobContext) -> Iterator[IndexedModel]:
        for entry in self._index.unread(HEADER_BATCH):
            job.check_cancelled()
            yield _with_header(entry)

    # The index

    def _write(self, entries: Iterable[IndexedModel], result: ScanResult | None = None) -> int:
        """Write models in one transaction and tell it; answers how many they were."""
        written: list[str] = []

        def noted() -> Iterator[IndexedModel]:
            for entry in entries:
                written.append(entry.model.model_id)
                yield entry

        self._index.put(noted())
        if result is not None:
            result.models_indexed += len(written)
        self._tell(written, [])
        return len(written)

    def _remove(self, gone: list[str], result: ScanResult) -> None:
        if not gone:
            return
        self._index.remove(gone)
        result.models_removed += len(gone)
        self._tell([], gone)

    def _tell(self, changed: list[str], removed: list[str]) -> None:
        if len(changed) + len(removed) > TOLD_BY_NAME:
            self._announce(LibraryChange(everything=True))
        elif changed or removed:
            self._announce(LibraryChange(changed=changed, removed=removed))


class _Walk:
    """Goes through watched folders and meets every model file once, however many names lead to it."""

    def __init__(
        self, library: Path, index: Index, folders: Iterable[TargetFolder], result: ScanResult
    ) -> None:
        self._library = os.path.join(real_path(library), "")
        self._index = index
        self._folders = list(folders)
        self._result = result
        self._seen_folders: set[str] = set()
        self._seen_paths: set[str] = set()
        self._seen_inodes: set[str] | None = None
        self._roots = [os.path.join(os.path.realpath(folder.path), "") for folder in self._folders]

    def directories(self) -> Iterator[tuple[ScannedFolder, _Listing]]:
        """Each directory with the model files in it.

        Its fingerprint is empty if files in it have further names elsewhere: what is to be said of those
        depends on the other names, too.
        """
        for folder in self._folders:
            root = os.path.realpath(folder.path)
            stack = [root]
            while stack:
                directory = stack.pop()
                if directory in self._seen_folders or os.path.join(directory, "").startswith(self._library):
                    continue
                if not self._storable(directory):
                    continue
                self._seen_folders.add(directory)
                try:
                    listing = self._list(directory, folder, root, stack)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    self._result.errors.append(f"{directory} cannot be read: {error.strerror or error}.")
                    continue
                yield (
                    ScannedFolder(directory, str(folder.path), folder.subtype, listing.fingerprint()),
                    listing,
                )

    def _list(self, directory: str, folder: TargetFolder, root: str, stack: list[str]) -> _Listing:
        listing = _Listing(directory, folder, root)
        plain = listing.plain
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                try:
                    if name[name.rfind(".") :].lower() not in MODEL_EXTENSIONS:
                        if entry.is_file():
                            listing.other_names.append(name)
                        elif not name.startswith(".") and entry.is_dir():
                            stack.append(os.path.realpath(entry.path) if entry.is_symlink() else entry.path)
                    elif not self._storable(name):
                        continue
                    elif entry.is_symlink():
                        if not self._leads_into_library(entry) and entry.is_file():
                            target = os.path.realpath(entry.path)
                            if self._storable(target):
                                listing.linked.append((name, target, entry.stat()))
                    elif entry.is_file():
                        status = entry.stat()
                        if status.st_nlink > 1:
                            listing.linked.append((name, entry.path, status))
                        else:
                            plain.append(
                                f"{name}/{status.st_size}/{status.st_mtime_ns}/{status.st_dev}:{status.st_ino}"
                            )
                    elif entry.is_dir():
                        stack.append(entry.path)
                except OSError:
                    continue  # a broken link, or gone between listing and looking
        return listing

    def _storable(self, name: str) -> bool:
        """Whether a name is text at all; on Linux it may be any bytes, which neither JSON nor SQLite keeps."""
        if _is_text(name):
            return True
        shown = os.fsencode(name).decode(errors="replace")
        self._result.errors.append(
            f"{shown} has a name that is not valid UTF-8. Rename it to have it listed."
        )
        return False

    def _leads_into_library(self, entry: os.DirEntry[str]) -> bool:
        target = os.readlink(entry.path)
        if target.startswith(self._library) and "/../" not in target:
            return True
        return os.path.realpath(entry.path).startswith(self._library)

    def found(self, listing: _Listing) -> Iterator[FoundFile]:
        """The files of a directory that were not met under another name."""
        names = set(listing.other_names)
        for line in listing.plain:
            name, size, mtime_ns, inode = line.rsplit("/", 3)
            path = os.path.join(listing.path, name)
            if path not in self._seen_paths:
                yield FoundFile(
                    path,
                    listing.folder,
                    listing.root,
                    int(size),
                    int(mtime_ns),
                    inode,
                    _has_preview(name, names),
                )
        for name, path, status in sorted(listing.linked, key=lambda file: file[0]):
            inode = inode_of(status)
            if path in self._seen_paths or (status.st_nlink > 1 and inode in self._inodes()):
                continue
            if path != os.path.join(listing.path, name) and self._is_listed_itself(path):
                continue
            if status.st_nlink > 1:
                self._inodes().add(inode)
            self._seen_paths.add(path)
            yield FoundFile(
                path,
                listing.folder,
                listing.root,
                status.st_size,
                status.st_mtime_ns,
                inode,
                _has_preview(name, names),
            )

    def _is_listed_itself(self, path: str) -> bool:
        """Whether the file that a link leads to is met under its own name, before or after the link."""
        if os.path.splitext(path)[1].lower() not in MODEL_EXTENSIONS:
            return False
        below = (path[len(root) :] for root in self._roots if path.startswith(root))
        return any("/." not in os.path.join("/", rest).rpartition("/")[0] for rest in below)

    def _inodes(self) -> set[str]:
        if self._seen_inodes is None:
            self._seen_inodes = self._index.owned_inodes()
        return self._seen_inodes


class _Listing:
    """What lies in one directory: model files with one name, those with further names, other names.

    The first are kept as one text each, ``name/size/time/device:inode``: of 100,000 files that did not
    change nothing else is ever needed.
    """

    def __init__(self, path: str, folder: TargetFolder, root: str) -> None:
        self.path = path
        self.folder = folder
        self.root = root
        self.plain: list[str] = []
        self.linked: list[tuple[str, str, os.stat_result]] = []
        self.other_names: list[str] = []

    def __len__(self) -> int:
        return len(self.plain) + len(self.linked)

    def fingerprint(self) -> str:
        """What changes when a file comes, goes, is replaced or gets a preview."""
        if self.linked:
            return ""
        lines = self.plain + self.other_names if self.plain else []
        text = "\n".join(lines).encode(errors="surrogateescape")
        return hashlib.blake2b(text, digest_size=16).hexdigest()


def _is_text(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pack(found: FoundFile) -> str:
    """A file as one text: 100,000 records would cost the garbage collector, and all threads with it, a halt."""
    size, mtime_ns, preview = str(found.size), str(found.mtime_ns), "1" if found.has_preview else ""
    return "\0".join((found.path, size, mtime_ns, found.inode, preview))


def _unpack(packed: str, folder: TargetFolder, root: str) -> FoundFile:
    path, size, mtime_ns, inode, preview = packed.split("\0")
    return FoundFile(path, folder, root, int(size), int(mtime_ns), inode, bool(preview))


def _has_preview(name: str, others: set[str]) -> bool:
    stem = name[: name.rfind(".")]
    return bool(others) and any(stem + ending in others for ending in PREVIEW_ENDINGS)


def _folders_in(path: str) -> list[str]:
    """The folders in a folder, none if it is gone meanwhile. Raises `OSError` if it cannot be read."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if _is_text(entry.name) and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _with_header(entry: IndexedModel) -> IndexedModel:
    """A listed model with what its file's header tells."""
    model = entry.model
    path = Path(entry.files[0].path)
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
    return entry._replace(problem=problem, header_read=True)


def _without_stale_hashes(entry: IndexedModel, before: OwnedModel | None) -> IndexedModel:
    """The entry without the hashes of files that were replaced after they were hashed."""
    if before is None or entry.metadata_mtime_ns != before.metadata_mtime_ns:
        return entry
    files = [
        file._replace(sha256=None, blake3=None)
        if before.files.get(file.path, (file.size, file.mtime_ns)) != (file.size, file.mtime_ns)
        else file
        for file in entry.files
    ]
    return entry._replace(files=files)


def in_place_ids(root: str, subtype: str, path: str) -> Iterator[str]:
    """The ids that a model that stays where it is may get, the wanted one first.

    It comes from its place below ``root``, the watched folder's real path, so that the same file below
    another root, on another machine or after a rebuilt index gets the same id; the second one from its
    whole path.
    """
    name = safe_name(os.path.splitext(os.path.basename(path))[0], max_bytes=200)
    below = path[len(root) + 1 :].replace(os.sep, "/") if path.startswith(root + os.sep) else path
    for identity in (f"{subtype}/{below}", path):
        digest = hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=4).hexdigest()
        yield f"{IN_PLACE}/{name_with_suffix(name, digest)}"


def inode_of(status: os.stat_result) -> str:
    """``<device>:<inode>``, which two names of one file share."""
    return f"{status.st_dev}:{status.st_ino}"


def weight_size_gb(size: int) -> float:
    """Bytes on disk as GiB, for information."""
    return round(size / 2**30, 3)


def _same_file(before: IndexedFile, found: FoundFile) -> bool:
    return (before.size, before.mtime_ns, before.inode) == (found.size, found.mtime_ns, found.inode)


def _size_and_time(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _mtime_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
