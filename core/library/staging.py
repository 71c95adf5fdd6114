"""Many models written into the index by few statements: laid out beside it first, then taken over at once.

A statement for each row would be slow: FTS5 writes out what it has in memory at the end of every statement that
touched it, and these writes are most of the time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from ..turns import in_turns
from .schema import changing_everything, create_search_table, drop_search_triggers

MODEL_COLUMNS = (
    "model_id", "official_name", "name_key", "file_names", "model_type", "subtype", "family", "base_model",
    "variant", "precision", "model_format", "size_bytes", "security_tier", "storage", "tags", "trained_words",
    "description", "repo_id", "parts", "match_source", "match_method", "match_confidence", "hash_mismatch",
    "pending_online_lookup", "has_preview", "added_date", "updated_date", "problem", "header_read",
    "metadata_mtime_ns", "metadata", "pickle_state",
)  # fmt: skip
"""What is written of a model; when it was last used is nobody's to overwrite."""

FILE_COLUMNS = ("position", "path", "folder", "size", "mtime_ns", "inode", "sha256", "blake3", "link")

REBUILT_FROM = 500
"""From how many models on the search table is filled anew after them, if they are a fifth of all or more."""

_MODEL = ", ".join(MODEL_COLUMNS)
_FILE = ", ".join(FILE_COLUMNS)

_TABLES = (
    f"CREATE TEMP TABLE IF NOT EXISTS staged (key INTEGER PRIMARY KEY, id INTEGER, {_MODEL})",
    f"CREATE TEMP TABLE IF NOT EXISTS staged_files (key INTEGER, {_FILE})",
    "CREATE TEMP TABLE IF NOT EXISTS staged_tags (key INTEGER, tag)",
    "CREATE TEMP TABLE IF NOT EXISTS pending (key INTEGER PRIMARY KEY, id INTEGER)",
    "CREATE INDEX IF NOT EXISTS temp.pending_by_id ON pending (id)",
    "CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY)",
)
_STAGE = (
    f"INSERT INTO staged (key, id, {_MODEL}) VALUES (?1, (SELECT id FROM models WHERE model_id = ?2), "
    + ", ".join(f"?{number}" for number in range(2, len(MODEL_COLUMNS) + 2))
    + ")"
)
_STAGE_FILE = f"INSERT INTO staged_files (key, {_FILE}) VALUES (?, {', '.join('?' * len(FILE_COLUMNS))})"


ModelRow = tuple[tuple[Any, ...], tuple[tuple[Any, ...], ...], tuple[str, ...]]
"""What is written of a model: the values of `MODEL_COLUMNS`, those of its files without position, its tags."""


def id_of(row: ModelRow) -> str:
    """The id of the model that is written."""
    return str(row[0][0])


class Rows:
    """Models as plain values: a key each, counted from ``next_key``, and the values of `MODEL_COLUMNS`.

    Files and tags begin with their model's key. Every row is one flat tuple: those the garbage collector lets go
    when it first meets them. A record for each of thousands of models would live until its next full collection,
    bring that on, and it halts all threads.
    """

    def __init__(self, rows: Iterable[ModelRow], next_key: int = 1) -> None:
        self.next_key = next_key
        self.models: list[tuple[Any, ...]] = []
        self.files: list[tuple[Any, ...]] = []
        self.tags: list[tuple[int, str]] = []
        for model, files, tags in rows:
            key = self.next_key
            self.next_key += 1
            self.models.append((key, *model))
            self.files += [(key, position, *file) for position, file in enumerate(files)]
            self.tags += [(key, tag) for tag in tags]

    def keep_last(self) -> None:
        """Drop all but the last of those that have the same id."""
        last = {row[1]: row[0] for row in self.models}
        if len(last) < len(self.models):
            kept = set(last.values())
            self.models = [row for row in self.models if row[0] in kept]
            self.files = [row for row in self.files if row[0] in kept]
            self.tags = [row for row in self.tags if row[0] in kept]


