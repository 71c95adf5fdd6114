"""Diffusers folders: ``model_index.json`` names a pipeline's class and its components, each a folder.

Source: ``DiffusionPipeline.save_pretrained`` of ``huggingface/diffusers``. The file is read as data; nothing that
it names is ever imported.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import NotAModelError
from ..sentences import say
from ..storage.disk import storage_error
from .classify import UNKNOWN, Family, Guess, classify
from .facts import FileFacts

MODEL_INDEX = "model_index.json"
SUBTYPE = "diffusers"
"""ComfyUI's folder for Diffusers folders."""

MAX_INDEX_BYTES = 1024 * 1024

_WITHOUT_WEIGHTS = re.compile(r".*(Scheduler|Tokenizer(Fast)?|Processor|FeatureExtractor|Config)")
_DISPENSABLE = {"safety_checker", "feature_extractor"}
"""Components that people leave out, and that no loader of ComfyUI asks for."""

_MAIN_COMPONENTS = ("transformer", "unet", "prior", "decoder")

PIPELINES: tuple[tuple[str, Family], ...] = (
    ("StableDiffusionXL", ("sdxl", "SDXL 1.0")),
    ("StableDiffusion3", ("sd3", "SD 3")),
    ("StableDiffusion", ("sd", "")),
    ("StableVideoDiffusion", ("svd", "Stable Video Diffusion")),
    ("StableCascade", ("stable-cascade", "Stable Cascade")),
    ("StableAudio", ("stable-audio", "Stable Audio")),
    ("StableUnCLIP", ("sd", "SD 2.1")),
    ("LatentConsistencyModel", ("sd", "SD 1.5")),
    ("AnimateDiffSDXL", ("sdxl", "SDXL 1.0")),
    ("AnimateDiff", ("sd", "SD 1.5")),
    ("Flux2", ("flux2", "Flux.2")),
    ("FluxKontext", ("flux", "Flux.1 Kontext")),
    ("Flux", ("flux", "Flux.1")),
    ("Wan", ("wan", "Wan")),
    ("LTX2", ("ltxv", "LTX-2")),
    ("LTX", ("ltxv", "LTX-Video")),
    ("HunyuanVideo15", ("hunyuan-video", "HunyuanVideo 1.5")),
    ("HunyuanSkyreels", ("hunyuan-video", "HunyuanVideo")),
    ("HunyuanVideo", ("hunyuan-video", "HunyuanVideo")),
    ("HunyuanImage", ("hunyuan-image", "HunyuanImage 2.1")),
    ("HunyuanDiT", ("hunyuan-dit", "Hunyuan-DiT")),
    ("Hunyuan3D", ("hunyuan-3d", "Hunyuan3D 2")),
    ("QwenImageEdit", ("qwen-image", "Qwen-Image-Edit")),
    ("QwenImage", ("qwen-image", "Qwen-Image")),
    ("ZImage", ("z-image", "Z-Image")),
    ("Lumina2", ("lumina", "Lumina 2")),
    ("Lumina", ("lumina", "Lumina")),
    ("HiDream", ("hidream", "HiDream")),
    ("Chroma", ("chroma", "Chroma")),
    ("AuraFlow", ("auraflow", "AuraFlow")),
    ("PixArt", ("pixart", "PixArt")),
    ("Mochi", ("mochi", "Mochi 1")),
    ("OmniGen2", ("omnigen", "OmniGen2")),
    ("OmniGen", ("omnigen", "OmniGen")),
    ("Kandinsky5", ("kandinsky", "Kandinsky 5")),
    ("Kandinsky", ("kandinsky", "")),
    ("CogVideoX", ("cogvideox", "CogVideoX")),
    ("Cosmos2", ("cosmos", "Cosmos Predict2")),
    ("Cosmos", ("cosmos", "Cosmos")),
    ("Marigold", ("marigold", "Marigold")),
    ("OvisImage", ("ovis-image", "Ovis-Image")),
    ("LongCatImage", ("longcat-image", "LongCat-Image")),
    ("ErnieImage", ("ernie-image", "ERNIE-Image")),
    ("JoyImage", ("joyimage", "JoyImage")),
    ("AceStep", ("ace-step", "ACE-Step")),
    ("Ideogram4", ("ideogram", "Ideogram 4")),
    ("Krea2", ("krea", "Krea 2")),
    ("Kolors", ("kolors", "Kolors")),
    ("Sana", ("sana", "Sana")),
    ("CogView4", ("cogview", "CogView 4")),
    ("CogView3", ("cogview", "CogView 3")),
    ("Allegro", ("allegro", "Allegro")),
)
"""Beginnings of pipeline classes, with the family and base model that they stand for."""


