"""Deleting a model's files: what is the model's goes, what is the person's stays."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ..errors import ConflictError, InvalidRequestError, OutsideRootsError, StorageError
from ..importing.journal import GRAVEYARD, require_library
from ..library import Library, Model
from ..library.index import IndexedFile
from ..library.metadata import INCOMING, METADATA_NAME
from ..storage.atomic import free_name, fsync_directory, remove_tree, rename_new
from ..storage.disk import require_writable, storage_error
from ..storage.roots import AllowedRoots, is_within, real_path
from ..storage.trash import to_trash

FileFate = Literal["trash", "permanent", "keep"]


class Removal:
    """The files of one model and what shall become of them.

    Making one checks everything that can be checked; nothing is touched before `carry_out`.

    Raises `OutsideRootsError`, `ConflictError`, `InvalidRequestError`, `StorageError`.
    """

    def __init__(self, library: Library, model_id: str, fate: FileFate, roots: AllowedRoots) -> None:
        self.model: Model = library.model(model_id)
        self._library = library
        self._fate = fate
        self._folder = library.metadata.folder(model_id)
        self._files = library.files(model_id)
        try:
            self._check(roots)
        except OSError as error:
            raise storage_error(error, self._folder) from error

    def carry_out(self) -> int:
        """Do it; answers how many files went. Raises `StorageError`, with the rest left as it is."""
        present = [Path(file.path) for file in self._files if os.path.lexists(file.path)]
        try:
            if self._fate == "keep":
                self._put_aside()
                return 0
            if self.model.storage == "in-place":
                for path in present:
                    to_trash(path) if self._fate == "trash" else _unlink(path)
                for link in (Path(file.link) for file in self._files if file.link is not None):
                    if link.is_symlink() and not link.exists():  # an app would list it and fail to load it
                        _unlink(link)
                if self._folder.is_dir():
                    to_trash(self._folder) if self._fate == "trash" else self._bury([self._folder])
            elif self._folder.is_dir():
                self._remove_owned(present)
        except OSError as error:
            raise storage_error(error, self._folder) from error
        return len(present)

    def _check(self, roots: AllowedRoots) -> None:
        if self.model.storage == "in-place":
            if self._fate == "keep":
                raise InvalidRequestError(
                    f"{self.model.official_name} lies in a folder that is indexed, so it stays listed as long as its "
                    "file is there. Delete the file, too, or take the folder out of the app."
                )
            for file in self._files:
                self._check_in_place(file, roots)
            return
        require_library(self._library.root)
        if real_path(self._folder) != self._folder:
            raise InvalidRequestError(
                f"{self._folder} is reached through a link. Delete the link, or what it leads to, by hand."
            )
        if self._folder.is_dir():
            require_writable(self._folder)
            require_writable(self._folder.parent)

    def _check_in_place(self, file: IndexedFile, roots: AllowedRoots) -> None:
        path = Path(file.path)
        if not roots.contains(path):
            raise OutsideRootsError(
                f"{path} is outside the folders that Librarian may change; a link leads to it. Delete it by hand."
            )
        if not os.path.lexists(path):
            if file.folder is not None and not Path(file.folder).is_dir():
                raise StorageError(f"{file.folder} cannot be reached. Connect its drive.")
            return
        status = path.stat(follow_symlinks=False)
        if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
            raise ConflictError(f"{path} has changed since it was listed. Scan, and look at it again.")
        require_writable(path.parent)

    def _put_aside(self) -> None:
        """The model is not listed any more, and its files stay."""
        metadata = self._folder / METADATA_NAME
        if metadata.exists():
            aside = self._folder / "metadata.removed.json"
            rename_new(metadata, free_name(aside, "") if os.path.lexists(aside) else aside)
            fsync_directory(self._folder)

    def _remove_owned(self, present: list[Path]) -> None:
        """Remove the whole folder, or only what is the model's where somebody put more into it."""
        preview = [Path(self.model.preview_image).name] if self.model.preview_image else []
        parts = [self._folder / METADATA_NAME, *present]  # the model is not listed any more from the first on
        parts += [self._folder / name for name in ("metadata.removed.json", "overrides.json", *preview)]
        parts = [path for path in dict.fromkeys(parts) if os.path.lexists(path)]
        if not self._has_more_than(parts):
            parts = [self._folder]
        if self._fate == "trash":
            for path in parts:
                to_trash(path)
        else:
            self._bury(parts)
        for folder in sorted({path.parent for path in parts}, reverse=True):
            if is_within(folder, self._folder):
                with suppress(OSError):  # not empty
                    folder.rmdir()

    def _has_more_than(self, ours: list[Path]) -> bool:
        def give_up(error: OSError) -> None:
            raise error  # a folder that cannot be read may hold anything

        return any(
            Path(folder, name) not in ours
            for folder, folders, names in os.walk(self._folder, onerror=give_up)
            for name in (*names, *(entry for entry in folders if Path(folder, entry).is_symlink()))
        )

    def _bury(self, paths: list[Path]) -> None:
        """Take files or folders away for good; if that is cut off, the next start ends it."""
        graveyard = self._library.root / INCOMING / f"{GRAVEYARD}{uuid.uuid4().hex}"
        graveyard.mkdir()
        for number, path in enumerate(paths):
            path.rename(graveyard / str(number))
        for parent in {path.parent for path in paths}:
            fsync_directory(parent)
        remove_tree(graveyard)


def _unlink(path: Path) -> None:
    path.unlink()
    fsync_directory(path.parent)
