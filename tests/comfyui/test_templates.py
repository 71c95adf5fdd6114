"""ComfyUI's own workflow templates in the real frontend: what they miss is found, and put right in one go.

Every run opens some of them; LIBRARIAN_ALL_TEMPLATES=. opens all, one after another in one page, and prints figures.
It is a regular expression for their names.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import time
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from _real_comfyui import RealComfyUI
from playwright.sync_api import Page, expect

from model_librarian.core.settings import FOLDER_ALIASES
from model_librarian.core.workflows import references_in
from model_librarian.core.workflows.reading import FOLDERS

from .test_missing_models import READY, bring_into_library, wait_until_listed

WANTED = os.environ.get("LIBRARIAN_ALL_TEMPLATES")
SAMPLE = 16
"""How many of those that name models are opened without LIBRARIAN_ALL_TEMPLATES."""

PLACES = ("sorted", "library", "nowhere", "present", "sorted", "library", "sorted", "library")
"""What became of each model in turn: sorted away under another name, in the library only and under another name,
not here at all, or where the workflow says."""

RESPELLED = (str.upper, str.lower, str.title, lambda s: s.replace("_", "-"), lambda s: s.replace("-", " "))
MEDIA = re.compile(
    r"\.(png|jpe?g|webp|gif|mp4|webm|mov|mp3|wav|flac|m4a|glb|obj|stl|ply|fbx|txt)$", re.IGNORECASE
)

DONE = re.compile(r"models? fixed\.|Could not be fixed|No node here takes")

OPEN = """async ([workflow, number]) => {
  const {setting, workflow: {activeWorkflow}} = app.extensionManager
  setting.set('Comfy.Workflow.ShowMissingNodesWarning', false)
  setting.set('Comfy.Workflow.ShowMissingModelsWarning', false)
  // In the tab that is open: hundreds of tabs would measure the frontend.
  await app.loadGraphData({...workflow, extra: {...workflow.extra, number}}, true, true, activeWorkflow)
}"""
PROMPT = "async () => (await app.graphToPrompt()).output"
VALIDATE = """async (prompt) => await (await app.api.fetchApi('/test/validate', {method: 'POST',
  headers: {'Content-Type': 'application/json'}, body: JSON.stringify(prompt)})).json()"""


class Template(NamedTuple):
    name: str
    workflow: dict[str, Any]
    models: set[tuple[str, str]]


def templates() -> Iterator[Template]:
    for path in sorted(Path(str(files("comfyui_workflow_templates_json"))).rglob("*.json")):
        workflow = json.loads(path.read_bytes())
        if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
            # What is put down here has other bytes than the real models, so their hashes would rightly not fit.
            for model in _models_in(workflow):
                model.pop("hash", None)
            models = {
                (FOLDER_ALIASES.get(one.folder, one.folder), one.name) for one in references_in(workflow)
            }
            yield Template(path.name, workflow, models)


def _models_in(value: Any) -> Iterator[dict[str, Any]]:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _models_in(inner)
    if isinstance(value, dict) and {"name", "url", "directory"} <= value.keys():
        yield value


def _media_in(value: Any) -> Iterator[str]:
    if isinstance(value, str) and len(value) < 200 and MEDIA.search(value) and "\n" not in value:
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _media_in(inner)


def tensor_in(path: Path) -> str:
    """The name of a file's only tensor, which says what it was made for."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return next(name for name in header if name != "__metadata__")


