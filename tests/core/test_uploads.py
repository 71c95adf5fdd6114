"""Uploads on the disk: what a kill, a power cut, a full disk and another server leave of them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from blake3 import blake3

from model_librarian.core import errors
from model_librarian.core.importing import receiving
from model_librarian.core.importing import uploads as uploads_module
from model_librarian.core.importing.receiving import LIFETIME
from model_librarian.core.importing.uploads import Uploads

DATA = random.Random(7).randbytes(2_000_003)
SHA256, BLAKE3 = hashlib.sha256(DATA).hexdigest(), blake3(DATA).hexdigest()


@pytest.fixture
def root(librarian, surroundings) -> Path:
    """The root of a library."""
    return surroundings.library_root


@pytest.fixture
def uploads(librarian) -> Uploads:
    return librarian.uploads


def send(uploads: Uploads, upload_id: str, start: int, end: int | None = None, data: bytes = DATA):
    """Write a part, as one request does."""
    writing = uploads.write(upload_id, start)
    for at in range(start, len(data) if end is None else end, 100_000):
        writing.append([data[at : min(at + 100_000, len(data) if end is None else end)]])
    return writing.close().result()


def arrived(uploads: Uploads, name: str, data: bytes = DATA) -> str:
    """The id of a complete upload."""
    upload_id = uploads.create(len(data), name).id
    assert send(uploads, upload_id, 0, data=data).complete
    return upload_id


def folder_of(root: Path, upload_id: str) -> Path:
    return root / ".incoming" / f"upload-{upload_id}"


def file_of(root: Path, upload_id: str) -> Path:
    [file] = (folder_of(root, upload_id) / "content").iterdir()
    return file


def record_of(root: Path, upload_id: str) -> dict:
    return json.loads((folder_of(root, upload_id) / "upload.json").read_bytes())


def change_record(root: Path, upload_id: str, **changes) -> None:
    record = {**record_of(root, upload_id), **changes}
    (folder_of(root, upload_id) / "upload.json").write_text(json.dumps(record))


def grow_old(root: Path, upload_id: str, age: timedelta) -> None:
    folder = folder_of(root, upload_id)
    then = time.time() - age.total_seconds()
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))


# --- bytes and hashes ---------------------------------------------------------------------------------


def test_the_hashes_are_known_with_the_last_byte(uploads, root):
    upload = uploads.create(len(DATA), "a.safetensors")
    assert (upload.offset, upload.sha256, upload.complete) == (0, None, False)
    assert send(uploads, upload.id, 0, 1_000_001).sha256 is None
    done = send(uploads, upload.id, 1_000_001)
    assert (done.sha256, done.blake3, done.complete) == (SHA256, BLAKE3, True)
    assert uploads.get(upload.id)[:4] == done[:4]
    assert file_of(root, upload.id).read_bytes() == DATA


def test_bytes_are_durable_before_the_last_is_answered(uploads, monkeypatch):
    real, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    upload_id = uploads.create(len(DATA), "a.safetensors").id
    writing = uploads.write(upload_id, 0)
    writing.append([DATA]).result()
    monkeypatch.setattr(os, "fsync", fsync)
    writing.close().result()
    assert synced[0] == len(DATA)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what is written")
def test_each_byte_is_written_once_and_never_read_again(uploads):
    def counted() -> tuple[int, int]:
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counts["rchar"]), int(counts["wchar"])

    read, written = counted()
    upload_id = arrived(uploads, "a.safetensors")
    uploads.staged([upload_id])
    read_after, written_after = counted()
    assert len(DATA) <= written_after - written < len(DATA) + 50_000
    assert read_after - read < 100_000


def test_after_a_restart_the_hashes_catch_up(uploads, root):
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    send(uploads, upload_id, 0, 1_500_000)
    assert send(Uploads(root), upload_id, 1_500_000).sha256 == SHA256


def test_hashes_of_two_servers_that_take_turns(uploads, root):
    other = Uploads(root)
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    for number, start in enumerate(range(0, len(DATA), 300_000)):
        done = send((uploads, other)[number % 2], upload_id, start, min(start + 300_000, len(DATA)))
    assert (done.sha256, done.blake3) == (SHA256, BLAKE3)


def test_a_crash_between_the_last_byte_and_its_hash(uploads, root):
    upload_id = arrived(uploads, "a.safetensors")
    change_record(root, upload_id, sha256=None, blake3=None)
    [file] = Uploads(root).staged([upload_id])
    assert (file.transferred.sha256, file.transferred.blake3) == (SHA256, BLAKE3)
    assert record_of(root, upload_id)["sha256"] == SHA256


KILLED = """
import os, signal, sys
from pathlib import Path
from model_librarian.core.importing.uploads import Uploads
root, upload_id, offset, source = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
writing = Uploads(root).write(upload_id, offset)
writing.append([source.read_bytes()[offset : offset + 700_000]]).result()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_server_loses_nothing_that_had_come(uploads, root, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(DATA)
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    for offset in (0, 700_000):
        command = [sys.executable, "-c", KILLED, root, upload_id, str(offset), source]
        assert subprocess.run(command, check=False).returncode == -9
        assert uploads.get(upload_id).offset == offset + 700_000
    assert send(uploads, upload_id, 1_400_000).sha256 == SHA256


def test_after_a_power_cut_only_what_is_durable_counts(uploads, root):
    """The file may have its length already, but not its bytes."""
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    send(uploads, upload_id, 0, 500_000)
    with open(file_of(root, upload_id), "ab") as file:
        file.write(b"\0" * 400_000)
    assert uploads.get(upload_id).offset == 900_000
    change_record(root, upload_id, boot=record_of(root, upload_id)["boot"] - 86_400)
    started = Uploads(root)
    assert started.get(upload_id).offset == 500_000
    assert send(started, upload_id, 500_000).sha256 == SHA256


def test_much_is_made_durable_on_the_way(uploads, root, monkeypatch):
    monkeypatch.setattr(receiving, "_DURABLE_EVERY_BYTES", 300_000)
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    writing = uploads.write(upload_id, 0)
    writing.append([DATA[:400_000]]).result()
    assert record_of(root, upload_id)["durable"] == 400_000
    writing.close().result()


def test_what_an_fsync_could_not_write_is_sent_again(uploads, root, monkeypatch):
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    send(uploads, upload_id, 0, 500_000)
    writing = uploads.write(upload_id, 500_000)
    writing.append([DATA[500_000:900_000]]).result()
    with monkeypatch.context() as patch:

        def fails(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(os, "fsync", fails)
        with pytest.raises(errors.StorageError):
            writing.close().result()
    assert uploads.get(upload_id).offset == 500_000
    assert send(uploads, upload_id, 500_000).sha256 == SHA256


def test_a_wrong_checksum_after_a_failed_fsync_makes_no_hole(uploads, root, monkeypatch):
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    send(uploads, upload_id, 0, 300_000)
    with open(file_of(root, upload_id), "ab") as file:
        file.write(DATA[300_000:500_000])  # came, but a kill was faster than the fsync
    monkeypatch.setattr(receiving, "_DURABLE_EVERY_BYTES", 250_000)
    writing = uploads.write(upload_id, 500_000, checksum=("sha1", b"else"))
    with monkeypatch.context() as patch:

        def fails(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(os, "fsync", fails)
        with pytest.raises(errors.StorageError):
            writing.append([DATA[500_000:900_000]]).result()
    with pytest.raises(errors.ChecksumError):
        writing.close().result()
    assert uploads.get(upload_id).offset == 300_000
    assert send(uploads, upload_id, 300_000).sha256 == SHA256


def test_a_full_disk_keeps_what_fits_to_the_byte(uploads, root, monkeypatch):
    """The last write is a part of what was asked for, as the kernel does it."""

    class Full:
        def __init__(self, file) -> None:
            self._file = file

        def write(self, block) -> int:
            room = 1_234_567 - self._file.tell()
            if room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(block[:room])

        def __getattr__(self, name: str):
            return getattr(self._file, name)

    upload_id = uploads.create(len(DATA), "a.safetensors").id
    writing = uploads.write(upload_id, 0)
    writing._file = Full(writing._file)
    with pytest.raises(errors.InsufficientSpaceError, match="1234567 bytes"):
        writing.append([DATA]).result()
    with pytest.raises(errors.InsufficientSpaceError):
        writing.append([b"more"]).result()
    with monkeypatch.context() as patch:

        def fails(path: Path, data: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(receiving, "write_atomic", fails)
        with pytest.raises(errors.InsufficientSpaceError, match="1234567 bytes"):
            writing.close().result()
    assert uploads.get(upload_id).offset == 1_234_567
    assert send(uploads, upload_id, 1_234_567).sha256 == SHA256


def test_more_than_was_said_is_not_taken(uploads):
    upload_id = uploads.create(10, "a.safetensors").id
    writing = uploads.write(upload_id, 0)
    writing.append([b"12345"]).result()
    with pytest.raises(errors.UploadTooLongError):
        writing.append([b"1234567"]).result()
    assert writing.close().result().offset == 5


# --- who may -----------------------------------------------------------------------------------------


def test_only_one_writes(uploads, root):
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    writing = uploads.write(upload_id, 0)
    for other in (uploads, Uploads(root)):
        with pytest.raises(errors.UploadBusyError):
            other.write(upload_id, 0)
    writing.append([DATA[:10]])
    assert writing.close().result() is writing.close().result()
    with pytest.raises(errors.UploadOffsetError) as wrong:
        uploads.write(upload_id, 0)
    assert wrong.value.offset == 10
    assert send(uploads, upload_id, 10).sha256 == SHA256


def test_what_is_written_to_is_not_removed(uploads, root):
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    writing = uploads.write(upload_id, 0)
    with pytest.raises(errors.UploadBusyError):
        Uploads(root).remove(upload_id)
    grow_old(root, upload_id, LIFETIME * 2)
    uploads.remove_expired()
    writing.append([DATA]).result()
    assert writing.close().result().sha256 == SHA256


def test_closing_keeps_what_has_come(uploads, root):
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    writing = uploads.write(upload_id, 0)
    writing.append([DATA[:600_000]])
    uploads.close()
    assert record_of(root, upload_id)["durable"] == 600_000
    assert send(Uploads(root), upload_id, 600_000).sha256 == SHA256


def test_not_too_many(uploads, monkeypatch):
    monkeypatch.setattr(uploads_module, "MAX_UPLOADS", 3)
    monkeypatch.setattr(uploads_module, "MAX_WRITTEN", 2)
    first, second, third = [uploads.create(1, "a").id for _ in range(3)]
    with pytest.raises(errors.TooManyUploadsError):
        uploads.create(1, "a")
    writings = [uploads.write(one, 0) for one in (first, second)]
    with pytest.raises(errors.UnavailableError):
        uploads.write(third, 0)
    for writing in writings:
        writing.close().result()
    uploads.write(third, 0).close().result()
    uploads.remove(third)
    uploads.create(1, "a")


def test_room_is_kept_for_what_has_begun(uploads, root, monkeypatch):
    free = shutil.disk_usage(root).free
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, 0, 1_000_000_000))
    first = uploads.create(600_000_000, "a")
    with pytest.raises(errors.InsufficientSpaceError):
        uploads.create(600_000_000, "b")
    uploads.remove(first.id)
    second = uploads.create(600_000_000, "b")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, 0, 1_000))
    with pytest.raises(errors.InsufficientSpaceError):
        uploads.write(second.id, 0)
    assert uploads.get(second.id).offset == 0


