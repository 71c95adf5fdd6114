"""Which models workflows want: reading them, and finding what they name."""

from __future__ import annotations

import hashlib
import json
import os
import random
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_librarian.core.errors import InvalidRequestError, LibrarianError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery
from model_librarian.core.linking import LinkChoice
from model_librarian.core.settings import app_of_models_folder
from model_librarian.core.workflows import ModelReference, references_in

CHECKPOINT = {
    "id": 1,
    "type": "CheckpointLoaderSimple",
    "widgets_values": ["sd_xl_base_1.0.safetensors"],
    "properties": {
        "models": [
            {
                "name": "sd_xl_base_1.0.safetensors",
                "url": "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
                "directory": "checkpoints",
                "hash": "A" * 64,
                "hash_type": "SHA256",
            }
        ]
    },
}


@pytest.fixture
def indexed(librarian, finished):
    """Bring the index in step with what the test has put down."""

    def scan():
        finished(librarian.scans.start("quick"))
        return librarian

    return scan


def resolve(librarian, name, folder="loras", **more):
    [result] = librarian.workflows.resolve([ModelReference(folder=folder, name=name, **more)])
    return result


def test_a_saved_workflow_names_its_models():
    lora = {"type": "LoraLoader", "widgets_values": ["styles\\pixel-art.safetensors", 1, 1]}
    in_subgraph = {"type": "VAELoader", "widgets_values": ["ae.safetensors"]}
    instance = {"type": "9f-uuid", "widgets_values": ["ae.safetensors", "a text.", None]}
    ours = {"type": "LibrarianLoadLora", "widgets_values": ["pixel-art.safetensors"]}
    workflow = {
        "nodes": [instance, CHECKPOINT, lora, ours],
        "definitions": {"subgraphs": [{"nodes": [in_subgraph]}]},
    }
    found = references_in(workflow)
    assert [(one.folder, one.name) for one in found] == [
        ("checkpoints", "sd_xl_base_1.0.safetensors"),
        ("loras", "styles\\pixel-art.safetensors"),
        ("", "pixel-art.safetensors"),
        ("vae", "ae.safetensors"),
    ]
    assert [one.identity for one in found] == [None, None, "pixel-art.safetensors", None]
    assert found[0].sha256 == "A" * 64
    assert found[0].url.endswith("sd_xl_base_1.0.safetensors")


def test_an_exported_workflow_names_its_models():
    workflow = {
        "1": {
            "class_type": "DualCLIPLoader",
            "inputs": {"clip_name1": "a.safetensors", "clip_name2": "b.gguf"},
        },
        "2": {"class_type": "SomebodysNode", "inputs": {"model": ["1", 0], "file": "c.pth"}},
    }
    assert {(one.folder, one.name) for one in references_in(workflow)} == {
        ("text_encoders", "a.safetensors"),
        ("text_encoders", "b.gguf"),
        ("", "c.pth"),
    }


def named(*nodes, **workflow):
    return {(one.folder, one.name) for one in references_in({"nodes": list(nodes), **workflow})}


def at(name, folder, url="https://x.example/file"):
    return {"name": name, "directory": folder, "url": url}


def test_one_name_in_two_folders_is_two_models():
    """Such as diffusion_pytorch_model.safetensors: what one node says of it is nothing to another node."""
    name = "diffusion_pytorch_model.safetensors"
    control = {
        "type": "ControlNetLoader", "widgets_values": [name],
        "properties": {"models": [at(name, "controlnet", "https://x.example/control")]},
    }  # fmt: skip
    vae = {"type": "VAELoader", "widgets_values": [name]}
    unknown = {"type": "SomebodysNode", "widgets_values": [name]}
    whole = {"nodes": [unknown, vae, control], "models": [at(name, "vae", "https://x.example/vae")]}
    assert {one.folder: one.url for one in references_in(whole)} == {
        "controlnet": "https://x.example/control",
        "vae": "https://x.example/vae",
    }
    assert named(unknown) == {("", name)}
    assert named(unknown, extensions={"models": [at(name, "unet")]}) == {("unet", name)}


