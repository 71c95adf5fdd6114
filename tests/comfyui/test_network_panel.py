"""The hosts in the panel: a search, a download, and the network that goes and comes back."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ..fake_hub import COMMIT, FakeHub, Gate

REPOSITORY = "someone/pixel-portraits"
FILE = "pixel-portraits-xl.safetensors"
WEIGHTS = {
    "conv_first.weight": (1500, 500),
    "body.0.rdb1.conv1.weight": (1500, 500),
    "conv_last.weight": (3, 8, 3, 3),
}


class Hub(FakeHub):
    """A hub whose open connections end with it, as when a cable is pulled."""

    def start(self, port: int = 0) -> None:
        super().start(port)
        self.connections: list[socket.socket] = []
        accept = self._server.get_request

        def get_request():
            connection, address = accept()
            self.connections.append(connection)
            return connection, address

        self._server.get_request = get_request

    def stop(self) -> None:
        super().stop()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def hub(make_model, tmp_path) -> Iterator[Hub]:
    hub = Hub()
    hub.start()
    content = make_model(tmp_path / FILE, WEIGHTS).read_bytes()
    hub.add(REPOSITORY, {FILE: content, "vae/ae.safetensors": b"a"})
    found = {"id": REPOSITORY, "author": "someone", "sha": COMMIT, "tags": [], "downloads": 1234, "likes": 56}
    hub.pages["/api/models"] = [
        {**found, "siblings": [{"rfilename": FILE}, {"rfilename": "vae/ae.safetensors"}]}
    ]
    hub.pages["/api/v1/models"] = {"items": [], "metadata": {}}
    yield hub
    hub.stop()


def test_found_at_a_host_downloaded_and_the_network_cut(
    hub, start_comfyui, new_page, open_librarian, own_errors
) -> None:
    environment = {"HF_ENDPOINT": hub.origin, "CIVITAI_ENDPOINT": hub.origin, "LIBRARIAN_OFFLINE": ""}
    server = start_comfyui(environment=environment)
    page: Page = open_librarian(new_page(server))
    search = page.get_by_placeholder("Search models")

    search.fill("pixel portraits")
    remote = page.locator(".lib-remote")
    ask = remote.get_by_role("button", name="Search online")
    expect(ask).to_be_visible(timeout=15_000)
    assert hub.asked == [], "nothing that is typed is sent by itself"
    ask.click()
    row = remote.get_by_role("button", name=re.compile("pixel-portraits"))
    expect(row).to_be_visible(timeout=15_000)
    expect(row).to_contain_text("1,234 downloads")
    row.click()
    sheet = page.get_by_role("region", name=REPOSITORY)
    expect(sheet).to_contain_text("3 MB")
    expect(sheet.get_by_role("checkbox", name=re.compile(re.escape(FILE)))).to_be_checked()

    gate = Gate(1_000_000, drips=True)
    hub.faults.append(gate)
    sheet.get_by_role("button", name=re.compile("^Download 1 item")).click()
    entry = page.locator(".lib-download")
    assert gate.reached.wait(15)
    expect(entry).to_contain_text("Downloading")
    expect(entry).to_contain_text("of 3 MB")
    entry.get_by_role("button", name="Pause").click()
    expect(entry).to_contain_text("Paused")
    gate.opened.set()
    entry.get_by_role("button", name="Resume").click()
    entry.get_by_role("button", name="Show in library").click(timeout=15_000)
    expect(page.locator(".lib-details h2")).to_have_text(re.compile("pixel-portraits"))
    [model] = server.get_json("/librarian/models?q=pixel")["models"]
    assert model["storage"] == "owned"

    port = int(hub.origin.rpartition(":")[2])
    hub.stop()
    page.get_by_role("button", name="Back").click()
    search.fill("something else")
    always = remote.get_by_role("button", name="Always", exact=True)
    expect(always).to_be_visible()
    began = time.monotonic()
    always.click()
    banner = page.locator("[data-banner=offline]")
    expect(banner).to_have_count(1, timeout=9_000)
    assert time.monotonic() - began < 9, "7 s are the network's; the rest is for a slow machine"
    expect(banner).to_contain_text("Using cached data (offline)")
    expect(banner.get_by_role("timer")).to_contain_text(re.compile(r"next try in [1-6]?\d s"))
    search.fill("pixel portraits")
    expect(row).to_be_visible()

    search.fill("portraits")
    hub.start(port)
    banner.get_by_role("button", name="Try now").click()
    expect(banner).to_have_count(0, timeout=10_000)
    expect(row).to_be_visible(timeout=10_000)
    assert own_errors(page) == []


PIPELINE = "someone/pixel-pipeline"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "PNDMScheduler"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}


def test_a_folder_comes_as_one_model_a_wrong_file_is_kept_aside_and_limits_are_told(
    hub, start_comfyui, new_page, open_librarian, own_errors, make_model, tmp_path
) -> None:
    weights = "unet/diffusion_pytorch_model.safetensors"
    files = {
        "model_index.json": json.dumps(INDEX).encode(),
        "scheduler/scheduler_config.json": b"{}",
        "unet/config.json": b"{}",
        weights: make_model(tmp_path / "unet.safetensors", WEIGHTS).read_bytes(),
        "unet/diffusion_pytorch_model.fp16.safetensors": make_model(
            tmp_path / "fp16.safetensors"
        ).read_bytes(),
        "unet/model.onnx": b"onnx",
    }
    hub.add(PIPELINE, files)
    found = {"id": PIPELINE, "author": "someone", "sha": COMMIT, "tags": []}
    hub.pages["/api/models"] = [{**found, "siblings": [{"rfilename": name} for name in files]}]
    right = files[weights]
    hub.files[f"/cdn/{PIPELINE}/{weights}"] = right[:-1] + bytes([right[-1] ^ 1])
    environment = {"HF_ENDPOINT": hub.origin, "CIVITAI_ENDPOINT": hub.origin, "LIBRARIAN_OFFLINE": ""}
    server = start_comfyui(environment=environment)
    page: Page = open_librarian(new_page(server))
    page.get_by_placeholder("Search models").fill("pixel pipeline")
    page.get_by_role("button", name="Search online").click(timeout=15_000)
    page.locator(".lib-remote-row").click(timeout=15_000)
    sheet = page.get_by_role("region", name=PIPELINE)
    whole = sheet.get_by_role("checkbox", name=re.compile("^pixel-pipeline, 4 files of a Diffusers folder"))
    expect(whole).to_be_checked(timeout=10_000)
    expect(
        sheet.get_by_role("checkbox", name=re.compile("fp16, 4 files of a Diffusers folder"))
    ).not_to_be_checked()
    expect(sheet.get_by_text("model.onnx")).to_have_count(0)
    sheet.get_by_role("button", name=re.compile("^Download 1 item · 3 MB")).click()

    entry = page.locator(".lib-download")
    expect(entry).to_contain_text("kept aside (3 MB)", timeout=15_000)
    [download] = server.get_json("/librarian/downloads")["downloads"]
    [aside] = [file["aside"]["path"] for file in download["files"] if file["aside"]]
    assert Path(aside).stat().st_size == len(right)
    assert server.get_json("/librarian/models")["total"] == 0
    entry.get_by_role("button", name="Throw it away").click()
    expect(entry.get_by_text("kept aside (3 MB)")).to_have_count(0)
    assert not Path(aside).exists()

    hub.files[f"/cdn/{PIPELINE}/{weights}"] = right
    entry.get_by_role("button", name="Retry").click()
    entry.get_by_role("button", name="Show in library").click(timeout=15_000)
    [model] = server.get_json("/librarian/models")["models"]
    assert (model["model_format"], model["storage"]) == ("diffusion-folder", "owned")

    hub.page_headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "240"}
    page.get_by_role("button", name="Back").click()
    page.get_by_placeholder("Search models").fill("other words")
    page.get_by_role("button", name="Search online").click(timeout=15_000)
    banner = page.locator("[data-banner=rate-limit]")
    expect(banner).to_contain_text("Rate limit nearly used", timeout=10_000)
    expect(banner).to_contain_text(re.compile(r"[0-3] of 100 left"))
    assert own_errors(page) == []
