from __future__ import annotations

import re
import sqlite3
import time
from typing import Any, NamedTuple

from ..storage.database import Database
from .index import summary_of
from .records import Facets, FacetValue, MatchKind, ModelFilter, ModelQuery, SearchResult
from .text import CJK, cjk_pairs, fold, name_key, pieces, words

MAX_TERMS = 16
MAX_QUERY_CHARS = 1000

RANKED_HITS = 2000
"""How many hits are ranked. Beyond that the words are so common that rank tells little, and ranking all
of them is what makes bare FTS5 slow; names that begin with the query are always among the ranked."""

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


class _Condition(NamedTuple):
    """A part of a WHERE clause and its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


class Search:
    """Finds models by what a person types. No text raises: anything is just words to look for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, query: ModelQuery) -> SearchResult:
        """One page of models, best first; see `SearchResult` for how they were found."""
        started = time.perf_counter()
        text = _typed(query)
        result = self._list(query) if not text else self._search(text, query)
        result.query_time_ms = (time.perf_counter() - started) * 1000
        return result

    def facets(self, query: ModelQuery) -> Facets:
        """For each filter its values and counts among the models that the text and other filters leave."""
        text = _typed(query)
        match = self._match(text, query)[0] if text else None
        counts: dict[str, list[FacetValue]] = {}
        for name in _FACET_COLUMNS:
            column = _FILTER_COLUMNS[name]
            where = _where(_filters(query, leave_out=name), match)
            rows = self._database.read().execute(
                f"SELECT m.{column}, count(*) FROM models m WHERE {where.sql} AND m.{column} != '' "
                "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 200",
                where.parameters,
            )
            counts[name] = [FacetValue(value=row[0], count=row[1]) for row in rows]
        where = _where(_filters(query, leave_out="tag"), match)
        rows = self._database.read().execute(
            f"SELECT t.tag, count(*) FROM model_tags t JOIN models m ON m.id = t.model WHERE {where.sql} "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 200",
            where.parameters,
        )
        counts["tag"] = [FacetValue(value=row[0], count=row[1]) for row in rows]
        return Facets(**counts)

    def _list(self, query: ModelQuery) -> SearchResult:
        where = _where(_filters(query))
        rows = self._database.read().execute(
            f"SELECT m.* FROM models m WHERE {where.sql} ORDER BY {_order(query, default='added')} LIMIT ? OFFSET ?",
            (*where.parameters, query.limit, query.offset),
        )
        return self._page(rows, self._count(where), "list")

    def _search(self, text: str, query: ModelQuery) -> SearchResult:
        match, kind = self._match(text, query)
        where = _where(_filters(query), match)
        total = self._count(where)
        if query.sort in (None, "relevance"):
            rows = self._ranked(text, query, where)
        else:
            rows = self._database.read().execute(
                f"SELECT m.* FROM models m WHERE {where.sql} ORDER BY {_order(query)} LIMIT ? OFFSET ?",
                (*where.parameters, query.limit, query.offset),
            )
        return self._page(rows, total, kind)

    def _match(self, text: str, query: ModelQuery) -> tuple[_Condition, MatchKind]:
        """How this text finds something: by hash, by all of its words, or else by any of them."""
        if _HASH.fullmatch(text):
            by_hash = _hash_condition(text.lower())
            if self._any(by_hash):
                return by_hash, "hash"
        terms = _terms(text)
        if not self._database.searchable:
            return _like_condition(words(text) or [fold(text)]), "like"
        if not terms:
            return _Condition("0"), "all"
        every = _fts_condition(" AND ".join(terms))
        if len(terms) == 1 or self._any(_where(_filters(query), every)):
            return every, "all"
        return _fts_condition(" OR ".join(terms)), "any"

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
        return self._database.read().execute(
            f"SELECT h.* FROM ("
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
        row = self._database.read().execute(
            f"SELECT 1 FROM models m WHERE {condition.sql} LIMIT 1", condition.parameters
        )
        return row.fetchone() is not None

    def _count(self, where: _Condition) -> int:
        row = self._database.read().execute(
            f"SELECT count(*) FROM models m WHERE {where.sql}", where.parameters
        )
        return int(row.fetchone()[0])

    def _page(self, rows: sqlite3.Cursor, total: int, kind: MatchKind) -> SearchResult:
        models = [summary_of(row) for row in rows]
        return SearchResult.model_construct(models=models, total=total, match=kind, query_time_ms=0.0)


def _typed(query: ModelQuery) -> str:
    """The text without what no database takes: NUL and lone surrogates."""
    return _storable(query.q[:MAX_QUERY_CHARS]).replace("\0", " ").strip()


def _storable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _terms(text: str) -> list[str]:
    """Each word as an FTS5 expression that finds it as the beginning of a word, or within one."""
    return [_term(word) for word in words(text)[:MAX_TERMS]]


def _term(word: str) -> str:
    choices = [f'"{word}"*']
    inner = pieces(word)
    if len(inner) > 1:
        choices.append(f'"{" ".join(inner)}"*')
    if len(word) > 1 and CJK.fullmatch(word):
        choices.append(f'parts : "{" ".join(cjk_pairs(word))}"')
    return f"({' OR '.join(choices)})" if len(choices) > 1 else choices[0]


def _fts_condition(expression: str) -> _Condition:
    return _Condition("m.id IN (SELECT rowid FROM model_search WHERE model_search MATCH ?)", (expression,))


def _hash_condition(digest: str) -> _Condition:
    end = digest + "g"
    return _Condition(
        "m.id IN (SELECT model FROM model_files WHERE sha256 >= ? AND sha256 < ? "
        "UNION SELECT model FROM model_files WHERE blake3 >= ? AND blake3 < ?)",
        (digest, end, digest, end),
    )


def _like_condition(terms: list[str]) -> _Condition:
    columns = ("name_key", "file_names", "family", "tags", "subtype", "base_model", "description", "repo_id")
    haystack = " || ' ' || ".join(f"m.{column}" for column in columns)
    escaped = [re.sub(r"([\\%_])", r"\\\1", term) for term in terms[:MAX_TERMS]]
    sql = " AND ".join(f"({haystack}) LIKE ? ESCAPE '\\'" for _ in escaped)
    return _Condition(f"({sql})", tuple(f"%{term}%" for term in escaped))


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


def _order(query: ModelQuery, *, default: str = "name") -> str:
    sort = query.sort if query.sort not in (None, "relevance") else default
    descending = query.order == "desc" if query.order else sort in _DESCENDING
    return f"{_SORT_COLUMNS[sort]} {'DESC' if descending else 'ASC'}, m.id"
