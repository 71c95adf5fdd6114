"""Disks that are full, sources that break: a clear error on that item, the others come, nothing is left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_librarian.core.importing import ImportRequest, importer, source, transfer
from model_librarian.core.importing.importer import Importer
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import library

SMALL_BLOCK = 64 * 1024


def request(*paths: Path, **more) -> ImportRequest:
    return ImportRequest.model_validate({"items": [{"paths": [str(path)], **more} for path in paths]})


def left_behind(librarian) -> list[str]:
    return [
        name
        for name in os.listdir(librarian.library.root / ".incoming")
        if name not in ("metadata.lock", "placed")
    ]


@pytest.fixture
def three(make_model, downloads, monkeypatch) -> list[Path]:
    """Three files of several blocks; the tests break the second one."""
    monkeypatch.setattr(transfer, "BLOCK_BYTES", SMALL_BLOCK)
    names = ("first", "second", "third")
    return [make_model(downloads / f"{name}.safetensors", {"a": (400, 1000)}) for name in names]


def expect_only_the_second_to_fail(librarian, job, three: list[Path], before: list[bytes], code: str) -> None:
    assert [item.state for item in job.items] == ["done", "failed", "done"], job.items
    assert job.items[1].code == code
    assert len(job.items[1].message) > 20
    assert job.result["failed"] == 1
    assert len(list(librarian.library.root.glob("*/*/*/metadata.json"))) == 2
    assert left_behind(librarian) == []
    for path, data in zip((three[0], three[2]), (before[0], before[2]), strict=True):
        assert path.read_bytes() == data


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_a_disk_that_becomes_full(surroundings, make_model, downloads, tmpfs, monkeypatch, mode):
    small = tmpfs("size=6m")
    for module, name in ((importer, "preflight"), (source, "require_space")):
        monkeypatch.setattr(module, name, lambda *_: [])  # somebody else filled it meanwhile
    librarian = Librarian(surroundings.model_copy(update={"library_root": small / "library"}))
    three = [
        make_model(downloads / "first.safetensors"),
        make_model(downloads / "second.safetensors", {"a": (4000, 1000)}),
        make_model(downloads / "third.safetensors"),
    ]
    before = [path.read_bytes() for path in three]
    job = librarian.jobs.wait(librarian.imports.start(request(*three, mode=mode)).id, timeout=60)
    assert [item.state for item in job.items] == ["done", "failed", "done"], job.items
    assert job.items[1].code == "insufficient_space"
    assert f"became full while writing {small / 'library'}." in job.items[1].message
    assert left_behind(librarian) == []
    assert three[1].read_bytes() == before[1]
    assert three[0].exists() == (mode == "copy")
    librarian.close()


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_a_source_that_is_cut_short_while_it_is_read(librarian, finished, three, monkeypatch, mode):
    before = [path.read_bytes() for path in three]
    real = transfer._read

    def read(file, buffer, path):
        count = real(file, buffer, path)
        if path.name == "second.safetensors":
            os.truncate(path, 3 * SMALL_BLOCK)
        return count

    monkeypatch.setattr(transfer, "_read", read)
    job = finished(librarian.imports.start(request(*three, mode=mode)))
    if mode == "copy":
        expect_only_the_second_to_fail(librarian, job, three, before, "source_changed")
    else:
        assert [item.state for item in job.items] == ["done", "failed", "done"]
    assert (
        three[1].read_bytes() == before[1][: 3 * SMALL_BLOCK]
    )  # what its writer made of it, and under its name


@pytest.mark.parametrize("mode", ["copy", "auto"])
def test_a_source_that_vanishes_after_it_was_looked_at(librarian, finished, three, monkeypatch, mode):
    before = [path.read_bytes() for path in three]
    real = Importer.check

    def check(self, arrival):
        examined = real(self, arrival)
        if arrival.group.name == "second.safetensors":
            three[1].unlink()
        return examined

    monkeypatch.setattr(Importer, "check", check)
    job = finished(librarian.imports.start(request(*three, mode=mode)))
    expect_only_the_second_to_fail(librarian, job, three, before, "source_changed")
    assert "not there any more" in job.items[1].message


@pytest.mark.parametrize("mode", ["copy", "move", "adopt", "in-place"])
def test_a_disk_that_cannot_read_on(librarian, finished, three, monkeypatch, mode):
    before = [path.read_bytes() for path in three]
    real = transfer._open_source

    def open_source(path):
        file = real(path)
        if "second" not in path.name:
            return file
        file.close()
        return Broken(path)

    monkeypatch.setattr(transfer, "_open_source", open_source)
    job = finished(librarian.imports.start(request(*three, mode=mode)))
    assert [item.state for item in job.items] == ["done", "failed", "done"], job.items
    assert (job.items[1].code, "cannot be read to its end" in job.items[1].message) == ("storage_error", True)
    assert left_behind(librarian) == []
    assert three[1].read_bytes() == before[1]
    assert not three[1].is_symlink()


@pytest.fixture
def faulty_disk(tmp_path) -> Iterator[Callable[[Path, str, int], Path]]:
    """Mount a folder through a filesystem that cannot read one of its files from an offset on."""
    mounted: list[tuple[Path, subprocess.Popen[str]]] = []

    def mount(folder: Path, broken: str, offset: int) -> Path:
        point = tmp_path / f"dying disk {len(mounted)}"
        point.mkdir()
        server = Path(__file__).with_name("faulty_disk.py")
        process = subprocess.Popen(
            [sys.executable, server, point, folder, broken, str(offset)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline() != "ready\n":
            pytest.skip(f"no FUSE here: {process.communicate()[1].strip().rpartition(chr(10))[2]}")
        mounted.append((point, process))
        return point

    yield mount
    for point, process in mounted:
        subprocess.run(["umount", str(point)], check=True)
        process.communicate(timeout=10)
        assert process.returncode == 0


MODES = [{"mode": mode} for mode in ("copy", "auto", "move", "adopt", "in-place")]


@pytest.mark.parametrize("how", [*MODES, {"mode": "copy", "delete_originals": True}], ids=str)
def test_a_real_filesystem_that_ends_with_an_io_error(
    surroundings, three, downloads, faulty_disk, finished, how
):
    """Nothing of ours is replaced here: the kernel answers EIO in the middle of the file."""
    before = [path.read_bytes() for path in three]
    disk = faulty_disk(downloads, "second.safetensors", len(before[1]) // 2)
    librarian = Librarian(surroundings.model_copy(update={"allowed_roots": [disk]}))
    try:
        sources = [disk / path.name for path in three]
        mode, trash = how["mode"], how.get("delete_originals", False)
        asked = request(*sources, mode=mode).model_copy(update={"delete_originals": trash})
        job = librarian.jobs.wait(librarian.imports.start(asked).id, timeout=60)
        assert [item.state for item in job.items] == ["done", "failed", "done"], job.items
        assert (job.items[1].code, "cannot be read to its end" in job.items[1].message) == (
            "storage_error",
            True,
        )
        assert str(sources[1]) in job.items[1].message
        if mode != "adopt":  # the links, which this disk cannot have, are tried again at the next start
            assert left_behind(librarian) == []
        assert [path.read_bytes() for path in three] == before, "it cannot be written to, and lost nothing"
        for item, data in zip((job.items[0], job.items[2]), (before[0], before[2]), strict=True):
            assert librarian.library.main_path(item.model_id).read_bytes() == data
    finally:
        librarian.close()


def test_a_header_that_a_dying_disk_cannot_read_is_said_when_it_is_looked_at(
    surroundings, three, downloads, faulty_disk
):
    disk = faulty_disk(downloads, "second.safetensors", 4)
    librarian = Librarian(surroundings.model_copy(update={"allowed_roots": [disk]}))
    try:
        groups = {group.name: group for group in librarian.imports.inspect([str(disk)]).groups}
        assert [groups[path.name].importable for path in three] == [True, False, True]
        assert "second.safetensors" in groups["second.safetensors"].problem
        assert "Check the drive" in groups["second.safetensors"].problem
    finally:
        librarian.close()


class Broken:
    """A file of which the disk gives one block."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._given = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer) -> int:
        if self._given:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._given = True
        return self._file.readinto(buffer)


