"""The platform's links: made, looked at and removed here and nowhere else.

Which kind is made where:

| where | files | folders |
|---|---|---|
| one filesystem | relative symlink | relative symlink |
| two filesystems | absolute symlink | absolute symlink |
| NTFS under Linux or macOS | hard link, which Windows can read, too | symlink |
| Windows, where the process may make symlinks | symlink | symlink |
| Windows, where it may not | hard link, on one volume | junction |
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from ..errors import StorageError
from ..storage.disk import storage_error
from ..storage.names import collision_key
from ..storage.roots import is_within
from .records import Link, LinkState, LinkType

_NO_SYMLINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What filesystems without symlinks answer; anything else would go wrong with a hard link, too."""

_NTFS = frozenset({"ntfs", "ntfs3", "fuseblk", "ufsd_ntfs"})
"""What mounts of NTFS call themselves outside Windows (ntfs3 and ntfs-3g of Linux, Paragon's and macOS's).
``fuseblk`` may be exFAT, too: that has no hard links, and a symlink is tried next."""


class LinkImpossibleError(StorageError):
    """Neither the filesystem nor the system's rights allow any kind of link here."""

    code = "link_impossible"


class Folder(NamedTuple):
    """A folder that links are made in: where it really is, its device, and the way from there to the library."""

    real: str
    device: int
    to_library: str


class Platform:
    """Makes links of the kind that the filesystem and the system's rights allow.

    What is refused once is not tried again on that filesystem while this object lives.
    """

    def __init__(self, library_root: Path) -> None:
        self._library_root = os.fspath(library_root)
        self._inside_library = self._library_root.rstrip(os.sep) + os.sep
        self._no_symlinks: set[int] = set()
        self._is_ntfs: dict[int, bool] = {}

    def look_at(self, folder: Path) -> Folder:
        """What `make` needs to know of the folder that a link goes into. Raises `OSError`."""
        real = os.path.realpath(folder)
        try:
            to_library = os.path.relpath(self._library_root, real)
        except ValueError:  # another Windows drive
            to_library = ""
        return Folder(real, Path(real).stat().st_dev, to_library)

    def make(self, source: Path, target: Path, folder: Folder | None = None) -> tuple[LinkType, bool]:
        """Link ``target`` to ``source``; answers the kind, and whether the two lie on different filesystems.

        Raises `FileExistsError` if the place is taken, `LinkImpossibleError` if no kind of link can be made,
        `StorageError`.
        """
        folder = folder or self.look_at(target.parent)
        status = source.stat()
        is_external = status.st_dev != folder.device
        is_directory = stat.S_ISDIR(status.st_mode)
        refusal: OSError | None = None
        for kind, make in self._kinds(folder, is_external=is_external, is_directory=is_directory):
            try:
                make(source, target, folder)
                return kind, is_external
            except FileExistsError:
                raise
            except OSError as error:
                if sys.platform != "win32" and error.errno not in _NO_SYMLINKS:
                    raise storage_error(error, target) from error
                refusal = refusal or error
                if kind == "symlink":
                    self._no_symlinks.add(folder.device)
        raise LinkImpossibleError(_impossible(target, refusal, is_external=is_external)) from refusal

    def _kinds(
        self, folder: Folder, *, is_external: bool, is_directory: bool
    ) -> list[tuple[LinkType, Callable[[Path, Path, Folder], None]]]:
        """The kinds of links that may work, best first."""
        symlink: tuple[LinkType, Callable[[Path, Path, Folder], None]] = (
            "symlink",
            _make_absolute if is_external else self._make_relative,
        )
        others: list[tuple[LinkType, Callable[[Path, Path, Folder], None]]] = []
        if is_directory:
            if sys.platform == "win32":
                others.append(("junction", _make_junction))
        elif not is_external:
            others.append(("hardlink", _make_hard_link))
        if folder.device in self._no_symlinks:
            return others
        if others and sys.platform != "win32" and self._on_ntfs(folder):
            return [*others, symlink]
        return [symlink, *others]

    def _on_ntfs(self, folder: Folder) -> bool:
        known = self._is_ntfs.get(folder.device)
        if known is None:
            known = self._is_ntfs[folder.device] = filesystem_type(folder.real) in _NTFS
        return known

    def _make_relative(self, source: Path, target: Path, folder: Folder) -> None:
        text = os.fspath(source)
        if folder.to_library and text.startswith(self._inside_library):
            text = os.path.join(folder.to_library, text[len(self._inside_library) :])  # noqa: PTH118
        else:
            text = os.path.relpath(text, folder.real)
        _symlink(text, source, target)


class Glance:
    """Looks at many links one after another; each folder that they lie in is resolved only once.

    Not to be kept: a folder may be replaced by a link to another one meanwhile.
    """

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def leads_to(self, target: Path, source: Path) -> bool:
        """Whether ``target`` is a link, of any kind, to ``source``."""
        return self._says(str(target), str(source)) or leads_to(target, source)

    def state_of(self, link: Link) -> LinkState:
        """How a registered link stands on disk."""
        if link.link_type != "hardlink" and self._says(link.target, link.source):
            return "ok" if os.access(link.source, os.F_OK) else "broken"
        return state_of(Path(link.target), Path(link.source), link.link_type)

    def _says(self, target: str, source: str) -> bool:
        """Whether a link's text alone names the source, so that nothing needs to be followed."""
        try:
            text = os.readlink(target)
        except (OSError, ValueError):
            return False
        folder = os.path.split(target)[0]
        real = self._real.get(folder)
        if real is None:
            real = self._real[folder] = os.path.realpath(folder)
        return os.path.normpath(real + os.sep + text if not os.path.isabs(text) else text) == source  # noqa: PTH117