class Collection:
    """A person's models: those that workflows name, under other folders and names."""

    def __init__(self, models: set[tuple[str, str]]) -> None:
        self.place = {
            model: self._place(model, number)
            for number, model in enumerate(sorted(models, key=lambda m: m[::-1]))
        }

    def _place(self, model: tuple[str, str], number: int) -> str:
        place = PLACES[number % len(PLACES)]
        # Only those that are what their names say can be brought in.
        return "sorted" if place == "library" and not model[1].endswith(".safetensors") else place

    def put_down(self, server: RealComfyUI, make_model: Any) -> None:
        random_ = random.Random(3)
        waiting = []
        for (folder, name), place in self.place.items():
            stem, _, extension = name.replace("\\", "/").rpartition("/")[2].rpartition(".")
            other = f"{random_.choice(RESPELLED)(stem)}.{extension}"
            path = {
                "present": server.models_dir / folder / name,
                "sorted": server.models_dir / folder / random_.choice(["mine", "sorted/by me", "x"]) / other,
                "library": server.base_dir / "input" / folder / other,
            }.get(place)
            if path is not None:
                make_model(path, {f"{folder}/{name}": (1, 1)})
            if place == "library":
                waiting.append((path, folder))
        server.start()
        bring_into_library(server, waiting)
        wait_until_listed(server, sum(place != "nowhere" for place in self.place.values()))

    def is_here(self, model: tuple[str, str]) -> bool:
        return self.place[model] != "nowhere"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealComfyUI]:
    """Not started yet; with a node that says what ComfyUI's own validation says."""
    server = RealComfyUI(tmp_path_factory.mktemp("templates"))
    server.models_dir.mkdir(parents=True)
    shutil.copytree(Path(__file__).parent / "validate_node", server.base_dir / "custom_nodes" / "validate")
    yield server
    server.stop()


class Opener:
    """Opens templates in one page with the sheet of missing models beside, and notes what is wrong."""

    def __init__(self, page: Page, server: RealComfyUI, collection: Collection) -> None:
        self.page, self.server, self.collection = page, server, collection
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.others: Counter[str] = Counter()
        """What ComfyUI's validation says that has nothing to do with models."""
        self.again = page.get_by_role("button", name="Check again")
        self.fix = page.get_by_role("button", name=re.compile(r"^Fix all"))

    def open(self, template: Template) -> None:
        number = self.counts["opened"]
        self.page.evaluate(OPEN, [template.workflow, number])
        with self.page.expect_response(lambda response: _resolves(response, number)) as answer:
            self.again.click()
        results = answer.value.json()["results"]
        expect(self.again).to_be_enabled()
        self.counts["opened"] += 1
        self._compare(template, results)
        before = self.page.evaluate(PROMPT)
        self.left = 0
        if self.fix.count() and self.fix.is_enabled():
            self.fix.click()
            expect(self.page.get_by_text(DONE).first).to_be_visible(timeout=60_000)
            expect(self.again).to_be_enabled()
            if self.page.get_by_text("Could not be fixed").count():
                said = self.page.locator(".lib-workflow .lib-callout").all_inner_texts()
                self.wrong.append(f"{template.name}: {said}")
            self.left = self.page.get_by_text("No node here takes").count()
            self.counts["fixed"] += 1
        self._validate(template, before)

    def _compare(self, template: Template, results: list[dict[str, Any]]) -> None:
        seen = {(one["folder"], one["name"]) for one in results}
        for lost in template.models - seen:
            self.wrong.append(f"{template.name}: {lost} is not asked for")
        for one in results:
            model = (one["folder"], one["name"])
            if model not in self.collection.place:
                self.wrong.append(f"{template.name}: {model} is asked for")
                continue
            if not self.collection.is_here(model):
                self.counts["not here"] += 1
                listed = self.page.get_by_role("list", name="Missing models").get_by_role("listitem")
                entry = listed.filter(has_text=Path(one["name"]).stem[-12:])
                if one["state"] != "downloadable" or not one["url"] or not entry.count():
                    self.wrong.append(f"{template.name}: {model} is {one['state']}, and not to be had")
                continue
            self.counts["here"] += 1
            if one["state"] not in {"present", "elsewhere", "in_library"}:
                self.wrong.append(
                    f"{template.name}: {model}, {self.collection.place[model]}, is {one['state']}"
                )
            elif self._meant(one) != "/".join(model):
                self.wrong.append(f"{template.name}: for {model}, {self._meant(one)} was chosen")
            else:
                self.counts["found"] += 1

    def _meant(self, result: dict[str, Any]) -> str:
        """What the file that was chosen was made for."""
        if result["value"] is not None:
            return tensor_in(self.server.models_dir / result["folder"] / result["value"])
        details = self.server.get_json(f"/librarian/models/{quote(result['model_id'])}")
        return tensor_in(Path(details["files"][0]["path"]))

    def _validate(self, template: Template, before: dict[str, Any]) -> None:
        after = self.page.evaluate(PROMPT)
        said = self.page.evaluate(VALIDATE, after)
        missing = {name for folder, name in template.models if not self.collection.is_here((folder, name))}
        for one in said["refused"]:
            value = one["value"]
            if one["why"] != "value_not_in_list" or not isinstance(value, str):
                self.others[f"{one['kind']}: {one['why']}"] += 1
            elif said["unknown"] and self._is_displaced(one["kind"], value):
                self.counts["values that the frontend put into another widget"] += 1
            elif value in {name for _, name in self.collection.place} and value not in missing:
                self.wrong.append(f"{template.name}: ComfyUI refuses {value} in {one['kind']}")
            elif value not in missing:
                self.others[f"{one['kind']}: {one['why']} {value}"] += 1
        for key, node in after.items():
            for name, value in node["inputs"].items():
                was = before.get(key, {}).get("inputs", {}).get(name)
                if value != was and isinstance(value, str):
                    self._is_right(template, f"{node['class_type']}.{name}", was, value)
        if self.left and not said["unknown"]:
            self.wrong.append(f"{template.name}: some values are in no node, though all nodes are known")
        if said["unknown"]:
            self.counts["with nodes that are not here"] += 1
        elif said["valid"] and not said["refused"]:
            self.counts["valid"] += 1
        elif missing:
            self.counts["valid but for models that are not here"] += 1
        else:
            self.counts["refused for other reasons"] += 1

    def _is_displaced(self, kind: str, value: str) -> bool:
        """Whether a loader of other models has it: of a subgraph with nodes that it does not know, the frontend drops
        some of the values, and gives the others to the wrong widgets."""
        folders = {folder for folder, name in self.collection.place if name == value}
        return bool(folders) and FOLDERS.get(kind) not in folders

    def _is_right(self, template: Template, where: str, was: str, value: str) -> None:
        for folder, name in template.models:
            path = self.server.models_dir / folder / value
            if name == was and path.is_file() and tensor_in(path) == f"{folder}/{name}":
                self.counts["values put right"] += 1
                return
        self.wrong.append(f"{template.name}: {where} was {was} and became {value}")


