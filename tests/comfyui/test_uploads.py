"""Uploads into the real ComfyUI, by the panel's own store and tus-js-client in a real browser.

LIBRARIAN_UPLOAD_MB sets the size of the large file; what was measured is printed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from _real_comfyui import RealComfyUI
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.comfyui

MB = 1024 * 1024
LARGE = int(os.environ.get("LIBRARIAN_UPLOAD_MB", "300")) * MB

WATCH = '''
"""Notes how long one callback holds the event loop: on the clock; without waiting for a processor that others
have; and while this thread had one."""
import asyncio, time
from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS = {}
worst = {"clock_ms": 0.0, "waits_left_out_ms": 0.0, "own_ms": 0.0}
run = asyncio.events.Handle._run

def waited():
    """Seconds for which this thread could have run and had no processor; Linux only."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0

def watched(self):
    clock, waits, own = time.perf_counter(), waited(), time.thread_time()
    run(self)
    clock, waits, own = time.perf_counter() - clock, waited() - waits, time.thread_time() - own
    worst["clock_ms"] = max(worst["clock_ms"], clock * 1000)
    worst["waits_left_out_ms"] = max(worst["waits_left_out_ms"], (clock - waits) * 1000)
    worst["own_ms"] = max(worst["own_ms"], own * 1000)

asyncio.events.Handle._run = watched

@PromptServer.instance.routes.get("/watched")
async def answer(request):
    said = dict(worst)
    worst.update(dict.fromkeys(worst, 0.0))
    return web.json_response(said)
