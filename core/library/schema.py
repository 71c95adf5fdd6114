"""The tables of ``models.db`` and the steps that lead to them.

``PRAGMA user_version`` counts the steps done. Every step stays here for ever, so that any database ever
released can be brought forward; all missing steps run in one transaction.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from .text import name_key, search_parts

SEARCH_COLUMNS = (
    "repo_id", "official_name", "family", "tags", "description",
    "file_names", "model_type", "subtype", "base_model", "trained_words", "parts",
)  # fmt: skip
"""Columns of ``model_search`` after ``model_id``. ``parts`` holds pieces of words that no separator sets
apart: ``juggernautXL`` gives ``juggernaut xl``, and CJK text its pairs of characters."""

TABLES = frozenset({"models", "model_files", "model_tags", "model_changes", "scanned_folders"})

KEPT_CHANGES = 10_000
"""How many changes a process may lag behind before it reads everything anew."""

_CHANGE_TRIGGERS = {
    "models_ci": ("INSERT", "NEW"),
    "models_cu": ("UPDATE", "NEW"),
    "models_cd": ("DELETE", "OLD"),
}


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
    _create_change_triggers(db)
    # Every index makes each write slower, and these served only lists that now come from memory.
    for index in ("models_by_updated", "models_by_size", "models_by_subtype", "model_files_by_folder"):
        db.execute(f"DROP INDEX {index}")
    # `create_search_table` makes it anew: the first one kept a second copy of every text.
    drop_search_triggers(db)


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
    db.execute(
        "CREATE INDEX models_written_in_place ON models (model_id) "
        "WHERE storage = 'in-place' AND metadata_mtime_ns IS NOT NULL"
    )


def _look_anew_for_sets(db: sqlite3.Connection) -> None:
    """Let the next scan look into every folder again: what were loose files may be one model by now."""
    db.execute("UPDATE scanned_folders SET fingerprint = ''")
    db.execute("CREATE INDEX model_files_elsewhere ON model_files (model) WHERE folder = ''")


def _note_pickle_findings(db: sqlite3.Connection) -> None:
    """What was found in each pickle; empty for those that wait to be looked into."""
    db.execute("ALTER TABLE models ADD COLUMN pickle_state TEXT NOT NULL DEFAULT ''")
    db.execute(
        "CREATE INDEX models_with_pickles ON models (id) WHERE security_tier = 'pickle' AND pickle_state = ''"
    )


def _order_columns_of_tags(db: sqlite3.Connection) -> None:
    """Give ``model_tags`` its columns in the order of its key.

    The quick check of SQLite 3.40 takes every other table without row ids for damaged as soon as a row is in it.
    """
    db.execute("DROP INDEX model_tags_by_model")
    db.execute("ALTER TABLE model_tags RENAME TO model_tags_before")
    db.execute(
        """
        CREATE TABLE model_tags (
            tag TEXT NOT NULL,
            model INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
            PRIMARY KEY (tag, model)
        ) WITHOUT ROWID
        """
    )
    db.execute("INSERT INTO model_tags SELECT tag, model FROM model_tags_before")
    db.execute("DROP TABLE model_tags_before")
    db.execute("CREATE INDEX model_tags_by_model ON model_tags (model)")


def _look_for_videos(db: sqlite3.Connection) -> None:
    """What shows a model may be a video (2 in ``has_preview``), which no scan before took for one."""
    if not has_fts5(db):
        drop_search_triggers(db)
    db.execute("UPDATE models SET metadata_mtime_ns = NULL WHERE storage = 'owned' AND has_preview")
    db.execute("UPDATE scanned_folders SET fingerprint = ''")


def _remember_links(db: sqlite3.Connection) -> None:
    """Remember the link by which a file was met, if it lies elsewhere; some were listed twice, once without a file."""
    db.execute("ALTER TABLE model_files ADD COLUMN link TEXT")
    db.execute("CREATE INDEX model_files_by_link ON model_files (link) WHERE link IS NOT NULL")
    if not has_fts5(db):
        drop_search_triggers(db)
    db.execute("DELETE FROM models WHERE storage = 'in-place' AND id NOT IN (SELECT model FROM model_files)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _create_tables,
    _number_changes,
    _remember_folders,
    _look_anew_for_sets,
    _note_pickle_findings,
    _order_columns_of_tags,
    _look_for_videos,
    _remember_links,
)


def has_fts5(db: sqlite3.Connection) -> bool:
    """Whether this SQLite was built with full-text search."""
    return any(row[0] == "ENABLE_FTS5" for row in db.execute("PRAGMA compile_options"))


def drop_search_triggers(db: sqlite3.Connection) -> None:
    """Let ``models`` be written by a SQLite without FTS5; `create_search_table` fills the table again later."""
    for trigger in ("models_ai", "models_ad", "models_au"):
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")


def create_search_table(db: sqlite3.Connection) -> None:
    """Create ``model_search`` and the triggers that keep it in step, and fill it from ``models``.

    Does nothing where both stand already. Words are separated by whatever is neither letter nor
    digit, so ``7b`` is found in ``Llama-3-7b``; accents and case never matter. The texts stay in
    ``models`` alone (FTS5, «External Content Tables»), which halves both the file and the time to write.
    """
    if (
        db.execute(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('model_search', 'models_ai')"
        ).fetchone()[0]
        == 2
    ):
        return
    db.execute("DROP TABLE IF EXISTS model_search")
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


def _create_change_triggers(db: sqlite3.Connection) -> None:
    for name, (event, row) in _CHANGE_TRIGGERS.items():
        db.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON models BEGIN "
            f"INSERT INTO model_changes (model) VALUES ({row}.id); END"
        )


@contextmanager
def changing_everything(db: sqlite3.Connection) -> Iterator[None]:
    """Within a transaction, write so many models that to number each change would only take time.

    Afterwards everybody reads everything anew.
    """
    for name in _CHANGE_TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS {name}")
    yield
    _create_change_triggers(db)
    last = last_change(db)
    db.execute("DELETE FROM model_changes")
    db.execute("INSERT INTO model_changes (number, model) VALUES (?, 0)", (last + KEPT_CHANGES,))


def last_change(db: sqlite3.Connection) -> int:
    """The highest number in ``model_changes``, or 0."""
    return int(db.execute("SELECT coalesce(max(number), 0) FROM model_changes").fetchone()[0])


def change_numbers(db: sqlite3.Connection) -> tuple[int, int] | None:
    """The lowest and the highest number in ``model_changes``, if there are any."""
    oldest, newest = db.execute(
        "SELECT (SELECT min(number) FROM model_changes), (SELECT max(number) FROM model_changes)"
    ).fetchone()
    return None if newest is None else (oldest, newest)


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
        older = _set_foreign_models_aside(db) if version == 0 else None
        for step in MIGRATIONS[version:]:
            step(db)
        if older is not None:
            _take_over(db, older)
        missing = TABLES - {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        if missing:
            raise sqlite3.DatabaseError(f"there is no {', '.join(sorted(missing))}")
        if searchable:
            create_search_table(db)
        else:
            drop_search_triggers(db)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return searchable


def _set_foreign_models_aside(db: sqlite3.Connection) -> str | None:
    """Rename a table ``models`` that no version of ours made, and drop what hangs on it."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'models'").fetchone():
        return None
    for kind, name in db.execute(
        "SELECT type, name FROM sqlite_master "
        "WHERE tbl_name = 'models' AND type IN ('trigger', 'index') AND sql NOT NULL"
    ).fetchall():
        db.execute(f'DROP {kind} "{name}"')
    db.execute("ALTER TABLE models RENAME TO models_before")
    return "models_before"