def test_what_a_workflow_says_of_a_name_goes_before_the_node_that_has_it():
    """A frontend that does not know all nodes gives values to wrong widgets."""
    displaced = {"type": "LoraLoaderModelOnly", "widgets_values": ["qwen.safetensors", 1]}
    meant = {"type": "9f-uuid", "properties": {"models": [at("qwen.safetensors", "diffusion_models")]}}
    assert named(displaced, meant) == {("diffusion_models", "qwen.safetensors")}


def test_nodes_that_do_not_run_need_no_models():
    def vae(name, mode=0):
        return {"type": "VAELoader", "widgets_values": [name], "mode": mode}

    subgraphs = [
        {"id": "awake", "nodes": [vae("inner.safetensors"), vae("inner-muted.safetensors", 2)]},
        {"id": "asleep", "nodes": [vae("inner-asleep.safetensors"), {"type": "deeper"}]},
        {"id": "deeper", "nodes": [vae("deepest.safetensors")]},
    ]
    nodes = [vae("a.safetensors"), vae("muted.safetensors", 2), vae("bypassed.safetensors", 4),
             {"type": "asleep", "mode": 4}, {"type": "awake", "mode": 4}, {"type": "awake"}]  # fmt: skip
    assert named(*nodes, definitions={"subgraphs": subgraphs}) == {
        ("vae", "a.safetensors"),
        ("vae", "inner.safetensors"),
    }


def test_custom_nodes_say_what_kind_a_model_is_by_their_inputs_names():
    rows = [{"type": "PowerLoraLoaderHeaderWidget"}, {"on": True, "lora": "a\\b.safetensors", "strength": 1},
            {"on": False, "lora": "off.safetensors", "strength": 1}, {"on": True, "lora": "None"}, ""]  # fmt: skip
    power = {"type": "Power Lora Loader (rgthree)", "widgets_values": [{}, *rows]}
    assert named(power) == {("loras", "a\\b.safetensors")}
    exported = {
        "1": {"class_type": "Power Lora Loader (rgthree)", "inputs": {"lora_1": rows[1], "lora_2": rows[2]}},
        "2": {"class_type": "Efficient Loader", "inputs": {"ckpt_name": "c.ckpt", "vae_name": "Baked VAE"}},
        "3": {"class_type": "LoRA Stacker", "inputs": {"lora_name_1": "l.safetensors", "other": "o.pth"}},
    }
    assert {(one.folder, one.name) for one in references_in(exported)} == {
        ("loras", "a\\b.safetensors"), ("checkpoints", "c.ckpt"), ("loras", "l.safetensors"), ("", "o.pth"),
    }  # fmt: skip
    by_name = {"type": "LoRA Stacker", "widgets_values": {"lora_name_1": "l.safetensors", "count": 2}}
    assert named(by_name) == {("loras", "l.safetensors")}
    newest = {"type": "LoRA Stacker", "widgets_values": [2, "l.safetensors"],
              "widgets_values_named": {"count": 2, "lora_name_1": "l.safetensors"}}  # fmt: skip
    assert named(newest) == {("loras", "l.safetensors")}


def test_a_value_that_another_node_gives_is_not_the_loaders_own():
    slots = [
        {"name": "model", "type": "MODEL", "link": 1},
        {"name": "lora_name", "widget": {"name": "lora_name"}, "link": 2},
        {"name": "strength_model", "widget": {"name": "strength_model"}, "link": None},
    ]
    lora = {"type": "LoraLoaderModelOnly", "inputs": slots, "widgets_values": ["before.safetensors", 1]}
    primitive = {"type": "PrimitiveNode", "widgets_values": ["given.safetensors", "fixed"]}
    assert named(lora, primitive, links=[[2, 8, 0, 9, 1, "COMBO"]]) == {("", "given.safetensors")}
    # A subgraph's own input is no other node: what its node says there, the inner one says too.
    inner = {"nodes": [lora], "links": [{"id": 2, "origin_id": -10, "target_id": 9}]}
    assert named(definitions={"subgraphs": [inner]}) == {("loras", "before.safetensors")}


