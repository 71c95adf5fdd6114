"""The platform's links: made, looked at and removed here and nowhere else."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from ..errors import StorageError
from ..storage.disk import same_filesystem, storage_error
from ..storage.names import collision_key
from .records import LinkState, LinkType

_NO_SYMLINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What filesystems without symlinks answer; anything else would go wrong with a hard link, too."""


def make_link(source: Path, target: Path) -> LinkType:
    """Link ``target`` to ``source``: relative on one filesystem, absolute across two.

    Where symlinks are refused (Windows without Developer Mode, some filesystems) and both lie on one
    volume, a hard link is made.

    Raises `FileExistsError` if the place is taken, `StorageError` if no kind of link can be made.
    """
    folder = Path(os.path.realpath(target.parent))
    external = not same_filesystem(source, folder)
    destination = os.fspath(source) if external else os.path.relpath(source, folder)
    try:
        os.symlink(destination, target)
        return "symlink"
    except FileExistsError:
        raise
    except OSError as refusal:
        if sys.platform != "win32" and refusal.errno not in _NO_SYMLINKS:
            raise storage_error(refusal, target) from refusal
        if external:
            raise StorageError(
                f"{target} cannot be linked: symlinks are not allowed here ({refusal.strerror or refusal}) and the "
                "library lies on another drive. On Windows, turn on Developer Mode."
            ) from refusal
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageError(
                f"{target} cannot be linked: its filesystem has neither symlinks nor hard links "
                f"({error.strerror or error}). Use a folder on another one."
            ) from error
        return "hardlink"


def leads_to(target: Path, source: Path) -> bool:
    """Whether ``target`` is a link, of either kind, to ``source``."""
    return _is_symlink_to(target, source) or _is_hard_link_to(target, source)


def state_of(target: Path, source: Path, link_type: LinkType) -> LinkState:
    """How a registered link stands on disk."""
    if not os.path.lexists(target):
        return "missing"
    is_ours = _is_symlink_to if link_type == "symlink" else _is_hard_link_to
    if not is_ours(target, source):
        return "changed"
    return "ok" if os.access(source, os.F_OK) else "broken"


def remove_link(target: Path, source: Path, link_type: LinkType) -> bool:
    """Remove a link, if it still is the one that was made; never what it points to.

    A hard link whose source is gone holds the last bytes: it counts as changed and stays.
    """
    if state_of(target, source, link_type) in ("ok", "broken"):
        target.unlink()
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


def same_name(one: Path, other: Path) -> bool:
    """Whether both are one name of one file, reached in two ways: by links, mounts, or in another case."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    with suppress(OSError):
        same_folder = os.path.samestat(one.parent.stat(), other.parent.stat())
        return same_folder and collision_key(one.name) == collision_key(other.name)
    return False


def _is_symlink_to(target: Path, source: Path) -> bool:
    return target.is_symlink() and os.path.realpath(target) == os.path.realpath(source)


def _is_hard_link_to(target: Path, source: Path) -> bool:
    """Whether both are one file under two names; one name reached in two ways is no link."""
    try:
        same = os.path.samestat(target.lstat(), source.stat())
    except OSError:
        return False
    return same and not same_name(target, source)
