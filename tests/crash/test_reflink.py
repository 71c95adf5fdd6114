"""Bytes that a real filesystem shares."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian

pytestmark = pytest.mark.crash


@pytest.fixture
def xfs(tmp_path) -> Iterator[Path]:
    """A real XFS, which shares bytes; needs root, ``mkfs.xfs`` and a system that mounts it."""
    image, point = tmp_path / "xfs.img", tmp_path / "xfs"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(400 * 2**20)  # sparse: takes a few MB
    for command in (["mkfs.xfs", "-q", str(image)], ["mount", "-o", "loop", str(image), str(point)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"{command[0]} is not here: {error}")
        if done.returncode != 0:
            pytest.skip(f"XFS cannot be mounted here: {done.stderr.strip()}")
    yield point
    subprocess.run(["umount", str(point)], check=True)


@pytest.mark.parametrize("mode", ["reflink", "auto"])
def test_a_real_filesystem_that_shares_bytes(surroundings, make_model, xfs, mode):
    path = make_model(xfs / "downloads" / "a.safetensors", {"a": (4000, 2000)})
    librarian = Librarian(
        surroundings.model_copy(
            update={"library_root": xfs / "library", "allowed_roots": [xfs / "downloads"]}
        )
    )
    request = ImportRequest.model_validate({"items": [{"paths": [str(path)], "mode": mode}]})
    os.sync()
    free = shutil.disk_usage(xfs).free
    job = librarian.jobs.wait(librarian.imports.start(request).id, timeout=60)
    assert job.items[0].state == "done", job.items
    placed = librarian.library.main_path(job.result["imported"][0])
    assert placed.read_bytes() == path.read_bytes()
    os.sync()
    assert free - shutil.disk_usage(xfs).free < path.stat().st_size / 4
    with open(path, "r+b") as file:
        file.write(b"changed")  # each file changes by itself
    assert placed.read_bytes() != path.read_bytes()
    librarian.close()
