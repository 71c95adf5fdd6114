"""The tables of ``registry.db`` and the steps that lead to them.

Every step stays here for ever: an existing registry is the person's data and is brought forward, never dropped.
"""

from __future__ import annotations

import sqlite3


def _create_tables(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE links (
            link_id INTEGER PRIMARY KEY,
            model_id TEXT NOT NULL,
            app TEXT NOT NULL,
            target_app_path TEXT NOT NULL,
            source_model_path TEXT NOT NULL,
            is_external INTEGER NOT NULL,
            link_type TEXT NOT NULL,
            file_hash TEXT,
            created_at TEXT NOT NULL,
            UNIQUE (app, target_app_path)
        )
        """
    )
    db.execute("CREATE INDEX links_by_model ON links (model_id)")
    db.execute("CREATE INDEX links_by_target ON links (target_app_path)")
    db.execute("CREATE INDEX links_external ON links (link_id) WHERE is_external")
    db.execute(
        """
        CREATE TABLE intents (
            intent_id INTEGER PRIMARY KEY,
            model_id TEXT NOT NULL,
            app TEXT NOT NULL,
            target_app_path TEXT NOT NULL,
            source_model_path TEXT NOT NULL,
            file_hash TEXT
        )
        """
    )
    db.execute("CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")


def _remember_what_else_was_touched(db: sqlite3.Connection) -> None:
    """Where the file that stood in a link's place went, and which folders were made for links."""
    db.execute("ALTER TABLE intents ADD COLUMN aside TEXT")
    db.execute("CREATE TABLE folders (path TEXT PRIMARY KEY) WITHOUT ROWID")


def _replace_files_by_links(db: sqlite3.Connection) -> None:
    """Under which name a link waits that takes a place, which links no mapping moves, which are about to go."""
    db.execute("ALTER TABLE intents ADD COLUMN temporary TEXT")
    db.execute("ALTER TABLE intents ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE links ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE links ADD COLUMN removing INTEGER NOT NULL DEFAULT 0")
    db.execute("CREATE INDEX links_removing ON links (link_id) WHERE removing")


MIGRATIONS = (_create_tables, _remember_what_else_was_touched, _replace_files_by_links)


def migrate(db: sqlite3.Connection) -> bool:
    """Bring a registry forward in one transaction; see ``library.schema.migrate``.

    Raises `sqlite3.DatabaseError` for a registry that is damaged or comes from a newer Librarian.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(
            f"registry.db has version {version}; this Librarian knows {len(MIGRATIONS)}"
        )
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    if version == len(MIGRATIONS):
        return True
    db.execute("BEGIN IMMEDIATE")
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        for step in MIGRATIONS[version:]:
            step(db)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return True
