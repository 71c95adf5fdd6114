from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..settings import MODEL_EXTENSIONS
from ..storage.database import Database
from ..turns import SHORT_RUN_S, begin, give_way, in_turns
from .index import SUMMARY_COLUMNS, summaries_of
from .records import Facets, FacetValue, MatchKind, ModelFilter, ModelQuery, ModelSummary, SearchResult
from .schema import SEARCH_COLUMNS, change_numbers, last_change
from .text import CJK, cjk_pairs, fold, name_key, pieces, words
from .word_index import Document, Hits, WordIndex

logger = logging.getLogger(__name__)

MAX_TERMS = 16
MAX_QUERY_CHARS = 1000
MAX_FACET_VALUES = 200

RANKED_HITS = 2000
"""How many hits SQLite ranks. Beyond that the words are so common that rank tells little, and ranking all
of them is what makes bare FTS5 slow; names that begin with the query are always among the ranked."""

_BATCH = 200
"""How many changes whoever writes takes over while searches wait."""

AT_ONCE = 2000
"""Up to how many changes whoever writes takes over. After more, all is read anew, in the background."""

_HASH = re.compile(r"[0-9a-fA-F]{10,64}")

_FILTER_COLUMNS = {
    "type": "model_type",
    "subtype": "subtype",
    "family": "family",
    "base_model": "base_model",
    "tier": "security_tier",
    "format": "model_format",
    "storage": "storage",
}
_FACET_COLUMNS = ("type", "subtype", "family", "base_model", "tier")

_SORT_COLUMNS = {
    "name": "m.name_key",
    "size": "m.size_bytes",
    "added": "m.added_date",
    "updated": "m.updated_date",
    "type": "m.subtype",
}
_DESCENDING = frozenset({"size", "added", "updated"})

_DOCUMENT_COLUMNS = (
    "id, name_key, file_names, official_name, family, base_model, model_type, subtype, tags, trained_words, "
    "description, repo_id, parts, size_bytes, coalesce(julianday(added_date), 0), "
    "coalesce(julianday(updated_date), 0), security_tier, "
    "model_format, storage, last_used"
)


