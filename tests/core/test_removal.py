"""Deleting: what is the model's goes, what is the person's stays, and nothing goes by mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_librarian.core.errors import ConflictError, InvalidRequestError, OutsideRootsError, StorageError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian


@pytest.fixture
def imported(librarian, finished, make_model, downloads):
    """Import a model; answers its id."""
    item = {"paths": [str(make_model(downloads / "up.safetensors"))]}
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": [item], "link": True})))
    return job.result["imported"][0]


@pytest.fixture
def trash(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "trash"
    folder.mkdir()
    monkeypatch.setattr(
        "model_librarian.core.services.removal.to_trash", lambda path: path.rename(folder / path.name)
    )
    return folder


@pytest.fixture
def no_trash(monkeypatch) -> None:
    def refuse(path):
        raise StorageError(f"{path} cannot go to the trash.")

    monkeypatch.setattr("model_librarian.core.services.removal.to_trash", refuse)


def place(librarian: Librarian) -> Path:
    return librarian.linker.apps[0].folders[-1].path.parent / "upscale_models" / "up.safetensors"


def test_for_good_takes_the_folder(librarian, imported):
    assert librarian.models.delete(imported, "permanent").files_removed == 1
    assert not (librarian.library.root / imported).exists()
    assert set(os.listdir(librarian.library.root / ".incoming")) == {"metadata.lock", "placed"}


@pytest.mark.parametrize("fate", ["permanent", "trash"])
def test_what_somebody_put_beside_a_model_stays(librarian, imported, trash, fate):
    folder = librarian.library.root / imported
    (folder / "notes.txt").write_text("mine")
    (folder / "samples").mkdir()
    (folder / "samples" / "one.png").write_bytes(b"picture")
    (folder / "theirs").symlink_to(folder.parent)
    librarian.models.delete(imported, fate)
    assert sorted(os.listdir(folder)) == ["notes.txt", "samples", "theirs"]
    assert (folder / "samples" / "one.png").read_bytes() == b"picture"
    assert sorted(os.listdir(trash)) == ([] if fate == "permanent" else ["metadata.json", "up.safetensors"])


def test_a_folder_that_cannot_be_read_is_not_taken_for_ours(librarian, imported, monkeypatch):
    folder = librarian.library.root / imported
    (folder / "notes.txt").write_text("mine")
    real = os.scandir

    def refuse(path):
        if Path(path) == folder:
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageError):
        librarian.models.delete(imported, "permanent")
    assert (folder / "notes.txt").exists()
    assert (folder / "up.safetensors").exists()


def test_without_a_trash_nothing_goes_and_the_model_stays_listed(librarian, imported, no_trash):
    with pytest.raises(StorageError):
        librarian.models.delete(imported, "trash")
    assert librarian.library.main_path(imported).exists()
    assert librarian.library.index.contains(imported)


def test_a_model_reached_through_a_link_is_not_deleted_through_it(librarian, imported, finished, tmp_path):
    folder = librarian.library.root / imported
    folder.rename(tmp_path / "far")
    folder.symlink_to(tmp_path / "far")
    finished(librarian.scans.start("quick"))
    for fate in ("permanent", "trash"):
        with pytest.raises(InvalidRequestError, match="through a link"):
            librarian.models.delete(imported, fate)
    assert (tmp_path / "far" / "up.safetensors").exists()
    assert folder.is_symlink()


@pytest.mark.parametrize("fate", ["permanent", "trash"])
def test_a_file_outside_the_roots_is_never_deleted_however_it_is_reached(
    librarian, finished, make_model, models_folder, tmp_path, fate
):
    far = make_model(tmp_path / "store" / "ae.safetensors")
    (models_folder / "vae" / "ae.safetensors").symlink_to(far)
    finished(librarian.scans.start("quick"))
    [model_id] = librarian.library.index.all_ids()
    with pytest.raises(OutsideRootsError, match="by hand"):
        librarian.models.delete(model_id, fate)
    assert far.exists()
    assert librarian.library.index.contains(model_id)


@pytest.mark.parametrize("fate", ["permanent", "trash"])
def test_the_link_by_which_an_app_had_a_file_goes_with_it(
    librarian, finished, make_model, models_folder, downloads, fate
):
    path = make_model(downloads / "ae.safetensors")
    link = models_folder / "vae" / "my ae.safetensors"
    link.symlink_to(path)
    finished(librarian.scans.start("quick"))
    [model_id] = librarian.library.index.all_ids()
    assert librarian.models.delete(model_id, fate).files_removed == 1
    assert not path.exists()
    assert not link.is_symlink()
    finished(librarian.scans.start("quick"))
    assert not librarian.library.index.all_ids()


def test_a_file_that_was_replaced_since_it_was_listed_is_not_deleted(
    librarian, finished, make_model, models_folder
):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    finished(librarian.scans.start("quick"))
    [model_id] = librarian.library.index.all_ids()
    path.write_bytes(b"something else by now")
    with pytest.raises(ConflictError, match="changed since"):
        librarian.models.delete(model_id, "permanent")
    assert path.read_bytes() == b"something else by now"


def test_a_hard_link_elsewhere_keeps_the_bytes(librarian, finished, make_model, models_folder, tmp_path):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    data = path.read_bytes()
    os.link(path, tmp_path / "elsewhere")
    finished(librarian.scans.start("quick"))
    [model_id] = librarian.library.index.all_ids()
    librarian.models.delete(model_id, "permanent")
    assert (tmp_path / "elsewhere").read_bytes() == data


def test_a_library_that_is_not_there_keeps_its_links_and_rows(librarian, imported, tmp_path):
    link = place(librarian)
    librarian.library.root.rename(tmp_path / "unplugged")
    with pytest.raises(StorageError):
        librarian.models.delete(imported, "permanent")
    assert link.is_symlink()
    assert librarian.library.index.contains(imported)


def test_a_model_whose_folder_is_gone_can_leave_the_list(librarian, imported):
    import shutil

    shutil.rmtree(librarian.library.root / imported)
    assert librarian.models.delete(imported, "trash").files_removed == 0
    assert not librarian.library.index.contains(imported)
    assert not os.path.lexists(place(librarian))


def test_taken_off_the_list_twice_keeps_both_records(librarian, imported, finished):
    folder = librarian.library.root / imported
    librarian.models.delete(imported, "keep")
    (folder / "metadata.json").write_bytes((folder / "metadata.removed.json").read_bytes())
    finished(librarian.scans.start("quick"))
    librarian.models.delete(imported, "keep")
    assert len(list(folder.glob("metadata.removed.json*"))) == 2
