"""The workflows that come with the package, opened as a person opens them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from _environment import ROOT
from _real_comfyui import OLD_CORE, OLD_FRONTEND, RealComfyUI, server_python
from playwright.sync_api import Page, expect

from .test_main_road import WRITE_UPSCALER
from .test_missing_models import READY, wait_until_listed

EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))
OPEN = """async (workflow) => {
  await app.loadGraphData(workflow)
  return app.graph._nodes.filter(({type}) => !LiteGraph.registered_node_types[type]).map(({type}) => type)
}"""
QUEUE = """async () => {
  const {output} = await app.graphToPrompt()
  const answer = await app.api.fetchApi('/prompt', {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({prompt: output})})
  return await answer.json()
}"""


def open_example(page: Page, path: Path) -> None:
    if page.url == "about:blank":
        page.goto("/")
    page.wait_for_function(READY)
    assert page.evaluate(OPEN, json.loads(path.read_bytes())) == [], "a node that there is not"


def history_of(server: RealComfyUI, prompt_id: str) -> dict[str, Any]:
    """What became of a prompt, once it has ended."""
    deadline = time.monotonic() + 120
    while not (history := server.get_json(f"/history/{prompt_id}")):
        assert time.monotonic() < deadline, server.log[-2000:]
        time.sleep(0.1)
    return history[prompt_id]


def models_of(path: Path) -> list[dict[str, str]]:
    nodes = json.loads(path.read_bytes())["nodes"]
    return [model for node in nodes for model in node["properties"].get("models", [])]


@pytest.mark.parametrize(
    "versions", [{}, {"core": OLD_CORE, "frontend": OLD_FRONTEND}], ids=["newest", "oldest"]
)
def test_examples_open_say_what_they_need_and_run(
    start_comfyui, new_page, make_model, tmp_path, versions: dict[str, str]
) -> None:
    for folder in ("checkpoints", "loras", "upscale_models"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    server: RealComfyUI = start_comfyui(models=tmp_path / "models", **versions)
    page: Page = new_page(server)
    missing = page.get_by_role("list", name="Missing models").get_by_role("listitem")
    for path in EXAMPLES:
        open_example(page, path)
        page.evaluate("() => app.extensionManager.command.execute('ModelLibrarian.MissingModels')")
        expect(missing).to_have_count(len(models_of(path)))
        for model in models_of(path):
            expect(missing.filter(has_text=model["name"])).to_contain_text("Can be had from huggingface.co")
            expect(page.get_by_role("button", name=f"Download: {model['name']}")).to_be_enabled()

    # Now they are there: an upscaler that works, and others that have the right names.
    named = {(model["directory"], model["name"]) for path in EXAMPLES for model in models_of(path)}
    for folder, name in named:
        model = server.models_dir / folder / name
        if folder == "upscale_models":
            subprocess.run([server_python(), "-c", WRITE_UPSCALER, model], check=True)
        else:
            make_model(model)
    wait_until_listed(server, len(named))
    picture = (ROOT / "example_workflows" / "upscale-with-librarian.jpg").read_bytes()
    (server.base_dir / "input" / "example.png").write_bytes(picture)
    page.reload()
    for path in EXAMPLES:
        open_example(page, path)
        answer: dict[str, Any] = page.evaluate(QUEUE)
        assert answer.get("prompt_id"), answer
        assert answer["node_errors"] == {}
        ended = history_of(server, answer["prompt_id"])
        if path.stem.startswith("upscale"):
            assert ended["status"]["status_str"] == "success", ended["status"]
    assert list((server.base_dir / "output").glob("librarian-upscaled*.png"))
