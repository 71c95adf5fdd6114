"""Which drive a path is on: made-up machines, as Linux shows them in /proc/self/mountinfo and /sys."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model_librarian.core.storage.drives import Drive, at_once, drive_of
from model_librarian.core.storage.mounts import mount_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the files are those of Linux")


class Machine:
    """A root folder with ``proc``, ``sys`` and ``dev`` as the kernel fills them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lines: list[str] = []
        self._minor = 0
        for folder in (
            "proc/self",
            "sys/block",
            "sys/class/block",
            "sys/dev/block",
            "sys/fs/btrfs",
            "dev/mapper",
        ):
            (root / folder).mkdir(parents=True)

    def device(self, name: str, *, within: str = "", rotational: int | None = None, model: str = "") -> str:
        """A block device, or a partition ``within`` one; answers its number."""
        folder = self.root / "sys/devices" / (f"{within}/{name}" if within else name)
        folder.mkdir(parents=True)
        self._minor += 1
        number = f"8:{self._minor}"
        self.link("sys/class/block", name, folder)
        self.link("sys/dev/block", number, folder)
        (self.root / "dev" / name).touch()
        if within:
            (folder / "partition").write_text("1\n")
            return number
        self.link("sys/block", name, folder)
        if rotational is not None:
            self.write(folder / "queue/rotational", f"{rotational}\n")
        if model:
            self.write(folder / "device/model", f"{model:<16}\n")
        return number

    def mapped(self, name: str, *below: str, called: str = "") -> str:
        """A device that lies on others: LVM, LUKS, RAID."""
        number = self.device(name, rotational=1)
        folder = self.root / "sys/devices" / name
        (folder / "slaves").mkdir()
        for other in below:
            self.link(f"sys/devices/{name}/slaves", other, (self.root / "sys/class/block" / other).resolve())
        if called:
            self.write(folder / "dm/name", f"{called}\n")
            self.link("dev/mapper", called, self.root / "dev" / name)
        return number

    def link(self, folder: str, name: str, target: Path) -> None:
        (self.root / folder / name).symlink_to(target)

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def mount(self, point: str, fstype: str, source: str, number: str = "0:42", options: str = "rw") -> None:
        point = point.replace("\\", "\\134").replace(" ", "\\040")
        self._lines.append(
            f"36 35 {number} / {point} rw,noatime shared:1 master:2 - {fstype} {source} {options}\n"
        )
        (self.root / "proc/self/mountinfo").write_text("".join(self._lines))

    def drive(self, path: str) -> Drive:
        return drive_of(Path(path), self.root)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def sata(machine: Machine) -> None:
    machine.device("sda", rotational=1, model="WDC WD40EFRX")
    machine.mount("/models", "ext4", "/dev/sda1", machine.device("sda1", within="sda"))


def sata_ssd(machine: Machine) -> None:
    machine.device("sdb", rotational=0, model="Samsung SSD 870")
    machine.mount("/models", "xfs", "/dev/sdb1", machine.device("sdb1", within="sdb"))


def whole_disk(machine: Machine) -> None:
    machine.mount("/models", "ext4", "/dev/sdc", machine.device("sdc", rotational=1))


def nvme(machine: Machine) -> None:
    machine.device("nvme0n1", rotational=0, model="WD_BLACK SN850X")
    machine.mount("/models", "ext4", "/dev/nvme0n1p2", machine.device("nvme0n1p2", within="nvme0n1"))


def mmc(machine: Machine) -> None:
    machine.device("mmcblk0", rotational=0)
    machine.write(machine.root / "sys/devices/mmcblk0/device/name", "SD64G\n")
    machine.mount("/models", "ext4", "/dev/mmcblk0p1", machine.device("mmcblk0p1", within="mmcblk0"))


def luks_on_lvm(machine: Machine) -> None:
    machine.device("nvme0n1", rotational=0, model="SN850X")
    machine.device("nvme0n1p3", within="nvme0n1")
    machine.mapped("dm-0", "nvme0n1p3", called="vg-models")
    machine.mount("/models", "ext4", "/dev/mapper/luks", machine.mapped("dm-1", "dm-0", called="luks"))


def lvm_over_both(machine: Machine) -> None:
    machine.device("sda", rotational=1, model="WDC")
    machine.device("nvme0n1", rotational=0, model="SN850X")
    machine.mount("/models", "ext4", "/dev/mapper/vg", machine.mapped("dm-0", "sda", "nvme0n1", called="vg"))


