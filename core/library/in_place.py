"""Models whose files stay where they are: found in the apps' folders, or written down in ``in-place/``."""

# ruff: noqa: PTH112, PTH116, PTH117, PTH119, PTH120
from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import chain, count, islice, starmap
from pathlib import Path
from typing import Any, NamedTuple

from ..formats import ModelFormat
from ..formats.classify import model_type_of
from ..formats.shards import parse_shard
from ..formats.sidecars import Preview, preview_names
from ..jobs import JobContext
from ..sentences import say
from ..settings import TargetFolder
from ..storage.names import name_with_suffix, safe_name
from ..turns import give_way, in_turns
from ..worker import Worker
from .compact import TextSet
from .index import Index, IndexedFile, IndexedModel, ScannedFolder, inode_of, row_of
from .metadata import IN_PLACE, METADATA_NAME, MetadataError, MetadataStore
from .records import Model, ModelFile, ScanResult, weight_size_gb
from .staging import ModelRow, id_of
from .walk import FoundFile, FoundModel, Listing, Unchanged, Walk, pack, unpack

ELSEWHERE = ""
"""The watched folder of a file that lies in none."""

_ASKED_AT_ONCE = 100
"""For how many new models one query asks which ids are free."""

_OF_ITS_FILES = ("files", "model_format", "hashes", "size_bytes", "approx_weight_size_gb")
"""What a record says of a model's files, which may lie otherwise since."""

_NO_NAMES = frozenset({"model", "pytorch_model", "diffusion_pytorch_model"})
"""What publishers call the files of every sharded set; the folder then has the model's name."""


class Known(NamedTuple):
    """A file in a watched folder as the index knows it, with its model's id."""

    model_id: str
    file: IndexedFile


