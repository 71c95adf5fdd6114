"""Workflows from elsewhere: what they miss is found, and put right in one go, in the real ComfyUI."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _real_comfyui import OLD_CORE, OLD_FRONTEND, RealComfyUI
from playwright.sync_api import Page, expect

TAB_BUTTON = "[data-testid=librarian-tab-button], .librarian-tab-button"
READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.LibrarianLoadLora"

BUILD = """async (models) => {
  const {graph} = app
  graph.clear()
  const made = {}
  models.forEach(([type, widget, value, properties], at) => {
    const node = LiteGraph.createNode(type)
    node.pos = [100 + 420 * (at % 3), 100 + 260 * Math.floor(at / 3)]
    graph.add(node)
    node.widgets.find(({name}) => name === widget).value = value
    Object.assign(node.properties, properties)
    const shown = LiteGraph.createNode('PreviewAny')
    shown.pos = [node.pos[0], node.pos[1] + 140]
    graph.add(shown)
    node.connect(0, shown, 0)
    made[type] = node
  })
  graph.convertToSubgraph(new Set([made.ControlNetLoader]))
  // As a workflow that is opened, not one that was made here.
  await app.loadGraphData(JSON.parse(JSON.stringify(graph.serialize())))
}"""

VALUES = """() => Object.fromEntries([app.graph, ...(app.graph.subgraphs?.values() ?? [])]
  .flatMap((graph) => graph._nodes).filter((node) => /Loader|Librarian/.test(node.type))
  .map((node) => [node.type, node.widgets[0].value]))"""

VALIDATE = """async () => {
  const {output} = await app.graphToPrompt()
  const answer = await app.api.fetchApi('/prompt', {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({prompt: output})})
  return await answer.json()
}"""


def ask(server: RealComfyUI, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{server.base_url}/librarian{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def bring_into_library(server: RealComfyUI, models: list[tuple[Path, str]], mode: str = "move") -> list[str]:
    """Bring files into the library, by default moved and without a link; answers their ids."""
    items = [{"paths": [str(path)], "mode": mode, "metadata": {"subtype": kind}} for path, kind in models]
    job = ask(server, "/imports", {"items": items, "link": False})["job"]
    while job["state"] in {"queued", "running"}:
        time.sleep(0.1)
        job = server.get_json(f"/librarian/jobs/{job['id']}")
    assert job["state"] == "done", job
    return [item["model_id"] for item in job["items"]]


def wait_until_listed(server: RealComfyUI, count: int) -> None:
    deadline = time.monotonic() + 60
    while server.get_json("/librarian/models?limit=1")["total"] < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(params=[{}, {"core": OLD_CORE, "frontend": OLD_FRONTEND}], ids=["newest", "oldest"])
def server(request, start_comfyui: Callable[..., RealComfyUI], tmp_path: Path, make_model) -> RealComfyUI:
    models = tmp_path / "models"
    make_model(models / "checkpoints" / "styles" / "pixel.safetensors")
    make_model(models / "controlnet" / "canny.safetensors")
    for folder in ("a", "b"):
        make_model(models / "vae" / folder / "ae.safetensors")
    server = start_comfyui(models=models, **request.param)
    waiting = server.base_dir / "input"
    bring_into_library(
        server,
        [
            (make_model(waiting / "detail.safetensors"), "loras"),
            (make_model(waiting / "add-grain.safetensors"), "loras"),
        ],
    )
    wait_until_listed(server, 6)
    return server


def missing_models(hash_of_grain: str) -> list[list[Any]]:
    stated = {"model_id": "in-place/grain-01234567", "name": "film-grain.safetensors", "directory": "loras"}
    return [
        ["CheckpointLoaderSimple", "ckpt_name", "pixel.safetensors", {}],
        ["LoraLoaderModelOnly", "lora_name", "detail.safetensors", {}],
        ["VAELoader", "vae_name", "ae.safetensors", {}],
        ["ControlNetLoader", "control_net_name", "Canny.safetensors", {}],
        [
            "LibrarianLoadLora",
            "model_id",
            "in-place/grain-01234567",
            {"librarian": {"model_id": {**stated, "sha256": hash_of_grain}}},
        ],
    ]


def test_what_a_workflow_misses_is_fixed_in_one_go(
    server: RealComfyUI, new_page, open_librarian, own_errors
) -> None:
    page: Page = new_page(server)
    page.goto("/")
    page.wait_for_function(READY)
    [grain] = server.get_json("/librarian/models?q=add-grain")["models"]
    sha256 = server.get_json(f"/librarian/models/{grain['model_id']}")["hashes"]["sha256"]
    page.evaluate(BUILD, missing_models(sha256))
    before = page.evaluate(VALUES)

    # It is noticed before anybody asks, at the tab's button, and nothing is changed by that.
    expect(page.locator(TAB_BUTTON).first).to_contain_text("5")
    assert page.evaluate(VALUES) == before
    open_librarian(page)
    expect(page.get_by_text("This workflow misses 5 models")).to_be_visible()
    page.get_by_role("button", name="Show", exact=True).click()
    missing = page.get_by_role("list", name="Missing models").get_by_role("listitem")
    expect(missing).to_have_count(5)
    expect(missing.filter(has_text="pixel")).to_contain_text("styles/pixel.safetensors")
    expect(missing.filter(has_text="detail")).to_contain_text("In the library, not linked yet")

    # Of two that differ none is chosen by itself.
    page.get_by_role("button", name="Fix all (4)").click()
    expect(page.get_by_text("4 models fixed.")).to_be_visible(timeout=30_000)
    fixed = {
        "CheckpointLoaderSimple": "styles/pixel.safetensors",
        "LoraLoaderModelOnly": "detail.safetensors",
        "VAELoader": "ae.safetensors",
        "ControlNetLoader": "canny.safetensors",
        "LibrarianLoadLora": grain["model_id"],
    }
    assert page.evaluate(VALUES) == fixed
    assert (server.models_dir / "loras" / "detail.safetensors").is_symlink()

    expect(missing).to_have_count(1)
    group = missing.get_by_role("group", name="Which one is meant?")
    group.get_by_role("radio").nth(1).check()
    page.get_by_role("button", name="Use: ae.safetensors").click()
    expect(page.get_by_role("heading", name="Nothing is missing")).to_be_visible(timeout=30_000)
    chosen = page.evaluate(VALUES)["VAELoader"]
    assert chosen in {"a/ae.safetensors", "b/ae.safetensors"}

    # ComfyUI accepts what it refused.
    answer = page.evaluate(VALIDATE)
    assert "not in list" not in json.dumps(answer)
    assert "CheckpointLoaderSimple" not in json.dumps(answer.get("node_errors"))

    # One step back each.
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Control+z")
    page.wait_for_function(f"() => ({VALUES})().VAELoader === 'ae.safetensors'")
    assert page.evaluate(VALUES) == fixed
    page.keyboard.press("Control+z")
    page.wait_for_function(f"() => ({VALUES})().CheckpointLoaderSimple === 'pixel.safetensors'")
    assert page.evaluate(VALUES) == before
    # The browser itself says that the id of another machine is not here.
    assert [line for line in own_errors(page) if "status of 404" not in line] == []
