from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from ..errors import (
    CancelledError,
    InvalidRequestError,
    LibrarianError,
    PickleNotAcknowledgedError,
    StorageError,
)
from ..formats import FileFacts, classify, identify
from ..jobs import JobContext, JobItem
from ..library import Library, Model, ModelFile
from ..library.metadata import serialise
from ..library.records import EDITABLE_FIELDS, Hashes
from ..library.scan import inode_of, weight_size_gb
from ..storage.atomic import fsync_directory, write_atomic
from ..storage.disk import require_space, require_writable, same_filesystem, storage_error
from ..storage.names import collision_key, name_with_suffix, safe_name
from ..storage.roots import AllowedRoots
from .inspect import inspect
from .journal import Entry, Journal, Recovered, Staging, remove_source
from .records import ImportItem, ImportRequest, Inspection
from .transfer import Progress, Transferred, copy_file, hash_file


class Importer:
    """Brings files into the library: inspect → plan → transfer → describe → index.

    At every instant each file's bytes are whole under at least one name, and a model appears in the
    library whole or not at all, also if the process is killed.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._journal = Journal(library.metadata)

    def inspect(self, paths: Iterable[Path], roots: AllowedRoots) -> Inspection:
        """Say what the files at the paths are. Raises `NotFoundError`, `InvalidRequestError`."""
        return inspect(paths, self._library, roots)

    def recover(self) -> list[Recovered]:
        """Finish or undo what an earlier run left half done, and index what it finished."""
        recovered = list(self._journal.recover())
        for entry in recovered:
            if entry.outcome == "finished":
                with suppress(LibrarianError):  # the scan that follows reports it
                    self._library.add_owned(entry.model_id)
        return recovered

    def check(self, item: ImportItem, path: Path) -> FileFacts:
        """Refuse what cannot be imported, before anything is written.

        Raises `NotAModelError`, `PickleNotAcknowledgedError`, `InvalidRequestError`, `StorageError`.
        """
        facts = identify(path)
        if facts.security_tier == "pickle" and not item.acknowledge_pickle:
            raise PickleNotAcknowledgedError(
                f"{path.name} is a pickle: it can run code when it is loaded. "
                "Import it only if you trust where it comes from, and say so (acknowledge_pickle)."
            )
        if item.mode == "move":
            if path.is_symlink():
                raise InvalidRequestError(
                    f"{path} is a link to {os.readlink(path)}. Copy it, or move the file itself."
                )
            require_writable(path.parent)
        self._described(item, path, facts, Transferred(facts.size, "", ""), "check/check/check")
        return facts

    def run(self, request: ImportRequest, paths: list[Path], job: JobContext) -> list[str]:
        """Import every item; one that fails is reported on its `JobItem` and the others go on.

        Answers the ids of the new models. Raises `CancelledError` between two blocks, with nothing left
        of the item at hand.
        """
        sizes = [_size(path) for path in paths]
        job.stage("import", total=sum(sizes), unit="bytes")
        imported: list[str] = []
        before = 0
        for number, (item, path, shown, size) in enumerate(
            zip(request.items, paths, job.job.items, sizes, strict=True), start=1
        ):
            shown.state, shown.total = "running", size
            job.changed(now=True)
            try:
                model_id, new = self._import(item, path, _progress(job, shown, before))
                shown.model_id = model_id
                if new:
                    shown.state = "done"
                    imported.append(model_id)
                else:
                    shown.state, shown.code = "skipped", "duplicate"
                    shown.message = "These bytes are in the library already."
            except CancelledError:
                shown.state = "cancelled"
                raise
            except LibrarianError as error:
                shown.state, shown.code, shown.message = "failed", error.code, error.message
            before += size
            job.advance(before)
            if number % 5 == 0:
                self._library.checkpoint()
        self._library.checkpoint()
        return imported

    def _import(self, item: ImportItem, path: Path, progress: Progress) -> tuple[str, bool]:
        facts = self.check(item, path)
        root = self._library.root
        renamed = item.mode == "move" and same_filesystem(path, root)
        require_writable(root)
        if not renamed:
            require_space(root, facts.size)
        try:
            with self._journal.staging() as staging:
                return self._stage_and_place(item, path, facts, staging, progress, renamed=renamed)
        except OSError as error:
            raise storage_error(error, path) from error

    def _stage_and_place(
        self,
        item: ImportItem,
        path: Path,
        facts: FileFacts,
        staging: Staging,
        progress: Progress,
        *,
        renamed: bool,
    ) -> tuple[str, bool]:
        status = path.stat()
        staged = staging.model_folder / safe_name(path.name)
        entry = Entry(
            model_id="",
            mode=item.mode,
            source=path,
            staged_name=staged.name,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=inode_of(status),
        )
        staging.write(entry)
        transferred = hash_file(path, progress) if renamed else copy_file(path, staged, progress)
        known = self._library.model_with_bytes(path, transferred.size, transferred.sha256)
        if known is not None:
            return known, False
        progress(transferred.size)  # the last moment at which a cancel still undoes everything
        model = self._described(item, path, facts, transferred, "")
        if renamed:
            _take(path, staged)
        for model_id in self._names(model, transferred.sha256):
            model.model_id, model.cleaned_name = model_id, model_id.rpartition("/")[2]
            write_atomic(staging.model_folder / "metadata.json", serialise(model))
            entry.model_id = model_id
            if self._journal.place(staging, entry):
                break
        self._library.add_owned(model.model_id)
        if item.mode == "move":
            remove_source(entry)
        return model.model_id, True

    def _described(
        self, item: ImportItem, path: Path, facts: FileFacts, transferred: Transferred, model_id: str
    ) -> Model:
        """The record of the new model; what the person said wins over what the file says."""
        unknown = sorted(set(item.metadata) - EDITABLE_FIELDS)
        if unknown:
            raise InvalidRequestError(f"{', '.join(unknown)} cannot be set at import.")
        guess = classify(facts, path.name, subtype=item.metadata.get("subtype") or None)
        try:
            return Model.model_validate(
                {
                    **guess.model_dump(),
                    **item.metadata,
                    "model_id": model_id,
                    "cleaned_name": "",
                    "files": [
                        ModelFile(
                            name=safe_name(path.name),
                            original_name=path.name,
                            size=transferred.size,
                            sha256=transferred.sha256,
                            blake3=transferred.blake3,
                        )
                    ],
                    "hashes": Hashes(sha256=transferred.sha256, blake3=transferred.blake3),
                    "size_bytes": transferred.size,
                    "approx_weight_size_gb": weight_size_gb(transferred.size),
                    "security_tier": facts.security_tier,
                    "pickle_acknowledged": facts.security_tier == "pickle",
                    "match_source": "manual" if item.metadata else "auto",
                    "pending_online_lookup": not item.metadata,
                }
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InvalidRequestError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def _names(self, model: Model, sha256: str) -> Iterator[str]:
        """Ids for a new model, the plain one first; those that are taken on disk are left out."""
        parent = f"{safe_name(model.model_type, max_bytes=64)}/{safe_name(model.family, max_bytes=64)}"
        name = safe_name(Path(model.files[0].original_name).stem, max_bytes=200)
        folder = self._library.metadata.folder(parent)
        taken = {collision_key(entry.name) for entry in folder.iterdir()} if folder.is_dir() else set()
        for suffix in ("", *(sha256[:length] for length in (4, 8, 16, 64))):
            candidate = name_with_suffix(name, suffix) if suffix else name
            if collision_key(candidate) not in taken:
                yield f"{parent}/{candidate}"
        raise StorageError(f"{folder} has a model of this name and content already.")


def _take(path: Path, staged: Path) -> None:
    """Give the file a second name in staging; where the filesystem has no hard links, move it."""
    try:
        os.link(path, staged, follow_symlinks=False)
    except OSError:
        path.rename(staged)
        fsync_directory(path.parent)
    fsync_directory(staged.parent)


def _progress(job: JobContext, shown: JobItem, before: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        job.check_cancelled()
        shown.current = done
        job.advance(before + done)

    return progress


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the item itself will say so
