from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import InvalidRequestError, SourceChangedError, StorageError
from ..sentences import say
from ..storage.atomic import fsync_directory, fsync_file, make_directories
from ..storage.disk import require_space, same_filesystem
from ..storage.roots import AllowedRoots
from .describe import Beside
from .entry import Entry, EntryFile, Fate, entry_file
from .grouping import FileGroup, Member
from .journal import Staging
from .records import ImportMode
from .transfer import Progress, Transferred, clone_file, copy_file, hash_file, verify_copy

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class Source:
    """The files of one model on their way into staging; what is about to happen to each is on disk before.

    ``beside`` are further files that come along, such as a picture, with their names in the model's folder.
    """

    def __init__(
        self,
        group: FileGroup,
        names: dict[Member, str],
        mode: ImportMode,
        originals: Fate,
        roots: AllowedRoots,
        progress: Progress,
        *,
        known: Mapping[Path, Transferred],
        beside: Beside,
    ) -> None:
        sources = {**{member.path: names[member] for member in group.members}, **beside.files}
        self._statuses = [path.stat() for path in sources]
        self._mode = mode
        self._roots = roots
        self._known = known
        self._count = len(group.members)
        self._progress = progress
        self._done = 0
        self._room_checked = False
        self.entry = Entry(
            originals=originals,
            folder=group.folder,
            files=[
                entry_file(path, name, status)
                for (path, name), status in zip(sources.items(), self._statuses, strict=True)
            ],
        )
        for file in self.entry.files[len(group.members) :]:
            file.keep = beside.shared or originals == "link"  # whoever looks for it there still finds it

    def transfer(self, staging: Staging) -> list[Transferred]:
        """Bring every file into staging, durable and hashed: those of the group in its order, then the others.

        A move gives it a second name there, where the filesystem can; else it goes there once it is
        hashed; between two filesystems it is copied. Raises `SourceChangedError`, `StorageError`,
        `CancelledError`, `InvalidRequestError`.
        """
        takes = self._mode in ("move", "adopt")
        for file in self.entry.files[: self._count]:
            file.taken = takes and same_filesystem(file.source, staging.model_folder)
        staging.write(self.entry)
        arrived = []
        for file in self.entry.files:
            staged = staging.model_folder / file.staged_name
            make_directories(staged.parent)
            transferred = self._take(file, staged) if file.taken else None
            if transferred is None:
                if file.taken:
                    file.taken = False
                    staging.write(self.entry)
                transferred = self._copy(file, staged)
            arrived.append(transferred)
            self._done += file.size
        _make_durable(staging, self.entry.files)
        return arrived[: self._count]

    @property
    def notes(self) -> list[str]:
        """What the person should know of the originals, once the files are in staging."""
        notes = []
        for file, status in zip(self.entry.files, self._statuses, strict=True):
            if status.st_nlink > 1 and self.entry.originals != "keep" and not file.keep:
                others = status.st_nlink - 1
                names = "1 more name (a hard link)" if others == 1 else f"{others} more names (hard links)"
                then = (
                    "whatever changes it there changes this model."
                    if file.taken
                    else "its room is not free before that is deleted, too."
                )
                notes.append(f"{file.source.name} has {names} elsewhere: {then}")
        return notes

    def _take(self, file: EntryFile, staged: Path) -> Transferred | None:
        """The very file in staging; nothing if that cannot be, such as on one disk that is mounted twice."""
        try:
            os.link(file.source, staged, follow_symlinks=False)
        except OSError as error:
            if os.path.lexists(staged):
                raise
            refusal = error
        else:
            transferred = self._hash(file, staged)
            fsync_file(staged)
            return transferred
        if self._mode == "adopt" and refusal.errno in _NO_HARD_LINKS:
            raise InvalidRequestError(
                say(
                    "filesystem_without_links",
                    "The filesystem of {path} has no links, so none could be left there. Move or copy it instead.",
                    path=file.source,
                )
            )
        if self._mode == "move" and refusal.errno != errno.EXDEV:
            transferred = self._hash(file, file.source)
            try:
                file.source.rename(staged)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            else:
                if not file.is_of(staged.stat(follow_symlinks=False)):
                    raise SourceChangedError(
                        say(
                            "replaced",
                            "{path} was replaced while it was imported. Try again.",
                            path=file.source,
                        )
                    )
                fsync_file(staged)
                fsync_directory(file.source.parent)
                return transferred
        return None

    def _hash(self, file: EntryFile, path: Path) -> Transferred:
        known = self._known.get(file.source)
        if known is not None:  # it was hashed as it arrived
            return known
        return hash_file(path, self._advance, lambda opened: self._check(file, opened))

    def _copy(self, file: EntryFile, staged: Path) -> Transferred:
        def check(opened: os.stat_result) -> None:
            self._check(file, opened)

        if self._mode in ("auto", "reflink"):
            cloned = clone_file(file.source, staged, self._advance, check)
            if cloned is not None:
                return cloned
            if self._mode == "reflink":
                raise StorageError(
                    say(
                        "no_reflink",
                        "{path} and the library are not on one filesystem that shares bytes (btrfs, XFS, APFS …). "
                        "Copy it instead.",
                        path=file.source,
                    )
                )
        self._require_room(staged.parent)
        transferred = copy_file(file.source, staged, self._advance, check)
        if self.entry.originals != "keep":
            verify_copy(staged, transferred, self._advance)
        return transferred

    def _require_room(self, staged: Path) -> None:
        """Look once, before the first byte is copied, whether all that is left will fit."""
        if not self._room_checked:
            self._room_checked = True
            require_space(staged, sum(file.size for file in self.entry.files) - self._done)

    def _advance(self, done: int) -> None:
        self._progress(self._done + done)

    def _check(self, file: EntryFile, opened: os.stat_result) -> None:
        if not file.is_of(opened):
            raise SourceChangedError(
                say("changed_since", "{path} changed since it was looked at. Try again.", path=file.source)
            )
        self._roots.require_same(file.source, opened)


def _make_durable(staging: Staging, files: Iterable[EntryFile]) -> None:
    """Make the names of all files in staging durable."""
    folders = {(staging.model_folder / file.staged_name).parent for file in files} | {staging.model_folder}
    for folder in sorted(folders, key=lambda found: -len(found.parts)):
        fsync_directory(folder)
