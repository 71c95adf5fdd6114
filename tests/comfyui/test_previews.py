"""Videos that show models, in the real frontend: played where a person looks, and uploaded with their model."""

from __future__ import annotations

import base64
import json
import re
import struct
import urllib.request
from pathlib import Path

import pytest
from _real_comfyui import RealComfyUI
from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => {
  const { violations } = await axe.run('.lib-film', { resultTypes: ['violations'] })
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.failureSummary}`))
}"""
RECORD = """async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 })
  const brush = canvas.getContext('2d')
  const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: 'video/webm' })
  const parts = []
  recorder.ondataavailable = ({ data }) => parts.push(data)
  const ended = new Promise((done) => (recorder.onstop = done))
  recorder.start()
  for (let frame = 0; frame < 25; frame += 1) {
    brush.fillStyle = `hsl(${frame * 14} 80% 50%)`
    brush.fillRect(0, 0, 64, 48)
    await new Promise(requestAnimationFrame)
    await new Promise((done) => setTimeout(done, 20))
  }
  recorder.stop()
  await ended
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer())
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}"""


def write_model(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensor = {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}
    header = json.dumps({"lora_unet_down_blocks_0.lora_down.weight": tensor}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes([seed]) * 64)
    return path


@pytest.fixture(scope="module")
def server(start_comfyui, tmp_path_factory) -> RealComfyUI:
    folder = tmp_path_factory.mktemp("previews") / "models"
    write_model(folder / "loras" / "moving.safetensors", 1)
    write_model(folder / "loras" / "plain.safetensors", 2)
    return start_comfyui(models=folder)


@pytest.fixture
def panel(server: RealComfyUI, new_page, open_librarian) -> Page:
    return open_librarian(new_page(server))


@pytest.fixture
def film(panel: Page) -> bytes:
    """A short video, as the browser itself makes one."""
    return base64.b64decode(panel.evaluate(RECORD))


def state_of(page: Page, selector: str, expression: str) -> None:
    """Wait until something is true of a video, with everything that it needs to have loaded."""
    page.wait_for_function(
        "([selector, expression]) => { const film = document.querySelector(selector); "
        "return Boolean(film) && Function('film', `return ${expression}`)(film) }",
        arg=[selector, expression],
        timeout=30_000,
    )


def test_a_video_beside_a_model_is_played_where_one_looks(
    panel: Page, server: RealComfyUI, film: bytes, own_errors
) -> None:
    row = panel.get_by_role("option").filter(has_text="moving")
    panel.locator(".lib input[type=search]").fill("moving")
    expect(panel.get_by_role("option")).to_have_count(1)
    expect(row.locator("svg").first).to_be_visible()
    (server.models_dir / "loras" / "moving.webm").write_bytes(film)
    panel.locator(".lib-header").get_by_role("button", name="Menu").click()
    panel.get_by_role("menuitem").first.click()
    state_of(panel, "[role=option] video", "film.videoWidth === 64 && film.paused && film.muted")
    expect(panel.locator("[role=option] video")).to_have_count(1)
    row.hover()
    state_of(panel, "[role=option] video", "!film.paused")
    panel.locator(".lib input[type=search]").hover()
    state_of(panel, "[role=option] video", "film.paused && film.currentTime === 0")

    row.click()
    state_of(panel, "video.lib-film", "!film.paused && film.currentTime > 0 && film.muted && film.loop")
    panel.add_script_tag(path=AXE)
    assert panel.evaluate(RUN_AXE) == []
    panel.locator(".lib-details").get_by_role("button", name="Back").click()
    expect(panel.locator("video.lib-film")).to_have_count(0)

    panel.emulate_media(reduced_motion="reduce")
    panel.get_by_role("option").filter(has_text="moving").click()
    state_of(panel, "video.lib-film", "film.videoWidth === 64 && film.paused && film.controls")
    assert own_errors(panel) == []


def test_what_lies_beside_a_chosen_model_is_uploaded_with_it(
    panel: Page, server: RealComfyUI, film: bytes, tmp_path: Path, own_errors
) -> None:
    model = write_model(tmp_path / "brought.safetensors", 3)
    (tmp_path / "brought.preview.webm").write_bytes(film)
    told = {"model": {"name": "Brought along"}, "trainedWords": ["a word"]}
    (tmp_path / "brought.civitai.info").write_text(json.dumps(told))
    (tmp_path / "holiday.webm").write_bytes(film)
    panel.get_by_role("navigation", name="Places").get_by_role("button", name=re.compile("^Import")).click()
    chosen = [
        model,
        *(tmp_path / f"{name}" for name in ("brought.preview.webm", "brought.civitai.info", "holiday.webm")),
    ]
    panel.locator("input[type=file]:not([webkitdirectory])").first.set_input_files(chosen)
    draft = panel.locator(".lib-draft")
    expect(draft).to_have_count(1, timeout=30_000)
    panel.get_by_role("button", name="Next", exact=True).click()
    panel.locator("[data-import-start]").click()
    expect(panel.get_by_text("1 imported").first).to_be_visible(timeout=30_000)

    [found] = server.get_json("/librarian/models?q=brought")["models"]
    assert (found["official_name"], found["preview_is_video"]) == ("Brought along", True)
    assert server.get_json(f"/librarian/models/{found['model_id']}")["trained_words"] == ["a word"]
    with urllib.request.urlopen(f"{server.base_url}/{found['preview_url']}", timeout=30) as answer:
        assert answer.headers["Content-Type"] == "video/webm"
        assert answer.read() == film
    assert own_errors(panel) == []