class _Condition(NamedTuple):
    """A part of a WHERE clause and its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


class Search:
    """Finds models by what a person types. No text raises: anything is just words to look for.

    Two ways lead to an answer. `load` reads the words of all models into memory, some seconds for 100,000;
    from then on answers come from there, each change being taken over before the next answer. Until then,
    and while very much is new, SQLite searches: in FTS5, or with LIKE where there is none.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._loading = threading.Lock()
        self._background = ThreadPoolExecutor(1, "librarian-words")
        self._closing = threading.Event()
        self._words: WordIndex | None = None
        self._soon = False
        self._state = (0, 0)
        self._last_change = 0

    def load(self) -> None:
        """Have all models' words in memory, in step with the database and without much that is stale."""
        with self._loading:
            while self._database.searchable and not self._closing.is_set() and not self._follow():
                self._read_all()

    def catch_up(self) -> None:
        """Take over what was written since, by whichever process; for whoever writes, so that no search has to.

        Where that is very much, all is read anew in the background.
        """
        if not self._follow():
            self._load_soon()

    def _follow(self) -> bool:
        """Take over what is new, some at a time; false if all should be read anew."""
        while True:
            with self._lock:
                waiting = self._waiting()
                if not waiting:
                    return waiting is not None and self._words is not None and not self._words.wasteful
                self._take_over()
            give_way()

    def close(self) -> None:
        """End what goes on in the background."""
        with self._lock:
            self._closing.set()
        self._background.shutdown()

    @contextmanager
    def put_off(self, count: int) -> Iterator[None]:
        """While ``count`` models are written, let SQLite search if they are most of what there is.

        Afterwards the words are read anew, in the background. To take over each model when it is written would be a
        third of the time until all can be found.
        """
        with self._lock:
            stale = self._words
            if stale is not None and count > max(AT_ONCE, len(stale)):
                self._words = None
            else:
                stale = None
        if stale is None:
            yield
            return
        if self._loading.acquire(blocking=False):  # or somebody reads from them
            stale.release()
            self._loading.release()
        try:
            yield
        finally:
            self._load_in_background()

    def _load_soon(self) -> None:
        """Have outdated words read anew in the background."""
        with self._lock:
            if self._words is not None:
                self._load_in_background()

    def _load_in_background(self) -> None:
        with self._lock:
            if not self._soon and not self._closing.is_set():
                self._soon = True
                self._background.submit(self._load_unasked)

    def _load_unasked(self) -> None:
        with self._lock:
            self._soon = False
        try:
            self.load()
        except sqlite3.Error as error:  # whoever searches next meets it, too, and mends it
            logger.warning("The words to search in could not be read: %s", error)

    def _read_all(self) -> None:
        """Have the words anew, from the database or, if they are only in part stale, from what is in memory."""
        with self._lock:
            generation, last = self._database.generation, self._last_change
            stale, moment = self._words, None
            if self._waiting() is None:  # of no more use, so that it goes first
                self._words = None
            elif stale is not None:
                moment = stale.now()
        db = self._database.read()
        if stale is not None and moment is not None:
            index = stale.compacted(moment)
        else:
            if stale is not None:
                stale.release()
            last = last_change(db)
            index = WordIndex()
            for row in db.execute(f"SELECT {_DOCUMENT_COLUMNS} FROM models ORDER BY name_key, id"):
                index.put(_document(row))
                if self._closing.is_set():
                    return
                # A scan mostly runs as well, and the event loop may have to wait for both.
                give_way(SHORT_RUN_S)
        index.warm()
        while (
            following := _take_over(index, db, last)
        ) > last:  # or what came meanwhile could be too much again
            last = following
            give_way()
        with self._lock:
            stale, self._words = self._words, index
            self._state, self._last_change = (generation, 0), last
        if stale is not None:
            stale.release()

    def _in_step(self) -> WordIndex | None:
        """The words in step with the database, or nothing while they must be read anew; under the lock."""
        while waiting := self._waiting():
            self._take_over()
        return None if waiting is None else self._words

    def _waiting(self) -> int | None:
        """How many changes are to be taken over; nothing if the words must be read anew; under the lock."""
        if self._words is None or not self._database.searchable:
            return None
        state = self._database.state()
        if state == self._state:
            return 0
        if state[0] != self._state[0]:
            return None  # the database was made anew
        oldest, newest = change_numbers(self._database.read()) or (0, 0)
        if oldest > self._last_change + 1 or newest > self._last_change + AT_ONCE:
            return None  # some are forgotten already, or it would take as long as to read all
        waiting = max(0, newest - self._last_change)
        if not waiting:
            self._state = state
        return waiting

    def _take_over(self) -> None:
        """Take over some changes; under the lock."""
        if self._words is not None:
            self._last_change = _take_over(self._words, self._database.read(), self._last_change)

    def find(self, query: ModelQuery) -> SearchResult:
        """One page of models, best first; see `SearchResult` for how they were found."""
        started = time.perf_counter()
        begin()
        text = _typed(query)
        result = self._find(text, query)
        result.query_time_ms = (time.perf_counter() - started) * 1000
        return result

    def _find(self, text: str, query: ModelQuery) -> SearchResult:
        by_hash = self._by_hash(text, query)
        if by_hash is not None:
            return by_hash
        found = self._found_in_memory(text, query)
        if found is None:
            self._load_soon()
            result = self._list(query) if not text else self._search(text, query)
            if result.match in ("list", "like") or (result.total and result.match == "all"):
                return result
            self.load()  # only the words in memory know what is spelled nearly so
            found = self._found_in_memory(text, query)
            if found is None:
                return result
        keys, total, kind = found
        return SearchResult.model_construct(
            models=self._rows(keys), total=total, match=kind, query_time_ms=0.0
        )

    def _found_in_memory(self, text: str, query: ModelQuery) -> tuple[list[int], int, MatchKind] | None:
        """The row ids of one page, how many there are in all, and how; nothing while the words are not there."""
        with self._lock:
            index = self._in_step()
            if index is None:
                return None
            hits, kind = _matching(index, text, query)
            give_way(SHORT_RUN_S)
            total = hits.models.bit_count()
            if query.sort in (None, "relevance") and text:
                keys = index.page(hits, _names(text), query.offset, query.limit)
            else:
                sort, turned = _sorting(query, default="added")
                keys = index.sorted_page(hits.models, sort, turned, query.offset, query.limit)
        return keys, total, kind

    def _rows(self, keys: Sequence[int]) -> list[ModelSummary]:
        rows = self._database.read().execute(
            f"SELECT {SUMMARY_COLUMNS}, id FROM models WHERE id IN ({', '.join('?' * len(keys))})", keys
        )
        found = {row[-1]: row for row in in_turns(rows)}
        return summaries_of(found[key] for key in keys if key in found)

    def facets(self, query: ModelQuery) -> Facets:
        """For each filter its values and counts among the models that the text and other filters leave."""
        begin()
        text = _typed(query)
        with self._lock:
            index = self._in_step()
            if index is None or _HASH.fullmatch(text):
                return self._count_facets(text, query)
            counts = {}
            kind = _matching(index, text, query)[1]
            for name in (*_FACET_COLUMNS, "tag"):
                give_way(SHORT_RUN_S)
                hits, _ = _matching(index, text, query, leave_out=name, kind=kind)
                found = index.counts(name, hits.models, MAX_FACET_VALUES)
                counts[name] = [FacetValue(value=value, count=count) for value, count in found]
        return Facets(**counts)

    def _by_hash(self, text: str, query: ModelQuery) -> SearchResult | None:
        if not _HASH.fullmatch(text):
            return None
        by_hash = _hash_condition(text.lower())
        if not self._any(by_hash):
            return None
        where = _where(_filters(query), by_hash)
        return self._sorted(where, query, self._count(where), "hash")

    # Without the words in memory

    def _read(self) -> sqlite3.Connection:
        connection = self._database.read()
        if not self._database.searchable:
            connection.create_function("folded", 1, fold, deterministic=True)
        return connection

    def _count_facets(self, text: str, query: ModelQuery) -> Facets:
        match = self._match(text, query)[0] if text else None
        counts: dict[str, list[FacetValue]] = {}
        for name in _FACET_COLUMNS:
            column = _FILTER_COLUMNS[name]
            where = _where(_filters(query, leave_out=name), match)
            rows = self._read().execute(
                f"SELECT m.{column}, count(*) FROM models m WHERE {where.sql} AND m.{column} != '' "
                "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 200",
                where.parameters,
            )
            counts[name] = [FacetValue(value=row[0], count=row[1]) for row in rows]
        where = _where(_filters(query, leave_out="tag"), match)
        rows = self._read().execute(
            f"SELECT t.tag, count(*) FROM model_tags t JOIN models m ON m.id = t.model WHERE {where.sql} "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 200",
            where.parameters,
        )
        counts["tag"] = [FacetValue(value=row[0], count=row[1]) for row in rows]
        return Facets(**counts)

    def _list(self, query: ModelQuery) -> SearchResult:
        where = _where(_filters(query))
        return self._sorted(where, query, self._count(where), "list", default="added")

    def _sorted(
        self, where: _Condition, query: ModelQuery, total: int, kind: MatchKind, *, default: str = "name"
    ) -> SearchResult:
        rows = self._read().execute(
            f"SELECT {SUMMARY_COLUMNS} FROM models m WHERE {where.sql} "
            f"ORDER BY {_order(query, default=default)} LIMIT ? OFFSET ?",
            (*where.parameters, query.limit, query.offset),
        )
        return self._page(rows, total, kind)

    def _search(self, text: str, query: ModelQuery) -> SearchResult:
        match, kind = self._match(text, query)
        where = _where(_filters(query), match)
        total = self._count(where)
        if query.sort in (None, "relevance"):
            return self._page(self._ranked(text, query, where), total, kind)
        return self._sorted(where, query, total, kind)

    def _match(self, text: str, query: ModelQuery) -> tuple[_Condition, MatchKind]:
        """How this text finds something: by hash, by all of its words, or else by any of them."""
        if _HASH.fullmatch(text):
            by_hash = _hash_condition(text.lower())
            if self._any(by_hash):
                return by_hash, "hash"
        terms = words(text)[:MAX_TERMS]
        if not terms:
            return _Condition("0"), "all"
        of_words = _fts_condition if self._database.searchable else _like_condition
        every = of_words(terms, "AND")
        if len(terms) == 1 or self._any(_where(_filters(query), every)):
            return every, "all" if self._database.searchable else "like"
        return of_words(terms, "OR"), "any"

    def _ranked(self, text: str, query: ModelQuery, where: _Condition) -> sqlite3.Cursor:
        key = name_key(text)
        score = ["CASE WHEN h.name_key = ? THEN 0 WHEN h.name_key >= ? AND h.name_key < ? THEN 1 ELSE 2 END"]
        parameters: list[Any] = [key, key, key + "\U0010ffff"]
        for word in words(text)[:MAX_TERMS]:
            score.append(
                "CASE WHEN instr(' ' || h.name_key || ' ', ?) THEN 0 WHEN instr(' ' || h.name_key, ?) THEN 1 "
                "WHEN instr(h.name_key, ?) THEN 2 WHEN instr(lower(h.file_names), ?) THEN 3 "
                "WHEN instr(lower(h.family), ?) THEN 4 WHEN instr(lower(h.tags), ?) THEN 5 ELSE 6 END"
            )
            parameters += [f" {word} ", f" {word}", word, word, word, word]
        detail = " + ".join(score[1:]) or "''"
        return self._read().execute(
            f"SELECT {SUMMARY_COLUMNS} FROM ("
            f"SELECT m.* FROM models m WHERE m.id IN (SELECT m.id FROM models m WHERE {where.sql} LIMIT {RANKED_HITS}) "
            f"OR m.id IN (SELECT m.id FROM models m WHERE m.name_key >= ? AND m.name_key < ? AND {where.sql} LIMIT 500)"
            f") h ORDER BY {score[0]}, {detail}, h.last_used IS NULL, h.last_used DESC, h.name_key, h.id "
            "LIMIT ? OFFSET ?",
            (
                *where.parameters, key, key + "\U0010ffff", *where.parameters,
                *parameters, query.limit, query.offset,
            ),
        )  # fmt: skip

    def _any(self, condition: _Condition) -> bool:
        row = self._read().execute(
            f"SELECT 1 FROM models m WHERE {condition.sql} LIMIT 1", condition.parameters
        )
        return row.fetchone() is not None

    def _count(self, where: _Condition) -> int:
        row = self._read().execute(f"SELECT count(*) FROM models m WHERE {where.sql}", where.parameters)
        return int(row.fetchone()[0])

    def _page(self, rows: sqlite3.Cursor, total: int, kind: MatchKind) -> SearchResult:
        models = summaries_of(rows)
        return SearchResult.model_construct(models=models, total=total, match=kind, query_time_ms=0.0)


