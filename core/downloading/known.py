"""What the library has already of what is to be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import NotFoundError
from ..importing.duplicates import FileBytes, model_with_files
from ..importing.grouping import is_shard_index
from ..library import Library
from ..library.index import IndexedFile
from .records import Plan, PlannedFile
from .sets import configs_of, pipeline_folder, sets_of


def mark_known(library: Library, plan: Plan) -> None:
    """Mark the files of models that the library has, by their published hashes, as ``present``.

    Not so their configs, which may be all that is wanted.
    """
    configs = configs_of(plan.files)
    for files in sets_of(plan.files):
        if any(pipeline_folder(file.path) is not None for file in files):
            _mark(files, _pipeline_with(library, files))
            continue
        files = [file for file in files if file.path not in configs]
        weights = [file for file in files if not is_shard_index(file.path.rpartition("/")[2])]
        if not all(file.sha256 and file.state in ("queued", "downloading", "arrived") for file in weights):
            continue
        _mark(files, _model_with(library, weights))


def _mark(files: Sequence[PlannedFile], model_id: str | None) -> None:
    if model_id is not None:
        for file in files:
            file.state, file.model_id = "present", model_id


def _pipeline_with(library: Library, files: Sequence[PlannedFile]) -> str | None:
    """The Diffusers folder that has all these files by their places, and by their hashes where those are published."""
    folder = next(found for file in files if (found := pipeline_folder(file.path)) is not None)
    hashed = [file for file in files if file.sha256]
    largest = max(hashed, key=lambda file: file.size or 0, default=None)
    for model_id in library.index.models_with_hash((largest and largest.sha256) or ""):
        theirs = library.files(model_id)
        if len(theirs) >= len(files) and all(
            any(_is_at(other, file, file.path.removeprefix(folder)) for other in theirs) for file in files
        ):
            return model_id
    return None


def _is_at(there: IndexedFile, file: PlannedFile, place: str) -> bool:
    path = Path(there.path)
    same = there.size == file.size and (file.sha256 is None or there.sha256 == file.sha256)
    return same and path.as_posix().endswith(f"/{place}") and path.is_file()


def _model_with(library: Library, files: Sequence[PlannedFile]) -> str | None:
    known = [FileBytes(Path(file.path), file.size, file.sha256) for file in files if file.size is not None]
    found = model_with_files(library, known) if known and len(known) == len(files) else None
    candidates = [found] if found is not None else []
    if len(files) == 1:  # a rounded size says nothing
        hashed = library.index.models_with_hash(files[0].sha256 or "")
        candidates += [model_id for model_id in hashed if len(library.files(model_id)) == 1]
    for model_id in candidates:
        with suppress(NotFoundError):
            if all(Path(file.path).is_file() for file in library.files(model_id)):
                return model_id
    return None
