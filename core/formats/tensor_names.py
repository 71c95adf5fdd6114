"""Tensor names as the rules of `tensor_rules` read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain, islice

from ..turns import give_way, in_turns
from .facts import Tensor
from .tensor_rules import PREFIXES, Fits

MAX_NAMES = 20_000
"""More names than any real model has tell nothing new."""
MAX_TEXT = 400_000

_NUMBER = re.compile(r"(?<![^._])\d+(?![^._])")
_KOHYA = ("lora_", "lycoris_")


class TensorNames:
    """The tensor names of a file, with the numbers taken out: a network repeats few blocks many times."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        whole: dict[str, None] = {}
        bare: dict[str, None] = {}
        for name in in_turns(islice(tensors, MAX_NAMES)):
            pattern = _NUMBER.sub("#", name)
            if pattern not in whole:
                whole[pattern] = None
                bare[_bare(pattern)] = None
        self._whole = f"\n{chr(10).join(whole)}\n"[:MAX_TEXT]
        self._bare = f"\n{chr(10).join(bare)}\n"[:MAX_TEXT]

    def fit(self, rule: Fits, *, bare: bool) -> bool:
        """Whether ``rule`` fits the whole names, or those without the prefixes of wrappers and trainers."""
        give_way()
        text = self._bare if bare else self._whole
        # Loops, since some hundred rules are tried for each file.
        for dotted, flat in _spellings(rule.all_of):
            if dotted not in text and flat not in text:
                return False
        for dotted, flat in _spellings(rule.none_of):
            if dotted in text or flat in text:
                return False
        if rule.depth is not None and not self._is_deep(*rule.depth):
            return False
        return rule.width is None or self._is_wide(*rule.width)

    def _is_wide(self, part: str, axis: int, extent: int) -> bool:
        [(dotted, flat)] = _spellings((part,))
        whole = ((name, shape) for name, shape in self._shapes() if ".lokr_" not in name)
        for name, shape in chain(whole, self._lokr_shapes() if ".lokr_" in self._whole else ()):
            if len(shape) > axis and shape[axis] == extent:
                text = f"\n{_bare(_NUMBER.sub('#', name))}\n"
                if dotted in text or flat in text:
                    return True
        return False

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for name, (_, shape) in in_turns(islice(self._tensors.items(), MAX_NAMES)):
            if not name.endswith(_ENDS_OF_UP):
                yield name, shape

    def _lokr_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The widths of what a LoKr changes: the products of those of its factors, each whole or in two halves."""
        widths: dict[str, int] = {}
        for name, shape in self._shapes():
            module, _, factor = name.rpartition(".lokr_")
            if factor in ("w1", "w1_b", "w2", "w2_b") and len(shape) == 2:
                widths[module] = widths.get(module, 1) * shape[1]
        return ((f"{module}.weight", (0, width)) for module, width in widths.items())

    def _is_deep(self, word: str, number: int) -> bool:
        find = _depth_pattern(word).search
        matches = (find(name) for name in in_turns(islice(self._tensors, MAX_NAMES)))
        return any(match is not None and int(match[1]) >= number for match in matches)


_ENDS_OF_UP = ("lora_up.weight", "lora_B.weight", "lora.up.weight", "lora_B.default.weight")
"""The half of a LoRA whose second extent is its rank, not the width of what it changes."""


def _bare(name: str) -> str:
    """A name without the prefixes that wrappers and trainers put in front of it."""
    is_kohya = name.startswith(_KOHYA)
    for _ in range(3):
        for prefix in PREFIXES:
            if name.startswith(prefix):
                name = name[len(prefix) :]
                break
        else:
            break
    return name.replace(".", "_") if is_kohya else name


@lru_cache(maxsize=4096)
def _spellings(parts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Each of a rule's texts as it reads in dotted names and in names that have underscores only."""
    found = []
    for part in parts:
        start, end = part.startswith("^"), part.endswith("$")
        text = _NUMBER.sub("#", part.strip("^$"))
        text = f"{chr(10) * start}{text}{chr(10) * end}"
        found.append((text, text.replace(".", "_")))
    return tuple(found)


@lru_cache(maxsize=64)
def _depth_pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(word).replace('[.]', '[._]')}[._](\d{{1,4}})(?![^._])")
