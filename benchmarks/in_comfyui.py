"""What is measured from outside, over HTTP, in the real ComfyUI with the package in its ``custom_nodes``.

ComfyUI, its requirements and a frontend are those of the tests (`scripts/_real_comfyui.py`).
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from measures import p95, queries
from synthetic import make_models_folder, names

sys.path.append(str(Path(__file__).resolve().parent.parent / "scripts"))
from _real_comfyui import RealComfyUI

PAGE = 50
PING_EVERY_S = 0.005
HTTP_MARGIN_S = 0.005
"""What HTTP may add to the core's own time (p95)."""


class Client:
    """One connection that is kept, as a browser keeps its own."""

    def __init__(self, server: RealComfyUI) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON. Raises `OSError` for a refusal."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        data = response.read()
        if response.status >= 400:
            raise OSError(f"{method} {path}: {response.status} {data[:500]!r}")
        return json.loads(data) if data else None


class Pings:
    """How long ComfyUI takes to answer its cheapest question, asked every 5 ms over a connection of its own."""

    def __init__(self, server: RealComfyUI) -> None:
        self._client = Client(server)
        self._times: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(PING_EVERY_S):
            started = time.perf_counter()
            self._client.call("GET", "/prompt")
            self._times.append(time.perf_counter() - started)

    def take(self) -> list[float]:
        """The times in seconds since the last call of this."""
        taken, self._times = self._times, []
        return taken

    def close(self) -> None:
        """Ask no more."""
        self._ended.set()
        self._thread.join()


@contextmanager
def comfyui(folder: Path, size: int) -> Iterator[RealComfyUI]:
    """A running ComfyUI over ``size`` models, with Librarian as its only custom node."""
    server = RealComfyUI(folder / "comfyui")
    make_models_folder(server.models_dir, names(size))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def until(ready: Callable[[], bool], timeout: float = 900) -> float:
    """Seconds until ``ready``, looked at twenty times a second."""
    started = time.perf_counter()
    while not ready():
        if time.perf_counter() - started > timeout:
            raise TimeoutError("it was never ready")
        time.sleep(0.05)
    return time.perf_counter() - started


def asked(client: Client, path: str, wanted: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Seconds of each call as its caller sees it, and those that the core says it took."""
    outside, inside = [], []
    for query in wanted:
        started = time.perf_counter()
        answer = client.call("GET", f"{path}?{urlencode(query, doseq=True)}")
        outside.append(time.perf_counter() - started)
        inside.append(answer["query_time_ms"] / 1e3)
    return outside, inside


def hold_row(what: str, size: int, times: list[float], idle: list[float]) -> list[object]:
    """A row about how long ComfyUI's answers took while something ran; answering itself is in both columns."""
    worst, usual = max(times), sorted(times)[int(len(times) * 0.99)]
    return [
        f"ComfyUI's slowest answer, {what}",
        size,
        f"{worst * 1e3:.1f} ms (p99 {usual * 1e3:.1f})",
        f"{max(idle) * 1e3:.1f} ms idle (median {statistics.median(idle) * 1e3:.1f})",
        "",
        "≤ 10 ms more than its own",
        worst <= 0.010 + statistics.median(idle),
    ]


def in_comfyui(folder: Path, size: int) -> list[list[object]]:
    """Search over HTTP, edits, and how ComfyUI itself answers meanwhile."""
    rows: list[list[object]] = []
    with comfyui(folder, size) as server:
        client, pings = Client(server), Pings(server)
        listed = until(lambda: client.call("GET", "/librarian/status")["library"]["models"] >= size)
        bar = {10_000: 2.0, 100_000: 15.0}.get(size)
        rows.append(["day one in ComfyUI: listed after it answers", size, f"{listed:.2f} s", "", "",
                     f"≤ {bar:.0f} s" if bar else "", listed <= bar if bar else None])  # fmt: skip
        scanning = pings.take()
        until(lambda: client.call("GET", "/librarian/status")["index"]["state"] == "ready")
        scanning += pings.take()
        time.sleep(3)
        pings.take()
        time.sleep(3)
        idle = pings.take()
        rows.append(hold_row("first scan", size, scanning, idle))

        for kind, wanted in queries(names(size)).items():
            pages = [query.model_dump(exclude_defaults=True) | {"limit": PAGE} for query in wanted]
            outside, inside = asked(client, "/librarian/models", pages)
            over, core = p95(outside), p95(inside)
            rows.append([f"search over HTTP, {kind}", size, f"{over * 1e3:.1f} ms", f"{core * 1e3:.1f} ms in the core",
                         "", "core + 5 ms", over <= core + HTTP_MARGIN_S])  # fmt: skip
        rows.append(hold_row("searching", size, pings.take(), idle))

        ids = [model["model_id"] for model in client.call("GET", "/librarian/models?limit=500")["models"]]
        pings.take()
        edits = []
        for model_id in ids[:100]:
            started = time.perf_counter()
            client.call("PATCH", f"/librarian/models/{quote(model_id)}", {"notes": "measured"})
            edits.append(time.perf_counter() - started)
        rows.append(["edit one model over HTTP", size, f"{statistics.median(edits) * 1e3:.1f} ms", "", "",
                     "≤ 20 ms", statistics.median(edits) <= 0.02])  # fmt: skip
        rows.append(hold_row("editing", size, pings.take(), idle))

        def scan() -> None:
            job = client.call("POST", "/librarian/scan", {"kind": "quick"})["job"]
            until(lambda: client.call("GET", f"/librarian/jobs/{job['id']}")["state"] == "done")

        pings.take()
        scan()
        rows.append(hold_row("quick scan", size, pings.take(), idle))
        pings.close()
    return rows