class InPlaceModels:
    """One look at the watched folders and at what is written down of models that lie elsewhere.

    `compare` finds what differs from the index, `rows` and `declared` what is to be written, and
    `gone` what is to be removed then.
    """

    def __init__(
        self,
        metadata: MetadataStore,
        index: Index,
        folders: Iterable[TargetFolder],
        result: ScanResult,
        *,
        every: bool,
    ) -> None:
        self._metadata = metadata
        self._index = index
        self._folders = list(folders)
        self._subtypes: dict[str | None, str] = {
            str(one.path): one.subtype for one in reversed(self._folders)
        }
        """What each folder is for; of two with one path the first counts, as in a `Walk`."""
        self._result = result
        self._every = every
        self._unchanged = Unchanged()
        self.looked: list[ScannedFolder] = []
        """The directories that are not as they were."""
        self.forgotten: list[str] = []
        """Those that are not there any more."""
        self.new_count = 0
        # Of a whole library the garbage collector, which halts all threads, looks into neither tuples nor dicts
        # of texts; of lists and sets it looks at every element. To free many thousand texts at once halts them, too.
        self._new: list[tuple[TargetFolder, str, tuple[str, ...]]] = []
        self._before: dict[str, Known] = {}
        self._gone: dict[str, Known] = {}
        self._kept: set[str] = set()
        self._written = TextSet()
        self._by_inode: dict[str, Known] = {}
        self._unlisted: dict[str, str] = {}
        self._reserved: set[str] = set()
        self._in_trees: set[str] = set()

    def close(self) -> None:
        """Let go of what grows with the library."""
        self._written.release()

    @property
    def gone(self) -> list[str]:
        """Ids of the models that are not there any more; whole once `rows` has run through."""
        return [*dict.fromkeys(known.model_id for known in self._gone.values() if self._is_gone(known))]

    def _is_gone(self, known: Known) -> bool:
        return known.model_id not in self._kept

    def compare(self, job: JobContext) -> None:
        """Walk the watched folders and note what is new, changed or gone there."""
        unvisited = self._index.scanned_folders()
        walk = Walk(self._metadata.root, self._index, self._folders, self._result.errors)
        for directory, listing in walk.directories():
            job.check_cancelled()
            self._result.models_found += len(listing)
            job.advance(self._result.models_found)
            before = unvisited.pop(directory.path, None)
            if before == directory and directory.fingerprint and not self._every:
                continue
            self._compare(listing, walk)
            if before != directory:
                self.looked.append(directory)
        for directory in unvisited.values():
            if walk.is_part(directory.path):
                self.forgotten.append(directory.path)
                known = self._known_in(directory.path, deep=False)
                self._gone |= {path: one for path, one in known.items() if path not in self._in_trees}
            elif os.path.isdir(directory.folder) and not walk.cannot_tell(directory.path):
                # A folder that cannot be reached, such as an unplugged drive, says nothing about its files.
                self.forgotten.append(directory.path)
                self._gone |= self._known_in(directory.path, deep=True)
        self.new_count = sum(len(packed) for _, _, packed in self._new)

    def _known_in(self, directory: str, *, deep: bool) -> dict[str, Known]:
        files = self._index.files_below(directory) if deep else self._index.files_in(directory)
        return {file.shown_as: Known(model_id, file) for model_id, file in files}

    def _compare(self, listing: Listing, walk: Walk) -> None:
        known = self._known_in(listing.path, deep=listing.tree is not None)
        shown = self._index.previews_in(listing.path) if known and listing.tree is None else {}
        packed: list[str] = []
        same: list[tuple[str, FoundModel]] = []
        for found in in_turns(walk.found(listing)):
            if listing.tree is not None:
                self._in_trees.update(file.path for file in found.files)
            seen = [known.pop(file.shown_as, None) for file in found.files]
            if not any(seen):
                seen = [self._met_elsewhere(file) for file in found.files]
            models = {
                before.model_id: before
                for before in seen
                if before is not None and before.model_id not in self._kept  # or two would be it
            }
            if not models:
                packed.append(pack(found))
                continue
            model_id, before = next(iter(models.items()))
            same_preview = shown.get(model_id, Preview.NONE) == found.preview
            if (
                len(models) == 1
                and same_preview
                and all(
                    known_file is not None and self._is_same(known_file.file, file, listing.folder)
                    for known_file, file in zip(seen, found.files, strict=True)
                )
            ):
                same.append((model_id, found))
                continue
            self._change(found, before, packed)
            self._gone |= {other.file.shown_as: other for other in models.values() if other is not before}
        if known:
            left = {before.model_id for before in known.values()}
            for model_id, found in same:
                if model_id in left and model_id in self._kept:  # it fell apart
                    packed.append(pack(found))
                elif model_id in left:  # it has lost a file
                    self._change(found, next(k for k in known.values() if k.model_id == model_id), packed)
            self._gone |= known
        for start in range(0, len(packed), _ASKED_AT_ONCE):
            self._new.append((listing.folder, listing.root, tuple(packed[start : start + _ASKED_AT_ONCE])))

    def _met_elsewhere(self, file: FoundFile) -> Known | None:
        """What is known of a file that a link leads to, if it was not this one until now."""
        at = self._index.file_at(file.path) if file.link is not None else None
        return Known(*at) if at is not None else None

    def _is_same(self, known: IndexedFile, file: FoundFile, folder: TargetFolder) -> bool:
        same = (known.path, known.link) == (file.path, file.link)
        # A link to a folder may lie in another one now. What other processes call the folder says nothing.
        if self._subtypes.get(known.folder, folder.subtype) != folder.subtype:
            return False
        return same and self._unchanged(file.path, known.state, file.state)

    def _change(self, found: FoundModel, before: Known, packed: list[str]) -> None:
        self._before[found.main.path] = before
        self._kept.add(before.model_id)
        packed.append(pack(found))

    # What is to be written

    def rows(self, worker: Worker) -> Iterator[ModelRow]:
        """The models that are new, changed or moved, as far as names tell; to be taken once, after `compare`."""
        self._by_inode = {known.file.inode: known for known in self._gone.values() if self._is_gone(known)}
        self._unlisted = self._find_unlisted() if self._new else {}
        self._reserved = set(self._unlisted.values())
        for (folder, root, packed), rows in worker.map(rows_of_new, self._batches(), shared=True):
            wanted = [id_of(row) for row in rows]
            taken = self._index.known(wanted)
            if not taken and self._are_unheard_of(wanted, rows):
                for row in in_turns(rows):
                    self._written.add(id_of(row))
                    yield row
                continue
            for text, model_id in zip(packed, wanted, strict=True):
                entry = self._entry(unpack(text, folder, root), None if model_id in taken else model_id)
                self._written.add(entry.model.model_id)
                yield row_of(entry)

    def _batches(self) -> Iterator[tuple[TargetFolder, str, tuple[str, ...]]]:
        self._new.reverse()
        while self._new:
            yield self._new.pop()

    def _are_unheard_of(self, wanted: list[str], rows: list[ModelRow]) -> bool:
        """Whether nothing is known of the files of models, and each can have the id that it wants."""
        if len(set(wanted)) < len(wanted) or not all(map(self._is_free, wanted)):
            return False
        return not any(
            file.path in self._before or file.path in self._unlisted or file.inode in self._by_inode
            for _, files, _ in rows
            for file in starmap(IndexedFile, files)
        )

    def _entry(self, found: FoundModel, wanted_id: str | None) -> IndexedModel:
        """What is to be written of a model; ``wanted_id`` is what it should get, if the index gives that to nobody."""
        before = self._before.get(found.main.path)
        origin = self._by_inode.get(found.main.inode) if before is None else None
        if origin is not None and self._is_gone(origin) and _same_file(origin.file, found.main):
            self._kept.add(origin.model_id)
            return self._moved(origin, found)
        return self._listed(found, before, wanted_id)

    def _find_unlisted(self) -> dict[str, str]:
        """Ids of models of which something is written down and that the index does not know, by their files' paths."""
        return {
            file.name: model_id
            for model_id in in_turns(self._written_ids())
            if not self._index.contains(model_id)
            for model, _ in self._read(model_id)
            for file in model.files
        }

    def _written_ids(self) -> list[str]:
        try:
            with os.scandir(self._metadata.root / IN_PLACE) as entries:
                return [f"{IN_PLACE}/{entry.name}" for entry in entries]
        except OSError:
            return []

    def _read(self, model_id: str) -> list[tuple[Model, int]]:
        """What is written down of a model; nothing, and an error in the result, if that cannot be read."""
        try:
            read = self._metadata.read_with_time(self._metadata.folder(model_id) / METADATA_NAME)
        except MetadataError as error:
            if error.message not in self._result.errors:
                self._result.errors.append(error.message)
            return []
        if read is None:
            return []
        read[0].model_id, read[0].storage = model_id, "in-place"
        return [read]

    def _listed(
        self,
        found: FoundModel,
        before: Known | None,
        wanted_id: str | None,
    ) -> IndexedModel:
        """A model as it is listed before its header is read."""
        if before is not None:
            written_id: str | None = before.model_id
        else:
            recorded = (self._unlisted[file.path] for file in found.files if file.path in self._unlisted)
            written_id = next((one for one in recorded if one not in self._written), None)
        written = next(iter(self._read(written_id)), None) if written_id is not None else None
        if written is not None:
            model, metadata_mtime_ns = written
            hashes = {file.name: (file.size, file.sha256, file.blake3) for file in model.files}
        else:
            metadata_mtime_ns, hashes = None, {}
            model = _new_model(found, before.model_id if before else self._free_id(found, wanted_id))
        known = {}
        if before is not None:
            known = {file.path: file for file in self._index.files(before.model_id)}
        files = []
        for file in found.files:
            seen = known.get(file.path)
            if seen is not None:
                same = self._unchanged(file.path, seen.state, file.state)
                digests = (seen.sha256, seen.blake3) if same else (None, None)
            else:
                size, *texts = hashes.get(file.path, (None, None, None))
                digests = (texts[0], texts[1]) if size == file.size else (None, None)
            files.append(_indexed(file, found.folder, *digests))
        _describe(model, found, files)
        return IndexedModel(
            model,
            files,
            preview=found.preview,
            header_read=False,
            metadata_mtime_ns=metadata_mtime_ns,
        )

    def _free_id(self, found: FoundModel, wanted: str | None) -> str:
        """The id of a new model that stays where it is; another file's id is never given again."""
        if wanted is not None and self._is_free(wanted):
            return wanted
        others = islice(in_place_ids(found.root, found.folder.subtype, found.place), 1, None)
        return next(one for one in others if self._is_free(one) and not self._index.contains(one))

    def _is_free(self, model_id: str) -> bool:
        """Whether no model that was met has an id, nor one that may be met and of which something is written down."""
        return model_id not in self._written and model_id not in self._reserved

    def _moved(self, origin: Known, found: FoundModel) -> IndexedModel:
        """A known model under a new name: it stays what it is, its hashes stay true."""
        model = self._index.model(origin.model_id)
        known = {(file.inode, file.size, file.mtime_ns): file for file in self._index.files(origin.model_id)}
        recorded = {file.name: file for file in model.files}
        files = []
        for file in found.files:
            seen = known.get((file.inode, file.size, file.mtime_ns))
            record = recorded.get(seen.path) if seen is not None else None
            digests = (seen.sha256, seen.blake3) if seen is not None else (None, None)
            if record is not None and digests == (None, None):
                digests = (record.sha256, record.blake3)
            files.append(_indexed(file, found.folder, *digests))
        _describe(model, found, files)
        model.subtype = found.folder.subtype if model.match_source == "auto" else model.subtype
        metadata_mtime_ns = None
        if self._metadata.mtime_ns(origin.model_id) is not None:
            model, metadata_mtime_ns = self._metadata.update(
                model, lambda written: _describe(written, found, files), self._index.known
            )
            self._written.add(origin.model_id)
        entry = IndexedModel(
            model,
            files,
            preview=found.preview,
            header_read=False,
            metadata_mtime_ns=metadata_mtime_ns,
        )
        if entry.is_guessed:
            model.official_name = _official_name(found)
        return entry

    # What is written down

    def declared(self, job: JobContext) -> Iterator[IndexedModel]:
        """Models of ``in-place/`` that lie in no watched folder, or of which something new is written down.

        To be taken once, after `rows`. A model whose files are gone is skipped and counted; while its drive is
        missing it stays listed, if it was, with its problem.
        """
        known = self._index.written_in_place()
        elsewhere = self._index.ids_elsewhere()
        gone = set(self.gone)
        for model_id in self._written_ids():
            job.check_cancelled()
            if model_id in self._written:
                elsewhere.discard(model_id)
                continue
            mtime_ns = self._metadata.mtime_ns(model_id)
            if mtime_ns is None:
                continue
            is_known = known.get(model_id) == mtime_ns and not self._every
            if is_known and model_id not in elsewhere and model_id not in gone:
                continue
            elsewhere.discard(model_id)
            for model, read_mtime_ns in self._read(model_id):
                entry = self._declared(model, read_mtime_ns, gone)
                if entry is not None:
                    yield entry
        # Nothing is written down any more of what only that told of.
        for model_id in elsewhere:
            self._gone |= {file.path: Known(model_id, file) for file in self._index.files(model_id)}

    def _declared(self, model: Model, metadata_mtime_ns: int, gone: set[str]) -> IndexedModel | None:
        """What is to be written of a model; ``gone`` are those that lay in a watched folder and do no longer."""
        model_id = model.model_id
        is_gone = model_id in gone
        known = self._index.files(model_id)
        if known and known[0].folder != ELSEWHERE and not is_gone:
            entry = self._index.as_known(model_id)
            if [file.name for file in model.files] != [file.path for file in entry.files]:
                model = model.model_copy(update={name: getattr(entry.model, name) for name in _OF_ITS_FILES})
            return entry._replace(model=model, metadata_mtime_ns=metadata_mtime_ns)
        before = self._index.as_known(model_id) if known else None
        rewritten = before is None or before.metadata_mtime_ns != metadata_mtime_ns
        files = self._files_elsewhere(model, known, rewritten=rewritten)
        if files is None:
            self._result.models_skipped_missing_files += 1
            return None if is_gone else self._missing(model, known, metadata_mtime_ns)
        if any(self._is_of_another(file, model_id, gone) for file in files):
            return None
        self._result.models_found += 1
        self._kept.add(model_id)
        same = [file[:5] for file in files] == [file[:5] for file in known]
        entry = IndexedModel(
            model, files, _shown(model), header_read=same or not known, metadata_mtime_ns=metadata_mtime_ns
        )
        known_so = before is not None and (
            (before.problem, before.metadata_mtime_ns, before.preview)
            == (None, metadata_mtime_ns, entry.preview)
        )
        return entry if self._every or not (known_so and same) else None

    def _is_of_another(self, file: IndexedFile, model_id: str, gone: set[str]) -> bool:
        """Whether a file is one of another model's by now, such as of the Diffusers folder around it."""
        at = self._index.file_at(file.path)
        other = at is not None and at[0] != model_id and at[0] not in gone
        return other or file.path in self._in_trees

    def _files_elsewhere(
        self, model: Model, known: list[IndexedFile], *, rewritten: bool
    ) -> list[IndexedFile] | None:
        """The files that a ``metadata.json`` names by absolute paths as they are now; nothing if one is not there.

        A file that has changed since it was known keeps a hash only if that was ``rewritten`` since, too.
        """
        before = {file.path: file for file in known}
        files = []
        for file in model.files:
            try:
                status = os.stat(file.name) if os.path.isabs(file.name) else None
            except (OSError, ValueError):
                status = None
            if status is None or not stat.S_ISREG(status.st_mode):
                return None
            seen = before.get(file.name)
            digests: tuple[str | None, str | None] = (file.sha256, file.blake3)
            now = (status.st_size, status.st_mtime_ns, inode_of(status))
            if seen is not None and self._unchanged(file.name, seen.state, now):
                digests = (seen.sha256 or file.sha256, seen.blake3 or file.blake3)
            elif not rewritten or status.st_size != file.size:
                digests = (None, None)
            files.append(IndexedFile(file.name, ELSEWHERE, *now, *digests))
        return files or None

    def _missing(self, model: Model, known: list[IndexedFile], metadata_mtime_ns: int) -> IndexedModel | None:
        """What is to be said of a model whose files are not all there: nothing, unless its drive is missing."""
        folder = os.path.dirname(model.files[0].name) if model.files else ""
        if known and folder and not os.path.isdir(folder):
            self._kept.add(model.model_id)
            problem = say(
                "drive_missing",
                "{folder} is not there. Connect its drive, or delete the model.",
                folder=folder,
            )
            before = self._index.as_known(model.model_id)
            if (before.problem, before.metadata_mtime_ns) == (problem, metadata_mtime_ns) and not self._every:
                return None
            return before._replace(model=model, problem=problem, metadata_mtime_ns=metadata_mtime_ns)
        self._gone |= {file.path: Known(model.model_id, file) for file in known}
        return None


