"""Workflows from elsewhere: what they miss is found, and put right in one go, in the real ComfyUI."""

from __future__ import annotations

import json
import random
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from _real_comfyui import OLD_CORE, OLD_FRONTEND, RealComfyUI
from playwright.sync_api import Page, expect

from model_librarian.core.workflows import references_in

SAMPLE = 10
"""How many of ComfyUI's workflow templates are opened here; `SAMPLE = 1000` opens all of them."""

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


def bring_into_library(server: RealComfyUI, models: list[tuple[Path, str]]) -> list[str]:
    """Move files into the library without a link; answers their ids."""
    items = [{"paths": [str(path)], "mode": "move", "metadata": {"subtype": kind}} for path, kind in models]
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


# --- ComfyUI's own templates --------------------------------------------------------------------------

OPEN = """async (workflow) => {
  app.extensionManager.setting.set('Comfy.Workflow.ShowMissingNodesWarning', false)
  app.extensionManager.setting.set('Comfy.Workflow.ShowMissingModelsWarning', false)
  await app.loadGraphData(workflow)
}"""

UNKNOWN = """() => [app.graph, ...(app.graph.subgraphs?.values() ?? [])].flatMap((graph) => graph._nodes)
  .some((node) => !node.subgraph && !LiteGraph.registered_node_types[node.type])"""

REFUSED = """async () => {
  const info = window.objectInfo ??= await (await app.api.fetchApi('/object_info')).json()
  const {output} = await app.graphToPrompt()
  const refused = []
  for (const node of Object.values(output)) {
    const definition = info[node.class_type]?.input
    for (const [name, spec] of Object.entries({...definition?.required, ...definition?.optional})) {
      const options = Array.isArray(spec[0]) ? spec[0] : spec[1]?.options
      const value = node.inputs[name]
      if (Array.isArray(options) && typeof value === 'string' && !options.includes(value)) refused.push(value)
    }
  }
  return refused
}"""


def templates() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(Path(str(files("comfyui_workflow_templates_json"))).rglob("*.json")):
        workflow = json.loads(path.read_bytes())
        if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
            yield path.name, workflow


def test_templates_are_put_right(
    start_comfyui: Callable[..., RealComfyUI], tmp_path: Path, make_model, new_page
) -> None:
    """Of the models that templates name a quarter is in place, sorted away, in the library only, or nowhere."""
    named = [
        (name, workflow)
        for name, workflow in templates()
        if any(one.folder for one in references_in(workflow))
    ]
    chosen = sorted(random.Random(11).sample(named, min(SAMPLE, len(named))))
    wanted = sorted(
        {(one.folder, one.name) for _, workflow in chosen for one in references_in(workflow) if one.folder}
    )
    models, kept = tmp_path / "models", tmp_path / "kept"
    right: dict[str, set[str]] = {}
    for at, (folder, name) in enumerate(wanted):
        file = Path(name.replace("\\", "/")).name
        place = [models / folder / name, models / folder / "sorted" / file, kept / folder / file][
            min(at % 4, 2)
        ]
        if at % 4 < 3:
            make_model(place, {f"{folder}/{name}": (1, 1)})
            right.setdefault(file, set()).add(folder)
    server = start_comfyui(models=models)
    library = [(path, path.parent.name) for path in sorted(kept.rglob("*.*"))]
    for path, folder in library:
        target = server.base_dir / "input" / folder / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    bring_into_library(
        server, [(server.base_dir / "input" / kind / path.name, kind) for path, kind in library]
    )
    wait_until_listed(server, sum(1 for at in range(len(wanted)) if at % 4 < 3))

    page: Page = new_page(server)
    page.goto("/")
    page.wait_for_function(READY)
    page.evaluate("() => app.extensionManager.command.execute('ModelLibrarian.MissingModels')")
    again = page.get_by_role("button", name="Check again")
    fixes = opened = 0
    for name, workflow in chosen:
        page.evaluate(OPEN, workflow)
        if page.evaluate(UNKNOWN):
            # A template of a newer ComfyUI: the frontend puts its subgraphs' values into other widgets.
            continue
        opened += 1
        with page.expect_response(lambda response: response.url.endswith("/librarian/resolve")):
            again.click()
        expect(again).to_be_enabled()
        fix = page.get_by_role("button", name=re.compile(r"^Fix all"))
        if fix.count() and fix.is_enabled():
            fix.click()
            expect(page.get_by_text(re.compile(r"models? fixed\."))).to_be_visible(timeout=60_000)
            fixes += 1
        here = {
            Path(one.name.replace("\\", "/")).name
            for one in references_in(workflow)
            if one.folder in right.get(Path(one.name.replace("\\", "/")).name, ())
        }
        page.evaluate("() => { window.objectInfo = undefined }")
        refused = {Path(value.replace("\\", "/")).name for value in page.evaluate(REFUSED)}
        assert not refused & here, (name, refused & here)
    assert opened >= len(chosen) / 4
    assert fixes > opened / 3
