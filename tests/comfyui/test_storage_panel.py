"""The storage place and the selection in the real ComfyUI: what they say happens on the disk, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

import pytest
from _real_comfyui import RealComfyUI
from playwright.sync_api import Page, expect


def write_model(path: Path, seed: int) -> Path:
    """A small LoRA; each seed has a size and bytes of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 1024 * seed
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({"lora_unet_down_blocks_0.lora_down.weight": tensor}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes([seed]) * size)
    return path


@pytest.fixture(scope="module")
def server(start_comfyui, tmp_path_factory) -> RealComfyUI:
    """Four models in place: two with the same bytes, under other names in other folders."""
    folder = tmp_path_factory.mktemp("storage") / "models"
    one = write_model(folder / "loras" / "one.safetensors", 1)
    (folder / "vae").mkdir(parents=True)
    shutil.copy(one, folder / "vae" / "the-same.safetensors")
    write_model(folder / "loras" / "three.safetensors", 2)
    write_model(folder / "vae" / "four.safetensors", 3)
    return start_comfyui(models=folder)


@pytest.fixture
def panel(server: RealComfyUI, new_page, open_librarian) -> Page:
    return open_librarian(new_page(server))


def library_of(server: RealComfyUI) -> Path:
    return Path(server.get_json("/librarian/status")["library"]["root"]).resolve()


def place(page: Page, name: str) -> None:
    places = page.get_by_role("navigation", name="Places")
    places.get_by_role("button", name=re.compile(f"^{name}")).click()


def test_tags_and_undo(panel: Page, server: RealComfyUI, own_errors) -> None:
    def tags() -> dict[str, list[str]]:
        models = server.get_json("/librarian/models")["models"]
        return {model["official_name"]: model["tags"] for model in models}

    expect(panel.get_by_role("option")).to_have_count(4)
    before = tags()
    panel.get_by_role("option").filter(has_text="three").click(modifiers=["Control"])
    panel.get_by_role("option").filter(has_text="four").click(modifiers=["Control"])
    panel.get_by_role("button", name="Tag…").click()
    panel.get_by_label("Add tags").fill("portrait")
    panel.get_by_role("button", name="Change 2 models").click()
    expect(panel.get_by_text("2 models changed")).to_be_visible()
    assert {name for name, those in tags().items() if "portrait" in those} == {"three", "four"}
    panel.get_by_role("button", name="Undo").click()
    expect(panel.get_by_text("2 models are as they were")).to_be_visible()
    assert tags() == before
    assert own_errors(panel) == []


def test_a_copy_becomes_a_link(panel: Page, server: RealComfyUI, own_errors) -> None:
    one = server.models_dir / "loras" / "one.safetensors"
    copy = server.models_dir / "vae" / "the-same.safetensors"
    content = one.read_bytes()
    place(panel, "Storage")
    expect(panel.get_by_text("1 copy could be a link")).to_be_visible(timeout=30_000)
    panel.get_by_role("button", name="Replace copies by links…").click()
    expect(panel.get_by_text("1 copy becomes a link")).to_be_visible()
    expect(panel.get_by_text("1 file moves into the library first")).to_be_visible()
    assert not one.is_symlink() and not copy.is_symlink()
    panel.get_by_role("button", name="Replace 1 copy", exact=True).click()
    expect(panel.get_by_text("1 copy is a link now.")).to_be_visible(timeout=30_000)
    real = {path.resolve() for path in (one, copy)}
    assert len(real) == 1 and real.pop().is_relative_to(library_of(server))
    assert one.read_bytes() == copy.read_bytes() == content
    expect(panel.get_by_text("No file is there twice.")).to_be_visible()

    # A second copy, where the model's link would go in another folder: the library has the bytes already.
    again = server.models_dir / "upscale_models" / "again.safetensors"
    again.parent.mkdir(exist_ok=True)
    shutil.copyfile(copy, again)
    panel.locator(".lib-header").get_by_role("button", name="Menu").click()
    panel.get_by_role("menuitem").first.click()
    expect(panel.get_by_text("1 copy could be a link")).to_be_visible(timeout=30_000)
    panel.get_by_role("button", name="Replace copies by links…").click()
    expect(panel.get_by_role("dialog").get_by_text(re.compile("moves into the library first"))).to_have_count(
        0
    )
    panel.get_by_role("button", name="Replace 1 copy", exact=True).click()
    expect(panel.get_by_text("1 copy is a link now.")).to_be_visible(timeout=30_000)
    assert again.is_symlink() and again.read_bytes() == content
    assert own_errors(panel) == []


