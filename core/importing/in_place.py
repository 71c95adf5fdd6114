"""Models whose files stay where they are."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import LibrarianError, NotFoundError, SourceChangedError, StorageError
from ..library import Library, Model
from ..library.in_place import in_place_ids
from ..library.metadata import IN_PLACE
from ..storage.roots import AllowedRoots, real_path
from .entry import entry_file
from .grouping import FileGroup
from .transfer import Progress, Transferred, hash_file


class InPlace:
    """Finds and adds models of which the library keeps only a record."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def model_of(self, group: FileGroup) -> Model | None:
        """The model in place that these files are, if they are listed; none of its files may be another's."""
        main = real_path(group.main.path)
        own = {str(real_path(member.path)) for member in group.members}
        at = self._library.index.file_at(str(main))
        if at is not None and at[0].startswith(f"{IN_PLACE}/"):
            with suppress(NotFoundError):
                files = {other.path for other in self._library.files(at[0])}
                if files <= own:
                    return self._record(at[0])
        return None

    def _record(self, model_id: str) -> Model:
        """What is written down of a model, also by another process, else what the index says."""
        with suppress(LibrarianError):
            written = self._library.metadata.read(model_id)
            if written is not None:
                return written.model_copy(update={"model_id": model_id})
        return self._library.model(model_id)

    def hash(self, group: FileGroup, roots: AllowedRoots, progress: Progress) -> list[Transferred]:
        """Read all files, in the order of the group. Raises `SourceChangedError`, `StorageError`."""
        hashed: list[Transferred] = []
        for member in group.members:
            seen = entry_file(member.path, member.name, member.path.stat())
            done = sum(file.size for file in hashed)

            def check(opened: os.stat_result, seen=seen) -> None:  # type: ignore[no-untyped-def]
                if not seen.is_of(opened):
                    raise SourceChangedError(f"{seen.source} changed since it was looked at. Try again.")
                roots.require_same(seen.source, opened)

            def advance(count: int, done: int = done) -> None:
                progress(done + count)

            hashed.append(hash_file(member.path, advance, check))
        return hashed

    def add(self, model: Model) -> str:
        """Write the record of a new model down and list it; its id is the answer.

        The record is written in one go: a kill leaves all of it or nothing. The caller holds the library's lock.
        Raises `StorageError`.
        """
        path = str(real_path(Path(model.files[0].name)))
        for file in model.files:
            file.name = str(real_path(Path(file.name)))
        for model_id in in_place_ids(str(Path(path).parent), model.subtype, path):
            other = self._read(model_id)
            if other is None or [file.name for file in other.files] == [file.name for file in model.files]:
                model.model_id, model.cleaned_name = model_id, model_id.rpartition("/")[2]
                self._library.add_in_place(model)
                return model_id
        raise StorageError(f"{path} is written down already, as another model's file.")

    def _read(self, model_id: str) -> Model | None:
        try:
            return self._library.metadata.read(model_id)
        except LibrarianError:
            return Model(
                model_id=model_id, official_name="", cleaned_name=""
            )  # damaged: somebody's all the same
