"""Which drive a path is on, and how many transfers at once are good for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from .mounts import ROOT, Mount, mount_of
from .roots import real_path

DriveKind = Literal["rotating", "ssd", "network", "memory", "unknown"]

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "ncpfs", "afs", "afpfs", "webdav", "davfs", "davfs2", "ceph",
    "glusterfs", "lustre", "beegfs", "gpfs", "9p", "virtiofs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse",
    "fuse.glusterfs", "fuse.ceph", "fuse.gvfsd-fuse", "fuse.curlftpfs", "fuse.davfs2", "fuse.juicefs", "fuse.smbnetfs",
}  # fmt: skip
_MEMORY = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
_NETWORK_DEVICES = ("nbd", "rbd", "drbd")
_MAX_DEPTH = 8
"""Layers between a filesystem and its disks (loop over LUKS over LVM over RAID); more are taken for a circle."""

_AT_ONCE: dict[DriveKind, int] = {"rotating": 1, "ssd": 2, "network": 1, "memory": 2, "unknown": 1}


class Drive(NamedTuple):
    """What a path's bytes lie on.

    ``id`` is the same for all paths on one drive: the kernel's names of its disks, or what is mounted. ``name``
    is for people: the disk's model where it is known.
    """

    id: str
    kind: DriveKind
    name: str


def at_once(drive: Drive, setting: int | None = None) -> int:
    """How many transfers at once are good for a drive: two on an SSD or in memory, else one.

    ``setting`` overrides, from 1.
    """
    return max(1, setting) if setting is not None else _AT_ONCE[drive.kind]


def drive_of(path: Path, root: Path = ROOT) -> Drive:
    """The drive that ``path`` is on; it need not exist.

    Logical volumes, encryption, RAID, partitions and images are followed to the disks they lie on; of several
    disks the slowest counts. What the system does not tell is ``unknown``. ``root`` is where ``proc``, ``sys``
    and ``dev`` lie.
    """
    try:
        return _drive(path, root, 0)
    except (OSError, ValueError):
        return _unnamed(path)


def _drive(path: Path, root: Path, depth: int) -> Drive:
    if sys.platform == "win32" and os.path.splitdrive(path)[0].startswith("\\\\"):
        share = os.path.splitdrive(path)[0]
        return Drive(share.lower(), "network", share)
    mount = mount_of(path, root)
    if mount is None or depth > _MAX_DEPTH:
        return _unnamed(path)
    if mount.fstype in _NETWORK:
        return Drive(mount.source, "network", mount.source)
    if mount.fstype in _MEMORY:
        return Drive("memory", "memory", "memory")
    if mount.fstype == "overlay":
        upper = mount.option("upperdir")
        on = mount_of(Path(upper), root) if upper else None
        if upper and on is not None and on != mount and (root / upper.lstrip("/")).exists():
            return _drive(Path(upper), root, depth + 1)
        return Drive(f"overlay:{mount.point}", "unknown", mount.point)
    disks = _disks_of(mount, root, depth)
    if not disks:
        source = mount.source if mount.source not in ("", "none") else mount.point
        return Drive(_pool(mount) or source, "unknown", source)
    return _together(disks)


def _unnamed(path: Path) -> Drive:
    """A drive of which only the device number, if that, is known."""
    while True:
        try:
            number = path.stat().st_dev
            break
        except OSError:
            if path == path.parent:
                return Drive("unknown", "unknown", "unknown")
            path = path.parent
    return Drive(f"device:{number}", "unknown", path.anchor or "unknown")


def _pool(mount: Mount) -> str:
    return f"zfs:{mount.source.partition('/')[0]}" if mount.fstype == "zfs" else ""


def _together(disks: Iterable[Drive]) -> Drive:
    """Several disks as one drive, as slow as the slowest of them."""
    distinct = sorted(set(disks))
    order: tuple[DriveKind, ...] = ("rotating", "unknown", "network", "ssd", "memory")
    kind = next(kind for kind in order if any(disk.kind == kind for disk in distinct))
    names = list(dict.fromkeys(disk.name for disk in distinct))
    return Drive("+".join(disk.id for disk in distinct), kind, " + ".join(names))


def _disks_of(mount: Mount, root: Path, depth: int) -> list[Drive]:
    """The disks under a filesystem; nothing if it has no device, or none that is known."""
    devices: list[Path] = []
    if mount.device and not mount.device.startswith("0:"):
        devices = [root / "sys/dev/block" / mount.device]
    else:  # btrfs and bcachefs have no device number of their own
        for source in mount.source.split(":"):
            if source.startswith("/dev/"):
                devices.append(_device(source, root))
        if mount.fstype == "btrfs":
            devices = _all_of_btrfs(devices, root)
    if not all(device.exists() for device in devices):
        return []
    return [disk for device in devices for disk in _disks(real_path(device), root, depth)]


def _device(source: str, root: Path) -> Path:
    """A device under ``/dev`` as its folder under ``/sys``."""
    name = real_path(root / source.lstrip("/")).name
    if source.startswith("/dev/mapper/"):
        for mapped in (root / "sys/block").glob("dm-*"):
            if _line(mapped / "dm/name") == source.rpartition("/")[2]:
                name = mapped.name
    return root / "sys/class/block" / name


def _all_of_btrfs(devices: list[Path], root: Path) -> list[Path]:
    """All devices of a btrfs, of which only one was mounted."""
    names = {device.name for device in devices}
    for members in (root / "sys/fs/btrfs").glob("*/devices"):
        found = sorted(members.iterdir())
        if names & {member.name for member in found}:
            return [root / "sys/class/block" / member.name for member in found]
    return devices


def _disks(device: Path, root: Path, depth: int) -> list[Drive]:
    """The disks under a block device, given by its folder under ``/sys``."""
    if depth > _MAX_DEPTH:
        return [Drive(device.name, "unknown", device.name)]
    below = sorted((device / "slaves").iterdir()) if (device / "slaves").is_dir() else []
    if below:
        return [disk for slave in below for disk in _disks(real_path(slave), root, depth + 1)]
    if (device / "partition").exists():
        return _disks(device.parent, root, depth + 1)
    image = _line(device / "loop/backing_file")
    if image:
        return [_drive(Path(image), root, depth + 1)]
    if device.name.startswith(_NETWORK_DEVICES):
        return [Drive(device.name, "network", device.name)]
    if device.name.startswith(("zram", "ram", "pmem")):
        return [Drive(device.name, "memory", device.name)]
    rotational = _line(device / "queue/rotational")
    kind: DriveKind = "rotating" if rotational == "1" else "ssd" if rotational == "0" else "unknown"
    name = _line(device / "device/model") or _line(device / "device/name") or device.name
    return [Drive(device.name, kind, name)]


def _line(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes()).strip()
    except OSError:
        return ""
