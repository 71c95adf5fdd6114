"""Import: what arrives is whole, what fails leaves nothing, and the source is never lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from model_librarian.core.errors import (
    InvalidRequestError,
    NotAModelError,
    OutsideRootsError,
    PickleNotAcknowledgedError,
)
from model_librarian.core.importing import ImportRequest, transfer
from model_librarian.core.importing.importer import Importer
from model_librarian.core.librarian import Librarian


def request(*paths: Path, **more) -> ImportRequest:
    link = more.pop("link", False)
    return ImportRequest.model_validate(
        {"items": [{"paths": [str(path)], **more} for path in paths], "link": link}
    )


def library_files(librarian: Librarian) -> set[str]:
    root = librarian.library.root
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {
        "library.json",
        ".incoming/metadata.lock",
    }


def staging(librarian: Librarian) -> list[str]:
    return [name for name in os.listdir(librarian.library.root / ".incoming") if name != "metadata.lock"]


def test_copy_brings_a_whole_model_and_leaves_the_source(librarian, finished, make_model, downloads):
    source = make_model(downloads / "RealESRGAN_x4plus.safetensors")
    data = source.read_bytes()
    job = finished(librarian.import_models(request(source)))
    assert job.state == "done"
    assert [item.state for item in job.items] == ["done"]
    model_id = "vision/esrgan/RealESRGAN_x4plus"
    assert job.result["imported"] == [model_id]
    folder = librarian.library.root / model_id
    assert (folder / "RealESRGAN_x4plus.safetensors").read_bytes() == data
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["schema"] == 1
    assert metadata["files"][0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert metadata["hashes"]["blake3"] == blake3(data).hexdigest()
    assert metadata["subtype"] == "upscale_models"
    assert metadata["pending_online_lookup"] is True
    assert source.read_bytes() == data
    assert staging(librarian) == []
    assert librarian.details(model_id).files[0].exists


def test_move_takes_the_source_away(librarian, finished, make_model, downloads):
    source = make_model(downloads / "model.safetensors")
    data = source.read_bytes()
    job = finished(librarian.import_models(request(source, mode="move")))
    path = librarian.library.main_path(job.result["imported"][0])
    assert path.read_bytes() == data
    assert path.stat().st_nlink == 1
    assert not source.exists()
    assert staging(librarian) == []


def test_move_works_where_there_are_no_hard_links(librarian, finished, make_model, downloads, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    source = make_model(downloads / "model.safetensors")
    data = source.read_bytes()
    job = finished(librarian.import_models(request(source, mode="move")))
    assert librarian.library.main_path(job.result["imported"][0]).read_bytes() == data
    assert not source.exists()


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_move_that_fails_late_gives_the_source_back(
    librarian, finished, make_model, downloads, monkeypatch, hard_links
):
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EPERM, "none")))
    source = make_model(downloads / "model.safetensors")
    data = source.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("model_librarian.core.importing.importer.write_atomic", full)
    job = finished(librarian.import_models(request(source, mode="move")))
    assert job.state == "failed"
    assert job.error.code == "insufficient_space"
    assert source.read_bytes() == data
    assert staging(librarian) == []
    assert library_files(librarian) == set()


def test_what_the_person_says_wins(librarian, finished, make_model, downloads):
    source = make_model(downloads / "x.safetensors")
    metadata = {"official_name": "My model", "subtype": "loras", "family": "flux", "tags": ["mine"]}
    job = finished(librarian.import_models(request(source, metadata=metadata)))
    details = librarian.details(job.result["imported"][0])
    assert (details.official_name, details.subtype, details.family) == ("My model", "loras", "flux")
    assert details.match_source == "manual"


def test_the_same_bytes_are_not_imported_twice(librarian, finished, make_model, downloads):
    first = make_model(downloads / "a.safetensors", seed=1)
    second = make_model(downloads / "b.safetensors", seed=1)
    finished(librarian.import_models(request(first)))
    job = finished(librarian.import_models(request(second, mode="move")))
    assert [item.state for item in job.items] == ["skipped"]
    assert job.items[0].model_id == "vision/esrgan/a"
    assert second.exists()
    assert librarian.library.totals().models == 1
    assert librarian.inspect([str(second)]).groups[0].duplicate_of == "vision/esrgan/a"


def test_equal_names_with_other_bytes_get_a_suffix(librarian, finished, make_model, downloads):
    first = make_model(downloads / "one" / "Model:A.safetensors")
    second = make_model(downloads / "two" / "model*a.safetensors")
    job = finished(librarian.import_models(request(first, second)))
    ids = job.result["imported"]
    assert ids[0] == "vision/esrgan/Model_A"
    assert ids[1].startswith("vision/esrgan/model_a-")
    assert len(ids[1]) == len("vision/esrgan/model_a-8f2a")


def test_refused_before_anything_is_written(librarian, make_model, make_torch_zip, downloads, tmp_path):
    outside = make_model(tmp_path / "elsewhere" / "model.safetensors")
    page = downloads / "page.safetensors"
    page.write_text("<!DOCTYPE html><html></html>")
    pickle = make_torch_zip(downloads / "upscaler.pth")
    link = downloads / "link.safetensors"
    link.symlink_to(make_model(downloads / "real.safetensors"))
    for refused, error, more in [
        (outside, OutsideRootsError, {}),
        (page, NotAModelError, {}),
        (pickle, PickleNotAcknowledgedError, {}),
        (link, InvalidRequestError, {"mode": "move"}),
        (downloads / "real.safetensors", InvalidRequestError, {"metadata": {"model_id": "x"}}),
        (downloads / "real.safetensors", InvalidRequestError, {"metadata": {"tags": 5}}),
    ]:
        with pytest.raises(error):
            librarian.import_models(request(refused, **more))
    assert library_files(librarian) == set()
    assert staging(librarian) == []


def test_an_acknowledged_pickle_is_imported_and_marked(librarian, finished, make_torch_zip, downloads):
    job = finished(
        librarian.import_models(request(make_torch_zip(downloads / "u.pth"), acknowledge_pickle=True))
    )
    details = librarian.details(job.result["imported"][0])
    assert (details.security_tier, details.pickle_acknowledged) == ("pickle", True)


def test_in_a_batch_the_others_go_on(librarian, finished, make_model, downloads):
    bad = downloads / "bad.safetensors"
    bad.write_text("<html>")
    job = finished(librarian.import_models(request(bad, make_model(downloads / "good.safetensors"))))
    assert [item.state for item in job.items] == ["failed", "done"]
    assert job.items[0].code == "not_a_model"
    assert job.state == "done"
    assert job.result["failed"] == 1


def test_cancel_leaves_no_trace(librarian, finished, make_model, downloads, monkeypatch):
    source = make_model(downloads / "big.safetensors", {"a": (2000, 1000)})
    monkeypatch.setattr(transfer, "BLOCK_BYTES", 64 * 1024)
    reading, cancelled = threading.Event(), threading.Event()
    real_read = transfer._read

    def read(*arguments):
        reading.set()
        assert cancelled.wait(10)
        return real_read(*arguments)

    monkeypatch.setattr(transfer, "_read", read)
    job = librarian.import_models(request(source, mode="move"))
    assert reading.wait(10)
    librarian.jobs.cancel(job.id)
    cancelled.set()
    ended = finished(job)
    assert ended.state == "cancelled"
    assert source.exists()
    assert library_files(librarian) == set()
    assert staging(librarian) == []


def test_a_source_that_changes_while_it_is_read_is_not_taken(
    librarian, finished, make_model, downloads, monkeypatch
):
    source = make_model(downloads / "growing.safetensors", {"a": (600, 1000)})
    monkeypatch.setattr(transfer, "BLOCK_BYTES", 64 * 1024)
    real_read = transfer._read

    def read(*arguments):
        with open(source, "ab") as file:
            file.write(b"more")
        return real_read(*arguments)

    monkeypatch.setattr(transfer, "_read", read)
    job = finished(librarian.import_models(request(source)))
    assert job.error.code == "source_changed"
    assert library_files(librarian) == set()


def test_a_full_disk_is_said_before(librarian, make_model, downloads, finished, monkeypatch):
    monkeypatch.setattr("model_librarian.core.storage.disk.SPACE_MARGIN_BYTES", 2**62)
    job = finished(librarian.import_models(request(make_model(downloads / "m.safetensors"))))
    assert job.error.code == "insufficient_space"
    assert "Free some room" in job.error.message


def test_progress_counts_bytes(librarian, finished, make_model, downloads):
    seen = []
    librarian.events.subscribe(lambda name, record: seen.append(record) if name == "librarian.job" else None)
    source = make_model(downloads / "m.safetensors")
    job = finished(librarian.import_models(request(source)))
    assert job.progress.unit == "bytes"
    assert job.progress.current == job.progress.total == source.stat().st_size
    assert [record.state for record in seen][-1] == "done"


def test_a_batch_links_at_its_end(librarian, finished, make_model, downloads, models_folder):
    job = finished(librarian.import_models(request(make_model(downloads / "up.safetensors"), link=True)))
    assert job.result["links"]["links_created"] == 1
    assert (models_folder / "upscale_models" / "up.safetensors").is_symlink()


def test_a_running_import_of_another_process_is_left_alone(librarian, surroundings, make_model, downloads):
    with librarian.importer._journal.staging() as staged:
        other = Importer(librarian.library)
        assert other.recover() == []
        assert staged.folder.exists()
