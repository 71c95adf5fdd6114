"""Diffusers folders and sharded sets: one model each, whole or not at all."""

from __future__ import annotations

import json
import time

import pytest

from model_librarian.core.downloading import Download
from model_librarian.core.errors import InvalidRequestError, NotFoundError, PickleNotAcknowledgedError
from model_librarian.core.library import ModelQuery

from ..fake_hub import COMMIT, Gate, serve, sha256, status
from ._doing import incoming, only_model, wanted

INDEX = json.dumps(
    {
        "_class_name": "StableDiffusionXLPipeline",
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
).encode()
UNET, UNET_FP16 = "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"
WHOLE = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "unet/config.json",
    UNET,
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}


@pytest.fixture
def files(make_model, tmp_path) -> dict[str, bytes]:
    """A repository as Stability AI's: everything twice and in formats of other programs."""

    def weights(seed: int, **tensors) -> bytes:
        return make_model(
            tmp_path / "hub" / f"{seed}", tensors or {"conv_in.weight": (4, 4)}, seed=seed
        ).read_bytes()

    return {
        "README.md": b"# hello",
        "model_index.json": INDEX,
        "sdxl.safetensors": weights(1),
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b'{"a": 1}',
        "tokenizer/merges.txt": b"a b",
        "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}',
        UNET: make_model(
            tmp_path / "hub" / "u", {"conv_in.weight": (1500, 500), "x": (1500, 500)}
        ).read_bytes(),
        UNET_FP16: weights(3),
        "unet/diffusion_pytorch_model.bin": b"pickle",
        "unet/diffusion_flax_model.msgpack": b"flax",
        "unet/model.onnx": b"onnx",
        "unet/openvino_model.bin": b"openvino",
        "vae/config.json": b'{"_class_name": "AutoencoderKL"}',
        "vae/diffusion_pytorch_model.safetensors": weights(4),
    }


@pytest.fixture
def repository(hub, files) -> str:
    hub.add("org/pipe", files)
    return "org/pipe"


def paths(download: Download) -> set[str]:
    return {file.path for file in download.files}


def test_the_index_stands_for_the_whole_folder(hub, librarian, finished, repository, files):
    job, download = librarian.downloads.add(wanted("model_index.json", repo_id=repository))
    assert paths(download) == WHOLE
    assert (download.name, download.related) == (repository, [])
    ended = finished(job)
    assert ended.state == "done", ended.error
    model = only_model(librarian)
    assert (model.model_format, model.official_name, model.repo_id) == (
        "diffusion-folder",
        "pipe",
        repository,
    )
    assert {file.name: file.sha256 for file in model.files} == {name: sha256(files[name]) for name in WHOLE}
    assert incoming(librarian) == []
    assert not any(part in path for _, path, _ in hub.asked for part in (".bin", ".onnx", ".msgpack", "fp16"))


def test_a_precision_can_be_chosen(librarian, finished, repository):
    job, download = librarian.downloads.add(wanted("model_index.json", repo_id=repository, variant="fp16"))
    assert paths(download) == WHOLE - {UNET} | {UNET_FP16}
    assert download.name == f"{repository} fp16"
    assert finished(job).state == "done"
    with pytest.raises(NotFoundError, match="fp16"):
        librarian.downloads.add(wanted("model_index.json", repo_id=repository, variant="fp8"))


def test_it_is_offered_as_one_with_its_size(librarian, repository, files):
    listing = librarian.lookups.remote_files("huggingface", repository, COMMIT)
    main, fp16 = listing.pipelines
    assert (main.path, main.variant, set(main.files), main.pickle) == ("model_index.json", "", WHOLE, False)
    assert main.size == sum(len(files[name]) for name in WHOLE)
    assert (fp16.variant, set(fp16.files)) == ("fp16", WHOLE - {UNET} | {UNET_FP16})


def test_an_index_that_cannot_be_had_takes_nothing_else_away(hub, librarian, repository):
    hub.files["/cdn/org/pipe/model_index.json"] = b'["no index"]'
    listing = librarian.lookups.remote_files("huggingface", repository, COMMIT)
    assert listing.pipelines == [] and len(listing.files) == 15


@pytest.mark.parametrize("missing", ["tokenizer/merges.txt", "vae/diffusion_pytorch_model.safetensors"])
def test_with_one_file_missing_nothing_is_imported_and_the_rest_waits(
    hub, librarian, finished, repository, files, missing
):
    lost = hub.files.pop(f"/cdn/org/pipe/{missing}")
    job, download = librarian.downloads.add(wanted("model_index.json", repo_id=repository))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "remote_not_found"
    assert librarian.library.search(ModelQuery()).models == []
    states = {file.path: file.state for file in librarian.downloads.get(download.id).files}
    assert states == {path: "failed" if path == missing else "arrived" for path in WHOLE}

    hub.files[f"/cdn/org/pipe/{missing}"] = lost
    asked = len(hub.sent_to("/cdn/"))
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert len(hub.sent_to("/cdn/")) == asked + 1, "what was here is not downloaded again"
    assert len(only_model(librarian).files) == len(WHOLE)


