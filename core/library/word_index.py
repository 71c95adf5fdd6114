"""Which models have which words, in memory, as sets that are one integer each."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, compress, islice
from sys import byteorder
from typing import Any, NamedTuple

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from ..settings import MODEL_EXTENSIONS
from .text import CJK, pieces, words

Bits = int
"""A set of models: bit ``n`` stands for the model in slot ``n``. Two such sets of 100,000 models are
intersected or counted in a few microseconds, which is why nothing here needs a cap."""

Postings = bytearray
"""The slots of the models that have a word, in rising order, four bytes each. Not lists or arrays: those are
looked at by the garbage collector, which halts all threads while it does."""

COLUMNS = ("name", "file", "kind", "tags", "description")
"""Where a word may be found, the best place first. ``kind`` is family, base model, type and subtype."""

SORTS = ("name", "size", "added", "updated", "type")

MIN_INNER_CHARS = 3
"""From how many characters on a part is looked for in the middle of words; two in CJK, where that is a word."""

_EXTENSIONS = frozenset(extension[1:] for extension in MODEL_EXTENSIONS)
_PIECES = len(COLUMNS)
_LEVELS = 3 * len(COLUMNS)
_MISSING = 2 * _LEVELS + 1
_CACHED_WORDS = 32
_CACHED_SETS = 1024
_CHUNK = 4096
_FEW = 1000
_MAX_NEAREST = 24
_MAX_FUZZY_CHARS = 40
_SELECTOR = bytes(code == ord("1") for code in range(256))

_words = lru_cache(4096)(words)
"""Families, types and tags come again and again."""


class Document(NamedTuple):
    """What the index needs of one model. ``key`` is its row id; ``texts`` has one text for each column.

    ``parts`` holds the words within words, ``sorts`` one comparable value for each of `SORTS`,
    ``filters`` each field's values.
    """

    key: int
    name: str
    stem: str
    texts: Sequence[str]
    parts: str
    sorts: Sequence[Any]
    filters: Mapping[str, Iterable[str]]
    last_used: str | None


class Hits(NamedTuple):
    """Found models, and how many points each lost: lower is better, one bit plane of the sum each."""

    models: Bits
    planes: list[Bits]


class WordIndex:
    """An inverted index that answers with exact sets, so every count is true and every page is there.

    A model that changes gets a new slot and its old one dies; `wasteful` says when to build anew. Not
    thread-safe: the caller holds a lock.
    """

    def __init__(self) -> None:
        self._keys = array("q")
        self._names: list[str] = []
        self._slots: dict[int, int] = {}
        self._live: Bits = 0
        self._words: list[dict[str, Postings]] = [{} for _ in range(_PIECES + 1)]
        self._filters: dict[str, dict[str, Postings]] = {}
        self._stems: dict[str, Postings] = {}
        self._used: dict[int, str] = {}
        self._vocabulary: list[str] = []
        self._vocabulary_text = "\n"
        self._by_length: dict[int, list[str]] = {}
        self._new_words: list[str] = []
        self._sort_values: list[Any] = [self._names, array("q"), array("d"), array("d"), []]
        self._orders: list[array[int]] = [array("I") for _ in SORTS]
        self._sets: dict[int, tuple[int, Bits]] = {}
        self._found: dict[str, list[Bits]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def wasteful(self) -> bool:
        """Whether a quarter and more of the slots are dead."""
        dead = len(self._keys) - len(self._slots)
        return dead > 1000 and dead * 4 > len(self._keys)

    def warm(self) -> None:
        """Prepare what the first searches would otherwise have to: the orders and the sets of common words."""
        self._learn_words()
        for sort in range(len(SORTS)):
            self._order(sort)
        dense = self._dense()
        for postings in (*self._words, *self._filters.values()):
            for slots in postings.values():
                if len(slots) >= dense:
                    self._set(slots)

    def release(self) -> None:
        """Give the memory back bit by bit: to free it all at once would halt all other threads."""
        for postings in (*self._words, *self._filters.values(), self._stems):
            while postings:
                postings.popitem()
        for values in (self._names, self._vocabulary, self._new_words, *self._by_length.values()):
            while values:
                del values[-_CHUNK:]
        while self._slots:
            self._slots.popitem()

    # Keeping in step

    def put(self, document: Document) -> None:
        """Add a model, or replace the one with the same key."""
        self.remove(document.key)
        slot = len(self._keys)
        packed = slot.to_bytes(4, byteorder)
        self._keys.append(document.key)
        self._slots[document.key] = slot
        self._live |= 1 << slot
        for values, value in zip(self._sort_values, document.sorts, strict=True):
            values.append(value)
        if document.stem != document.name:
            _add(self._stems, document.stem, packed)
        if document.last_used:
            self._used[slot] = document.last_used
        for field, values in document.filters.items():
            lists = self._filters.setdefault(field, {})
            for value in values:
                _add(lists, value, packed)
        seen: set[str] = set()
        for column, text in enumerate((*document.texts, document.parts)):
            known = self._words[column]
            for word in _words(text):
                if word in seen:
                    continue
                seen.add(word)
                postings = known.get(word)
                if postings is not None:
                    postings += packed
                    continue
                if not any(word in others for others in self._words):
                    self._new_words.append(word)
                known[word] = bytearray(packed)
        if self._found:
            self._found.clear()

    def remove(self, key: int) -> None:
        """Forget a model, if it is there."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._live ^= 1 << slot
            self._used.pop(slot, None)
            self._found.clear()

    # Looking

    def filtered(self, wanted: Mapping[str, Iterable[str]]) -> Bits:
        """The models that have, for each field, one of the wanted values."""
        models = self._live
        for field, values in wanted.items():
            postings = self._filters.get(field, {})
            models &= self._union(postings[value] for value in values if value in postings)
        return models

    def every(self, terms: Sequence[str], among: Bits) -> Hits:
        """The models that have each of the words: whole, as a beginning, or somewhere inside."""
        return self._sum([self._levels(term) for term in terms], among, every=True)

    def some(self, terms: Sequence[str], among: Bits) -> Hits:
        """The models that have any of the words, those that have more of them first."""
        return self._sum([self._levels(term) for term in terms], among, every=False)

    def nearest(self, terms: Sequence[str], among: Bits) -> Hits:
        """The models with words spelled nearly so; where no model has all of them, those with some."""
        near = [self._near(term) for term in terms]
        hits = self._sum(near, among, every=True)
        return hits if hits.models else self._sum(near, among, every=False)

    def counts(self, field: str, among: Bits, limit: int) -> list[tuple[str, int]]:
        """The most frequent values of a filter among some models, with their numbers."""
        postings = self._filters.get(field, {})
        top: list[tuple[int, str]] = []
        chosen = _selector(among, len(self._keys))
        dense = self._dense()
        for value, slots in sorted(postings.items(), key=lambda item: -len(item[1])):
            if len(top) >= limit and len(slots) // 4 <= -top[limit - 1][0]:
                break  # the remaining ones cannot reach that far
            if len(slots) >= dense:
                count = (self._set(slots) & among).bit_count()
            else:
                count = sum(map(chosen.__getitem__, _slots(slots)))
            if count and value:
                insort(top, (-count, value))
        return [(value, -count) for count, value in top[:limit]]

    def page(self, hits: Hits, names: Sequence[str], offset: int, limit: int) -> list[int]:
        """Row ids of one page, the best first.

        A model called exactly as one of ``names`` comes first, then those whose names begin so, then by
        points, last use and name.
        """
        exact = begins = 0
        for name in filter(None, names):
            order = self._order(0)
            start = bisect_left(order, name, key=self._names.__getitem__)
            end = bisect_right(order, name, lo=start, key=self._names.__getitem__)
            last = bisect_left(order, name + "\U0010ffff", lo=end, key=self._names.__getitem__)
            exact |= self._bits([order[start:end], _slots(self._stems.get(name, bytearray()))])
            begins |= self._bits([order[end:last]])
        groups = chain(
            (hits.models & exact, hits.models & begins & ~exact),
            _best_first(hits.models & ~(exact | begins), hits.planes),
        )
        found: list[int] = []
        for group in groups:
            size = group.bit_count()
            if offset >= size:
                offset -= size
                continue
            found += self._by_use_and_name(group, offset, limit - len(found))
            offset = 0
            if len(found) >= limit:
                break
        return [self._keys[slot] for slot in found]

    def sorted_page(self, models: Bits, sort: str, descending: bool, offset: int, limit: int) -> list[int]:
        """Row ids of one page in the order of one of `SORTS`."""
        order = self._order(SORTS.index(sort))
        return [self._keys[slot] for slot in self._in_order(models, order, descending, offset, limit)]

    # Words to sets

    def _levels(self, word: str) -> list[Bits]:
        """The models that have a word, set apart by how: whole, beginning and inside, for each column."""
        known = self._found.get(word)
        if known is not None:
            return known
        self._learn_words()
        whole = [self._lookup(column, [word]) for column in range(_PIECES)]
        start = bisect_left(self._vocabulary, word)
        alike = self._vocabulary[start : bisect_left(self._vocabulary, word + "\U0010ffff", lo=start)]
        begins = [self._lookup(column, alike) for column in range(_PIECES + 1)]
        begins[0] |= begins.pop()
        inside = [0] * _PIECES
        if len(word) >= (2 if CJK.match(word) else MIN_INNER_CHARS):
            containing = list(self._words_containing(word))
            inside = [self._lookup(column, containing) for column in range(_PIECES)]
        inside[-1] |= self._run_together(word)
        levels = _disjoint(chain(whole, begins, inside))
        while len(self._found) >= _CACHED_WORDS:
            del self._found[next(iter(self._found))]
        self._found[word] = levels
        return levels

    def _run_together(self, word: str) -> Bits:
        """The models whose names have the pieces of a word with something between: ``llama3``, ``Llama-3``."""
        inner = pieces(word)
        if len(inner) < 2:
            return 0
        *first, last = inner
        models = self._live
        for piece in first:
            models &= self._lookup(0, [piece])
        if models:
            start = bisect_left(self._vocabulary, last)
            end = bisect_left(self._vocabulary, last + "\U0010ffff", lo=start)
            models &= self._lookup(0, self._vocabulary[start:end])
        return self._bits([[slot for slot in _members(models) if word in self._names[slot].replace(" ", "")]])

    def _words_containing(self, part: str) -> Iterator[str]:
        text = self._vocabulary_text
        at = text.find(part)
        while at >= 0:
            start = text.rfind("\n", 0, at) + 1
            end = text.find("\n", at)
            # A word that begins with the part counts for more; and nobody looks for ``ten`` in an extension.
            if start < at and (word := text[start:end]) not in _EXTENSIONS:
                yield word
            at = text.find(part, end)

    def _near(self, word: str) -> list[Bits]:
        """The models with words a few letters away, set apart by how many letters."""
        if any(self._levels(word)):
            return [_all(self._levels(word))]
        if len(word) > _MAX_FUZZY_CHARS:
            return [0]
        reach = 1 if len(word) < 5 else 2 if len(word) < 9 else 3
        near: list[list[str]] = [[] for _ in range(reach + 1)]
        for length in range(len(word) - reach, len(word) + reach + 1):
            alike = self._by_length.get(length, [])
            for start in range(0, len(alike), _CHUNK):
                some = extract(
                    word,
                    alike[start : start + _CHUNK],
                    scorer=OSA.distance,
                    score_cutoff=reach,
                    limit=_MAX_NEAREST,
                )
                for found, distance, _ in some:
                    near[int(distance)].append(found)
        return _disjoint(
            self._union(
                self._words[column][found]
                for found in alike[:_MAX_NEAREST]
                for column in range(_PIECES + 1)
                if found in self._words[column]
            )
            for alike in near
        )

    def _learn_words(self) -> None:
        """Take the words that came since into the sorted vocabulary."""
        if self._new_words:
            for word in self._new_words:
                self._by_length.setdefault(len(word), []).append(word)
            self._vocabulary_text += "\n".join(self._new_words) + "\n"
            self._vocabulary += sorted(self._new_words)
            self._vocabulary.sort()  # two sorted runs, which is one merge
            self._new_words = []

    # Sets

    def _lookup(self, column: int, wanted: Iterable[str]) -> Bits:
        known = self._words[column]
        return self._union(known[word] for word in wanted if word in known)

    def _union(self, postings: Iterable[Postings]) -> Bits:
        models = 0
        few = bytearray()
        dense = self._dense()
        for slots in postings:
            if len(slots) >= dense:
                models |= self._set(slots)
            else:
                few += slots
        return models | self._bits([_slots(few)])

    def _set(self, slots: Postings) -> Bits:
        """The set of a list that only ever grows, remembered together with how far it was read."""
        read, models = self._sets.get(id(slots), (0, 0))
        if read < len(slots):
            models |= self._bits([_slots(slots[read:])])
            if len(slots) >= self._dense():
                while len(self._sets) >= _CACHED_SETS:
                    del self._sets[next(iter(self._sets))]
                self._sets[id(slots)] = (len(slots), models)
        return models

    def _dense(self) -> int:
        """From how many bytes of postings on, four for each model, a word's set is worth remembering."""
        return max(256, len(self._keys) >> 4)

    def _bits(self, many: Sequence[Sequence[int]]) -> Bits:
        total = sum(map(len, many))
        if total <= 4:
            models = 0
            for slot in chain.from_iterable(many):
                models |= 1 << slot
            return models
        if total < _CHUNK:
            packed = bytearray((len(self._keys) + 7) // 8)
            for slot in chain.from_iterable(many):
                packed[slot >> 3] |= 1 << (slot & 7)
            return int.from_bytes(packed, "little")
        digits = bytearray(b"0") * len(self._keys)
        for slot in chain.from_iterable(many):
            digits[slot] = 49
        digits.reverse()
        return int(digits, 2)

    def _sum(self, terms: Sequence[list[Bits]], among: Bits, *, every: bool) -> Hits:
        """Add up, for each model at once, the levels at which it has the words."""
        has = [_all(levels) for levels in terms]
        models = among if every and has else 0
        for found in has:
            models = models & found if every else models | found & among
        planes: list[Bits] = []
        if models:
            for levels, found in zip(terms, has, strict=True):
                points: list[Bits] = []
                for level, here in chain(enumerate(levels), [(_MISSING, models & ~found)]):
                    _set_number(points, level, here & models)
                planes = _add_numbers(planes, points)
        return Hits(models, planes)

    # Orders

    def _by_use_and_name(self, models: Bits, offset: int, limit: int) -> list[int]:
        used = [slot for slot in self._used if models >> slot & 1] if self._used else []
        used.sort(key=lambda slot: self._names[slot])
        used.sort(key=self._used.__getitem__, reverse=True)
        found = used[offset : offset + limit]
        for slot in used:
            models ^= 1 << slot
        if len(found) < limit:
            start = max(0, offset - len(used))
            found += self._by_name(models, start, limit - len(found))
        return found

    def _by_name(self, models: Bits, offset: int, limit: int) -> list[int]:
        if models.bit_count() > _FEW:
            return self._in_order(models, self._order(0), False, offset, limit)
        return sorted(_members(models), key=self._names.__getitem__)[offset : offset + limit]

    def _in_order(
        self, models: Bits, order: array[int], descending: bool, offset: int, limit: int
    ) -> list[int]:
        chosen = _selector(models, len(self._keys))
        walk: Callable[[], Iterator[int]] = lambda: reversed(order) if descending else iter(order)  # noqa: E731
        return list(islice(compress(walk(), map(chosen.__getitem__, walk())), offset, offset + limit))

    def _order(self, sort: int) -> array[int]:
        """All slots in the order of a sort; those that came since the last time are merged in."""
        order = self._orders[sort]
        value = self._sort_values[sort].__getitem__
        new = range(len(order), len(self._keys))
        if len(new) <= 500:
            for slot in new:
                order.insert(bisect_right(order, value(slot), key=value), slot)
            return order
        # In pieces, because a single call that sorts 100,000 values lets no other thread run meanwhile.
        runs = [sorted(new[start : start + _CHUNK], key=value) for start in range(0, len(new), _CHUNK)]
        self._orders[sort] = array("I", heapq.merge(order, *runs, key=value))
        return self._orders[sort]


def _add(postings: dict[str, Postings], value: str, packed: bytes) -> None:
    slots = postings.get(value)
    if slots is None:
        postings[value] = bytearray(packed)
    else:
        slots += packed


def _slots(postings: Postings) -> array[int]:
    slots = array("I")
    slots.frombytes(postings)
    return slots


def _all(sets: Iterable[Bits]) -> Bits:
    models = 0
    for found in sets:
        models |= found
    return models


def _disjoint(sets: Iterable[Bits]) -> list[Bits]:
    """Each set without what is in those before it."""
    seen = 0
    result = []
    for found in sets:
        result.append(found & ~seen)
        seen |= found
    return result


def _set_number(planes: list[Bits], number: int, models: Bits) -> None:
    """Write a number, the same for some models, into bit planes; these models had none before."""
    if models:
        for bit in range(number.bit_length()):
            while len(planes) <= bit:
                planes.append(0)
            if number >> bit & 1:
                planes[bit] |= models


def _add_numbers(one: list[Bits], other: list[Bits]) -> list[Bits]:
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


def _best_first(models: Bits, planes: list[Bits]) -> Iterator[Bits]:
    """The models in groups of equal points, the fewest points first."""
    if not models:
        return
    if not planes:
        yield models
        return
    *lower, highest = planes
    yield from _best_first(models & ~highest, lower)
    yield from _best_first(models & highest, lower)


def _selector(models: Bits, size: int) -> bytes:
    """A byte for each slot, 1 where the model is in the set."""
    return bin(models)[:1:-1].encode().translate(_SELECTOR).ljust(size, b"\0")


def _members(models: Bits) -> Iterator[int]:
    chosen = _selector(models, 0)
    at = chosen.find(1)
    while at >= 0:
        yield at
        at = chosen.find(1, at + 1)
