"""Editing many models at once, and edits that meet deletions, other processes and missing drives."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest

from model_librarian.core.errors import InvalidRequestError, NotFoundError, StorageError
from model_librarian.core.library import BulkEdit, Library, ModelQuery
from model_librarian.core.library import metadata as metadata_module


@pytest.fixture
def many(librarian, scan, make_model, models_folder, owned):
    for number in range(7):
        make_model(models_folder / "loras" / f"m{number}.safetensors")
    scan()
    return [model.model_id for model in librarian.models.search(ModelQuery(limit=500)).models]


def events_of(librarian):
    told = []
    librarian.events.subscribe(lambda name, record: told.append((name, record)))
    return told


def written(librarian, model_id):
    return json.loads((librarian.library.root / model_id / "metadata.json").read_text())


def test_tags_are_added_and_removed_and_each_model_keeps_its_own(librarian, many):
    librarian.library.edit(many[0], {"tags": ["mine", "old"]})
    told = events_of(librarian)
    result = librarian.library.edit_many(
        many, BulkEdit(fields={"base_model": "SDXL 1.0"}, add_tags=["new"], remove_tags=["old"])
    )
    assert (result.edited, result.failed) == (len(many), 0)
    assert [outcome.model_id for outcome in result.models] == many
    assert librarian.library.model(many[0]).tags == ["mine", "new"]
    for model_id in many:
        model = librarian.library.model(model_id)
        assert (model.base_model, model.match_source) == ("SDXL 1.0", "manual")
        assert "new" in written(librarian, model_id)["tags"]
    assert librarian.models.search(ModelQuery(tag=["new"])).total == len(many)
    assert librarian.models.search(ModelQuery(tag=["old"])).total == 0
    changes = [record for name, record in told if name == "librarian.library"]
    assert [sorted(change.changed) for change in changes] == [sorted(many)]


def test_a_scan_finds_nothing_to_do_after_a_bulk_edit(librarian, many, scan):
    librarian.library.edit_many(many, BulkEdit(add_tags=["new"]))
    assert scan()["models_indexed"] == 0
    assert scan("deep")["models_indexed"] == 0


def test_what_cannot_be_edited_is_said_and_the_others_are(librarian, many, monkeypatch):
    real = metadata_module.write_atomic

    def full(path, data, **more):
        if many[2] in str(path):
            raise OSError(28, "No space left on device")
        real(path, data, **more)

    monkeypatch.setattr(metadata_module, "write_atomic", full)
    result = librarian.library.edit_many(["no/such/model", *many], BulkEdit(add_tags=["new"]))
    failed = {outcome.model_id: outcome.code for outcome in result.models if not outcome.edited}
    assert failed == {"no/such/model": "not_found", many[2]: "insufficient_space"}
    assert result.edited == len(many) - 1
    assert librarian.models.search(ModelQuery(tag=["new"])).total == len(many) - 1


@pytest.mark.parametrize(
    "edit",
    [
        {},
        {"fields": {"model_id": "x"}},
        {"fields": {"tags": "no list"}},
        {"fields": {"tags": ["a"]}, "add_tags": ["b"]},
        {"add_tags": [" "]},
    ],
)
def test_a_wrong_edit_changes_nothing(librarian, many, edit):
    with pytest.raises(InvalidRequestError):
        librarian.library.edit_many(many, BulkEdit.model_validate(edit))
    assert not (librarian.library.root / "in-place").exists()


def test_two_processes_editing_two_fields_lose_neither(librarian, many, surroundings, tmp_path):
    """The other process has an index of its own, which knows nothing of the first edit."""
    other = Library(librarian.library.root, tmp_path / "other" / "models.db", librarian.events)
    from model_librarian.core.jobs import Job, JobContext

    folders = librarian.places.indexed_in_place()
    other.quick_scan(folders, JobContext(Job(id="x", kind="scan"), lambda _: None))
    known = [model_id for model_id in many if other.index.contains(model_id)]
    assert known
    threads = [
        threading.Thread(target=librarian.library.edit_many, args=(known, BulkEdit(fields={"notes": "one"}))),
        threading.Thread(target=other.edit_many, args=(known, BulkEdit(add_tags=["two"]))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    for model_id in known:
        content = written(librarian, model_id)
        assert (content["notes"], content["tags"]) == ("one", ["two"])


# Editing what is being deleted


def test_an_edit_brings_no_deleted_owned_model_back(librarian, owned, monkeypatch):
    folder = librarian.library.root / owned
    real = librarian.library.metadata.read

    def deleted_just_now(model_id):
        shutil.rmtree(folder)
        return real(model_id)

    monkeypatch.setattr(librarian.library.metadata, "read", deleted_just_now)
    with pytest.raises(NotFoundError):
        librarian.models.edit(owned, {"notes": "too late"})
    assert not folder.exists()


def test_an_edit_that_waits_while_its_model_is_deleted_leaves_nothing(
    librarian, scan, make_model, models_folder
):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    [model_id] = librarian.library.index.all_ids()
    failures = []

    def edit():
        try:
            librarian.models.edit(model_id, {"notes": "too late"})
        except NotFoundError as error:
            failures.append(error)

    waiting = threading.Thread(target=edit)
    with librarian.library.metadata.locked():
        waiting.start()
        path.unlink()
        librarian.library.forget([model_id])
    waiting.join()
    assert len(failures) == 1
    assert not (librarian.library.root / model_id).exists()


def test_an_edit_goes_to_where_the_model_lies_whatever_its_file_says(librarian, owned, scan):
    root = librarian.library.root
    moved = (root / owned).with_name("elsewhere")
    (root / owned).rename(moved)
    scan()
    model_id = moved.relative_to(root).as_posix()
    librarian.models.edit(model_id, {"notes": "here"})
    assert json.loads((moved / "metadata.json").read_text())["notes"] == "here"
    assert not (root / owned).exists()


def test_nothing_is_made_where_a_missing_drive_would_be(librarian, owned, many):
    root = librarian.library.root
    away = root.with_name("unplugged")
    root.rename(away)
    with pytest.raises(StorageError, match="Connect its drive"):
        librarian.models.edit(owned, {"notes": "x"})
    result = librarian.library.edit_many(many, BulkEdit(add_tags=["x"]))
    assert (result.edited, result.failed) == (0, len(many))
    assert all("Connect its drive" in outcome.message for outcome in result.models)
    assert not root.exists()
    root.mkdir()  # the empty folder that a drive is mounted on
    with pytest.raises(StorageError, match="Connect its drive"):
        librarian.models.edit(owned, {"notes": "x"})
    assert os.listdir(root) == []
    root.rmdir()
    away.rename(root)
    librarian.models.edit(owned, {"notes": "x"})
