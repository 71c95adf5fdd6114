"""Synthetic libraries with the names of real models.

The names and folders come from the workflows in the PyPI package ``comfyui-workflow-templates-json``; they
are varied to any number with a fixed seed, in the way that people name merges, finetunes and versions.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

SEED = 20_261_122
PREVIEWS_EVERY = 10
FILES_A_FOLDER = 250

_TENSORS = 40
"""How many tensors a tiny model has."""

LARGE_TENSORS = 2_500
"""How many a checkpoint of Stable Diffusion XL has."""


class Name(NamedTuple):
    """A model file's name and the ComfyUI folder it belongs to."""

    folder: str
    file: str


def real_names() -> list[Name]:
    """The model files that ComfyUI's workflow templates name, each with its folder."""
    found: dict[str, str] = {}
    package = files("comfyui_workflow_templates_json")
    for template in sorted(Path(str(package)).rglob("*.json")):
        for name, folder in _named(json.loads(template.read_bytes())):
            found.setdefault(name, folder)
    return [Name(folder, name) for name, folder in sorted(found.items())]


def _named(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        name, folder = value.get("name"), value.get("directory")
        if isinstance(name, str) and isinstance(folder, str) and isinstance(value.get("url"), str):
            yield name, folder
        for inner in value.values():
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def names(count: int) -> list[Name]:
    """So many different names: the real ones first, then variations of them."""
    real = real_names()
    random_ = random.Random(SEED)
    parts = sorted({part for name in real for part in re.findall(r"[A-Za-z]{3,}", Path(name.file).stem)})
    # Half of all made-up names share one of a few words of their own, as checkpoints of one author do.
    authors = ["".join(random_.choice("bcdfglmnprstvz") + random_.choice("aeiou") for _ in range(random_.randint(2, 4)))
               for _ in range(max(50, count // 20))]  # fmt: skip
    seen = {name.file for name in real}
    result = real[:count]
    while len(result) < count:
        folder, file = random_.choice(real)
        stem, _, extension = file.rpartition(".")
        separator = random_.choice("_-_ .")
        words = [stem]
        if random_.random() < 0.5:
            words.insert(0, random_.choice(authors))
        if random_.random() < 0.6:
            words.append(random_.choice(parts))
        if random_.random() < 0.3:
            words.append(random_.choice(authors).title() + random_.choice(("XL", "Mix", "V2", "Real")))
        if random_.random() < 0.5:
            words.append(f"v{random_.randint(1, 30)}" + random_.choice(("", ".5", "b")))
        name = separator.join(words)[:180] + "." + extension
        if name not in seen:
            seen.add(name)
            result.append(Name(folder, name))
    return result


def tiny_safetensors(number: int, tensors: int = _TENSORS) -> bytes:
    """A valid safetensors file of about 80 bytes a tensor; each number gives other bytes."""
    header = {
        f"model.diffusion_model.blocks.{block}.weight": {
            "dtype": "F16",
            "shape": [4, 4],
            "data_offsets": [block * 32, block * 32 + 32],
        }
        for block in range(tensors)
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + struct.pack("<Q", number) + bytes(tensors * 32 - 8)


def make_models_folder(root: Path, wanted: list[Name]) -> None:
    """A ComfyUI-like models folder with a file for each name, some hundred in each subfolder."""
    folders: dict[Path, int] = {}
    for number, name in enumerate(wanted):
        place = root / name.folder / f"{number // FILES_A_FOLDER // 20:03}"
        if place not in folders:
            place.mkdir(parents=True, exist_ok=True)
            folders[place] = 0
        (place / name.file).write_bytes(tiny_safetensors(number))