def test_notes_name_no_models():
    notes = [{"type": kind, "widgets_values": ["Get ae.safetensors"]} for kind in ("Note", "MarkdownNote")]
    assert named(*notes) == set()


def test_nodes_of_our_own_name_models_by_identity():
    stated = {
        "model_id": "a/b/one",
        "name": "one.safetensors",
        "directory": "text_encoders",
        "sha256": "b" * 64,
    }
    saved = {
        "type": "LibrarianLoadDualCLIP",
        "inputs": [
            {"name": "model_id_1", "widget": {"name": "model_id_1"}, "link": None},
            {"name": "model_id_2", "widget": {"name": "model_id_2"}, "link": None},
            {"name": "type", "widget": {"name": "type"}, "link": None},
        ],
        "widgets_values": ["a/b/one", "in-place/two-12345678", "flux", "default"],
        "properties": {
            "librarian": {"model_id_1": stated, "model_id_2": {**stated, "model_id": "chosen/before/this"}},
            "models": [
                {"name": "one.safetensors", "directory": "text_encoders", "url": "https://x.example/one"}
            ],
        },
    }
    wired = {
        "type": "LibrarianLoadLora",
        "inputs": [{"name": "model_id", "widget": {"name": "model_id"}, "link": 7}],
        "widgets_values": ["not/this/one", 1, 1],
    }
    first, second = references_in({"nodes": [saved, wired], "links": [[7, 3, 0, 4, 0, "STRING"]]})
    assert first.model_dump() == {
        "folder": "text_encoders", "name": "one.safetensors", "sha256": "b" * 64,
        "url": "https://x.example/one", "identity": "a/b/one",
    }  # fmt: skip
    assert (second.identity, second.name, second.sha256) == ("in-place/two-12345678", "two-12345678", None)
    exported = {"1": {"class_type": "LibrarianLoadLora", "inputs": {"model_id": "a/b/c", "model": ["2", 0]}},
                "2": {"class_type": "LibrarianLoadVAE", "inputs": {"model_id": ["3", 0]}}}  # fmt: skip
    assert [one.identity for one in references_in(exported)] == ["a/b/c"]


def test_what_a_node_of_our_own_names_is_found_wherever_it_lies(indexed, make_model, downloads, finished):
    librarian = indexed()
    file = make_model(downloads / "4x-ESRGAN.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(file)]}]})
    [model_id] = finished(librarian.imports.start(request)).result["imported"]

    def resolved(value, **properties):
        node = {"type": "LibrarianLoadUpscaleModel", "widgets_values": [value], "properties": properties}
        [result] = librarian.workflows.resolve_workflow({"nodes": [node]})
        assert result.identity == value
        return result.state, result.value, result.model_id

    assert resolved(model_id) == ("present", model_id, model_id)
    assert resolved("4x-ESRGAN.safetensors") == ("present", "4x-ESRGAN.safetensors", model_id)
    other = "somebody/elses/id"
    stated = {"model_id": {"model_id": other, "name": "4x-ESRGAN.safetensors", "directory": "upscale_models"}}
    assert resolved(other, librarian=stated) == ("elsewhere", model_id, model_id)
    assert resolved(other) == ("unknown", None, None)
    at = {"name": "id", "directory": "upscale_models", "url": "https://x.example/id.safetensors"}
    assert resolved(other, models=[at]) == ("downloadable", None, None)


@pytest.mark.parametrize("nothing", [[], {}, None, "x", {"nodes": None}, {"a": {"b": 1}}])
def test_what_is_no_workflow_is_said_to_be_none(nothing):
    with pytest.raises(InvalidRequestError):
        references_in(nothing)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.just("x.safetensors"),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["nodes", "type", "class_type", "inputs", "properties", "models", "name", "directory",
                         "url", "hash", "hash_type", "widgets_values", "definitions", "subgraphs", "links", "link",
                         "widget", "id", "origin_id", "mode", "widgets_values_named", "extensions"]), inner),
)  # fmt: skip