def _take_over(db: sqlite3.Connection, older: str) -> None:
    """Copy the rows of another program's ``models``, as far as columns have the same names and sense."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({older})")]
    now = datetime.now(timezone.utc).isoformat()
    for row in db.execute(f"SELECT * FROM {older}").fetchall():
        old = {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        if not old.get("model_id"):
            continue
        model_id = str(old["model_id"])
        name = str(old.get("official_name") or old.get("name") or model_id.rpartition("/")[2])
        tags = _texts(old.get("tags"))
        texts = {
            key: str(old.get(key, default))
            for key, default in (
                ("model_type", "unknown"), ("subtype", "unknown"), ("family", "unknown"), ("base_model", ""),
                ("variant", ""), ("precision", ""), ("description", ""), ("repo_id", ""),
            )
        }  # fmt: skip
        size = old.get("size_bytes")
        values = {
            **texts,
            "model_id": model_id,
            "official_name": name,
            "name_key": name_key(name),
            "file_names": str(old.get("filename") or old.get("file_name") or ""),
            "model_format": "single-file",
            "size_bytes": size if isinstance(size, int) else 0,
            "security_tier": "unknown",
            "storage": "owned",
            "tags": "\n".join(tags),
            "trained_words": "",
            "parts": search_parts(name, *tags),
            "match_source": "auto",
            "match_method": "none",
            "match_confidence": 0.0,
            "hash_mismatch": 0,
            "pending_online_lookup": 0,
            "has_preview": 0,
            "added_date": now,
            "updated_date": now,
            "header_read": 1,
        }
        metadata = {
            **texts,
            "model_id": model_id,
            "official_name": name,
            "tags": tags,
            "size_bytes": values["size_bytes"],
        }
        values["metadata"] = json.dumps({**metadata, "cleaned_name": model_id.rpartition("/")[2]})
        db.execute(
            f"INSERT OR IGNORE INTO models ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            [*values.values()],
        )
    db.execute(f"DROP TABLE {older}")


def _texts(value: object) -> list[str]:
    """A list of words however it was kept: as JSON, or with commas."""
    text = str(value or "")
    try:
        found = json.loads(text)
    except ValueError:
        found = text.split(",")
    return [str(item).strip() for item in found if str(item).strip()] if isinstance(found, list) else [text]


class FutureDatabaseError(sqlite3.DatabaseError):
    """The database was written by a newer Librarian."""
