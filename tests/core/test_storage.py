from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from model_librarian.core.errors import InvalidRequestError, OutsideRootsError, SourceChangedError
from model_librarian.core.storage.atomic import fsync_directory, remove_tree, rename_new, write_atomic
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