def raid(machine: Machine) -> None:
    for disk in ("sda", "sdb"):
        machine.device(disk, rotational=0, model="MX500")
        machine.device(f"{disk}1", within=disk)
    machine.mount("/models", "ext4", "/dev/md0", machine.mapped("md0", "sda1", "sdb1"))


def image_on_a_disk(machine: Machine) -> None:
    machine.mount("/", "ext4", "/dev/sda", machine.device("sda", rotational=1, model="WDC"))
    number = machine.device("loop3", rotational=0)
    machine.write(machine.root / "sys/devices/loop3/loop/backing_file", "/images/models.img\n")
    machine.mount("/models", "ext4", "/dev/loop3", number)


def btrfs(machine: Machine) -> None:
    machine.device("nvme0n1", rotational=0, model="SN850X")
    machine.device("nvme0n1p2", within="nvme0n1")
    machine.mount("/models", "btrfs", "/dev/nvme0n1p2", "0:31", "rw,subvol=/@models")


def btrfs_in_luks(machine: Machine) -> None:
    machine.device("sda", rotational=0, model="MX500")
    machine.mapped("dm-0", "sda", called="luks-1")
    machine.mount("/models", "btrfs", "/dev/mapper/luks-1", "0:31")


def btrfs_over_two(machine: Machine) -> None:
    machine.device("nvme0n1", rotational=0, model="SN850X")
    machine.device("sda", rotational=1, model="WDC")
    (machine.root / "sys/fs/btrfs/0a1b/devices").mkdir(parents=True)
    for disk in ("nvme0n1", "sda"):
        machine.link("sys/fs/btrfs/0a1b/devices", disk, machine.root / "sys/devices" / disk)
    machine.mount("/models", "btrfs", "/dev/nvme0n1", "0:31")


def bcachefs_over_two(machine: Machine) -> None:
    machine.device("sda", rotational=0, model="A")
    machine.device("sdb", rotational=0, model="B")
    machine.mount("/models", "bcachefs", "/dev/sda:/dev/sdb", "0:31")


def zfs(machine: Machine) -> None:
    machine.mount("/models", "zfs", "tank/ai/models", "0:50")


def nothing_said(machine: Machine) -> None:
    machine.mount("/models", "ext4", "/dev/sda", machine.device("sda"))


def no_such_device(machine: Machine) -> None:
    machine.mount("/models", "ext4", "/dev/root", "259:9")


def overlay_in_a_container(machine: Machine) -> None:
    machine.mount("/", "overlay", "overlay", "0:60", "rw,lowerdir=/var/l,upperdir=/var/lib/docker/u/diff")


def overlay_of_a_live_system(machine: Machine) -> None:
    machine.mount("/", "overlay", "overlay", "0:60", "rw,lowerdir=/ro,upperdir=/media/stick/upper")
    machine.mount("/media/stick", "ext4", "/dev/sda", machine.device("sda", rotational=1, model="Stick"))
    (machine.root / "media/stick/upper").mkdir(parents=True)


def overlay_on_itself(machine: Machine) -> None:
    machine.mount("/", "overlay", "overlay", "0:60", "rw,upperdir=/models/upper")
    machine.mount("/models", "overlay", "overlay", "0:61", "rw,upperdir=/upper")
    (machine.root / "upper").mkdir()
    (machine.root / "models/upper").mkdir(parents=True)


def circle_of_devices(machine: Machine) -> None:
    number = machine.mapped("dm-0")
    machine.link("sys/devices/dm-0/slaves", "dm-0", machine.root / "sys/devices/dm-0")
    machine.mount("/models", "ext4", "/dev/mapper/x", number)


def image_in_itself(machine: Machine) -> None:
    number = machine.device("loop0", rotational=0)
    machine.write(machine.root / "sys/devices/loop0/loop/backing_file", "/models/self.img\n")
    machine.mount("/models", "ext4", "/dev/loop0", number)


