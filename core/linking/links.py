"""The platform's links: made, looked at and removed here and nowhere else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import StorageError
from ..storage.disk import same_filesystem
from .records import LinkState, LinkType


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
            raise StorageError(f"{target} cannot be linked: {error.strerror or error}.") from error
        return "hardlink"


def leads_to(target: Path, source: Path) -> bool:
    """Whether ``target`` is a link, of either kind, to ``source``."""
    if target.is_symlink():
        return os.path.realpath(target) == os.path.realpath(source)
    with suppress(OSError):
        return target.samefile(source)
    return False


def state_of(target: Path, source: Path, link_type: LinkType) -> LinkState:
    """How a registered link stands on disk."""
    if not os.path.lexists(target):
        return "missing"
    if link_type == "symlink" and not target.is_symlink():
        return "changed"
    if not leads_to(target, source):
        return "changed"
    return "ok" if source.exists() else "broken"


def remove_link(target: Path, source: Path, link_type: LinkType) -> bool:
    """Remove a link, if it still is the one that was made; never what it points to."""
    if state_of(target, source, link_type) in ("ok", "broken"):
        target.unlink()
        return True
    return False


def fingerprint(target: Path) -> tuple[int, ...] | None:
    """What lies at a place, so that a later look can tell whether it is still the same."""
    try:
        status = target.lstat()
    except FileNotFoundError:
        return None
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