def test_a_wrong_file_keeps_the_whole_back(hub, librarian, finished, repository, files):
    wrong = files[UNET][:-1] + bytes([files[UNET][-1] ^ 1])
    hub.files[f"/cdn/org/pipe/{UNET}"] = wrong
    job, download = librarian.downloads.add(wanted("model_index.json", repo_id=repository))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "hash_mismatch"
    assert librarian.library.search(ModelQuery()).models == []
    shown = librarian.downloads.get(download.id)
    assert [file.path for file in shown.files if file.aside is not None] == [UNET]


def test_it_goes_on_in_the_middle_of_a_file(hub, librarian, finished, repository, files):
    librarian.network.configure(librarian.network.settings.model_copy(update={"timeout_s": 60.0}))
    gate = Gate(1_500_000)

    def only_the_large_one(exchange):
        (gate if exchange.path.endswith(UNET) else serve)(exchange)

    hub.faults = [only_the_large_one] * 20
    job, download = librarian.downloads.add(wanted("model_index.json", repo_id=repository))
    assert gate.reached.wait(30)
    while not any(f.path == UNET and f.received for f in librarian.downloads.get(download.id).files):
        time.sleep(0.01)
    librarian.downloads.pause(download.id)
    assert finished(job).state == "interrupted"
    hub.faults = []
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert "Range" in hub.sent_to(UNET)[-1]
    assert len(only_model(librarian).files) == len(WHOLE)


def test_what_the_library_has_is_not_downloaded_again(hub, librarian, finished, repository):
    assert (
        finished(librarian.downloads.add(wanted("model_index.json", repo_id=repository)).job).state == "done"
    )
    asked = len(hub.sent_to("/cdn/"))
    job, download = librarian.downloads.add(wanted("model_index.json", repo_id=repository))
    assert finished(job).result == {
        "imported": [],
        "present": [only_model(librarian).model_id],
        "links": None,
    }
    assert {file.state for file in librarian.downloads.get(download.id).files} == {"present"}
    assert len(hub.sent_to("/cdn/")) == asked


def test_pickles_in_it_are_asked_about_before_they_come(hub, librarian, files):
    hub.add(
        "org/old",
        {name: data for name, data in files.items() if not name.endswith(".safetensors") or "vae" in name},
    )
    asked = len(hub.asked)
    with pytest.raises(PickleNotAcknowledgedError, match=r"diffusion_pytorch_model\.bin"):
        librarian.downloads.add(wanted("model_index.json", repo_id="org/old"))
    assert not any("diffusion_pytorch_model.bin" in path for _, path, _ in hub.asked[asked:])


def test_a_set_with_a_wrong_part_is_not_imported(hub, librarian, finished, make_model, tmp_path):
    parts = {
        f"big-0000{n}-of-00003.safetensors": make_model(tmp_path / f"{n}").read_bytes() for n in (1, 2, 3)
    }
    hub.add("org/set", parts)
    hub.faults = [status(404)]
    job, download = librarian.downloads.add(wanted("big-00002-of-00003.safetensors", repo_id="org/set"))
    assert len(download.files) == 3
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "remote_not_found"
    assert librarian.library.search(ModelQuery()).models == []
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert (only_model(librarian).model_format, len(only_model(librarian).files)) == ("sharded-set", 3)


def test_a_config_comes_beside_its_model(hub, librarian, finished, make_model, tmp_path):
    content = make_model(tmp_path / "x").read_bytes()
    hub.add("org/old", {"nice.safetensors": content, "nice.yaml": b"model: {}\n"})
    job = librarian.downloads.add(wanted("nice.safetensors", "nice.yaml", repo_id="org/old")).job
    ended = finished(job)
    assert ended.state == "done", ended.error
    model = only_model(librarian)
    folder = librarian.library.main_path(model.model_id).parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "metadata.json",
        "nice.safetensors",
        "nice.yaml",
    ]
    assert incoming(librarian) == []


def test_a_config_alone_is_no_model_and_its_model_is_not_imported_without_it(
    hub, librarian, finished, make_model, tmp_path
):
    hub.add(
        "org/old", {"nice.safetensors": make_model(tmp_path / "x").read_bytes(), "nice.yaml": b"model: {}\n"}
    )
    with pytest.raises(InvalidRequestError, match="together with"):
        librarian.downloads.add(wanted("nice.yaml", repo_id="org/old"))
    config = hub.files.pop("/cdn/org/old/nice.yaml")
    job, download = librarian.downloads.add(wanted("nice.safetensors", "nice.yaml", repo_id="org/old"))
    assert finished(job).state == "failed"
    assert librarian.library.search(ModelQuery()).models == []
    hub.files["/cdn/org/old/nice.yaml"] = config
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert only_model(librarian)
