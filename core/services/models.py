from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rapidfuzz import fuzz
from rapidfuzz.process import extract

from ..errors import InvalidRequestError, NotFoundError
from ..formats.pickle_scan import PickleScan
from ..formats.pipelines import MODEL_INDEX
from ..formats.sidecars import MAX_PREVIEW_BYTES, PREVIEW_TYPES
from ..jobs import Job, JobContext, JobRunner
from ..library import (
    BulkEdit,
    DuplicateReport,
    Facets,
    Library,
    Model,
    ModelQuery,
    ModelSummary,
    SearchResult,
    StorageReport,
)
from ..library.edits import bulk_change_of
from ..library.text import name_key
from ..linking import Linker
from ..storage.disk import storage_error
from ..storage.file_manager import has_file_manager, show_file
from ..storage.roots import real_path
from .pickles import Pickles
from .places import Places
from .removal import FileFate, Removal
from .reports import DeleteReport, FileDetails, ModelDetails, ShowReport

logger = logging.getLogger(__name__)

MAX_NEAR = 50
"""Among how many models the one is sought whose name is most like a misspelled one."""


class Models:
    """Looking for models, changing and deleting them."""

    def __init__(
        self, library: Library, linker: Linker, jobs: JobRunner, places: Places, pickles: Pickles
    ) -> None:
        self._library = library
        self._jobs = jobs
        self._pickles = pickles
        self._linker = linker
        self._places = places

    def search(self, query: ModelQuery) -> SearchResult:
        """One page of models, with a mark on those that are linked."""
        result = self._library.search(query)
        linked = self._linker.registry.linked([model.model_id for model in result.models])
        for model in result.models:
            model.linked = model.model_id in linked
        return result

    def facets(self, query: ModelQuery) -> Facets:
        """The filters' values and counts."""
        return self._library.facets(query)

    def details(self, model_id: str) -> ModelDetails:
        """Everything known of one model, with its files and links. Raises `NotFoundError`."""
        model = self._library.model(model_id)
        summary = self._library.summary(model_id)
        files = [
            FileDetails(
                **{
                    **file.model_dump(),
                    "sha256": file.sha256 or known.sha256,
                    "blake3": file.blake3 or known.blake3,
                    "path": known.path,
                    "exists": Path(known.path).is_file(),
                }
            )
            for file, known in zip(model.files, self._library.files(model_id), strict=False)
        ]
        return ModelDetails(
            **model.model_dump(by_alias=True, exclude={"files", "pickle_scan"}),
            pickle_scan=_findings(model, summary),
            files=files,
            links=self._linker.links(model_ids=[model_id]),
            preview_url=summary.preview_url,
            preview_is_video=summary.preview_is_video,
            problem=summary.problem,
            can_show=has_file_manager(),
        )

    def preview(self, model_id: str) -> tuple[Path, str]:
        """The model's picture or video, and its media type. Raises `NotFoundError`, `StorageError`."""
        path = self._library.preview(model_id)
        if path is None:
            raise NotFoundError(
                f"{model_id!r} has no preview. Put a picture of the same name beside its file."
            )
        if not self._places.allowed().contains(path) and real_path(path).parent != real_path(path.parent):
            raise NotFoundError(f"{path} is a link to outside the folders that Librarian may use.")
        media = PREVIEW_TYPES.get(path.suffix.lower())
        try:
            fits = path.stat().st_size <= MAX_PREVIEW_BYTES
        except OSError as error:
            raise storage_error(error, path) from error
        if media is None or not fits:
            most = MAX_PREVIEW_BYTES // 1024**2
            raise NotFoundError(
                f"{path.name} is no picture or video that can be shown, of {most} MB at most."
            )
        return path, media

    def check(self, reference: str, *, folder: bool = False) -> None:
        """Raise what `find` would raise. Nothing is written down."""
        self._loadable(reference, folder)

    def find(self, reference: str, *, folder: bool = False) -> Path:
        """The file that a reference means: a model's id, a hash, or a file's name.

        With ``folder``, a Diffusers folder is wanted, and nothing else. For whoever loads models: it is noted that
        the model was used. Raises `NotFoundError` with the nearest names, `InvalidRequestError` if the model is not
        of one file, or of no folder, `PickleNotAcknowledgedError` for a pickle that nobody vouched for, or not since
        danger was found in it.
        """
        model_id, path = self._loadable(reference, folder)
        try:
            self._library.index.touch(model_id)
        except sqlite3.Error as error:  # a disk that is full or read-only keeps no one from loading
            logger.info("It was not noted that %s was used: %s", model_id, error)
        return path

    def _loadable(self, reference: str, folder: bool) -> tuple[str, Path]:
        model_id = self.identify(reference.strip())
        model = self._library.model(model_id)
        _check_form(model, folder)
        self._pickles.require_trusted(model)
        path = self._library.main_path(model_id)
        if not folder:
            return model_id, path
        indexes = [Path(file.path) for file in self._library.files(model_id)]
        folders = [path.parent for path in indexes if path.name == MODEL_INDEX and path.is_file()]
        if not folders:
            raise NotFoundError(
                f"There is no {MODEL_INDEX} in {model.official_name} any more. Download it again."
            )
        return model_id, min(folders, key=lambda found: len(found.parts))

    def fingerprint(self, reference: str, told: Callable[[int, int], object] | None = None) -> str:
        """What changes when the bytes behind a reference change, and only then: the file's SHA-256.

        Of a Diffusers folder it is made of the names, sizes and times of its files. ``told`` is as for
        `Library.hash_of`.
        """
        model_id = self.identify(reference.strip())
        if self._library.model(model_id).model_format != "diffusion-folder":
            return self._library.hash_of(model_id, told)[0]
        _, folder = self._loadable(reference, folder=True)
        digest = hashlib.sha256()
        try:
            for path in sorted(Path(file.path) for file in self._library.files(model_id)):
                status = path.stat()
                digest.update(
                    f"{os.path.relpath(path, folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(
                        errors="surrogatepass"
                    )
                )
        except OSError as error:
            raise storage_error(error, folder) from error
        return digest.hexdigest()

    def edit(self, model_id: str, changes: dict[str, Any]) -> ModelDetails:
        """Change what a person may change. Raises `NotFoundError`, `InvalidRequestError`."""
        self._library.edit(model_id, changes)
        return self.details(model_id)

    def edit_many(self, model_ids: list[str], edit: BulkEdit) -> Job:
        """Queue the same changes for many models; the job's result says what became of each.

        Raises `InvalidRequestError` for changes that cannot be made.
        """
        bulk_change_of(edit)

        def work(job: JobContext) -> dict[str, Any]:
            job.stage("edit", total=len(model_ids), unit="models")
            return self._library.edit_many(model_ids, edit, job).model_dump()

        return self._jobs.submit("edit", work, lane="edit")

    def show(self, model_id: str) -> ShowReport:
        """Open the folder of a model's file on the desktop of this machine.

        Raises `NotFoundError`, `NoDesktopError`.
        """
        path = self._library.main_path(model_id)
        show_file(path)
        return ShowReport(path=str(path))

    def delete(self, model_id: str, files: FileFate) -> DeleteReport:
        """Remove a model: links first, then registry rows, then files as ``files`` says.

        What cannot go is found out before anything is touched, as far as that is possible. Raises
        `NotFoundError`; `OutsideRootsError`, `ConflictError`, `InvalidRequestError` with nothing changed;
        `StorageError` where the files cannot go: links may be gone then, and the model stays listed.
        """
        try:
            with self._library.metadata.locked():
                removal = Removal(self._library, model_id, files, self._places.allowed())
                unlinked, unreachable = self._linker.unlink_models([model_id])
                removed = removal.carry_out()
                self._library.forget(
                    [model_id]
                )  # here, so that an edit that waits for the lock finds it gone
        except OSError as error:
            raise storage_error(error, self._library.root) from error
        return DeleteReport(unlinked=unlinked, files_removed=removed, unreachable=unreachable)

    def duplicates(self) -> DuplicateReport:
        """Files with the same bytes, and what links in their place would free."""
        return self._library.usage.duplicates()

    def storage(self) -> StorageReport:
        """How much room the models take, by type, family and drive."""
        return self._library.usage.storage()

    def identify(self, reference: str) -> str:
        """The id of the model that a reference means: its id, a hash, or a file's name.

        Raises `NotFoundError` with the nearest names, or if several models have this name.
        """
        if not reference:
            raise NotFoundError("choose a model from the Librarian panel.")
        if self._library.index.contains(reference):
            return reference
        by_hash = self._library.index.models_with_hash(reference.lower()) if len(reference) >= 10 else []
        if by_hash:  # the same bytes: one that can be loaded, if the drive of another is not connected
            return next(filter(self._library.is_here, by_hash), by_hash[0])
        names = [Path(reference.replace("\\", "/")).name, _name_in_id(reference)]
        found = [key for name in names for key in self._library.index.models_with_file_name(name)]
        if len(set(found)) == 1:
            return found[0]
        if found:
            raise NotFoundError(
                f"{reference!r} means several models: {', '.join(sorted(set(found))[:5])}. Choose one of them."
            )
        near = self._nearest(names[0].rpartition(".")[0] or names[0])
        hint = f" The nearest are: {', '.join(near)}." if near else ""
        if any(job.kind == "scan" and not job.ended for job in self._jobs.all()):
            hint += " Librarian is still looking through your folders: if it is new, try again in a moment."
        raise NotFoundError(f"There is no model {reference!r} in the library.{hint}")

    def _nearest(self, name: str) -> list[str]:
        """Ids of the models whose names are most like this one, which may be misspelled."""
        words = sorted(name_key(name).split(), key=len, reverse=True)[:6]
        found: dict[str, str] = {}
        for text in (name, *words, *(word[:3] for word in words)):
            if len(found) < MAX_NEAR:
                some = self._library.search(ModelQuery(q=text, limit=MAX_NEAR)).models
                found.update((model.model_id, model.official_name) for model in some)
        return [key for _, _, key in extract(name, found, scorer=fuzz.ratio, processor=str.lower, limit=5)]