@pytest.mark.parametrize("mode", ["copy", "auto", "move", "adopt", "in-place"])
def test_a_folder_that_becomes_a_link_to_outside_after_it_was_looked_at(
    librarian, finished, make_model, downloads, tmp_path, monkeypatch, mode
):
    """The path was checked, then what it means is changed: nothing from outside comes in, and nothing there goes."""
    path = make_model(downloads / "sub" / "a.safetensors")
    secret = make_model(tmp_path / "outside" / "a.safetensors")
    before = secret.read_bytes()
    real = Importer.sort_out

    def sort_out(self, *arguments, **more):
        arrival = real(self, *arguments, **more)
        if not (downloads / "sub").is_symlink():
            (downloads / "sub").rename(downloads / "moved")
            (downloads / "sub").symlink_to(secret.parent)
        return arrival

    other = make_model(
        downloads / "b.safetensors"
    )  # of a single item it would be found before the job begins
    monkeypatch.setattr(Importer, "sort_out", sort_out)
    job = finished(librarian.imports.start(request(path, other, mode=mode)))
    assert [item.code for item in job.items] == ["outside_allowed_roots", None]
    assert secret.read_bytes() == before
    assert not secret.is_symlink()
    assert left_behind(librarian) == []
    assert len(job.result["imported"]) == 1