def _take_over(index: WordIndex, db: sqlite3.Connection, last: int) -> int:
    """Take some of the changes after number ``last`` over into the words; answers the number of the last of them.

    Nothing is taken over where the next one is forgotten already.
    """
    changes = db.execute(
        "SELECT number, model FROM model_changes WHERE number > ? ORDER BY number LIMIT ?", (last, _BATCH)
    ).fetchall()
    if not changes or changes[0][0] != last + 1:
        return last
    gone = {row[1] for row in changes}
    for row in db.execute(
        f"SELECT {_DOCUMENT_COLUMNS} FROM models WHERE id IN ({', '.join('?' * len(gone))})", [*gone]
    ):
        document = _document(row)
        gone.remove(document.key)
        index.put(document)
        give_way(SHORT_RUN_S)
    for key in gone:
        index.remove(key)
    return int(changes[-1][0])


def _document(row: sqlite3.Row) -> Document:
    (
        key, name, file_names, official_name, family, base_model, model_type, subtype, tags, trained_words,
        description, repo_id, parts, size, added, updated, tier, model_format, storage, last_used,
    ) = row  # fmt: skip
    stem, _, extension = file_names.partition("\n")[0].rpartition(".")
    same = stem == official_name and "\n" not in file_names
    return Document(
        key=key,
        name=name,
        stem=name if same else name_key(stem),
        texts=(
            official_name,
            extension if same else file_names,
            f"{family} {base_model} {model_type} {subtype}",
            f"{tags} {trained_words}",
            f"{description} {repo_id}",
        ),
        parts=parts,
        sorts=(name, -size, -added, -updated, subtype),
        filters={
            "type": (model_type,),
            "subtype": (subtype,),
            "family": (family,),
            "base_model": (base_model,),
            "tier": (tier,),
            "format": (model_format,),
            "storage": (storage,),
            "tag": dict.fromkeys(tags.split("\n")) if tags else (),
        },
        last_used=last_used,
    )


