"""What kind of model a header and a name make: subtype, family, base model, precision, variant.

The knowledge is in the tables of `tensor_rules`, `rules` and `name_rules`; here they are only applied: what the
header's key-values say first, then tensor names (they cannot lie), then the name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from math import prod
from typing import TypeVar

from pydantic import BaseModel, Field

from ..turns import in_turns
from . import words
from .facts import FileFacts
from .name_rules import (
    BASE_NAMES,
    BASE_WORDS,
    ENCODER_FAMILIES,
    FAMILY_NAMES,
    NAME_PRECISIONS,
    NAME_VARIANTS,
    SAME_TENSORS,
    SUBTYPE_NAMES,
    WHOLE_NAMES,
)
from .rules import (
    BASE_NAME_KEYS,
    GGUF_SUBTYPES,
    METADATA_ARCHITECTURES,
    METADATA_KEYS,
    MODEL_TYPES,
    PRECISIONS,
    SPEC_SUBTYPES,
)
from .tensor_names import TensorNames
from .tensor_rules import ARCHITECTURES, ROLES, Architecture, Role

UNKNOWN = "unknown"
_WHOLE_MODELS = ("diffusion_models", "checkpoints")
_MAX_NAME = 300

Family = tuple[str, str]
RuleResult = TypeVar("RuleResult")


class Guess(BaseModel):
    """What a file most likely is. Every field may be edited by the person.

    ``subtype`` is the name of ComfyUI's folder; ``unknown`` where nothing tells. ``trained_words`` (at most 12 of
    at most 100 characters) and ``description`` (at most 2,300 characters) are the publisher's words as plain text.
    """

    official_name: str
    model_type: str = UNKNOWN
    subtype: str = UNKNOWN
    family: str = UNKNOWN
    base_model: str = ""
    variant: str = ""
    precision: str = ""
    trained_words: list[str] = Field(default_factory=list)
    description: str = ""


def model_type_of(subtype: str) -> str:
    """The model type that a ComfyUI folder stands for."""
    return MODEL_TYPES.get(subtype, UNKNOWN)


def name_words(name: str) -> str:
    """A name in lower case with its words set apart, as it is written and split where its case changes.

    ``ponyXL-v6`` is ``" ponyxl v 6 | pony xl v 6 "``.
    """
    plain = re.findall(r"[a-z]+|\d+(?:\.\d+)*|[^\W\d_a-z]+", name.casefold())
    camel = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+(?:\.\d+)*|[^\W\d_A-Za-z]+", name)
    return f" {' '.join(plain)} | {' '.join(camel).casefold()} "


def family_by_name(text: str) -> Family | None:
    """The family and base model that a name, or a publisher's word for the base model, means; nothing if none."""
    return _first(FAMILY_NAMES, name_words(text[:_MAX_NAME]))


def same_tensors(family: str, named: str) -> bool:
    """Whether what the tensors told (``unknown`` if nothing) may be the family that a name tells."""
    return family in (UNKNOWN, named, *SAME_TENSORS.get(named, ()))


def classify(facts: FileFacts | None, file_name: str, *, subtype: str | None = None) -> Guess:
    """Guess what a file is from its header and name.

    Args:
        facts: What the header says, or nothing if it was not read yet.
        file_name: The file's name with its extension.
        subtype: The folder it lies in, when that is known; it then decides the subtype.
    """
    stem = file_name.rpartition(".")[0] or file_name
    named = name_words(stem[:_MAX_NAME])
    metadata = facts.metadata if facts else {}
    tensors = TensorNames(facts.tensors) if facts and facts.tensors else None
    role = _role(tensors)
    network = _network(tensors, role)
    guess = Guess(
        official_name=words.title(metadata) or stem,
        trained_words=words.trained_words(metadata),
        description=words.description(metadata),
    )
    guess.subtype = subtype or _header_subtype(metadata, role, network) or name_subtype(named) or UNKNOWN
    guess.model_type = model_type_of(guess.subtype)
    guess.family, guess.base_model = _family(metadata, network, named, guess.subtype)
    guess.precision = (_precision(facts) if facts else "") or _first(NAME_PRECISIONS, named) or ""
    guess.variant = _first(NAME_VARIANTS, named) or ""
    return guess


