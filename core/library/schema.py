"""The tables of ``models.db`` and the steps that lead to them.

``PRAGMA user_version`` counts the steps done. Every step stays here for ever, so that any database ever
released can be brought forward; all missing steps run in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

SEARCH_COLUMNS = (
    "repo_id", "official_name", "family", "tags", "description",
    "file_names", "model_type", "subtype", "base_model", "trained_words", "parts",
)  # fmt: skip
"""Columns of ``model_search`` after ``model_id``. ``parts`` holds pieces of words that no separator sets
apart: ``juggernautXL`` gives ``juggernaut xl``, and CJK text its pairs of characters."""


def _create_tables(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE models (
            id INTEGER PRIMARY KEY,
            model_id TEXT NOT NULL UNIQUE,
            official_name TEXT NOT NULL,
            name_key TEXT NOT NULL,
            file_names TEXT NOT NULL,
            model_type TEXT NOT NULL,
            subtype TEXT NOT NULL,
            family TEXT NOT NULL,
            base_model TEXT NOT NULL,
            variant TEXT NOT NULL,
            precision TEXT NOT NULL,
            model_format TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            security_tier TEXT NOT NULL,
            storage TEXT NOT NULL,
            tags TEXT NOT NULL,
            trained_words TEXT NOT NULL,
            description TEXT NOT NULL,
            repo_id TEXT NOT NULL,
            parts TEXT NOT NULL,
            match_source TEXT NOT NULL,
            match_method TEXT NOT NULL,
            match_confidence REAL NOT NULL,
            hash_mismatch INTEGER NOT NULL,
            pending_online_lookup INTEGER NOT NULL,
            has_preview INTEGER NOT NULL,
            added_date TEXT NOT NULL,
            updated_date TEXT NOT NULL,
            last_used TEXT,
            problem TEXT,
            header_read INTEGER NOT NULL,
            metadata_mtime_ns INTEGER,
            metadata TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX models_by_name ON models (name_key, id)")
    db.execute("CREATE INDEX models_by_added ON models (added_date, id)")
    db.execute("CREATE INDEX models_by_updated ON models (updated_date, id)")
    db.execute("CREATE INDEX models_by_size ON models (size_bytes, id)")
    db.execute("CREATE INDEX models_by_subtype ON models (subtype, family)")
    db.execute("CREATE INDEX models_unread ON models (id) WHERE header_read = 0")
    db.execute(
        """
        CREATE TABLE model_files (
            id INTEGER PRIMARY KEY,
            model INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            path TEXT NOT NULL UNIQUE,
            folder TEXT,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            inode TEXT NOT NULL,
            sha256 TEXT,
            blake3 TEXT
        )
        """
    )
    db.execute("CREATE INDEX model_files_by_model ON model_files (model, position)")
    db.execute("CREATE INDEX model_files_by_sha256 ON model_files (sha256) WHERE sha256 IS NOT NULL")
    db.execute("CREATE INDEX model_files_by_blake3 ON model_files (blake3) WHERE blake3 IS NOT NULL")
    db.execute("CREATE INDEX model_files_by_size ON model_files (size)")
    db.execute("CREATE INDEX model_files_by_folder ON model_files (folder) WHERE folder IS NOT NULL")
    db.execute(
        """
        CREATE TABLE model_tags (
            model INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
            tag TEXT NOT NULL,
            PRIMARY KEY (tag, model)
        ) WITHOUT ROWID
        """
    )
    db.execute("CREATE INDEX model_tags_by_model ON model_tags (model)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create_tables,)


def has_fts5(db: sqlite3.Connection) -> bool:
    """Whether this SQLite was built with full-text search."""
    return any(row[0] == "ENABLE_FTS5" for row in db.execute("PRAGMA compile_options"))


def create_search_table(db: sqlite3.Connection) -> None:
    """Create ``model_search`` and the triggers that keep it in step, and fill it from ``models``.

    Does nothing where the table stands already. Words are separated by whatever is neither letter nor
    digit, so ``7b`` is found in ``Llama-3-7b``; accents and case never matter.
    """
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_search'").fetchone():
        return
    columns = ", ".join(SEARCH_COLUMNS)
    new_values = ", ".join(f"NEW.{column}" for column in SEARCH_COLUMNS)
    db.execute(
        f"CREATE VIRTUAL TABLE model_search USING fts5(model_id UNINDEXED, {columns}, "
        "prefix = '1 2 3', tokenize = 'unicode61 remove_diacritics 2')"
    )
    insert = (
        f"INSERT INTO model_search (rowid, model_id, {columns}) VALUES (NEW.id, NEW.model_id, {new_values});"
    )
    delete = "DELETE FROM model_search WHERE rowid = OLD.id;"
    db.execute(f"CREATE TRIGGER models_ai AFTER INSERT ON models BEGIN {insert} END")
    db.execute(f"CREATE TRIGGER models_ad AFTER DELETE ON models BEGIN {delete} END")
    db.execute(
        f"CREATE TRIGGER models_au AFTER UPDATE OF model_id, {columns} ON models BEGIN {delete} {insert} END"
    )
    db.execute(
        f"INSERT INTO model_search (rowid, model_id, {columns}) SELECT id, model_id, {columns} FROM models"
    )


def migrate(db: sqlite3.Connection) -> bool:
    """Bring a database forward in one transaction; answers whether it can search by words.

    Raises `FutureDatabaseError` for a database of a newer Librarian, `sqlite3.DatabaseError` for one that
    is corrupt.
    """
    searchable = has_fts5(db)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise FutureDatabaseError(f"models.db has version {version}; this Librarian knows {len(MIGRATIONS)}.")
    db.execute("BEGIN IMMEDIATE")
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        for step in MIGRATIONS[version:]:
            step(db)
        if searchable:
            create_search_table(db)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return searchable


class FutureDatabaseError(sqlite3.DatabaseError):
    """The database was written by a newer Librarian."""
