"""The import wizard in the real ComfyUI, step by step, as a person uses it."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from _real_comfyui import RealComfyUI
from playwright.sync_api import Page, expect

DROP = """({name, data}) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))
  const transfer = new DataTransfer()
  transfer.items.add(new File([bytes], name))
  window.dragged = (kind, selector) => {
    const event = new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer})
    document.querySelector(selector).dispatchEvent(event)
    return event.defaultPrevented
  }
}"""


@pytest.fixture
def downloads(comfyui: RealComfyUI, tmp_path: Path) -> Path:
    """A folder of one test's own, inside what Librarian may read."""
    folder = comfyui.base_dir / "input" / tmp_path.name
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def wizard(librarian_page: Page) -> Page:
    """The first step."""
    places = librarian_page.get_by_role("navigation", name="Places")
    places.get_by_role("button", name=re.compile("^Import")).click()
    expect(librarian_page.get_by_label("Paths")).to_be_focused()
    return librarian_page


def huge_model(path: Path, size: int) -> Path:
    """A valid safetensors file of almost ``size`` bytes, nearly all of it a hole that takes no room."""
    header = json.dumps({"conv_first.weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    text = header.encode() + b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + size)
    return path


def inspect(page: Page, *paths: Path) -> None:
    page.get_by_label("Paths").fill("\n".join(map(str, paths)))
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_role("heading", name=re.compile("found$"))).to_be_visible()


def test_browse_describe_and_trust(
    wizard: Page, comfyui: RealComfyUI, downloads: Path, make_model, make_torch_zip, own_errors
) -> None:
    """From a folder of the server: a set with a part missing, a web page, a pickle, and a model."""
    make_model(downloads / "4x-Wizard.safetensors")
    make_torch_zip(downloads / "old-embedding.pt")
    make_model(downloads / "Set-00001-of-00002.safetensors")
    (downloads / "login.safetensors").write_text("<!DOCTYPE html><html>Sign in</html>")

    wizard.get_by_role("button", name="Browse…").click()
    wizard.get_by_title(str(comfyui.base_dir / "input"), exact=True).first.click()
    wizard.get_by_role("checkbox", name=f"Choose {downloads.name}").check()
    wizard.get_by_role("button", name="Take 1").click()

    expect(wizard.get_by_role("heading", name="4 things found")).to_be_visible()
    expect(wizard.get_by_text("part 2 of 2 is missing")).to_be_visible()
    expect(wizard.get_by_text("is a web page, not a model")).to_be_visible()
    expect(wizard.get_by_text("2 left out")).to_be_visible()
    wizard.get_by_label("Name", exact=True).first.fill("Wizard")
    wizard.get_by_role("button", name="Next").click()

    begin = wizard.get_by_role("button", name=re.compile("^Import 2"))
    expect(begin).to_be_disabled()
    expect(wizard.get_by_text("This is a pickle.")).to_be_visible()
    wizard.get_by_label("I trust where it comes from").check()
    wizard.get_by_role("radio", name=re.compile("^Move")).check()
    expect(wizard.get_by_text(re.compile("2 files, .*: moved, nothing stays behind"))).to_be_visible()
    wizard.get_by_role("switch", name=re.compile("^Link it")).uncheck()
    begin.click()

    expect(wizard.get_by_role("heading", name="2 imported")).to_be_visible(timeout=20_000)
    assert sorted(path.name for path in downloads.iterdir()) == [
        "Set-00001-of-00002.safetensors",
        "login.safetensors",
    ]
    wizard.get_by_role("listitem").filter(has_text="4x-Wizard").get_by_role("button", name="Show").click()
    expect(wizard.get_by_role("heading", name="Wizard", exact=True)).to_be_visible()

    # What lies where ComfyUI looks for it is adopted: it moves, and a link stays.
    model = make_model(comfyui.models_dir / "upscale_models" / "adopted-by-wizard.safetensors")
    places = wizard.get_by_role("navigation", name="Places")
    places.get_by_role("button", name=re.compile("^Import")).click()
    wizard.get_by_role("button", name="Import more").click()
    inspect(wizard, model)
    wizard.get_by_role("button", name="Next").click()
    expect(wizard.get_by_role("radio", name=re.compile("^Adopt"))).to_be_checked()
    expect(wizard.get_by_role("radio", name=re.compile("^Move"))).to_be_disabled()
    expect(wizard.get_by_text(re.compile("1 file, .*: moved, 1 link left behind"))).to_be_visible()
    wizard.get_by_role("button", name=re.compile("^Import 1")).click()
    expect(wizard.get_by_role("heading", name="1 imported")).to_be_visible(timeout=20_000)
    assert model.is_symlink()
    assert comfyui.base_dir / "model-library" in model.resolve().parents
    assert own_errors(wizard) == []


def test_a_drop_is_uploaded(
    wizard: Page, comfyui: RealComfyUI, tmp_path: Path, make_model: Callable[..., Path], own_errors
) -> None:
    model = make_model(tmp_path / "dropped-upscaler.safetensors", seed=101)
    content = {"name": model.name, "data": base64.b64encode(model.read_bytes()).decode()}
    wizard.evaluate(DROP, content)

    # ComfyUI keeps what is dropped on its canvas; the panel answers only above itself.
    wizard.evaluate("dragged('dragover', '#graph-canvas')")
    expect(wizard.get_by_text("Drop to import")).to_have_count(0)
    assert wizard.evaluate("dragged('dragover', '.lib-place')")
    expect(wizard.get_by_text("Drop to import")).to_be_visible()
    assert wizard.evaluate("dragged('drop', '.lib-place')")
    expect(wizard.get_by_text("Drop to import")).to_have_count(0)

    # Once it is here, it is looked at.
    expect(wizard.get_by_role("heading", name="1 thing found")).to_be_visible(timeout=20_000)
    expect(wizard.get_by_role("combobox", name="Kind", exact=True)).to_have_value("upscale_models")

    # One more, by the browser's own dialog.
    wizard.get_by_role("button", name="Back").click()
    second = make_model(tmp_path / "chosen-upscaler.safetensors", seed=102)
    wizard.locator("[data-picker=files]").set_input_files(second)
    expect(wizard.get_by_role("heading", name="2 things found")).to_be_visible(timeout=20_000)

    # And a folder with a set in two parts and a file that is no model.
    wizard.get_by_role("button", name="Back").click()
    parts = [
        make_model(tmp_path / "pair" / f"Pair-0000{number}-of-00002.safetensors", seed=102 + number)
        for number in (1, 2)
    ]
    (tmp_path / "pair" / "holiday.txt").write_text("sun")
    wizard.locator("[data-picker=folder]").set_input_files(tmp_path / "pair")
    expect(wizard.get_by_role("heading", name="3 things found")).to_be_visible(timeout=20_000)
    expect(wizard.get_by_text("Sharded set, 2 files")).to_be_visible()
    wizard.get_by_role("button", name="Next").click()
    expect(wizard.get_by_text("4 uploaded files")).to_be_visible()
    wizard.get_by_role("switch", name=re.compile("^Link it")).uncheck()
    wizard.get_by_role("button", name=re.compile("^Import 3")).click()
    expect(wizard.get_by_role("heading", name="3 imported")).to_be_visible(timeout=20_000)

    library = comfyui.base_dir / "model-library"
    for file in (model, second, *parts):
        [imported] = library.rglob(file.name)
        assert imported.read_bytes() == file.read_bytes()
    assert not list((library / ".incoming").rglob("*.safetensors"))
    assert own_errors(wizard) == []


def test_no_room_a_cancel_and_a_retry(
    wizard: Page, comfyui: RealComfyUI, downloads: Path, make_model: Callable[..., Path]
) -> None:
    library = comfyui.base_dir / "model-library"

    # A disk that cannot take it: said before, and again when one tries.
    huge = huge_model(downloads / "larger-than-the-disk.safetensors", 8 * 1024**4)
    inspect(wizard, huge)
    wizard.get_by_role("button", name="Next").click()
    wizard.get_by_role("radio", name=re.compile("^Copy")).check()
    expect(wizard.get_by_text(re.compile("^Not enough room"))).to_be_visible()
    wizard.get_by_role("button", name=re.compile("^Import 1")).click()
    expect(wizard.get_by_role("alert").filter(has_text="The import could not begin")).to_contain_text(
        "Not enough room"
    )
    assert not list(library.rglob(huge.name))
    huge.unlink()
    for _ in range(2):
        wizard.get_by_role("button", name="Back").click()

    # One that is cancelled leaves nothing; the tab may be closed meanwhile.
    large = huge_model(downloads / "takes-a-while.safetensors", 8 * 1024**3)
    inspect(wizard, large)
    wizard.get_by_role("button", name="Next").click()
    wizard.get_by_role("radio", name=re.compile("^Copy")).check()
    wizard.get_by_role("button", name=re.compile("^Import 1")).click()
    expect(wizard.get_by_text(re.compile("[MG]B/s"))).to_be_visible(timeout=30_000)
    tab = wizard.locator(".librarian-tab-button, [data-testid=librarian-tab-button]").first
    tab.click()
    expect(wizard.get_by_role("progressbar", name="Importing")).to_have_count(0)
    tab.click()
    wizard.get_by_role("button", name="Cancel", exact=True).click()
    expect(wizard.get_by_role("heading", name="Cancelled")).to_be_visible(timeout=20_000)
    assert not list(library.rglob(large.name))
    assert large.exists()
    large.unlink()

    # What failed is tried again, alone.
    wizard.get_by_role("button", name="Import more").click()
    files = [make_model(downloads / f"retried-{number}.safetensors", seed=200 + number) for number in (1, 2)]
    inspect(wizard, *files)
    content = files[1].read_bytes()
    files[1].unlink()
    wizard.get_by_role("button", name="Next").click()
    wizard.get_by_role("switch", name=re.compile("^Link it")).uncheck()
    wizard.get_by_role("button", name=re.compile("^Import 2")).click()
    expect(wizard.get_by_role("heading", name="1 imported, 1 failed")).to_be_visible(timeout=20_000)
    expect(wizard.get_by_text("is not there")).to_be_visible()
    files[1].write_bytes(content)
    wizard.get_by_role("button", name="Retry 1").click()
    expect(wizard.get_by_role("heading", name="1 imported", exact=True)).to_be_visible(timeout=20_000)
    assert len(list(library.rglob("retried-*.safetensors"))) == 2