def _matching(
    index: WordIndex,
    text: str,
    query: ModelFilter,
    *,
    leave_out: str | None = None,
    kind: MatchKind | None = None,
) -> tuple[Hits, MatchKind]:
    """The models that the filters leave and how the text finds some of them, or as ``kind`` says."""
    wanted = {
        name: [_storable(value) for value in getattr(query, name)]
        for name in (*_FILTER_COLUMNS, "tag")
        if name != leave_out and getattr(query, name)
    }
    among = index.filtered(wanted)
    if not text:
        return Hits(among, []), "list"
    terms = list(dict.fromkeys(words(text)))[:MAX_TERMS]
    hits = index.every(terms, among)
    if kind == "all" or hits.models:
        return hits, "all"
    if len(terms) > 1 or kind == "any":
        some = index.some(terms, among)
        if some.models or kind == "any":
            return some, "any"
    near = index.nearest(terms, among)
    return near, "fuzzy" if near.models else "all"


def _names(text: str) -> list[str]:
    """What the text is as a name: itself, and what is left without a model file's extension."""
    stem, dot, extension = text.rpartition(".")
    is_file = dot and f".{extension.lower()}" in MODEL_EXTENSIONS
    return [name_key(text), name_key(stem)] if is_file else [name_key(text)]


def _typed(query: ModelQuery) -> str:
    """The text without what no database takes: NUL and lone surrogates."""
    return _storable(query.q[:MAX_QUERY_CHARS]).replace("\0", " ").strip()


