"""Every loader by identity gives what ComfyUI's own loader gives, in real prompts on the processor."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _real_comfyui import CORE, SERVER_PATH, RealComfyUI, core_dir, server_python

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A loader: ComfyUI's own node, the inputs that name files with those files, and what else both get."""

    core: str
    files: dict[str, str]
    others: dict[str, Any] = field(default_factory=dict)


MODEL, CLIP = ["model", 0], ["clip", 0]
BASE = {
    "model": {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": "tiny-mmdit.safetensors", "weight_dtype": "default"},
    },
    "clip": {
        "class_type": "CLIPLoader",
        "inputs": {"clip_name": "tiny-clip-l.safetensors", "type": "stable_diffusion"},
    },
    "unclip": {"class_type": "unCLIPCheckpointLoader", "inputs": {"ckpt_name": "tiny-unclip.safetensors"}},
}
CLIP_L, CLIP_G = "tiny-clip-l.safetensors", "tiny-clip-g.safetensors"
CASES = {
    "LibrarianLoadCheckpoint": Case("CheckpointLoaderSimple", {"ckpt_name": "tiny-checkpoint.safetensors"}),
    "LibrarianLoadUnCLIPCheckpoint": Case("unCLIPCheckpointLoader", {"ckpt_name": "tiny-unclip.safetensors"}),
    "LibrarianLoadDiffusers": Case("DiffusersLoader", {"model_path": "tiny-folder"}),
    "LibrarianLoadDiffusionModel": Case(
        "UNETLoader", {"unet_name": "tiny-mmdit.safetensors"}, {"weight_dtype": "fp8_e4m3fn"}
    ),
    "LibrarianLoadLora": Case(
        "LoraLoader",
        {"lora_name": "tiny-lora.safetensors"},
        {"model": MODEL, "clip": CLIP, "strength_model": 0.7, "strength_clip": -0.4},
    ),
    "LibrarianLoadVAE": Case("VAELoader", {"vae_name": "tiny-vae.safetensors"}),
    "LibrarianLoadCLIP": Case(
        "CLIPLoader", {"clip_name": CLIP_L}, {"type": "stable_diffusion", "device": "cpu"}
    ),
    "LibrarianLoadDualCLIP": Case(
        "DualCLIPLoader", {"clip_name1": CLIP_L, "clip_name2": CLIP_G}, {"type": "sdxl"}
    ),
    "LibrarianLoadTripleCLIP": Case(
        "TripleCLIPLoader",
        {"clip_name1": CLIP_L, "clip_name2": CLIP_G, "clip_name3": "tiny-t5.safetensors"},
    ),
    "LibrarianLoadQuadrupleCLIP": Case(
        "QuadrupleCLIPLoader",
        {
            "clip_name1": CLIP_L,
            "clip_name2": CLIP_G,
            "clip_name3": "tiny-t5.safetensors",
            "clip_name4": "tiny-llama.safetensors",
        },
    ),
    "LibrarianLoadControlNet": Case("ControlNetLoader", {"control_net_name": "tiny-t2i.safetensors"}),
    "LibrarianLoadDiffControlNet": Case(
        "DiffControlNetLoader", {"control_net_name": "tiny-difference.safetensors"}, {"model": ["unclip", 0]}
    ),
    "LibrarianLoadCLIPVision": Case("CLIPVisionLoader", {"clip_name": "tiny-vision.safetensors"}),
    "LibrarianLoadUpscaleModel": Case("UpscaleModelLoader", {"model_name": "tiny-upscaler.safetensors"}),
    "LibrarianLoadLatentUpscaleModel": Case(
        "LatentUpscaleModelLoader", {"model_name": "tiny-latent.safetensors"}
    ),
    "LibrarianLoadStyleModel": Case("StyleModelLoader", {"style_model_name": "tiny-style.safetensors"}),
    "LibrarianLoadGLIGEN": Case("GLIGENLoader", {"gligen_name": "tiny-gligen.safetensors"}),
    "LibrarianLoadHypernetwork": Case(
        "HypernetworkLoader", {"hypernetwork_name": "tiny-hypernetwork.pt"}, {"model": MODEL, "strength": 0.3}
    ),
    "LibrarianLoadAudioEncoder": Case(
        "AudioEncoderLoader", {"audio_encoder_name": "tiny-wav2vec2.safetensors"}
    ),
    "LibrarianLoadModelPatch": Case("ModelPatchLoader", {"name": "tiny-siglip.safetensors"}),
    "LibrarianLoadPhotoMaker": Case(
        "PhotoMakerLoader", {"photomaker_model_name": "tiny-photomaker.safetensors"}
    ),
}


pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealComfyUI]:
    """A ComfyUI with a model of each kind; another version of it if LIBRARIAN_TEST_CORE says which."""
    core = os.environ.get("LIBRARIAN_TEST_CORE", CORE)
    server = RealComfyUI(tmp_path_factory.mktemp("nodes"), core=core)
    server.models_dir.mkdir(parents=True)
    on_path = (
        core_dir(core),
        SERVER_PATH,
        core_dir(core) / "comfy",
    )  # the last as ComfyUI's own nodes.py does
    subprocess.run(
        [server_python(), FOLDER / "tiny_models.py", server.models_dir],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, on_path))},
        check=True,
    )
    shutil.copytree(FOLDER / "compare_node", server.base_dir / "custom_nodes" / "compare-models")
    server.start()
    yield server
    server.stop()


def post(server: RealComfyUI, path: str, body: dict[str, Any], method: str = "POST") -> Any:
    """The JSON of the answer, also of one that refuses."""
    request = urllib.request.Request(
        server.base_url + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"{}")
    except urllib.error.HTTPError as refused:
        return json.loads(refused.read())


def wait_for(condition: Callable[[], Any], server: RealComfyUI, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, server.log[-3000:]
        time.sleep(0.05)
    return found


def run(server: RealComfyUI, prompt: dict[str, Any]) -> dict[str, Any]:
    """Queue a prompt, wait for its end and answer its history."""
    answer = post(server, "/prompt", {"prompt": prompt})
    assert answer.get("prompt_id"), json.dumps(answer)
    return ended(server, answer["prompt_id"])


def ended(server: RealComfyUI, prompt_id: str) -> dict[str, Any]:
    return wait_for(lambda: server.get_json(f"/history/{prompt_id}").get(prompt_id), server)


def refusal(server: RealComfyUI, node: str, **inputs: Any) -> str:
    """What ComfyUI says before it runs a prompt with this node."""
    answer = post(server, "/prompt", {"prompt": loading(node, **inputs)})
    assert "prompt_id" not in answer
    return json.dumps(answer, ensure_ascii=False)


def loading(node: str, **inputs: Any) -> dict[str, Any]:
    return {
        **{name: one for name, one in BASE.items() if [name, 0] in inputs.values()},
        "ours": {"class_type": node, "inputs": inputs},
        "shown": {"class_type": "PreviewAny", "inputs": {"source": ["ours", 0]}},
    }


def ran(history: dict[str, Any]) -> bool:
    """Whether the loader itself ran, rather than its result being kept from before."""
    cached = [data["nodes"] for kind, data in history["status"]["messages"] if kind == "execution_cached"]
    assert history["status"]["status_str"] == "success", json.dumps(history["status"]["messages"][-1])
    return "ours" not in cached[0]


def model_of(server: RealComfyUI, name: str) -> dict[str, Any] | None:
    found = server.get_json(f"/librarian/models?q={name}")["models"]
    return next((model for model in found if model["official_name"] == name), None)


def path_of(server: RealComfyUI, name: str) -> Path:
    return Path(
        server.get_json(f"/librarian/models/{model_of(server, name)['model_id']}")["files"][0]["path"]
    )


@pytest.fixture(scope="module")
def indexed(server: RealComfyUI) -> RealComfyUI:
    """The server, once it has listed all its models and somebody trusts the hypernetwork."""
    names = {Path(name).stem for case in CASES.values() for name in case.files.values()}
    wait_for(lambda: all(model_of(server, name) for name in names), server)
    return server


def trust(server: RealComfyUI, name: str) -> None:
    model_id = model_of(server, name)["model_id"]
    answer = post(server, f"/librarian/models/{model_id}", {"pickle_acknowledged": True}, "PATCH")
    assert answer["pickle_acknowledged"], answer


def tensors(path: Path) -> dict[str, list[int]]:
    """Names and shapes of what a safetensors file has."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return {name: one["shape"] for name, one in header.items()}


def comparison(server: RealComfyUI, node: str) -> dict[str, Any]:
    """A prompt that loads the same file with ComfyUI's own node and with ours, and compares each output."""
    case = CASES[node]
    inputs = ["model_id"] if len(case.files) == 1 else [f"model_id_{at + 1}" for at in range(len(case.files))]
    named = json.dumps([case.files, case.others, BASE if "model" in case.others else ""])
    read = [
        path
        for path in server.models_dir.rglob("*.safetensors")
        if path.name in named or "tiny-folder" in path.parts
    ]
    written = json.dumps({name: shape for path in read for name, shape in tensors(path).items()})
    outputs = len(server.get_json(f"/object_info/{case.core}")[case.core]["output"])
    return {
        **BASE,
        "theirs": {"class_type": case.core, "inputs": {**case.files, **case.others}},
        "ours": {
            "class_type": node,
            "inputs": {**dict(zip(inputs, case.files.values(), strict=True)), **case.others},
        },
        **{
            str(number): {
                "class_type": "CompareModels",
                "inputs": {"theirs": ["theirs", number], "ours": ["ours", number], "written": written},
            }
            for number in range(outputs)
        },
    }


def test_every_loader_of_ours_is_compared(indexed: RealComfyUI) -> None:
    info = indexed.get_json("/object_info")
    assert set(CASES) == {name for name in info if name.startswith("Librarian")}
    for node, case in CASES.items():
        assert info[node]["output"] == info[case.core]["output"]


@pytest.mark.parametrize("node", CASES)
def test_what_is_loaded_is_what_comfyui_loads(indexed: RealComfyUI, node: str) -> None:
    if node == "LibrarianLoadHypernetwork":
        trust(indexed, "tiny-hypernetwork")
    history = run(indexed, comparison(indexed, node))
    assert history["status"]["status_str"] == "success", json.dumps(history["status"]["messages"][-1])
    found = [json.loads(output["text"][0]) for output in history["outputs"].values()]
    assert found
    for one in found:
        theirs, ours = one["types"]
        assert ours == theirs
        assert ours[1] != "NoneType" or node == "LibrarianLoadUnCLIPCheckpoint"
        assert (
            one["keys"][0] == one["keys"][1] == one["common"] > 0 or node == "LibrarianLoadUnCLIPCheckpoint"
        )
        assert one["shapes"]
        assert one["same"] == one["read"]
        assert one["patches"][0] == one["patches"][1]
    assert any(one["read"] for one in found)
    if CASES[node].others.get("model") == MODEL:
        assert all(one["patches"][1] for one in found)


# --- which file it is ---------------------------------------------------------------------------------


@pytest.fixture
def upscaler(indexed: RealComfyUI, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Puts an upscaler of its own into a folder of the server, found by its name; `number` changes its bytes."""

    def put(name: str, number: int = 0, folder: str = "upscale_models") -> Path:
        path = indexed.models_dir / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = bytearray(
            (indexed.models_dir / "upscale_models" / "tiny-upscaler.safetensors").read_bytes()
        )
        content[-2] ^= number
        path.write_bytes(bytes(content))
        wait_for(lambda: model_of(indexed, path.stem), indexed)
        return path

    return put


def test_only_other_bytes_make_it_run_again(indexed: RealComfyUI, upscaler: Callable[..., Path]) -> None:
    path = upscaler("changes.safetensors")
    prompt = loading("LibrarianLoadUpscaleModel", model_id=path.name)
    assert ran(run(indexed, prompt))
    assert not ran(run(indexed, prompt))

    moved = indexed.models_dir / "upscale_models" / "below" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    wait_for(lambda: path_of(indexed, "changes") == moved, indexed)
    assert not ran(run(indexed, prompt))

    content = bytearray(moved.read_bytes())
    content[-2] ^= 1
    moved.write_bytes(bytes(content))
    assert ran(run(indexed, prompt))
    assert not ran(run(indexed, prompt))


def test_an_id_from_before_a_file_was_renamed_is_still_the_file(
    indexed: RealComfyUI, upscaler: Callable[..., Path]
) -> None:
    path = upscaler("old-name.safetensors", 2)
    model_id = model_of(indexed, "old-name")["model_id"]
    path.rename(path.with_name("new-name.safetensors"))
    wait_for(lambda: model_of(indexed, "new-name"), indexed)
    assert ran(run(indexed, loading("LibrarianLoadUpscaleModel", model_id=model_id)))


def test_a_model_that_no_link_leads_to_is_loaded(indexed: RealComfyUI) -> None:
    """It lies in the library alone, so that ComfyUI's own loaders do not know of it."""
    content = bytearray((indexed.models_dir / "upscale_models" / "tiny-upscaler.safetensors").read_bytes())
    content[-2] ^= 40
    source = indexed.base_dir / "input" / "unlinked.safetensors"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(bytes(content))
    item = {"paths": [str(source)], "mode": "move", "metadata": {"subtype": "upscale_models"}}
    post(indexed, "/librarian/imports", {"items": [item], "link": False})
    model_id = wait_for(lambda: model_of(indexed, "unlinked"), indexed)["model_id"]
    assert not path_of(indexed, "unlinked").is_relative_to(indexed.models_dir)
    assert not list(indexed.models_dir.rglob("unlinked*"))
    assert ran(run(indexed, loading("LibrarianLoadUpscaleModel", model_id=model_id)))


def test_a_hash_names_a_file(indexed: RealComfyUI, upscaler: Callable[..., Path]) -> None:
    path = upscaler("hashed.safetensors", 3)
    run(indexed, loading("LibrarianLoadUpscaleModel", model_id=path.name))  # its hash is known from now on
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert ran(run(indexed, loading("LibrarianLoadUpscaleModel", model_id=digest.upper())))


def test_a_deleted_file_is_refused_and_says_so(indexed: RealComfyUI, upscaler: Callable[..., Path]) -> None:
    path = upscaler("goes-away.safetensors", 4)
    path.unlink()
    said = refusal(indexed, "LibrarianLoadUpscaleModel", model_id=path.name)
    assert "model_id: The file of" in said or "model_id: There is no model 'goes-away.safetensors'" in said


def test_a_name_that_means_two_models_names_them(indexed: RealComfyUI, upscaler: Callable[..., Path]) -> None:
    def ids_of_two() -> list[str]:
        found = indexed.get_json("/librarian/models?q=twice")["models"]
        return [model["model_id"] for model in found if model["official_name"] == "twice"]

    upscaler("twice.safetensors", 5)
    upscaler("twice.safetensors", 6, folder="upscale_models/other")
    wait_for(lambda: len(ids_of_two()) == 2, indexed)
    ids = ids_of_two()
    said = refusal(indexed, "LibrarianLoadUpscaleModel", model_id="twice.safetensors")
    assert "means several models" in said
    assert all(model_id in said for model_id in ids)
    assert ran(run(indexed, loading("LibrarianLoadUpscaleModel", model_id=ids[1])))


def test_a_wrong_name_names_the_nearest(indexed: RealComfyUI) -> None:
    said = refusal(indexed, "LibrarianLoadUpscaleModel", model_id="tiny-upscalre")
    assert "model_id: There is no model 'tiny-upscalre'" in said
    assert model_of(indexed, "tiny-upscaler")["model_id"] in said
    assert "choose a model" in refusal(indexed, "LibrarianLoadUpscaleModel", model_id=" ")


def test_a_model_from_another_node_is_loaded_and_kept(indexed: RealComfyUI) -> None:
    prompt = loading("LibrarianLoadUpscaleModel", model_id=["name", 0])
    prompt["name"] = {"class_type": "PrimitiveString", "inputs": {"value": "tiny-upscaler.safetensors"}}
    assert ran(run(indexed, prompt))
    assert not ran(run(indexed, prompt))

    prompt["name"]["inputs"]["value"] = "tiny-upscalre.safetensors"
    history = run(indexed, prompt)
    assert history["status"]["status_str"] == "error"
    assert "There is no model 'tiny-upscalre.safetensors'" in json.dumps(history["status"]["messages"])


# --- what is refused ----------------------------------------------------------------------------------


def test_comfyuis_own_checks_stay_in_force(indexed: RealComfyUI) -> None:
    name = "tiny-mmdit.safetensors"
    wrong = loading("LibrarianLoadDiffusionModel", model_id=name, weight_dtype="float3")
    answer = post(indexed, "/prompt", {"prompt": wrong})
    if "prompt_id" in answer:  # older cores do not check it before the prompt runs
        history = ended(indexed, answer["prompt_id"])
        assert "weight_dtype: 'float3' is not one of default, " in json.dumps(history["status"]["messages"])
    else:
        assert "value_not_in_list" in json.dumps(answer)
    said = refusal(indexed, "LibrarianLoadDiffusionModel", model_id=name)
    assert "required_input_missing" in said


def test_a_pickle_is_loaded_only_when_somebody_trusts_it(indexed: RealComfyUI) -> None:
    source = indexed.models_dir / "hypernetworks" / "tiny-hypernetwork.pt"
    shutil.copy(source, source.with_name("pickled.pt"))
    wait_for(lambda: model_of(indexed, "pickled"), indexed)
    inputs = {"model": MODEL, "model_id": "pickled.pt", "strength": 0.5}
    assert "model_id: pickled is a pickle" in refusal(indexed, "LibrarianLoadHypernetwork", **inputs)
    trust(indexed, "pickled")
    assert ran(run(indexed, loading("LibrarianLoadHypernetwork", **inputs)))


def test_a_pickle_that_would_run_commands_is_refused(indexed: RealComfyUI) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch pwned",)

    path = indexed.models_dir / "hypernetworks" / "evil.pt"
    path.write_bytes(pickle.dumps({"activation_func": Evil()}))
    wait_for(lambda: model_of(indexed, "evil"), indexed)
    said = refusal(indexed, "LibrarianLoadHypernetwork", model=MODEL, model_id="evil.pt", strength=0.5)
    assert "posix.system" in said
    assert not (indexed.base_dir / "pwned").exists()


def test_a_model_in_several_files_is_refused_clearly(indexed: RealComfyUI) -> None:
    wait_for(lambda: model_of(indexed, "halves"), indexed)
    model_id = model_of(indexed, "halves")["model_id"]
    said = refusal(indexed, "LibrarianLoadDiffusionModel", model_id=model_id, weight_dtype="default")
    assert "is split into several files (here 2)" in said
    said = refusal(indexed, "LibrarianLoadCheckpoint", model_id="tiny-folder")
    assert "is a Diffusers folder" in said
    said = refusal(indexed, "LibrarianLoadDiffusers", model_id="tiny-vae.safetensors")
    assert "is not a Diffusers folder" in said


# --- in the way of nobody -----------------------------------------------------------------------------


def test_prompts_and_scans_go_on_side_by_side(indexed: RealComfyUI, upscaler: Callable[..., Path]) -> None:
    names = [upscaler(f"side-{number}.safetensors", 20 + number).name for number in range(4)]
    said = len(indexed.log)
    post(indexed, "/librarian/scan", {"kind": "deep"})
    prompts = [loading("LibrarianLoadUpscaleModel", model_id=name) for name in names]
    answers = [post(indexed, "/prompt", {"prompt": prompt}) for prompt in prompts]
    assert all("prompt_id" in answer for answer in answers), answers
    queued = [answer["prompt_id"] for answer in answers]
    assert all(ran(ended(indexed, prompt_id)) for prompt_id in queued)
    assert "Traceback" not in indexed.log[said:]


def test_object_info_is_the_same_whatever_the_library_holds(indexed: RealComfyUI, tell) -> None:
    """Bytes of our nodes, with some ten models and with 10,000 more; those of ComfyUI's own loaders do grow."""

    def held() -> tuple[int, bytes, int]:
        info = indexed.get_json("/object_info")
        ours = {name: node for name, node in info.items() if name.startswith("Librarian")}
        models = indexed.get_json("/librarian/models?limit=1")["total"]
        return models, json.dumps(ours, sort_keys=True).encode(), len(json.dumps(info))

    few, before, all_before = held()
    folder = indexed.models_dir / "loras" / "many"
    folder.mkdir()
    content = (indexed.models_dir / "loras" / "tiny-lora.safetensors").read_bytes()[:200]
    for number in range(10_000):
        (folder / f"lora-{number:05}.safetensors").write_bytes(content)
    wait_for(lambda: indexed.get_json("/librarian/models?limit=1")["total"] >= few + 10_000, indexed)
    many, after, all_after = held()
    assert few < 100
    assert after == before
    assert all_after > all_before + 10_000 * len("lora-00000.safetensors")
    tell(
        f"object_info of our nodes: {len(before)} bytes with {few} models, {len(after)} with {many}; "
        f"all of it {all_before} and {all_after}"
    )


def test_a_prompt_queued_at_once_after_the_start_runs(indexed: RealComfyUI) -> None:
    indexed.restart()
    prompt = loading("LibrarianLoadUpscaleModel", model_id="tiny-upscaler.safetensors")
    assert ran(run(indexed, prompt))
