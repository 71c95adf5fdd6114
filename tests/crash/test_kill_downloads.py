"""Kill −9 at random moments of a download: nothing half under a final name, and the next start brings it to its end."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..fake_hub import FakeHub, serve

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("LIBRARIAN_KILLS", "5"))
PIECE = 256 * 1024
LIFE = [sys.executable, str(Path(__file__).with_name("_downloading.py"))]


def slowly(exchange) -> None:
    """A file in pieces, so that there is something to kill."""
    write = exchange.wfile.write

    def in_pieces(data: bytes) -> int:
        for start in range(0, len(data), PIECE):
            write(data[start : start + PIECE])
            time.sleep(0.02)
        return len(data)

    exchange.wfile.write = in_pieces
    try:
        serve(exchange)
    except OSError:  # killed
        exchange.close_connection = True


def test_killed_downloads_come_to_their_end(tmp_path, make_model, monkeypatch, capsys):
    parts = {
        f"big-0000{n}-of-00002.safetensors": make_model(
            tmp_path / f"{n}", {"conv_first.weight": (2000, 2000)}
        ).read_bytes()
        for n in (1, 2)
    }
    hub = FakeHub()
    hub.start()
    hub.add("org/big", parts)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "HF_ENDPOINT": hub.origin,
        "LIBRARIAN_OFFLINE": "",
    }
    chance = random.Random(20261123)
    killed = finished = 0
    try:
        for number in range(KILLS):
            folder = tmp_path / f"life {number}"
            folder.mkdir()
            for longest in (0.3, 0.8, None):
                hub.faults = [slowly] * 10
                with subprocess.Popen(
                    [*LIFE, str(folder)], env=environment, stdout=subprocess.PIPE
                ) as process:
                    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
                    try:
                        assert process.wait(chance.uniform(0, longest) if longest else None) == 0
                        finished += 1
                    except subprocess.TimeoutExpired:
                        process.kill()
                        killed += 1
                check_final_names(folder / "library", parts)
            assert len(list((folder / "library").glob("*/*/*/metadata.json"))) == 1
            assert [n for n in os.listdir(folder / "library" / ".incoming") if n != "metadata.lock"] == []
    finally:
        hub.stop()
    resumed = sum("Range" in headers for headers in hub.sent_to("/cdn/"))
    with capsys.disabled():
        print(f"\n  {killed} kills of {KILLS} downloads, {resumed} files taken up where they were")
    assert killed and resumed


def check_final_names(library: Path, parts: dict[str, bytes]) -> None:
    for metadata in library.glob("*/*/*/metadata.json"):
        for name, content in parts.items():
            assert (metadata.parent / name).read_bytes() == content