@given(JSON)
def test_no_json_whatever_raises_anything_else(value):
    try:
        references_in({"nodes": value})
        references_in({"nodes": [value], "definitions": value, "links": value})
    except LibrarianError:
        pass


def test_what_is_there_under_its_name_is_present(indexed, make_model, models_folder):
    make_model(models_folder / "loras" / "styles" / "pixel.safetensors")
    librarian = indexed()
    result = resolve(librarian, os.path.join("styles", "pixel.safetensors"))
    assert result.state == "present"
    assert librarian.models.details(result.model_id).official_name == "pixel"


@pytest.mark.parametrize(
    "name", ["pixel.safetensors", "PIXEL.safetensors", "old/place/pixel.safetensors", "Pixel.SafeTensors"]
)
def test_another_folder_or_case_is_found_and_said(indexed, make_model, models_folder, name):
    make_model(models_folder / "loras" / "styles" / "pixel.safetensors")
    result = resolve(indexed(), name)
    assert (result.state, result.value) == ("elsewhere", os.path.join("styles", "pixel.safetensors"))


@pytest.mark.skipif(os.sep != "/", reason="the other slash")
def test_the_slash_of_another_system(indexed, make_model, models_folder):
    make_model(models_folder / "loras" / "styles" / "pixel.safetensors")
    result = resolve(indexed(), "styles\\pixel.safetensors")
    assert (result.state, result.value) == ("elsewhere", "styles/pixel.safetensors")


def test_old_folder_names_mean_the_new_ones(indexed, make_model, models_folder):
    make_model(models_folder / "diffusion_models" / "flux.safetensors")
    make_model(models_folder / "text_encoders" / "clip_l.safetensors")
    librarian = indexed()
    assert resolve(librarian, "flux.safetensors", "unet").state == "present"
    assert resolve(librarian, "clip_l.safetensors", "clip").state == "present"


