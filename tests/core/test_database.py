"""One SQLite file that several open at the same moment, as two ComfyUIs that are started together do."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from model_librarian.core.storage.database import Database

AT_ONCE = 8
DAMAGED = b"SQLite format 3\x00" + b"\xff" * 8192


def migrate(connection: sqlite3.Connection) -> bool:
    connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
    return True


def open_at_once(path):
    start = Barrier(AT_ONCE)

    def begin(_):
        start.wait()
        return Database(path, migrate)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(begin, range(AT_ONCE)))


def asides(folder):
    return [path for path in folder.glob("models.db.aside-*") if not path.name.endswith(("-wal", "-shm"))]


@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("content", [None, b"", DAMAGED], ids=["new", "empty", "damaged"])
def test_who_opens_it_at_the_same_moment_has_the_same_file(tmp_path, content, turn):
    path = tmp_path / "models.db"
    if content is not None:
        path.write_bytes(content)

    opened = open_at_once(path)
    for number, database in enumerate(opened):
        with database.write() as db:
            db.execute("INSERT INTO notes VALUES (?)", (str(number),))
    seen = [database.read().execute("SELECT count(*) FROM notes").fetchone()[0] for database in opened]
    for database in opened:
        database.close()

    assert seen == [AT_ONCE] * AT_ONCE
    assert [aside.read_bytes() for aside in asides(tmp_path)] == ([DAMAGED] if content == DAMAGED else [])


def test_damage_that_all_find_while_it_is_open_is_set_aside_once(tmp_path):
    path = tmp_path / "models.db"
    opened = open_at_once(path)
    start = Barrier(AT_ONCE)

    def renew(database):
        start.wait()
        database.renew("damaged")
        with database.write() as db:
            db.execute("INSERT INTO notes VALUES ('since')")

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(renew, opened))
    seen = [database.read().execute("SELECT count(*) FROM notes").fetchone()[0] for database in opened]
    for database in opened:
        database.close()

    assert seen == [AT_ONCE] * AT_ONCE
    assert len(asides(tmp_path)) == 1


def test_its_state_is_another_one_once_anybody_has_written(tmp_path):
    first, second = open_at_once(tmp_path / "models.db")[:2]
    before = first.state()
    assert first.state() == before
    with second.write() as db:
        db.execute("INSERT INTO notes VALUES ('theirs')")
    theirs = first.state()
    with first.write() as db:
        db.execute("INSERT INTO notes VALUES ('ours')")
    ours = first.state()
    first.renew("for a test")
    assert len({before, theirs, ours, first.state()}) == 4
