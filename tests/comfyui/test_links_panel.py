"""The links' side of the panel in the real ComfyUI: conflicts, health, apps and mapping rules."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _real_comfyui import RealComfyUI
from _sample_models import LORA_FLUX, LORA_SDXL
from playwright.sync_api import Locator, Page, expect


def call(server: RealComfyUI, method: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"{server.base_url}/librarian{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def finished(server: RealComfyUI, answer: dict[str, Any]) -> dict[str, Any]:
    """The result of a job, once it is done."""
    deadline = time.monotonic() + 60
    while True:
        job = call(server, "GET", f"/jobs/{answer['job']['id']}")
        if job["state"] not in ("queued", "running"):
            assert job["state"] == "done", job
            return dict(job["result"])
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(start_comfyui: Callable[..., RealComfyUI]) -> RealComfyUI:
    server = start_comfyui()
    (server.models_dir / "loras").mkdir(exist_ok=True)
    return server


@pytest.fixture
def loras(server: RealComfyUI, make_model: Callable[..., Path]) -> dict[str, Path]:
    """Three LoRAs in the library, by name: their files there. They go with the test."""
    files = []
    for number, (name, tensors) in enumerate((("ink", LORA_SDXL), ("rooms", LORA_SDXL), ("moss", LORA_FLUX))):
        path = server.base_dir / "input" / f"{name}.safetensors"
        files.append(make_model(path, dict(tensors), seed=4000 + number))
    items = [{"paths": [str(path)], "mode": "move"} for path in files]
    finished(server, call(server, "POST", "/imports", {"items": items, "link": False}))
    library = server.base_dir / "model-library"
    return {path.stem: next(library.rglob(path.name)) for path in files}


@pytest.fixture(autouse=True)
def left_as_it_was(server: RealComfyUI) -> Any:
    yield
    for mapping in call(server, "GET", "/mappings")["mappings"]:
        if mapping["source"] == "person":
            call(server, "DELETE", f"/mappings/{mapping['name'].replace('*', 'any')}")
    for app in call(server, "GET", "/apps")["apps"]:
        call(server, "DELETE", f"/apps/{app['app']}")
    for model in call(server, "GET", "/models")["models"]:
        try:
            call(server, "DELETE", f"/models/{model['model_id']}?files=permanent")
        except urllib.error.HTTPError as error:
            assert error.code == 404  # a scan has just seen that its file is gone
    for file in (server.models_dir / "loras").glob("*.safetensors*"):
        file.unlink()


@pytest.fixture
def panel(
    server: RealComfyUI, loras: dict[str, Path], lasting_page: Any, open_librarian: Any
) -> Iterator[Page]:
    """The place of the links, in the page that the test before left: loading the frontend takes longest."""
    page: Page = lasting_page(server)
    if page.url == "about:blank":
        # What the open workflow misses counts at the tab's button as well, and is no matter of links.
        page.route("**/librarian/resolve", lambda route: route.fulfill(json={"results": []}))
    open_librarian(page)
    page.get_by_role("navigation", name="Places").get_by_role("button", name=re.compile("Models$")).click()
    go(page)
    yield page
    back = page.get_by_role("button", name="Back", exact=True)
    if back.is_visible():
        back.click()


def go(page: Page) -> None:
    places = page.get_by_role("navigation", name="Places")
    places.get_by_role("button", name=re.compile("Links$")).click()
    expect(page.get_by_role("button", name="Preview: ComfyUI")).to_be_visible(timeout=20_000)


def apply(page: Page) -> None:
    """Apply what is previewed, with a yes to what it says."""
    page.get_by_role("button", name=re.compile("^Apply")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Apply")).click()


def menu(page: Page, app: str, item: str) -> None:
    page.get_by_role("button", name=f"More for {app}").click()
    page.get_by_role("menuitem", name=re.compile(f"^{item}")).click()


def drag(page: Page, what: Locator, onto: Locator) -> None:
    """As a hand does it: the drag has begun before the list scrolls."""
    what.hover()
    page.mouse.down()
    box = what.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2 + 6, box["y"] + box["height"] / 2 + 6, steps=3)
    onto.hover()
    onto.hover()
    page.mouse.up()


def test_preview_conflicts_apply(
    panel: Page, server: RealComfyUI, loras: dict[str, Path], make_model: Callable[..., Path], own_errors: Any
) -> None:
    folder = server.models_dir / "loras"
    shutil.copyfile(loras["ink"], folder / "ink.safetensors")
    other = make_model(folder / "rooms.safetensors", seed=4100)
    other_bytes = other.read_bytes()

    panel.get_by_role("button", name="Preview: ComfyUI").click()
    expect(panel.get_by_text("2 conflicts")).to_be_visible()
    expect(panel.get_by_text("1 link to create")).to_be_visible()
    panel.get_by_role("button", name=re.compile("^Replace the copy by a link, frees")).click()
    panel.get_by_label("What to do with rooms.safetensors").select_option("rename")
    expect(panel.get_by_text("is kept as rooms.safetensors.old")).to_be_visible()

    # Somebody is quicker: nothing is done, the plan is made anew, and the choices stay.
    (folder / "moss.safetensors").write_bytes(b"not a model")
    apply(panel)
    expect(panel.get_by_text("Something changed since the preview")).to_be_visible()
    expect(panel.get_by_text("3 conflicts")).to_be_visible()
    assert not (folder / "ink.safetensors").is_symlink()
    expect(panel.get_by_label("What to do with rooms.safetensors")).to_have_value("rename")

    asked: list[str] = []
    panel.on(
        "request",
        lambda request: asked.append(request.url) if request.url.endswith("/object_info") else None,
    )
    panel.get_by_role("button", name="Apply 2 changes").click()
    dialog = panel.get_by_role("dialog")
    for words in ("1 copy is replaced by a link", "1 thing that lies there is renamed", "1 conflict is left"):
        expect(dialog).to_contain_text(words)
    dialog.get_by_role("button", name="Apply 2 changes").click()
    expect(panel.get_by_role("heading", name="Links are up to date")).to_be_visible()
    expect(panel.get_by_text(re.compile("2 links created.*freed"))).to_be_visible()
    panel.get_by_role("button", name="Done").click()

    assert (folder / "ink.safetensors").resolve() == loras["ink"]
    assert (folder / "rooms.safetensors").resolve() == loras["rooms"]
    assert (folder / "rooms.safetensors.old").read_bytes() == other_bytes
    assert (folder / "moss.safetensors").read_bytes() == b"not a model"
    expect(panel.get_by_role("listitem").filter(has_text="ComfyUI")).to_contain_text("2 links")
    assert len(asked) == 1, "the combos are asked for once for the whole batch"
    assert own_errors(panel) == []


def test_health_repair_and_clean(
    panel: Page, server: RealComfyUI, loras: dict[str, Path], own_errors: Any
) -> None:
    folder = server.models_dir / "loras"
    plan = call(server, "POST", "/mappings/preview", {"app": "comfyui"})
    finished(server, call(server, "POST", "/mappings/apply", {"plan_id": plan["plan_id"]}))
    theirs = folder / "theirs.safetensors"
    theirs.symlink_to(server.base_dir / "nowhere.safetensors")
    # One model's folder gets another name behind Librarian's back, one file is gone for good.
    moved = loras["ink"].parent.with_name("ink-renamed")
    loras["ink"].parent.rename(moved)
    finished(server, call(server, "POST", "/scan", {"kind": "deep"}))
    loras["moss"].unlink()

    # Whoever comes to the place sees how the links do now.
    tab = panel.locator(".librarian-tab-button, [data-testid=librarian-tab-button]").first
    panel.get_by_role("navigation", name="Places").get_by_role("button", name=re.compile("Models$")).click()
    go(panel)
    expect(panel.get_by_role("button", name="2 problems with links")).to_be_visible(timeout=20_000)
    expect(tab).to_contain_text("2")
    panel.get_by_role("button", name="2 problems with links").click()
    expect(panel.get_by_text("2 broken links", exact=True)).to_be_visible()
    expect(panel.get_by_text("1 broken link that others made")).to_be_visible()

    panel.get_by_role("button", name="Repair 2 broken links").click()
    expect(panel.get_by_text("1 link repaired")).to_be_visible(timeout=20_000)
    expect(panel.get_by_text("1 could not be repaired")).to_be_visible()
    assert (folder / "ink.safetensors").resolve() == moved / "ink.safetensors"

    panel.get_by_role("button", name="Remove 1 broken link…").click()
    panel.get_by_role("dialog").get_by_role("button", name="Clean 1").click()
    expect(panel.get_by_text("1 broken link removed.")).to_be_visible()
    expect(panel.get_by_text("All links are healthy")).to_be_visible()
    assert not os.path.lexists(folder / "moss.safetensors")
    assert theirs.is_symlink()
    expect(tab).not_to_contain_text(re.compile(r"\d"))
    theirs.unlink()
    assert own_errors(panel) == []


def test_an_app_comes_and_goes(
    panel: Page, server: RealComfyUI, loras: dict[str, Path], own_errors: Any
) -> None:
    root = server.base_dir / "input" / "webui"
    (root / "modules").mkdir(parents=True)
    (root / "webui.py").touch()
    own = root / "models" / "Lora" / "own.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the person's own")

    panel.get_by_role("button", name="Add an app…").click()
    panel.get_by_role("button", name="Browse…").click()
    panel.get_by_title(str(server.base_dir / "input"), exact=True).first.click()
    panel.get_by_role("checkbox", name="Choose webui").check()
    panel.get_by_role("button", name="Take 1").click()
    expect(panel.get_by_text("1 app added")).to_be_visible()
    expect(panel.get_by_label("Kind")).to_have_value("a1111")
    panel.get_by_role("button", name="Preview").click()
    expect(panel.get_by_text("3 links to create")).to_be_visible()
    apply(panel)
    panel.get_by_role("button", name="Done").click()
    assert sorted(path.name for path in own.parent.iterdir() if path.is_symlink()) == [
        "ink.safetensors",
        "moss.safetensors",
        "rooms.safetensors",
    ]

    menu(panel, "webui", "Remove this app")
    dialog = panel.get_by_role("dialog")
    expect(dialog).to_contain_text("3 links are removed.")
    dialog.get_by_role("button", name="Remove the app").click()
    expect(panel.get_by_role("button", name="Preview: webui")).to_have_count(0)
    assert list(own.parent.iterdir()) == [own]
    assert all(path.is_file() for path in loras.values())
    assert own_errors(panel) == []


def test_a_mapping_by_drag(panel: Page, server: RealComfyUI, own_errors: Any) -> None:
    menu(panel, "ComfyUI", "Mapping rules")
    folder = panel.locator("[data-folder$=style_models]")
    expect(folder).to_be_attached()
    drag(panel, panel.get_by_role("button", name=re.compile("^flux")).first, folder)
    rule = folder.locator(".lib-rule")
    expect(rule).to_be_visible()

    # The folder's own kind was meant as well; without it the rule catches the LoRA.
    expect(rule.locator(".lib-catch")).to_contain_text("0 models")
    rule.get_by_role("button", name="Remove filter Style model").click()
    expect(rule.locator(".lib-catch")).to_contain_text("1 model: moss")
    rule.get_by_label("Folder").fill("../elsewhere")
    rule.get_by_label("Folder").press("Tab")
    panel.get_by_role("button", name="Save 1 rule").click()
    expect(
        panel.get_by_role("alert").filter(has_text="must be a folder below the app's root")
    ).to_be_visible()
    panel.get_by_label("Folder", exact=True).fill(folder_of(server))
    panel.get_by_label("Folder", exact=True).press("Tab")
    panel.get_by_role("button", name="Save 1 rule").click()
    expect(panel.get_by_role("button", name="Saved")).to_be_visible()

    # The plan follows the rule.
    panel.get_by_role("button", name="Preview", exact=True).click()
    expect(panel.get_by_text(re.compile(r"style_models/flux/moss\.safetensors")).first).to_be_attached()
    panel.get_by_role("button", name="Back").click()
    panel.get_by_role("button", name="Back to the usual rules").click()
    panel.get_by_role("dialog").get_by_role("button", name="Back to the usual rules").click()
    expect(panel.locator(".lib-rule")).to_have_count(0)
    assert [one for one in call(server, "GET", "/mappings")["mappings"] if one["source"] == "person"] == []
    # The browser itself reports the one refusal.
    assert [line for line in own_errors(panel) if "400 (Bad Request)" not in line] == []


def folder_of(server: RealComfyUI) -> str:
    """Below the app's root, a folder for the rule that is not there yet."""
    [app] = call(server, "GET", "/apps")["apps"]
    style = Path(app["folders"]["style_models"][0])
    return style.relative_to(app["root"]).joinpath("flux").as_posix()
