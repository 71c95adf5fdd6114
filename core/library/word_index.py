"""Which models have which words, in memory, as sets that are one integer each."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, compress, islice
from string import ascii_lowercase, digits
from sys import byteorder
from typing import Any, NamedTuple

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from ..settings import MODEL_EXTENSIONS
from ..turns import SHORT_RUN_S, give_way, in_turns
from .bit_sets import Bits, add_numbers, best_first, disjoint, members, selected, selector, set_number, union
from .compact import FewTexts, Places, Texts
from .text import pieces, words

Postings = bytearray
"""The slots of the models that have a word, in rising order, four bytes each."""

COLUMNS = ("name", "file", "kind", "tags", "description")
"""Where a word may be found, the best place first. ``kind`` is family, base model, type and subtype."""

SORTS = ("name", "size", "added", "updated", "type")
"""What lists are sorted by; the smallest value comes first, equal ones by name."""

_EXTENSIONS = frozenset(extension[1:] for extension in MODEL_EXTENSIONS)
_PIECES = len(COLUMNS)
_LEVELS = 3 * len(COLUMNS) + 1
_MISSING = 2 * _LEVELS + 1
_CACHED_WORDS = 32
_CACHED_SETS = 1024
_CHUNK = 4096
_SPARSE = 40
_RUN = 1024
_DEAD = -1
_STEP = 256
_MAX_NEAREST = 24
_MAX_FUZZY_CHARS = 40
_AGAIN_AND_AGAIN = frozenset(map(COLUMNS.index, ("kind", "tags")))


@lru_cache(1024)
def _repeated_words(text: str) -> tuple[str, ...]:
    """The words of a text that many models share, such as a family.

    To remember those of all texts would be a heap of objects that each live just long enough to bring on
    full collections of garbage.
    """
    return tuple(words(text))


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

    def state(self) -> int:
        """A number of 64 bits that is another one when anything of it is."""
        filters = ((field, *values) for field, values in self.filters.items())
        return hash((self.name, self.stem, *self.texts, self.parts, *self.sorts, *filters, self.last_used))


class Moment(NamedTuple):
    """What there was at a moment: so many slots, the models that were alive, when some were used, all words."""

    slots: int
    models: Bits
    used: dict[int, str]
    vocabulary: tuple[str, ...]


class Hits(NamedTuple):
    """Found models, and how many points each lost: lower is better, one bit plane of the sum each."""

    models: Bits
    planes: list[Bits]


class WordIndex:
    """An inverted index that answers with exact sets, so every count is true and every page is there.

    A model that changes gets a new slot and its old one dies; `wasteful` says when to leave the dead ones behind. Not
    thread-safe: the caller holds a lock. Nothing in it that grows with the models is looked at by the garbage
    collector (`compact`; a dict from texts to bytes; a tuple of texts), because that halts all threads.
    """

    def __init__(self) -> None:
        self._keys = array("q")
        self._states = array("q")
        self._names = Texts()
        self._slots = Places()
        self._live: Bits = 0
        self._words: list[dict[str, Postings]] = [{} for _ in range(_PIECES + 1)]
        self._letters = {letter: bytearray() for letter in ascii_lowercase + digits}
        self._filters: dict[str, dict[str, Postings]] = {}
        self._stems: dict[str, Postings] = {}
        self._used: dict[int, str] = {}
        self._vocabulary: tuple[str, ...] = ()
        self._vocabulary_text = "\n"
        self._new_words: dict[str, None] = {}
        self._sort_values: list[Any] = [self._names, array("q"), array("d"), array("d"), FewTexts()]
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
                    give_way(SHORT_RUN_S)

    def now(self) -> Moment:
        """What `compacted` goes by."""
        self._learn_words()
        return Moment(len(self._keys), self._live, self._used.copy(), self._vocabulary)

    def compacted(self, moment: Moment) -> WordIndex:
        """What was alive at a moment, without what was dead; this one may go on changing meanwhile.

        Takes a quarter of the time to read all models anew.
        """
        new = WordIndex()
        places = array("i", [_DEAD]) * moment.slots
        for slot in members(moment.models):
            places[slot] = len(new._keys)
            key = self._keys[slot]
            new._slots.put(key, len(new._keys))
            new._keys.append(key)
            new._states.append(self._states[slot])
            for ours, theirs in zip(new._sort_values, self._sort_values, strict=True):
                ours.append(theirs[slot])
            give_way(SHORT_RUN_S)
        new._used = {places[slot]: last_used for slot, last_used in moment.used.items()}
        new._live = (1 << len(new._keys)) - 1
        new._orders = [_moved(order[:], places) for order in self._orders]  # searches go on putting more in
        new._words = [_moved_postings(postings, places) for postings in self._words]
        new._stems = _moved_postings(self._stems, places)
        new._filters = {
            field: _moved_postings(postings, places) for field, postings in tuple(self._filters.items())
        }
        chosen = selector(moment.models, moment.slots)
        for letter, having in self._letters.items():
            has = selector(int.from_bytes(having, "little"), moment.slots)
            models = selected(b"".join(_compressed(has, chosen)))
            new._letters[letter] = bytearray(models.to_bytes((models.bit_length() + 7) // 8, "little"))
        new._vocabulary = tuple(
            word for word in in_turns(moment.vocabulary) if any(word in known for known in new._words)
        )
        new._vocabulary_text = "\n".join(("", *new._vocabulary, ""))
        return new

    def release(self) -> None:
        """Give the memory back bit by bit: to free it all at once would halt all other threads."""
        for postings in (*self._words, *self._filters.values(), self._stems):
            while postings:
                postings.popitem()
                give_way(SHORT_RUN_S)

    # Keeping in step

    def put(self, document: Document) -> None:
        """Add a model, or replace the one with the same key. Nothing happens if nothing of it is different."""
        state, before = document.state(), self._slots.get(document.key)
        if before is not None and self._states[before] == state:
            return
        self.remove(document.key)
        slot = len(self._keys)
        packed = slot.to_bytes(4, byteorder)
        self._keys.append(document.key)
        self._states.append(state)
        self._slots.put(document.key, slot)
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
        self._add_letters(
            document.name if document.stem == document.name else f"{document.name}{document.stem}", slot
        )
        seen: set[str] = set()
        for column, text in enumerate((*document.texts, document.parts)):
            known = self._words[column]
            for word in _repeated_words(text) if column in _AGAIN_AND_AGAIN else words(text):
                if word in seen:
                    continue
                seen.add(word)
                postings = known.get(word)
                if postings is not None:
                    postings += packed
                    continue
                if not any(word in others for others in self._words):
                    self._new_words[word] = None
                known[word] = bytearray(packed)
        if self._found:
            self._found.clear()

    def _add_letters(self, name: str, slot: int) -> None:
        byte, bit = slot >> 3, 1 << (slot & 7)
        for letter in set(name):
            having = self._letters.get(letter)
            if having is not None:
                if byte >= len(having):
                    having += bytes(byte + 1 - len(having))
                having[byte] |= bit

    def remove(self, key: int) -> None:
        """Forget a model, if it is there."""
        slot = self._slots.pop(key)
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
        chosen = selector(among, len(self._keys))
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
        order = named = self._order(0)
        for name in filter(None, names):
            start = bisect_left(order, name, key=self._names.__getitem__)
            end = bisect_right(order, name, lo=start, key=self._names.__getitem__)
            last = bisect_left(order, name + "\U0010ffff", lo=end, key=self._names.__getitem__)
            exact |= self._bits([order[start:end], _slots(self._stems.get(name, bytearray()))])
            begins |= self._bits([order[end:last]])
            named = order[start:last]  # the last name is the shortest, which the others begin with
        groups = chain(
            ((hits.models & exact, order), (hits.models & begins & ~exact, named)),
            ((group, order) for group in best_first(hits.models & ~(exact | begins), hits.planes)),
        )
        found: list[int] = []
        for group, within in groups:
            size = group.bit_count()
            if offset >= size:
                offset -= size
                continue
            found += self._by_use_and_name(group, within, offset, limit - len(found))
            offset = 0
            if len(found) >= limit:
                break
        return [self._keys[slot] for slot in found]

    def sorted_page(self, models: Bits, sort: str, turned: bool, offset: int, limit: int) -> list[int]:
        """Row ids of one page in the order of one of `SORTS`, or in that order turned round."""
        number = SORTS.index(sort)
        slots = self._in_order(models, number, self._order(number), turned, offset, limit)
        return [self._keys[slot] for slot in slots]

    # Words to sets

    def _levels(self, word: str) -> list[Bits]:
        """The models that have a word, set apart by how and, for each column, by where.

        First the whole word, then a whole piece of a word, the beginning of one, and anything inside.
        """
        known = self._found.get(word)
        if known is not None:
            return known
        self._learn_words()
        give_way(SHORT_RUN_S)
        whole = [self._lookup(column, [word]) for column in range(_PIECES + 1)]
        alike = self._beginning_with(word)
        begins = [self._lookup(column, alike) for column in range(_PIECES + 1)]
        begins[0] |= begins.pop()
        if word in self._letters:
            inside = [int.from_bytes(self._letters[word], "little")]
        else:
            containing = list(self._words_containing(word))
            give_way(SHORT_RUN_S)
            inside = [self._lookup(column, containing) for column in range(_PIECES)]
        inside += [0] * (_PIECES - len(inside))
        inside[-1] |= self._run_together(word)
        levels = disjoint(chain(whole, begins, inside))
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
            models &= self._lookup(0, self._beginning_with(last))
        return self._bits([self._names.having(" ".join(inner), in_turns(members(models)))])

    def _beginning_with(self, start: str) -> tuple[str, ...]:
        first = bisect_left(self._vocabulary, start)
        return self._vocabulary[first : bisect_left(self._vocabulary, start + "\U0010ffff", lo=first)]

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
        having = union(self._levels(word)) & self._live  # a word of dead models only is none
        if having:
            return [having]
        if len(word) > _MAX_FUZZY_CHARS:
            return [0]
        reach = 1 if len(word) < 5 else 2 if len(word) < 9 else 3
        near: list[list[str]] = [[] for _ in range(reach + 1)]
        for start in range(0, len(self._vocabulary), _CHUNK):
            some = extract(
                word,
                self._vocabulary[start : start + _CHUNK],
                scorer=OSA.distance,
                score_cutoff=reach,
                limit=_MAX_NEAREST,
            )
            give_way(SHORT_RUN_S)
            for found, distance, _ in some:
                near[int(distance)].append(found)
        return disjoint(
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
            self._vocabulary_text += "\n".join(self._new_words) + "\n"
            # Two sorted runs, which is one merge; and a tuple, which the garbage collector lets go.
            self._vocabulary = tuple(sorted((*self._vocabulary, *_sorted(tuple(self._new_words)))))
            self._new_words.clear()

    # Sets

    def _lookup(self, column: int, wanted: Iterable[str]) -> Bits:
        return self._union(filter(None, map(self._words[column].get, wanted)))

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
        if total * _SPARSE < len(self._keys):
            packed = bytearray((len(self._keys) + 7) // 8)
            for slot in chain.from_iterable(many):
                packed[slot >> 3] |= 1 << (slot & 7)
            return int.from_bytes(packed, "little")
        digits = bytearray(b"0") * len(self._keys)
        for slots in many:
            for start in range(0, len(slots), _CHUNK):
                for slot in slots[start : start + _CHUNK]:
                    digits[slot] = 49
                give_way(SHORT_RUN_S)
        digits.reverse()
        return int(digits, 2)

    def _sum(self, terms: Sequence[list[Bits]], among: Bits, *, every: bool) -> Hits:
        """Add up, for each model at once, the levels at which it has the words."""
        has = [union(levels) for levels in terms]
        models = among if every and has else 0
        for found in has:
            models = models & found if every else models | found & among
        planes: list[Bits] = []
        if models:
            for levels, found in zip(terms, has, strict=True):
                give_way(SHORT_RUN_S)
                points: list[Bits] = []
                for level, here in chain(enumerate(levels), [(_MISSING, models & ~found)]):
                    set_number(points, level, here & models)
                planes = add_numbers(planes, points)
        return Hits(models, planes)

    # Orders

    def _by_use_and_name(self, models: Bits, order: array[int], offset: int, limit: int) -> list[int]:
        used = [slot for slot in self._used if models >> slot & 1] if self._used else []
        used.sort(key=self._name_and_key)
        used.sort(key=self._used.__getitem__, reverse=True)
        found = used[offset : offset + limit]
        for slot in used:
            models ^= 1 << slot
        if len(found) < limit:
            start = max(0, offset - len(used))
            found += self._in_order(models, 0, order, False, start, limit - len(found))
        return found

    def _name_and_key(self, slot: int) -> tuple[str, int]:
        return self._names[slot], self._keys[slot]

    def _place(self, sort: int) -> Callable[[int], tuple[Any, str, int]]:
        """What tells which of two slots comes first in the order of a sort."""
        values = self._sort_values[sort]
        return lambda slot: (values[slot], *self._name_and_key(slot))

    def _in_order(
        self, models: Bits, sort: int, order: array[int], turned: bool, offset: int, limit: int
    ) -> list[int]:
        """Some of the models in the order of a sort, of which ``order`` has at least all of them."""
        if models.bit_count() ** 2 <= 4 * len(self._keys):  # so few that a page of them would not be met soon
            return sorted(members(models), key=self._place(sort), reverse=turned)[offset : offset + limit]
        chosen = selector(models, len(self._keys)).__getitem__
        found: list[int] = []
        for start in range(0, len(order), _STEP):
            end = len(order) - start
            some = order[max(0, end - _STEP) : end][::-1] if turned else order[start : start + _STEP]
            met = list(compress(some, map(chosen, some)))
            found += met[offset : offset + limit - len(found)]
            offset = max(0, offset - len(met))
            if len(found) >= limit:
                break
            give_way(SHORT_RUN_S)
        return found

    def _order(self, sort: int) -> array[int]:
        """All slots in the order of a sort, equal ones by name and key; those that came since are put in."""
        order = self._orders[sort]
        values = self._sort_values[sort]
        new = range(len(order), len(self._keys))
        if len(new) <= 500:
            place = self._place(sort)
            for slot in new:
                order.insert(bisect_right(order, place(slot), key=place), slot)
            return order
        # In pieces, because a single call that sorts 100,000 values lets no other thread run meanwhile. Equal ones
        # stay as they were: by name and key.
        by_name: Sequence[int] = self._order(0) if sort else range(len(self._keys))
        value: Callable[[int], Any] = values.__getitem__ if sort else self._name_and_key
        runs = []
        for at in range(0, len(by_name), _RUN):
            runs.append(array("I", sorted(by_name[at : at + _RUN], key=value)))
            give_way(SHORT_RUN_S)
        merged = heapq.merge(*runs, key=value)
        order = array("I")
        while some := array("I", islice(merged, _RUN)):
            order += some
            give_way(SHORT_RUN_S)
        self._orders[sort] = order
        return order


def _sorted(values: tuple[str, ...]) -> tuple[str, ...]:
    """In pieces, because a single call that sorts ten thousands of texts lets no other thread run meanwhile."""
    if len(values) <= _RUN:
        return tuple(sorted(values))
    half = len(values) // 2
    first, second = _sorted(values[:half]), _sorted(values[half:])
    give_way(SHORT_RUN_S)
    return tuple(sorted((*first, *second)))


def _add(postings: dict[str, Postings], value: str, packed: bytes) -> None:
    slots = postings.get(value)
    if slots is None:
        postings[value] = bytearray(packed)
    else:
        slots += packed


def _moved_postings(lists: dict[str, Postings], places: array[int]) -> dict[str, Postings]:
    """The lists of what moved to other slots, without those that are empty then."""
    moved = {}
    for value in tuple(lists):  # one may come meanwhile
        slots = _moved(_slots(lists[value]), places)
        if slots:
            moved[value] = bytearray(slots.tobytes())
        give_way(SHORT_RUN_S)
    return moved


def _moved(slots: array[int], places: array[int]) -> array[int]:
    """Where slots are now, each in the order in which it was; those that came later are left out."""
    moved = array("I")
    known = len(places)
    for start in range(0, len(slots), _CHUNK):
        some = slots[start : start + _CHUNK]
        moved.extend([place for slot in some if slot < known and (place := places[slot]) != _DEAD])
        give_way(SHORT_RUN_S)
    return moved


def _compressed(values: bytes, chosen: bytes) -> Iterator[bytes]:
    """Those of the values that are chosen, some after some."""
    for start in range(0, len(chosen), _CHUNK):
        end = start + _CHUNK
        yield bytes(compress(values[start:end], chosen[start:end]))
        give_way(SHORT_RUN_S)


def _slots(postings: Postings) -> array[int]:
    slots = array("I")
    slots.frombytes(postings)
    return slots