def rows_of_new(folder: TargetFolder, root: str, packed: Iterable[str]) -> list[ModelRow]:
    """Packed models as they are listed before their headers are read, if nothing is known of them."""
    rows = []
    for text in packed:
        give_way()
        found = unpack(text, folder, root)
        wanted_id = next(in_place_ids(root, folder.subtype, found.place))
        model, files = _new_model(found, wanted_id), [_indexed(file, folder) for file in found.files]
        _describe(model, found, files)
        rows.append(row_of(IndexedModel(model, files, found.preview, header_read=False)))
    return rows


def _new_model(found: FoundModel, model_id: str) -> Model:
    """What its name and its folder tell.

    The family and the rest follow with the header: to be found by name must not wait for that.
    """
    return Model(
        official_name=_official_name(found),
        subtype=found.folder.subtype,
        model_type=model_type_of(found.folder.subtype),
        model_id=model_id,
        cleaned_name=model_id.partition("/")[2],
        storage="in-place",
        added_date=datetime.fromtimestamp(max(0, found.main.mtime_ns) / 1e9, timezone.utc),
    )


def preview_paths(main: Path, model_format: ModelFormat) -> Iterator[Path]:
    """Where a picture or film of a model in place may lie: beside its main file, named like it or like its set."""
    stems = [main.stem]
    shard = parse_shard(main.name)
    if model_format == "sharded-set" and shard is not None:
        stems.append(shard.stem)
    yield from map(main.with_name, preview_names(stems))