def test_what_only_the_library_has_is_linked_on_request(indexed, make_model, downloads, finished):
    librarian = indexed()
    file = make_model(downloads / "4x-ESRGAN.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(file)]}]})
    finished(librarian.imports.start(request))
    result = resolve(librarian, "4x-ESRGAN.safetensors", "upscale_models")
    assert (result.state, result.value) == ("in_library", None)

    plan = librarian.links.preview(model_ids=[result.model_id])
    finished(librarian.links.apply(LinkChoice(plan_id=plan.plan_id)))
    after = resolve(librarian, "4x-ESRGAN.safetensors", "upscale_models")
    assert (after.state, after.model_id) == ("present", result.model_id)


def test_a_renamed_file_is_found_by_its_hash(indexed, make_model, models_folder):
    file = make_model(models_folder / "loras" / "my favourite.safetensors")
    librarian = indexed()
    [model] = librarian.library.search(ModelQuery()).models
    librarian.library.hash_of(model.model_id)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    result = resolve(librarian, "original-name.safetensors", sha256=digest.upper())
    assert (result.state, result.value) == ("elsewhere", "my favourite.safetensors")


def test_a_model_is_found_by_its_id(indexed, make_model, models_folder):
    make_model(models_folder / "loras" / "styles" / "pixel.safetensors")
    librarian = indexed()
    [model_id] = librarian.library.index.all_ids()
    result = resolve(librarian, model_id)
    assert (result.state, result.model_id) == ("elsewhere", model_id)
    assert result.value == os.path.join("styles", "pixel.safetensors")


def test_other_bytes_under_the_same_name_are_told(indexed, make_model, models_folder):
    make_model(models_folder / "loras" / "pixel.safetensors")
    right = make_model(models_folder / "loras" / "real" / "renamed.safetensors")
    librarian = indexed()
    for model in librarian.library.search(ModelQuery(limit=500)).models:
        librarian.library.hash_of(model.model_id)
    other = resolve(librarian, "pixel.safetensors", sha256="0" * 64)
    assert (other.state, other.hash_mismatch, other.sha256) == ("present", True, "0" * 64)
    digest = hashlib.sha256(right.read_bytes()).hexdigest()
    meant = resolve(librarian, "pixel.safetensors", sha256=digest)
    assert (meant.state, meant.value) == ("elsewhere", os.path.join("real", "renamed.safetensors"))
    assert not meant.hash_mismatch


def test_of_two_different_models_of_one_name_none_is_chosen(indexed, make_model, models_folder):
    shape = {"a": (4, 4)}
    make_model(models_folder / "loras" / "a" / "pixel.safetensors", shape)
    make_model(models_folder / "loras" / "b" / "pixel.safetensors", {**shape, "b": (2, 2)})
    result = resolve(indexed(), "pixel.safetensors")
    assert (result.state, result.model_id, result.value) == ("unknown", None, None)
    assert {one.value for one in result.candidates} == {
        os.path.join("a", "pixel.safetensors"),
        os.path.join("b", "pixel.safetensors"),
    }


def test_the_folder_decides_between_kinds(indexed, make_model, models_folder):
    make_model(models_folder / "vae" / "sub" / "ae.safetensors", {"a": (4, 4)})
    make_model(models_folder / "checkpoints" / "ae.safetensors", {"b": (2, 2)})
    make_model(models_folder / "checkpoints" / "all-in-one.safetensors")
    librarian = indexed()
    result = resolve(librarian, "ae.safetensors", "vae")
    assert (result.state, result.value) == ("elsewhere", os.path.join("sub", "ae.safetensors"))

    # One of another kind is no other place of the same model: ComfyUI's loader could not have it.
    url = "https://x.example/all-in-one.safetensors"
    for more, state in (({}, "unknown"), ({"url": url}, "downloadable")):
        result = resolve(librarian, "all-in-one.safetensors", "diffusion_models", **more)
        assert (result.state, result.model_id, result.value) == (state, None, None)
        assert [one.subtype for one in result.candidates] == ["checkpoints"]


def prompt(text, **workflow):
    return {"nodes": [{"type": "CLIPTextEncode", "widgets_values": [text]}], **workflow}


def test_embeddings_are_named_in_prompts():
    text = "bad hands, (embedding:EasyNegative:1.2), embedding:neg\\\\ugly.pt,\nembedding:a\\(v2\\) xembedding:no"
    assert {(one.folder, one.name) for one in references_in(prompt(text))} == {
        ("embeddings", "EasyNegative"), ("embeddings", "neg\\\\ugly.pt"), ("embeddings", "a(v2)"),
    }  # fmt: skip
    assert named({"type": "CLIPTextEncode", "widgets_values": ["embedding:one.pt"]}) == {
        ("embeddings", "one.pt")
    }
    url = "https://x.example/EasyNegative.safetensors"
    [told] = references_in(prompt(text[:40], models=[at("EasyNegative.safetensors", "embeddings", url)]))
    assert (told.name, told.url) == ("EasyNegative", url)


@pytest.fixture
def embeddings(models_folder):
    """ComfyUI's folder, there before a Librarian looks."""
    folder = models_folder / "embeddings"
    folder.mkdir()
    return folder


def test_embeddings_are_found_as_comfyui_finds_them(embeddings, indexed, make_model, downloads, finished):
    """Without their endings, and in any subfolder; another case is another name to it."""
    clip_l = {"clip_l": (1, 768)}
    make_model(embeddings / "neg" / "EasyNegative.safetensors", clip_l)
    make_model(embeddings / "UGLY.safetensors", clip_l)
    make_model(embeddings.parent / "loras" / "style.safetensors")
    for folder in "ab":
        make_model(embeddings / folder / "twice.safetensors", clip_l)
    librarian = indexed()

    def resolved(text, **workflow):
        [result] = librarian.workflows.resolve_workflow(prompt(text, **workflow))
        return result.name, result.state, result.value

    assert resolved("embedding:EasyNegative") == ("EasyNegative", "present", "EasyNegative")
    assert resolved("embedding:EasyNegative.safetensors")[1] == "present"
    assert resolved("embedding:EasyNegative.pt")[1] == "unknown"
    assert resolved("embedding:ugly") == ("ugly", "elsewhere", "UGLY.safetensors")
    assert resolved("embedding:twice")[1] == "present"
    assert resolved("embedding:style") == ("style", "unknown", None)
    there = [at("style.pt", "embeddings")]
    assert resolved("embedding:style", models=there) == ("style", "downloadable", None)

    file = make_model(downloads / "deep.safetensors", clip_l)
    item = {"paths": [str(file)], "metadata": {"subtype": "embeddings"}}
    finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
    [found] = librarian.workflows.resolve_workflow(prompt("embedding:deep"))
    assert (found.state, found.value) == ("in_library", None)


def test_what_is_not_here_can_be_downloaded_or_has_neighbours(indexed, make_model, models_folder):
    make_model(models_folder / "loras" / "pixel-art-xl-v1.safetensors")
    librarian = indexed()
    url = "https://huggingface.co/nerijs/pixel-art-xl/resolve/main/pixel-art-xl-v2.safetensors"
    assert resolve(librarian, "pixel-art-xl-v2.safetensors", url=url).state == "downloadable"
    unknown = resolve(librarian, "pixel-art-xl-v2.safetensors")
    assert unknown.state == "unknown"
    assert [one.name for one in unknown.candidates] == ["pixel-art-xl-v1.safetensors"]
    assert resolve(librarian, "x.safetensors", url="file:///etc/passwd").state == "unknown"


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "\0.safetensors", "a" * 4000, "..\\..\\x.pt"]
)
def test_names_that_lead_elsewhere_lead_nowhere(indexed, models_folder, make_model, name):
    make_model(models_folder / "secret.safetensors")
    assert resolve(indexed(), name).state == "unknown"


