"""What the library has already of what is to be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import NotFoundError
from ..importing.duplicates import FileBytes, model_with_files
from ..importing.grouping import is_shard_index
from ..library import Library
from .records import Plan, PlannedFile
from .sets import sets_of


def mark_known(library: Library, plan: Plan) -> None:
    """Mark the files of models that the library has, by their published hashes, as ``present``."""
    for files in sets_of(plan.files):
        weights = [file for file in files if not is_shard_index(file.path.rpartition("/")[2])]
        if not all(file.sha256 and file.state in ("queued", "downloading", "arrived") for file in weights):
            continue
        model_id = _model_with(library, weights)
        if model_id is not None:
            for file in files:
                file.state, file.model_id = "present", model_id


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
