"""A ``models.db`` in any state: whole again, and never an exception."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery, schema
from model_librarian.core.library.schema import MIGRATIONS, migrate
from model_librarian.core.library.search import Search
from model_librarian.core.storage.database import Database

DATA = Path(__file__).with_name("data")


@pytest.fixture
def indexed(librarian, finished, make_model, models_folder, surroundings):
    """Three hundred indexed models; the Librarian is closed, its ``models.db`` lies on disk."""
    first = make_model(models_folder / "loras" / "model 0.safetensors")
    for number in range(1, 300):
        (models_folder / "loras" / f"model {number}.safetensors").write_bytes(
            first.read_bytes()[:-2] + number.to_bytes(2, "little")
        )
    finished(librarian.scans.start("quick"))
    librarian.close()
    return surroundings.data_dir / "models.db"


def opened(surroundings):
    librarian = Librarian(surroundings)
    before = librarian.models.search(ModelQuery(q="model", limit=500))
    assert before.total in (0, 300)
    librarian.jobs.wait(librarian.scans.start("quick").id, timeout=60)
    return librarian


def is_whole(librarian):
    assert librarian.models.search(ModelQuery(q="model", limit=500)).total == 300
    assert librarian.models.search(ModelQuery(limit=500)).total == 300
    assert librarian.models.facets(ModelQuery(q="model")).subtype[0].count == 300
    assert librarian.library.index.totals().models == 300
    assert librarian.models.details(librarian.models.search(ModelQuery(q="model 7")).models[0].model_id).files


@pytest.mark.parametrize("keep", [0, 50, 4096, 0.3, 0.7, 0.99])
def test_truncated(indexed, surroundings, keep):
    data = indexed.read_bytes()
    indexed.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    librarian = opened(surroundings)
    is_whole(librarian)
    librarian.close()


@pytest.mark.parametrize("seed", range(12))
def test_damaged_pages(indexed, surroundings, seed):
    chosen = random.Random(seed)
    data = bytearray(indexed.read_bytes())
    for _ in range(6):
        page = chosen.randrange(1, len(data) // 4096) * 4096
        data[page : page + 512] = chosen.randbytes(512)
    indexed.write_bytes(data)
    librarian = opened(surroundings)
    is_whole(librarian)
    librarian.close()


def test_damage_found_only_while_reading(librarian, finished, make_model, models_folder, surroundings):
    """The file goes bad after start; whoever asks next gets an answer, and the next scan makes all whole."""
    for number in range(40):
        make_model(models_folder / "loras" / f"model {number}.safetensors")
    finished(librarian.scans.start("quick"))
    for job in librarian.jobs.all():  # nobody may use what is closed under him below
        finished(job)
    library = librarian.library
    renewed = []
    library.on_renewed = lambda: renewed.append(True)
    library.checkpoint()
    library._database.close()
    path = surroundings.data_dir / "models.db"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    library._database.__init__(surroundings.data_dir / "fresh.db", migrate)
    path.write_bytes(data)
    bad = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    bad.row_factory = sqlite3.Row
    library._database._local.connection = bad
    library._database._local.generation = library._database.generation
    library._search = Search(library._database)
    assert librarian.models.search(ModelQuery(q="model")).total == 0
    assert renewed
    finished(librarian.scans.start("quick"))
    assert librarian.models.search(ModelQuery(q="model")).total == 40
    assert library.set_aside is not None


@pytest.mark.parametrize("left", ["-wal", "-shm"])
def test_leftovers_without_their_database(indexed, surroundings, left):
    indexed.unlink()
    indexed.with_name(indexed.name + left).write_bytes(os.urandom(50_000))
    librarian = opened(surroundings)
    is_whole(librarian)
    librarian.close()


def test_a_table_is_missing(indexed, surroundings):
    db = sqlite3.connect(indexed)
    db.execute("DROP TABLE model_files")
    db.close()
    librarian = opened(surroundings)
    is_whole(librarian)
    librarian.close()


def test_set_aside_twice_in_a_second_keeps_both(tmp_path):
    for _ in range(3):
        (tmp_path / "models.db").write_bytes(b"no database" * 100)
        Database(tmp_path / "models.db", migrate).close()
    assert len(list(tmp_path.glob("models.db.aside-*"))) == 3


def test_without_fts5_and_with_it_again(indexed, surroundings, monkeypatch, make_model, models_folder):
    monkeypatch.setattr(schema, "has_fts5", lambda _: False)
    librarian = opened(surroundings)
    assert librarian.models.search(ModelQuery(q="odel 29")).match == "like"
    make_model(models_folder / "vae" / "late.safetensors")
    librarian.jobs.wait(librarian.scans.start("quick").id)
    assert librarian.models.search(ModelQuery(q="late")).total == 1
    assert [warning.code for warning in librarian.status().warnings] == ["no_fts5"]
    librarian.close()
    monkeypatch.undo()
    database = Database(indexed, migrate)
    found = database.read().execute("SELECT model_id FROM model_search WHERE model_search MATCH 'late'")
    assert len(found.fetchall()) == 1
    assert Search(database).find(ModelQuery(q="late")).match == "all"
    database.close()


def from_text(path, name):
    db = sqlite3.connect(path)
    db.executescript((DATA / name).read_text(encoding="utf-8"))
    db.close()


def shape_of(database):
    """Every table with its columns, every index and trigger with what it does."""
    db = database.read()
    found = {}
    for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_master"):
        of_table = kind == "table" and not name.startswith("model_search")
        columns = db.execute(f"PRAGMA table_info({name})") if of_table else ()
        found[name] = sorted(tuple(column)[1:] for column in columns) or (sql and " ".join(sql.split()))
    return found


def test_a_database_of_each_version_is_kept():
    """A new migration comes with a database that the code before it wrote."""
    assert {path.name for path in DATA.glob("models-v*.sql")} == {
        f"models-v{version}.sql" for version in range(1, len(MIGRATIONS))
    }


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("models-v*.sql")))
def test_every_version_ever_released_is_brought_forward(tmp_path, name):
    from_text(tmp_path / "models.db", name)
    database = Database(tmp_path / "models.db", migrate)
    assert database.set_aside is None
    assert database.read().execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    for warm in (False, True):
        search = Search(database)
        if warm:
            search.load()
        assert [model.official_name for model in search.find(ModelQuery(q="juggernaut")).models] == [
            "juggernautXL_v9"
        ]
        assert search.find(ModelQuery(q="a" * 64)).match == "hash"
        assert search.find(ModelQuery()).total == 2
    row = database.read().execute("SELECT * FROM models WHERE official_name = 'flux-realism-lora'").fetchone()
    assert (row["match_source"], "kept" in row["metadata"], bool(row["last_used"])) == ("manual", True, True)
    fresh = Database(tmp_path / "fresh.db", migrate)
    assert shape_of(database) == shape_of(fresh)
    assert database.read().execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    fresh.close()
    database.close()
    again = Database(tmp_path / "models.db", migrate)
    assert again.read().execute("SELECT count(*) FROM models").fetchone()[0] == 2
    again.close()


def test_a_models_table_of_another_program_is_taken_over(tmp_path):
    db = sqlite3.connect(tmp_path / "models.db")
    db.execute(
        "CREATE TABLE models (model_id TEXT PRIMARY KEY, repo_id TEXT, official_name TEXT, family TEXT, "
        "tags TEXT, description TEXT, size_bytes INTEGER)"
    )
    db.executemany(
        "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                "llm/llama/Llama-3-7b",
                "meta/llama",
                "Llama-3-7b",
                "llama",
                '["chat", "7b"]',
                "Said: «hello»",
                7,
            ),
            ("vision/esrgan/up", None, "RealESRGAN", None, None, None, None),
        ],
    )
    db.execute("CREATE INDEX models_by_name ON models (official_name)")
    db.commit()
    db.close()
    for _ in range(2):
        database = Database(tmp_path / "models.db", migrate)
        assert database.set_aside is None
        search = Search(database)
        for text in ("llama", "3", "chat", "hello", "meta"):
            [found] = search.find(ModelQuery(q=text)).models
            assert (found.model_id, found.size_bytes, found.tags) == (
                "llm/llama/Llama-3-7b",
                7,
                ["chat", "7b"],
            )
        assert search.find(ModelQuery(q="real")).total == 1
        database.close()


KILLED = """
import sys
from pathlib import Path
from model_librarian.core.library.schema import migrate
from model_librarian.core.storage.database import Database
print("ready", flush=True)
Database(Path(sys.argv[1]), migrate).close()
print("done", flush=True)
"""


@pytest.mark.crash
def test_killed_while_migrating_no_row_is_lost(tmp_path):
    chosen = random.Random(5)
    killed = 0
    for number in range(20):
        path = tmp_path / f"{number}.db"
        from_text(path, "models-v1.sql")
        db = sqlite3.connect(path)
        columns = [row[1] for row in db.execute("PRAGMA table_info(models)")][2:]
        db.execute(
            f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
            f"INSERT INTO models (model_id, {', '.join(columns)}) "
            f"SELECT 'copy/' || i, {', '.join(columns)} FROM n, models WHERE id = 1"
        )
        db.execute(
            "INSERT INTO model_files (model, position, path, folder, size, mtime_ns, inode) "
            "SELECT id, 0, '/models/' || model_id, '/models', 1, 1, '1:' || id FROM models WHERE model_id LIKE 'copy/%'"
        )
        db.commit()
        db.close()
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(chosen.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        killed += "done" not in process.communicate()[0]
        database = Database(path, migrate)
        assert database.set_aside is None
        assert database.read().execute("SELECT count(*) FROM models").fetchone()[0] == 5002
        assert Search(database).find(ModelQuery(q="juggernaut")).total == 5001
        database.close()
    assert killed >= 3
