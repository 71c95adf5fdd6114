"""What is mounted where: Linux tells in ``/proc/self/mountinfo`` (``proc_pid_mountinfo(5)``), others through psutil."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path("/")
"""Where ``proc``, ``sys`` and ``dev`` lie."""

_KEEP_INODES = {
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "tmpfs", "overlay", "nfs",
    "nfs4", "ntfs", "ntfs3", "refs", "apfs", "hfs", "ufs",
}  # fmt: skip
"""Filesystems where a file has the same number as long as it lives; FAT, exFAT and much in user space make them up."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A filesystem at its place.

    ``device`` is ``major:minor`` on Linux, where 0 as major stands for no device, and empty elsewhere;
    ``source`` what was mounted: a device, a server's folder, a pool. ``options`` are those of the mount and of
    the filesystem.
    """

    point: str
    fstype: str
    source: str
    device: str = ""
    options: tuple[str, ...] = ()

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written here."""
        return "ro" in self.options

    def option(self, name: str) -> str | None:
        """The value of ``name=value`` among the options."""
        return next((value[len(name) + 1 :] for value in self.options if value.startswith(f"{name}=")), None)


def mounts(root: Path = ROOT) -> list[Mount]:
    """Everything that is mounted, in the order in which it was; empty where the system does not tell."""
    if sys.platform == "linux":
        try:
            text = os.fsdecode((root / "proc/self/mountinfo").read_bytes())
        except OSError:
            return []
        return [mount for line in text.split("\n") if (mount := _parsed(line)) is not None]
    found: list[Mount] = []
    with suppress(OSError, psutil.Error):
        for partition in psutil.disk_partitions(all=True):
            options = tuple(partition.opts.split(","))
            found.append(
                Mount(partition.mountpoint, partition.fstype.lower(), partition.device, options=options)
            )
    return found


def mount_of(path: Path, root: Path = ROOT) -> Mount | None:
    """The filesystem that ``path`` lies on, or would lie on; nothing where the system does not tell."""
    real = os.path.realpath(path)
    best: Mount | None = None
    for mount in mounts(root):
        inside = real == mount.point or real.startswith(mount.point.rstrip(os.sep) + os.sep)
        if inside and (best is None or len(mount.point) >= len(best.point)):  # the last one covers the others
            best = mount
    return best


def keeps_inodes(path: Path) -> bool:
    """Whether another inode at ``path`` means another file."""
    mount = mount_of(path)
    return mount is not None and mount.fstype in _KEEP_INODES


def _parsed(line: str) -> Mount | None:
    fields, _, filesystem = line.partition(" - ")
    about, tail = fields.split(" "), filesystem.split(" ")
    if len(about) < 6 or len(tail) < 2:
        return None
    point, source = _unescaped(about[4]), _unescaped(tail[1])
    options = [*about[5].split(","), *(tail[2].split(",") if len(tail) > 2 else [])]
    return Mount(point, tail[0], source, about[2], tuple(_unescaped(option) for option in options))


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