class Component(NamedTuple):
    """A part of a pipeline: the folder's name, and whether weights must be in it."""

    name: str
    has_weights: bool


class Pipeline(NamedTuple):
    """What ``model_index.json`` says: the pipeline's class, and the components that must be there.

    ``dispensable`` are the folders of components that people leave out.
    """

    class_name: str
    components: tuple[Component, ...]
    dispensable: tuple[str, ...] = ()


def read_model_index(path: Path) -> Pipeline:
    """Read a ``model_index.json``.

    Raises `NotAModelError` if it is damaged or no index of Diffusers, `StorageError` if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_INDEX_BYTES + 1)
    except OSError as error:
        raise storage_error(error, path) from error
    index = None
    if len(data) <= MAX_INDEX_BYTES:
        try:
            index = json.loads(data)
        except (ValueError, RecursionError):
            index = None
    return pipeline_of(index, path.name)


def pipeline_of(index: object, name: str = MODEL_INDEX) -> Pipeline:
    """What the JSON of a ``model_index.json`` says. Raises `NotAModelError` if it is no index of Diffusers."""
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise NotAModelError(
            say(
                "index_damaged",
                "{name} is damaged, or not the index of a Diffusers folder. Download it again.",
                name=name,
            )
        )
    components = [found for key, value in index.items() if (found := _component(key, value))]
    return Pipeline(
        index["_class_name"][:200],
        tuple(component for component in components if component.name not in _DISPENSABLE),
        tuple(component.name for component in components if component.name in _DISPENSABLE),
    )


def main_component(name: str) -> int:
    """How far a component, by its folder's name, is from what makes the pipeline; 0 is nearest."""
    return _MAIN_COMPONENTS.index(name) if name in _MAIN_COMPONENTS else len(_MAIN_COMPONENTS)


def classify_pipeline(
    pipeline: Pipeline, facts: FileFacts | None, name: str, *, subtype: str | None = None
) -> Guess:
    """Guess what a Diffusers folder is: from its class first, then its main file's header, then its name.

    Args:
        pipeline: What its index says.
        facts: The header of its main file.
        name: The folder's name.
        subtype: What the person says it is; ``diffusers`` otherwise.
    """
    guess = classify(facts, f"{name}.{SUBTYPE}", subtype=subtype or SUBTYPE)
    guess.official_name = name  # the main file's header speaks of one component only
    guess.description, guess.trained_words = "", []
    for start, (family, base_model) in PIPELINES:
        if pipeline.class_name.startswith(start):
            if guess.family != family or base_model.startswith(guess.base_model):
                guess.base_model = base_model
            guess.family = family
            break
    if guess.model_type == UNKNOWN:
        guess.model_type = "diffusion"
    return guess


def _component(name: str, value: object) -> Component | None:
    """The component of one entry; none for settings, and for parts that the publisher left out."""
    if name.startswith("_") or not isinstance(value, list) or len(value) != 2:
        return None
    library, class_name = value
    if not isinstance(library, str) or not isinstance(class_name, str):
        return None
    if name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise NotAModelError(f"{MODEL_INDEX} names {name[:80]!r}, which can be no folder. Do not trust it.")
    known = library in ("diffusers", "transformers")
    return Component(name, known and _WITHOUT_WEIGHTS.fullmatch(class_name) is None)
