"""Equal files are found by their bytes, what takes the room is said, and changes are noticed."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest

from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery, search, watch
from model_librarian.core.settings import TargetFolder


@pytest.fixture
def scanned(librarian, finished, make_model, models_folder):
    """Two equal files, a hard link and a symlink of one of them, and one more of the same size."""
    one = make_model(models_folder / "loras" / "one.safetensors", seed=1)
    make_model(models_folder / "vae" / "same-bytes.safetensors", seed=1)
    make_model(models_folder / "vae" / "same-size.safetensors", seed=2)
    make_model(models_folder / "vae" / "other-size.safetensors", {"a": (3, 3)})
    os.link(one, models_folder / "loras" / "hard.safetensors")
    (models_folder / "loras" / "soft.safetensors").symlink_to(one)
    finished(librarian.scans.start("quick"))
    [job] = [job for job in librarian.jobs.all() if job.kind == "hash"]
    assert finished(job).state == "done"
    return librarian


def test_equal_bytes_are_one_group_and_links_never_count(scanned, models_folder):
    report = scanned.models.duplicates()
    [group] = report.groups
    size = (models_folder / "loras" / "one.safetensors").stat().st_size
    assert "same-bytes" in {file.official_name for file in group.files}
    assert {(file.model_format, file.security_tier) for file in group.files} == {("single-file", "safe")}
    assert len(group.files) == 2
    assert (group.size_bytes, group.bytes_to_win, report.bytes_to_win) == (size, size, size)
    assert report.files_to_hash == 0


def test_only_files_of_equal_size_are_hashed_by_themselves(scanned):
    hashed = {
        model.official_name: scanned.models.details(model.model_id).files[0].sha256 is not None
        for model in scanned.models.search(ModelQuery()).models
    }
    assert hashed.pop("other-size") is False
    assert all(hashed.values())


@pytest.fixture
def list_unhashed(librarian, finished, make_model, models_folder, monkeypatch):
    """Lists some files of one size, whose hashes are left to be read."""

    def make(count):
        for number in range(count):
            make_model(models_folder / "loras" / f"{number}.safetensors")
        with monkeypatch.context() as patched:
            patched.setattr(librarian.scans, "hash_in_background", lambda: None)
            finished(librarian.scans.start("quick"))

    return make


def test_hashing_goes_on_where_it_was_cut_off(librarian, finished, list_unhashed, monkeypatch):
    list_unhashed(4)
    real, hashed = librarian.library.hash_of, []

    def hash_two(model_id, told):
        if len(hashed) == 2:
            [running] = [job for job in librarian.jobs.all() if job.kind == "hash" and not job.ended]
            librarian.jobs.cancel(running.id)
            told(0, 1)
        hashed.append(model_id)
        return real(model_id, told)

    monkeypatch.setattr(librarian.library, "hash_of", hash_two)
    assert finished(librarian.scans.hash_in_background()).state == "cancelled"
    monkeypatch.undo()
    assert librarian.library.usage.count_unhashed() == 2
    assert finished(librarian.scans.hash_in_background()).result == {"files_hashed": 2}
    assert librarian.library.usage.count_unhashed() == 0


def test_what_was_hashed_makes_no_search_slow(librarian, finished, list_unhashed, monkeypatch):
    list_unhashed(8)
    monkeypatch.setattr(search, "AT_ONCE", 3)  # more than these, and all words would be read anew
    words = librarian.library._search._words
    held = len(words._keys)
    finished(librarian.scans.hash_in_background())
    assert librarian.library.usage.count_unhashed() == 0
    assert librarian.library._search._words is words
    assert len(words._keys) == held, "nothing that is searched has changed"

    def refuse(*_):
        raise AssertionError("it was not answered from memory")

    for without_the_words in ("_list", "_search"):
        monkeypatch.setattr(search.Search, without_the_words, refuse)
    assert librarian.models.search(ModelQuery(q="safetensors")).total == 8


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="the system has no such priorities")
def test_whoever_hashes_keeps_its_turn_at_the_processor(librarian, finished, list_unhashed, monkeypatch):
    """With a lower priority it would wait for a processor while ComfyUI's event loop waits for the interpreter."""
    list_unhashed(2)
    real, priorities = librarian.library.hash_of, set()

    def noted(model_id, told):
        priorities.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return real(model_id, told)

    monkeypatch.setattr(librarian.library, "hash_of", noted)
    finished(librarian.scans.hash_in_background())
    assert priorities == {os.getpriority(os.PRIO_PROCESS, os.getpid())}


