"""Which kind of link is made where: Windows, NTFS under Linux, filesystems without links, two drives.

Systems that are not here are stood in for by what their calls answer.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import types
from pathlib import Path

import pytest

from model_librarian.core.errors import StorageError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import LinkChoice, links
from model_librarian.core.linking.links import Platform, destination, leads_to, remove_link, state_of


@pytest.fixture
def library(tmp_path) -> Path:
    (tmp_path / "library" / "a" / "b" / "c").mkdir(parents=True)
    return tmp_path / "library"


@pytest.fixture
def source(library) -> Path:
    path = library / "a" / "b" / "c" / "x.safetensors"
    path.write_bytes(b"bytes")
    return path


@pytest.fixture
def target(tmp_path) -> Path:
    (tmp_path / "app" / "loras").mkdir(parents=True)
    return tmp_path / "app" / "loras" / "x.safetensors"


@pytest.fixture
def platform(library) -> Platform:
    return Platform(library)


@pytest.fixture
def windows(monkeypatch):
    """Junctions as Windows makes them; here they are symlinks with a mark."""
    made: list[str] = []

    def create_junction(source: str, target: str) -> None:
        made.append(target)
        os.symlink(source, target)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "_winapi", types.SimpleNamespace(CreateJunction=create_junction))
    return made


def refuse_symlinks(monkeypatch, number: int = errno.EPERM) -> list[object]:
    tried: list[object] = []

    def refuse(*arguments, **_):
        tried.append(arguments)
        raise OSError(number, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    return tried


def test_on_one_filesystem_it_is_a_relative_symlink(platform, source, target):
    assert platform.make(source, target) == ("symlink", False)
    assert os.readlink(target) == "../../library/a/b/c/x.safetensors"
    assert target.read_bytes() == b"bytes"


def test_it_leads_right_from_folders_inside_and_around_the_library(platform, source, library, tmp_path):
    for folder in (tmp_path, library / "a", library / "a" / "b" / "c", library / "z" / "y"):
        folder.mkdir(parents=True, exist_ok=True)
        platform.make(source, folder / "link")
        assert (folder / "link").resolve() == source


def test_a_source_outside_the_library_too(platform, tmp_path, target):
    outside = tmp_path / "library-2" / "x"
    outside.parent.mkdir()
    outside.write_bytes(b"x")
    platform.make(outside, target)
    assert os.readlink(target) == "../../library-2/x"


def test_across_filesystems_it_is_absolute(platform, source, target, monkeypatch):
    folder = platform.look_at(target.parent)._replace(device=-1)
    assert platform.make(source, target, folder) == ("symlink", True)
    assert os.readlink(target) == str(source)


@pytest.mark.parametrize("kind", ["ntfs3", "fuseblk", "ntfs"])
def test_on_ntfs_outside_windows_it_is_a_hard_link(platform, source, target, monkeypatch, kind):
    monkeypatch.setattr(links, "filesystem_type", lambda _path: kind)
    assert platform.make(source, target) == ("hardlink", False)
    assert target.samefile(source)
    assert not target.is_symlink()
    assert state_of(target, source, "hardlink") == "ok"


def test_on_exfat_by_fuse_hard_links_are_refused_and_nothing_is_left(platform, source, target, monkeypatch):
    monkeypatch.setattr(links, "filesystem_type", lambda _path: "fuseblk")
    refuse_symlinks(monkeypatch)

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match="neither symlinks nor hard links"):
        platform.make(source, target)
    assert os.listdir(target.parent) == []


def test_a_folder_on_ntfs_is_a_symlink(platform, source, target, monkeypatch):
    monkeypatch.setattr(links, "filesystem_type", lambda _path: "ntfs3")
    assert platform.make(source.parent, target) == ("symlink", False)


def test_windows_with_developer_mode_makes_symlinks(platform, source, target, windows):
    assert platform.make(source, target)[0] == "symlink"
    assert platform.make(source.parent, target.with_name("folder"))[0] == "symlink"
    assert windows == []


def test_windows_without_it_makes_hard_links_and_junctions_and_asks_once(
    platform, source, target, windows, monkeypatch
):
    real = os.symlink
    tried = refuse_symlinks(monkeypatch)
    assert platform.make(source, target) == ("hardlink", False)
    monkeypatch.setattr(os, "symlink", real)
    assert platform.make(source, target.with_name("two")) == ("hardlink", False)
    assert platform.make(source.parent, target.with_name("folder"))[0] == "junction"
    assert windows == [str(target.with_name("folder"))]
    assert len(tried) == 1


def test_windows_on_two_drives_says_what_to_do(platform, source, target, windows, monkeypatch):
    refuse_symlinks(monkeypatch)
    folder = platform.look_at(target.parent)._replace(device=-1)
    with pytest.raises(StorageError, match=r"Developer Mode.*extra_model_paths"):
        platform.make(source, target, folder)
    assert os.listdir(target.parent) == []


def test_where_no_link_can_be_made_comfyui_is_told_of_the_models_folder(
    surroundings, make_model, downloads, models_folder, monkeypatch
):
    """Windows without Developer Mode, and the library on another drive."""
    told: list[tuple[str, Path]] = []
    librarian = Librarian(surroundings)
    refuse_symlinks(monkeypatch)

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    request = {"items": [{"paths": [str(make_model(downloads / "up.safetensors"))], "mode": "copy"}]}
    imported = librarian.jobs.wait(librarian.imports.start(ImportRequest.model_validate(request)).id)
    folder = librarian.library.main_path(imported.result["imported"][0]).parent

    def sync() -> dict:
        plan = librarian.links.preview()
        return librarian.jobs.wait(librarian.links.apply(LinkChoice(plan_id=plan.plan_id)).id).result

    result = sync()
    assert (result["links_created"], result["registered"], len(result["errors"])) == (0, 0, 1)
    librarian.linker.folders.attach(lambda kind, path: told.append((kind, path)))
    result = sync()
    assert (result["registered"], result["errors"]) == (1, [])
    assert str(folder) in result["notes"][0]
    assert told == [("upscale_models", folder)]
    assert librarian.links.preview().total_actions == 0
    assert os.listdir(models_folder / "upscale_models") == []
    librarian.close()

    again = Librarian(surroundings)
    again.linker.folders.attach(lambda kind, path: told.append((kind, path)))
    assert told == [("upscale_models", folder)] * 2
    again.links.uninstall_all()
    again.close()
    last = Librarian(surroundings)
    last.linker.folders.attach(lambda kind, path: told.append((kind, path)))
    assert len(told) == 2
    last.close()


def test_a_full_disk_is_no_reason_for_another_kind(platform, source, target, monkeypatch):
    refuse_symlinks(monkeypatch, errno.ENOSPC)
    with pytest.raises(StorageError, match="full"):
        platform.make(source, target)
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "junction"])
def test_what_is_there_is_never_replaced(platform, source, target, monkeypatch, windows, kind):
    if kind != "symlink":
        refuse_symlinks(monkeypatch)
    target.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        platform.make(source.parent if kind == "junction" else source, target)
    assert target.read_bytes() == b"theirs"


def test_a_junction_is_looked_at_and_removed_as_a_link(source, target, monkeypatch):
    """As Windows shows a junction: a folder with a reparse tag, and no symlink."""
    os.symlink(source.parent, target)
    real = Path.lstat

    def lstat(path: Path):
        status = real(path)
        if path != target:
            return status
        return types.SimpleNamespace(st_mode=stat.S_IFDIR | 0o755, st_reparse_tag=0xA0000003)

    monkeypatch.setattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", 0xA0000003, raising=False)
    monkeypatch.setattr(Path, "lstat", lstat)
    assert links.is_link(target)
    assert leads_to(target, source.parent)
    assert state_of(target, source.parent, "junction") == "ok"
    assert state_of(target, target.parent, "junction") == "changed"
    monkeypatch.undo()
    assert remove_link(target, source.parent, "junction")
    assert source.is_file()
    assert os.listdir(target.parent) == []


def test_where_a_link_leads_is_read_as_text(target, tmp_path):
    os.symlink("../../nowhere/./x/../y", target)
    assert destination(target) == tmp_path / "nowhere" / "y"
    assert destination(target, tmp_path / "p" / "q" / "r") == tmp_path / "p" / "nowhere" / "y"
    assert destination(target.with_name("none")) is None


def test_the_type_of_a_filesystem_is_that_of_the_nearest_mount(monkeypatch):
    mounts = [("/", "ext4"), ("/media/usb", "ntfs3"), ("/media/usb2", "exfat")]
    partitions = [types.SimpleNamespace(mountpoint=place, fstype=kind) for place, kind in mounts]
    monkeypatch.setattr(links.psutil, "disk_partitions", lambda **_: partitions)
    found = [links.filesystem_type(path) for path in ("/media/usb/a", "/media/usb2", "/media/usb3", "/x")]
    assert found == ["ntfs3", "exfat", "ext4", "ext4"]
