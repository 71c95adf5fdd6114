"""Sets of models as one integer each, and numbers for all models at once as bit planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Bits = int
"""A set of models: bit ``n`` stands for the model in slot ``n``. Two such sets of 100,000 models are
intersected or counted in a few microseconds, which is why nothing here needs a cap."""

_SELECTOR = bytes(code == ord("1") for code in range(256))
_DIGITS = bytes.maketrans(b"\0\1", b"01")


def union(sets: Iterable[Bits]) -> Bits:
    """What is in any of the sets."""
    models = 0
    for found in sets:
        models |= found
    return models


def disjoint(sets: Iterable[Bits]) -> list[Bits]:
    """Each set without what is in those before it."""
    seen = 0
    result = []
    for found in sets:
        result.append(found & ~seen)
        seen |= found
    return result


def set_number(planes: list[Bits], number: int, models: Bits) -> None:
    """Write a number, the same for some models, into bit planes; these models had none before."""
    if models:
        for bit in range(number.bit_length()):
            while len(planes) <= bit:
                planes.append(0)
            if number >> bit & 1:
                planes[bit] |= models


def add_numbers(one: list[Bits], other: list[Bits]) -> list[Bits]:
    """The sum of two numbers for every model at once: a ripple-carry adder over bit planes."""
    total = []
    carry = 0
    for bit in range(max(len(one), len(other))):
        a = one[bit] if bit < len(one) else 0
        b = other[bit] if bit < len(other) else 0
        total.append(a ^ b ^ carry)
        carry = a & b | carry & (a ^ b)
    if carry:
        total.append(carry)
    return total


def best_first(models: Bits, planes: list[Bits]) -> Iterator[Bits]:
    """The models in groups of equal points, the fewest points first."""
    if not models:
        return
    if not planes:
        yield models
        return
    *lower, highest = planes
    yield from best_first(models & ~highest, lower)
    yield from best_first(models & highest, lower)


def selector(models: Bits, size: int) -> bytes:
    """A byte for each slot, 1 where the model is in the set."""
    return bin(models)[:1:-1].encode().translate(_SELECTOR).ljust(size, b"\0")


def selected(chosen: bytes) -> Bits:
    """The set that `selector` makes these bytes of."""
    return int(chosen[::-1].translate(_DIGITS) or b"0", 2)


def members(models: Bits) -> Iterator[int]:
    """The slots of a set in rising order."""
    chosen = selector(models, 0)
    at = chosen.find(1)
    while at >= 0:
        yield at
        at = chosen.find(1, at + 1)
