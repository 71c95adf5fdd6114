"""Bytes that a real filesystem shares."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_librarian.core.importing import ImportRequest
from model_librarian.core.importing.sharing import ShareRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.storage.reflink import places_on_disk

pytestmark = pytest.mark.crash


@pytest.fixture(params=["xfs", "btrfs"])
def sharing_disk(request, tmp_path) -> Iterator[Path]:
    """A real filesystem that shares bytes; needs root, its ``mkfs`` and a system that mounts it."""
    name = request.param
    image, point = tmp_path / f"{name}.img", tmp_path / name
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(400 * 2**20)  # sparse: takes a few MB
    for command in ([f"mkfs.{name}", "-q", str(image)], ["mount", "-o", "loop", str(image), str(point)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"{command[0]} is not here: {error}")
        if done.returncode != 0:
            pytest.skip(f"{name} cannot be mounted here: {done.stderr.strip()}")
    yield point
    subprocess.run(["umount", str(point)], check=True)


@pytest.fixture
def librarian(surroundings, sharing_disk) -> Iterator[Librarian]:
    """A Librarian whose library and downloads lie there."""
    librarian = Librarian(
        surroundings.model_copy(
            update={"library_root": sharing_disk / "library", "allowed_roots": [sharing_disk / "downloads"]}
        )
    )
    yield librarian
    librarian.close()


def free(disk: Path) -> int:
    """The bytes that are free once all that was written is on the disk."""
    subprocess.run(["sync", "-f", str(disk)], check=True)
    return shutil.disk_usage(disk).free


@pytest.mark.parametrize("mode", ["reflink", "auto"])
def test_a_real_filesystem_that_shares_bytes(librarian, make_model, sharing_disk, mode):
    path = make_model(sharing_disk / "downloads" / "a.safetensors", {"a": (4000, 2000)})
    request = ImportRequest.model_validate({"items": [{"paths": [str(path)], "mode": mode}]})
    before = free(sharing_disk)
    job = librarian.jobs.wait(librarian.imports.start(request).id, timeout=60)
    assert job.items[0].state == "done", job.items
    placed = librarian.library.main_path(job.result["imported"][0])
    assert placed.read_bytes() == path.read_bytes()
    assert before - free(sharing_disk) < path.stat().st_size / 4
    with open(path, "r+b") as file:
        file.write(b"changed")  # each file changes by itself
    assert placed.read_bytes() != path.read_bytes()


def test_equal_models_are_cloned_there_and_known_to_be_clones(librarian, make_model, sharing_disk):
    path = make_model(sharing_disk / "downloads" / "a.safetensors", {"a": (4000, 2000)})
    size = path.stat().st_size
    request = ImportRequest.model_validate({"items": [{"paths": [str(path)], "mode": "move"}]})
    job = librarian.jobs.wait(librarian.imports.start(request).id, timeout=60)
    one = librarian.library.main_path(job.result["imported"][0])
    shutil.copytree(one.parent, one.parent.with_name("a2"))
    other = one.parent.with_name("a2") / one.name
    if places_on_disk(one) == places_on_disk(other):  # some systems copy by cloning
        other.write_bytes(one.read_bytes())
    librarian.jobs.wait(librarian.scans.start("quick").id, timeout=60)
    assert librarian.models.storage().size_bytes == 2 * size
    before = free(sharing_disk)
    job = librarian.jobs.wait(librarian.shares.start(ShareRequest()).id, timeout=60)
    assert [item.state for item in job.items] == ["done"], job.items
    deadline = time.monotonic() + 60
    while free(sharing_disk) - before < size * 3 / 4:  # XFS gives back a file's room in the background
        assert time.monotonic() < deadline, "nothing came free"
        time.sleep(0.1)
    assert one.read_bytes() == other.read_bytes()
    assert not one.samefile(other)
    assert librarian.models.duplicates().groups == []
    assert librarian.shares.preview(ShareRequest()).files == []
    assert librarian.models.storage().size_bytes == size
    with open(other, "r+b") as file:
        file.write(b"changed")  # each file changes by itself
    assert one.read_bytes() != other.read_bytes()
