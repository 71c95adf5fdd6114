"""Two processes import into one library: the same bytes become one model, whatever each index knows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian

IMPORT = """
import errno, fcntl, json, os, pathlib, sys
home, mode, locks, *paths = sys.argv[1:]
if locks == "none":
    real = fcntl.flock
    def flock(file, operation):
        place = os.readlink(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}")
        if "/model-library/" in place and not operation & fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return real(file, operation)
    fcntl.flock = flock
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.settings import Surroundings
surroundings = Surroundings.remembered(pathlib.Path(home))
librarian = Librarian(surroundings)
items = [{"paths": [path], "mode": mode} for path in paths]
print("ready", flush=True)
sys.stdin.readline()
job = librarian.jobs.wait(librarian.imports.start(ImportRequest.model_validate({"items": items})).id)
for item in job.items:  # what is in the library both know, whoever placed it
    assert mode == "in-place" or librarian.library.index.contains(item.model_id), item
librarian.close()
print(json.dumps([[item.state, item.model_id, item.message] for item in job.items]))
"""


def at_once(homes, mode, names, *, locks="flock"):
    """What became of the items of each process, all of which begin at the same moment."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", IMPORT, home, mode, locks, *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for home, paths in zip(homes, names, strict=True)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    return [json.loads(output) for output, _ in told]


@pytest.fixture
def homes(surroundings, tmp_path):
    """The data folders of two installs that share a library, each with an index of its own."""
    homes = [surroundings.data_dir, tmp_path / "data of the other"]
    for home in homes:
        home.mkdir()
        surroundings.model_copy(update={"data_dir": home}).remember()
    return homes


def models_in(library):
    return sorted(str(path.parent.relative_to(library)) for path in library.rglob("metadata.json"))


@pytest.mark.parametrize("shared", [False, True], ids=["an index each", "one index"])
@pytest.mark.parametrize("mode", ["copy", "move", "in-place"])
def test_the_same_bytes_under_two_names_at_once_are_one_model(
    surroundings, homes, make_model, downloads, mode, shared
):
    count = 12
    names = [[downloads / who / f"{who}-{n}.safetensors" for n in range(count)] for who in ("one", "two")]
    for number, (one, two) in enumerate(zip(*names, strict=True)):
        make_model(one, seed=number)
        two.parent.mkdir(exist_ok=True)
        shutil.copy(one, two)
    items = at_once([homes[0]] * 2 if shared else homes, mode, names)
    for one, two in zip(*items, strict=True):
        assert sorted([one[0], two[0]]) == ["done", "skipped"], (one, two)
        assert one[1] == two[1]
    assert len(models_in(surroundings.library_root)) == count
    for paths, states in zip(names, items, strict=True):  # who was late keeps its file
        for path, (state, _, _) in zip(paths, states, strict=True):
            assert path.exists() == (state == "skipped" or mode != "move")


@pytest.mark.skipif(sys.platform != "linux", reason="what is locked is told by /proc")
def test_a_filesystem_without_locks(surroundings, homes, make_model, downloads, tmp_path, monkeypatch):
    """Processes of one machine keep apart all the same, and nothing stays locked after a kill."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    names = [[make_model(downloads / f"{who}.safetensors", seed=1)] for who in ("one", "two")]
    items = at_once(homes, "copy", names, locks="none")
    assert sorted(state for [[state, _, _]] in items) == ["done", "skipped"], items
    assert len(models_in(surroundings.library_root)) == 1
    assert [*tmp_path.glob("librarian-locks-*/*")]


def test_what_another_one_placed_just_now_is_seen_before_it_is_listed(
    librarian, surroundings, finished, make_model, downloads, tmp_path, monkeypatch
):
    """Its index has no row yet when the second one looks; one that is adopted leads there."""
    other = Librarian(surroundings.model_copy(update={"data_dir": tmp_path / "home of the other"}))
    one, two = (make_model(downloads / f"{name}.safetensors", seed=1) for name in ("one", "two"))
    job = other.jobs.wait(
        other.imports.start(ImportRequest.model_validate({"items": [{"paths": [str(one)]}]})).id
    )
    [model_id] = job.result["imported"]
    assert not librarian.library.index.contains(model_id)
    again = ImportRequest.model_validate({"items": [{"paths": [str(two)], "mode": "adopt"}]})
    [item] = finished(librarian.imports.start(again)).items
    assert (item.state, item.model_id) == ("skipped", model_id)
    assert two.is_symlink() and two.samefile(librarian.library.main_path(model_id))
    other.close()


def test_what_was_noted_and_is_not_there_is_nobodys(librarian, finished, make_model, downloads):
    """A kill between the note and the name, and a model that was deleted since."""
    source = make_model(downloads / "a.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(source)]}]})
    [model_id] = finished(librarian.imports.start(request)).result["imported"]
    librarian.models.delete(model_id, "permanent")
    librarian.library.metadata.note_placed("vision/esrgan/never-was")
    job = finished(librarian.imports.start(request))
    assert job.result["imported"] == [model_id]


def test_the_list_of_what_was_placed_does_not_grow_for_ever(librarian):
    metadata = librarian.library.metadata
    for number in range(5000):
        metadata.note_placed(f"vision/esrgan/a model with a name of some length {number}")
    noted = metadata.lately_placed()
    assert noted[-1].endswith(" 4999") and 400 < len(noted) < 3000
    assert os.path.getsize(librarian.library.root / ".incoming" / "placed") < 130_000