def test_equal_models_of_the_library_are_stored_once(panel: Page, server: RealComfyUI, own_errors) -> None:
    """A person copied a model's folder in the library; the copy has become a model of its own."""
    [one] = library_of(server).glob("*/*/one/one.safetensors")
    shutil.copytree(one.parent, one.parent.with_name("one-again"))
    other = one.parent.with_name("one-again") / one.name
    content, size = one.read_bytes(), one.stat().st_size

    def sizes() -> tuple[int, int]:
        return server.get_json("/librarian/storage")["size_bytes"], len(
            server.get_json("/librarian/models")["models"]
        )

    place(panel, "Storage")
    panel.locator(".lib-header").get_by_role("button", name="Menu").click()
    panel.get_by_role("menuitem").first.click()
    expect(panel.get_by_text("1 file of the library could share its bytes")).to_be_visible(timeout=30_000)
    before = sizes()
    panel.get_by_role("button", name="Store equal bytes once…").click()
    dialog = panel.get_by_role("dialog")
    expect(
        dialog.get_by_text(re.compile("1 file of the library becomes a (clone|second name)"))
    ).to_be_visible()
    by_hard_link = dialog.get_by_text(re.compile("changes it for both")).count() == 1
    assert not one.samefile(other)
    panel.get_by_role("button", name="Store 1 file once", exact=True).click()
    expect(panel.get_by_text("1 file shares its bytes now.")).to_be_visible(timeout=30_000)
    expect(panel.get_by_text("No file is there twice.")).to_be_visible()
    assert one.samefile(other) == by_hard_link
    assert one.read_bytes() == other.read_bytes() == content
    assert sizes() == (before[0] - size, before[1])

    # One of the two is deleted for good; the other is as it was, and what links to it works.
    again = other.parent.relative_to(library_of(server)).as_posix()
    assert panel.request.delete(f"/librarian/models/{again}?files=permanent").ok
    assert not other.exists()
    assert one.read_bytes() == content
    assert (server.models_dir / "loras" / "one.safetensors").read_bytes() == content
    assert own_errors(panel) == []


def test_adopted_and_deleted_together(panel: Page, server: RealComfyUI, own_errors) -> None:
    three, four = (server.models_dir / path for path in ("loras/three.safetensors", "vae/four.safetensors"))
    content = [path.read_bytes() for path in (three, four)]
    for name in ("three", "four"):
        panel.get_by_role("option").filter(has_text=name).click(modifiers=["Control"])
    panel.get_by_role("button", name="Adopt…").click()
    panel.get_by_role("button", name="Adopt 2", exact=True).click()
    expect(panel.get_by_role("region", name="Jobs").get_by_text("2 imported")).to_be_visible(timeout=30_000)
    assert three.is_symlink() and four.is_symlink()
    assert [path.read_bytes() for path in (three, four)] == content
    panel.get_by_role("region", name="Jobs").get_by_role("button", name="Back").click()
    for name in ("three", "four"):
        model = panel.get_by_role("option").filter(has_text=name)
        expect(model.get_by_role("img", name="Linked")).to_be_visible()
        model.click(modifiers=["Control"])
    panel.get_by_role("button", name="Delete…").click()
    expect(panel.get_by_text("2 of them are linked")).to_be_visible()
    panel.get_by_role("radio", name="Delete for good").check()
    panel.get_by_role("button", name="Delete 2 for good").click()
    expect(panel.get_by_text("Deleted 2 models").first).to_be_visible()
    left = {path.name for path in server.models_dir.rglob("*.safetensors")}
    assert left == {"one.safetensors", "the-same.safetensors", "again.safetensors"}
    assert not list(library_of(server).rglob("three.safetensors"))
    assert own_errors(panel) == []
