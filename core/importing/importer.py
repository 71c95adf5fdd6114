from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from ..errors import (
    CancelledError,
    InvalidRequestError,
    LibrarianError,
    NotAModelError,
    PickleNotAcknowledgedError,
    SourceChangedError,
    StorageError,
)
from ..formats import FileFacts, classify, identify
from ..jobs import JobContext, JobItem
from ..library import Library, Model, ModelFile
from ..library.metadata import IN_PLACE, INCOMING, METADATA_NAME, serialise
from ..library.records import EDITABLE_FIELDS, Hashes
from ..library.scan import inode_of, weight_size_gb
from ..storage.atomic import fsync_directory, fsync_file, write_atomic
from ..storage.disk import require_space, require_writable, same_filesystem, storage_error
from ..storage.names import collision_key, is_text, name_with_suffix, safe_name, shown
from ..storage.roots import AllowedRoots, is_within, real_path
from .inspect import inspect
from .journal import Entry, Journal, Recovered, Staging, require_library
from .records import ImportItem, ImportMode, ImportRequest, Inspection
from .transfer import Progress, Transferred, copy_file, hash_file

logger = logging.getLogger(__name__)

_RESERVED = {collision_key(name) for name in (METADATA_NAME, "overrides.json", "metadata.removed.json")}
"""Names in a model's folder that have a meaning, so that no model's file may have them."""


class Imported(NamedTuple):
    """What became of one item: the model, whether it is new, and what the person should know of it."""

    model_id: str
    new: bool
    note: str | None = None