def filesystem_type(path: str) -> str:
    """What the system calls the filesystem at a real path, in lower case; empty where it does not say."""
    best, found = "", ""
    with suppress(OSError, psutil.Error):
        for partition in psutil.disk_partitions(all=True):
            mount = partition.mountpoint
            inside = path == mount or path.startswith(mount.rstrip(os.sep) + os.sep)
            if inside and len(mount) >= len(best):
                best, found = mount, partition.fstype.lower()
    return found


def leads_to(target: Path, source: Path) -> bool:
    """Whether ``target`` is a link, of any kind, to ``source``."""
    return _is_link_to(target, source) or _is_hard_link_to(target, source)


def is_link(path: Path) -> bool:
    """Whether a symlink or junction lies there; wherever it leads."""
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISLNK(status.st_mode) or _is_junction(status)


def state_of(target: Path, source: Path, link_type: LinkType) -> LinkState:
    """How a registered link stands on disk."""
    if not os.path.lexists(target):
        return "missing"
    is_ours = _is_hard_link_to if link_type == "hardlink" else _is_link_to
    if not is_ours(target, source):
        return "changed"
    return "ok" if os.access(source, os.F_OK) else "broken"


def is_reachable(target: Path, root: Path | None) -> bool:
    """Whether the place of an app's link can be looked at; a drive that is not there says nothing of its links.

    ``root`` is the app's, if it has one.
    """
    if target.parent.is_dir():
        return True
    return root is not None and root.is_dir() and is_within(target, root)


def remove_link(target: Path, source: Path, link_type: LinkType) -> bool:
    """Remove a link, if it still is the one that was made; never what it points to.

    A hard link whose source is gone holds the last bytes: it counts as changed and stays.
    """
    if state_of(target, source, link_type) in ("ok", "broken"):
        target.unlink()  # also of a junction: Python removes the link, and nothing behind it
        return True
    return False


def fingerprint(target: Path) -> tuple[int, ...] | None:
    """What lies at a place, so that a later look can tell whether it is still the same."""
    try:
        status = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(error, target) from error
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)


def destination(link: Path, parent: Path | None = None) -> Path | None:
    """Where the text of a symlink or junction leads, read as if it lay in ``parent``; nothing for others.

    Only the text is looked at: what it leads to need not exist, and may itself be a link.
    """
    try:
        text = os.readlink(link)
    except (OSError, ValueError):
        return None
    text = text.removeprefix("\\\\?\\")
    base = os.path.realpath(link.parent) if parent is None else parent
    return Path(os.path.normpath(Path(base) / text))


def same_name(one: Path, other: Path) -> bool:
    """Whether both are one name of one file, reached in two ways: by links, mounts, or in another case."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    with suppress(OSError):
        same_folder = os.path.samestat(one.parent.stat(), other.parent.stat())
        return same_folder and collision_key(one.name) == collision_key(other.name)
    return False


def _is_link_to(target: Path, source: Path) -> bool:
    return is_link(target) and os.path.realpath(target) == os.path.realpath(source)


def _is_hard_link_to(target: Path, source: Path) -> bool:
    """Whether both are one file under two names; one name reached in two ways is no link."""
    try:
        status = target.lstat()
        same = stat.S_ISREG(status.st_mode) and os.path.samestat(status, source.stat())
    except OSError:
        return False
    return same and not same_name(target, source)


def _is_junction(status: os.stat_result) -> bool:
    tag = getattr(status, "st_reparse_tag", 0)
    return bool(tag) and tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)


def _make_absolute(source: Path, target: Path, _folder: Folder) -> None:
    _symlink(os.fspath(source), source, target)


def _symlink(text: str, source: Path, target: Path) -> None:
    if sys.platform == "win32":
        os.symlink(text, target, target_is_directory=source.is_dir())
    else:
        os.symlink(text, target)


def _make_hard_link(source: Path, target: Path, _folder: Folder) -> None:
    os.link(source, target)


def _make_junction(source: Path, target: Path, _folder: Folder) -> None:
    import _winapi

    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    _winapi.CreateJunction(str(source), str(target))  # type: ignore[attr-defined,unused-ignore]


def _impossible(target: Path, refusal: OSError | None, *, is_external: bool) -> str:
    reason = (refusal.strerror or refusal) if refusal is not None else "they were refused here before"
    if is_external:
        return (
            f"{target} cannot be linked: symlinks are not allowed here ({reason}) and the library lies on another "
            "drive. On Windows, turn on Developer Mode. Or name the library folder in ComfyUI's "
            "extra_model_paths.yaml."
        )
    return (
        f"{target} cannot be linked: its filesystem has neither symlinks nor hard links ({reason}). "
        "Use a folder on another one, or name the library folder in ComfyUI's extra_model_paths.yaml."
    )
