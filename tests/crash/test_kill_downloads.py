"""Kill −9 of downloads: nothing half under a final name, nothing lost, and the next start brings it to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..fake_hub import FakeHub, serve

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are made by fork"),
]

SECONDS = 20
"""How long to kill; LIBRARIAN_KILL_SECONDS overrides."""

PIECE = 256 * 1024
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "PNDMScheduler"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}
WEIGHTS = {"conv_first.weight": (1000, 1200), "body.0.rdb1.conv1.weight": (3, 8, 3, 3)}


class SlowHub(FakeHub):
    """One that sends its files in pieces, so that there is something to kill."""

    def next_fault(self):
        return slowly


def slowly(exchange) -> None:
    write = exchange.wfile.write

    def in_pieces(data: bytes) -> int:
        for start in range(0, len(data), PIECE):
            write(data[start : start + PIECE])
            time.sleep(0.004)
        return len(data)

    exchange.wfile.write = in_pieces
    try:
        serve(exchange)
    except OSError:  # killed
        exchange.close_connection = True


def test_killed_downloads_come_to_their_end(fast_folder, make_model, tell):
    def weights(name: str) -> bytes:
        return make_model(fast_folder / "made" / name, WEIGHTS).read_bytes()

    shards = [f"big-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    repositories = {
        "org/one": {"one.safetensors": weights("one")},
        "org/set": {**{name: weights(name) for name in shards}, "big.safetensors.index.json": index},
        "org/pipe": {
            "model_index.json": json.dumps(INDEX).encode(),
            "scheduler/scheduler_config.json": b"{}",
            "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}',
            "unet/diffusion_pytorch_model.safetensors": weights("unet"),
        },
        "org/wrong": {"wrong.safetensors": weights("wrong")},
    }
    hub = SlowHub()
    hub.start()
    hub._server.handle_error = lambda *_: None  # hung up on, as whoever is killed does
    for repo_id, files in repositories.items():
        hub.add(repo_id, files)
    bytes_sent = bytearray(repositories["org/wrong"]["wrong.safetensors"])
    bytes_sent[-1] ^= 1
    repositories["org/wrong"]["wrong.safetensors"] = hub.files["/cdn/org/wrong/wrong.safetensors"] = bytes(
        bytes_sent
    )
    for repo_id, files in repositories.items():
        for name, content in files.items():
            path = fast_folder / "hub" / repo_id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "HF_ENDPOINT": hub.origin,
        "CIVITAI_ENDPOINT": hub.origin,
        "HUB_FILES": str(fast_folder / "hub"),
        "LIBRARIAN_OFFLINE": "",
    }
    seed = os.environ.get("LIBRARIAN_KILL_SEED", "20261123")
    seconds = os.environ.get("LIBRARIAN_KILL_SECONDS", str(SECONDS))
    script = Path(__file__).with_name("_kill_downloads.py")
    try:
        done = subprocess.run(
            [sys.executable, script, fast_folder / "lives", seconds, seed],
            env=environment,
            capture_output=True,
            text=True,
        )
    finally:
        hub.stop()
    assert done.returncode == 0, done.stderr[-5000:]
    report = json.loads(done.stdout)
    resumed = sum("Range" in headers for headers in hub.sent_to("/cdn/"))
    tell(
        f"{report['kills']} kills of downloads, {resumed} files taken up where they were (seed {seed}): "
        f"{report['cases']}"
    )
    assert report["kills"] and resumed