def _storable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _fts_condition(terms: Sequence[str], operator: str) -> _Condition:
    return _Condition(
        "m.id IN (SELECT rowid FROM model_search WHERE model_search MATCH ?)",
        (f" {operator} ".join(map(_term, terms)),),
    )


def _term(word: str) -> str:
    """A word as an FTS5 expression that finds it as the beginning of a word, or within one."""
    choices = [f'"{word}"*']
    inner = pieces(word)
    if len(inner) > 1:
        choices.append(f'official_name : "{" ".join(inner)}"*')
    if len(word) > 1 and CJK.fullmatch(word):
        choices.append(f'parts : "{" ".join(cjk_pairs(word))}"')
    return f"({' OR '.join(choices)})" if len(choices) > 1 else choices[0]


def _hash_condition(digest: str) -> _Condition:
    end = digest + "g"
    return _Condition(
        "m.id IN (SELECT model FROM model_files WHERE sha256 >= ? AND sha256 < ? "
        "UNION SELECT model FROM model_files WHERE blake3 >= ? AND blake3 < ?)",
        (digest, end, digest, end),
    )


def _like_condition(terms: Sequence[str], operator: str) -> _Condition:
    """What holds the words anywhere; or their pieces one after another in its name: ``llama3``, ``Llama-3``."""
    texts = " || ' ' || ".join(f"m.{column}" for column in SEARCH_COLUMNS)
    each = f"(folded({texts}) LIKE ? OR ' ' || m.name_key LIKE ?)"
    return _Condition(
        f"({f' {operator} '.join([each] * len(terms))})",
        tuple(like for term in terms for like in (f"%{term}%", f"% {' '.join(pieces(term))}%")),
    )


def _filters(query: ModelFilter, *, leave_out: str | None = None) -> list[_Condition]:
    conditions = []
    for name, column in _FILTER_COLUMNS.items():
        values = [_storable(value) for value in getattr(query, name)]
        if values and name != leave_out:
            conditions.append(_Condition(f"m.{column} IN ({', '.join('?' * len(values))})", tuple(values)))
    if query.tag and leave_out != "tag":
        tags = tuple(_storable(tag) for tag in query.tag)
        marks = ", ".join("?" * len(tags))
        conditions.append(_Condition(f"m.id IN (SELECT model FROM model_tags WHERE tag IN ({marks}))", tags))
    return conditions


def _where(conditions: list[_Condition], match: _Condition | None = None) -> _Condition:
    every = [*conditions, match] if match is not None else conditions
    if not every:
        return _Condition("1")
    return _Condition(
        " AND ".join(condition.sql for condition in every),
        tuple(parameter for condition in every for parameter in condition.parameters),
    )


def _sorting(query: ModelQuery, *, default: str) -> tuple[str, bool]:
    """What to sort by, and whether the other way round than usual, which is the largest and newest first."""
    sort = query.sort if query.sort is not None and query.sort != "relevance" else default
    usual = "desc" if sort in _DESCENDING else "asc"
    return sort, query.order not in (None, usual)


def _order(query: ModelQuery, *, default: str) -> str:
    """Equal ones by name; and all of it turned round, so that one way is the other read backwards."""
    sort, turned = _sorting(query, default=default)
    column, name = ("DESC", "ASC") if sort in _DESCENDING else ("ASC", "ASC")
    if turned:
        column, name = ("ASC", "DESC") if sort in _DESCENDING else ("DESC", "DESC")
    return f"{_SORT_COLUMNS[sort]} {column}, m.name_key {name}, m.id {name}"
