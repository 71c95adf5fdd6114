from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InvalidRequestError, LibrarianError, NotFoundError
from ..formats import classify, identify
from ..library import Library
from ..settings import MODEL_EXTENSIONS
from ..storage.disk import storage_error
from ..storage.names import is_text, shown
from ..storage.roots import AllowedRoots
from .records import GroupFile, ImportGroup, Inspection

MAX_FILES = 10_000

HASHED_BYTES = 64 * 1024 * 1024
"""Up to this size an inspection reads a whole file to compare it with a model of the same size. Larger
ones are compared while they are imported, where every byte is read anyway."""


def inspect(paths: Iterable[Path], library: Library, roots: AllowedRoots) -> Inspection:
    """Say what lies at the paths; folders are walked. Reads headers and writes nothing.

    Raises `NotFoundError` for a path that is not there, `InvalidRequestError` for too many files.
    """
    groups: list[ImportGroup] = []
    for file in _files(paths, roots):
        if len(groups) >= MAX_FILES:
            raise InvalidRequestError(
                f"There are more than {MAX_FILES} files here. Choose a folder further inside."
            )
        try:
            groups.append(inspect_file(file, library))
        except OSError as error:  # gone meanwhile, or not ours to read
            problem = storage_error(error, file).message
            groups.append(ImportGroup(name=shown(file.name), files=[], size_bytes=0, problem=problem))
    return Inspection(groups=groups)


def inspect_file(path: Path, library: Library) -> ImportGroup:
    """Say what one file is and whether it can be imported."""
    size = path.stat().st_size
    group = ImportGroup(
        name=shown(path.name), files=[GroupFile(path=shown(str(path)), size=size)], size_bytes=size
    )
    if not is_text(str(path)):
        group.problem = "Its name or that of a folder above it is no valid Unicode. Rename it."
        return group
    try:
        facts = identify(path)
    except LibrarianError as error:
        group.problem = error.message
        return group
    group.security_tier = facts.security_tier
    group.guess = classify(facts, path.name)
    if size <= HASHED_BYTES:
        group.duplicate_of = library.model_with_bytes(path, size)
    group.importable = group.duplicate_of is None
    return group


def _files(paths: Iterable[Path], roots: AllowedRoots) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        elif path.is_dir():
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    file = Path(folder, name)
                    if file.suffix.lower() in MODEL_EXTENSIONS and file.is_file() and roots.contains(file):
                        yield file
        else:
            raise NotFoundError(f"{path} is not there.")
