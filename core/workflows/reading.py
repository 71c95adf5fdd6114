"""What a workflow says of its models, in the panel's format and in that of ComfyUI's API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..errors import InvalidRequestError
from ..settings import MODEL_EXTENSIONS
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
    "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
    "VAELoader": "vae",
    "CLIPLoader": "text_encoders",
    "CLIPLoaderGGUF": "text_encoders",
    "DualCLIPLoader": "text_encoders",
    "DualCLIPLoaderGGUF": "text_encoders",
    "TripleCLIPLoader": "text_encoders",
    "QuadrupleCLIPLoader": "text_encoders",
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


OURS = "LibrarianLoad"
"""How the kinds of Librarian's own loaders begin."""

_MODEL_INPUT = re.compile(r"model_id(_[1-4])?")


def references_in(workflow: Any) -> list[ModelReference]:
    """Every model that a workflow names, once. Raises `InvalidRequestError` for what is no workflow.

    A name is what ends like a model's file among a node's values; its folder, URL and hash come from the
    ``properties.models`` of any node, else from the kind of node. What nodes of Librarian itself name is an identity;
    ``properties.librarian`` says its file's name, folder and hash.
    """
    nodes = list(_nodes(workflow))
    stated: dict[str, ModelReference] = {}
    for node in nodes:
        for reference in _stated(node):
            known = stated.setdefault(reference.name, reference)
            if known.sha256 is None and reference.sha256 is not None:
                stated[reference.name] = reference
    found: dict[tuple[str, str], ModelReference] = {}
    unplaced: list[str] = []
    for node in nodes:
        kind = str(node.get("type") or node.get("class_type") or "")
        if kind.startswith(OURS):
            for one in _by_identity(node, stated):
                found.setdefault((OURS, str(one.identity)), one)
            continue
        for name in _names(node):
            told = stated.get(name)
            folder = told.folder if told is not None else FOLDERS.get(kind, "")
            if folder:
                found.setdefault((folder, name), told or ModelReference(folder=folder, name=name))
            else:
                unplaced.append(name)
    placed = {name for folder, name in found if folder != OURS}
    for name in unplaced:
        if name not in placed:
            found.setdefault(("", name), ModelReference(name=name))
    return list(found.values())


def _nodes(workflow: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(workflow, dict):
        raise InvalidRequestError("This is no workflow. Save it from ComfyUI («Export» or «Export (API)»).")
    if isinstance(workflow.get("nodes"), list):
        graphs = [workflow, *_dicts(_of(workflow, "definitions").get("subgraphs"))]
        for graph in graphs:
            yield from _dicts(graph.get("nodes"))
        return
    nodes = [node for node in workflow.values() if isinstance(node, dict) and "class_type" in node]
    if not nodes:
        raise InvalidRequestError(
            "There are no nodes in this. Save it from ComfyUI («Export» or «Export (API)»)."
        )
    yield from nodes


def _stated(node: dict[str, Any]) -> Iterator[ModelReference]:
    for model in _dicts(_of(node, "properties").get("models")):
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


def _by_identity(node: dict[str, Any], stated: Mapping[str, ModelReference]) -> Iterator[ModelReference]:
    """The models of a node of Librarian's own, with what the workflow says of them besides."""
    known = _of(_of(node, "properties"), "librarian")
    for name, value in _model_inputs(node):
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
        told = stated.get(file)
        yield ModelReference(
            folder=folder[:200] if isinstance(folder, str) else told.folder if told else "",
            name=file,
            url=told.url if told else None,
            sha256=digest if _is_sha256(digest) else told.sha256 if told else None,
            identity=identity,
        )


def _model_inputs(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The inputs that are models with their values; what comes over a link is not known.

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
    yield from ((name, value) for name, value in listed if named.get(name, {}).get("link") is None)


def _names(node: dict[str, Any]) -> Iterator[str]:
    values: list[tuple[Any, int]] = [(node.get("widgets_values"), 0), (node.get("inputs"), 0)]
    while values:
        value, depth = values.pop()
        if isinstance(value, str):
            if _is_model_name(value):
                yield value
        elif depth < MAX_DEPTH:
            inner: Iterable[Any] = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            )
            values += [(one, depth + 1) for one in inner]


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
