from __future__ import annotations

import hashlib
import os
import re
from urllib.parse import unquote

import httpx
import pytest
import respx

from model_librarian.core.network import Answers, NetworkManager, NetworkSettings
from model_librarian.core.sources import HuggingFace, Lookup


def sha256_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


class FakeHub:
    """The Hub's public API with the shapes it documents, and some repositories."""

    commit = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self) -> None:
        self.models: list[object] = []
        self.trees: dict[str, object] = {}
        self.asked: list[httpx.Request] = []
        self.down: set[str] = set()
        self.headers: dict[str, str] = {}
        self.instead: httpx.Response | None = None

    def add(self, repo_id: str, files: dict[str, str | None], **more: object) -> None:
        """A repository; ``files`` maps paths to contents, None for a small file in Git itself."""
        self.models.append(
            {
                "_id": "621ffdc036468d709f17434d",
                "id": repo_id,
                "modelId": repo_id,
                "author": repo_id.split("/")[0],
                "sha": self.commit,
                "lastModified": "2024-08-16T14:38:19.000Z",
                "private": False,
                "gated": False,
                "disabled": False,
                "likes": 12,
                "downloads": 3400,
                "tags": [
                    "diffusers",
                    "license:apache-2.0",
                    "base_model:org/base",
                    "base_model:finetune:org/base",
                ],
                "pipeline_tag": "text-to-image",
                "library_name": "diffusers",
                "createdAt": "2024-07-31T21:13:44.000Z",
                "siblings": [{"rfilename": path} for path in files],
                **more,
            }
        )
        self.trees[repo_id] = [
            {"type": "directory", "oid": "a" * 40, "size": 0, "path": "folder"},
            *(
                {"type": "file", "oid": "b" * 40, "size": 1519, "path": path}
                if content is None
                else {
                    "type": "file",
                    "oid": "c" * 40,
                    "size": len(content),
                    "lfs": {"oid": sha256_of(content), "size": len(content), "pointerSize": 135},
                    "xetHash": "d" * 64,
                    "path": path,
                }
                for path, content in files.items()
            ),
        ]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = unquote(request.url.path)
        if any(part in path for part in self.down):
            raise httpx.ConnectError("down")
        if self.instead is not None:
            return self.instead
        if path == "/api/models":
            author = request.url.params.get("author")
            words = request.url.params.get("search", "").lower().split()
            found = [model for model in self.models if self._fits(model, words)]
            if author is not None:
                found = [model for model in found if isinstance(model, dict) and model["author"] == author]
            return httpx.Response(200, json=found[: int(request.url.params["limit"])], headers=self.headers)
        tree = re.fullmatch(r"/api/models/(.+)/tree/(\w+)", path)
        if tree and tree[1] in self.trees:
            return httpx.Response(200, json=self.trees[tree[1]], headers=self.headers)
        one = [
            model for model in self.models if isinstance(model, dict) and path == f"/api/models/{model['id']}"
        ]
        return httpx.Response(200, json=one[0]) if one else httpx.Response(404, json={"error": "Not found"})

    def _fits(self, model: object, words: list[str]) -> bool:
        if not isinstance(model, dict) or not isinstance(model.get("id"), str):
            return True
        return all(word in model["id"].lower() for word in words)

    @property
    def searches(self) -> list[str]:
        return [request.url.params["search"] for request in self.asked if "search" in request.url.params]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fake():
    hub = FakeHub()
    with respx.mock(assert_all_called=False) as router:
        router.route(host="huggingface.co").mock(side_effect=hub.answer)
        yield hub


@pytest.fixture
async def network(clock):
    manager = NetworkManager(NetworkSettings(), clock=clock, sleep=clock.sleep)
    yield manager
    await manager.aclose()


@pytest.fixture
async def answers(network, clock, tmp_path):
    remembered = Answers(network, tmp_path / "answers.db", clock=clock)
    yield remembered
    await remembered.aclose()


@pytest.fixture
def hub(answers):
    return HuggingFace(answers)


@pytest.fixture
def lookup(hub, clock):
    return Lookup(hub, clock=clock)
