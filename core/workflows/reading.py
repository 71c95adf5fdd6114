"""What a workflow says of its models, in the panel's format and in that of ComfyUI's API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..errors import InvalidRequestError
from ..settings import FOLDER_ALIASES, MODEL_EXTENSIONS
from .records import ModelReference

MAX_DEPTH = 100
"""How deep a workflow's values may lie in one another."""

FOLDERS = {
    "CheckpointLoaderSimple": "checkpoints",
    "CheckpointLoader": "checkpoints",
    "ImageOnlyCheckpointLoader": "checkpoints",
    "unCLIPCheckpointLoader": "checkpoints",
    "UNETLoader": "diffusion_models",
    "UnetLoaderGGUF": "diffusion_models",
    "UnetLoaderGGUFAdvanced": "diffusion_models",
    "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
    "VAELoader": "vae",
    "CLIPLoader": "text_encoders",
    "CLIPLoaderGGUF": "text_encoders",
    "DualCLIPLoader": "text_encoders",
    "DualCLIPLoaderGGUF": "text_encoders",
    "TripleCLIPLoader": "text_encoders",
    "TripleCLIPLoaderGGUF": "text_encoders",
    "QuadrupleCLIPLoader": "text_encoders",
    "QuadrupleCLIPLoaderGGUF": "text_encoders",
    "ControlNetLoader": "controlnet",
    "DiffControlNetLoader": "controlnet",
    "CLIPVisionLoader": "clip_vision",
    "UpscaleModelLoader": "upscale_models",
    "LatentUpscaleModelLoader": "latent_upscale_models",
    "StyleModelLoader": "style_models",
    "GLIGENLoader": "gligen",
    "HypernetworkLoader": "hypernetworks",
    "AudioEncoderLoader": "audio_encoders",
    "ModelPatchLoader": "model_patches",
    "PhotoMakerLoader": "photomaker",
}
"""The folders of loaders that may say nothing more (ComfyUI ``nodes.py`` and ``comfy_extras``, ComfyUI-GGUF)."""


EMBEDDINGS = "embeddings"
"""ComfyUI's folder of what prompts name."""

EMBEDDING_ENDINGS = (".safetensors", ".pt", ".bin")
"""What ComfyUI tries behind an embedding's name, in this order (``comfy/sd1_clip.py``)."""

INPUTS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "lora_name": "loras",
    "lora": "loras",
    "vae_name": "vae",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "hypernetwork_name": "hypernetworks",
    EMBEDDINGS: EMBEDDINGS,
}
"""The folders of inputs of nodes that are not known: custom nodes call theirs as the core's loaders do, with a number
behind if there are several; «lora» is rgthree's."""

OURS = "LibrarianLoad"
"""How the kinds of Librarian's own loaders begin."""

_EMBEDDING = re.compile(r"(?:^|(?<=[\s(]))embedding:((?:\\[()]|[^\s,():])+)")
"""In a prompt, as ComfyUI reads it (``comfy/sd1_clip.py``); a backslash stands before a parenthesis that is meant."""

_MODEL_INPUT = re.compile(r"model_id(_[1-4])?")
_ASLEEP = (2, 4)
"""Modes of nodes that do not run: muted and bypassed (litegraph ``LGraphEventMode``)."""
_NOTES = ("Note", "MarkdownNote")
_SUBGRAPH_INPUT = -10
"""Where links begin that come into a subgraph: what the node that stands for it says there, its inner node says too."""


def references_in(workflow: Any) -> list[ModelReference]:
    """Every model that a workflow's nodes name, once. Raises `InvalidRequestError` for what is no workflow.

    A name is what ends like a model's file among a node's values, or an embedding in a prompt. Its folder, URL and
    hash come from the ``properties.models`` of the node, else from what other nodes or the workflow itself say of the
    name, if they agree, else its folder from the kind of node or the input. What nodes of Librarian itself name is an
    identity; ``properties.librarian`` says its file's name, folder and hash. Nodes that are muted or bypassed need
    nothing.
    """
    graphs, awake = _graphs_and_awake_nodes(workflow)
    stated: dict[str, dict[str, ModelReference]] = {}
    for owner in (*graphs, *(_of(node, "properties") for node in _all_nodes(graphs))):
        for reference in _stated(owner):
            folders = stated.setdefault(reference.name, {})
            known = folders.setdefault(_today(reference.folder), reference)
            if known.sha256 is None and reference.sha256 is not None:
                folders[_today(reference.folder)] = reference
    found: dict[tuple[str, str], ModelReference] = {}
    unplaced: list[str] = []
    for node, given in awake:
        kind = str(node.get("type") or node.get("class_type") or "")
        if kind.startswith(OURS):
            for one in _by_identity(node, given, stated):
                found.setdefault((OURS, str(one.identity)), one)
            continue
        own = {one.name: _today(one.folder) for one in _stated(_of(node, "properties"))}
        for key, name in _names(node, given, kind):
            folders = stated.get(name, {})
            # What the workflow says of a name goes before the node: a frontend that does not know all nodes gives
            # values to wrong widgets.
            agreed = next(iter(folders)) if len(folders) == 1 else None
            folder = own.get(name) or agreed or FOLDERS.get(kind) or _folder_of_input(key)
            if folder:
                found.setdefault((folder, name), _told(stated, folder, name))
            else:
                unplaced.append(name)
    placed = {name for folder, name in found if folder != OURS}
    for name in unplaced:
        if name not in placed:
            found.setdefault(("", name), ModelReference(name=name))
    return list(found.values())


