"""The second process of scans: it does the same, it is never needed, and it does not stay behind."""

from __future__ import annotations

import functools
import itertools
import json
import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from model_librarian.core import worker as worker_module
from model_librarian.core.errors import CancelledError
from model_librarian.core.jobs import Job, JobContext
from model_librarian.core.library import ModelQuery, headers, in_place, owned, scan
from model_librarian.core.library.metadata import serialise
from model_librarian.core.library.records import Model, ModelFile
from model_librarian.core.worker import Worker


@pytest.fixture
def at_once(monkeypatch):
    """Have another process started for any work, and waited for."""
    monkeypatch.setattr(worker_module, "_WORTH_IT_S", -1)
    monkeypatch.setattr(
        Worker, "_is_ready", lambda self: self._ready is not None and bool(self._ready.result(60))
    )


@pytest.fixture
def worker(at_once):
    with Worker() as worker:
        yield worker


def asked(worker):
    """The process that answers."""
    [(_, pid)] = worker.map(os.getpid, [()])
    return pid


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_another_process_answers_in_order_and_ends_with_the_worker(worker):
    pid = asked(worker)
    assert pid != os.getpid()
    for shared in (False, True):
        found = list(worker.map(divmod, zip(range(1000), itertools.repeat(7)), shared=shared))
        assert found == [((number, 7), divmod(number, 7)) for number in range(1000)]
    worker.close()
    assert has_ended(pid)


def test_shared_work_is_done_by_both(worker):
    asked(worker)
    assert len({pid for _, pid in worker.map(os.getpid, itertools.repeat((), 2000), shared=True)}) == 2


def test_short_work_starts_no_process():
    before = psutil.Process().children()
    with Worker() as worker:
        assert {pid for _, pid in worker.map(os.getpid, [(), ()])} == {os.getpid()}
        assert psutil.Process().children() == before


def test_until_it_is_ready_work_is_done_here(monkeypatch):
    monkeypatch.setattr(worker_module, "_WORTH_IT_S", -1)
    with Worker() as worker:
        pids = (pid for _, pid in worker.map(os.getpid, itertools.repeat(())))
        assert next(pids) == os.getpid()
        until(lambda: next(pids) != os.getpid())


@pytest.mark.parametrize("shared", [False, True])
def test_what_a_killed_process_does_not_answer_is_done_here(worker, shared):
    pid = asked(worker)

    def batches():
        for number in range(1000):
            if number == 300:
                os.kill(pid, signal.SIGKILL)
            yield number, 7

    found = list(worker.map(divmod, batches(), shared=shared))
    assert found == [((number, 7), divmod(number, 7)) for number in range(1000)]
    assert asked(worker) == os.getpid()


def test_what_a_process_was_killed_over_is_done_here(worker, tmp_path):
    pid, path = asked(worker), tmp_path / "pipe"
    os.mkfifo(path)  # whoever reads it waits for somebody to write

    def check():
        worker._check = lambda: None
        os.kill(pid, signal.SIGKILL)
        path.unlink()
        path.write_bytes(b"now a file")

    def first():  # between batches; the next time it is waited for
        worker._check = check

    worker._check = first
    assert list(worker.map(Path.read_bytes, [(path,)])) == [((path,), b"now a file")]


def test_what_raises_there_raises_here(worker):
    asked(worker)
    with pytest.raises(ZeroDivisionError):
        list(worker.map(operator.floordiv, [(1, 0)]))
    assert list(worker.map(operator.floordiv, [(7, 2)])) == [((7, 2), 3)]  # it goes on


def test_a_share_that_answers_too_late_raises(worker):
    """Python has one name for that and for an answer that is not there yet."""
    asked(worker)
    with pytest.raises(TimeoutError):
        list(worker.map(exec, [("raise TimeoutError",)]))


def test_whoever_waits_can_break_off(at_once):
    calls = []

    def check():
        calls.append(1)
        if len(calls) > 3:
            raise CancelledError("enough")

    with Worker(check) as worker:
        pid = asked(worker)
        with pytest.raises(CancelledError):
            list(worker.map(time.sleep, [(600,)]))
    assert has_ended(pid)


@pytest.mark.parametrize("executable", ["/opt/ComfyUI/ComfyUI", "/nowhere/python3", "", None])
def test_without_a_python_to_start_all_is_done_here(monkeypatch, at_once, executable):
    monkeypatch.setattr(sys, "executable", executable)
    with Worker() as worker:
        assert asked(worker) == os.getpid()


def test_a_python_without_what_is_needed_does_nothing(monkeypatch, at_once):
    monkeypatch.setattr(sys, "path", [])
    with Worker() as worker:
        assert len(list(worker.map(headers.with_headers, [([],)] * 3))) == 3