def _findings(model: Model, summary: ModelSummary) -> PickleScan | None:
    """What was found in a model's pickles, if it has some; findings of files as they were before are none."""
    if summary.pickle_state is None:
        return None
    return model.pickle_scan if summary.pickle_state != "not_scanned" else PickleScan()


def _check_form(model: Model, folder: bool) -> None:
    """Refuse a model that a loader of one file, or of a ``folder``, cannot load."""
    name = model.official_name
    if model.model_format == "diffusion-folder" and not folder:
        raise InvalidRequestError(
            f"{name} is a Diffusers folder, not one file. Load it with «Load Diffusers Folder (Librarian)»."
        )
    if model.model_format != "diffusion-folder" and folder:
        raise InvalidRequestError(f"{name} is not a Diffusers folder. Load it with the loader for its kind.")
    if model.model_format == "sharded-set":
        parts = f" (here {len(model.files)})" if len(model.files) > 1 else ""
        raise InvalidRequestError(
            f"{name} is split into several files{parts}, and ComfyUI's loaders read only one. "
            "Get the same model as one file."
        )


def _name_in_id(model_id: str) -> str:
    """The file name within an id: ``in-place/<name>-<8 digits>`` or ``<type>/<family>/<name>``."""
    name = model_id.rpartition("/")[2]
    return name[:-9] if model_id.startswith("in-place/") and len(name) > 9 else name