class Staging:
    """Models beside the index, in temporary tables of one connection.

    SQLite keeps those in memory or in a file that goes with the connection, also when the process is killed.
    ``pending`` says which of the staged models are to be written, and ``gone`` which known ones to be removed.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        for table in _TABLES:
            db.execute(table)

    def add(self, rows: Rows) -> None:
        """Lay out models; of two with one id the later one counts only if both come in one batch."""
        rows.keep_last()
        self.db.executemany(_STAGE, in_turns(rows.models))
        self.db.executemany(_STAGE_FILE, in_turns(rows.files))
        self.db.executemany("INSERT INTO staged_tags VALUES (?, ?)", in_turns(rows.tags))

    def choose_all(self) -> None:
        """Let everything that is staged be written."""
        self.db.execute("INSERT INTO pending SELECT key, id FROM staged")

    def choose_unchanged(self, since: int) -> None:
        """Let what is staged be written over models that are known, and of which nothing has changed since a number.

        Nothing, if too many changes have come for that to be told.
        """
        oldest = self.db.execute("SELECT min(number) FROM model_changes").fetchone()[0]
        if oldest is None or oldest <= since + 1:
            self.db.execute(
                "INSERT INTO pending SELECT key, id FROM staged WHERE id IS NOT NULL "
                "AND id NOT IN (SELECT model FROM model_changes WHERE number > ?)",
                (since,),
            )

    def apply(self, *, searchable: bool, numbered: bool = True) -> None:
        """Remove what is gone and write what is pending, within the transaction that the caller holds.

        Without ``numbered``, a change of most of the index is not written down model by model.
        """
        db = self.db
        pending = db.execute("SELECT count(*) FROM pending").fetchone()[0]
        most = pending >= REBUILT_FROM and (
            pending * 5 >= db.execute("SELECT count(*) FROM models").fetchone()[0]
        )
        with nullcontext() if numbered or not most else changing_everything(db):
            if most and searchable:
                drop_search_triggers(db)
            self._write()
            if most and searchable:
                create_search_table(db)

    def _write(self) -> None:
        db = self.db
        db.execute("DELETE FROM models WHERE id IN (SELECT id FROM gone)")
        for table in ("model_files", "model_tags"):
            db.execute(f"DELETE FROM {table} WHERE model IN (SELECT id FROM pending)")
        db.execute(
            f"UPDATE models SET ({_MODEL}) = (SELECT {', '.join(f's.{name}' for name in MODEL_COLUMNS)} "
            "FROM pending p JOIN staged s ON s.key = p.key WHERE p.id = models.id) "
            "WHERE id IN (SELECT id FROM pending)"
        )
        last = db.execute("SELECT coalesce(max(id), 0) FROM models").fetchone()[0]
        db.execute(
            f"INSERT INTO models (id, {_MODEL}) SELECT ? + s.key, {', '.join(f's.{name}' for name in MODEL_COLUMNS)} "
            "FROM pending p JOIN staged s ON s.key = p.key WHERE p.id IS NULL ORDER BY p.key",
            (last,),
        )
        db.execute(
            f"INSERT OR REPLACE INTO model_files (model, {_FILE}) "
            f"SELECT coalesce(p.id, ? + p.key), {', '.join(f'f.{name}' for name in FILE_COLUMNS)} "
            "FROM staged_files f JOIN pending p ON p.key = f.key ORDER BY f.rowid",
            (last,),
        )
        db.execute(
            "INSERT OR IGNORE INTO model_tags (model, tag) SELECT coalesce(p.id, ? + p.key), t.tag "
            "FROM staged_tags t JOIN pending p ON p.key = t.key",
            (last,),
        )

    def clear(self) -> None:
        """Empty what is laid out."""
        for table in ("staged", "staged_files", "staged_tags", "pending", "gone"):
            self.db.execute(f"DELETE FROM temp.{table}")
