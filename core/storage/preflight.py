"""What would stop files on their way to a folder, or should be known before: found without writing anything."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import InsufficientSpaceError, StorageError
from ..sentences import say
from .disk import (
    SPACE_MARGIN_BYTES,
    existing_ancestor,
    is_dirty_ntfs,
    no_room,
    same_filesystem,
    why_not_writable,
)
from .mounts import ROOT, Mount, mount_of
from .names import shown
from .roots import real_path
from .sandbox import sandbox

Way = Literal["auto", "copy", "move", "reflink", "in-place", "adopt"]

FAT_LIMIT_BYTES = 2**32 - 1
"""The largest file on FAT12, FAT16 and FAT32."""

_FAT = {"vfat", "msdos", "fat", "fat32", "umsdos"}
_NO_LINKS = _FAT | {"exfat", "fuse.exfat"}
_MOVES = ("move", "adopt")

_CLONES = {"btrfs", "xfs", "bcachefs", "ocfs2", "zfs", "apfs"}
"""Filesystems that may give a file's bytes a second name; whether this one does, only trying tells."""


class NewFile(NamedTuple):
    """A file that is to come: where it is, its size in bytes, and its name below the target, with ``/``."""

    path: Path
    size: int
    name: str


class Finding(NamedTuple):
    """What was found; with ``error`` it cannot go on, else it is only to be known."""

    code: str
    message: str
    error: type[StorageError] | None = None


def preflight(files: Sequence[NewFile], target: Path, way: Way, root: Path = ROOT) -> list[Finding]:
    """Check that files can get to a folder; answers what should be known before.

    Args:
        files: The files of one model.
        target: The folder they go to; it need not exist yet.
        way: How they go, as in an import. With ``in-place`` they only have to be readable.
        root: Where ``proc`` lies.

    Raises `InsufficientSpaceError`, `StorageError` with what to do about it, `OSError` for a source that
    is not there.
    """
    warnings: list[Finding] = []
    for finding in findings(files, target, way, root):
        if finding.error is not None:
            raise finding.error(finding.message)
        warnings.append(finding)
    return warnings


def findings(files: Sequence[NewFile], target: Path, way: Way, root: Path = ROOT) -> Iterator[Finding]:
    """As `preflight`, but everything is answered, and nothing raised but `OSError`."""
    yield from _sources(files, way, root)
    if way == "in-place":
        return
    place = existing_ancestor(target)
    problem = why_not_writable(place, root)
    if problem:
        code = "ntfs_dirty" if is_dirty_ntfs(place, root) else "not_writable"
        yield Finding(code, problem, StorageError)
    elif is_dirty_ntfs(place, root):
        yield Finding(
            "ntfs_dirty",
            say(
                "ntfs_dirty",
                "{place} is on a Windows drive (NTFS) that is marked as dirty. Check it before it gets worse: run "
                "«chkdsk /f» in Windows, or «sudo ntfsfix -d» on the unmounted drive.",
                place=place,
            ),
        )
    mount = mount_of(place, root)
    yield from _names_and_sizes(files, place, mount)
    written = _written(files, place, way, root)
    yield from _room(sum(file.size for file in written), len(files), place)
    if way in _MOVES and written:
        yield Finding(
            "cross_filesystem",
            say(
                "cross_filesystem",
                "{name} lies on another drive or mount than the library. To move it, {size_bytes} are copied and "
                "verified; only then is the original deleted.",
                name=shown(written[0].path.name),
                size_bytes=sum(file.size for file in written),
            ),
        )
    if way in _MOVES:
        yield from _other_names(files)
    around = sandbox(root)
    if around is not None:
        yield Finding("sandboxed", around.message)
        if around.kind == "container" and mount is not None and mount.fstype in ("overlay", "aufs"):
            yield Finding(
                "container_layer",
                say(
                    "container_layer",
                    "{target} lies inside the container and is lost with it. Let the library lie in a folder that is "
                    "given to the container.",
                    target=target,
                ),
            )


def _sources(files: Iterable[NewFile], way: Way, root: Path) -> Iterator[Finding]:
    folders: set[Path] = set()
    for path, _, _ in files:
        if not os.access(path, os.R_OK):
            path.stat()  # one that is not there is another story
            yield Finding(
                "not_readable",
                say(
                    "not_readable",
                    "No permission to read {path}. Change its permissions, or run Librarian as its owner.",
                    path=shown(str(path)),
                ),
                StorageError,
            )
        if way not in _MOVES:
            continue
        problem = _why_not_removable(path)
        if problem is None and path.parent not in folders:
            problem = why_not_writable(path.parent, root)
            folders.add(path.parent)
            mount = mount_of(path.parent, root) if way == "adopt" else None
            if mount is not None and mount.fstype in _NO_LINKS:
                yield Finding(
                    "no_links",
                    say(
                        "no_links",
                        "{place} is on a drive ({filesystem}) that cannot hold links, so none could be left there. "
                        "Move or copy it instead.",
                        place=path.parent,
                        filesystem=mount.fstype,
                    ),
                    StorageError,
                )
        if problem:
            yield Finding(
                "not_removable",
                say(
                    "not_removable", "{problem} To leave the original there, import a copy.", problem=problem
                ),
                StorageError,
            )


