from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from model_librarian.core.errors import InvalidRequestError, OutsideRootsError, SourceChangedError
from model_librarian.core.storage import file_manager
from model_librarian.core.storage.atomic import fsync_directory, remove_tree, rename_new, write_atomic
from model_librarian.core.storage.file_manager import NoDesktopError, has_file_manager, show_file
from model_librarian.core.storage.roots import AllowedRoots


def test_an_atomic_write_leaves_old_bytes_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.fixture
def roots(tmp_path: Path) -> AllowedRoots:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside2").mkdir()
    (tmp_path / "secret").write_text("secret")
    return AllowedRoots([tmp_path / "inside"])


def test_paths_inside_are_allowed(roots, tmp_path):
    assert roots.confine(str(tmp_path / "inside" / "a" / "b")) == tmp_path / "inside" / "a" / "b"
    assert roots.confine(str(tmp_path / "inside")) == tmp_path / "inside"


@pytest.mark.parametrize(
    "path", ["secret", "inside/../secret", "inside2/x", "inside/link", "inside/folder/secret", "."]
)
def test_paths_outside_are_refused(roots, tmp_path, path):
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "inside" / "folder").symlink_to(tmp_path)
    with pytest.raises(OutsideRootsError):
        roots.confine(str(tmp_path / path))


@pytest.mark.parametrize(
    "path", ["", "relative/path", "a\0b", "file:///etc/passwd", "~nobody-at-all/x", "/a\udcff", "\ud800"]
)
def test_what_is_no_full_path_is_refused(roots, path):
    with pytest.raises(InvalidRequestError):
        roots.confine(path)


def test_a_name_that_no_filesystem_takes_is_refused(roots, tmp_path):
    with pytest.raises(InvalidRequestError, match="too long"):
        roots.confine(str(tmp_path / "inside" / ("a" * 300)))


def test_what_was_opened_must_be_what_the_path_means(roots, tmp_path):
    path = tmp_path / "inside" / "file"
    path.write_text("one")
    opened = path.stat()
    roots.require_same(path, opened)
    path.rename(tmp_path / "inside" / "aside")
    path.write_text("two")
    with pytest.raises(SourceChangedError):
        roots.require_same(path, opened)
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(OutsideRootsError):
        roots.require_same(path, (tmp_path / "secret").stat())


@pytest.mark.parametrize("hard_links", [True, False])
@pytest.mark.parametrize("kind", ["file", "link", "broken", "folder"])
def test_a_rename_never_replaces_anything(tmp_path, monkeypatch, kind, hard_links):
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(1, "no hard links")))
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("source")
    if kind == "folder":
        target.mkdir()
    elif kind == "file":
        target.write_text("target")
    else:
        target.symlink_to(source if kind == "link" else tmp_path / "nowhere")
    before = target.lstat()
    with pytest.raises(FileExistsError):
        rename_new(source, target)
    assert (source.read_text(), target.lstat().st_ino) == ("source", before.st_ino)
    rename_new(target, tmp_path / "free")
    rename_new(source, target)
    assert sorted(os.listdir(tmp_path)) == ["free", "target"]


def test_a_filesystem_that_cannot_sync_folders_is_no_reason_to_fail(tmp_path, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    fsync_directory(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(OSError, match="I/O"):
        fsync_directory(tmp_path)


def test_removing_a_tree_leaves_what_its_links_lead_to(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("far")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "far")
    remove_tree(tmp_path / "tree")
    (tmp_path / "tree").symlink_to(tmp_path / "far")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == ["far"]
    assert (tmp_path / "far" / "file").read_text() == "far"


def test_what_is_there_stays_when_a_new_file_is_written(tmp_path):
    path = tmp_path / "model.yaml"
    write_atomic(path, b"new", replace=False)
    with pytest.raises(FileExistsError):
        write_atomic(path, b"newer", replace=False)
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["model.yaml"]


@pytest.mark.skipif(sys.platform != "linux", reason="the desktop of Linux")
class TestShowFile:
    @pytest.fixture
    def desktop(self, tmp_path, monkeypatch):
        """A desktop on which the programs given answer with the given status and write down what they are told."""
        told = tmp_path / "told"

        def make(**programs: int):
            folder = tmp_path / "programs"
            folder.mkdir()
            for name, status in programs.items():
                program = folder / name.replace("_", "-")
                program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" >> "{told}"\nexit {status}\n')
                program.chmod(0o755)
            monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
            monkeypatch.setenv("DISPLAY", ":0")
            return lambda: told.read_text().splitlines() if told.exists() else []

        return make

    def test_the_file_is_chosen_in_the_file_manager(self, desktop, tmp_path):
        told = desktop(gdbus=0, xdg_open=0)
        file = tmp_path / "it's a; $model.safetensors"
        file.touch()
        show_file(file)
        assert told()[0].endswith("/gdbus")
        assert told()[-2] == f"['{file.as_uri()}']" and "'" not in file.as_uri()
        assert not any(line.endswith("/xdg-open") for line in told())

    def test_else_its_folder_is_opened(self, desktop, tmp_path):
        told = desktop(gdbus=1, xdg_open=0)
        show_file(tmp_path / "model.safetensors")
        assert told()[-1] == str(tmp_path)

    def test_a_file_manager_that_stays_is_left_open(self, desktop, tmp_path, monkeypatch):
        desktop(gdbus=1)
        stays, closed = tmp_path / "programs" / "xdg-open", tmp_path / "closed"
        stays.write_text(
            f'#!/bin/sh\nwhile [ ! -e "{tmp_path}/close" ]; do sleep 0.01; done\ntouch "{closed}"\n'
        )
        stays.chmod(0o755)
        monkeypatch.setattr(file_manager, "_TIMEOUT_S", 0.05)
        show_file(tmp_path / "model.safetensors")
        assert not closed.exists()
        (tmp_path / "close").touch()
        until = time.monotonic() + 30
        while not closed.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert closed.exists()

    def test_a_desktop_that_does_neither(self, desktop, tmp_path):
        desktop(gdbus=1, xdg_open=3)
        with pytest.raises(NoDesktopError, match="Copy the path"):
            show_file(tmp_path / "model.safetensors")

    def test_no_desktop(self, tmp_path, monkeypatch):
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert not has_file_manager()
        with pytest.raises(NoDesktopError, match="no desktop"):
            show_file(tmp_path / "model.safetensors")