_Awake = tuple[dict[str, Any], set[str]]
"""A node that runs, and the links in its graph that come from other nodes."""


def _graphs_and_awake_nodes(workflow: Any) -> tuple[list[dict[str, Any]], list[_Awake]]:
    """The workflow and its subgraphs, and the nodes in them that run."""
    if not isinstance(workflow, dict):
        raise InvalidRequestError("This is no workflow. Save it from ComfyUI («Export» or «Export (API)»).")
    if not isinstance(workflow.get("nodes"), list):
        nodes = [node for node in workflow.values() if isinstance(node, dict) and "class_type" in node]
        if not nodes:
            raise InvalidRequestError(
                "There are no nodes in this. Save it from ComfyUI («Export» or «Export (API)»)."
            )
        return [{"nodes": nodes}], [(node, set()) for node in nodes]
    subgraphs = _dicts(_of(workflow, "definitions").get("subgraphs"))
    by_id = {str(graph["id"]): graph for graph in subgraphs if "id" in graph}
    used = {str(node.get("type")) for node in _all_nodes([workflow, *subgraphs])} & by_id.keys()
    awake: list[_Awake] = []
    # A subgraph that no node stands for is looked at as well: it is there to be used.
    waiting = [workflow, *(graph for graph in subgraphs if str(graph.get("id")) not in used)]
    for graph in waiting:
        nodes = [node for node in _dicts(graph.get("nodes")) if node.get("mode") not in _ASLEEP]
        given = _links_from_nodes(graph)
        for node in nodes:
            awake.append((node, given))
            inner = by_id.pop(str(node.get("type")), None)
            if inner is not None:
                waiting.append(inner)
    return [workflow, *subgraphs], awake


def _links_from_nodes(graph: dict[str, Any]) -> set[str]:
    links = graph.get("links")
    found = set()
    for link in links if isinstance(links, list) else []:
        ends = (link.get("id"), link.get("origin_id")) if isinstance(link, dict) else link
        if isinstance(ends, list | tuple) and len(ends) > 1 and ends[1] != _SUBGRAPH_INPUT:
            found.add(str(ends[0]))
    return found