def test_storage_adds_up(scanned, models_folder):
    report = scanned.models.storage()
    files = {path.stat().st_ino: path.stat().st_size for path in models_folder.rglob("*.safetensors")}
    assert report.size_bytes == sum(files.values())
    assert {share.name: share.models for share in report.by_type} == {"loras": 1, "vae": 3}
    assert sum(share.size_bytes for share in report.by_family) == report.size_bytes
    [drive] = report.by_drive
    assert drive.total_bytes > drive.free_bytes > 0


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_what_a_person_drops_into_a_folder_is_noticed(librarian, make_model, models_folder, downloads):
    librarian.start()
    eventually(lambda: librarian.status().index.state == "ready")

    def names():
        return {model.official_name for model in librarian.models.search(ModelQuery()).models}

    source = make_model(downloads / "dropped.safetensors")
    os.rename(source, models_folder / "vae" / "dropped.safetensors")
    eventually(lambda: names() == {"dropped"})
    (models_folder / "vae" / "dropped.safetensors").rename(models_folder / "vae" / "renamed.safetensors")
    eventually(lambda: names() == {"renamed"})
    (models_folder / "vae" / "renamed.safetensors").unlink()
    eventually(lambda: names() == set())


@pytest.mark.parametrize("way", ["this system's", "watchfiles"])
def test_a_models_folder_that_is_made_or_comes_back_later_is_watched(
    surroundings, make_model, models_folder, downloads, monkeypatch, way
):
    """Neither it nor the folder around it is there at the start."""
    if way == "watchfiles":
        pytest.importorskip("watchfiles")  # on Linux it is no dependency
        monkeypatch.setattr(watch, "_by_inotify", watch._by_watchfiles)
    late = models_folder.parent / "on a drive" / "loras"
    [app] = surroundings.apps
    folders = [*app.folders, TargetFolder(subtype="loras", path=late)]
    librarian = Librarian(
        surroundings.model_copy(update={"apps": [app.model_copy(update={"folders": folders})]})
    )

    def names():
        return {model.official_name for model in librarian.models.search(ModelQuery()).models}

    try:
        librarian.start()
        eventually(lambda: librarian.status().index.state == "ready")
        make_model(late / "first.safetensors")
        eventually(lambda: names() == {"first"})
        os.rename(make_model(downloads / "second.safetensors"), late / "second.safetensors")
        eventually(lambda: names() == {"first", "second"})
        shutil.rmtree(late.parent)
        make_model(late / "third.safetensors")
        eventually(lambda: names() == {"third"})
    finally:
        librarian.close()


def test_our_own_changes_are_no_news(librarian, finished, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    finished(librarian.scans.start("quick"))
    [model_id] = librarian.library.index.all_ids()
    librarian.models.edit(model_id, {"notes": "mine"})
    written = librarian.library.root / model_id / "metadata.json"
    assert librarian.library.is_news(written) is False
    assert librarian.library.is_news(models_folder / "vae" / "ae.safetensors") is False
    written.write_text(written.read_text().replace("mine", "theirs"))
    assert librarian.library.is_news(written) is True
    assert librarian.library.is_news(models_folder / "vae" / "never-was.safetensors") is False


def test_another_process_sees_an_edit(librarian, surroundings, finished, make_model, downloads):
    source = make_model(downloads / "up.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(source)]}]})
    [model_id] = finished(librarian.imports.start(request)).result["imported"]
    other = Librarian(surroundings.model_copy(update={"data_dir": surroundings.data_dir.with_name("other")}))
    other.start()
    eventually(lambda: other.library.index.contains(model_id))
    librarian.models.edit(model_id, {"notes": "seen by both"})
    eventually(lambda: other.models.details(model_id).notes == "seen by both")
    other.close()


def test_another_process_sees_an_edit_of_a_model_in_place(
    librarian, surroundings, finished, make_model, models_folder
):
    make_model(models_folder / "vae" / "ae.safetensors")
    finished(librarian.scans.start("quick"))
    other = Librarian(surroundings.model_copy(update={"data_dir": surroundings.data_dir.with_name("other")}))
    other.start()
    eventually(lambda: other.library.index.all_ids())
    [model_id] = librarian.library.index.all_ids()
    librarian.models.edit(model_id, {"notes": "seen by both"})
    eventually(lambda: other.models.details(model_id).notes == "seen by both")
    other.close()


def test_changes_are_noticed_however_many_jobs_ago_the_last_scan_was(
    librarian, make_model, models_folder, monkeypatch
):
    librarian.start()
    eventually(lambda: librarian.status().index.state == "ready")
    librarian.jobs._jobs.clear()  # as after some two hundred jobs
    assert librarian.status().index.state == "ready"
    make_model(models_folder / "vae" / "late.safetensors")
    eventually(lambda: librarian.library.index.all_ids())


def test_a_watcher_outlives_what_goes_wrong_with_one_change(
    librarian, make_model, models_folder, monkeypatch
):
    librarian.start()
    eventually(lambda: librarian.status().index.state == "ready")
    real, failed = librarian.library.is_news, []

    def fail_once(path):
        if not failed:
            failed.append(path)
            raise RuntimeError("a fault")
        return real(path)

    monkeypatch.setattr(librarian.library, "is_news", fail_once)
    make_model(models_folder / "vae" / "first.safetensors")
    eventually(lambda: failed)
    make_model(models_folder / "vae" / "second.safetensors")
    eventually(lambda: len(librarian.library.index.all_ids()) == 2)
