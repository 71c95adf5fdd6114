"""``/lookup`` and ``/remote`` over HTTP, with Hugging Face and Civitai on this machine."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from ..fake_hosts import FakeHosts, serving
from ..fake_hub import FakeHub

CANDIDATE = {
    "provider", "repo_id", "revision", "file_name", "official_name", "author", "kind", "pipeline_tag", "base_model",
    "tags", "trained_words", "description", "licence", "gated", "nsfw", "nsfw_level", "preview_url",
    "preview_nsfw_level", "download_url", "size", "sha256", "match_method", "match_confidence",
    "requires_confirmation", "hash_mismatch", "page_url",
}  # fmt: skip


@pytest.fixture(autouse=True)
def hosts(monkeypatch):
    """Before ``api``, so that its server asks these hosts."""
    with serving(FakeHosts()) as hosts:
        for name, value in hosts.environment.items():
            monkeypatch.setenv(name, value)
        yield hosts


@pytest.fixture
async def imported(hosts, api, make_model, downloads):
    """The id and the bytes of an imported model; nobody was asked about it yet."""
    await api("PATCH", "/settings", {"online": False})
    source = make_model(downloads / "flux-realism.safetensors")
    _, body = await api("POST", "/imports", {"items": [{"paths": [str(source)], "mode": "copy"}]})
    job = await api.finished(body["job"])
    await api("PATCH", "/settings", {"online": True})
    return job["result"]["imported"][0], source.read_bytes()


async def test_lookup_of_a_name(api, hosts):
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"flux")
    status, body = await api("POST", "/lookup", {"filename": "flux-realism.safetensors"})
    assert status == 200
    assert {"found", "candidates", "cached", "stale", "offline", "calls", "problems"} <= set(body)
    [candidate] = body["candidates"]
    assert set(candidate) == CANDIDATE
    assert (candidate["provider"], candidate["repo_id"]) == ("huggingface", "someone/flux-realism")
    assert (candidate["match_method"], candidate["requires_confirmation"]) == ("filename_exact", False)


async def test_lookup_of_a_model_and_taking_it_over(api, hosts, imported):
    model_id, data = imported
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", data)
    hosts.publish_version("fluxRealism_v1.safetensors", data)
    status, body = await api("POST", "/lookup", {"model_id": model_id})
    assert status == 200
    assert body["calls"] <= 4
    by_provider = {candidate["provider"]: candidate for candidate in body["candidates"]}
    assert {name: found["match_method"] for name, found in by_provider.items()} == {
        "huggingface": "hash",
        "civitai": "hash",
    }
    status, record = await api(
        "POST", "/lookup/apply", {"model_id": model_id, "candidate": by_provider["civitai"]}
    )
    assert status == 200
    assert (record["match_method"], record["match_confidence"], record["match_source"]) == (
        "hash",
        1.0,
        "manual",
    )
    assert (record["repo_id"], record["base_model"]) == ("827184", "SDXL 1.0")


async def test_apply_does_not_believe_a_claim(api, hosts, imported):
    model_id, _ = imported
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"other")
    _, body = await api("POST", "/lookup", {"filename": "flux-realism.safetensors"})
    claimed = {**body["candidates"][0], "match_method": "hash", "match_confidence": 1.0}
    status, record = await api("POST", "/lookup/apply", {"model_id": model_id, "candidate": claimed})
    assert status == 200
    assert record["hash_mismatch"]
    assert record["match_method"] == "filename_exact"
    assert record["match_confidence"] <= 0.7


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"repo_id": "../../etc"}, 400),
        ({"file_name": "../../etc/passwd"}, 400),
        ({"provider": "evil"}, 400),
        ({"match_confidence": 2}, 400),
        ({}, 200),
    ],
)
async def test_candidates_that_nobody_offered(api, hosts, imported, change, status):
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"other")
    _, body = await api("POST", "/lookup", {"filename": "flux-realism.safetensors"})
    candidate = {**body["candidates"][0], **change}
    answered, problem = await api("POST", "/lookup/apply", {"model_id": imported[0], "candidate": candidate})
    assert answered == status
    assert status == 200 or problem["code"] == "invalid_request"


async def test_retry(api, hosts, imported):
    model_id, data = imported
    hosts.publish_version("fluxRealism_v1.safetensors", data)
    status, body = await api("POST", "/lookup/retry", {})
    assert status == 202
    job = await api.finished(body["job"])
    assert (job["kind"], job["state"]) == ("lookup", "done")
    assert {"models", "matched", "nothing_found", "pending", "offline"} <= set(job["result"])
    _, record = await api("GET", f"/models/{model_id}")
    assert (record["match_method"], record["match_source"]) == ("hash", "auto")
    assert not record["pending_online_lookup"]


async def test_remote(api, hosts):
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"flux")
    hosts.publish_version("flux-style.safetensors", b"style")
    status, body = await api("GET", "/remote", params={"q": "flux"})
    assert status == 200
    assert {"models", "cached", "stale", "offline", "fetched_at"} <= set(body)
    assert [model["provider"] for model in body["models"]] == ["huggingface", "civitai"]
    assert (body["cached"], body["stale"], body["offline"], body["problems"]) == (False, False, False, [])
    status, body = await api("GET", "/remote", params={"q": "flux", "provider": "civitai", "limit": "5"})
    assert [model["repo_id"] for model in body["models"]] == ["827184"]
    for wrong in ({"provider": "evil"}, {"limit": "0"}, {"limit": "101"}, {"q": "x" * 1001}):
        status, problem = await api("GET", "/remote", params=wrong)
        assert (status, problem["code"]) == (400, "invalid_request")


async def test_remote_offline_is_honest(api, hosts):
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"flux")
    _, before = await api("GET", "/remote", params={"q": "flux"})
    await api("PATCH", "/settings", {"online": False})
    status, known = await api("GET", "/remote", params={"q": "flux"})
    assert status == 200
    assert known["models"] == before["models"]
    assert (known["cached"], known["stale"], known["offline"]) == (True, True, True)
    assert known["fetched_at"] == before["fetched_at"]
    status, unknown = await api("GET", "/remote", params={"q": "something else"})
    assert status == 200
    assert (unknown["models"], unknown["offline"], unknown["fetched_at"]) == ([], True, None)
    assert {problem["code"] for problem in unknown["problems"]} == {"offline"}


async def test_remote_with_one_host_answering_nonsense(api, hosts, monkeypatch):
    answer = hosts.answer
    monkeypatch.setattr(hosts, "answer", lambda *call: (403, {}) if "/api/v1/" in call[1] else answer(*call))
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"flux")
    status, body = await api("GET", "/remote", params={"q": "flux"})
    assert (status, len(body["models"])) == (200, 1)
    assert [(p["provider"], p["code"]) for p in body["problems"]] == [("civitai", "remote_forbidden")]
    status, problem = await api("GET", "/remote", params={"q": "flux", "provider": "civitai"})
    assert (status, problem["code"]) == (503, "remote_forbidden")


async def test_stale_at_once_and_an_event_when_there_is_newer(api, hosts, monkeypatch):
    from model_librarian.core.sources import huggingface

    monkeypatch.setattr(huggingface, "SEARCH_TTL_S", -1.0)
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"flux")
    await api("GET", "/remote", params={"q": "flux", "provider": "huggingface"})
    hosts.publish("someone/flux-lines", "lines.safetensors", b"lines")
    async with api.client.get("/librarian/events") as events:
        _, stale = await api("GET", "/remote", params={"q": "flux", "provider": "huggingface"})
        assert (len(stale["models"]), stale["stale"], stale["cached"]) == (1, True, True)
        told = await asyncio.wait_for(_next_event(events, "librarian.remote"), 60)
    assert told == {"provider": "huggingface", "q": "flux", "repo_id": None}
    _, fresh = await api("GET", "/remote", params={"q": "flux", "provider": "huggingface"})
    assert len(fresh["models"]) == 2


async def _next_event(events, name):
    """The record of the next event of that name in a stream of server-sent events."""
    current = ""
    async for line in events.content:
        text = line.decode().strip()
        if text.startswith("event:"):
            current = text.removeprefix("event:").strip()
        if text.startswith("data:") and current == name:
            return json.loads(text.removeprefix("data:"))
    raise AssertionError("the stream ended")


async def test_files_of_a_repository_with_their_sizes(api, hosts):
    hosts.publish("someone/flux", "flux-fp8.safetensors", b"flux")
    asked = {"provider": "huggingface", "repo_id": "someone/flux", "revision": "main"}
    status, body = await api("GET", "/remote/files", params=asked)
    assert (status, body["complete"]) == (200, True)
    assert [(file["path"], file["size"]) for file in body["files"]] == [("flux-fp8.safetensors", 4)]
    for wrong, code in (
        ({"repo_id": "../x"}, 400),
        ({"provider": "url"}, 400),
        ({"repo_id": "someone/gone"}, 503),
    ):
        status, problem = await api("GET", "/remote/files", params=asked | wrong)
        assert status == code, (wrong, problem)


async def test_whoever_asks_again_ends_the_wait_for_hosts_that_are_left_alone(api, hosts):
    hosts.status = 503
    await api("GET", "/remote", params={"q": "flux"})
    _, told = await api("GET", "/status")
    assert told["network"]["offline"] is True
    hosts.status = None
    hosts.publish("someone/flux", "flux-fp8.safetensors", b"flux")
    _, body = await api("GET", "/remote", params={"q": "flux"})
    assert (body["offline"], body["models"]) == (True, [])
    status, _ = await api("POST", "/lookup/retry", {})
    assert status == 202
    _, body = await api("GET", "/remote", params={"q": "flux"})
    assert [model["repo_id"] for model in body["models"]] == ["someone/flux"]
    _, told = await api("GET", "/status")
    assert told["network"]["offline"] is False


async def test_publishers_text_arrives_as_text(api, hosts):
    nasty = "<img src=x onerror=alert(1)>"
    hosts.publish_version("flux.safetensors", b"flux", name=nasty, baseModel=nasty, trainedWords=[nasty])
    async with api.client.get("/librarian/remote", params={"q": "flux"}) as response:
        assert response.content_type == "application/json"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        [model] = (await response.json())["models"]
    assert model["version"] == nasty


async def test_hosts_that_the_person_adds(api, hosts, surroundings):
    added = ["mirror.example", "http://127.0.0.1:9"]
    status, settings = await api("PATCH", "/settings", {"allowed_hosts": added})
    assert (status, settings["allowed_hosts"]) == (200, added)
    assert settings["allow_private_addresses"] is False
    for wrong in ("", "http://", "https://x/path", "a b", "https://user@x", "ftp://x", "x" * 10_000):
        status, problem = await api("PATCH", "/settings", {"allowed_hosts": [wrong]})
        assert (status, problem["code"]) == (400, "invalid_request")
    _, settings = await api("GET", "/settings")
    assert settings["allowed_hosts"] == added


async def test_a_hand_written_setting_that_is_no_host_stops_nothing(hosts, surroundings):
    from model_librarian.core.librarian import Librarian

    surroundings.data_dir.mkdir(parents=True, exist_ok=True)
    written = {"allowed_hosts": ["not a host", "mirror.example"]}
    (surroundings.data_dir / "settings.json").write_text(json.dumps(written))
    librarian = Librarian(surroundings)
    try:
        allowed = librarian.network.settings.allowed_hosts
        assert "mirror.example" in allowed
        assert "not a host" not in allowed
        assert hosts.url in allowed
    finally:
        librarian.close()


@pytest.fixture
def hub_with_limit(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    hub = FakeHub()
    hub.start()
    hub.pages["/api/models"] = []
    hub.page_headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "240"}
    for name in ("HF_ENDPOINT", "CIVITAI_ENDPOINT"):
        monkeypatch.setenv(name, hub.origin)
    monkeypatch.setenv("LIBRARIAN_OFFLINE", "")
    yield hub
    hub.stop()


async def test_a_limit_that_is_nearly_used_is_told(hub_with_limit, api):
    await api("GET", "/remote?q=flux&provider=huggingface")
    _, told = await api("GET", "/status")
    limit = told["network"]["rate_limit"]
    assert (limit["remaining"], limit["limit"], limit["near_limit"]) == (3, 100, True)
    assert 0 < limit["reset_s"] <= 240
