"""What a workflow misses and the library has not either: it comes from its host, and the nodes get it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _real_comfyui import RealComfyUI
from playwright.sync_api import Locator, Page, expect

from ..fake_hub import FakeHub, Gate, sha256
from .test_missing_models import BUILD, READY, VALUES, bring_into_library

WEIGHTS = {"conv_first.weight": (3000, 1000), "conv_last.weight": (3, 8, 3, 3)}
FILES = {
    "someone/portraits": "pixel-portraits-xl.safetensors",
    "someone/gated": "secret-style.safetensors",
    "someone/grain": "film-grain.safetensors",
}


def stated(repository: str, folder: str = "", **more: str) -> dict[str, str]:
    """What a workflow says of a file of the hub, as `properties.models` has it."""
    file = FILES[repository]
    url = f"https://huggingface.co/{repository}/resolve/main/{file}"
    return {"name": f"{folder}{file}", "url": url, "directory": "loras", **more}


@pytest.fixture
def hub(make_model, tmp_path: Path) -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.start()
    for repository, name in FILES.items():
        hub.add(repository, {name: make_model(tmp_path / "published" / name, WEIGHTS).read_bytes()})
    yield hub
    hub.stop()


@pytest.fixture
def start(hub: FakeHub, start_comfyui: Callable[..., RealComfyUI], new_page) -> Callable[..., tuple]:
    """A ComfyUI that reaches the hub, with models of its own, and a page in which nothing is open yet."""

    def begin(models: Path | None = None) -> tuple[RealComfyUI, Page]:
        environment = {"HF_ENDPOINT": hub.origin, "CIVITAI_ENDPOINT": hub.origin, "LIBRARIAN_OFFLINE": ""}
        server = start_comfyui(environment=environment, models=models)
        page = new_page(server)
        page.goto("/")
        page.wait_for_function(READY)
        return server, page

    return begin


def open_sheet(page: Page) -> Locator:
    page.evaluate("() => app.extensionManager.command.execute('ModelLibrarian.MissingModels')")
    return page.get_by_role("region", name="Models of this workflow")


def entry(page: Page, name: str) -> Locator:
    return page.locator(".lib-missing").filter(has_text=name)


NODES = [
    [
        "LoraLoaderModelOnly",
        "lora_name",
        "portraits/pixel-portraits-xl.safetensors",
        {"models": [stated("someone/portraits", "portraits/")]},
    ],
    ["LoraLoader", "lora_name", "secret-style.safetensors", {"models": [stated("someone/gated")]}],
    [
        "LibrarianLoadLora",
        "model_id",
        "in-place/film-grain-01234567",
        {
            "models": [stated("someone/grain")],
            "librarian": {
                "model_id": {
                    "model_id": "in-place/film-grain-01234567",
                    "name": "film-grain.safetensors",
                    "directory": "loras",
                }
            },
        },
    ],
    # As the workflow of somebody else; nothing is asked of it here.
    ["ControlNetLoader", "control_net_name", "undefined", {}],
]


def test_what_is_downloaded_reaches_its_nodes(hub: FakeHub, start, own_errors) -> None:
    server, page = start()
    page.evaluate(BUILD, NODES)
    sheet = open_sheet(page)
    expect(page.locator(".lib-missing")).to_have_count(3)
    expect(sheet.get_by_role("button", name="Fix all (0)")).to_be_disabled()

    # On its way, as everywhere in the panel: how far, pause, and the way on.
    gate = Gate(4_500_000, drips=True)
    hub.faults.append(gate)
    portraits = entry(page, "pixel-portraits")
    expect(portraits).to_contain_text("Can be had from huggingface.co")
    portraits.get_by_role("button", name=re.compile("^Download")).click()
    assert gate.reached.wait(15)
    expect(portraits).to_contain_text("Downloading")
    expect(portraits).to_contain_text(re.compile(r"[1-4](\.\d+)? MB of 6 MB"))
    expect(portraits.get_by_role("progressbar")).to_be_visible()
    portraits.get_by_role("button", name="Pause").click()
    expect(portraits).to_contain_text("Paused")
    gate.opened.set()

    # One that is kept behind a licence says so, and what can be done.
    commit = next(path for path in hub.redirects if path.startswith("/someone/gated/"))
    address = hub.redirects.pop(commit)
    hub.refused[commit] = (403, {"X-Error-Code": "GatedRepo"})
    gated = entry(page, "secret-style")
    gated.get_by_role("button", name=re.compile("^Download")).click()
    expect(gated).to_contain_text("Failed")
    expect(gated.get_by_role("button", name="Set a token")).to_be_visible()
    expect(gated.get_by_role("link")).to_have_attribute("href", re.compile("someone/gated"))

    # It arrives: the node of ComfyUI gets it under the name that ComfyUI has for it.
    portraits.get_by_role("button", name="Resume").click()
    expect(portraits).to_have_count(0, timeout=20_000)
    assert page.evaluate(VALUES)["LoraLoaderModelOnly"] == "pixel-portraits-xl.safetensors"
    [model] = server.get_json("/librarian/models?q=portraits")["models"]
    assert (model["storage"], model["subtype"]) == ("owned", "loras")

    # A node of ours, from another machine, gets the model's id.
    grain = entry(page, "film-grain")
    grain.get_by_role("button", name=re.compile("^Download")).click()
    expect(grain).to_have_count(0, timeout=20_000)
    [model] = server.get_json("/librarian/models?q=grain")["models"]
    assert page.evaluate(VALUES)["LibrarianLoadLora"] == model["model_id"]

    # What failed goes on once it may.
    del hub.refused[commit]
    hub.redirects[commit] = address
    gated.get_by_role("button", name="Retry").click()
    expect(sheet.get_by_role("heading", name="Nothing is missing")).to_be_visible(timeout=20_000)
    values = page.evaluate(
        "() => app.graph._nodes.find(({type}) => type === 'LoraLoader').widgets[0].options.values"
    )
    assert "secret-style.safetensors" in [str(value) for value in values]
    assert [line for line in own_errors(page) if "status of 404" not in line] == []


def test_other_bytes_under_a_name_are_said(
    hub: FakeHub, start, make_model, tmp_path: Path, own_errors
) -> None:
    names = {"someone/portraits": FILES["someone/portraits"], "someone/grain": FILES["someone/grain"]}
    models = tmp_path / "models"
    for name in names.values():
        make_model(models / "loras" / name)
    server, page = start(models)
    adopted = [(server.models_dir / "loras" / name, "loras") for name in names.values()]
    bring_into_library(server, adopted, mode="adopt")
    published = {repository: hub.files[f"/cdn/{repository}/{name}"] for repository, name in names.items()}
    page.evaluate(
        BUILD,
        [
            [
                kind,
                "lora_name",
                names[repository],
                {"models": [stated(repository, hash=sha256(content), hash_type="SHA256")]},
            ]
            for kind, (repository, content) in zip(
                ("LoraLoader", "LoraLoaderModelOnly"), published.items(), strict=True
            )
        ]
        + [NODES[-1]],
    )
    sheet = open_sheet(page)
    differing = sheet.get_by_role("list", name="Models with other bytes").get_by_role("listitem")
    expect(differing).to_have_count(2)
    expect(sheet.get_by_role("heading", name="2 models are here with other bytes")).to_be_visible()
    grain = entry(page, "film-grain")
    expect(grain).to_contain_text("not with the bytes that the workflow names")

    # Another version is fine, for one; of the other, the one that is meant comes, and the node gets it.
    grain.get_by_role("button", name="Use it anyway").click()
    expect(differing).to_have_count(1)
    entry(page, "pixel-portraits").get_by_role("button", name=re.compile("^Download")).click()
    expect(sheet.get_by_role("heading", name="Nothing is missing")).to_be_visible(timeout=30_000)
    values = page.evaluate(VALUES)
    assert values["LoraLoaderModelOnly"] == names["someone/grain"]
    chosen = server.models_dir / "loras" / values["LoraLoader"]
    assert chosen.read_bytes() == published["someone/portraits"]
    assert (server.models_dir / "loras" / names["someone/portraits"]).read_bytes() != chosen.read_bytes()
    assert [line for line in own_errors(page) if "status of 404" not in line] == []
