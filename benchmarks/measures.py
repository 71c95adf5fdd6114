"""What is measured. Each function runs in a process of its own and answers rows for the table."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from blake3 import blake3
from synthetic import LARGE_TENSORS, SEED, Name, make_models_folder, names, tiny_safetensors

from model_librarian.core import turns
from model_librarian.core.importing import ImportRequest
from model_librarian.core.jobs import Job
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import BulkEdit, ModelQuery
from model_librarian.core.library.metadata import serialise
from model_librarian.core.library.records import Hashes, Model, ModelFile
from model_librarian.core.linking import LinkChoice
from model_librarian.core.linking.registry import MadeLink, NewLink
from model_librarian.core.settings import Surroundings, app_of_models_folder

PAGE = 50
RUNS = 5


class Row(NamedTuple):
    """One line of the table. ``met`` is nothing where there is no bar."""

    what: str
    size: int | None
    ours: str
    reference: str
    ratio: str
    bar: str
    met: bool | None


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 10 else f"{seconds:.0f} s"


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def side_by_side(
    ours: Callable[[], object], reference: Callable[[], object], runs: int = RUNS
) -> tuple[float, float]:
    """The medians of both, run in turn, so that whatever else the machine does disturbs both alike."""
    pairs = [(timed(ours), timed(reference)) for _ in range(runs)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def compared(
    what: str, size: int | None, ours: float, reference: float, bar: float, unit: Callable[[float], str] = ms
) -> Row:
    ratio = ours / reference
    return Row(what, size, unit(ours), unit(reference), f"{ratio:.2f}", f"≤ {bar} ×", ratio <= bar)


def places(folder: Path) -> Surroundings:
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "downloads").mkdir(exist_ok=True)
    return Surroundings(
        data_dir=folder / "data",
        library_root=folder / "library",
        apps=[app_of_models_folder(folder / "models")],
        allowed_roots=[folder / "downloads"],
    )


def finished(librarian: Librarian, job: Job) -> Job:
    ended = librarian.jobs.wait(job.id, timeout=3600)
    assert ended.state == "done", ended.error
    return ended


@contextmanager
def in_place(folder: Path, size: int) -> Iterator[tuple[Librarian, dict[str, float]]]:
    """A started library over ``size`` files, and when each stage of its first scan began, in seconds."""
    make_models_folder(folder / "models", names(size))
    shutil.rmtree(folder / "data", ignore_errors=True)
    started = time.perf_counter()
    librarian = Librarian(places(folder))
    stages: dict[str, float] = {}

    def note(_name: str, record: object) -> None:
        if isinstance(record, Job) and record.stage:
            stages.setdefault(record.stage, time.perf_counter() - started)

    librarian.events.subscribe(note)
    finished(librarian, librarian.scans.start("quick"))
    stages["end"] = time.perf_counter() - started
    for job in librarian.jobs.all():  # hashing goes on for long; the event loop is measured with it
        if not job.ended:
            librarian.jobs.cancel(job.id)
            librarian.jobs.wait(job.id, timeout=60)
    yield librarian, stages
    librarian.close()


def owned_library(folder: Path, size: int, unique_type: str = "diffusion") -> None:
    """A library folder with ``size`` owned models, written straight to disk."""
    root = folder / "library"
    for number, name in enumerate(names(size)):
        cleaned = re.sub(r"[^\w.-]", "_", name.file.rpartition(".")[0])
        model_id = f"{unique_type}/family{number % 40:02}/{cleaned}-{number}"
        data = tiny_safetensors(number)
        place = root / model_id
        place.mkdir(parents=True)
        file = f"{number}-{name.file}"
        (place / file).write_bytes(data)
        digests = {"sha256": hashlib.sha256(data).hexdigest(), "blake3": blake3(data).hexdigest()}
        model = Model(
            model_id=model_id,
            official_name=name.file.rpartition(".")[0],
            cleaned_name=cleaned,
            model_type=unique_type,
            subtype=name.folder,
            family=f"family{number % 40:02}",
            files=[ModelFile(name=file, original_name=name.file, size=len(data), **digests)],
            hashes=Hashes(**digests),
            size_bytes=len(data),
            security_tier="safe",
        )
        (place / "metadata.json").write_bytes(serialise(model))
    for subtype in {name.folder for name in names(size)}:
        (folder / "models" / subtype).mkdir(parents=True, exist_ok=True)


# --- Search -----------------------------------------------------------------------------------------------


def queries(wanted: list[Name]) -> dict[str, list[ModelQuery]]:
    """Sixty queries of each kind, from the names that are there, with a fixed seed."""
    chosen = random.Random(SEED)
    words = [re.findall(r"[A-Za-z0-9]+", name.file.rpartition(".")[0]) for name in wanted]
    long = [word for found in chosen.sample(words, min(len(words), 400)) for word in found if len(word) >= 6]

    def asked(texts: list[str], **more: Any) -> list[ModelQuery]:
        return [ModelQuery(q=text, limit=PAGE, **more) for text in texts]

    def typo(word: str) -> str:
        at = chosen.randrange(1, len(word) - 1)
        return word[:at] + chosen.choice("qxz") + word[at + 1 :]

    mixed = ["", "a", "fp8", "flux", "fp8 scaled", "wan lora"] * 10
    return {
        "one letter": asked([*"abcdefghijklmnopqrstuvwxyz0123456789"] * 2),
        "two letters": asked([chosen.choice("abcdflmqrstw") + chosen.choice("aeilnorx1") for _ in range(60)]),
        "common word": asked(["fp8", "scaled", "flux", "wan", "safetensors", "lora"] * 10),
        "three words": asked([" ".join(chosen.sample(w, min(3, len(w)))) for w in chosen.sample(words, 60)]),
        "middle of a word": asked([word[1 : 1 + chosen.randint(3, 5)] for word in chosen.sample(long, 60)]),
        "nothing like it": asked(["".join(chosen.choices("qxzjkvw", k=chosen.randint(5, 12))) for _ in range(60)]),
        "one wrong letter": asked([typo(word) for word in chosen.sample(long, 60)]),
        "with filters": asked(mixed, subtype=["loras", "vae"], tier=["safe"]),
        "other order": [query for sort in ("name", "size", "added") for query in asked(mixed[:20], sort=sort)],
        "deep page": asked(["", "safetensors", "a"] * 20, offset=len(wanted) // 2),
        "list": asked([""] * 60),
    }  # fmt: skip


def search(folder: Path, size: int) -> list[Row]:
    bar = {1_000: 1e-3, 10_000: 3e-3, 100_000: 10e-3}.get(size)
    rows = []
    with in_place(folder, size) as (librarian, _):
        bare = sqlite3.connect(folder / "bare.db")
        bare.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT)")
        bare.execute("CREATE VIRTUAL TABLE words USING fts5 (name)")
        for table in ("plain", "words"):
            bare.executemany(f"INSERT INTO {table} (name) VALUES (?)", ((name.file,) for name in names(size)))
        bare.commit()

        def like(query: ModelQuery) -> None:
            conditions = " AND ".join(["name LIKE ?"] * len(query.q.split())) or "1"
            bare.execute(
                f"SELECT *, count(*) OVER () FROM plain WHERE {conditions} ORDER BY name LIMIT {PAGE}",
                [f"%{word}%" for word in query.q.split()],
            ).fetchall()

        def fts(query: ModelQuery) -> None:
            text = " ".join(f'"{word}"*' for word in query.q.split())
            if text:
                bare.execute("SELECT count(*) FROM words WHERE words MATCH ?", (text,)).fetchone()
                bare.execute(
                    f"SELECT rowid, name FROM words WHERE words MATCH ? ORDER BY rank LIMIT {PAGE}", (text,)
                ).fetchall()

        for kind, asked in queries(names(size)).items():
            ours, plain, ranked = (
                [timed(partial(ask, query)) for query in asked]
                for ask in (librarian.library.search, like, fts)
            )
            worst = p95(ours)
            rows.append(
                Row(
                    f"search, {kind}",
                    size,
                    f"{statistics.median(ours) * 1e3:.2f} / {worst * 1e3:.2f} ms",
                    f"{p95(plain) * 1e3:.1f} · {p95(ranked) * 1e3:.1f} ms",
                    "",
                    f"p95 ≤ {bar * 1e3:.0f} ms" if bar else "",
                    worst <= bar if bar else None,
                )
            )
        bare.close()
    return rows


def p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


# --- The index --------------------------------------------------------------------------------------------


def first_scan(folder: Path, size: int) -> list[Row]:
    """Day one, a scan that finds nothing changed, and edits."""
    with in_place(folder, size) as (librarian, stages):
        listed = stages["headers"]
        bar = {10_000: 2.0, 100_000: 15.0}.get(size)
        promise, met = (f"≤ {bar:.0f} s", listed <= bar) if bar else ("", None)
        rows = [
            Row("day one: listed and searchable", size, seconds(listed), "", "", promise, met),
            Row("day one: and every header read", size, seconds(stages["end"]), "", "", "", None),
        ]
        ours, walk = side_by_side(
            lambda: finished(librarian, librarian.scans.start("quick")), lambda: _walk(folder / "models")
        )
        rows.append(
            compared("quick scan, nothing changed; beside a bare walk with stat", size, ours, walk, 1.5)
        )
        ids = [model.model_id for model in librarian.models.search(ModelQuery(limit=500)).models]
        one = statistics.median(
            timed(partial(librarian.models.edit, key, {"notes": "n"})) for key in ids[:30]
        )
        rows.append(Row("edit one model", size, ms(one), "", "", "≤ 20 ms", one <= 0.02))
        if len(ids) == 500:
            edit = BulkEdit(add_tags=["bulk"])
            many = timed(lambda: librarian.library.edit_many(ids, edit))
            rows.append(Row("edit 500 models at once", size, seconds(many), "", "", "≤ 2 s", many <= 2))
    return rows


def _walk(root: Path) -> None:
    stack = [str(root)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    stack.append(entry.path)
                else:
                    entry.stat()


def deep_scan(folder: Path, size: int) -> list[Row]:
    """A library of owned models: deep scans beside reading the same JSON into a table on disk."""
    owned_library(folder, size)

    def from_nothing() -> float:
        shutil.rmtree(folder / "data", ignore_errors=True)
        librarian = Librarian(places(folder))
        taken = timed(lambda: finished(librarian, librarian.scans.start("deep")))
        librarian.close()
        return taken

    def reference() -> None:
        shutil.rmtree(folder / "reference", ignore_errors=True)
        (folder / "reference").mkdir()
        with sqlite3.connect(folder / "reference" / "models.db") as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(
                "CREATE TABLE models (model_id TEXT PRIMARY KEY, official_name, family, size, metadata)"
            )
            rows = []
            for path in sorted((folder / "library").glob("*/*/*/metadata.json")):
                text = path.read_text(encoding="utf-8")
                found = json.loads(text)
                rows.append(
                    [*(found[key] for key in ("model_id", "official_name", "family", "size_bytes")), text]
                )
            db.executemany("INSERT INTO models VALUES (?, ?, ?, ?, ?)", rows)
        db.close()

    what = "deep scan into an empty index; beside reading the JSON and one executemany"
    pairs = [(from_nothing(), timed(reference)) for _ in range(3)]
    ours, beside = (statistics.median(found) for found in zip(*pairs, strict=True))
    rows = [compared(what, size, ours, beside, 2, seconds)]
    librarian = Librarian(places(folder))
    ours, beside = side_by_side(lambda: finished(librarian, librarian.scans.start("deep")), reference, 3)
    rows.append(compared("deep scan, nothing changed; beside the same", size, ours, beside, 2, seconds))
    ours, walk = side_by_side(
        lambda: finished(librarian, librarian.scans.start("quick")), lambda: _walk(folder / "library"), 3
    )
    rows.append(compared("quick scan of owned models; beside a bare walk with stat", size, ours, walk, 1.5))
    librarian.close()
    return rows


MANY_LINKS = 100_000
LARGE_FILES = 300


def linking(folder: Path, size: int) -> list[Row]:
    """Links for all owned models beside a bare loop, in turn; then one for a new model."""
    owned_library(folder, size)
    librarian = Librarian(places(folder))
    finished(librarian, librarian.scans.start("quick"))
    sources = [str(path) for path in (folder / "library").glob("*/*/*/*.*") if path.name != "metadata.json"]
    previews = []

    def bare() -> None:
        for number, source in enumerate(sources):
            os.symlink(source, f"{folder}/bare/{number}")

    def sync() -> float:
        plan = librarian.links.preview()
        return timed(lambda: finished(librarian, librarian.links.apply(LinkChoice(plan_id=plan.plan_id))))

    pairs = []
    for run in range(3):
        if run:
            librarian.links.uninstall_all()
            shutil.rmtree(folder / "bare")
        (folder / "bare").mkdir()
        previews.append(timed(librarian.links.preview))
        pairs.append((sync(), timed(bare)))
    ours, reference = (statistics.median(found) for found in zip(*pairs, strict=True))
    what = f"sync of {len(sources)} links; beside a bare loop of os.symlink"
    one = _link_new_models(folder, librarian, 0)
    _register_more(librarian, MANY_LINKS - len(sources))
    one_of_many = _link_new_models(folder, librarian, 100)
    synced = compared(what, size, ours, reference, 2, seconds)
    rows = [
        synced if size >= 10_000 else synced._replace(bar="", met=None),
        Row("its preview", size, seconds(statistics.median(previews)), "", "", "", None),
        Row("link one new model", size, ms(one), "", "", "the same at every size", None),
        compared(f"the same, {MANY_LINKS:,} links registered; beside {size:,}", size, one_of_many, one, 1.5),
    ]
    librarian.close()
    return rows


def _link_new_models(folder: Path, librarian: Librarian, first: int) -> float:
    """Import some models one after another; the median of what linking each of them takes."""
    times = []
    for number in range(first, first + 9):
        source = folder / "downloads" / f"new model {number}.safetensors"
        source.write_bytes(tiny_safetensors(10_000_000 + number))
        request = ImportRequest.model_validate(
            {"items": [{"paths": [str(source)], "metadata": {"subtype": "loras"}}]}
        )
        done = finished(librarian, librarian.imports.start(request))
        imported = (done.result or {})["imported"]
        started = time.perf_counter()
        plan = librarian.links.preview(model_ids=imported)
        finished(librarian, librarian.links.apply(LinkChoice(plan_id=plan.plan_id)))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _link_more(librarian: Librarian, folder: Path, count: int) -> None:
    """Make and register links to one file."""
    source = librarian.library.root / "diffusion" / "more" / "one" / "one.safetensors"
    source.parent.mkdir(parents=True)
    source.write_bytes(tiny_safetensors(20_000_000))
    registry = librarian.linker.registry
    [app, *_] = librarian.linker.apps
    targets = [folder / f"one {number}.safetensors" for number in range(count)]
    for target in targets:
        target.symlink_to(source)
    links = (NewLink("diffusion/more/one", app.app, target, source, None) for target in targets)
    registry.register((MadeLink(link, "symlink", False) for link in links), registry.intend([]))


def _register_more(librarian: Librarian, count: int) -> None:
    """Fill the registry with links that are not on disk."""
    registry = librarian.linker.registry
    [app, *_] = librarian.linker.apps
    links = (
        NewLink(
            f"diffusion/more/m{number}",
            app.app,
            app.root / "models" / "loras" / f"more {number}",
            librarian.library.root / f"diffusion/more/m{number}/more {number}",
            None,
        )
        for number in range(count)
    )
    registry.register((MadeLink(link, "symlink", False) for link in links), registry.intend([]))


# --- Files ------------------------------------------------------------------------------------------------


def importing(folder: Path, size: int) -> list[Row]:
    """Imports of one file of ``size`` MB beside what the machine's own programs need."""
    rows = []
    for kind, place in {"disk": folder, "tmpfs": Path("/dev/shm") / folder.parent.name}.items():
        if kind == "tmpfs" and not Path("/dev/shm").is_dir():
            continue
        librarian = Librarian(places(place))
        source, kept = place / "downloads" / "model.safetensors", place / "kept"
        _large_safetensors(kept, size * 2**20)
        os.link(kept, source)
        ways: dict[str, Callable[[], float]] = {
            "cp": partial(_cp, source, place / "copy"),
            "sha256sum": partial(_timed_program, "sha256sum", source),
            "b3sum": partial(_b3sum, source),
            "all three at once": partial(_at_once, source, place / "copy"),
            **{
                mode: partial(_import_once, librarian, source, kept, mode)
                for mode in ("copy", "move", "adopt")
            },
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        names_of_ways = list(ways)
        for turn in range(RUNS):  # each begins with another one, so that none always follows the same
            for name in names_of_ways[turn % len(ways) :] + names_of_ways[: turn % len(ways)]:
                os.sync()
                found[name].append(ways[name]())
        middle = {name: statistics.median(values) for name, values in found.items()}
        slower = max(middle["cp"], middle["sha256sum"])
        what = f"{size} MB on {kind}; beside"
        if kind == "disk":
            copy = compared(
                f"import by copy, {what} cp + fsync", None, middle["copy"], middle["cp"], 1.1, seconds
            )
        else:
            beside = "the slower of cp and sha256sum"
            copy = compared(f"import by copy, {what} {beside}", None, middle["copy"], slower, 1.2, seconds)
        rows.append(copy)
        rows += [
            compared(
                f"import by {mode}, {what} sha256sum", None, middle[mode], middle["sha256sum"], 1.1, seconds
            )
            for mode in ("move", "adopt")
        ]
        programs = ", ".join(f"{name} {seconds(middle[name])}" for name in ("cp", "sha256sum", "b3sum"))
        programs += (
            f"; cp + fsync with the import's own hashes at once {seconds(middle['all three at once'])}"
        )
        rows.append(Row(f"{size} MB on {kind}, by other programs", None, "", programs, "", "", None))
        librarian.close()
        shutil.rmtree(place, ignore_errors=True)
    return rows


def _large_safetensors(path: Path, size: int) -> None:
    length = size - 4096
    text = json.dumps({"w": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        block = os.urandom(2**20)
        left = length
        while left:
            left -= file.write(block[:left])
        file.flush()
        os.fsync(file.fileno())


def _import_once(librarian: Librarian, source: Path, kept: Path, mode: str) -> float:
    """Import a file and make everything as it was before."""
    request = ImportRequest.model_validate({"items": [{"paths": [str(source)], "mode": mode}]})
    taken = timed(lambda: finished(librarian, librarian.imports.start(request)))
    [model_id] = librarian.library.index.all_ids()
    librarian.models.delete(model_id, "permanent")
    source.unlink(missing_ok=True)
    os.link(kept, source)
    return taken


def _cp(source: Path, target: Path) -> float:
    taken = timed(lambda: _copy(source, target))
    target.unlink()
    return taken


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", str(source), str(target)], check=True)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def _timed_program(name: str, source: Path) -> float:
    return timed(lambda: subprocess.run([name, str(source)], check=True, capture_output=True))


def _b3sum(source: Path) -> float:
    """The program where it is installed, else the same library in one thread."""
    if shutil.which("b3sum"):
        return _timed_program("b3sum", source)

    return timed(lambda: _hash(source, blake3()))


def _at_once(source: Path, target: Path) -> float:
    """``cp`` and each of an import's hashes side by side, each in a thread of its own."""

    def work() -> None:
        with ThreadPoolExecutor(3) as threads:
            copied = threads.submit(_copy, source, target)
            hashed = [threads.submit(_hash, source, digest) for digest in (hashlib.sha256(), blake3())]
            for done in (copied, *hashed):
                done.result()

    taken = timed(work)
    target.unlink()
    return taken


def _hash(source: Path, digest: Any) -> None:
    with open(source, "rb", buffering=0) as file:
        while block := file.read(8 * 2**20):
            digest.update(block)


# --- The server -------------------------------------------------------------------------------------------

_IMPORT = """
import asyncio, sys, time, types
from aiohttp import web
server = types.ModuleType("server")
server.PromptServer = types.SimpleNamespace(
    instance=types.SimpleNamespace(routes=web.RouteTableDef(), app=web.Application())
)
sys.modules["server"] = server
started = time.perf_counter()
import model_librarian
print(time.perf_counter() - started)
"""


def package_import(_folder: Path, _size: int) -> list[Row]:
    runs = [
        float(
            subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True).stdout
        )
        for _ in range(7)
    ]
    middle = statistics.median(runs)
    what = "import of the package in a ComfyUI-like process"
    return [Row(what, None, ms(middle), "", "", "≤ 100 ms", middle <= 0.1)]


def memory(folder: Path, size: int) -> list[Row]:
    """What the process holds after its first scan and some searches; the caller takes the difference."""
    with in_place(folder, size) as (librarian, _):
        for asked in queries(names(max(size, 500))).values():
            for query in asked[:5]:
                librarian.models.search(query)
                librarian.models.facets(query)
        held = psutil.Process().memory_info().rss
    return [Row("memory", size, str(held), "", "", "", None)]


OTHERS_OBJECTS = 1_000_000
"""How many objects with references a ComfyUI with torch holds before it does anything, roughly. A full collection
of garbage looks at all of them, whoever brought it on, and halts every thread for longer than the bar."""


class Wake(NamedTuple):
    """A wake of the loop from 5 ms of sleep: how many seconds late, and how long the process ran meanwhile.

    What is late while nothing of the process runs is the doing of other programs on the machine: no thread
    can hold the loop for longer than all threads together had a processor.
    """

    doing: str
    late: float
    held: float


def event_loop(folder: Path, size: int) -> list[Row]:
    """How late a loop in the same process wakes, at worst, while threads work."""
    wakes: list[Wake] = []
    collections: list[tuple[str, float]] = []
    doing = "starting"
    stop = False
    began = 0.0

    async def ping() -> None:
        loop = asyncio.get_running_loop()
        turns.add_loop(loop)
        while not stop:
            what, started, ran = doing, time.perf_counter(), time.process_time()
            await asyncio.sleep(0.005)
            late = time.perf_counter() - started - 0.005
            wakes.append(Wake(what, late, min(late, time.process_time() - ran)))
        turns.remove_loop(loop)

    def note_collection(phase: str, details: dict[str, int]) -> None:
        nonlocal began
        if details["generation"] == 2:
            if phase == "start":
                began = time.perf_counter()
            else:
                collections.append((doing, time.perf_counter() - began))

    def note(_name: str, record: object) -> None:
        nonlocal doing
        if isinstance(record, Job) and record.kind == "scan" and record.stage and not record.ended:
            doing = {"list": "listing", "headers": "reading headers"}.get(record.stage, "walking")

    def hash_for(librarian: Librarian, seconds: float) -> None:
        time.sleep(seconds)
        for job in librarian.jobs.all():
            if not job.ended:
                librarian.jobs.cancel(job.id)
                librarian.jobs.wait(job.id, timeout=60)

    make_models_folder(folder / "models", names(size))
    asked = queries(names(size))
    others: list[list[int]] = [[] for _ in range(OTHERS_OBJECTS)]
    gc.collect()  # what made the names is gone, and what counts from here on is ours
    thread = threading.Thread(target=lambda: asyncio.run(ping()))
    thread.start()
    gc.callbacks.append(note_collection)
    librarian = Librarian(places(folder))
    unsubscribe = librarian.events.subscribe(note)
    finished(librarian, librarian.scans.start("quick"))
    doing = "hashing"
    hash_for(librarian, 10)
    doing = "walking"
    finished(librarian, librarian.scans.start("quick"))
    unsubscribe()
    doing = "hashing"
    hash_for(librarian, 0)
    doing = "searching"
    for found in asked.values():
        for query in found[:20]:
            librarian.models.search(query)
            librarian.models.facets(query)
    doing = "editing"
    for model in librarian.models.search(ModelQuery(limit=500)).models:
        librarian.models.edit(model.model_id, {"tags": ["bulk"]})
    doing = "ending"
    for number in range(LARGE_FILES):
        data = tiny_safetensors(size + number, LARGE_TENSORS)
        (folder / "models" / "checkpoints" / f"large {number}.safetensors").write_bytes(data)
    doing = f"reading headers of {LARGE_TENSORS:,} tensors"
    finished(librarian, librarian.scans.start("quick"))
    doing = "hashing"
    hash_for(librarian, 0)
    doing = "ending"
    _link_more(librarian, folder / "models" / "loras", MANY_LINKS)
    doing = f"looking at {MANY_LINKS:,} links"
    librarian.links.health()
    doing = "ending"
    stop = True
    thread.join()
    gc.callbacks.remove(note_collection)
    librarian.close()
    del others
    kinds = dict.fromkeys(wake.doing for wake in wakes)
    return [
        _held(
            kind,
            size,
            [wake for wake in wakes if wake.doing == kind],
            [taken for what, taken in collections if what == kind],
        )
        for kind in kinds
        if kind not in ("starting", "ending")
    ]


def _held(kind: str, size: int, wakes: list[Wake], collections: list[float]) -> Row:
    late, held = sorted(wake.late for wake in wakes), sorted(wake.held for wake in wakes)
    at = int(len(wakes) * 0.99)
    full = f"{len(collections)}, {max(collections) * 1e3:.0f} ms" if collections else "none"
    return Row(
        f"longest hold of the event loop, {kind}; full collections: {full}",
        size,
        f"{held[-1] * 1e3:.1f} ms (p99 {held[at] * 1e3:.1f})",
        f"{late[-1] * 1e3:.1f} ms late (p99 {late[at] * 1e3:.1f})",
        "",
        "≤ 10 ms",
        held[-1] <= 0.01,
    )


MEASURES: dict[str, Callable[[Path, int], list[Row]]] = {
    "search": search,
    "first-scan": first_scan,
    "deep-scan": deep_scan,
    "linking": linking,
    "importing": importing,
    "package-import": package_import,
    "event-loop": event_loop,
    "memory": memory,
}
