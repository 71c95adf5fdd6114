"""A whole new state of the index, laid out beside it and taken over in one short step."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from ..errors import ConflictError
from ..jobs import JobContext
from ..storage.database import Database
from .index import ScannedFolder, write_folders
from .schema import last_change
from .staging import FILE_COLUMNS, MODEL_COLUMNS, ModelRow, Rows, Staging
from .walk import Unchanged

BATCH = 500


class Swapped(NamedTuple):
    """How many models are new or different and how many were removed, and the ids of the first of each."""

    changed: int
    removed: int
    changed_ids: list[str]
    removed_ids: list[str]


class NewState:
    """What the index shall be, on a connection of its own, while everybody goes on with what it is.

    Until `swap` nothing of it is seen, and a process that ends before leaves nothing behind. What is written
    into the index meanwhile, by whichever process, is newer and stays: every change of a model is numbered.
    """

    def __init__(self, database: Database, db: sqlite3.Connection) -> None:
        self._database = database
        self._db = db
        self._generation = database.generation
        self._first_change = last_change(db)
        self._staging = Staging(db)
        self._next_key = 1
        self._folders: list[ScannedFolder] = []
        self._forgotten_folders: list[str] = []
        self._is_first = db.execute("SELECT 1 FROM models LIMIT 1").fetchone() is None
        db.execute("CREATE TEMP TABLE kept (id INTEGER PRIMARY KEY)")

    @classmethod
    @contextmanager
    def beside(cls, database: Database) -> Iterator[NewState]:
        """An empty one, given up at the end."""
        with database.connection() as db:
            yield cls(database, db)

    def put(self, models: Iterable[ModelRow]) -> None:
        """Lay out models, some at a time, so that no reading transaction stays open for long."""
        models = iter(models)
        while (rows := Rows(islice(models, BATCH), self._next_key)).models:
            self._next_key = rows.next_key
            self._db.execute("BEGIN")
            self._staging.add(rows)
            self._db.execute("COMMIT")

    def remove(self, model_ids: Iterable[str]) -> None:
        """Note models that are not there any more."""
        self._db.executemany(
            "INSERT OR IGNORE INTO gone SELECT id FROM models WHERE model_id = ?",
            ((model_id,) for model_id in model_ids),
        )

    def keep(self, model_ids: Iterable[str]) -> None:
        """Leave owned models as they are, since nothing is known of them now."""
        self._db.executemany(
            "INSERT OR IGNORE INTO kept SELECT id FROM models WHERE model_id = ?",
            ((model_id,) for model_id in model_ids),
        )

    def keep_below(self, beginning: str) -> None:
        """Leave the owned models as they are whose ids begin like this."""
        self._db.execute(
            "INSERT OR IGNORE INTO kept SELECT id FROM models WHERE model_id >= ? AND model_id < ?",
            (beginning, beginning + "\U0010ffff"),
        )

    def remember_folders(self, folders: Iterable[ScannedFolder], forgotten: Iterable[str]) -> None:
        """Note what directories hold, and which are not there any more."""
        self._folders += folders
        self._forgotten_folders += forgotten

    def swap(self, job: JobContext, ids: int) -> Swapped:
        """Compare with the index, then let it be so, in one transaction; the rest of the owned models goes.

        Answers at most so many ``ids`` of each kind: to read those of all would be to read all that is laid out.
        Raises `ConflictError` if the index was made anew meanwhile, or changed more than can be followed.
        """
        db = self._db
        if self._is_first:
            self._staging.choose_all()
        else:
            self._compare(job)
        db.execute(
            "INSERT OR IGNORE INTO gone SELECT id FROM models WHERE storage = 'owned' "
            "AND id NOT IN (SELECT id FROM staged WHERE id IS NOT NULL) AND id NOT IN (SELECT id FROM kept)"
        )
        job.check_cancelled()
        with self._database.write(db):
            if self._database.generation != self._generation:
                raise ConflictError("The index was made anew while it was scanned. Scan again.")
            self._leave_what_is_newer()
            changed = db.execute("SELECT count(*) FROM pending").fetchone()[0]
            removed = db.execute("SELECT count(*) FROM gone g JOIN models m ON m.id = g.id").fetchone()[0]
            changed_ids = self._ids("pending p JOIN staged m ON m.key = p.key", ids)
            removed_ids = self._ids("gone g JOIN models m ON m.id = g.id", ids)
            self._staging.apply(searchable=self._database.searchable, numbered=False)
            write_folders(db, self._folders, self._forgotten_folders)
        return Swapped(changed, removed, changed_ids, removed_ids)

    def _ids(self, models: str, most: int) -> list[str]:
        return [row[0] for row in self._db.execute(f"SELECT m.model_id FROM {models} LIMIT ?", (most,))]

    def _compare(self, job: JobContext) -> None:
        """Choose what differs from the index, and complete it with what the index alone knows."""
        self._db.execute("CREATE INDEX temp.staged_by_id ON staged (id)")
        self._db.execute("CREATE INDEX temp.staged_files_by_key ON staged_files (key)")
        job.check_cancelled()
        self._keep_hashes()
        job.check_cancelled()
        self._choose_what_differs()
        job.check_cancelled()

    def _keep_hashes(self) -> None:
        """Take over what the index alone knows of owned files: hashes read later, or not true any more."""
        self._db.create_function("is_replaced", 3, Unchanged().is_replaced)
        same = (
            "o.size = f.size AND o.mtime_ns = f.mtime_ns "
            "AND (o.inode = f.inode OR NOT is_replaced(f.path, o.inode, f.inode))"
        )
        self._db.execute(
            "CREATE TEMP TABLE known_hashes AS "
            f"SELECT f.rowid AS file, CASE WHEN {same} THEN o.sha256 END AS sha256, "
            f"CASE WHEN {same} THEN o.blake3 END AS blake3 FROM staged s "
            "JOIN models m ON m.id = s.id JOIN staged_files f ON f.key = s.key "
            "JOIN model_files o ON o.path = f.path AND o.model = s.id WHERE f.folder IS NULL "
            "AND (m.metadata_mtime_ns IS s.metadata_mtime_ns "
            f"OR (f.sha256 IS NULL AND o.sha256 IS NOT NULL AND {same}))"
        )
        self._db.execute(
            "UPDATE staged_files SET (sha256, blake3) = "
            "(SELECT k.sha256, k.blake3 FROM known_hashes k WHERE k.file = staged_files.rowid) "
            "WHERE rowid IN (SELECT k.file FROM known_hashes k JOIN staged_files f ON f.rowid = k.file "
            "WHERE f.sha256 IS NOT k.sha256 OR f.blake3 IS NOT k.blake3)"
        )

    def _choose_what_differs(self) -> None:
        db = self._db
        differs = " OR ".join(f"m.{name} IS NOT s.{name}" for name in MODEL_COLUMNS)
        db.execute(
            "INSERT INTO pending SELECT s.key, m.id FROM staged s LEFT JOIN models m ON m.id = s.id "
            f"WHERE m.id IS NULL OR {differs}"
        )
        same = " AND ".join(f"o.{name} IS f.{name}" for name in FILE_COLUMNS if name != "path")
        db.execute(
            "INSERT OR IGNORE INTO pending SELECT s.key, s.id FROM staged_files f "
            "JOIN staged s ON s.key = f.key AND s.id IS NOT NULL "
            f"LEFT JOIN model_files o ON o.path = f.path AND o.model = s.id AND {same} WHERE o.id IS NULL"
        )
        db.execute(
            "INSERT OR IGNORE INTO pending SELECT s.key, s.id FROM staged s WHERE s.id IS NOT NULL AND "
            "(SELECT count(*) FROM model_files o WHERE o.model = s.id) != "
            "(SELECT count(*) FROM staged_files f WHERE f.key = s.key)"
        )

    def _leave_what_is_newer(self) -> None:
        """Drop from what is to be done all that somebody changed since this was begun."""
        db = self._db
        oldest = db.execute("SELECT min(number) FROM model_changes").fetchone()[0]
        if oldest is not None and oldest > self._first_change + 1:
            raise ConflictError("Too much was changed while the library was scanned. Scan again.")
        db.execute("CREATE TEMP TABLE newer (id INTEGER PRIMARY KEY)")
        db.execute(
            "INSERT OR IGNORE INTO newer SELECT model FROM model_changes WHERE number > ?",
            (self._first_change,),
        )
        if not db.execute("SELECT 1 FROM newer LIMIT 1").fetchone():
            return
        db.execute("DELETE FROM pending WHERE id IN (SELECT id FROM newer)")
        db.execute("DELETE FROM gone WHERE id IN (SELECT id FROM newer)")
        db.execute(
            "DELETE FROM pending WHERE id IS NULL AND key IN "
            "(SELECT s.key FROM staged s JOIN models m ON m.model_id = s.model_id)"
        )
        deleted = db.execute("SELECT 1 FROM newer WHERE id NOT IN (SELECT id FROM models) LIMIT 1").fetchone()
        if deleted:  # what came and went meanwhile may have been seen in between
            new = db.execute(
                "SELECT p.key, f.path FROM pending p JOIN staged_files f ON f.key = p.key AND f.position = 0 "
                "WHERE p.id IS NULL"
            ).fetchall()
            missing = [(key,) for key, path in new if not os.path.exists(path)]  # noqa: PTH110
            db.executemany("DELETE FROM pending WHERE key = ?", missing)
