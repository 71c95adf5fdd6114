"""What kind of model a header and a name make: subtype, family, base model, precision, variant.

The knowledge is in the tables of `rules`; here they are only applied: tensor names first (they cannot
lie), then what the header's key-values say, then the name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from math import prod
from typing import TypeVar

from pydantic import BaseModel

from .facts import FileFacts
from .rules import (
    ARCHITECTURES,
    FAMILY_NAMES,
    FAMILY_TENSORS,
    GGUF_SUBTYPES,
    METADATA_KEYS,
    MODEL_TYPES,
    NAME_PRECISIONS,
    NAME_VARIANTS,
    SAME_TENSORS,
    SUBTYPE_NAMES,
    SUBTYPE_TENSORS,
    TensorRule,
)

UNKNOWN = "unknown"

RuleResult = TypeVar("RuleResult")


class Guess(BaseModel):
    """What a file most likely is. Every field may be edited by the person.

    ``subtype`` is the name of ComfyUI's folder; ``unknown`` where nothing tells.
    """

    official_name: str
    model_type: str = UNKNOWN
    subtype: str = UNKNOWN
    family: str = UNKNOWN
    base_model: str = ""
    variant: str = ""
    precision: str = ""


def model_type_of(subtype: str) -> str:
    """The model type that a ComfyUI folder stands for."""
    return MODEL_TYPES.get(subtype, UNKNOWN)


def name_tokens(name: str) -> str:
    """A name in lower case with its words set apart, as it is written and split where its case changes.

    ``ponyXL-v6`` is ``" ponyxl v 6 | pony xl v 6 "``.
    """
    plain = re.findall(r"[a-z]+|\d+(?:\.\d+)*|[^\W\d_a-z]+", name.casefold())
    camel = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+(?:\.\d+)*|[^\W\d_A-Za-z]+", name)
    return f" {' '.join(plain)} | {' '.join(camel).casefold()} "


def classify(facts: FileFacts | None, file_name: str, *, subtype: str | None = None) -> Guess:
    """Guess what a file is from its header and name.

    Args:
        facts: What the header says, or nothing if it was not read yet.
        file_name: The file's name with its extension.
        subtype: The folder it lies in, when that is known; it then decides the subtype.
    """
    stem = file_name.rpartition(".")[0] or file_name
    tokens = name_tokens(stem)
    metadata = facts.metadata if facts else {}
    guess = Guess(official_name=metadata.get("modelspec.title", "").strip()[:200] or stem)
    guess.subtype = (
        subtype or (_subtype(facts, tokens) if facts else _by_name(SUBTYPE_NAMES, tokens)) or UNKNOWN
    )
    guess.model_type = model_type_of(guess.subtype)
    architecture = _architecture(metadata)
    by_tensors = _by_tensors(FAMILY_TENSORS, facts) if facts else None
    family = architecture or by_tensors or _by_name(FAMILY_NAMES, tokens)
    if family is not None:
        guess.family, guess.base_model = family
    named = _by_name(FAMILY_NAMES, tokens)
    if named is not None and family is not None and family[0] in (named[0], SAME_TENSORS.get(named[0])):
        guess.family, guess.base_model = named  # the tensors tell SDXL, only the name tells Pony
    guess.precision = (_precision(facts) if facts else "") or _by_name(NAME_PRECISIONS, tokens) or ""
    guess.variant = _by_name(NAME_VARIANTS, tokens) or ""
    return guess


def _subtype(facts: FileFacts, tokens: str) -> str | None:
    if facts.format == "gguf":
        known = GGUF_SUBTYPES.get(facts.metadata.get("general.architecture", ""))
        if known is not None:
            return known
    kind = facts.metadata.get("modelspec.architecture", "").partition("/")[2]
    by_kind = {"lora": "loras", "textual-inversion": "embeddings", "controlnet": "controlnet", "vae": "vae"}
    return by_kind.get(kind) or _by_tensors(SUBTYPE_TENSORS, facts) or _by_name(SUBTYPE_NAMES, tokens)


def _architecture(metadata: dict[str, str]) -> tuple[str, str] | None:
    for key in METADATA_KEYS:
        value = metadata.get(key, "").casefold()
        if value:
            for start, family in ARCHITECTURES:
                if value.startswith(start):
                    return family
    return None


def _by_tensors(rules: Iterable[tuple[TensorRule, RuleResult]], facts: FileFacts) -> RuleResult | None:
    names = facts.tensors
    if not names:
        return None
    joined = "\n" + "\n".join(names) + "\n"
    for rule, result in rules:
        if all(part in joined for part in rule.all_of) and not any(part in joined for part in rule.none_of):
            if rule.width is None:
                return result
            tensor, extent = rule.width
            if any(extent in found.shape for name, found in names.items() if tensor in name):
                return result
    return None


def _by_name(rules: Iterable[tuple[str, RuleResult]], tokens: str) -> RuleResult | None:
    for words, result in rules:
        if f" {words} " in tokens:
            return result
    return None


def _precision(facts: FileFacts) -> str:
    """The type that most of the weights have, by number of values, in lower case."""
    weights: Counter[str] = Counter()
    for tensor in facts.tensors.values():
        weights[tensor.dtype] += prod(tensor.shape)
    if not weights:
        return ""
    dtype = weights.most_common(1)[0][0]
    return {"F8_E4M3": "fp8_e4m3fn", "F8_E5M2": "fp8_e5m2", "F16": "fp16", "F32": "fp32", "F64": "fp64"}.get(
        dtype, dtype.casefold()
    )