def network_block_device(machine: Machine) -> None:
    machine.mount("/models", "ext4", "/dev/nbd0", machine.device("nbd0", rotational=0))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (sata, Drive("sda", "rotating", "WDC WD40EFRX")),
        (sata_ssd, Drive("sdb", "ssd", "Samsung SSD 870")),
        (whole_disk, Drive("sdc", "rotating", "sdc")),
        (nvme, Drive("nvme0n1", "ssd", "WD_BLACK SN850X")),
        (mmc, Drive("mmcblk0", "ssd", "SD64G")),
        (luks_on_lvm, Drive("nvme0n1", "ssd", "SN850X")),
        (lvm_over_both, Drive("nvme0n1+sda", "rotating", "SN850X + WDC")),
        (raid, Drive("sda+sdb", "ssd", "MX500")),
        (image_on_a_disk, Drive("sda", "rotating", "WDC")),
        (btrfs, Drive("nvme0n1", "ssd", "SN850X")),
        (btrfs_in_luks, Drive("sda", "ssd", "MX500")),
        (btrfs_over_two, Drive("nvme0n1+sda", "rotating", "SN850X + WDC")),
        (bcachefs_over_two, Drive("sda+sdb", "ssd", "A + B")),
        (zfs, Drive("zfs:tank", "unknown", "tank/ai/models")),
        (nothing_said, Drive("sda", "unknown", "sda")),
        (no_such_device, Drive("/dev/root", "unknown", "/dev/root")),
        (overlay_in_a_container, Drive("overlay:/", "unknown", "/")),
        (overlay_of_a_live_system, Drive("sda", "rotating", "Stick")),
        (circle_of_devices, Drive("dm-0", "unknown", "dm-0")),
        (network_block_device, Drive("nbd0", "network", "nbd0")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_path_is_followed_to_its_disk(machine, build, expected):
    build(machine)
    assert machine.drive("/models/loras/x.safetensors") == expected


@pytest.mark.parametrize("build", [overlay_on_itself, image_in_itself])
def test_circles_end_as_unknown(machine, build):
    build(machine)
    assert machine.drive("/models/x").kind == "unknown"


@pytest.mark.parametrize(
    ("fstype", "source", "kind"),
    [
        ("nfs4", "nas:/volume1/models", "network"),
        ("cifs", "//nas/models", "network"),
        ("fuse.sshfs", "me@box:models", "network"),
        ("9p", "C:\\134", "network"),
        ("tmpfs", "tmpfs", "memory"),
        ("fuse.mergerfs", "disk1:disk2", "unknown"),
        ("fuseblk", "/dev/sdz1", "unknown"),
    ],
)
def test_filesystems_without_a_device(machine, fstype, source, kind):
    machine.mount("/models", fstype, source)
    assert machine.drive("/models/x").kind == kind


@pytest.mark.parametrize(
    ("build", "width"),
    [
        (sata, 1),
        (nvme, 2),
        (raid, 2),
        (lvm_over_both, 1),
        (zfs, 1),
        (no_such_device, 1),
        (network_block_device, 1),
    ],
)
def test_how_many_transfers_at_once(machine, build, width):
    build(machine)
    drive = machine.drive("/models")
    assert [at_once(drive), at_once(drive, 4), at_once(drive, 0)] == [width, 4, 1]


def test_the_deepest_and_latest_mount_counts(machine):
    machine.mount("/", "ext4", "/dev/sda", machine.device("sda", rotational=1))
    machine.mount("/mod", "tmpfs", "tmpfs")
    machine.mount("/models", "ext4", "/dev/sdb", machine.device("sdb", rotational=1))
    machine.mount("/models", "ext4", "/dev/sdc", machine.device("sdc", rotational=0))
    machine.mount("/my models", "nfs", "nas:/x")
    assert [machine.drive(path).id for path in ("/x", "/models2", "/mod/x", "/models", "/my models/x")] == [
        "sda", "sda", "memory", "sdc", "nas:/x",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "garbage\n", "1 2 3 - \n - - -\n", "\xff\n"])
def test_a_system_that_does_not_tell_is_unknown_but_told_apart(machine, tmp_path, text):
    (machine.root / "proc/self/mountinfo").write_text(text)
    drive = drive_of(tmp_path, machine.root)
    assert drive == Drive(f"device:{tmp_path.stat().st_dev}", "unknown", "/")
    assert drive_of(tmp_path / "not" / "there", machine.root) == drive


def test_this_machine_can_be_asked(tmp_path):
    mount = mount_of(tmp_path)
    assert mount is not None
    assert tmp_path.is_relative_to(mount.point)
    assert at_once(drive_of(tmp_path)) in (1, 2)
    assert drive_of(tmp_path).id == drive_of(tmp_path / "not there").id
