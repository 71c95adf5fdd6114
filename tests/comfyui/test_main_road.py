"""The main job, done like a person: from a file in a downloads folder to an image made with it."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from _environment import ROOT
from _real_comfyui import CORE, FRONTEND, OLD_CORE, OLD_FRONTEND, RealComfyUI, server_python
from playwright.sync_api import Page, expect

WRITE_UPSCALER = """
import sys, torch
from safetensors.torch import save_file
conv = lambda i, o: torch.nn.Conv2d(i, o, 3, 1, 1)
torch.manual_seed(7)
network = torch.nn.Module()  # the layers of Real-ESRGAN's compact network, small
network.body = torch.nn.Sequential(
    conv(3, 16), torch.nn.PReLU(16), conv(16, 16), torch.nn.PReLU(16), conv(16, 16), torch.nn.PReLU(16), conv(16, 12)
)
save_file(network.state_dict(), sys.argv[1])
"""

WORKFLOW = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 3368601},
    },
    "2": {"class_type": "LibrarianLoadUpscaleModel", "inputs": {"model_id": ""}},
    "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["2", 0], "image": ["1", 0]}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "librarian"}},
}


@pytest.fixture(params=[(CORE, FRONTEND), (OLD_CORE, OLD_FRONTEND)], ids=" + ".join)
def server(request, start_comfyui: Callable[..., RealComfyUI], tmp_path: Path, make_model) -> RealComfyUI:
    """A ComfyUI with three models in its folders and an upscaler waiting among its inputs."""
    models = tmp_path / "models"
    make_model(models / "checkpoints" / "sd_xl_base_1.0.safetensors")
    make_model(models / "loras" / "characters" / "flux-realism-lora.safetensors")
    make_model(models / "upscale_models" / "4x-UltraSharp.safetensors")
    core, frontend = request.param
    server = start_comfyui(core=core, frontend=frontend, models=models)
    upscaler = server.base_dir / "input" / "2x-TestCompact.safetensors"
    upscaler.parent.mkdir(exist_ok=True)
    subprocess.run([server_python(), "-c", WRITE_UPSCALER, upscaler], check=True)
    return server


def place(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Places").get_by_role("button", name=re.compile(f"^{name}")).click()


def upscalers_offered(server: RealComfyUI) -> list[str]:
    info = server.get_json("/object_info/UpscaleModelLoader")
    options = info["UpscaleModelLoader"]["input"]["required"]["model_name"]
    return options[0] if isinstance(options[0], list) else options[1]["options"]


def test_the_main_road(server: RealComfyUI, new_page, open_librarian, type_at_once, own_errors) -> None:
    page: Page = open_librarian(new_page(server))
    search = page.get_by_label("Search models")

    # What ComfyUI has already is listed.
    for name in ("sd_xl_base_1.0", "flux-realism-lora", "4x-UltraSharp"):
        expect(page.get_by_role("option", name=re.compile(re.escape(name)))).to_be_visible(timeout=20_000)
    assert not (server.base_dir / "model-library" / "in-place").exists()

    # A real upscaler is imported through the panel.
    place(page, "Import")
    page.get_by_label("Paths").fill(str(server.base_dir / "input" / "2x-TestCompact.safetensors"))
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_label("Kind")).to_have_value("upscale_models")
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Link it into the apps afterwards").uncheck()
    page.get_by_role("button", name=re.compile("^Import 1")).click()
    expect(page.get_by_role("heading", name="1 imported")).to_be_visible(timeout=20_000)

    # Typing finds it, and asks for the whole word only; what the import changed may have it asked for again.
    place(page, "Models")
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/librarian/models?" in request.url else None
    )
    type_at_once(search, "TESTCOMPACT")
    option = page.get_by_role("option", name=re.compile("2x-TestCompact"))
    expect(option).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(1)
    page.wait_for_timeout(600)
    assert {word for url in asked for word in parse_qs(urlsplit(url).query).get("q", [])} == {
        "TESTCOMPACT"
    }, asked

    # Preview and apply link it; ComfyUI's own loader offers it.
    place(page, "Links")
    page.get_by_role("button", name="Preview").first.click()
    page.get_by_role("button", name="Apply 1 change").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply 1 change").click()
    expect(page.get_by_role("button", name="Done")).to_be_visible()
    page.get_by_role("button", name="Done").click()
    link = server.models_dir / "upscale_models" / "2x-TestCompact.safetensors"
    assert link.is_symlink()
    assert not os.path.isabs(os.readlink(link))
    assert "2x-TestCompact.safetensors" in upscalers_offered(server)

    # The model goes to the graph as a node that knows it by its identity.
    place(page, "Models")
    option.click()
    page.get_by_role("button", name="Add to graph").click()
    node = page.wait_for_function(
        "() => { const node = window.app.graph._nodes.find((n) => n.type === 'LibrarianLoadUpscaleModel');"
        " return node && node.widgets.find((w) => w.name === 'model_id').value }"
    )
    model_id = node.json_value()
    [listed] = server.get_json("/librarian/models?q=testcompact")["models"]
    assert model_id == listed["model_id"]

    # A workflow with it runs on the CPU and writes the image.
    assert run(page, server, model_id) == (128, 96)

    # Unlinked it runs as well: it is loaded by what it is. (Other input, so that nothing is cached.)
    link.unlink()
    assert run(page, server, server.get_json(f"/librarian/models/{model_id}")["hashes"]["sha256"]) == (
        128,
        96,
    )

    # Deleting it in the panel removes link and registry row.
    place(page, "Links")
    page.get_by_role("button", name="Preview").first.click()
    page.get_by_role("button", name=re.compile("^Apply")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Apply")).click()
    page.get_by_role("button", name="Done").click()
    assert link.is_symlink()
    place(page, "Models")
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Delete for good").check()
    expect(dialog).to_contain_text("1 link is removed.")
    expect(dialog).to_contain_text("1 file")
    dialog.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("option", name=re.compile("2x-TestCompact"))).to_have_count(0)
    assert not os.path.lexists(link)
    assert server.get_json("/librarian/links")["links"] == []
    assert not (server.base_dir / "model-library" / model_id).exists()
    assert (server.base_dir / "input" / "2x-TestCompact.safetensors").exists()

    assert own_errors(page) == []
    complaints = [line for line in server.log.splitlines() if "librarian" in line.lower()]
    assert not [line for line in complaints if re.search(r"warning|error|traceback", line, re.IGNORECASE)], (
        complaints
    )
    assert "Traceback" not in server.log


QUEUE = """async (workflow) => {
  const answer = await window.app.api.fetchApi('/prompt', {method: 'POST',
    headers: {'Content-Type': 'application/json'}, body: JSON.stringify({prompt: workflow})})
  return await answer.json()
}"""


def run(page: Page, server: RealComfyUI, model_id: str) -> tuple[int, int]:
    """Queue the workflow as the page would; answers width and height of the image it wrote."""
    folder = server.base_dir / "output"
    before = set(folder.glob("librarian*.png"))
    answer = page.evaluate(QUEUE, {**WORKFLOW, "2": {**WORKFLOW["2"], "inputs": {"model_id": model_id}}})
    assert answer.get("prompt_id"), answer
    deadline = time.monotonic() + 120
    history = None
    while history is None:
        assert time.monotonic() < deadline, "the workflow did not end"
        page.wait_for_timeout(100)
        history = server.get_json(f"/history/{answer['prompt_id']}").get(answer["prompt_id"])
    assert history["status"]["status_str"] == "success", json.dumps(history["status"]["messages"][-1])
    [image] = set(folder.glob("librarian*.png")) - before
    width, height = struct.unpack(">II", image.read_bytes()[16:24])
    return width, height


def test_a_foreign_page_changes_nothing(comfyui: RealComfyUI) -> None:
    """ComfyUI's own guard or ours: a foreign Origin is refused either way."""
    import urllib.error
    import urllib.request

    for origin in ("http://evil.example", "null"):
        request = urllib.request.Request(
            f"{comfyui.base_url}/librarian/scan",
            data=b"{}",
            headers={"Origin": origin, "Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 403


def test_the_panel_is_never_blank(comfyui: RealComfyUI, new_page, open_librarian) -> None:
    """When the server answers with an error, the panel says which and offers to try again."""
    page: Page = new_page(comfyui)
    broken = True

    def answer(route) -> None:
        if broken:
            route.fulfill(
                status=500,
                content_type="application/problem+json",
                body=json.dumps({"title": "x", "detail": "the disk is on fire", "code": "x", "status": 500}),
            )
        else:
            route.continue_()

    page.route(re.compile("/librarian/models\\?"), answer)
    open_librarian(page)
    expect(page.get_by_text("the disk is on fire")).to_be_visible(timeout=20_000)
    broken = False
    page.get_by_role("button", name="Retry").first.click()
    expect(page.get_by_role("option").first).to_be_visible()


def test_a_model_that_is_not_there_is_named_in_the_node(comfyui: RealComfyUI, new_page) -> None:
    page: Page = new_page(comfyui)
    page.goto("/")
    page.wait_for_function("() => window.app?.api")
    wrong = {**WORKFLOW, "2": {**WORKFLOW["2"], "inputs": {"model_id": "RealESRGAN_x4plsu"}}}
    problem = json.dumps(page.evaluate(QUEUE, wrong))
    assert "model_id: There is no model 'RealESRGAN_x4plsu'" in problem


def test_object_info_does_not_list_models(comfyui: RealComfyUI) -> None:
    info = comfyui.get_json("/object_info")
    ours = {name: value for name, value in info.items() if name.startswith("Librarian")}
    assert "safetensors" not in json.dumps(ours)
    assert {path.stem for path in (ROOT / "web" / "docs").glob("*.md")} == set(ours)
    for language in ("en", "zh"):
        texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
        assert set(texts) == set(ours)
        for name, node in ours.items():
            inputs = {**node["input"].get("required", {}), **node["input"].get("optional", {})}
            assert set(texts[name]["inputs"]) == set(inputs)
            assert [one["name"] for one in texts[name]["outputs"].values()] == node["output_name"]
            if language == "en":
                assert texts[name]["display_name"] == node["display_name"]
                assert {key: one["tooltip"] for key, one in texts[name]["inputs"].items()} == {
                    key: options["tooltip"] for key, (_, options) in inputs.items()
                }