def _all_nodes(graphs: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for graph in graphs:
        yield from _dicts(graph.get("nodes"))


def _today(folder: str) -> str:
    return FOLDER_ALIASES.get(folder, folder)


def _folder_of_input(name: str | None) -> str | None:
    return INPUTS.get((name or "").rstrip("0123456789").rstrip("_"))


def _told(stated: Mapping[str, Mapping[str, ModelReference]], folder: str, name: str) -> ModelReference:
    """What the workflow says of a model besides. Of an embedding it says the file's name, with its ending."""
    for ending in ("", *(EMBEDDING_ENDINGS if folder == EMBEDDINGS else ())):
        told = stated.get(name + ending, {}).get(folder)
        if told is not None:
            return told.model_copy(update={"name": name})
    return ModelReference(folder=folder, name=name)


def _stated(owner: dict[str, Any]) -> Iterator[ModelReference]:
    """The ``models`` of a workflow or of a node's properties; newer frontends keep the former in ``extensions``."""
    for model in (*_dicts(owner.get("models")), *_dicts(_of(owner, "extensions").get("models"))):
        name, folder = model.get("name"), model.get("directory")
        if not isinstance(name, str) or not isinstance(folder, str) or not 0 < len(name) <= 4096:
            continue
        url, digest = model.get("url"), model.get("hash")
        if str(model.get("hash_type", "")).lower().replace("-", "") != "sha256" or not _is_sha256(digest):
            digest = None
        yield ModelReference(
            folder=folder[:200],
            name=name,
            url=url if isinstance(url, str) and len(url) <= 8192 else None,
            sha256=digest,
        )


def _by_identity(
    node: dict[str, Any], given: set[str], stated: Mapping[str, Mapping[str, ModelReference]]
) -> Iterator[ModelReference]:
    """The models of a node of Librarian's own, with what the workflow says of them besides."""
    known = _of(_of(node, "properties"), "librarian")
    for name, value in _model_inputs(node, given):
        if not isinstance(value, str) or not 0 < len(value.strip()) <= 4096:
            continue
        identity = value.strip()
        own = _of(known, name)
        own = own if own.get("model_id") == value else {}
        file, folder, digest = own.get("name"), own.get("directory"), own.get("sha256")
        file = (
            file
            if isinstance(file, str) and 0 < len(file) <= 4096
            else identity.rpartition("/")[2] or identity
        )
        folders = stated.get(file, {})
        if isinstance(folder, str):
            told = folders.get(_today(folder))
        else:
            told = next(iter(folders.values())) if len(folders) == 1 else None
        yield ModelReference(
            folder=folder[:200] if isinstance(folder, str) else told.folder if told else "",
            name=file,
            url=told.url if told else None,
            sha256=digest if _is_sha256(digest) else told.sha256 if told else None,
            identity=identity,
        )


def _model_inputs(node: dict[str, Any], given: set[str]) -> Iterator[tuple[str, Any]]:
    """The inputs that are models with their values; what another node gives is not known.

    Saved values have no names but stand in the order of the widgets; those that are models come first.
    """
    inputs, values = node.get("inputs"), node.get("widgets_values")
    if isinstance(inputs, dict):  # ComfyUI's API
        yield from ((name, value) for name, value in inputs.items() if _MODEL_INPUT.fullmatch(name))
        return
    named = {str(one.get("name")): one for one in _dicts(inputs)}
    names = [name for name in named if _MODEL_INPUT.fullmatch(name)] or ["model_id"]
    if isinstance(values, dict):
        listed = [(name, values.get(name)) for name in names]
    else:
        listed = list(zip(names, values if isinstance(values, list) else (), strict=False))
    yield from ((name, value) for name, value in listed if str(named.get(name, {}).get("link")) not in given)


def _names(node: dict[str, Any], given: set[str], kind: str) -> Iterator[tuple[str | None, str]]:
    """What ends like a model's file among a node's values, with the name of its input as far as that is known."""
    if kind in _NOTES:
        return
    values: list[tuple[str | None, Any, int]] = [(key, value, 0) for key, value in _values(node, given, kind)]
    for key, value, depth in values:  # grows
        if isinstance(value, str):
            embeddings = _EMBEDDING.findall(value)
            yield from ((EMBEDDINGS, re.sub(r"\\([()])", r"\1", name)[:4096]) for name in embeddings)
            if not embeddings and _is_model_name(value):
                yield key, value
        elif depth < MAX_DEPTH:
            if isinstance(value, dict):
                is_off = value.get("on") is False  # a row that rgthree's loader leaves out
                values += [(str(name), one, depth + 1) for name, one in value.items() if not is_off]
            elif isinstance(value, list):
                values += [(key, one, depth + 1) for one in value]


def _values(node: dict[str, Any], given: set[str], kind: str) -> Iterator[tuple[str | None, Any]]:
    """A node's values with the names of their inputs, if they are known, less those that another node gives."""
    inputs, values = node.get("inputs"), node.get("widgets_values")
    if isinstance(inputs, dict):  # ComfyUI's API
        yield from inputs.items()
        return
    slots = [
        (str(_of(slot, "widget").get("name")), str(slot.get("link")) in given)
        for slot in _dicts(inputs)
        if isinstance(slot.get("widget"), dict)
    ]
    linked = {name for name, is_linked in slots if is_linked}
    if isinstance(values, dict):
        yield from ((name, value) for name, value in values.items() if name not in linked)
        return
    values = values if isinstance(values, list) else []
    names: list[str | None] = [None] * len(values)
    named = node.get("widgets_values_named")
    if isinstance(named, dict) and list(named.values()) == values:
        names = list(named)
    elif kind in FOLDERS and len(slots) == len(values):  # the core's loaders have no values but their inputs'
        names = [name for name, _ in slots]
    yield from ((name, value) for name, value in zip(names, values, strict=True) if name not in linked)


def _is_model_name(value: str) -> bool:
    return (
        0 < len(value) <= 4096
        and "\n" not in value
        and "://" not in value
        and PurePosixPath(value.replace("\\", "/")).suffix.lower() in MODEL_EXTENSIONS
    )


def _is_sha256(text: Any) -> bool:
    return (
        isinstance(text, str)
        and len(text) == 64
        and all(letter in "0123456789abcdefABCDEF" for letter in text)
    )


def _of(value: dict[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
