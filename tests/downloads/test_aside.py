"""What comes with other bytes than published: kept where a person finds it, and never a model."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from model_librarian.core.downloading import Download
from model_librarian.core.library import ModelQuery

from ..fake_hub import instead, sha256
from ._doing import incoming, only_model, opened, wanted


@pytest.fixture
def wrong(big) -> bytes:
    return big[:-1] + bytes([big[-1] ^ 1])


@pytest.fixture
def failed(hub, librarian, finished, big, wrong) -> Download:
    """A download whose only file came wrong."""
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [instead(wrong)]
    job, download = librarian.downloads.add(wanted("nice.safetensors"))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "hash_mismatch"
    return librarian.downloads.get(download.id)


def test_it_is_kept_and_said_where(librarian, failed, wrong, big, caplog):
    [file] = failed.files
    assert (failed.state, file.state, failed.received) == ("failed", "failed", 0)
    assert file.aside is not None and failed.reason is not None
    assert Path(file.aside.path).read_bytes() == wrong
    assert (file.aside.size, file.aside.sha256, failed.aside_size) == (len(wrong), sha256(wrong), len(wrong))
    assert "set aside" in failed.reason.message
    assert sha256(wrong)[:12] in failed.reason.message and sha256(big)[:12] in failed.reason.message
    [warning] = librarian.status().warnings
    assert warning.code == "download_kept_aside" and file.aside.path in warning.message


def test_it_is_in_the_log(hub, librarian, finished, big, wrong, caplog):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [instead(wrong)]
    with caplog.at_level(logging.WARNING):
        finished(librarian.downloads.add(wanted("nice.safetensors")).job)
    [aside] = [file.aside for one in librarian.downloads.all() for file in one.files]
    assert aside is not None
    assert any(aside.path in record.getMessage() for record in caplog.records)


def test_nobody_takes_it_for_a_model(librarian, finished, failed):
    aside = Path(failed.files[0].aside.path)
    assert librarian.library.root / ".incoming" in aside.parents
    assert aside.suffix == ".mismatch"
    for kind in ("quick", "deep"):
        assert finished(librarian.scans.start(kind)).state == "done"
    assert librarian.library.search(ModelQuery()).models == []
    assert librarian.imports.browse(str(aside.parent)).entries == []


def test_the_next_try_begins_anew_and_the_right_file_takes_its_place(hub, librarian, finished, failed, big):
    assert finished(librarian.downloads.resume(failed.id).job).state == "done"
    assert "Range" not in hub.sent_to("/cdn/")[-1]
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == big
    assert incoming(librarian) == []
    assert librarian.status().warnings == []


def test_one_that_comes_wrong_again_takes_no_more_room(hub, librarian, finished, failed, wrong):
    again = bytes([wrong[0] ^ 1]) + wrong[1:]
    hub.faults = [instead(again)]
    assert finished(librarian.downloads.resume(failed.id).job).state == "failed"
    aside = Path(librarian.downloads.get(failed.id).files[0].aside.path)
    assert [path.read_bytes() for path in aside.parent.iterdir()] == [again]


def test_it_is_still_there_and_told_after_a_restart(librarian, surroundings, failed, wrong):
    librarian.close()
    again = opened(surroundings)
    try:
        again.start()
        [download] = again.downloads.all()
        assert (download.state, download.files[0].aside) == ("failed", failed.files[0].aside)
        assert Path(download.files[0].aside.path).read_bytes() == wrong
    finally:
        again.close()


def test_it_can_be_thrown_away_alone_or_with_its_download(librarian, failed):
    left = librarian.downloads.remove_aside(failed.id)
    assert (left.state, left.files[0].aside, left.aside_size) == ("failed", None, 0)
    assert not Path(failed.files[0].aside.path).exists()
    librarian.downloads.remove(failed.id)
    assert incoming(librarian) == []


def test_removing_the_download_removes_it(librarian, failed):
    librarian.downloads.remove(failed.id)
    assert incoming(librarian) == []


def test_one_that_a_person_took_away_is_not_told_any_more(librarian, failed):
    Path(failed.files[0].aside.path).unlink()
    assert librarian.downloads.get(failed.id).files[0].aside is None
    assert librarian.status().warnings == []


def test_small_files_are_compared_with_what_git_calls_them(hub, librarian, finished, big):
    index = b'{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}'
    files = {"model_index.json": index, "unet/config.json": b'{"a": 1}', "unet/model.safetensors": big}
    hub.add("org/pipeline", files)
    hub.files["/cdn/org/pipeline/unet/config.json"] = b'{"a": 2}'
    job, download = librarian.downloads.add(wanted("model_index.json", repo_id="org/pipeline"))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "hash_mismatch"
    assert librarian.library.search(ModelQuery()).models == []
    hub.files["/cdn/org/pipeline/unet/config.json"] = files["unet/config.json"]
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert len(only_model(librarian).files) == 3