class Importer:
    """Brings files into the library: inspect → plan → transfer → describe → index.

    At every instant each file's bytes are whole under at least one name, and a model appears in the
    library whole or not at all, also if the process is killed. ``app_folders`` are those in which apps
    look for models; nothing is moved out of them.
    """

    def __init__(self, library: Library, app_folders: Iterable[Path] = ()) -> None:
        self._library = library
        self._journal = Journal(library.metadata)
        self._app_folders = tuple(real_path(folder) for folder in app_folders)

    def inspect(self, paths: Iterable[Path], roots: AllowedRoots) -> Inspection:
        """Say what the files at the paths are. Raises `NotFoundError`, `InvalidRequestError`."""
        return inspect(paths, self._library, roots)

    def recover(self) -> list[Recovered]:
        """Finish or undo what an earlier run left half done, and index what it finished."""
        recovered = list(self._journal.recover())
        for entry in recovered:
            if entry.outcome == "finished":
                self._index(entry.model_id)
        return recovered

    def check(self, item: ImportItem, path: Path) -> FileFacts:
        """Refuse what cannot be imported, before anything is written.

        Raises `NotAModelError`, `PickleNotAcknowledgedError`, `InvalidRequestError`, `StorageError`.
        """
        if not is_text(str(path)):
            raise InvalidRequestError(f"{shown(str(path))} is no valid Unicode. Rename it, then import it.")
        self._require_elsewhere(path, item.mode)
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

    def run(
        self, request: ImportRequest, paths: list[Path], roots: AllowedRoots, job: JobContext
    ) -> list[str]:
        """Import every item; one that fails is reported on its `JobItem` and the others go on.

        Answers the ids of the new models. Raises `CancelledError` between two blocks, with nothing left
        of the item at hand.
        """
        sizes = [_size(path) for path in paths]
        job.stage("import", total=sum(sizes), unit="bytes")
        imported: list[str] = []
        before = 0
        for number, (item, path, shown_item, size) in enumerate(
            zip(request.items, paths, job.job.items, sizes, strict=True), start=1
        ):
            shown_item.state, shown_item.total = "running", size
            job.changed()
            try:
                outcome = self._import(item, path, roots, _progress(job, shown_item, before))
                shown_item.model_id, shown_item.message = outcome.model_id, outcome.note
                if outcome.new:
                    shown_item.state = "done"
                    imported.append(outcome.model_id)
                else:
                    shown_item.state, shown_item.code = "skipped", "duplicate"
            except CancelledError:
                shown_item.state = "cancelled"
                raise
            except LibrarianError as error:
                shown_item.state, shown_item.code, shown_item.message = "failed", error.code, error.message
            except Exception as error:
                logger.exception("the import of %s failed", path)
                shown_item.state, shown_item.code = "failed", "internal_error"
                shown_item.message = f"Librarian met an error of its own ({error}). See its log."
            before += size
            job.advance(before)
            if number % 5 == 0:
                self._library.checkpoint()
        self._library.checkpoint()
        return imported

    def _require_elsewhere(self, path: Path, mode: ImportMode) -> None:
        """Refuse files of models that are in the library, and to move files that an app uses."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for for ever
                raise NotAModelError(f"{path.name} is not a file. Choose the model's file itself.")
        except FileNotFoundError as error:
            raise SourceChangedError(
                f"{path} is not there (any more). Look where it went, and try again."
            ) from error
        except OSError as error:
            raise storage_error(error, path) from error
        root, real = self._library.root, real_path(path)
        if is_within(real, root):
            folders = list(real.relative_to(root).parents)[:-1]
            reserved = bool(folders) and folders[-1].name in (INCOMING, IN_PLACE)
            if reserved or any((root / folder / METADATA_NAME).exists() for folder in folders):
                raise InvalidRequestError(f"{path} belongs to a model that is in the library already.")
        if mode == "move":
            app_folder = next((folder for folder in self._app_folders if is_within(real, folder)), None)
            if app_folder is not None:
                raise InvalidRequestError(
                    f"{path} lies in {app_folder}, where an app looks for it, and is listed from there. "
                    "Leave it, or import a copy."
                )

    def _import(self, item: ImportItem, path: Path, roots: AllowedRoots, progress: Progress) -> Imported:
        try:
            status = path.stat()
            facts = self.check(item, path)
            root = self._library.root
            require_library(root)
            require_writable(root)
            if item.mode == "copy" or not same_filesystem(path, root):
                require_space(root, facts.size)
            with self._journal.staging() as staging:
                source = _Source(item, path, status, roots, staging, progress)
                imported = self._stage_and_place(source, facts)
                if imported.new:
                    self._index(imported.model_id)
        except OSError as error:
            raise storage_error(error, path) from error
        if imported.new and item.mode == "move" and os.path.lexists(path):
            return imported._replace(
                note="It was imported, but the original could not be removed: delete it by hand."
            )
        return imported

    def _stage_and_place(self, source: _Source, facts: FileFacts) -> Imported:
        transferred = source.transfer(_file_name(source.path))
        known = self._known(source.path, transferred)
        if known is not None:
            return known
        source.progress(transferred.size)  # the last moment at which a cancel still undoes everything
        model = self._described(source.item, source.path, facts, transferred, "")
        for model_id in self._names(model, transferred.sha256):
            model.model_id, model.cleaned_name = model_id, model_id.rpartition("/")[2]
            write_atomic(source.staging.model_folder / METADATA_NAME, serialise(model))
            source.entry.model_id = model_id
            if self._journal.place(source.staging, source.entry):
                return Imported(model_id, True, source.note)
            if self._same_model(model_id, transferred.sha256):  # another process imported it just now
                return Imported(model_id, False, f"These bytes are in the library already, as {model_id}.")
        raise StorageError(f"{model.model_type}/{model.family} has a model of this name and content already.")

    def _known(self, path: Path, transferred: Transferred) -> Imported | None:
        model_id = self._library.model_with_bytes(path, transferred.size, transferred.sha256)
        if model_id is None or not any(Path(file.path).is_file() for file in self._library.files(model_id)):
            return None
        return Imported(model_id, False, f"These bytes are in the library already, as {model_id}.")

    def _same_model(self, model_id: str, sha256: str) -> bool:
        try:
            model = self._library.metadata.read(model_id)
        except LibrarianError:
            return False
        if model is None or model.hashes.sha256 != sha256:
            return False
        return all((self._library.metadata.folder(model_id) / file.name).is_file() for file in model.files)

    def _index(self, model_id: str) -> None:
        """List a model that has just come; what lies in the library is the truth, so a scan can do it, too."""
        try:
            self._library.add_owned(model_id)
        except (LibrarianError, sqlite3.Error) as error:
            logger.warning("%s is in the library, but not listed until the next scan: %s", model_id, error)

    def _described(
        self, item: ImportItem, path: Path, facts: FileFacts, transferred: Transferred, model_id: str
    ) -> Model:
        """The record of the new model; what the person said wins over what the file says."""
        unknown = sorted(set(item.metadata) - EDITABLE_FIELDS)
        if unknown:
            raise InvalidRequestError(f"{', '.join(unknown)} cannot be set at import.")
        subtype = item.metadata.get("subtype")
        guess = classify(facts, path.name, subtype=subtype if isinstance(subtype, str) and subtype else None)
        try:
            return Model.model_validate(
                {
                    **guess.model_dump(),
                    **item.metadata,
                    "model_id": model_id,
                    "cleaned_name": "",
                    "files": [
                        ModelFile(
                            name=_file_name(path),
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
        """Ids for a new model, the plain one first, each with a longer piece of the hash.

        One that is taken comes only if it may be the same model; who places it finds out.
        """
        parent = f"{_folder_name(model.model_type)}/{_folder_name(model.family)}"
        name = safe_name(Path(model.files[0].original_name).stem, max_bytes=200).lstrip(".") or "model"
        folder = self._library.metadata.folder(parent)
        taken = {collision_key(entry.name) for entry in folder.iterdir()} if folder.is_dir() else set()
        for suffix in ("", *(sha256[:length] for length in (4, 8, 16, 64))):
            candidate = name_with_suffix(name, suffix) if suffix else name
            model_id = f"{parent}/{candidate}"
            if collision_key(candidate) not in taken or self._same_model(model_id, sha256):
                yield model_id


class _Source:
    """The file of one item on its way into staging."""

    def __init__(
        self,
        item: ImportItem,
        path: Path,
        status: os.stat_result,
        roots: AllowedRoots,
        staging: Staging,
        progress: Progress,
    ) -> None:
        self.item = item
        self.path = path
        self.staging = staging
        self.progress = progress
        self.note: str | None = None
        self._roots = roots
        self._status = status
        self.entry = Entry(
            mode=item.mode,
            source=path,
            staged_name="",
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=inode_of(status),
        )

    def transfer(self, name: str) -> Transferred:
        """Bring the file into staging under ``name``, durable and hashed.

        A move gives it a second name there, where the filesystem can; else it goes there once it is
        hashed; between two filesystems it is copied.
        """
        self.entry.staged_name = name
        staged = self.staging.model_folder / name
        self.entry.taken = self.item.mode == "move" and same_filesystem(self.path, staged.parent)
        self.staging.write(self.entry)
        if self.entry.taken:
            if self._status.st_nlink > 1:
                self.note = (
                    f"The file has {self._status.st_nlink - 1} more names (hard links) elsewhere: "
                    "whatever changes it there changes this model."
                )
            try:
                os.link(self.path, staged, follow_symlinks=False)
                transferred = hash_file(staged, self.progress, self._check)
                fsync_file(staged)
                fsync_directory(staged.parent)
                return transferred
            except OSError as error:
                if os.path.lexists(staged):
                    raise
                across = error.errno == errno.EXDEV
            if not across:
                transferred = hash_file(self.path, self.progress, self._check)
                try:
                    self.path.rename(staged)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                else:
                    if not self.entry.is_of(staged.stat(follow_symlinks=False)):
                        raise SourceChangedError(
                            f"{self.path} was replaced while it was imported. Try again."
                        )
                    fsync_file(staged)
                    fsync_directory(staged.parent)
                    fsync_directory(self.path.parent)
                    return transferred
            self.entry.taken, self.note = False, None  # one disk, but two mounts
            self.staging.write(self.entry)
            require_space(staged.parent, self._status.st_size)
        return copy_file(self.path, staged, self.progress, self._check)

    def _check(self, opened: os.stat_result) -> None:
        if not self.entry.is_of(opened):
            raise SourceChangedError(f"{self.path} changed since it was looked at. Try again.")
        self._roots.require_same(self.path, opened)


def _file_name(path: Path) -> str:
    """The name of the model's file in its folder."""
    name = safe_name(path.name)
    return f"_{name}" if collision_key(name) in _RESERVED else name


def _folder_name(text: str) -> str:
    """One level of a model's id; it never gets a name that means something in the library."""
    name = safe_name(text, max_bytes=64).lstrip(".") or "model"
    return f"_{name}" if collision_key(name) == IN_PLACE else name


def _progress(job: JobContext, shown_item: JobItem, before: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        job.check_cancelled()
        shown_item.current = done
        job.advance(before + done)

    return progress


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the item itself will say so
