"""What lies on this machine already is not fetched: parts of sets that are incomplete, and models without a config."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from model_librarian.core.downloading.fetching import Fetching
from model_librarian.core.errors import OutsideRootsError
from model_librarian.core.library import ModelQuery

from ..fake_hub import Gate
from ._doing import incoming, only_model, opened, wanted

NAMES = [f"big-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]


@pytest.fixture
def parts(hub, make_model, tmp_path) -> dict[str, bytes]:
    """A set of three parts at the hub."""
    tensors = {"conv_first.weight": (100, 500)}
    made = {
        name: make_model(tmp_path / "at the hub" / name, {**tensors, f"body.{n}.weight": (3, 3)}).read_bytes()
        for n, name in enumerate(NAMES)
    }
    hub.add("org/set", made)
    return made


def fetched(hub) -> list[str]:
    """Names of the files whose bytes the hub was asked for."""
    return sorted(
        {path.rpartition("/")[2] for method, path, _ in hub.asked if method == "GET" and "/cdn/" in path}
    )


def test_only_the_missing_part_of_a_listed_set_is_fetched(hub, librarian, finished, parts, models_folder):
    folder = models_folder / "text_encoders"
    for name in NAMES[:2]:
        (folder / name).write_bytes(parts[name])
    finished(librarian.scans.start("quick"))
    [listed] = librarian.models.search(ModelQuery()).models
    assert "part 3 of 3 is missing" in librarian.models.details(listed.model_id).problem
    here = [file.path for file in librarian.models.details(listed.model_id).files]

    job, _ = librarian.downloads.add(wanted(NAMES[2], repo_id="org/set", here=here))
    [model_id] = finished(job).result["imported"]
    assert fetched(hub) == NAMES[2:]
    whole = librarian.models.details(model_id)
    assert (whole.model_format, whole.problem, whole.storage) == ("sharded-set", None, "owned")
    assert [Path(file.path).read_bytes() for file in whole.files] == list(parts.values())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: parts[name] for name in NAMES[:2]
    }
    assert incoming(librarian) == []


def test_parts_that_were_uploaded_are_taken_as_well(hub, librarian, finished, parts):
    ids = []
    for name in NAMES[1:]:
        upload = librarian.uploads.create(len(parts[name]), f"dropped/{name}")
        writing = librarian.uploads.write(upload.id, 0)
        writing.append([parts[name]]).result()
        writing.close().result()
        ids.append(upload.id)
    job, _ = librarian.downloads.add(wanted(NAMES[0], repo_id="org/set", uploads=ids))
    assert finished(job).state == "done"
    assert fetched(hub) == NAMES[:1]
    assert len(only_model(librarian).files) == 3


def test_a_part_of_another_model_is_not_believed(hub, librarian, finished, parts, downloads):
    """It has the very name and size, as the parts of a finetune have."""
    other = bytearray(parts[NAMES[0]])
    other[-1] ^= 1
    (downloads / NAMES[0]).write_bytes(other)
    (downloads / NAMES[1]).write_bytes(parts[NAMES[1]][:-1])
    here = [str(downloads / name) for name in NAMES]
    job, _ = librarian.downloads.add(wanted(NAMES[2], repo_id="org/set", here=here))
    assert finished(job).state == "done"
    assert fetched(hub) == NAMES
    files = librarian.models.details(only_model(librarian).model_id).files
    assert [Path(file.path).read_bytes() for file in files] == list(parts.values())
    assert (downloads / NAMES[0]).read_bytes() == other


@pytest.fixture
def gate(hub, librarian) -> Gate:
    """Holds the first file that the hub sends."""
    gate = Gate(100)
    hub.faults = [gate]
    librarian.network.configure(librarian.network.settings.model_copy(update={"timeout_s": 60.0}))
    return gate


def test_what_was_copied_outlives_a_pause(hub, librarian, finished, parts, downloads, gate):
    for name in NAMES[:2]:
        (downloads / name).write_bytes(parts[name])
    here = [str(downloads / name) for name in NAMES[:2]]
    job, download = librarian.downloads.add(wanted(*NAMES, repo_id="org/set", here=here))
    assert gate.reached.wait(30)
    librarian.downloads.pause(download.id)
    gate.opened.set()
    finished(job)
    for name in NAMES[:2]:
        (downloads / name).unlink()
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert fetched(hub) == NAMES[2:]
    assert len(only_model(librarian).files) == 3


@pytest.mark.parametrize("damaged", ["copied", "to be copied"])
def test_a_copy_goes_on_from_where_it_was_cut_off(
    hub, librarian, parts, downloads, surroundings, monkeypatch, damaged
):
    """What was copied is not read again; if the whole then has another hash, it is fetched."""
    half, part, copied = 50_000, downloads / NAMES[0], threading.Event()
    part.write_bytes(parts[NAMES[0]])
    blocks_of = Fetching._blocks_of

    async def half_of(fetching, path, start):
        async for block in blocks_of(fetching, path, start):
            yield block[:half]
            copied.set()
            await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(Fetching, "_blocks_of", half_of)
        librarian.downloads.add(wanted(*NAMES, repo_id="org/set", here=[str(part)]))
        assert copied.wait(30)
        librarian.close()
    with part.open("r+b") as file:
        file.seek(0 if damaged == "copied" else half)
        file.write(b"other")
    again = opened(surroundings)
    try:
        again.start()
        [download] = again.downloads.all()
        assert again.jobs.wait(download.job_id, 60).state == "done"
        assert fetched(hub) == (NAMES[1:] if damaged == "copied" else NAMES)
        files = again.models.details(only_model(again).model_id).files
        assert [Path(file.path).read_bytes() for file in files] == list(parts.values())
        assert incoming(again) == []
    finally:
        again.close()


def test_a_part_that_is_gone_by_then_is_fetched(hub, librarian, finished, parts, downloads, gate):
    (downloads / NAMES[1]).write_bytes(parts[NAMES[1]])
    here = [str(downloads / NAMES[1])]
    job, _ = librarian.downloads.add(wanted(*NAMES, repo_id="org/set", here=here))
    assert gate.reached.wait(30)
    (downloads / NAMES[1]).unlink()
    gate.opened.set()
    assert finished(job).state == "done"
    assert fetched(hub) == NAMES
    assert len(only_model(librarian).files) == 3


def test_nothing_is_read_outside_the_allowed_folders(librarian, parts, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(parts[NAMES[0]])
    with pytest.raises(OutsideRootsError):
        librarian.downloads.add(wanted(NAMES[2], repo_id="org/set", here=[str(tmp_path / NAMES[0])]))
    assert librarian.downloads.all() == []
    assert incoming(librarian) == []


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("mine", [None, b"mine\n"])
def test_a_config_comes_beside_a_model_that_is_here(
    hub, librarian, finished, make_model, models_folder, tmp_path, hashed, mine
):
    """The model itself is not fetched again, and a config that lies there stays."""
    model = make_model(models_folder / "checkpoints" / "nice.safetensors")
    config = model.with_suffix(".yaml")
    if mine is not None:
        config.write_bytes(mine)
    hub.add("org/old", {"nice.safetensors": model.read_bytes(), "nice.yaml": b"model: {}\n"})
    finished(librarian.scans.start("quick"))
    [listed] = librarian.models.search(ModelQuery()).models
    if hashed:
        librarian.library.hash_of(listed.model_id)
    request = wanted("nice.safetensors", "nice.yaml", repo_id="org/old", here=[str(model)])
    ended = finished(librarian.downloads.add(request).job)
    assert (ended.state, ended.result["imported"], ended.result["present"]) == ("done", [], [listed.model_id])
    assert fetched(hub) == ["nice.yaml"]
    assert config.read_bytes() == (mine or b"model: {}\n")
    assert incoming(librarian) == []


@pytest.mark.parametrize("noticed", [True, False])
def test_a_set_of_the_library_that_lost_a_part_becomes_whole_again(hub, librarian, finished, parts, noticed):
    """It is not listed any more once that is noticed; what is left of it serves."""
    [model_id] = finished(librarian.downloads.add(wanted(NAMES[0], repo_id="org/set")).job).result["imported"]
    files = [Path(file.path) for file in librarian.models.details(model_id).files]
    files[1].unlink()
    if noticed:
        finished(librarian.scans.start("quick"))
    hub.asked.clear()
    here = [str(files[0]), str(files[2])]
    ended = finished(librarian.downloads.add(wanted(*NAMES, repo_id="org/set", here=here)).job)
    assert fetched(hub) == [NAMES[1]]
    [whole] = ended.result["imported"]
    copies = [Path(file.path).read_bytes() for file in librarian.models.details(whole).files]
    assert copies == list(parts.values())
    assert files[0].read_bytes() == parts[NAMES[0]]
