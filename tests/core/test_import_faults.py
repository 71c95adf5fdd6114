"""Disks that are full, sources that break: a clear error on that item, the others come, nothing is left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_librarian.core.importing import ImportRequest, importer, source, transfer
from model_librarian.core.importing.importer import Importer
from model_librarian.core.librarian import Librarian

SMALL_BLOCK = 64 * 1024


def request(*paths: Path, **more) -> ImportRequest:
    return ImportRequest.model_validate({"items": [{"paths": [str(path)], **more} for path in paths]})


def left_behind(librarian) -> list[str]:
    return [name for name in os.listdir(librarian.library.root / ".incoming") if name != "metadata.lock"]


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
    assert "became full" in job.items[1].message
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