'''

STORE = """async () => {
  const {createUploads} = await import('/api/librarian/web/app/stores/uploads.mjs')
  window.uploads = createUploads({url: (path) => '/api/librarian' + path})
  const input = document.createElement('input')
  Object.assign(input, {type: 'file', multiple: true, id: 'chosen'})
  document.body.append(input)
}"""
ADD = (
    "() => uploads.add([...document.querySelector('#chosen').files].map((file) => ({file, path: file.name})))"
)
LIST = "() => uploads.get().uploads.map(({error, ...upload}) => ({...upload, error: error && error.code}))"
ENDED = "() => uploads.get().uploads.every(({state}) => state === 'done' || state === 'failed')"


def write_model(path: Path, size: int, seed: int = 1) -> str:
    """A valid safetensors file of about ``size`` bytes, no two of its blocks alike; its SHA-256."""
    header = json.dumps({"conv_first.weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    text = header.encode() + b" " * (-len(header) % 8)
    digest = hashlib.sha256()
    block = bytearray(os.urandom(MB))
    with open(path, "wb") as file:
        for data in (struct.pack("<Q", len(text)), text):
            digest.update(data)
            file.write(data)
        for number in range(size // MB):
            block[:8] = struct.pack("<II", seed, number)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def digest_of(server: RealComfyUI, upload_id: str) -> str:
    """The SHA-256 that the server says an upload has."""
    request = urllib.request.Request(
        f"{server.base_url}/librarian/uploads/{upload_id}", method="HEAD", headers={"Tus-Resumable": "1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        said = response.headers["Repr-Digest"]
    return base64.b64decode(said.removeprefix("sha-256=:").removesuffix(":")).hex()


def post(server: RealComfyUI, path: str, body: object) -> dict:
    request = urllib.request.Request(
        f"{server.base_url}/librarian{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def written_by(process: psutil.Process) -> int:
    """Bytes that the process has handed to the kernel for files and pipes."""
    return process.io_counters().write_chars


@contextlib.contextmanager
def peak_memory(process: psutil.Process) -> Iterator[list[int]]:
    """The most memory that the process had meanwhile, in bytes, as the last of the list."""
    peak = [process.memory_info().rss]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            peak.append(max(peak[-1], process.memory_info().rss))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


class Proxy:
    """Between a browser and a server; breaks the connection that has just brought so many bytes, again and again."""

    def __init__(self, port: int, breaks_after: int) -> None:
        self._port = port
        self._breaks_after = breaks_after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.broken = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for source, target, counts in ((browser, server, True), (server, browser, False)):
                    threading.Thread(target=self._pass, args=(source, target, counts), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        here = 0
        with contextlib.suppress(OSError):
            while data := source.recv(256 * 1024):
                target.sendall(data)
                if counts:
                    here += len(data)
                    if here > self._breaks_after:
                        self.broken += 1
                        break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealComfyUI]:
    server = RealComfyUI(tmp_path_factory.mktemp("uploads"))
    custom_nodes = server.base_dir / "custom_nodes"
    custom_nodes.mkdir()
    (custom_nodes / "watch_the_loop.py").write_text(WATCH)
    yield server.start()
    server.kill()


@pytest.fixture
def open_store(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """A page of the server with the panel's store of uploads; not routed, since that would copy the bodies."""
    contexts = []

    def open_page(base_url: str) -> Page:
        context = browser.new_context(base_url=base_url)
        contexts.append(context)
        page = context.new_page()
        page.goto("/api/system_stats")  # the origin is what counts; the frontend would take a while
        page.evaluate(STORE)
        return page

    yield open_page
    for context in contexts:
        context.close()


def upload(page: Page, *paths: Path) -> None:
    page.set_input_files("#chosen", list(paths))
    page.evaluate(ADD)


def ended(page: Page, timeout_s: float = 300) -> list[dict]:
    page.wait_for_function(ENDED, timeout=timeout_s * 1000)
    return page.evaluate(LIST)


def test_a_large_file_is_written_once_and_holds_up_nobody(
    server: RealComfyUI, open_store, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    sha256 = write_model(tmp_path / "large.safetensors", LARGE)
    size = (tmp_path / "large.safetensors").stat().st_size
    process = psutil.Process(server.process.pid)
    page = open_store(server.base_url)
    server.get("/watched")
    written, started = written_by(process), time.perf_counter()
    with peak_memory(process) as memory:
        upload(page, tmp_path / "large.safetensors")
        [done] = ended(page)
    seconds, held = time.perf_counter() - started, server.get_json("/watched")
    assert (done["state"], done["sent"]) == ("done", size), done
    assert digest_of(server, done["id"]) == sha256, "known with the last byte"

    [group] = post(server, "/inspect", {"uploads": [done["id"]]})["groups"]
    assert group["importable"], group
    job = post(server, "/imports", {"items": [{"uploads": [done["id"]]}]})["job"]
    while job["state"] in ("queued", "running"):
        job = server.get_json(f"/librarian/jobs/{job['id']}")
    assert job["state"] == "done", job
    model = server.get_json(f"/librarian/models/{job['result']['imported'][0]}")
    assert model["files"][0]["sha256"] == sha256
    written = written_by(process) - written
    grown = memory[-1] - memory[0]
    tell(
        f"{size / 1e6:.0f} MB in {seconds:.1f} s ({size / 1e6 / seconds:.0f} MB/s); written "
        f"{written / size:.4f} times with the import; memory +{grown / MB:.0f} MB; loop held at most "
        f"{held['clock_ms']:.1f} ms, {held['waits_left_out_ms']:.1f} ms without waiting for a processor, "
        f"{held['own_ms']:.1f} ms at work"
    )
    assert written < 1.02 * size, "the import renames what was uploaded"
    assert grown < 64 * MB
    assert held["own_ms"] < 10


def test_a_connection_that_keeps_breaking(server: RealComfyUI, open_store, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    sha256 = write_model(path, 100 * MB, seed=2)
    proxy = Proxy(server.port, 30 * MB)
    patched: list[str] = []
    try:
        page = open_store(proxy.base_url)
        page.on(
            "request", lambda sent: sent.method == "PATCH" and patched.append(sent.headers["upload-offset"])
        )
        upload(page, path)
        [done] = ended(page)
    finally:
        proxy.close()
    assert done["state"] == "done", done
    assert digest_of(server, done["id"]) == sha256
    assert proxy.broken >= 3
    offsets = [int(offset) for offset in patched]
    assert offsets == sorted(offsets), "it never began anew"
    assert len({offset for offset in offsets if offset > 0}) >= 3


def test_a_server_that_is_killed_while_two_files_come(
    server: RealComfyUI, open_store, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    digests = [write_model(path, 120 * MB, seed) for seed, path in enumerate(paths, start=3)]
    page = open_store(server.base_url)
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 30 * MB}
    network.send("Network.emulateNetworkConditions", slow)
    upload(page, *paths)
    page.wait_for_function(f"() => uploads.get().uploads.every(({{sent}}) => sent > {20 * MB})")
    assert [one["state"] for one in page.evaluate(LIST)] == ["sending", "sending"]
    server.kill()
    kept = sorted(path.stat().st_size for path in server.base_dir.rglob("upload-*/content/[ab].safetensors"))
    assert kept[0] > 0
    assert kept[-1] < 120 * MB
    server.start()
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    done = ended(page)
    assert [one["state"] for one in done] == ["done", "done"], done
    assert [digest_of(server, one["id"]) for one in done] == digests
    arrived = {path.parent.parent.name for path in server.base_dir.rglob("upload-*/content/[ab].safetensors")}
    assert arrived == {f"upload-{one['id']}" for one in done}, "the same uploads went on, and no others began"