def test_a_library_that_is_gone_takes_nothing(uploads, root):
    upload_id = uploads.create(len(DATA), "a").id
    (root / "library.json").unlink()
    with pytest.raises(errors.StorageError):
        uploads.create(1, "b")
    with pytest.raises(errors.StorageError):
        uploads.write(upload_id, 0)


# --- how long ----------------------------------------------------------------------------------------


def test_what_nobody_goes_on_with_is_removed(uploads, root):
    old, young, done = uploads.create(5, "old").id, uploads.create(5, "young").id, arrived(uploads, "done")
    assert uploads.get(old).expires_at - uploads.get(young).expires_at < timedelta(seconds=30)
    grow_old(root, old, LIFETIME + timedelta(minutes=1))
    grow_old(root, young, LIFETIME - timedelta(minutes=1))
    grow_old(root, done, LIFETIME + timedelta(minutes=1))
    with pytest.raises(errors.UploadExpiredError):
        uploads.get(old)
    with pytest.raises(errors.UploadExpiredError):
        uploads.write(old, 0)
    uploads.remove_expired()
    assert {path.name for path in (root / ".incoming").glob("upload-*")} == {f"upload-{young}"}
    with pytest.raises(errors.NotFoundError):
        uploads.get(old)


def test_what_a_kill_left_of_a_creation_goes_in_time(uploads, root):
    halfway = root / ".incoming" / f"upload-{'0' * 32}"
    (halfway / "content").mkdir(parents=True)
    theirs = root / ".incoming" / "upload-of-mine"
    theirs.mkdir()
    with pytest.raises(errors.NotFoundError):
        uploads.get("0" * 32)
    grow_old(root, "0" * 32, timedelta(hours=1))
    uploads.remove_expired()
    assert halfway.exists()
    grow_old(root, "0" * 32, LIFETIME * 2)
    os.utime(theirs, (0, 0))
    uploads.remove_expired()
    assert not halfway.exists()
    assert theirs.exists()


