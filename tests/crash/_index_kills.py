"""Kill scans, bulk edits and migrations inside SQLite, at the filesystem and at random moments; start again; look.

    _index_kills.py FOLDER SECONDS SEED

SECONDS are for the random moments. Every life is a forked child. Prints one line of JSON; ends with 1 and says
what broke.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from _kills import child, killed

from model_librarian.core.jobs import Job, JobContext
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import BulkEdit
from model_librarian.core.library.metadata import serialise
from model_librarian.core.library.records import Model, ModelFile
from model_librarian.core.library.schema import MIGRATIONS
from model_librarian.core.settings import Surroundings, app_of_models_folder
from model_librarian.core.storage.database import Database

OWNED = 24
LOOSE = 24
SQL_STEPS = 50
"""After how many instructions of SQLite's machine there is a moment to be killed at."""


def tensors(number: int) -> bytes:
    header = {"w": {"dtype": "F16", "shape": [4, number % 7 + 1], "data_offsets": [0, 8 * (number % 7 + 1)]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + random.Random(number).randbytes(8 * (number % 7 + 1))


class World:
    """A library, an app with loose files, a set and a Diffusers folder, and a model that lies elsewhere."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.library = root / "ComfyUI" / "model-library"
        self.models = root / "ComfyUI" / "models"

    def make(self) -> None:
        for number in range(OWNED):
            self.own(number)
        for number in range(LOOSE):
            self.put(self.models / "loras" / str(number % 3) / f"loose{number}.safetensors", 100 + number)
        for number in (1, 2, 3):
            self.put(self.models / "text_encoders" / f"set-0000{number}-of-00003.safetensors", 200 + number)
        folder = self.models / "checkpoints" / "pipeline"
        self.put(folder / "unet" / "model.safetensors", 300)
        (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
        self.put(self.root / "far" / "away.safetensors", 400)
        self.declare("in-place/away-1", [self.root / "far" / "away.safetensors"], "in-place")
        with self.librarian():
            pass  # makes library.json

    def put(self, path: Path, number: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tensors(number))
        return path

    def own(self, number: int, **more: Any) -> None:
        model_id = f"diffusion/family{number % 4}/owned{number}"
        self.put(self.library / model_id / f"owned{number}.safetensors", number)
        self.declare(model_id, [self.library / model_id / f"owned{number}.safetensors"], "owned", **more)

    def declare(self, model_id: str, paths: list[Path], storage: Any, **more: Any) -> None:
        files = [
            ModelFile(name=path.name if storage == "owned" else str(path), size=path.stat().st_size)
            for path in paths
        ]
        name = model_id.rpartition("/")[2]
        model = Model(
            model_id=model_id, official_name=name, cleaned_name=name, storage=storage, files=files, **more
        )
        folder = self.library / model_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metadata.json").write_bytes(serialise(model))

    @contextlib.contextmanager
    def librarian(self) -> Iterator[Librarian]:
        surroundings = Surroundings(
            data_dir=self.root / "data",
            library_root=self.library,
            apps=[app_of_models_folder(self.models)] if self.models.is_dir() else [],
        )
        librarian = Librarian(surroundings)
        try:
            yield librarian
        finally:
            librarian.close()

    def scan(self, librarian: Librarian, kind: str) -> None:
        scan = getattr(librarian.library, f"{kind}_scan")
        scan(librarian.places.indexed_in_place(), JobContext(Job(id="x", kind="scan"), lambda _: None))

    def index(self) -> dict[str, Any]:
        """What the index says, without what scans are free to choose."""
        db = sqlite3.connect(self.root / "data" / "models.db")
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        rows = db.execute(
            "SELECT m.model_id, m.official_name, m.tags, m.model_format, m.problem, group_concat(f.path, '|') "
            "FROM models m JOIN model_files f ON f.model = m.id GROUP BY m.id"
        ).fetchall()
        count = db.execute("SELECT count(*) FROM models").fetchone()[0]
        assert count == len(rows), "there are models without files"
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'models_ai'").fetchone():
            db.execute("INSERT INTO model_search (model_search) VALUES ('integrity-check')")
        db.close()
        return {row[0]: [*row[1:5], sorted(row[5].split("|"))] for row in rows}


# What is done


def _quick(world: World, librarian: Librarian) -> None:
    world.scan(librarian, "quick")


def _deep(world: World, librarian: Librarian) -> None:
    world.scan(librarian, "deep")


def _edit(_world: World, librarian: Librarian) -> None:
    ids = sorted(librarian.library.index.all_ids())
    librarian.library.edit_many(ids, BulkEdit(add_tags=["bulk"]))


def _open(_world: World, librarian: Librarian) -> None:
    assert librarian.library.index.totals().models


def _indexed(world: World) -> None:
    with world.librarian() as librarian:
        world.scan(librarian, "quick")


def _changed(world: World) -> None:
    """Indexed, then much is changed behind Librarian's back."""
    _indexed(world)
    for number in range(0, OWNED, 3):
        world.own(number, tags=["rewritten"])
    shutil.rmtree(world.library / "diffusion" / "family1")
    for number in range(OWNED, OWNED + 10):
        world.own(number)
    (world.models / "loras" / "0").rename(world.models / "loras" / "moved")
    shutil.rmtree(world.models / "loras" / "1")
    world.put(world.models / "loras" / "2" / "fresh.safetensors", 500)
    (world.models / "checkpoints" / "pipeline").rename(world.models / "checkpoints" / "renamed")


def _of_first_version(world: World) -> None:
    """Indexed by the first version that ever was."""
    _indexed(world)
    path = world.root / "data" / "models.db"
    new = path.with_name("new.db")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(new.with_name(new.name + suffix))
    db = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS[0](db)
    db.execute("ATTACH DATABASE ? AS new", (str(new),))
    for table in ("models", "model_files", "model_tags"):
        columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
        db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
    db.execute("PRAGMA user_version = 1")
    db.close()
    for suffix in ("", "-wal", "-shm"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)


class Scenario(NamedTuple):
    before: Callable[[World], None] | None
    work: Callable[[World, Librarian], None]


SCENARIOS = {
    "quick scan, day one": Scenario(None, _quick),
    "quick scan of changes": Scenario(_changed, _quick),
    "deep scan, day one": Scenario(None, _deep),
    "deep scan of changes": Scenario(_changed, _deep),
    "bulk edit": Scenario(_indexed, _edit),
    "migration": Scenario(_of_first_version, _open),
}
MOMENTS = int(os.environ.get("LIBRARIAN_KILL_MOMENTS", "15"))
"""How many of a scenario's moments are tried in order, evenly spread; the others have their turn at random."""


class Case:
    """One scenario with the state that each life begins with, and what must come of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.world = World(folder / "world")
        self.template = folder / "template"
        self.kills = 0
        folder.mkdir(parents=True)
        self._in_child(self._make)
        self.files = self._files()
        began = time.monotonic()
        self.moments = int(self._in_child(lambda: self._live(None)) or 0)
        self.seconds = time.monotonic() - began
        self.restore()
        self.expected = json.loads(self._in_child(self._end) or "")

    def _in_child(self, work: Callable[[], object]) -> str:
        read, write = os.pipe()

        def run() -> None:
            os.write(write, str(work() or "").encode())

        process = child(run)
        os.close(write)
        with open(read) as answer:
            text = answer.read()
        killed(process)
        return text

    def _make(self) -> None:
        self.world.make()
        before = SCENARIOS[self.name].before
        if before is not None:
            before(self.world)
        shutil.copytree(self.world.root, self.template, symlinks=True)

    def _files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.world.root)): path.read_bytes()
            for path in self.world.root.rglob("*.safetensors")
        }

    def _live(self, at: int | None) -> int:
        """Do the work; be killed at a moment. Answers how many there were."""
        moments = 0

        def moment() -> int:
            nonlocal moments
            moments += 1
            if moments == at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            return 0

        real = Database._connect

        def connect(database: Database) -> sqlite3.Connection:
            connection = real(database)
            if database.path.name == "models.db":
                connection.set_progress_handler(moment, SQL_STEPS)
            return connection

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            if event in ("open", "os.rename", "os.mkdir") and str(self.world.library) in str(arguments[0]):
                moment()

        Database._connect = connect  # type: ignore[method-assign]
        sys.addaudithook(audit)
        with self.world.librarian() as librarian:
            SCENARIOS[self.name].work(self.world, librarian)
        return moments

    def _end(self) -> str:
        """What the index is when the work ran through; the state that every healed life must reach."""
        with self.world.librarian() as librarian:
            world_end(self.world, librarian, self.name)
        return json.dumps(self.world.index())

    def restore(self) -> None:
        shutil.rmtree(self.world.root)
        shutil.copytree(self.template, self.world.root, symlinks=True)

    def life(self, at: int | None, seconds: float | None = None) -> None:
        """One life, killed at a numbered moment or after some seconds, and what must hold afterwards."""
        self.restore()
        process = child(lambda: self._live(at))
        if seconds is not None:
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if not killed(process):
            return
        self.kills += 1
        try:
            self._in_child(self._look)
        except SystemExit:
            print(f"{self.name}, killed at {at or seconds}", file=sys.stderr)
            raise

    def _look(self) -> None:
        world = self.world
        for path in world.library.rglob("metadata.json"):
            content = json.loads(path.read_bytes())
            assert content["tags"] in ([], ["bulk"], ["rewritten"], ["rewritten", "bulk"]), content["tags"]
        if (world.root / "data" / "models.db").exists() and self.name != "migration":
            try:
                now = world.index()
            except sqlite3.OperationalError as error:  # killed while the first tables were made
                assert "no such table" in str(error)
            else:
                if "of changes" in self.name or self.name == "bulk edit":
                    assert now, "the index was emptied"
        with world.librarian() as librarian:
            assert librarian.library.set_aside is None, "the database was taken for damaged"
            world.scan(librarian, "quick")
            tags = {key: librarian.library.model(key).tags for key in librarian.library.index.all_ids()}
        for model_id, there in tags.items():
            path = world.library / model_id / "metadata.json"
            if path.exists():
                assert json.loads(path.read_bytes())["tags"] == there, "index and metadata differ"
        assert self._files() == self.files
        with world.librarian() as librarian:
            world_end(world, librarian, self.name)
        end = json.loads(json.dumps(world.index()))
        assert end == self.expected, sorted(
            (key, end.get(key), self.expected.get(key))
            for key in end.keys() | self.expected.keys()
            if end.get(key) != self.expected.get(key)
        )
        left = {path.name for path in (world.root / "data").iterdir()}
        assert not [name for name in left if "aside" in name or "damaged" in name], left


def world_end(world: World, librarian: Librarian, name: str) -> None:
    """Do the work to its end."""
    world.scan(librarian, "quick")
    SCENARIOS[name].work(world, librarian)


def main() -> None:
    folder, seconds, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    cases = [Case(name, folder / str(number)) for number, name in enumerate(SCENARIOS)]
    for case in cases:
        assert case.moments > 10, f"{case.name} has only {case.moments} moments"
        for at in sorted({1 + case.moments * step // MOMENTS for step in range(MOMENTS)}):
            case.life(at)
    in_order = sum(case.kills for case in cases)
    chance = random.Random(seed)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        case = chance.choice(cases)
        case.life(None, chance.uniform(0, case.seconds))
    total = sum(case.kills for case in cases)
    counts = {case.name: {"moments": case.moments, "kills": case.kills} for case in cases}
    print(json.dumps({"in_order": in_order, "at_random": total - in_order, "cases": counts}))


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(1)
