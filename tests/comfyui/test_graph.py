"""From the panel to the graph and in our own nodes, with the real frontends: classic canvas and Vue nodes."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from _real_comfyui import OLD_CORE, OLD_FRONTEND, RealComfyUI
from playwright.sync_api import Page, expect

READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.LibrarianLoadLora"
GRAPH = """() => app.graph._nodes.map((node) => ({type: node.type, value: node.widgets?.[0]?.value, pos: [...node.pos],
  size: [...node.size], properties: node.properties}))"""
SET_UP = """async (vue) => {
  await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', vue)
  app.graph.clear()
  Object.assign(app.canvas.ds.offset, [500, 50])
  app.canvas.ds.scale = 1
  for (const [type, x] of [['LoraLoader', 100], ['KSampler', 450]]) {
    const node = LiteGraph.createNode(type)
    node.pos = [x, 100]
    app.graph.add(node)
  }
  app.graph._nodes[0].widgets[0].value = 'nothing.safetensors'
  app.extensionManager.workflow.activeWorkflow?.changeTracker?.checkState()
}"""
POINT = """(type) => {
  const node = app.graph._nodes.find((one) => one.type === type)
  const {left, top} = app.canvas.canvas.getBoundingClientRect()
  const {scale, offset} = app.canvas.ds
  const [x, y] = node ? [node.pos[0] + 60, node.pos[1] + 8] : [180, 520]
  return {x: left + (x + offset[0]) * scale, y: top + (y + offset[1]) * scale}
}"""


def ask(server: RealComfyUI, path: str, body: dict[str, object]) -> dict[str, Any]:
    """Start a job and wait for its end."""
    request = urllib.request.Request(
        f"{server.base_url}/librarian{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        job = json.load(response)["job"]
    while job["state"] in {"queued", "running"}:
        time.sleep(0.1)
        job = server.get_json(f"/librarian/jobs/{job['id']}")
    assert job["state"] == "done", job
    return job


@pytest.fixture(scope="module")
def old_server(start_comfyui: Callable[..., RealComfyUI], comfyui: RealComfyUI) -> RealComfyUI:
    return start_comfyui(core=OLD_CORE, frontend=OLD_FRONTEND, models=comfyui.models_dir)


@pytest.fixture(params=["classic", "vue", "oldest"])
def graph_page(request, comfyui: RealComfyUI, new_page, open_librarian) -> Page:
    oldest = request.param == "oldest"
    page = new_page(
        request.getfixturevalue("old_server") if oldest else comfyui, viewport={"width": 1500, "height": 900}
    )
    page.goto("/")
    page.wait_for_function(READY)
    page.evaluate(SET_UP, request.param == "vue")
    open_librarian(page)
    return page


def find(page: Page, text: str, name: str):
    page.get_by_label("Search models").fill(text)
    row = page.get_by_role("option", name=re.compile(re.escape(name)))
    expect(row).to_be_visible(timeout=20_000)
    return row


def drag(page: Page, row, kind: str, says: str) -> None:
    """Take a row to a node, or beside all of them; the button stays down."""
    at = page.evaluate(POINT, kind)
    row.hover(position={"x": 80, "y": 20})
    page.mouse.down()
    page.mouse.move(at["x"] - 30, at["y"], steps=3)
    page.mouse.move(at["x"], at["y"])
    expect(page.locator(".lib-ghost")).to_contain_text(says)


def test_a_row_is_dragged_to_the_graph(graph_page: Page, own_errors) -> None:
    page = graph_page
    before = page.evaluate(GRAPH)
    row = find(page, "flux_realism", "flux_realism_lora")

    drag(page, row, "", "Add Load LoRA (Librarian)")
    page.keyboard.press("Escape")
    expect(page.locator(".lib-ghost")).to_have_count(0)
    page.mouse.up()
    assert page.evaluate(GRAPH) == before

    drag(page, row, "KSampler", "Does not fit “KSampler”")
    page.mouse.up()
    expect(page.get_by_text("flux_realism_lora does not fit KSampler").first).to_be_visible()
    assert page.evaluate(GRAPH) == before

    # ComfyUI's own loader gets the name that ComfyUI has for the model.
    drag(page, row, "LoraLoader", "Use in “Load LoRA")
    page.mouse.up()
    page.wait_for_function("() => app.graph._nodes[0].widgets[0].value === 'flux_realism_lora.safetensors'")

    drag(page, row, "", "Add Load LoRA (Librarian)")
    page.mouse.up()
    page.wait_for_function("() => app.graph._nodes.length === 3")
    added = page.evaluate(GRAPH)[2]
    at, there = page.evaluate(POINT, ""), page.evaluate(POINT, "LibrarianLoadLora")
    assert added["value"].startswith("in-place/flux_realism_lora")
    assert abs(there["y"] - at["y"]) < 60
    assert abs(there["x"] - at["x"]) < added["size"][0]
    assert not page.locator(".lib-details").count()

    # Each is one step that ComfyUI undoes, and what was typed in the panel stays.
    page.keyboard.press("Control+z")
    if page.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__").startswith("1.27."):
        # There, the size that a new node gets when it is drawn is a step of its own.
        page.wait_for_timeout(500)
        page.keyboard.press("Control+z")
    page.wait_for_function("() => app.graph._nodes.length === 2")
    expect(page.get_by_label("Search models")).to_have_value("flux_realism")
    assert own_errors(page) == []


def test_a_model_is_searched_for_in_the_node(graph_page: Page, type_at_once, own_errors) -> None:
    page = graph_page
    row = find(page, "pixel-art", "pixel-art-xl")
    row.hover()
    page.get_by_label("Search models").press("ArrowDown")
    page.get_by_label("Search models").press("Enter")
    page.wait_for_function("() => app.graph._nodes.length === 3")
    widget = page.locator(".lib-model-widget button")
    expect(widget).to_have_text("pixel-art-xl")

    # By keyboard alone; only what the node can load is found, with one request.
    widget.focus()
    page.keyboard.press("Enter")
    picker = page.get_by_role("dialog", name=re.compile("pixel-art-xl"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/models?q=f" in request.url else None)
    with page.expect_response(re.compile(r"/models\?q=flux&")):
        type_at_once(picker.get_by_label("Search models"), "flux")
    expect(picker.get_by_role("option")).to_have_count(1, timeout=10_000)
    assert len(asked) == 1, asked
    assert "subtype=loras" in asked[0]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(widget).to_have_text("flux_realism_lora")
    value = page.evaluate(GRAPH)[2]["value"]
    assert value.startswith("in-place/flux_realism_lora")

    # Kept as the plain id, on disk, in a copy and for the server.
    saved = page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    assert saved["nodes"][2]["widgets_values"][0] == value
    page.evaluate(
        "(node) => { app.canvas.selectNode(app.graph._nodes[2]); app.canvas.copyToClipboard();"
        " app.canvas.pasteFromClipboard() }"
    )
    page.wait_for_function("() => app.graph._nodes.length === 4")
    assert page.evaluate(GRAPH)[3]["value"] == value
    output = page.evaluate("async () => (await app.graphToPrompt()).output")
    assert [node["inputs"]["model_id"] for node in output.values() if "model_id" in node["inputs"]] == [
        value
    ] * 2

    # Opened again, with a model that is not here.
    saved["nodes"][2]["widgets_values"][0] = "diffusion/sdxl/pixel-art-xl-v9"
    page.evaluate("(saved) => app.loadGraphData(saved)", saved)
    expect(page.locator(".lib-model-widget[data-state=missing] button")).to_have_text("pixel-art-xl-v9")
    expect(
        page.get_by_role("button", name=re.compile("is not in the library. Nearest: .*pixel-art-xl"))
    ).to_be_visible()

    # No model.
    widget.click()
    page.get_by_role("button", name="No model").click()
    expect(widget).to_have_text("Choose a model")
    assert page.evaluate(GRAPH)[2]["value"] == ""
    assert "librarian" not in page.evaluate(GRAPH)[2]["properties"]
    assert [line for line in own_errors(page) if "status of 404" not in line] == []


def added_lora(page: Page):
    find(page, "pixel-art", "pixel-art-xl").hover()
    page.get_by_label("Search models").press("ArrowDown")
    page.get_by_label("Search models").press("Enter")
    page.wait_for_function("() => app.graph._nodes.length === 3")
    widget = page.locator(".lib-model-widget button")
    expect(widget).to_have_text("pixel-art-xl")
    return widget


def loras_in_prompt(page: Page) -> list[Any]:
    output = page.evaluate("async () => (await app.graphToPrompt()).output")
    return [
        node["inputs"]["model_id"] for node in output.values() if node["class_type"] == "LibrarianLoadLora"
    ]


def test_keys_and_the_wheel_over_a_model_in_a_node(graph_page: Page) -> None:
    page = graph_page
    widget = added_lora(page)
    field = page.locator(".lib-picker").get_by_label("Search models")
    widget.click()
    expect(field).to_be_focused()
    # Nothing of it is meant for the graph, where the node is selected.
    for key in (
        "p",
        "x",
        "Delete",
        "Backspace",
        "Backspace",
        "Control+a",
        "Control+c",
        "Control+v",
        "Control+z",
    ):
        page.keyboard.press(key)
    assert page.evaluate("() => app.graph._nodes.length") == 3
    page.keyboard.type("flux")
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    expect(widget).to_be_focused()
    expect(widget).to_have_text("pixel-art-xl")

    # The wheel zooms the graph, as beside the widget; it closes the search, which would be left behind.
    widget.click()
    expect(field).to_be_focused()
    widget.hover(force=True)
    page.mouse.wheel(0, -300)
    page.wait_for_function("() => app.canvas.ds.scale > 1")
    expect(field).to_have_count(0)


def test_a_model_in_a_subgraph_and_one_from_another_node(graph_page: Page, own_errors) -> None:
    page = graph_page
    added_lora(page)
    [value] = loras_in_prompt(page)
    page.evaluate("() => { app.graph.convertToSubgraph(new Set([app.graph._nodes[2]])) }")
    assert loras_in_prompt(page) == [value]
    # With its input outside.
    page.evaluate("""() => {
      const {subgraph} = app.graph._nodes.find((node) => node.subgraph)
      const [inner] = subgraph._nodes
      const slot = inner.inputs.find(({name}) => name === 'model_id')
      subgraph.addInput('model_id', 'STRING').connect(slot, inner)
    }""")
    assert loras_in_prompt(page) == [value]
    saved = page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    page.evaluate("async (saved) => { await app.loadGraphData(saved) }", saved)
    assert loras_in_prompt(page) == [value]
    assert page.evaluate("() => app.graph._nodes.find((node) => node.subgraph).widgets[0].value") == value

    page.evaluate("""() => {
      app.graph.clear()
      const [text, lora] = ['PrimitiveString', 'LibrarianLoadLora'].map((type) => LiteGraph.createNode(type))
      app.graph.add(text)
      app.graph.add(lora)
      text.connect(0, lora, lora.inputs.findIndex(({name}) => name === 'model_id'))
    }""")
    [wired] = loras_in_prompt(page)
    assert wired[1] == 0
    assert own_errors(page) == []


def opened(page: Page, workflow: dict[str, Any], node: str) -> Page:
    """A page of a server in which a workflow is being opened."""
    page.goto("/")
    page.wait_for_function(f"() => window.app?.graph && window.LiteGraph?.registered_node_types?.{node}")
    page.evaluate("(workflow) => { app.loadGraphData(workflow) }", workflow)
    page.wait_for_function(
        "(id) => app.graph._nodes.some((node) => node.id == id)", arg=workflow["nodes"][0]["id"]
    )
    return page


def test_others_are_told_where_the_model_can_be_had(
    start_comfyui: Callable[..., RealComfyUI], old_server: RealComfyUI, new_page, open_librarian, make_model
) -> None:
    server = start_comfyui()
    source = make_model(server.base_dir / "input" / "upscaler.safetensors")
    address = "https://huggingface.co/someone/upscalers/resolve/main/upscaler.safetensors"
    job = ask(
        server,
        "/imports",
        {
            "items": [{"paths": [str(source)], "mode": "copy", "metadata": {"subtype": "upscale_models"}}],
            "link": False,
        },
    )
    # As a lookup writes it down.
    file = server.base_dir / "model-library" / job["items"][0]["model_id"] / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "download_url": address}))
    ask(server, "/scan", {"kind": "deep"})
    page = open_librarian(new_page(server))
    find(page, "upscaler", "upscaler").click()
    page.get_by_role("button", name="Add to graph").click()
    page.wait_for_function("() => app.graph._nodes.some(({type}) => type === 'LibrarianLoadUpscaleModel')")
    [node] = [one for one in page.evaluate(GRAPH) if one["type"] == "LibrarianLoadUpscaleModel"]
    sha256 = server.get_json(f"/librarian/models/{node['value']}")["hashes"]["sha256"]
    assert node["properties"]["models"] == [
        {
            "name": "upscaler.safetensors",
            "url": address,
            "directory": "upscale_models",
            "hash": sha256,
            "hash_type": "SHA256",
        }
    ]
    saved = page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    saved["nodes"] = [one for one in saved["nodes"] if one["type"] == "LibrarianLoadUpscaleModel"]
    saved["links"] = []

    # Older frontends offer the download to someone without Librarian, newer ones only name the node (decision 0009);
    # what they save has lost nothing.
    old = start_comfyui(core=OLD_CORE, frontend=OLD_FRONTEND, package=None)
    bare = (
        (old, "upscale_models / upscaler.safetensors"),
        (start_comfyui(package=None), "Missing node: LibrarianLoadUpscaleModel"),
    )
    for other, says in bare:
        there = opened(new_page(other), saved, "LoraLoader")
        expect(there.get_by_text(says)).to_be_visible()
        [kept] = there.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize().nodes))")
        for key in ("type", "widgets_values", "properties"):
            assert kept[key] == saved["nodes"][0][key]

    # Where Librarian is, it alone offers it: ComfyUI does not know what lies in the library.
    there = open_librarian(opened(new_page(old_server), saved, "LibrarianLoadUpscaleModel"))
    expect(there.get_by_text("This workflow misses 1 model")).to_be_visible()
    expect(there.get_by_text("Missing Models")).to_have_count(0)

    # In step with the model.
    page.locator(".lib-model-widget button").click()
    page.get_by_role("button", name="No model").click()
    page.wait_for_function(
        "() => !app.graph._nodes.find(({type}) => type === 'LibrarianLoadUpscaleModel').properties.models"
    )