def test_a_record_that_cannot_be_read_disturbs_nobody(uploads, root):
    bad = uploads.create(5, "bad").id
    (folder_of(root, bad) / "upload.json").write_text("{")
    with pytest.raises(errors.NotFoundError):
        uploads.get(bad)
    assert arrived(uploads, "good")


def test_a_start_leaves_uploads_alone_and_finishes_imports(librarian, uploads, root, surroundings):
    from model_librarian.core.librarian import Librarian

    upload_id = uploads.create(len(DATA), "a.safetensors").id
    send(uploads, upload_id, 0, 1_000_000)
    cut_off = root / ".incoming" / ("a" * 32)
    (cut_off / "model").mkdir(parents=True)
    librarian.close()
    again = Librarian(surroundings)
    try:
        again.start()
        assert not cut_off.exists(), "what an import left is cleaned up"
        assert send(again.uploads, upload_id, 1_000_000).sha256 == SHA256
    finally:
        again.close()


# --- what is made of them -----------------------------------------------------------------------------


def test_staged_files_keep_their_paths_and_have_names_of_their_own(uploads):
    names = [
        "FLUX/vae/x.safetensors",
        "FLUX/vae/X.safetensors",
        "Model:A.gguf",
        "Model*A.gguf",
        "../../e.gguf",
    ]
    ids = [arrived(uploads, name, os.urandom(9)) for name in names]
    staged = uploads.staged(ids)
    first, second, third, fourth, fifth = [file.name for file in staged]
    assert (first, third, fifth) == ("FLUX/vae/x.safetensors", "Model_A.gguf", "e.gguf")
    assert second.startswith("FLUX/vae/X-")
    assert second.endswith(".safetensors")
    assert fourth == f"Model_A-{staged[3].transferred.sha256[:8]}.gguf"


