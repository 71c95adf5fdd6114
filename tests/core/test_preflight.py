"""What is found before a transfer, each with its own sentence, and nothing is written for it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from model_librarian.core.errors import InsufficientSpaceError, StorageError
from model_librarian.core.storage.disk import require_writable, storage_error
from model_librarian.core.storage.preflight import Finding, NewFile, Way, findings, preflight
from model_librarian.core.storage.sandbox import Sandbox, sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts are those of Linux")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    return folder


@pytest.fixture
def source(tmp_path: Path) -> NewFile:
    path = tmp_path / "downloads" / "flux.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return NewFile(path, 7, "diffusion/flux/flux/flux.safetensors")


Mounted = Callable[..., Path]


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    """A made-up machine on which folders are mounted as told: (folder, type, source, options)."""

    def make(*rows: tuple[Path | str, str, str, str]) -> Path:
        root = tmp_path / "machine"
        (root / "proc/self").mkdir(parents=True, exist_ok=True)
        lines = [
            f"{30 + number} 1 0:{40 + number} / {point} {options} - {fstype} {device} rw\n"
            for number, (point, fstype, device, options) in enumerate(
                [("/", "ext4", "/dev/sda1", "rw"), *rows]
            )
        ]
        (root / "proc/self/mountinfo").write_text("".join(lines))
        return root

    return make


def codes(found: list[Finding]) -> list[str]:
    return [finding.code for finding in found]


@pytest.mark.parametrize("way", get_args(Way))
def test_where_all_is_well_nothing_is_said_and_nothing_written(source, target, mounted, way):
    assert preflight([source], target / "not" / "there", way, mounted()) == []
    assert os.listdir(target) == []


def test_room_is_checked_with_a_margin_for_all_files_together(source, target, mounted, monkeypatch):
    usage = namedtuple("usage", "total used free")
    margin = 64 * 1024 * 1024
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, margin + 1000))
    half = source._replace(size=500)
    assert preflight([half, half], target, "copy", mounted()) == []
    with pytest.raises(InsufficientSpaceError, match=r"64\.0 MiB needed.*64\.0 MiB free"):
        preflight([half, half._replace(size=501)], target, "copy", mounted())
    huge = source._replace(size=2**40)
    assert preflight([huge], target, "move", mounted()) == []
    assert preflight([huge], target, "in-place", mounted()) == []


@pytest.mark.parametrize(("fstype", "enough"), [("btrfs", True), ("xfs", True), ("ext4", False)])
def test_a_reflink_needs_no_room_where_the_filesystem_may_know_it(
    source, target, mounted, tmp_path, fstype, enough
):
    root = mounted((tmp_path, fstype, "/dev/sdb1", "rw"))
    found = list(findings([source._replace(size=2**60)], target, "auto", root))
    assert codes(found) == ([] if enough else ["insufficient_space"])


def test_a_reflink_between_two_filesystems_is_a_copy(source, target, mounted):
    root = mounted((target, "btrfs", "/dev/sdb1", "rw"), (source.path.parent, "btrfs", "/dev/sdc1", "rw"))
    assert codes(list(findings([source._replace(size=2**60)], target, "auto", root))) == [
        "insufficient_space"
    ]
    root = mounted((target, "btrfs", "/dev/sdb1", "rw"), (source.path.parent, "btrfs", "/dev/sdb1", "rw"))
    assert list(findings([source._replace(size=2**60)], target, "auto", root)) == []


def test_a_link_is_as_far_away_as_what_it_leads_to(source, target, mounted, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(source.path)
    root = mounted((tmp_path, "btrfs", "/dev/sdb1", "rw"), (source.path.parent, "btrfs", "/dev/sdc1", "rw"))
    large = NewFile(link, 2**60, "link.safetensors")
    assert codes(list(findings([large], target, "auto", root))) == ["insufficient_space"]


def test_a_disk_that_takes_no_more_files_is_said(source, target, mounted, monkeypatch):
    real = os.statvfs(target)
    values = list(real)
    values[7] = 3  # f_favail
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    with pytest.raises(InsufficientSpaceError, match="only 3 more files"):
        preflight([source], target, "copy", mounted())


@pytest.mark.parametrize("way", ["move", "adopt"])
def test_a_move_to_another_mount_is_said_to_be_a_copy(source, target, mounted, way):
    root = mounted((target, "ext4", "/dev/sdb1", "rw"))
    [warning] = preflight([source], target, way, root)
    assert (warning.code, warning.error) == ("cross_filesystem", None)
    assert "copied and verified" in warning.message
    assert preflight([source], target, "copy", root) == []


def test_a_read_only_filesystem_is_refused(source, target, mounted):
    root = mounted((target, "ext4", "/dev/sdb1", "ro"))
    with pytest.raises(StorageError, match="read-only filesystem"):
        preflight([source], target, "copy", root)
    root = mounted((source.path.parent, "iso9660", "/dev/sr0", "ro"))
    assert preflight([source], target, "copy", root) == []
    with pytest.raises(StorageError, match=r"read-only filesystem.*import a copy"):
        preflight([source], target, "move", root)


@pytest.mark.parametrize("fstype", ["ntfs3", "fuseblk", "ntfs"])
def test_a_windows_drive_that_became_read_only_says_how_to_mend_it(source, target, mounted, fstype):
    root = mounted((target, fstype, "/dev/sdb1", "ro"))
    with pytest.raises(StorageError, match=r"chkdsk /f.*ntfsfix"):
        preflight([source], target, "copy", root)
    assert codes(list(findings([source], target, "copy", root))) == ["ntfs_dirty"]


@pytest.mark.parametrize(("state", "expected"), [("dirty", ["ntfs_dirty"]), ("clean", [])])
def test_the_kernels_own_word_on_a_windows_drive_counts(source, target, mounted, state, expected):
    root = mounted((target, "ntfs3", "/dev/sdb1", "rw"))
    volinfo = root / "proc/fs/ntfs3/sdb1/volinfo"
    volinfo.parent.mkdir(parents=True)
    volinfo.write_text(f"ntfs3.1\n4096\n2000\n100\n12\nclean\n{state}\n")
    assert codes(preflight([source], target, "copy", root)) == expected


def test_a_windows_drive_that_was_mounted_read_only_on_purpose_is_not_called_dirty(source, target, mounted):
    root = mounted((target, "ntfs3", "/dev/sdb1", "ro"))
    volinfo = root / "proc/fs/ntfs3/sdb1/volinfo"
    volinfo.parent.mkdir(parents=True)
    volinfo.write_text("ntfs3.1\n4096\n2000\n100\n12\nclean\nclean\n")
    with pytest.raises(StorageError, match="read-only filesystem"):
        preflight([source], target, "copy", root)


@pytest.fixture
def refused(monkeypatch) -> Callable[[Path], None]:
    """Take a permission away, from root as well."""

    def refuse(*paths: Path) -> None:
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, *more: Path(path) not in paths and real(path, *more))

    return refuse


def test_permissions_on_the_target_the_file_and_its_folder(source, target, mounted, refused):
    root = mounted()
    refused(target)
    with pytest.raises(StorageError, match=f"{target} is read-only for this user"):
        preflight([source], target, "copy", root)
    refused(source.path)
    with pytest.raises(StorageError, match=f"No permission to read {source.path}"):
        preflight([source], target, "in-place", root)


def test_a_file_that_could_not_be_taken_away_is_not_moved(source, target, mounted, refused):
    refused(source.path.parent)
    with pytest.raises(StorageError, match="import a copy"):
        preflight([source], target, "move", mounted())
    assert preflight([source], target, "copy", mounted()) == []


def test_a_file_of_another_user_in_a_shared_folder_is_not_moved(source, target, mounted, monkeypatch):
    source.path.parent.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(StorageError, match=r"another user.*import a copy"):
        preflight([source], target, "move", mounted())
    source.path.parent.chmod(0o777)
    assert preflight([source], target, "move", mounted()) == []


def test_a_source_that_is_gone_is_an_os_error(source, target, mounted):
    source.path.unlink()
    with pytest.raises(FileNotFoundError):
        preflight([source], target, "copy", mounted())


def test_fat_holds_no_file_of_four_gigabytes(source, target, mounted, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2**50))
    root = mounted((target, "vfat", "/dev/sdb1", "rw"))
    assert preflight([source._replace(size=2**32 - 1)], target, "copy", root) == []
    with pytest.raises(StorageError, match=r"4\.00 GiB.*FAT.*exFAT"):
        preflight([source._replace(size=2**32)], target, "copy", root)
    root = mounted((target, "exfat", "/dev/sdb1", "rw"))
    assert preflight([source._replace(size=2**32)], target, "copy", root) == []


@pytest.mark.parametrize("fstype", ["vfat", "exfat"])
def test_what_lies_on_a_drive_without_links_is_not_adopted(source, target, mounted, fstype):
    root = mounted((source.path.parent, fstype, "/dev/sdb1", "rw"))
    with pytest.raises(StorageError, match=rf"{fstype}.*cannot hold links.*Move or copy it instead"):
        preflight([source], target, "adopt", root)
    assert codes(preflight([source], target, "move", root)) == ["cross_filesystem"]


def test_names_that_are_too_long_for_the_place(source, target, mounted, monkeypatch):
    root = mounted()
    with pytest.raises(StorageError, match=r"has 266 bytes.*can have 255"):
        preflight([source._replace(name=f"a/{'x' * 266}")], target, "copy", root)
    with pytest.raises(StorageError, match=r"longer than 4096 bytes"):
        preflight([source._replace(name="/".join(["写" * 80] * 20))], target, "copy", root)
    monkeypatch.setattr(os, "pathconf", lambda _, what: 143 if what == "PC_NAME_MAX" else 4096)
    with pytest.raises(StorageError, match="can have 143"):
        preflight([source._replace(name="x" * 144)], target, "copy", root)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "read-only filesystem"),
        (errno.EFBIG, "FAT32"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ENOSPC, "became full"),
        (errno.EDQUOT, "became full"),
        (errno.EACCES, "No permission"),
        (errno.EIO, "Check the drive"),
    ],
)
def test_what_the_system_refuses_later_is_said_as_clearly(tmp_path, number, words):
    assert words in storage_error(OSError(number, os.strerror(number)), tmp_path / "x").message


# Sandboxes


def test_a_flatpak_names_the_folders_it_sees(tmp_path):
    (tmp_path / ".flatpak-info").write_text(
        "[Application]\nname=org.comfy.ComfyUI\n[Context]\nfilesystems=xdg-download;/mnt/models:ro;!home;\n"
    )
    found = sandbox(tmp_path, {})
    assert (found.kind, found.visible) == ("flatpak", ("xdg-download", "/mnt/models:ro"))
    assert "flatpak override --user --filesystem=FOLDER org.comfy.ComfyUI" in found.message
    (tmp_path / ".flatpak-info").write_text("no sections")
    assert "no folder of this machine" in sandbox(tmp_path, {}).message


def test_a_snap_says_how_to_see_other_drives(tmp_path):
    found = sandbox(
        tmp_path,
        {
            "SNAP": "/snap/comfy/1",
            "SNAP_NAME": "comfy",
            "HOME": "/home/me/snap/comfy/1",
            "SNAP_REAL_HOME": "/home/me",
        },
    )
    assert found.kind == "snap"
    assert "/home/me (but nothing hidden" in found.message
    assert "snap connect comfy:removable-media" in found.message


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".dockerenv", ""),
        ("run/.containerenv", 'engine="podman"\n'),
        ("proc/1/cgroup", "0::/kubepods/burstable/pod1\n"),
    ],
)
def test_a_container_names_the_folders_given_to_it(mounted, file, text):
    root = mounted(
        ("/", "overlay", "overlay", "rw"),
        ("/proc", "proc", "proc", "rw"),
        ("/tmp", "tmpfs", "tmpfs", "rw"),
        ("/etc/hosts", "ext4", "/dev/sda1", "rw"),
        ("/usr/bin/nvidia-smi", "ext4", "/dev/sda1", "ro"),
        ("/models", "ext4", "/dev/sdb1", "rw"),
        ("/etcetera", "ext4", "/dev/sdb1", "rw"),
    )
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(text)
    found = sandbox(root, {})
    assert (found.kind, found.visible) == ("container", ("/models", "/etcetera"))
    assert "docker run -v" in found.message


def test_outside_a_sandbox_nothing_is_said(mounted):
    root = mounted()
    (root / "proc/1").mkdir()
    (root / "proc/1/cgroup").write_text("0::/init.scope\n")
    assert sandbox(root, {"SNAP": ""}) is None


def test_a_library_inside_a_container_is_warned_of(source, target, mounted):
    root = mounted(("/", "overlay", "overlay", "rw"))
    (root / ".dockerenv").touch()
    assert codes(preflight([source], target, "copy", root)) == ["sandboxed", "container_layer"]
    root = mounted(("/", "overlay", "overlay", "rw"), (target, "ext4", "/dev/sdb1", "rw"))
    assert codes(preflight([source], target, "copy", root)) == ["sandboxed"]


def test_a_sandbox_with_many_folders_names_some():
    assert Sandbox("container", tuple(f"/m{number}" for number in range(50)), "").message.count("/m") == 12


# A real filesystem


def test_a_real_drive_that_is_too_small(source, tmpfs):
    point = tmpfs("size=80m")
    assert "insufficient_space" not in codes(preflight([source], point, "copy"))
    with pytest.raises(InsufficientSpaceError):
        preflight([source._replace(size=20 * 1024 * 1024)], point, "copy")
    assert "cross_filesystem" in codes(preflight([source], point, "move"))


def test_a_real_drive_that_takes_no_more_files(source, tmpfs):
    with pytest.raises(InsufficientSpaceError, match="more files"):
        preflight([source], tmpfs("size=80m,nr_inodes=4"), "copy")


def test_a_real_drive_that_is_read_only(source, tmpfs):
    point = tmpfs("ro")
    with pytest.raises(StorageError, match="read-only filesystem"):
        preflight([source], point / "library", "copy")
    with pytest.raises(StorageError, match="read-only filesystem"):
        require_writable(point)
