"""Import: what arrives is whole, what fails leaves nothing, and the source is never lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import sys
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from model_librarian.core.errors import (
    InsufficientSpaceError,
    InvalidRequestError,
    NotAModelError,
    OutsideRootsError,
    PickleNotAcknowledgedError,
    StorageError,
)
from model_librarian.core.importing import ImportRequest, transfer
from model_librarian.core.importing.importer import Importer
from model_librarian.core.importing.journal import Journal
from model_librarian.core.librarian import Librarian
from model_librarian.core.services.imports import leaving_links


def request(*paths: Path | list[Path], **more) -> ImportRequest:
    """Each path, or list of paths, as an item of its own."""
    whole = {name: more.pop(name) for name in ("link", "delete_originals") if name in more}
    items = [
        {"paths": [str(part) for part in (path if isinstance(path, list) else [path])], **more}
        for path in paths
    ]
    return ImportRequest.model_validate({"items": items, **whole})


def library_files(librarian: Librarian) -> set[str]:
    root = librarian.library.root
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {
        "library.json",
        ".incoming/metadata.lock",
        ".incoming/placed",
    }


def staging(librarian: Librarian) -> list[str]:
    return [
        name
        for name in os.listdir(librarian.library.root / ".incoming")
        if name not in ("metadata.lock", "placed")
    ]


def test_copy_brings_a_whole_model_and_leaves_the_source(librarian, finished, make_model, downloads):
    source = make_model(downloads / "RealESRGAN_x4plus.safetensors")
    data = source.read_bytes()
    job = finished(librarian.imports.start(request(source)))
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
    assert librarian.models.details(model_id).files[0].exists


def test_move_takes_the_source_away(librarian, finished, make_model, downloads):
    source = make_model(downloads / "model.safetensors")
    data = source.read_bytes()
    job = finished(librarian.imports.start(request(source, mode="move")))
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
    job = finished(librarian.imports.start(request(source, mode="move")))
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
    job = finished(librarian.imports.start(request(source, mode="move")))
    assert job.state == "failed"
    assert job.error.code == "insufficient_space"
    assert f"while writing {librarian.library.root}" in job.error.message, "it is not the source that is full"
    assert source.read_bytes() == data
    assert staging(librarian) == []
    assert library_files(librarian) == set()


def test_what_the_person_says_wins(librarian, finished, make_model, downloads):
    source = make_model(downloads / "x.safetensors")
    metadata = {"official_name": "My model", "subtype": "loras", "family": "flux", "tags": ["mine"]}
    job = finished(librarian.imports.start(request(source, metadata=metadata)))
    details = librarian.models.details(job.result["imported"][0])
    assert (details.official_name, details.subtype, details.family) == ("My model", "loras", "flux")
    assert details.match_source == "manual"


def test_the_same_bytes_are_not_imported_twice(librarian, finished, make_model, downloads):
    first = make_model(downloads / "a.safetensors", seed=1)
    second = make_model(downloads / "b.safetensors", seed=1)
    finished(librarian.imports.start(request(first)))
    job = finished(librarian.imports.start(request(second, mode="move")))
    assert [item.state for item in job.items] == ["skipped"]
    assert job.items[0].model_id == "vision/esrgan/a"
    assert second.exists()
    assert librarian.library.totals().models == 1
    assert librarian.imports.inspect([str(second)]).groups[0].duplicate_of == "vision/esrgan/a"


def test_equal_names_with_other_bytes_get_a_suffix(librarian, finished, make_model, downloads):
    first = make_model(downloads / "one" / "Model:A.safetensors")
    second = make_model(downloads / "two" / "model*a.safetensors")
    job = finished(librarian.imports.start(request(first, second)))
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
            librarian.imports.start(request(refused, **more))
    assert library_files(librarian) == set()
    assert staging(librarian) == []


def test_an_acknowledged_pickle_is_imported_and_marked(librarian, finished, make_torch_zip, downloads):
    job = finished(
        librarian.imports.start(request(make_torch_zip(downloads / "u.pth"), acknowledge_pickle=True))
    )
    details = librarian.models.details(job.result["imported"][0])
    assert (details.security_tier, details.pickle_acknowledged) == ("pickle", True)


def test_in_a_batch_the_others_go_on(librarian, finished, make_model, downloads):
    bad = downloads / "bad.safetensors"
    bad.write_text("<html>")
    job = finished(librarian.imports.start(request(bad, make_model(downloads / "good.safetensors"))))
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
    job = librarian.imports.start(request(source, mode="move"))
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
    job = finished(librarian.imports.start(request(source)))
    assert job.error.code == "source_changed"
    assert library_files(librarian) == set()


@pytest.mark.parametrize("beyond", [-513, -1, 0, 1, 511, 512, 4095, 4096, 4097])
@pytest.mark.parametrize("blocks", [1, 2, 9])
def test_a_file_of_any_length_comes_whole(tmp_path, monkeypatch, blocks, beyond):
    """What is written past the system's memory must be whole blocks of the disk; a file's end hardly ever is one."""
    monkeypatch.setattr(transfer, "BLOCK_BYTES", 8192)
    data = random.Random(blocks).randbytes(8192 * blocks + beyond)
    (tmp_path / "source").write_bytes(data)
    seen = []
    done = transfer.copy_file(tmp_path / "source", tmp_path / "copy", seen.append, lambda _: None)
    assert (tmp_path / "copy").read_bytes() == data
    assert done == (len(data), hashlib.sha256(data).hexdigest(), blake3(data).hexdigest())
    assert seen[-1] == len(data)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone writes so")
def test_where_the_disk_takes_no_such_writes_the_systems_memory_serves(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "BLOCK_BYTES", 8192)
    data = bytes(range(256)) * 256
    (tmp_path / "source").write_bytes(data)
    import fcntl

    real_write, refused = transfer._write, []

    class Picky:
        """A file of a filesystem that says that it can, and then cannot."""

        def __init__(self, file):
            self.file = file
            self.fileno, self.tell = file.fileno, file.tell

        def write(self, block):
            if fcntl.fcntl(self.file, fcntl.F_GETFL) & os.O_DIRECT:
                refused.append(len(block))
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return self.file.write(block)

    monkeypatch.setattr(transfer, "_write", lambda file, block: real_write(Picky(file), block))
    transfer.copy_file(tmp_path / "source", tmp_path / "copy", lambda _: None, lambda _: None)
    assert (tmp_path / "copy").read_bytes() == data
    assert len(refused) <= 1


def test_a_file_that_its_drive_cannot_hold_is_named(tmp_path, monkeypatch):
    (tmp_path / "source").write_bytes(bytes(10))

    def too_large(file, block):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    monkeypatch.setattr(transfer, "_write", too_large)
    with pytest.raises(StorageError, match="copy is too large for its drive"):
        transfer.copy_file(tmp_path / "source", tmp_path / "copy", lambda _: None, lambda _: None)


def test_a_full_disk_is_said_before(librarian, make_model, downloads, monkeypatch):
    monkeypatch.setattr("model_librarian.core.storage.preflight.SPACE_MARGIN_BYTES", 2**62)
    with pytest.raises(InsufficientSpaceError, match="Free some room"):
        librarian.imports.start(request(make_model(downloads / "m.safetensors")))
    assert library_files(librarian) == set()


def test_progress_counts_bytes(librarian, finished, make_model, downloads):
    seen = []
    librarian.events.subscribe(lambda name, record: seen.append(record) if name == "librarian.job" else None)
    source = make_model(downloads / "m.safetensors")
    job = finished(librarian.imports.start(request(source)))
    assert job.progress.unit == "bytes"
    assert job.progress.current == job.progress.total == source.stat().st_size
    assert [record.state for record in seen][-1] == "done"


def test_a_batch_links_at_its_end(librarian, finished, make_model, downloads, models_folder):
    job = finished(librarian.imports.start(request(make_model(downloads / "up.safetensors"), link=True)))
    assert job.result["links"]["links_created"] == 1
    assert (models_folder / "upscale_models" / "up.safetensors").is_symlink()


def test_a_running_import_of_another_process_is_left_alone(librarian, surroundings, make_model, downloads):
    with librarian.importer._journal.staging(print) as staged:
        other = Importer(
            librarian.library, leaving_links(librarian.linker), librarian.uploads, list, lambda: None
        )
        assert other.recover() == []
        assert staged.folder.exists()


@pytest.mark.parametrize("field", ["model_type", "family"])
@pytest.mark.parametrize("name", [".incoming", "in-place", "In-Place", "..", ".", "", "a/b", "CON"])
def test_no_name_leads_a_model_out_of_the_library_proper(
    librarian, finished, make_model, downloads, field, name
):
    source = make_model(downloads / "x.safetensors")
    data = source.read_bytes()
    job = finished(librarian.imports.start(request(source, mode="move", metadata={field: name})))
    [model_id] = job.result["imported"]
    assert len(Path(model_id).parts) == 3
    assert librarian.importer.recover() == []
    assert librarian.library.main_path(model_id).read_bytes() == data
    finished(librarian.scans.start("deep"))
    assert librarian.library.index.contains(model_id)


@pytest.mark.parametrize("name", ["metadata.json", "Overrides.JSON", "metadata.removed.json"])
def test_a_model_that_is_called_like_our_own_files(librarian, finished, make_model, downloads, name):
    source = make_model(downloads / name)
    data = source.read_bytes()
    job = finished(librarian.imports.start(request(source, mode="move")))
    path = librarian.library.main_path(job.result["imported"][0])
    assert path.read_bytes() == data
    assert path.name == f"_{name}"


def test_what_is_not_ours_in_the_staging_folder_stays_and_the_start_goes_on(surroundings, tmp_path):
    incoming = surroundings.library_root / ".incoming"
    (incoming / "somebody's folder").mkdir(parents=True)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("far")
    (incoming / ("a" * 32)).symlink_to(tmp_path / "far")
    unread = incoming / ("b" * 32)
    (unread / "model").mkdir(parents=True)
    (unread / "model" / "the only copy").write_text("bytes")
    (unread / "journal.json").write_text('{"from": "another version"}')
    librarian = Librarian(surroundings)
    assert librarian.importer.recover() == []
    assert (incoming / "somebody's folder").is_dir()
    assert os.listdir(tmp_path / "far") == ["file"]
    assert (unread / "model" / "the only copy").read_text() == "bytes"
    librarian.close()


def test_nothing_is_moved_out_of_a_folder_of_an_app(librarian, make_model, models_folder):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    with pytest.raises(InvalidRequestError, match="an app looks for it"):
        librarian.imports.start(request(path, mode="move"))
    assert path.exists()


def test_files_of_models_in_the_library_are_no_source(librarian, finished, make_model, downloads):
    job = finished(librarian.imports.start(request(make_model(downloads / "a.safetensors"))))
    path = librarian.library.main_path(job.result["imported"][0])
    librarian.library.forget(job.result["imported"])  # as while the index is built anew
    for mode in ("copy", "move"):
        with pytest.raises(InvalidRequestError, match="in the library already"):
            librarian.imports.start(request(path, mode=mode))
    loose = make_model(librarian.library.root / "loose" / "b.safetensors")
    finished(librarian.imports.start(request(loose, mode="move")))
    assert not loose.exists()


def test_more_names_of_a_moved_file_are_told(librarian, finished, make_model, downloads):
    source = make_model(downloads / "a.safetensors")
    os.link(source, downloads / "other.name")
    job = finished(librarian.imports.start(request(source, mode="move")))
    assert "1 more name (a hard link)" in job.items[0].message
    assert (downloads / "other.name").exists()


def test_one_disk_mounted_twice_is_copied(librarian, finished, make_model, downloads, monkeypatch):
    def across(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    source = make_model(downloads / "a.safetensors")
    data = source.read_bytes()
    monkeypatch.setattr(os, "link", across)
    job = finished(librarian.imports.start(request(source, mode="move")))
    assert librarian.library.main_path(job.result["imported"][0]).read_bytes() == data
    assert not source.exists()


@pytest.mark.parametrize("hard_links", [True, False])
def test_an_undone_move_never_overwrites_what_has_the_name_now(
    librarian, finished, make_model, downloads, monkeypatch, hard_links
):
    if not hard_links:
        real_link = os.link

        def refuse(source, target, **more):
            if ".incoming" in str(target):
                raise OSError(errno.EPERM, "no hard links here")
            real_link(source, target, **more)

        monkeypatch.setattr(os, "link", refuse)
    source = make_model(downloads / "a.safetensors")
    data = source.read_bytes()

    def replaced_and_full(*_, **__):
        source.unlink(missing_ok=True)
        source.write_bytes(b"downloaded again")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("model_librarian.core.importing.importer.write_atomic", replaced_and_full)
    finished(librarian.imports.start(request(source, mode="move")))
    assert source.read_bytes() == b"downloaded again"
    assert (downloads / "a.safetensors.recovered").read_bytes() == data
    assert staging(librarian) == []


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_a_path_that_is_bent_after_it_was_checked_is_refused(
    librarian, finished, make_model, downloads, tmp_path, mode, monkeypatch
):
    inside = make_model(downloads / "folder" / "a.safetensors")
    secret = make_model(tmp_path / "secret" / "a.safetensors")
    os.utime(secret, ns=(inside.stat().st_atime_ns, inside.stat().st_mtime_ns))
    real_check = Importer.check

    def bend(self, arrival):
        if (downloads / "folder").is_symlink() or not hasattr(bend, "armed"):
            bend.armed = True
            return real_check(self, arrival)
        examined = real_check(self, arrival)
        (downloads / "folder").rename(downloads / "aside")
        (downloads / "folder").symlink_to(tmp_path / "secret")
        return examined

    monkeypatch.setattr(Importer, "check", bend)
    job = finished(librarian.imports.start(request(inside, mode=mode)))
    assert job.state == "failed"
    assert job.error.code in ("outside_allowed_roots", "source_changed")
    assert secret.exists()
    assert library_files(librarian) == set()


def test_a_file_that_was_lost_can_be_imported_again(librarian, finished, make_model, downloads):
    source = make_model(downloads / "a.safetensors")
    job = finished(librarian.imports.start(request(source)))
    librarian.library.main_path(job.result["imported"][0]).unlink()
    again = finished(librarian.imports.start(request(source)))
    assert [item.state for item in again.items] == ["done"]


def test_two_processes_that_import_one_file_make_one_model(surroundings, make_model, downloads):
    source = make_model(downloads / "a.safetensors")
    data = source.read_bytes()
    one = Librarian(surroundings)
    other = Librarian(surroundings.model_copy(update={"data_dir": surroundings.data_dir / "other"}))
    threads = []
    for librarian in (one, other):
        job = librarian.imports.start(request(source, mode="move"))
        threads.append((librarian, job))
    states = sorted(librarian.jobs.wait(job.id).items[0].state for librarian, job in threads)
    assert states[0] == "done"
    [placed] = surroundings.library_root.glob("*/*/*/a.safetensors")
    assert placed.read_bytes() == data
    assert (
        not source.exists() or source.read_bytes() == data
    )  # the one that came second gives back what it took
    one.close()
    other.close()


def test_an_original_that_cannot_be_removed_is_told(librarian, finished, make_model, downloads, monkeypatch):
    source = make_model(downloads / "a.safetensors")
    real_unlink = Path.unlink

    def refuse(path, **more):
        if path == source:
            raise PermissionError(errno.EPERM, "sticky")
        real_unlink(path, **more)

    monkeypatch.setattr(Path, "unlink", refuse)
    job = finished(librarian.imports.start(request(source, mode="move")))
    assert (job.state, job.items[0].state) == ("done", "done")
    assert "delete it by hand" in job.items[0].message


def test_an_index_that_fails_loses_no_import(librarian, finished, make_model, downloads, monkeypatch):
    import sqlite3

    def fail(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(type(librarian.library), "add_owned", fail)
        job = finished(librarian.imports.start(request(make_model(downloads / "a.safetensors"), mode="move")))
    assert job.items[0].state == "done"
    finished(librarian.scans.start("quick"))
    assert librarian.library.main_path(job.result["imported"][0]).exists()


def test_a_batch_of_thousands_does_not_flood_its_listeners(librarian, finished, downloads):
    paths = [downloads / f"{number}.safetensors" for number in range(2000)]
    for path in paths:
        path.write_text("<html>")
    events = []
    librarian.events.subscribe(lambda name, record: events.append(name))
    job = finished(librarian.imports.start(request(*paths)))
    assert job.state == "failed"
    assert len(events) < 200


def test_nothing_is_put_where_the_drive_of_the_library_should_be(
    librarian, finished, make_model, downloads, tmp_path
):
    source = make_model(downloads / "a.safetensors")
    root = librarian.library.root
    root.rename(tmp_path / "unplugged")
    root.mkdir()  # the empty folder in which the drive is mounted
    job = finished(librarian.imports.start(request(source, mode="move")))
    assert "Connect its drive" in job.error.message
    assert os.listdir(root) == []
    assert source.exists()


@pytest.mark.parametrize("same", [True, False])
def test_another_process_takes_the_name_at_the_last_moment(
    librarian, finished, make_model, downloads, monkeypatch, same
):
    """Its model stays as it is; ours is that one, or gets another name."""
    source = make_model(downloads / "up.safetensors")
    theirs = source.read_bytes() if same else make_model(downloads / "other.safetensors").read_bytes()
    real, took = Journal.place, []

    def place(self, staging, entry, known):
        final = librarian.library.metadata.folder(entry.model_id)
        if not took:
            shutil.copytree(staging.model_folder, final)
            (final / "up.safetensors").write_bytes(theirs)
            model = json.loads((final / "metadata.json").read_text())
            model["files"][0]["sha256"] = hashlib.sha256(theirs).hexdigest()
            (final / "metadata.json").write_text(json.dumps(model))
            took.append(final)
        return real(self, staging, entry, known)

    monkeypatch.setattr(Journal, "place", place)
    job = finished(librarian.imports.start(request(source, mode="move")))
    assert [item.state for item in job.items] == ["skipped" if same else "done"], job.items
    assert (took[0] / "up.safetensors").read_bytes() == theirs
    if same:
        assert source.exists()
        assert job.items[0].model_id == "vision/esrgan/up"
    else:
        assert job.items[0].model_id.startswith("vision/esrgan/up-")
        assert librarian.library.main_path(job.items[0].model_id).is_file()
    assert staging(librarian) == []
