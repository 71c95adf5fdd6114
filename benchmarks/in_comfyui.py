"""What is measured from outside, over HTTP, in the real ComfyUI with the package in its ``custom_nodes``.

ComfyUI, its requirements and a frontend are those of the tests (`scripts/_real_comfyui.py`).
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
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
PROBE = Path(__file__).resolve().parent / "loop_probe"
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


@contextmanager
def comfyui(folder: Path, size: int) -> Iterator[RealComfyUI]:
    """A running ComfyUI over ``size`` models, with Librarian and the probe as its only custom nodes."""
    server = RealComfyUI(folder / "comfyui")
    make_models_folder(server.models_dir, names(size))
    probe = server.base_dir / "custom_nodes" / PROBE.name
    probe.parent.mkdir(parents=True)
    probe.symlink_to(PROBE, target_is_directory=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def until(ready: Callable[[], bool], *, every: float = 0.05, timeout: float = 900) -> float:
    """Seconds until ``ready``, looked at ``every`` so many seconds."""
    started = time.perf_counter()
    while not ready():
        if time.perf_counter() - started > timeout:
            raise TimeoutError("it was never ready")
        time.sleep(every)
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


def hold_row(what: str, size: int, held: dict[str, Any], idle: dict[str, Any]) -> list[object]:
    """A row about how long ComfyUI's event loop was held while something ran, beside how long when nothing did."""
    full = held["collections"]
    halted = f"; full collections: {len(full)}, {max(full) * 1e3:.0f} ms" if full else ""
    return [
        f"longest hold of ComfyUI's event loop, {what}{halted}",
        size,
        f"{held['worst'] * 1e3:.1f} ms (p99 {held['p99'] * 1e3:.1f})",
        f"{idle['worst'] * 1e3:.1f} ms idle (p99 {idle['p99'] * 1e3:.1f})",
        "",
        "≤ 10 ms",
        held["worst"] <= 0.010,
    ]


def in_comfyui(folder: Path, size: int) -> list[list[object]]:
    """Search over HTTP, edits, and how ComfyUI itself answers meanwhile."""
    rows: list[list[object]] = []
    with comfyui(folder, size) as server:
        client = Client(server)
        held: Callable[[], dict[str, Any]] = lambda: client.call("GET", "/loop_probe")  # noqa: E731
        listed = until(lambda: client.call("GET", "/librarian/status")["library"]["models"] >= size)
        bar = {10_000: 2.0, 100_000: 15.0}.get(size)
        rows.append(["day one in ComfyUI: listed after it answers", size, f"{listed:.2f} s", "", "",
                     f"≤ {bar:.0f} s" if bar else "", listed <= bar if bar else None])  # fmt: skip
        listing = held()
        until(lambda: client.call("GET", "/librarian/status")["index"]["state"] == "ready", every=0.5)
        headers = held()
        time.sleep(10)
        hashing = held()
        for job in client.call("GET", "/librarian/jobs")["jobs"]:
            if job["state"] in ("queued", "running"):
                client.call("POST", f"/librarian/jobs/{job['id']}/cancel", {})
        time.sleep(2)
        held()
        time.sleep(5)
        idle = held()
        rows.append(hold_row("listing", size, listing, idle))
        rows.append(hold_row("reading headers", size, headers, idle))
        rows.append(hold_row("hashing", size, hashing, idle))

        for kind, wanted in queries(names(size)).items():
            pages = [query.model_dump(exclude_defaults=True) | {"limit": PAGE} for query in wanted]
            outside, inside = asked(client, "/librarian/models", pages)
            over, core = p95(outside), p95(inside)
            rows.append([f"search over HTTP, {kind}", size, f"{over * 1e3:.1f} ms", f"{core * 1e3:.1f} ms in the core",
                         "", "core + 5 ms", over <= core + HTTP_MARGIN_S])  # fmt: skip
        rows.append(hold_row("searching", size, held(), idle))

        ids = [model["model_id"] for model in client.call("GET", "/librarian/models?limit=500")["models"]]
        held()
        edits = []
        for model_id in ids[:100]:
            started = time.perf_counter()
            client.call("PATCH", f"/librarian/models/{quote(model_id)}", {"notes": "measured"})
            edits.append(time.perf_counter() - started)
        rows.append(["edit one model over HTTP", size, f"{statistics.median(edits) * 1e3:.1f} ms", "", "",
                     "≤ 20 ms", statistics.median(edits) <= 0.02])  # fmt: skip
        rows.append(hold_row("editing", size, held(), idle))

        def scan() -> None:
            job = client.call("POST", "/librarian/scan", {"kind": "quick"})["job"]
            until(lambda: client.call("GET", f"/librarian/jobs/{job['id']}")["state"] == "done")

        held()
        scan()
        rows.append(hold_row("quick scan", size, held(), idle))
    return rows