def test_what_is_not_complete_is_not_staged(uploads):
    upload_id = uploads.create(len(DATA), "a.safetensors").id
    send(uploads, upload_id, 0, 10)
    with pytest.raises(errors.UploadIncompleteError, match=f"10 of {len(DATA)}"):
        uploads.staged([upload_id])
    with pytest.raises(errors.NotFoundError):
        uploads.staged(["../../etc"])


def test_taking_locks_and_forgets_what_was_taken(uploads, root, tmp_path):
    taken, kept = arrived(uploads, "taken.gguf"), arrived(uploads, "kept.gguf")
    with uploads.taking([taken, kept]) as files:
        for other in (uploads, Uploads(root)):
            with pytest.raises(errors.UploadBusyError), other.taking([kept]):
                pass
        with pytest.raises(errors.UploadBusyError):
            uploads.remove(taken)
        files[0].path.rename(tmp_path / "taken")
    assert not folder_of(root, taken).exists()
    assert file_of(root, kept).read_bytes() == DATA
    uploads.remove(kept)
    with pytest.raises(errors.NotFoundError), uploads.taking([kept]):
        pass


def test_taking_that_fails_lets_go(uploads):
    complete, begun = arrived(uploads, "a.gguf"), uploads.create(5, "b.gguf").id
    with pytest.raises(errors.UploadIncompleteError), uploads.taking([complete, begun]):
        pass
    with pytest.raises(RuntimeError), uploads.taking([complete]):
        raise RuntimeError
    with uploads.taking([complete]) as [file]:
        assert file.path.read_bytes() == DATA


