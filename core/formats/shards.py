"""Files that are one model in several parts, told by their names alone.

The patterns are those of Hugging Face and llama.cpp (``name-00001-of-00005.ext``), of programs that cut a file
to fit (``name.ext.part1``, ``name.ext.part1of3``), and plain numbers (``name_00001.ext``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..sentences import Sentence, say
from ..settings import MODEL_EXTENSIONS

MAX_SHARDS = 10_000
"""A name that tells of more parts is just a name: the largest sets on Hugging Face have some hundred."""

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL | re.ASCII)
    for pattern in (
        r"(?P<stem>.+)-(?P<index>\d{1,6})-of-(?P<total>\d{1,6})(?P<suffix>\.[a-z][a-z0-9]{0,15})",
        r"(?P<stem>.+)(?P<suffix>\.[a-z][a-z0-9]{0,15})\.part(?P<index>\d{1,6})(?:of(?P<total>\d{1,6}))?",
        r"(?P<stem>.+)_(?P<index>\d{5})(?P<suffix>\.[a-z][a-z0-9]{0,15})",
    )
)


class Shard(NamedTuple):
    """What the name of one part says.

    ``stem`` and ``suffix`` (with its dot) are what the parts of one set share; ``total`` is nothing where the
    name does not tell how many parts there are.
    """

    stem: str
    suffix: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    total: int | None


class ShardSet(NamedTuple):
    """The parts of one model: each part's number with its file's name, in order.

    ``missing`` are the numbers of the parts that are not there. ``problem`` says why the names contradict each
    other; such a set cannot be used, and nothing is known to be missing.
    """

    stem: str
    suffix: str
    total: int | None
    parts: tuple[tuple[int, str], ...]
    missing: tuple[int, ...] = ()
    problem: str | None = None

    @property
    def name(self) -> str:
        """The name that the model would have in one file."""
        return self.stem + self.suffix

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, in order."""
        return tuple(name for _, name in self.parts)

    @property
    def complete(self) -> bool:
        """Whether every part is there, as far as the names tell."""
        return not self.missing and self.problem is None


def contradiction(shards: ShardSet, name: str) -> Sentence:
    """Why the names of a set, which is called ``name``, contradict each other."""
    return say(
        "parts_contradict",
        "{name}: {problem} Put the files of one model into a folder of their own.",
        name=name,
        problem=shards.problem,
    )


def what_is_missing(shards: ShardSet, name: str) -> Sentence:
    """Which parts a set, which is called ``name``, lacks."""
    numbers = ", ".join(map(str, shards.missing[:20])) + (", …" if len(shards.missing) > 20 else "")
    of = say("of_parts", " of {total}", total=shards.total) if shards.total else ""
    if len(shards.missing) == 1:
        return say("part_missing", "{name}: part {number}{of} is missing.", name=name, number=numbers, of=of)
    return say("parts_missing", "{name}: parts {numbers}{of} are missing.", name=name, numbers=numbers, of=of)


def parse_shard(name: str) -> Shard | None:
    """What a file's name says of the set it belongs to, or nothing if it is no part of one.

    A name without a total counts only beside others of its set; `group_shards` decides that.
    """
    for pattern in _PATTERNS:
        found = pattern.fullmatch(name)
        if found is None:
            continue
        counted = found.groupdict().get("total")
        index, total = int(found["index"]), int(counted) if counted else None
        if index <= MAX_SHARDS and (total is None or 0 < total <= MAX_SHARDS):
            return Shard(found["stem"], found["suffix"], index, total)
    return None


def group_shards(names: Iterable[str]) -> tuple[list[ShardSet], list[str]]:
    """The sets among some names, and the names that belong to none; both in the order they came in.

    The names must come from one folder, or have it in front of them. Parts that count from 0 are known by
    their 0. Without a total a set needs two parts, and no more may be missing than are there: numbers such as
    ``_00500`` and ``_01000`` are steps of a training, each a model of its own.
    """
    listed = list(names)
    found: dict[tuple[str, str], dict[str, Shard]] = {}
    for name in listed:
        shard = parse_shard(name)
        if shard is not None:
            found.setdefault((shard.stem, shard.suffix), {})[name] = shard
    sets = [shards for group in found.values() for shards in _sets(group)]
    taken = {name for shards in sets for name in shards.names}
    return sets, [name for name in listed if name not in taken]


def _sets(group: dict[str, Shard]) -> list[ShardSet]:
    """The sets that parts of one stem make: one, or several where different totals are each complete."""
    by_total: dict[int | None, dict[str, Shard]] = {}
    for name, shard in group.items():
        by_total.setdefault(shard.total, {})[name] = shard
    uncounted = by_total.pop(None, {})
    sets = [_set(parts, total) for total, parts in by_total.items()]
    if len(sets) > 1 and not all(shards.complete for shards in sets):
        totals = " and ".join(map(str, sorted(total for total in by_total if total)))
        counted = {name: shard for name, shard in group.items() if shard.total is not None}
        sets = [
            _set(counted, None)._replace(
                missing=(),
                problem=say("different_totals", "Its files tell of {totals} parts.", totals=totals),
            )
        ]
    if uncounted:
        guess = _set(uncounted, None)
        if len(uncounted) > 1 and len(guess.missing) <= len(uncounted):
            sets.append(guess)
    return sets


def _set(group: dict[str, Shard], total: int | None) -> ShardSet:
    stem, suffix, _, _ = next(iter(group.values()))
    parts = tuple(sorted((shard.index, name) for name, shard in group.items()))
    there = {index for index, _ in parts}
    first = 0 if 0 in there else 1
    last = first + total - 1 if total is not None else max(there)
    problem = None
    if len(there) < len(parts):
        problem = say("same_number", "Two of its files have the same number.")
    elif max(there) > last:
        problem = say(
            "part_beyond",
            "It has a part {number}, but its files tell of {total}.",
            number=max(there),
            total=total,
        )
    missing = () if problem else tuple(index for index in range(first, last + 1) if index not in there)
    return ShardSet(stem, suffix, total, parts, missing, problem)


def is_weights(name: str) -> bool:
    """Whether a file's name is one that weights have, whole or in pieces."""
    if os.path.splitext(name)[1].lower() in MODEL_EXTENSIONS:
        return True
    shard = parse_shard(name)
    return shard is not None and shard.suffix.lower() in MODEL_EXTENSIONS
