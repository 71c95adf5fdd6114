"""Containers for a value of each of 100,000 models that Python's garbage collector does not look into.

A full collection visits every element of every list, set and dict that holds, or might hold, containers, and
halts all threads meanwhile. Bytes, numbers and texts are never visited, whatever their length.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from ..turns import give_way

_NONE = -1
_MAX_NEAR = 1 << 22


class Texts:
    """Texts in one block of bytes, read by their number; they are only ever added."""

    def __init__(self) -> None:
        self._block = bytearray()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return self._block[self._ends[number] : self._ends[number + 1]].decode()

    def append(self, text: str) -> None:
        """Add a text, which gets the next number."""
        self._block += text.encode()
        self._ends.append(len(self._block))

    def having(self, part: str, numbers: Iterable[int]) -> list[int]:
        """Those of some texts that have a part; four times as fast as to read each."""
        find, ends, sought = self._block.find, self._ends, part.encode()
        return [number for number in numbers if find(sought, ends[number], ends[number + 1]) >= 0]


class TextSet:
    """Texts that are looked for, in many small dicts: one that grows to 100,000 halts all threads when it is copied."""

    def __init__(self) -> None:
        self._parts: list[dict[str, None]] = [{} for _ in range(256)]

    def __contains__(self, text: str) -> bool:
        return text in self._parts[hash(text) & 255]

    def add(self, text: str) -> None:
        """Add a text."""
        self._parts[hash(text) & 255][text] = None

    def release(self) -> None:
        """Give the memory back bit by bit: to free it all at once would halt all other threads."""
        for part in filter(None, self._parts):
            part.clear()
            give_way()


class FewTexts:
    """The same for texts that are nearly always one of a few."""

    def __init__(self) -> None:
        self._numbers = array("I")
        self._known: dict[str, int] = {}
        self._values: list[str] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> str:
        return self._values[self._numbers[number]]

    def append(self, text: str) -> None:
        """Add a text, which gets the next number."""
        number = self._known.get(text)
        if number is None:
            number = self._known[text] = len(self._values)
            self._values.append(text)
        self._numbers.append(number)


class Places:
    """Where each key is: numbers by row ids, which are small as a rule."""

    def __init__(self) -> None:
        self._near = array("i")
        self._far: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, key: int, place: int) -> None:
        """Say where a key is that was nowhere."""
        self._count += 1
        if not 0 <= key < _MAX_NEAR:
            self._far[key] = place
            return
        if key >= len(self._near):
            size = min(_MAX_NEAR, key + 1 + len(self._near) // 8)
            self._near.frombytes(b"\xff" * ((size - len(self._near)) * self._near.itemsize))
        self._near[key] = place

    def get(self, key: int) -> int | None:
        """Where a key is, or nothing."""
        place = self._near[key] if 0 <= key < len(self._near) else self._far.get(key, _NONE)
        return None if place == _NONE else place

    def pop(self, key: int) -> int | None:
        """Where a key was, or nothing; from now on it is nowhere."""
        if 0 <= key < len(self._near):
            place = self._near[key]
            self._near[key] = _NONE
        else:
            place = self._far.pop(key, _NONE)
        if place == _NONE:
            return None
        self._count -= 1
        return place