KILLED_IMPORT = """
import os, signal, sys
from pathlib import Path
from model_librarian.core.importing import ImportRequest
from model_librarian.core.importing.journal import Journal
from model_librarian.core.librarian import Librarian
from model_librarian.core.settings import Surroundings
real = Journal.place
def place(self, *arguments):
    if sys.argv[3] == "after":
        real(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
Journal.place = place
librarian = Librarian(Surroundings.model_validate_json(Path(sys.argv[1]).read_bytes()))
items = [{"uploads": [sys.argv[2]]}]
job = librarian.imports.start(ImportRequest.model_validate({"items": items}))
print(librarian.jobs.wait(job.id, timeout=60))
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_import_that_is_killed_gives_the_upload_back_or_has_it(moment, surroundings, make_model, tmp_path):
    from model_librarian.core.importing import ImportRequest
    from model_librarian.core.librarian import Librarian

    data = make_model(tmp_path / "up.safetensors").read_bytes()
    root = surroundings.library_root
    librarian = Librarian(surroundings)
    upload_id = arrived(librarian.uploads, "up.safetensors", data)
    librarian.close()
    told = tmp_path / "surroundings.json"
    told.write_text(surroundings.model_dump_json())
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IMPORT, told, upload_id, moment], capture_output=True, check=False
    )
    assert killed.returncode == -9, killed

    librarian = Librarian(surroundings)
    try:
        librarian.start()
        if moment == "before":
            assert not [path for path in root.rglob("up.safetensors") if ".incoming" not in path.parts]
            items = [{"uploads": [upload_id]}]
            job = librarian.imports.start(ImportRequest.model_validate({"items": items}))
            assert librarian.jobs.wait(job.id, timeout=60).state == "done"
        [placed] = root.rglob("up.safetensors")
        assert ".incoming" not in placed.parts
        assert placed.read_bytes() == data
        with pytest.raises(errors.NotFoundError):
            librarian.uploads.get(upload_id)
    finally:
        librarian.close()


# --- what comes along with a model ----------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n picture"
CIVITAI = json.dumps({"trainedWords": ["a word"], "model": {"name": "Better style"}}).encode()


def by_upload(files):
    return [file.upload for file in files]


def test_neighbours_are_sorted_to_their_models(librarian, uploads, make_model, tmp_path):
    data = make_model(tmp_path / "up.safetensors").read_bytes()
    other = make_model(tmp_path / "other.safetensors").read_bytes()
    model = arrived(uploads, "mine/style.safetensors", data)
    shards = [arrived(uploads, f"mine/set-0000{n}-of-00002.safetensors", other + bytes(n)) for n in (1, 2)]
    picture = arrived(uploads, "mine/style.preview.png", PNG)
    record = arrived(uploads, "mine/style.civitai.info", CIVITAI)
    of_set = arrived(uploads, "mine/set.png", PNG)
    elsewhere = arrived(uploads, "style.png", PNG)
    of_none = arrived(uploads, "mine/stylish.png", PNG)
    too_large = arrived(uploads, "mine/style.txt", bytes(4 * 1024 * 1024 + 1))

    groups = librarian.imports.inspect_uploads(
        [picture, of_set, elsewhere, of_none, too_large, record, model, *shards]
    ).groups

    beside = {tuple(by_upload(group.files)): by_upload(group.beside) for group in groups}
    assert beside == {
        (model,): [picture, record],
        tuple(shards): [of_set],
        (elsewhere,): [],
        (of_none,): [],
        (too_large,): [],
    }
    assert [group.importable for group in groups if not group.beside] == [False] * 3


def test_what_lies_beside_an_upload_comes_along(librarian, finished, uploads, root, make_model, tmp_path):
    from model_librarian.core.importing import ImportRequest

    data = make_model(tmp_path / "up.safetensors").read_bytes()
    model = arrived(uploads, "style.safetensors", data)
    ids = [arrived(uploads, "style.preview.png", PNG), arrived(uploads, "style.civitai.info", CIVITAI)]
    items = [{"uploads": [model], "beside": ids}]
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))

    assert (job.state, job.items[0].message) == ("done", None)
    details = librarian.models.details(job.items[0].model_id)
    assert details.official_name == "Better style"
    assert details.trained_words == ["a word"]
    assert librarian.models.preview(details.model_id)[0].read_bytes() == PNG
    folder = librarian.library.metadata.folder(details.model_id)
    assert sorted(path.name for path in folder.iterdir()) == [
        "metadata.json", "preview.png", "style.civitai.info", "style.safetensors",
    ]  # fmt: skip
    assert list((root / ".incoming").glob("upload-*")) == []


def test_a_picture_of_two_models_comes_along_with_both(librarian, finished, uploads, make_model, tmp_path):
    from model_librarian.core.importing import ImportRequest

    models = [
        arrived(uploads, f"style.{ending}", make_model(tmp_path / f"{ending}.safetensors").read_bytes())
        for ending in ("safetensors", "sft")
    ]
    picture = arrived(uploads, "style.png", PNG)
    groups = librarian.imports.inspect_uploads([*models, picture]).groups
    assert [by_upload(group.beside) for group in groups] == [[picture], [picture]]
    items = [{"uploads": [model], "beside": [picture]} for model in models]
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
    assert [item.state for item in job.items] == ["done", "done"]
    for item in job.items:
        assert librarian.models.preview(item.model_id)[0].read_bytes() == PNG
    with pytest.raises(errors.NotFoundError):
        uploads.get(picture)


def test_what_came_with_a_model_that_failed_is_kept_for_another_try(librarian, finished, uploads):
    from model_librarian.core.importing import ImportRequest

    model, picture = arrived(uploads, "style.safetensors"), arrived(uploads, "style.png", PNG)
    items = [{"uploads": [model], "beside": [picture]}]
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
    assert job.state == "failed"
    assert uploads.get(model).complete
    assert uploads.get(picture).complete


def test_a_cancel_keeps_what_came_with_models_that_are_not_in_the_library_only(
    librarian, finished, uploads, make_model, tmp_path, monkeypatch
):
    from model_librarian.core.importing import Importer, ImportRequest

    models, pictures = [], []
    for n in range(3):
        data = make_model(tmp_path / f"{n}.safetensors", {"a": (n + 1, 3)}).read_bytes()
        models.append(arrived(uploads, f"{n}.safetensors", data))
        pictures.append(arrived(uploads, f"{n}.png", PNG))
    real, began = Importer._index, threading.Event()

    def index_then_cancel(importer, model_id, replaced=None):
        real(importer, model_id, replaced)
        assert began.wait(10)
        librarian.jobs.cancel(job.id)

    monkeypatch.setattr(Importer, "_index", index_then_cancel)
    items = [
        {"uploads": [model], "beside": [picture]} for model, picture in zip(models, pictures, strict=True)
    ]
    job = librarian.imports.start(ImportRequest.model_validate({"items": items}))
    began.set()
    ended = finished(job)
    done = [item.state == "done" for item in ended.items]
    assert (ended.state, any(done), all(done)) == ("cancelled", True, False)
    for upload_id, was_done in zip((*models, *pictures), done * 2, strict=True):
        if was_done:
            with pytest.raises(errors.NotFoundError):
                uploads.get(upload_id)
        else:
            assert uploads.get(upload_id).complete


def test_a_model_does_not_wait_for_a_picture_that_is_gone(librarian, finished, uploads, make_model, tmp_path):
    from model_librarian.core.importing import ImportRequest

    data = make_model(tmp_path / "up.safetensors").read_bytes()
    model, picture = arrived(uploads, "style.safetensors", data), arrived(uploads, "style.png", PNG)
    uploads.remove(picture)
    items = [{"uploads": [model], "beside": [picture]}]
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
    assert job.items[0].state == "done"
    assert "What was to come along did not" in job.items[0].message


def test_what_does_not_belong_to_a_model_does_not_come_along(
    librarian, finished, uploads, make_model, tmp_path
):
    from model_librarian.core.importing import ImportRequest

    data = make_model(tmp_path / "up.safetensors").read_bytes()
    model, other = arrived(uploads, "style.safetensors", data), arrived(uploads, "metadata.json", b"{}")
    items = [{"uploads": [model], "beside": [other]}]
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
    assert job.items[0].state == "failed"
    assert "metadata.json does not belong to style.safetensors" in job.items[0].message
    assert uploads.get(model).complete
