"""Folders that can only be read work, too; a place where nothing can be made is said, not fatal."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from model_librarian.core.errors import StorageError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.storage.disk import Presence


@pytest.fixture
def read_only(monkeypatch):
    """Make a folder read-only for everybody, root as well: what would write there fails with EROFS."""

    def protect(folder: Path) -> None:
        def guard(module, name, position=0, writes=lambda *_: True):
            real = getattr(module, name)

            def guarded(*arguments, **more):
                path = arguments[position] if len(arguments) > position else None
                below = isinstance(path, (str, os.PathLike)) and str(path).startswith(str(folder))
                if below and writes(*arguments):
                    raise OSError(errno.EROFS, "Read-only file system", str(path))
                return real(*arguments, **more)

            monkeypatch.setattr(module, name, guarded)

        guard(
            os, "open", writes=lambda _path, flags, *_: bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        )
        guard(os, "access", writes=lambda *_: False)
        for name in ("mkdir", "unlink", "rmdir", "replace"):
            guard(os, name)
        for name in ("rename", "link", "symlink"):
            guard(os, name, position=1)

    return protect


def test_a_read_only_library_is_searched_and_loaded_from(
    librarian, finished, surroundings, make_model, downloads, read_only
):
    source = make_model(downloads / "up.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(source)]}]})
    [model_id] = finished(librarian.imports.start(request)).result["imported"]
    librarian.close()
    (surroundings.data_dir / "models.db").unlink()
    read_only(surroundings.library_root)

    again = Librarian(surroundings)
    again.start()
    again.jobs.wait(again.scans.last().id)
    assert again.models.find(model_id).is_file()
    assert again.models.details(model_id).files[0].exists
    with pytest.raises(StorageError, match="read-only"):
        again.models.edit(model_id, {"notes": "no"})
    other = make_model(downloads / "other.safetensors")
    refused = again.imports.start(ImportRequest.model_validate({"items": [{"paths": [str(other)]}]}))
    assert again.jobs.wait(refused.id).state == "failed"
    assert other.exists()
    again.close()


def test_where_no_library_can_be_made_another_place_is_used_and_said(surroundings, read_only):
    read_only(surroundings.library_root)
    librarian = Librarian(surroundings)
    assert librarian.library.root == surroundings.data_dir / "meanwhile" / "model-library"
    [warning] = librarian.status().warnings
    assert warning.code == "library_elsewhere"
    assert str(surroundings.library_root) in warning.message
    librarian.close()


def test_a_library_on_a_missing_drive_is_not_made_anew(
    librarian, finished, surroundings, make_model, downloads, models_folder
):
    source = make_model(downloads / "up.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(source)]}], "link": True})
    [model_id] = finished(librarian.imports.start(request)).result["imported"]
    librarian.close()
    surroundings.library_root.rename(surroundings.library_root.with_name("unplugged"))
    surroundings.library_root.mkdir()  # the mount point

    without = Librarian(surroundings)
    without.start()
    without.jobs.wait(without.scans.last().id)
    [warning] = without.status().warnings
    assert "Connect its drive" in warning.message
    plan = without.links.preview()
    assert plan.broken_to_remove == plan.orphaned_to_remove == []
    assert without.links.uninstall("comfyui").links_removed == 0
    without.close()
    assert list(surroundings.library_root.iterdir()) == []
    assert (models_folder / "upscale_models" / "up.safetensors").is_symlink()

    surroundings.library_root.rmdir()
    surroundings.library_root.with_name("unplugged").rename(surroundings.library_root)
    again = Librarian(surroundings)
    assert again.status().warnings == []
    assert again.models.find(model_id).is_file()
    assert [link.state for link in again.links.registered()] == ["ok"]
    again.close()


def test_a_drive_that_does_not_answer_keeps_nobody_waiting(monkeypatch):
    answers, asked, found = threading.Event(), [], True

    def look() -> bool:
        asked.append(True)
        answers.wait(30)
        return found

    monkeypatch.setattr(Presence, "PATIENCE_S", 0.01)
    is_there = Presence(look)
    assert [is_there(), is_there()] == [True, True]  # nothing else is known
    assert len(asked) == 1  # no second thread hangs there, too
    found = False
    answers.set()
    monkeypatch.setattr(Presence, "PATIENCE_S", 30)
    assert not is_there()


def test_a_library_whose_drive_goes_meanwhile_is_told(librarian):
    root = librarian.library.root
    assert librarian.status().warnings == []
    root.rename(root.with_name("unplugged"))
    [warning] = librarian.status().warnings
    assert warning.code == "library_unreachable"
    assert str(root) in warning.message
    root.with_name("unplugged").rename(root)
    assert librarian.status().warnings == []


def test_a_drive_that_only_fails_is_told(librarian, monkeypatch):
    mark, stat = librarian.library.root / "library.json", os.stat

    def failing(path, *arguments, **options):
        if isinstance(path, (str, Path)) and Path(path) == mark:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", failing)
    [warning] = librarian.status().warnings
    assert warning.code == "library_unreachable"
    monkeypatch.undo()
    assert librarian.status().warnings == []