def _shown(model: Model) -> Preview:
    """What shows a model that lies in no watched folder."""
    main = Path(model.files[0].name)
    paths = preview_paths(main, model.model_format)
    return next((Preview.of(path.name) for path in paths if path.is_file()), Preview.NONE)


def in_place_ids(root: str, subtype: str, path: str) -> Iterator[str]:
    """The ids that a model that stays where it is may get, the wanted one first.

    It comes from its place below ``root``, the watched folder's real path, so that the same file below
    another root, on another machine or after a rebuilt index gets the same id; the second one from its
    whole path, and more from that and a number.
    """
    name = safe_name(os.path.splitext(os.path.basename(path))[0], max_bytes=200)
    below = path[len(root) + 1 :].replace(os.sep, "/") if path.startswith(root + os.sep) else path
    more = (f"{path}/{number}" for number in count(2))
    for identity in chain((f"{subtype}/{below}", path), more):
        digest = hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=4).hexdigest()
        yield f"{IN_PLACE}/{name_with_suffix(name, digest)}"


def _official_name(found: FoundModel) -> str:
    base = os.path.basename(found.place)
    if found.format == "diffusion-folder":
        return base
    stem = base.rpartition(".")[0] or base
    if found.format == "sharded-set" and stem.lower() in _NO_NAMES:
        return os.path.basename(os.path.dirname(found.place)) or stem
    return stem


