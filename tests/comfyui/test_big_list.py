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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

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
    const answered = document.querySelector('[aria-busy=false][role=listbox]')
    const shown = answered && /found/.test(count) && document.querySelector('.lib-row')?.textContent.includes(first)
    if (shown) return performance.now() - last
  }
}"""
SCROLL = """async ([seconds, pixels]) => {
  const list = document.querySelector('.lib-list')
  const far = list.scrollHeight - list.clientHeight
  const gaps = []
  const tasks = []
  const watch = new PerformanceObserver((told) => tasks.push(...told.getEntries().map(({ duration }) => duration)))
  watch.observe({ type: 'longtask' })
  let most = 0
  const begun = await new Promise(requestAnimationFrame)
  let before = begun
  for (;;) {
    const now = await new Promise(requestAnimationFrame)
    gaps.push(now - before)
    before = now
    const share = (now - begun) / (seconds * 1000)
    if (share >= 1) break
    list.scrollTop = pixels ? gaps.length * pixels : far * (1 - Math.abs(1 - 2 * share))
    most = Math.max(most, document.querySelectorAll('.lib-slot').length)
  }
  watch.disconnect()
  const dropped = gaps.reduce((sum, gap) => sum + Math.max(0, Math.round(gap / (1000 / 60)) - 1), 0)
  return { frames: gaps.length, worst: Math.max(...gaps), most, dropped, tasks }
}"""
COSTS = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")


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


class Costs:
    """What the page's main thread does, in milliseconds of processor time, whatever else the machine does."""

    def __init__(self, page: Page) -> None:
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._devtools.send("HeapProfiler.enable")

    def now(self) -> float:
        """Scripts, styles and layout since the page began."""
        metrics = self._devtools.send("Performance.getMetrics")["metrics"]
        return sum(metric["value"] for metric in metrics if metric["name"] in COSTS) * 1000

    def heap(self) -> int:
        """Bytes that are in use."""
        self._devtools.send("HeapProfiler.collectGarbage")
        return int(self._devtools.send("Runtime.getHeapUsage")["usedSize"])


def test_what_was_typed_is_on_screen(listed: Page, tell: Callable[[str], None]) -> None:
    """One question for one search, and the rows that answer it."""
    asked: list[str] = []
    listed.on("request", lambda request: "/models?q=" in request.url and asked.append(request.url))
    name = f"{WORDS[3]}-{WORDS[0]}-{WORDS[1]}-000103"
    costs = Costs(listed)
    times, work = [], []
    for _ in range(9):
        before = costs.now()
        times.append(listed.evaluate(TYPE, ["000103", name]))
        work.append(costs.now() - before)
        listed.get_by_role("button", name="Clear search").first.click()
        expect(listed.get_by_text(re.compile(f"^{SIZE:,} models")).first).to_be_visible()
    assert len(asked) == len(times)
    tell(
        f"{SIZE:,} models, last key to rows on screen (300 ms of it are the wait):"
        f" median {median(times):.0f} ms, worst {max(times):.0f} ms;"
        f" work for six keys and their answer: median {median(work):.1f} ms, worst {max(work):.1f} ms"
    )


@pytest.mark.parametrize("look", ["list", "grid"])
def test_scrolling(listed: Page, tell: Callable[[str], None], look: str) -> None:
    """From the top to the end and back, then as a hand does: few rows in the page, and the memory of before."""
    if look == "grid":
        listed.get_by_role("button", name="Show as a grid of previews").click()
    costs = Costs(listed)
    said = []
    first = costs.heap()
    for way, pixels in (("all of it in 8 s", 0), ("again", 0), ("again", 0), ("40 pixels a frame", 40)):
        before = costs.now()
        frames = listed.evaluate(SCROLL, [8, pixels])
        work = (costs.now() - before) / frames["frames"]
        assert frames["most"] < 200
        said.append(
            f"  {way}: {frames['frames'] / 8:.0f} frames a second, {frames['dropped']} dropped, "
            f"worst gap {frames['worst']:.0f} ms, {len(frames['tasks'])} tasks over 50 ms, "
            f"{work:.2f} ms of work a frame, {frames['most']} rows at most, heap {costs.heap() / 1e6:.1f} MB"
        )
    # The pages that are kept, and no more: the number of models makes no difference.
    assert costs.heap() - first < 20_000_000
    listed.locator(".lib-list").press("End")
    expect(listed.locator(f"[role=option][aria-posinset='{SIZE}']")).to_be_visible()
    for line in (f"{SIZE:,} models, {look}, heap {first / 1e6:.1f} MB at first", *said):
        tell(line)
