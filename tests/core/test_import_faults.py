"""Disks that are full, sources that break: a clear error on that item, the others come, nothing is left behind."""

from __future__ import annotations

import errno
import os
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