@pytest.mark.parametrize("mode", ["copy", "in-place"])
def test_a_cancel_also_ends_reading_a_file_that_may_be_the_same(
    librarian, finished, make_model, models_folder, downloads, scan, monkeypatch, mode
):
    listed = make_model(models_folder / "loras" / "listed.safetensors", {"a": (2000, 1000)})
    monkeypatch.setattr(librarian.scans, "hash_in_background", lambda: None)
    scan()
    path = downloads / "same.safetensors"
    path.write_bytes(listed.read_bytes())
    other = make_model(downloads / "other.safetensors")
    monkeypatch.setattr(library, "HASH_BLOCK_BYTES", SMALL_BLOCK)
    blocks: list[int] = []
    real = library.Library.hash_of

    def hash_of(self, model_id, told=None):
        def noted(read: int, size: int) -> None:
            blocks.append(read)
            librarian.jobs.cancel(job.id)
            if told is not None:
                told(read, size)

        return real(self, model_id, noted)

    monkeypatch.setattr(library.Library, "hash_of", hash_of)
    started = threading.Event()
    monkeypatch.setattr(
        Importer, "run", lambda self, *of, real=Importer.run: started.wait(10) and real(self, *of)
    )
    job = librarian.imports.start(request(path, other, mode=mode))
    started.set()
    assert finished(job).state == "cancelled"
    assert blocks == [SMALL_BLOCK]
    assert path.read_bytes() == listed.read_bytes()
    assert left_behind(librarian) == []


@pytest.mark.parametrize("mode", ["copy", "auto", "move", "adopt"])
def test_a_source_that_is_replaced_after_it_was_looked_at(librarian, finished, three, monkeypatch, mode):
    before = [path.read_bytes() for path in three]
    real = Importer.check

    def check(self, arrival):
        examined = real(self, arrival)
        if arrival.group.name == "second.safetensors":
            three[1].rename(three[1].with_name("aside"))
            three[1].write_bytes(b"downloaded again")
        return examined

    monkeypatch.setattr(Importer, "check", check)
    job = finished(librarian.imports.start(request(*three, mode=mode)))
    assert (job.items[1].state, job.items[1].code) == ("failed", "source_changed"), job.items
    assert "changed since it was looked at" in job.items[1].message
    assert three[1].read_bytes() == b"downloaded again"
    assert three[1].with_name("aside").read_bytes() == before[1]
    assert not three[1].is_symlink()
    assert left_behind(librarian) == []


def test_a_source_that_is_replaced_once_it_was_read_is_given_back_where_no_hard_links_are(
    librarian, finished, three, monkeypatch
):
    """Without a second name the file is read under its own, and only then renamed."""
    before = [path.read_bytes() for path in three]

    def refuse(*_, **__) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    real = source.hash_file

    def hash_file(path, *more):
        transferred = real(path, *more)
        if path == three[1]:
            path.rename(path.with_name("aside"))
            path.write_bytes(before[1])  # the same bytes, but not what was read
        return transferred

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(source, "hash_file", hash_file)
    job = finished(librarian.imports.start(request(*three, mode="move")))
    assert [item.state for item in job.items] == ["done", "failed", "done"], job.items
    assert "was replaced while it was imported" in job.items[1].message
    assert three[1].read_bytes() == before[1]
    assert left_behind(librarian) == []


@pytest.mark.parametrize("empty_folder", [True, False])
def test_a_library_whose_drive_is_unplugged_is_not_begun_anew_in_its_place(
    librarian, finished, three, empty_folder
):
    """What a drive was mounted over is an empty folder once it is gone."""
    root = librarian.library.root
    away = root.with_name("unplugged")
    root.rename(away)
    if empty_folder:
        root.mkdir()
    [warning] = librarian.imports.inspect([str(path) for path in three]).warnings
    assert warning.code == "library_unreachable"
    job = finished(librarian.imports.start(request(*three, mode="move")))
    assert [(item.state, item.code) for item in job.items] == [("failed", "storage_error")] * 3
    assert "cannot be reached. Connect its drive" in job.error.message
    assert list(root.iterdir()) == [] if empty_folder else not root.exists()
    assert all(path.exists() for path in three)
    if empty_folder:
        root.rmdir()
    away.rename(root)
    assert finished(librarian.imports.start(request(three[0]))).state == "done"