def _templates():
    for path in sorted(Path(str(files("comfyui_workflow_templates_json"))).rglob("*.json")):
        workflow = json.loads(path.read_bytes())
        if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
            # What is put down below has other bytes than the real models, so their hashes would rightly not fit.
            yield path.name, [one.model_copy(update={"sha256": None}) for one in references_in(workflow)]


def test_the_models_of_all_templates_are_found_under_other_folders_and_names(
    librarian, finished, models_folder, make_model
):
    """660 real workflows, and a person who has sorted the models into own folders and respelled their names."""
    random_ = random.Random(3)
    respelled = [
        str.upper,
        str.lower,
        str.title,
        lambda s: s.replace("_", "-"),
        lambda s: s.replace("-", " "),
        str,
    ]
    wanted = {(one.folder, one.name) for _, references in _templates() for one in references if one.folder}
    lies: dict[tuple[str, str], Path] = {}
    for folder, name in sorted(wanted):
        stem, _, extension = name.replace("\\", "/").rpartition("/")[2].rpartition(".")
        path = (
            models_folder
            / folder
            / random_.choice(["mine", "sorted/by me", "x"])
            / f"{random_.choice(respelled)(stem)}.{extension}"
        )
        make_model(path, {name: (1, 1)})
        lies[folder, name] = path
    surroundings = librarian.surroundings.model_copy(
        update={"apps": [app_of_models_folder(models_folder)], "data_dir": models_folder.parent / "data-2"}
    )
    again = Librarian(surroundings)
    try:
        assert again.jobs.wait(again.scans.start("quick").id, timeout=120).state == "done"
        workflows, all_, found = 0, 0, 0
        for name, references in _templates():
            workflows += 1
            for reference, result in zip(references, again.workflows.resolve(references), strict=True):
                if not reference.folder:
                    continue
                all_ += 1
                if result.state == "elsewhere":
                    right = lies[reference.folder, reference.name]
                    assert models_folder / reference.folder / result.value == right, (name, reference)
                    found += 1
        assert workflows > 600
        assert found / all_ >= 0.99, f"{found} of {all_}"
    finally:
        again.close()
