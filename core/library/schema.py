"""The tables of ``models.db`` and the steps that lead to them.

``PRAGMA user_version`` counts the steps done. Every step stays here for ever, so that any database ever
released can be brought forward; all missing steps run in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

SEARCH_COLUMNS = (
    "repo_id", "official_name", "family", "tags", "description",
    "file_names", "model_type", "subtype", "base_model", "trained_words", "parts",
)  # fmt: skip
"""Columns of ``model_search`` after ``model_id``. ``parts`` holds pieces of words that no separator sets
apart: ``juggernautXL`` gives ``juggernaut xl``, and CJK text its pairs of characters."""

KEPT_CHANGES = 10_000
"""How many changes a process may lag behind before it reads everything anew."""


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


def _number_changes(db: sqlite3.Connection) -> None:
    """Number every change of a model, so that each process can take over what others wrote.

    Numbers have no gaps. `forget_changes` drops the oldest; who misses one reads everything anew.
    """
    db.execute("CREATE TABLE model_changes (number INTEGER PRIMARY KEY, model INTEGER NOT NULL)")
    for name, event, row in (("ci", "INSERT", "NEW"), ("cu", "UPDATE", "NEW"), ("cd", "DELETE", "OLD")):
        db.execute(
            f"CREATE TRIGGER models_{name} AFTER {event} ON models BEGIN "
            f"INSERT INTO model_changes (model) VALUES ({row}.id); END"
        )
    # Every index makes each write slower, and these served only lists that now come from memory.
    for index in ("models_by_updated", "models_by_size", "models_by_subtype", "model_files_by_folder"):
        db.execute(f"DROP INDEX {index}")
    # `create_search_table` makes it anew: the first one kept a second copy of every text.
    for trigger in ("models_ai", "models_ad", "models_au"):
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    db.execute("DROP TABLE IF EXISTS model_search")


def _remember_folders(db: sqlite3.Connection) -> None:
    """Remember what each watched folder held, so that a scan looks closer only where that changed."""
    db.execute(
        """
        CREATE TABLE scanned_folders (
            path TEXT PRIMARY KEY,
            folder TEXT NOT NULL,
            subtype TEXT NOT NULL,
            fingerprint TEXT NOT NULL
        ) WITHOUT ROWID
        """
    )
    found = db.execute("SELECT path, folder FROM model_files WHERE folder IS NOT NULL").fetchall()
    db.executemany(
        "INSERT OR IGNORE INTO scanned_folders VALUES (?, ?, '', '')",
        ((os.path.split(path)[0], folder) for path, folder in found),
    )
    db.execute("CREATE INDEX models_by_storage ON models (storage, size_bytes)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _create_tables,
    _number_changes,
    _remember_folders,
)


def has_fts5(db: sqlite3.Connection) -> bool:
    """Whether this SQLite was built with full-text search."""
    return any(row[0] == "ENABLE_FTS5" for row in db.execute("PRAGMA compile_options"))


def create_search_table(db: sqlite3.Connection) -> None:
    """Create ``model_search`` and the triggers that keep it in step, and fill it from ``models``.

    Does nothing where the table stands already. Words are separated by whatever is neither letter nor
    digit, so ``7b`` is found in ``Llama-3-7b``; accents and case never matter. The texts stay in
    ``models`` alone (FTS5, «External Content Tables»), which halves both the file and the time to write.
    """
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_search'").fetchone():
        return
    columns = ", ".join(("model_id", *SEARCH_COLUMNS))
    new, old = (
        ", ".join(f"{row}.{column}" for column in ("id", "model_id", *SEARCH_COLUMNS))
        for row in ("NEW", "OLD")
    )
    db.execute(
        f"CREATE VIRTUAL TABLE model_search USING fts5(model_id UNINDEXED, {', '.join(SEARCH_COLUMNS)}, "
        "content = 'models', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2')"
    )
    insert = f"INSERT INTO model_search (rowid, {columns}) VALUES ({new});"
    delete = f"INSERT INTO model_search (model_search, rowid, {columns}) VALUES ('delete', {old});"
    changed = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in ("id", *SEARCH_COLUMNS))
    db.execute(f"CREATE TRIGGER models_ai AFTER INSERT ON models BEGIN {insert} END")
    db.execute(f"CREATE TRIGGER models_ad AFTER DELETE ON models BEGIN {delete} END")
    db.execute(f"CREATE TRIGGER models_au AFTER UPDATE ON models WHEN {changed} BEGIN {delete} {insert} END")
    db.execute("INSERT INTO model_search (model_search) VALUES ('rebuild')")


def forget_changes(db: sqlite3.Connection, *, keep: int = KEPT_CHANGES) -> None:
    """Drop all but the last numbers of ``model_changes``."""
    db.execute(
        "DELETE FROM model_changes WHERE number <= (SELECT max(number) FROM model_changes) - ?", (keep,)
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
