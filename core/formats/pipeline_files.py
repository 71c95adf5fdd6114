"""Which files of a repository make a Diffusers folder: of each weight one precision in one format.

Names as ``diffusers`` writes them (``src/diffusers/utils/constants.py`` there): ``diffusion_pytorch_model``, ``model``
or ``pytorch_model``, with a variant before or behind the number of the part. Publishers keep copies beside them for
other programs (Flax, ONNX, OpenVINO, TensorFlow), in other precisions, and as pickles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ..errors import NotAModelError
from .pipelines import MODEL_INDEX, Pipeline

_WEIGHTS = re.compile(
    r"(?P<stem>.+?)(?:\.(?P<early>[a-z]\w*))?(?:-(?P<part>\d{5})-of-(?P<total>\d{5}))?(?:\.(?P<late>[a-z]\w*))?"
    r"\.(?P<format>safetensors|bin)",
    re.ASCII | re.DOTALL,
)
_INDEX = re.compile(
    r"(?P<stem>.+?)(?:\.(?P<early>[a-z]\w*))?\.(?P<format>safetensors|bin)\.index(?:\.(?P<late>[a-z]\w*))?\.json",
    re.ASCII | re.DOTALL,
)
_USUAL = ("diffusion_pytorch_model", "model", "pytorch_model")
_FORMATS = ("safetensors", "bin")
_PRECISION = re.compile(r"(?:fp|bf|int|uint|nf|mxfp|nvfp)\d+\w*", re.ASCII)
_FALLBACKS = ("", "fp16", "bf16", "fp32")
_TEXTS = frozenset({".json", ".txt", ".model", ".jinja", ".spm", ".tiktoken", ".yaml", ".yml"})


class _Weights(NamedTuple):
    """One copy of a component's weights: a file, or all parts with their index."""

    stem: str
    variant: str
    format: str
    total: int


def variants_of(pipeline: Pipeline, names: Iterable[str], folder: str = "") -> list[str]:
    """The precisions in which a pipeline can be had, the published main one (an empty name) first.

    ``names`` are paths in the repository, ``folder`` the one in which the ``model_index.json`` lies.
    """
    found = {
        weights.variant
        for inside in _components(pipeline, names, folder).values()
        for weights in _copies(inside)
        if _PRECISION.fullmatch(weights.variant)
    }
    return ["", *sorted(found)]


def files_of(pipeline: Pipeline, names: Iterable[str], folder: str = "", variant: str = "") -> list[str]:
    """The paths that make one whole Diffusers folder, its index first.

    Of each component's weights one copy: of the variant where there is one, else the main one; safetensors before a
    pickle. A component's texts come along, code does not.

    Raises `NotAModelError` for a component that has no weights which a loader here could read.
    """
    chosen = [f"{folder}/{MODEL_INDEX}" if folder else MODEL_INDEX]
    components = _components(pipeline, names, folder)
    needs_weights = {component.name for component in pipeline.components if component.has_weights}
    for component in (*(one.name for one in pipeline.components), *pipeline.dispensable):
        by_folder: dict[str, list[str]] = {}
        for path in components.get(component, ()):
            by_folder.setdefault(str(PurePosixPath(path).parent), []).append(path)
        has_weights = False
        for inside in by_folder.values():
            weights = _best(_copies(inside), variant)
            has_weights = has_weights or weights is not None
            chosen += [path for path in inside if _is_wanted(path, weights)]
        if component in needs_weights and not has_weights:
            raise NotAModelError(
                f"The component {component!r} has no weights as safetensors or PyTorch there, so this is no Diffusers "
                "folder that could be loaded. Choose single files instead."
            )
    return chosen


def _components(pipeline: Pipeline, names: Iterable[str], folder: str) -> dict[str, list[str]]:
    known = {*(component.name for component in pipeline.components), *pipeline.dispensable}
    found: dict[str, list[str]] = {}
    start = f"{folder}/" if folder else ""
    for name in names:
        component, slash, rest = name.removeprefix(start).partition("/")
        hidden = any(part.startswith(".") for part in rest.split("/"))
        if name.startswith(start) and slash and component in known and not hidden:
            found.setdefault(component, []).append(name)
    return found


def _copies(paths: Sequence[str]) -> list[_Weights]:
    """The whole copies of weights among the files of one folder; those with usual names, if there are any."""
    parts: dict[_Weights, set[int]] = {}
    for path in paths:
        parsed = _weights(path)
        if parsed is not None:
            weights, part = parsed
            parts.setdefault(weights, set()).add(part)
    whole = [one for one, there in parts.items() if len(there) == max(one.total, 1)]
    return [one for one in whole if one.stem in _USUAL] or [
        one for one in whole if one.format == "safetensors"
    ]


def _best(copies: Sequence[_Weights], variant: str) -> _Weights | None:
    order = [variant, *_FALLBACKS]

    def rank(weights: _Weights) -> tuple[int, int, int, int]:
        at = order.index(weights.variant) if weights.variant in order else len(order)
        known = _USUAL.index(weights.stem) if weights.stem in _USUAL else len(_USUAL)
        return _FORMATS.index(weights.format), at, known, weights.total

    return min(copies, key=rank, default=None)


def _is_wanted(path: str, weights: _Weights | None) -> bool:
    """Whether a component's file belongs to the copy that is taken: its parts, its index, and all texts."""
    parsed = _weights(path)
    if parsed is not None:
        return parsed[0] == weights
    name = PurePosixPath(path).name
    index = _INDEX.fullmatch(name)
    if index is not None:
        of = _Weights(index["stem"], index["early"] or index["late"] or "", index["format"], 0)
        return weights is not None and weights.total > 0 and weights._replace(total=0) == of
    return PurePosixPath(name).suffix.lower() in _TEXTS


def _weights(path: str) -> tuple[_Weights, int] | None:
    found = _WEIGHTS.fullmatch(PurePosixPath(path).name)
    if found is None:
        return None
    variant = found["early"] or found["late"] or ""
    return _Weights(found["stem"], variant, found["format"], int(found["total"] or 0)), int(
        found["part"] or 0
    )
