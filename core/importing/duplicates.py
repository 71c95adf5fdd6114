from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import CancelledError, LibrarianError
from ..formats.shards import is_weights
from ..library import Library
from ..library.index import IndexedFile
from ..library.library import sha256_of

SAMPLE_BYTES = 64 * 1024


class FileBytes(NamedTuple):
    """A file by its bytes: where they are, how many, and their SHA-256 where it is known already."""

    path: Path
    size: int
    sha256: str | None = None


def model_with_files(
    library: Library,
    files: Sequence[FileBytes],
    *,
    but: Collection[str] = (),
    told: Callable[[int, int], object] | None = None,
) -> str | None:
    """The model that has the bytes of all these files, and no other weights; told by size, then by hash.

    Names do not count, and the models ``but`` neither. Only files of which the size fits are hashed, and none
    that are that model's own. ``told`` is as for `Library.hash_of`. Raises `StorageError` if one of ``files`` cannot
    be read.
    """
    candidates: set[str] | None = None
    for file in sorted(files, key=lambda file: -file.size):
        fitting = library.index.files_of_size(file.size, file.sha256)
        same_size = {model_id for model_id, _ in fitting}
        candidates = same_size if candidates is None else candidates & same_size
        if not candidates:
            return None
    candidates = (candidates or set()).difference(but)
    digests = _Digests(library, {file.path: file.sha256 for file in files if file.sha256}, told)
    return next((model for model in sorted(candidates) if _has(library, model, files, digests)), None)


def recorded_model_with_files(
    library: Library, model_ids: Iterable[str], files: Sequence[FileBytes]
) -> str | None:
    """As `model_with_files`, among models that the index may not know: by their records, if their files are there."""
    digests = _Digests(library, {file.path: file.sha256 for file in files if file.sha256}, None)
    for model_id in model_ids:
        theirs = _recorded(library, model_id)
        if theirs and _hold(model_id, theirs, files, digests):
            return model_id
    return None


def _recorded(library: Library, model_id: str) -> list[IndexedFile]:
    """A model's files as its record says; none if not all of them are there."""
    folder = library.metadata.folder(model_id)
    try:
        model = library.metadata.read(model_id)
        if model is None or any((folder / file.name).stat().st_size != file.size for file in model.files):
            return []
    except (LibrarianError, OSError, ValueError):
        return []
    return [
        IndexedFile(str(folder / file.name), None, file.size, 0, "", file.sha256, file.blake3)
        for file in model.files
    ]


class _Digests:
    """Hashes of files, each computed when it is first needed."""

    def __init__(
        self, library: Library, known: dict[Path, str], told: Callable[[int, int], object] | None
    ) -> None:
        self._library = library
        self._known = known
        self._told = told

    def own(self, path: Path) -> str:
        """Of one of the files in question."""
        if path not in self._known:
            self._known[path] = sha256_of(path, self._told)
        return self._known[path]

    def theirs(self, model_id: str, file: IndexedFile, *, main: bool) -> str:
        """Of a model's file; what is read of its main file is remembered."""
        if file.sha256:
            return file.sha256
        if main:
            return self._library.hash_of(model_id, self._told)[0]
        return sha256_of(Path(file.path), self._told)


def _has(library: Library, model_id: str, files: Sequence[FileBytes], digests: _Digests) -> bool:
    try:
        theirs = library.files(model_id)
    except LibrarianError:  # gone meanwhile
        return False
    return _hold(model_id, theirs, files, digests)


def _hold(
    model_id: str, theirs: Sequence[IndexedFile], files: Sequence[FileBytes], digests: _Digests
) -> bool:
    weights = sum(is_weights(Path(file.path).name) for file in theirs)
    if weights > max(1, sum(is_weights(file.path.name) for file in files)):
        return False
    return all(_is_there(model_id, file, theirs, digests) for file in files)


def _is_there(model_id: str, file: FileBytes, theirs: Sequence[IndexedFile], digests: _Digests) -> bool:
    same_size = [other for other in theirs if other.size == file.size]
    if any(_same_file(file.path, other.path) for other in same_size):
        return True
    for other in same_size:
        if not other.sha256 and _differs(file.path, other.path, file.size):
            continue
        try:
            digest = digests.theirs(model_id, other, main=other == theirs[0])
        except CancelledError:
            raise
        except (LibrarianError, OSError):  # their file is not there or changes: no proof of anything
            continue
        if digest == digests.own(file.path):
            return True
    return False


def _same_file(path: Path, other: str) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _differs(path: Path, other: str, size: int) -> bool:
    """Whether a few blocks tell two files of one size apart, so that they need not be read to their ends.

    There may be a thousand of one size: LoRAs of one kind are.
    """
    try:
        with open(path, "rb", buffering=0) as one, open(other, "rb", buffering=0) as two:
            for quarter in range(4):
                at = max(0, size * (quarter + 1) // 4 - SAMPLE_BYTES)
                one.seek(at)
                two.seek(at)
                if one.read(SAMPLE_BYTES) != two.read(SAMPLE_BYTES):
                    return True
    except OSError:  # its place may be another by now; the hash tells
        return False
    return False