def _describe(model: Model, found: FoundModel, files: list[IndexedFile]) -> None:
    """Write into a model's record which files it has now; what else is known of each stays."""
    by_name = {file.name: file for file in model.files}
    same_count = len(model.files) == len(files)
    records = []
    for position, file in enumerate(files):
        record = by_name.get(file.path) or (model.files[position] if same_count else None)
        name = os.path.basename(file.shown_as)
        shard = parse_shard(name) if found.format == "sharded-set" else None
        now: dict[str, Any] = {
            "name": file.path,
            "size": file.size,
            "sha256": file.sha256,
            "blake3": file.blake3,
            "shard_index": shard.index if shard else None,
            "shard_total": shard.total if shard else None,
        }
        records.append(
            record.model_copy(update=now) if record is not None else ModelFile(original_name=name, **now)
        )
    model.files = records
    model.model_format = found.format
    if model.hashes.sha256 != files[0].sha256:
        model.hashes = model.hashes.model_copy(update={"sha256": files[0].sha256, "blake3": files[0].blake3})
    model.size_bytes = sum(file.size for file in files)
    model.approx_weight_size_gb = weight_size_gb(model.size_bytes)


def _indexed(
    file: FoundFile, folder: TargetFolder, sha256: str | None = None, blake3: str | None = None
) -> IndexedFile:
    return IndexedFile(
        file.path, str(folder.path), file.size, file.mtime_ns, file.inode, sha256, blake3, file.link
    )


def _same_file(before: IndexedFile, found: FoundFile) -> bool:
    return (before.size, before.mtime_ns, before.inode) == (found.size, found.mtime_ns, found.inode)
