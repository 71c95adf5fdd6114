"""A deep scan builds beside the index: unseen until it is whole, and nothing that happens meanwhile is lost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import pytest

from model_librarian.core.errors import CancelledError, ConflictError
from model_librarian.core.jobs import Job, JobContext
from model_librarian.core.library import ModelQuery
from model_librarian.core.library import deep as deep_module
from model_librarian.core.library.deep import NewState
from model_librarian.core.library.metadata import serialise
from model_librarian.core.library.records import Model, ModelFile
from model_librarian.core.library.search import Search

MODELS = 12


@pytest.fixture
def context():
    return JobContext(Job(id="x", kind="scan"), lambda _: None)


@pytest.fixture
def own(librarian, make_model):
    def make(number, **more):
        model_id = f"diffusion/family{number % 3}/m{number}"
        folder = librarian.library.root / model_id
        path = make_model(folder / f"m{number}.safetensors", {f"w{number}": (4, 4)})
        model = Model(
            model_id=model_id,
            official_name=f"m{number}",
            cleaned_name=f"m{number}",
            files=[ModelFile(name=path.name, size=path.stat().st_size)],
            **more,
        )
        (folder / "metadata.json").write_bytes(serialise(model))
        return model_id

    return make


@pytest.fixture
def models(librarian, own, context):
    ids = [own(number) for number in range(MODELS)]
    librarian.library.quick_scan([], context)
    return ids


def listed(librarian):
    return {model.model_id for model in librarian.models.search(ModelQuery(limit=500)).models}


def deep(librarian):
    return librarian.library.deep_scan([], JobContext(Job(id="x", kind="scan"), lambda _: None))


@pytest.fixture
def meanwhile(monkeypatch):
    """Do something when the new state is laid out and not yet taken over."""

    def when_laid_out(work):
        real = NewState.swap

        def swap(self, *arguments):
            monkeypatch.undo()
            work()
            return real(self, *arguments)

        monkeypatch.setattr(NewState, "swap", swap)

    return when_laid_out


def test_nothing_of_it_is_seen_before_it_is_whole(librarian, models, own, meanwhile):
    for model_id in models[:6]:
        shutil.rmtree(librarian.library.root / model_id)
    new = own(50)
    seen = []
    meanwhile(lambda: seen.append(listed(librarian)))
    result = deep(librarian)
    assert seen == [set(models)]
    assert listed(librarian) == {*models[6:], new}
    assert (result.models_indexed, result.models_removed) == (1, 6)


@pytest.mark.parametrize("stop_after", [0, 1, 5, MODELS, MODELS + 1, MODELS + 2])
def test_cancelled_at_any_moment_it_leaves_the_index_as_it_was(
    librarian, models, own, context, monkeypatch, stop_after
):
    shutil.rmtree(librarian.library.root / models[0])
    own(1, tags=["rewritten"])
    own(60)
    calls = iter(range(10_000))

    def check():
        if next(calls) >= stop_after:
            raise CancelledError("stop")

    monkeypatch.setattr(context, "check_cancelled", check)
    with pytest.raises(CancelledError):
        librarian.library.deep_scan([], context)
    assert listed(librarian) == set(models)
    assert librarian.library.model(models[1]).tags == []
    deep(librarian)
    assert librarian.library.model(models[1]).tags == ["rewritten"]


def test_what_is_done_meanwhile_stays(librarian, models, own, meanwhile):
    """Edited, imported, deleted, used and hashed while the new state was laid out."""

    def busy():
        librarian.models.edit(models[0], {"notes": "meanwhile"})
        own(70)
        librarian.library.add_owned("diffusion/family1/m70")
        shutil.rmtree(librarian.library.root / models[2])
        librarian.library.forget([models[2]])
        librarian.library.index.touch(models[3])
        librarian.library.hash_of(models[4])
        own(71)
        librarian.library.add_owned("diffusion/family2/m71")
        shutil.rmtree(librarian.library.root / "diffusion/family2/m71")
        librarian.library.forget(["diffusion/family2/m71"])

    meanwhile(busy)
    deep(librarian)
    assert librarian.library.model(models[0]).notes == "meanwhile"
    assert listed(librarian) == {*models, "diffusion/family1/m70"} - {models[2]}
    assert librarian.library.index.files(models[4])[0].sha256
    row = librarian.library._database.read().execute(
        "SELECT last_used FROM models WHERE model_id = ?", (models[3],)
    )
    assert row.fetchone()[0]


def test_an_edit_by_another_process_before_the_swap_is_seen_by_the_next_scan(
    librarian, models, meanwhile, context
):
    path = librarian.library.root / models[0] / "metadata.json"

    def elsewhere():
        content = json.loads(path.read_text())
        content["tags"] = ["elsewhere"]
        path.write_text(json.dumps(content))
        os.utime(path, ns=(5, 5))

    meanwhile(elsewhere)
    deep(librarian)
    librarian.library.quick_scan([], context)
    assert librarian.library.model(models[0]).tags == ["elsewhere"]


def test_hashes_and_last_use_survive_and_a_stale_hash_does_not_come_back(librarian, models, own):
    model_id = own(80, hashes={"sha256": "0" * 64})
    path = librarian.library.root / model_id / "metadata.json"
    content = json.loads(path.read_text())
    content["files"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    deep(librarian)
    digest = librarian.library.hash_of(models[0])[0]
    librarian.library.index.touch(models[0])
    assert librarian.library.index.files(model_id)[0].sha256 == "0" * 64
    main = librarian.library.main_path(model_id)
    os.utime(main, ns=(7, 7))  # replaced by another file of the same size
    for _ in range(2):
        deep(librarian)
        assert librarian.library.index.files(model_id)[0].sha256 is None
    assert librarian.library.index.files(models[0])[0].sha256 == digest
    row = librarian.library._database.read().execute(
        "SELECT last_used FROM models WHERE model_id = ?", (models[0],)
    )
    assert row.fetchone()[0]


def test_wrong_columns_are_put_right(librarian, models):
    with librarian.library._database.write() as db:
        db.execute("UPDATE models SET family = 'wrong', name_key = 'wrong' WHERE model_id = ?", (models[0],))
        db.execute(
            "DELETE FROM model_files WHERE model IN (SELECT id FROM models WHERE model_id = ?)", (models[1],)
        )
    assert deep(librarian).models_indexed == 2
    assert librarian.library.summary(models[0]).family == "unknown"
    assert librarian.library.main_path(models[1]).is_file()


def test_many_at_once_are_all_found_by_their_words(librarian, own, monkeypatch):
    from model_librarian.core.library import staging

    monkeypatch.setattr(staging, "REBUILT_FROM", 5)
    monkeypatch.setattr(deep_module, "BATCH", 4)
    other = Search(librarian.library._database)  # as another process has one
    other.load()
    ids = {own(number, tags=["many"]) for number in range(MODELS)}
    deep(librarian)
    for _ in ("outdated", "read anew"):
        assert other.find(ModelQuery(q="many", limit=500)).total == MODELS
        other.load()
    other.close()
    db = librarian.library._database.read()
    found = db.execute("SELECT count(*) FROM model_search WHERE model_search MATCH 'many'").fetchone()[0]
    assert (found, listed(librarian)) == (MODELS, ids)
    last = db.execute("SELECT max(number) FROM model_changes").fetchone()[0]
    librarian.models.edit("diffusion/family0/m0", {"tags": ["other"]})
    assert db.execute("SELECT max(number) FROM model_changes").fetchone()[0] == last + 1
    with librarian.library._database.write() as writer:
        writer.execute("INSERT INTO model_search (model_search) VALUES ('integrity-check')")


def test_an_index_made_anew_meanwhile_is_left_alone(librarian, models, meanwhile):
    library = librarian.library
    meanwhile(lambda: library._database.renew(sqlite3.DatabaseError("damaged")))
    with pytest.raises(ConflictError):
        deep(librarian)
    deep(librarian)
    assert listed(librarian) == set(models)


def test_a_library_that_goes_away_takes_no_model_out_of_the_index(librarian, models):
    root = librarian.library.root
    root.rename(root.with_name("unplugged"))
    result = deep(librarian)
    assert "cannot be reached" in result.errors[0]
    assert listed(librarian) == set(models)
    root.with_name("unplugged").rename(root)