def _other_names(files: Iterable[NewFile]) -> Iterator[Finding]:
    names = [shown(file.path.name) for file in files if file.path.stat().st_nlink > 1]
    if len(names) == 1:
        message = say(
            "other_names_of_one",
            "{name} has other names elsewhere (hard links). Its room is not free before those are deleted, too, and "
            "if it is moved on its drive, whatever changes it there changes the model.",
            name=names[0],
        )
        yield Finding("other_names", message)
    elif names:
        message = say(
            "other_names",
            "{count} files, such as {name}, have other names elsewhere (hard links). Their room is not free before "
            "those are deleted, too, and if they are moved on their drive, whatever changes them there changes the "
            "model.",
            count=len(names),
            name=names[0],
        )
        yield Finding("other_names", message)


def _why_not_removable(path: Path) -> str | None:
    """Why a file in a folder such as ``/tmp``, where everybody may only remove their own, cannot be moved."""
    if sys.platform == "win32":
        return None
    folder, user = path.parent.stat(), os.geteuid()
    if folder.st_mode & stat.S_ISVTX and user not in (0, folder.st_uid, path.lstat().st_uid):
        return say(
            "not_yours",
            "{path} belongs to another user, and its folder lets only owners remove files.",
            path=shown(str(path)),
        )
    return None


def _names_and_sizes(files: Iterable[NewFile], place: Path, mount: Mount | None) -> Iterator[Finding]:
    name_max, path_max = _limits(place)
    for path, size, name in files:
        if mount is not None and mount.fstype in _FAT and size > FAT_LIMIT_BYTES:
            yield Finding(
                "file_too_large",
                say(
                    "file_too_large",
                    "{name} has {size_bytes}, but {place} is on a FAT drive, which holds files of at most 4 GiB. "
                    "Format it as exFAT, NTFS or ext4, or choose another drive for the library.",
                    name=shown(path.name),
                    size_bytes=size,
                    place=place,
                ),
                StorageError,
            )
        longest = max(name.split("/"), key=lambda part: len(os.fsencode(part)))
        if len(os.fsencode(longest)) > name_max:
            yield Finding(
                "name_too_long",
                say(
                    "name_too_long",
                    "«{name}…» has {length} bytes, but names at {place} can have {limit}. Give the file a shorter "
                    "name.",
                    name=shown(longest[:40]),
                    length=len(os.fsencode(longest)),
                    place=place,
                    limit=name_max,
                ),
                StorageError,
            )
        elif len(os.fsencode(place / name)) >= path_max:
            yield Finding(
                "name_too_long",
                say(
                    "path_too_long",
                    "The path of «{name}» below {place} would be longer than {limit} bytes. Give the file a shorter "
                    "name, or let the library lie in a folder further up.",
                    name=shown(longest[:40]),
                    place=place,
                    limit=path_max,
                ),
                StorageError,
            )


def _limits(place: Path) -> tuple[int, int]:
    """How many bytes a name and a whole path can have at a place."""
    if sys.platform == "win32":
        return 255, 32_767
    try:
        return os.pathconf(place, "PC_NAME_MAX"), os.pathconf(place, "PC_PATH_MAX")
    except (OSError, ValueError):
        return 255, 4096


def _written(files: Sequence[NewFile], place: Path, way: Way, root: Path) -> list[NewFile]:
    """The files whose bytes need room at the target: neither renamed, nor likely to be shared."""
    if way == "copy":
        return list(files)
    folders = [real_path(file.path).parent for file in files]
    stay = {folder for folder in set(folders) if _stays(folder, place, way, root)}
    return [file for file, folder in zip(files, folders, strict=True) if folder not in stay]


def _stays(folder: Path, place: Path, way: Way, root: Path) -> bool:
    source, mount = mount_of(folder, root), mount_of(place, root)
    if way in _MOVES:
        same_mount = source is None or mount is None or source.point == mount.point
        return same_mount and same_filesystem(folder, place)
    if source is None or mount is None or source.fstype not in _CLONES:
        return False
    return (source.fstype, source.source) == (mount.fstype, mount.source)


def _room(size: int, count: int, place: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(place).free
    if free < size + SPACE_MARGIN_BYTES:
        yield Finding("insufficient_space", no_room(place, size, free), InsufficientSpaceError)
    if sys.platform == "win32":
        return
    status = os.statvfs(place)
    needed = count + 8  # folders, metadata, journal
    if status.f_files and status.f_favail < needed:
        yield Finding(
            "insufficient_space",
            say(
                "no_more_files",
                "{place} has room, but takes only {count} more files. Delete some small files there.",
                place=place,
                count=status.f_favail,
            ),
            InsufficientSpaceError,
        )
