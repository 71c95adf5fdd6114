"""Lookups of the files that ComfyUI's workflow templates name, on a hub with the repositories that have them."""

from __future__ import annotations

import json
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from model_librarian.core.network import Answers, NetworkManager, NetworkSettings
from model_librarian.core.sources import HuggingFace, Lookup

Repositories = dict[str, set[str]]


def _addresses(value: object) -> set[str]:
    """The addresses of all models that a workflow names."""
    found = set()
    if isinstance(value, dict):
        for model in value["models"] if isinstance(value.get("models"), list) else ():
            if isinstance(model, dict) and isinstance(model.get("url"), str):
                found.add(model["url"])
        value = list(value.values())
    if isinstance(value, list):
        found = found.union(*map(_addresses, value))
    return found


@pytest.fixture(scope="module")
def repositories() -> Repositories:
    """Paths of files by the repositories that the templates' addresses name."""
    found: Repositories = defaultdict(set)
    for path in sorted(Path(str(files("comfyui_workflow_templates_json"))).rglob("*.json")):
        for address in _addresses(json.loads(path.read_bytes())):
            parts = urlsplit(address)
            author, name, _resolve, _revision, *inside = unquote(parts.path).strip("/").split("/")
            if parts.hostname == "huggingface.co":
                found[f"{author}/{name}"].add("/".join(inside))
    return found


@pytest.fixture
async def patient(clock):
    """A lookup that its own ceiling does not hold up."""
    network = NetworkManager(NetworkSettings(calls_per_minute=100_000), clock=clock, sleep=clock.sleep)
    answers = Answers(network, None, clock=clock)
    yield Lookup(HuggingFace(answers), clock=clock)
    await answers.aclose()
    await network.aclose()


async def test_the_files_of_all_templates_are_found_where_they_are(fake, patient, repositories):
    assert len(repositories) > 100
    homes: dict[str, set[str]] = defaultdict(set)
    for repo_id, paths in sorted(repositories.items()):
        fake.add(repo_id, {path: f"{repo_id}/{path}" for path in sorted(paths)})
        for path in paths:
            homes[path.rpartition("/")[2]].add(repo_id)
    assert len(homes) > 300
    right, wrong = 0, []
    for name, own in sorted(homes.items()):
        result = await patient.find(name)
        assert result.calls <= 4
        assert not [
            candidate
            for candidate in result.candidates
            if candidate.match_confidence > 0.9 and candidate.repo_id not in own
        ]
        if result.candidates and result.candidates[0].repo_id in own:
            right += 1
        else:
            wrong.append((name, result.candidates[0].repo_id if result.candidates else None, *own))
    assert right / len(homes) >= 0.95, "\n".join(map(str, wrong))
