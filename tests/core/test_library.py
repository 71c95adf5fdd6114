"""The index follows the disk: day one, renames, replacements, edits, damaged databases."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import pytest

from model_librarian.core.errors import InvalidRequestError, NotFoundError
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery
from model_librarian.core.library.schema import KEPT_CHANGES


def ids(librarian):
    return {
        model.official_name: model.model_id for model in librarian.models.search(ModelQuery(limit=500)).models
    }


def test_day_one_lists_what_is_there_and_touches_nothing(librarian, scan, make_model, models_folder):
    make_model(models_folder / "loras" / "characters" / "deep" / "flux_lora.safetensors")
    make_model(models_folder / "vae" / "ae.safetensors")
    (models_folder / "vae" / "put_vae_here").touch()
    (models_folder / "vae" / "readme.txt").write_text("no model")
    before = sorted(str(path) for path in models_folder.rglob("*"))
    result = scan()
    assert result["models_indexed"] == 2
    models = librarian.models.search(ModelQuery(sort="name")).models
    assert [(model.official_name, model.subtype, model.storage) for model in models] == [
        ("ae", "vae", "in-place"),
        ("flux_lora", "loras", "in-place"),
    ]
    assert sorted(str(path) for path in models_folder.rglob("*")) == before
    assert not (librarian.library.root / "in-place").exists()


def test_a_second_scan_finds_nothing_new(scan, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    assert (scan()["models_indexed"], scan("deep")["models_indexed"]) == (0, 0)


def test_new_gone_and_replaced_files_are_noticed(librarian, scan, make_model, models_folder):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    gone = make_model(models_folder / "vae" / "old.safetensors")
    scan()
    model_id = ids(librarian)["ae"]
    before = librarian.library.hash_of(model_id)
    make_model(path, {"other": (4, 4)})
    gone.unlink()
    make_model(models_folder / "loras" / "new.safetensors")
    scan()
    assert set(ids(librarian)) == {"ae", "new"}
    assert ids(librarian)["ae"] == model_id
    assert librarian.library.hash_of(model_id) != before


def tags_by_file(librarian):
    return {model.file_name: model.tags for model in librarian.models.search(ModelQuery()).models}


def test_a_renamed_file_keeps_its_identity_and_hash(librarian, scan, make_model, models_folder):
    path = make_model(models_folder / "loras" / "a.safetensors")
    scan()
    model_id = ids(librarian)["a"]
    digest = librarian.library.hash_of(model_id)
    (models_folder / "loras" / "sub").mkdir()
    path.rename(models_folder / "loras" / "sub" / "b.safetensors")
    scan()
    assert ids(librarian) == {"b": model_id}
    assert librarian.library.index.files(model_id)[0].sha256 == digest[0]


def test_links_and_cycles_count_once(librarian, scan, make_model, models_folder):
    path = make_model(models_folder / "loras" / "real.safetensors")
    (models_folder / "loras" / "again.safetensors").symlink_to(path)
    os.link(path, models_folder / "loras" / "hard.safetensors")
    (models_folder / "loras" / "loop").symlink_to(models_folder / "loras")
    (models_folder / "loras" / "broken.safetensors").symlink_to("nowhere")
    scan()
    assert len(ids(librarian)) == 1


def test_a_damaged_file_stays_listed_with_its_problem(librarian, scan, models_folder):
    (models_folder / "vae" / "page.safetensors").write_text("<!doctype html>")
    scan()
    model = librarian.models.search(ModelQuery(q="page")).models[0]
    assert "web page" in (model.problem or "")


def test_an_unplugged_drive_takes_nothing_out_of_the_index(librarian, scan, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    (models_folder / "vae").rename(models_folder / "vae-unplugged")
    scan()
    assert set(ids(librarian)) == {"ae"}


def test_edits_are_written_down_and_survive_a_lost_database(
    librarian, scan, surroundings, make_model, models_folder
):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    model_id = ids(librarian)["ae"]
    details = librarian.models.edit(
        model_id, {"notes": "the good one", "tags": ["best"], "official_name": "Flux VAE"}
    )
    assert details.match_source == "manual"
    written = librarian.library.root / model_id / "metadata.json"
    assert json.loads(written.read_text())["notes"] == "the good one"
    librarian.close()
    (surroundings.data_dir / "models.db").unlink()
    again = Librarian(surroundings)
    again.jobs.wait(again.scans.start("quick").id)
    details = again.models.details(model_id)
    assert (details.notes, details.tags, details.official_name) == ("the good one", ["best"], "Flux VAE")
    assert [model.model_id for model in again.models.search(ModelQuery(q="best")).models] == [model_id]
    again.close()


@pytest.mark.parametrize("name", ["a", "z"])
def test_what_lies_under_the_old_name_of_an_edited_model_is_listed_beside_it(
    librarian, scan, surroundings, make_model, models_folder, name
):
    loras = models_folder / "loras"
    path = make_model(loras / "m.safetensors")
    scan()
    librarian.models.edit(ids(librarian)["m"], {"tags": ["mine"]})
    path.rename(loras / f"{name}.safetensors")
    scan()
    make_model(path, {"another": (2, 2)})
    scan()
    listed = tags_by_file(librarian)
    assert listed == {f"{name}.safetensors": ["mine"], "m.safetensors": []}
    librarian.close()
    (surroundings.data_dir / "models.db").unlink()
    again = Librarian(surroundings)
    again.jobs.wait(again.scans.start("quick").id)
    assert tags_by_file(again) == listed
    again.close()


def test_tidying_after_a_scan_waits_for_no_other_process(
    librarian, scan, surroundings, make_model, models_folder
):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    other = sqlite3.connect(surroundings.data_dir / "models.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    librarian.library.tidy()
    other.execute("ROLLBACK")
    other.close()


def test_changes_of_long_ago_are_forgotten(librarian, scan, surroundings, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    with sqlite3.connect(surroundings.data_dir / "models.db") as other:
        last = other.execute("SELECT max(number) FROM model_changes").fetchone()[0]
        more = range(last + 1, last + KEPT_CHANGES + 1)
        other.executemany("INSERT INTO model_changes VALUES (?, 1)", ((number,) for number in more))
    other.close()
    scan()
    librarian.library.tidy()
    db = sqlite3.connect(surroundings.data_dir / "models.db")
    assert db.execute("SELECT count(*), max(number) FROM model_changes").fetchone() == (
        KEPT_CHANGES,
        more[-1],
    )
    db.close()


def test_unknown_keys_in_metadata_are_kept(librarian, scan, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    model_id = ids(librarian)["ae"]
    librarian.models.edit(model_id, {"notes": "1"})
    path = librarian.library.root / model_id / "metadata.json"
    content = json.loads(path.read_text())
    content["from_another_tool"] = {"rating": 5}
    path.write_text(json.dumps(content))
    librarian.models.edit(model_id, {"notes": "2"})
    content = json.loads(path.read_text())
    assert (content["from_another_tool"], content["notes"]) == ({"rating": 5}, "2")


@pytest.mark.parametrize("change", [{"model_id": "x"}, {"tags": "no list"}, {"files": []}, {"notes": None}])
def test_wrong_edits_are_refused(librarian, scan, make_model, models_folder, change):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    with pytest.raises(InvalidRequestError):
        librarian.models.edit(ids(librarian)["ae"], change)


def test_editing_what_is_not_there(librarian):
    with pytest.raises(NotFoundError):
        librarian.models.edit("no/such/model", {"notes": ""})


def test_the_index_comes_back_whole_from_the_library(librarian, owned, surroundings):
    before = librarian.models.details(owned)
    librarian.close()
    (surroundings.data_dir / "models.db").unlink()
    again = Librarian(surroundings)
    again.jobs.wait(again.scans.start("quick").id)
    assert again.models.details(owned) == before
    again.close()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "future"])
def test_a_database_that_cannot_be_used_is_set_aside(librarian, owned, surroundings, damage):
    librarian.close()
    path = surroundings.data_dir / "models.db"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    else:
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 999")
        db.close()
    again = Librarian(surroundings)
    assert again.library.set_aside is not None
    assert again.library.set_aside.exists()
    assert [warning.code for warning in again.status().warnings] == ["database_set_aside"]
    again.jobs.wait(again.scans.start("quick").id)
    assert again.library.index.contains(owned)
    again.close()


def test_a_missing_file_is_a_phantom(librarian, owned, scan):
    librarian.library.main_path(owned).unlink()
    result = scan("deep")
    assert result["models_skipped_missing_files"] == 1
    assert not librarian.library.index.contains(owned)


def test_unreadable_metadata_is_reported_and_the_model_stays(librarian, owned, scan):
    path = librarian.library.root / owned / "metadata.json"
    path.write_text("{ damaged")
    result = scan("deep")
    assert "damaged" in result["errors"][0]
    assert "damaged" in (librarian.models.details(owned).problem or "")


def test_metadata_that_points_outside_its_folder_is_refused(librarian, owned, scan, tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    path = librarian.library.root / owned / "metadata.json"
    content = json.loads(path.read_text())
    content["files"][0].update(name="../../../../secret", size=1)
    path.write_text(json.dumps(content))
    assert "outside" in scan("deep")["errors"][0]


def test_a_library_moved_elsewhere_is_found_again(librarian, owned, surroundings, tmp_path):
    librarian.close()
    shutil.move(surroundings.library_root, tmp_path / "moved")
    again = Librarian(surroundings.model_copy(update={"library_root": tmp_path / "moved"}))
    again.jobs.wait(again.scans.start("quick").id)
    assert str(again.library.main_path(owned)).startswith(str(tmp_path / "moved"))
    again.close()


def test_a_model_is_found_by_id_hash_and_name(librarian, owned):
    path = librarian.library.main_path(owned)
    digest = librarian.library.model(owned).hashes.sha256
    for reference in (owned, digest, digest[:12], "up.safetensors", "sub\\up.safetensors", "vision/other/up"):
        assert librarian.models.find(reference) == path
    assert librarian.models.fingerprint(owned) == digest
    with pytest.raises(NotFoundError, match=r"nearest are: vision/esrgan/up"):
        librarian.models.find("upp up.safetensors")


def test_find_file_by_hash_in_every_indexed_place(librarian, owned, scan, make_model, models_folder):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    sha256, blake3 = librarian.library.hash_of(ids(librarian)["ae"])
    assert librarian.library.find_file_by_hash(sha256) == path
    assert librarian.library.find_file_by_hash(blake3.upper()) == path
    assert librarian.library.find_file_by_hash("0" * 64) is None


def test_two_processes_editing_two_fields_lose_neither(librarian, owned, surroundings):
    other = Librarian(surroundings.model_copy(update={"data_dir": surroundings.data_dir.with_name("other")}))
    other.jobs.wait(other.scans.start("quick").id)
    librarian.models.edit(owned, {"notes": "from one"})
    other.models.edit(owned, {"tags": ["from the other"]})
    model = librarian.library.metadata.read(owned)
    assert (model.notes, model.tags) == ("from one", ["from the other"])
    other.close()


@pytest.mark.parametrize("hard_links", [1, 2])
@pytest.mark.parametrize("where", ["upscale_models/a", "upscale_models/z", "loras/a", "vae/z"])
def test_a_link_to_a_listed_file_is_that_file_whichever_is_met_first(
    librarian, finished, make_model, models_folder, tmp_path, where, hard_links
):
    path = make_model(models_folder / "upscale_models" / "theirs.safetensors")
    if hard_links == 2:
        os.link(path, tmp_path / "another name")
    (models_folder / f"{where}.safetensors").symlink_to(path)
    for kind in ("quick", "quick", "deep"):
        assert finished(librarian.scans.start(kind)).state == "done"
        [model_id] = librarian.library.index.all_ids()
        assert [file.path for file in librarian.library.index.files(model_id)] == [str(path)]


def test_a_link_to_a_file_without_an_ending_is_listed(librarian, finished, make_model, models_folder):
    (models_folder / "loras" / "blobs").mkdir()
    blob = make_model(models_folder / "loras" / "blobs" / "x.safetensors").rename(
        models_folder / "loras" / "blobs" / "x"
    )
    (models_folder / "loras" / "style.safetensors").symlink_to(blob)
    assert finished(librarian.scans.start("quick")).state == "done"
    assert len(librarian.library.index.all_ids()) == 1


def test_a_library_with_tags_is_taken_for_whole_at_the_next_start(
    librarian, scan, surroundings, make_model, models_folder
):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    [model_id] = librarian.library.index.all_ids()
    librarian.models.edit(model_id, {"tags": ["best", "of", "all"]})
    librarian.library.index.touch(model_id)
    librarian.close()
    again = Librarian(surroundings)
    again.jobs.wait(again.scans.start("quick").id)
    assert again.library.set_aside is None
    row = again.library._database.read().execute("SELECT last_used FROM models").fetchone()
    assert row[0]
    again.close()


def test_what_there_is_is_counted_again_only_after_something_was_written(
    librarian, finished, make_model, models_folder, surroundings, monkeypatch
):
    make_model(models_folder / "loras" / "a.safetensors")
    finished(librarian.scans.start("quick"))
    counted = []
    count = librarian.library.index._count
    monkeypatch.setattr(librarian.library.index, "_count", lambda: counted.append(1) or count())
    assert [librarian.library.totals().models for _ in range(3)] == [1, 1, 1]
    assert len(counted) == 1
    make_model(models_folder / "loras" / "b.safetensors")
    other = Librarian(surroundings)
    other.jobs.wait(other.scans.start("quick").id, timeout=60)
    other.close()
    assert librarian.library.totals().models == 2
    assert len(counted) == 2
