"""A long list: what was typed is on screen at once, few rows are drawn, and scrolling neither halts nor eats memory.

The standalone server lists made-up models of which only the headers are real. Here there are 2,000, and the times
are printed, not judged; by hand, with the size that counts:

    LIBRARIAN_BIG_LIST=100000 scripts/test --only comfyui -- tests/comfyui/test_big_list.py -s
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

SIZE = int(os.environ.get("LIBRARIAN_BIG_LIST", "2000"))
START = 600.0
"""Seconds that a big folder may take until it is listed."""
WORDS = ("anime", "detail", "portrait", "flux", "sdxl", "style", "light", "paint", "pixel", "ink")
TYPE = """async ([text, first]) => {
  const field = document.querySelector('[data-lib-search]')
  field.focus()
  let last = 0
  for (const letter of text) {
    field.value += letter
    last = performance.now()
    field.dispatchEvent(new Event('input', { bubbles: true }))
    await new Promise((resolve) => setTimeout(resolve, 40))
  }
  for (;;) {
    await new Promise(requestAnimationFrame)
    const count = document.querySelector('.lib-result-count').textContent
    const rows = document.querySelectorAll('.lib-row:not(.is-skeleton)')
    const answered = document.querySelector('[aria-busy=false][role=listbox]')
    const shown = answered && /found/.test(count) && rows[0]?.textContent.includes(first)
    if (shown) return performance.now() - last
  }
}"""
SCROLL = """async (seconds) => {
  const list = document.querySelector('.lib-list')
  const far = list.scrollHeight - list.clientHeight
  const gaps = []
  let most = 0
  const begun = performance.now()
  let before = begun
  for (;;) {
    const now = await new Promise(requestAnimationFrame)
    gaps.push(now - before)
    before = now
    const share = (now - begun) / (seconds * 1000)
    if (share >= 1) break
    list.scrollTop = far * (1 - Math.abs(1 - 2 * share))
    most = Math.max(most, document.querySelectorAll('.lib-slot').length)
  }
  gaps.sort((one, other) => one - other)
  return { frames: gaps.length, median: gaps[gaps.length >> 1], worst: gaps[gaps.length - 1], most }
}"""


@dataclass
class Standalone:
    """A running standalone server."""

    base_url: str


def write_models(folder: Path, count: int) -> None:
    """LoRAs of a few bytes, each of its own size, so that nothing needs hashing."""
    for at in range(count):
        size = 64 + at
        tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
        header = json.dumps({"lora_unet_down_blocks_0.lora_down.weight": tensor}).encode()
        name = f"{WORDS[at % 10]}-{WORDS[at // 10 % 10]}-{WORDS[at // 100 % 10]}-{at:06}.safetensors"
        path = folder / "loras" / f"{at // 1000:03}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + size)


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    folder = tmp_path_factory.mktemp("big")
    write_models(folder / "models", SIZE)
    server = subprocess.Popen(
        [sys.executable, "-m", "model_librarian", "serve", "--port", "0", "--models", folder / "models"],
        env={**os.environ, "LIBRARIAN_HOME": str(folder / "home"), "LIBRARIAN_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    started = Standalone(server.stdout.readline().split()[-1].rstrip("/"))
    until = time.monotonic() + START
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{started.base_url}/librarian/status") as answer:
            status = json.load(answer)
        if status["index"]["state"] == "ready" and status["library"]["models"] == SIZE:
            break
        time.sleep(0.2)
    yield started
    server.terminate()
    assert server.wait(20) == 0


@pytest.fixture
def listed(standalone: Standalone, new_page) -> Page:
    page = new_page(standalone, viewport={"width": 420, "height": 900}, reduced_motion="reduce")
    page.goto("/")
    expect(page.get_by_text(re.compile(f"^{SIZE:,} models")).first).to_be_visible()
    return page


def test_what_was_typed_is_on_screen(listed: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """One question for one search, and the rows that answer it."""
    asked: list[str] = []
    listed.on("request", lambda request: "/models?q=" in request.url and asked.append(request.url))
    name = f"{WORDS[3]}-{WORDS[0]}-{WORDS[1]}-000103"
    times = []
    for _ in range(5):
        times.append(listed.evaluate(TYPE, ["000103", name]))
        listed.get_by_role("button", name="Clear search").first.click()
        expect(listed.get_by_text(re.compile(f"^{SIZE:,} models")).first).to_be_visible()
    assert len(asked) == 5
    with capsys.disabled():
        said = ", ".join(f"{one:.0f}" for one in times)
        print(f"\n{SIZE:,} models: last key to rows on screen {said} ms, of which 300 are the wait")


@pytest.mark.parametrize("look", ["list", "grid"])
def test_scrolling(listed: Page, capsys: pytest.CaptureFixture[str], look: str) -> None:
    """From the top to the end and back, twice: few rows in the page, and the memory of the first time."""
    if look == "grid":
        listed.get_by_role("button", name="Show as a grid of previews").click()
    devtools = listed.context.new_cdp_session(listed)
    devtools.send("HeapProfiler.enable")

    def heap() -> int:
        devtools.send("HeapProfiler.collectGarbage")
        return int(devtools.send("Runtime.getHeapUsage")["usedSize"])

    said = []
    before = heap()
    for _ in range(3):
        frames = listed.evaluate(SCROLL, 8)
        assert frames["most"] < 200
        said.append(
            f"{frames['frames'] / 8:.0f} frames a second, worst gap {frames['worst']:.0f} ms, "
            f"{frames['most']} rows at most, heap {heap() / 1e6:.1f} MB"
        )
    listed.locator(".lib-list").press("End")
    expect(listed.locator(f"[role=option][aria-posinset='{SIZE}']")).to_be_visible()
    with capsys.disabled():
        print(f"\n{SIZE:,} models, {look}: heap {before / 1e6:.1f} MB at first; " + "; ".join(said))