def test_it_finds_the_package_under_the_name_that_comfyui_gives_it():
    root = Path(worker_module.__file__).parent.parent
    code = f"""
import functools, importlib, importlib.util, sys
name = "/home/somebody/ComfyUI/custom_nodes/model-librarian-1_x_0"
init, below = {str(root / "__init__.py")!r}, [{str(root)!r}]
spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=below)
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
worker = importlib.import_module(name + ".core.worker")
headers = importlib.import_module(name + ".core.library.headers")
worker._WORTH_IT_S = -1
worker.Worker._is_ready = lambda self: bool(self._ready.result(60))

@functools.wraps(headers.with_headers)
def fail(unread):
    raise AssertionError("done here")

headers.with_headers = fail
with worker.Worker() as other:
    print(list(other.map(fail, [([],)])))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[(([],), [])]\n"


def test_it_ends_when_its_parent_is_killed():
    code = (
        "import os, time\n"
        "from model_librarian.core import worker as module\n"
        "module._WORTH_IT_S = -1\n"
        "worker = module.Worker()\n"
        "while True:\n"
        "    [(_, pid)] = worker.map(os.getpid, [()])\n"
        "    if pid != os.getpid():\n"
        "        print(pid, flush=True)\n"
        "        time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert not has_ended(pid)
    parent.kill()
    parent.communicate()
    until(lambda: has_ended(pid))


# Scans


@pytest.fixture
def never_here(monkeypatch, at_once):
    """Have everything that the other process can do fail here, which therefore leaves all to it."""
    monkeypatch.setattr(worker_module, "_AHEAD", 10**6)
    for module, name in ((in_place, "rows_of_new"), (headers, "with_headers"), (owned, "rows_of_owned")):
        real = getattr(module, name)

        @functools.wraps(real)
        def fail(*_):
            raise AssertionError("done here")

        for place in (module, scan):
            if hasattr(place, name):
                monkeypatch.setattr(place, name, fail)


@pytest.fixture
def world(librarian, models_folder, make_model):
    """Models of all kinds: plain, linked, in parts, with pictures and records beside them, broken, owned."""
    for number in range(60):
        make_model(models_folder / "loras" / f"style {number % 7}" / f"Flux_写实_{number}.safetensors")
    first = models_folder / "loras" / "style 1" / "Flux_写实_1.safetensors"
    first.with_suffix(".png").write_bytes(b"png")
    first.with_suffix(".civitai.info").write_text(json.dumps({"name": "v2", "trainedWords": ["sks"]}))
    (models_folder / "checkpoints" / "linked.safetensors").symlink_to(first)
    os.link(first, models_folder / "vae" / "hard.safetensors")
    for part in (1, 2):
        make_model(models_folder / "text_encoders" / f"t5-0000{part}-of-00002.safetensors")
    make_model(models_folder / "text_encoders" / "alone-00001-of-00002.safetensors")
    (models_folder / "vae" / "broken.safetensors").write_bytes(b"\xff" * 40)
    (models_folder / "vae" / "empty.pt").touch()
    for number in range(30):
        folder = librarian.library.root / f"diffusion/family{number % 3}/m{number}"
        path = make_model(folder / f"m{number}.safetensors")
        size = path.stat().st_size + (number == 4)  # one is not whole
        model = Model(
            model_id=f"diffusion/family{number % 3}/m{number}",
            official_name=f"Owned {number}",
            cleaned_name=f"m{number}",
            files=[ModelFile(name=path.name, size=size)],
            tags=["a", f"b{number}"],
        )
        (folder / "metadata.json").write_bytes(serialise(model) if number != 5 else b"{")


def test_a_scan_with_another_process_finds_what_one_without_does(librarian, world, scan, request):
    quick = scan("quick")
    before = {model.model_id: model for model in librarian.models.search(ModelQuery(limit=500)).models}
    request.getfixturevalue("never_here")
    again = scan("deep")  # compares all that the index has of each model
    assert (again["models_indexed"], again["models_removed"]) == (0, 0)
    assert again["models_found"] == quick["models_found"]
    assert again["models_skipped_missing_files"] == quick["models_skipped_missing_files"] == 1
    assert again["errors"] == quick["errors"] != []
    assert {
        model.model_id for model in librarian.models.search(ModelQuery(limit=500)).models
    } == before.keys()


@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_what_another_process_found_is_what_a_scan_without_it_finds(librarian, world, scan, request, kind):
    request.getfixturevalue("never_here")
    scan(kind)
    request.getfixturevalue("monkeypatch").undo()
    again = scan("deep")
    assert (again["models_indexed"], again["models_removed"]) == (0, 0)


def test_a_cancelled_scan_leaves_no_process(librarian, world, never_here, monkeypatch):
    context = JobContext(Job(id="x", kind="scan"), lambda _: None)
    started = []
    real = Worker._start

    def start(self, function):
        real(self, function)
        started.append(self._process.pid)
        context.request_cancel()

    monkeypatch.setattr(Worker, "_start", start)
    with pytest.raises(CancelledError):
        librarian.library.deep_scan([], context)
    assert [has_ended(pid) for pid in started] == [True]
