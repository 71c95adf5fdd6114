"""What whoever loads models gets for an id, a hash or a name."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
import threading

import pytest

from model_librarian.core.errors import CancelledError, InvalidRequestError, NotFoundError
from model_librarian.core.library import ModelQuery, pickles


@pytest.fixture
def pipeline(make_model, models_folder):
    folder = models_folder / "checkpoints" / "my-pipeline"
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    make_model(folder / "unet" / "diffusion_pytorch_model.safetensors", {"conv_in.weight": (8, 8)})
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_of_a_diffusers_folder_it_is_the_folder(librarian, scan, pipeline) -> None:
    scan()
    assert librarian.models.find("my-pipeline", folder=True) == pipeline
    with pytest.raises(InvalidRequestError, match="Load Diffusers Folder"):
        librarian.models.find("my-pipeline")
    (pipeline / "model_index.json").unlink()
    with pytest.raises(NotFoundError, match=r"no model_index\.json"):
        librarian.models.check("my-pipeline", folder=True)


def test_a_diffusers_folder_changes_with_any_of_its_files_and_not_with_its_place(
    librarian, scan, pipeline, models_folder
) -> None:
    scan()
    before = librarian.models.fingerprint("my-pipeline")
    assert librarian.models.fingerprint("my-pipeline") == before

    moved = models_folder / "checkpoints" / "below" / "my-pipeline"
    moved.parent.mkdir()
    shutil.move(pipeline, moved)
    scan()
    assert librarian.models.fingerprint("my-pipeline") == before

    os.utime(moved / "unet" / "diffusion_pytorch_model.safetensors", ns=(1, 1))
    assert librarian.models.fingerprint("my-pipeline") != before


def test_a_model_in_several_files_is_not_loaded_in_part(librarian, scan, make_model, models_folder) -> None:
    for number in (1, 2):
        make_model(
            models_folder / "text_encoders" / f"llm-0000{number}-of-00002.safetensors", {"a": (4, number)}
        )
    scan()
    with pytest.raises(InvalidRequestError, match="ComfyUI's loaders read only one"):
        librarian.models.find("llm")


def test_a_misspelled_name_finds_the_nearest(librarian, scan, make_model, models_folder) -> None:
    for name in ("RealESRGAN_x4plus", "RealESRGAN_x2plus", "4x-UltraSharp"):
        make_model(models_folder / "upscale_models" / f"{name}.safetensors")
    scan()
    with pytest.raises(
        NotFoundError, match=r"nearest are: in-place/RealESRGAN_x4plus-\w{8}, in-place/RealESRGAN_x2"
    ):
        librarian.models.find("RaelESRGAN_x4plsu.safetensors")
    with pytest.raises(NotFoundError, match="choose a model"):
        librarian.models.find("  ")


def test_a_hash_means_a_copy_that_is_there(librarian, scan, make_model, models_folder) -> None:
    copies = [make_model(models_folder / "loras" / f"copy-{number}.safetensors", seed=1) for number in "ab"]
    scan()
    for model in librarian.library.search(ModelQuery()).models:
        digest, _ = librarian.library.hash_of(model.model_id)
    meant = librarian.models.find(digest)
    [other] = set(copies) - {meant}
    meant.unlink()
    assert librarian.models.find(digest.upper()) == other
    other.unlink()
    with pytest.raises(NotFoundError, match="is not there"):
        librarian.models.find(digest)


def test_a_model_is_loaded_although_nothing_can_be_noted(
    librarian, scan, make_model, models_folder, monkeypatch
) -> None:
    path = make_model(models_folder / "vae" / "ae.safetensors")
    scan()

    def full(_model_id: str) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(librarian.library.index, "touch", full)
    assert librarian.models.find("ae.safetensors") == path


def test_checking_notes_no_use_and_finding_does(librarian, scan, make_model, models_folder) -> None:
    for name in ("aa-vae", "bb-vae"):
        make_model(models_folder / "vae" / f"{name}.safetensors")
    scan()

    def first() -> str:
        return librarian.models.search(ModelQuery(q="vae")).models[0].official_name

    assert first() == "aa-vae"
    librarian.models.check("bb-vae.safetensors")
    assert first() == "aa-vae"
    librarian.models.find("bb-vae.safetensors")
    assert first() == "bb-vae"


def test_a_file_is_read_once_for_its_hash_also_before_the_next_scan(
    librarian, scan, make_model, models_folder
) -> None:
    path = make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    told: list[tuple[int, int]] = []

    def fingerprint() -> str:
        return librarian.models.fingerprint("ae.safetensors", lambda *bytes_: told.append(bytes_))

    before = fingerprint()
    size = path.stat().st_size
    assert told == [(size, size)]
    assert fingerprint() == before
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    os.utime(path, ns=(1, 1))
    after = fingerprint()
    assert after != before
    assert fingerprint() == after
    assert len(told) == 2


def test_reading_for_a_hash_can_be_stopped_and_begun_again(
    librarian, scan, make_model, models_folder
) -> None:
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()

    def stop(_done: int, _total: int) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        librarian.models.fingerprint("ae.safetensors", stop)
    assert len(librarian.models.fingerprint("ae.safetensors")) == 64


def test_a_yes_given_while_a_pickle_is_looked_into_is_not_lost(
    librarian, scan, models_folder, monkeypatch
) -> None:
    path = models_folder / "checkpoints" / "style.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    look, looked, ended = pickles.scan_pickles, threading.Event(), threading.Event()

    def slowly(*paths, **options):
        looked.set()
        assert ended.wait(20)
        return look(*paths, **options)

    monkeypatch.setattr(pickles, "scan_pickles", slowly)
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    scan()
    assert looked.wait(20)
    [model] = librarian.models.search(ModelQuery()).models
    librarian.models.edit(model.model_id, {"pickle_acknowledged": True})
    ended.set()
    assert librarian.models.find("style.pt") == path
    assert librarian.models.details(model.model_id).pickle_acknowledged