def _role(tensors: TensorNames | None) -> Role | None:
    if tensors is None:
        return None
    return next((role for role in ROLES if tensors.fit(role.fits, bare=False)), None)


def _network(tensors: TensorNames | None, role: Role | None) -> Architecture | None:
    """The network in a file; in what only goes with a diffusion model, that model."""
    if tensors is None:
        return None
    allowed = None if role is None else (role.subtype,) if role.subtype == "vae" else _WHOLE_MODELS
    fitting = (
        network
        for network in ARCHITECTURES
        if (allowed is None or network.subtype in allowed) and tensors.fit(network.fits, bare=True)
    )
    return next(fitting, None)


def _header_subtype(metadata: dict[str, str], role: Role | None, network: Architecture | None) -> str | None:
    kind = metadata.get("modelspec.architecture", "").casefold().partition("/")[2]
    return (
        SPEC_SUBTYPES.get(kind)
        or (role.subtype if role else None)
        or GGUF_SUBTYPES.get(metadata.get("general.architecture", ""))
        or (network.subtype if network else None)
    )


def _family(metadata: dict[str, str], network: Architecture | None, named: str, subtype: str) -> Family:
    """The family as the header's key-values, else the tensors, else the name tell; the base model also by name."""
    by_tensors = (network.family, network.base_model) if network and network.family != UNKNOWN else None
    family = _metadata_family(metadata) or by_tensors
    by_name = _first(FAMILY_NAMES, named)
    if subtype == "text_encoders":
        by_name = _first((rule for rule in FAMILY_NAMES if rule[1][0] in ENCODER_FAMILIES), named) or by_name
    if family is None:
        return by_name or (UNKNOWN, "")
    if by_tensors and by_tensors[0] == family[0] and by_tensors[1].startswith(family[1]):
        family = by_tensors
    inside = (_first(FAMILY_NAMES, name_words(metadata.get(key, "")[:_MAX_NAME])) for key in BASE_NAME_KEYS)
    for closer in (by_name, *inside):  # the tensors tell SDXL, only a name tells Pony
        if closer and closer[1] and same_tensors(family[0], closer[0]):
            return closer
    return family


def _metadata_family(metadata: dict[str, str]) -> Family | None:
    for key in METADATA_KEYS:
        value = metadata.get(key, "").casefold()
        if value:
            for start, family in METADATA_ARCHITECTURES:
                if value.startswith(start):
                    return family
    return None


def name_subtype(named: str) -> str | None:
    """The folder that a name tells by itself, or nothing.

    Args:
        named: The name's words as `name_words` sets them apart.
    """
    for rule in SUBTYPE_NAMES:
        if _has(rule.words, named) and not (rule.unless and _has(rule.unless, named)):
            return rule.subtype
    plain = named.partition("|")[0].strip()
    if plain in WHOLE_NAMES:
        return WHOLE_NAMES[plain]
    for rule in BASE_NAMES:
        match = _pattern(f"{rule.words} ").match(f"{plain} ")
        if match and not (rule.unless and _has(rule.unless, f" {plain} ")):
            others = plain[match.end() :].split()
            is_base = all(word in BASE_WORDS or len(word) == 1 or word[0].isdigit() for word in others)
            return (rule.subtype or None) if is_base else None
    return None


def _first(rules: Iterable[tuple[str, RuleResult]], named: str) -> RuleResult | None:
    return next((result for pattern, result in rules if _has(pattern, named)), None)


def _has(pattern: str, named: str) -> bool:
    return _pattern(f" (?:{pattern}) ").search(named) is not None


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _precision(facts: FileFacts) -> str:
    """The type that most of the weights have, by number of values."""
    weights: Counter[str] = Counter()
    for dtype, shape in in_turns(facts.tensors.values()):
        weights[dtype] += prod(shape)
    weights.pop("", None)
    if not weights:
        return ""
    most = weights.most_common(1)[0][0]
    return PRECISIONS.get(most, most.casefold())