def _resolves(response: Any, number: int) -> bool:
    """Whether this answers for the workflow of that number; a late one may be about the one before."""
    if not response.url.endswith("/librarian/resolve"):
        return False
    workflow = (response.request.post_data_json or {}).get("workflow") or {}
    return workflow.get("extra", {}).get("number") == number


def test_templates_are_put_right(server: RealComfyUI, make_model, new_page) -> None:
    everything = list(templates())
    named = [template for template in everything if template.models]
    others = [template for template in everything if not template.models]
    if WANTED is None:
        chosen = sorted(random.Random(11).sample(named, SAMPLE))
    else:
        chosen = [one for one in (*named, *others) if re.search(WANTED, one.name)]
    collection = Collection({model for template in chosen for model in template.models})
    for name in {name for template in chosen for name in _media_in(template.workflow)}:
        path = server.base_dir / "input" / name
        if path.resolve().is_relative_to(server.base_dir / "input"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    collection.put_down(server, make_model)

    page: Page = new_page(server)
    page.goto("/")
    page.wait_for_function(READY)
    page.evaluate("() => app.extensionManager.command.execute('ModelLibrarian.MissingModels')")
    opener = Opener(page, server, collection)
    began = time.monotonic()
    for number, template in enumerate(chosen, start=1):
        opener.open(template)
        if WANTED is not None:
            figures = {**opener.counts, "wrong": len(opener.wrong), "seconds": int(time.monotonic() - began)}
            print(number, template.name, figures, *opener.wrong[-1:], flush=True)
    counts = opener.counts
    print(dict(counts), *opener.wrong, *opener.others.most_common(50), sep="\n")
    assert counts["opened"] == len(chosen)
    assert counts["fixed"] > sum(bool(template.models) for template in chosen) / 3
    assert counts["valid"] > 0 or WANTED is not None
    assert opener.wrong == []
