from __future__ import annotations

import os

import pytest

from ..fake_hub import FakeHub, Gate, instead, sha256, status


@pytest.fixture
def hub(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    hub = FakeHub()
    hub.start()
    for name, value in {
        "HF_ENDPOINT": hub.origin,
        "CIVITAI_ENDPOINT": hub.origin,
        "LIBRARIAN_OFFLINE": "",
    }.items():
        monkeypatch.setenv(name, value)
    yield hub
    hub.stop()


@pytest.fixture
def content(make_model, tmp_path) -> bytes:
    tensors = {"conv_first.weight": (1500, 500), "conv_last.weight": (1500, 500)}
    return make_model(tmp_path / "at the hub" / "nice.safetensors", tensors).read_bytes()


WANTED = {"provider": "huggingface", "repo_id": "org/upscaler", "files": ["nice.safetensors"]}


async def test_a_download_is_followed_to_its_model(hub, api, content):
    hub.add("org/upscaler", {"nice.safetensors": content})
    code, answer = await api("POST", "/downloads", WANTED)
    assert code == 202
    download = answer["download"]
    assert download["job_id"] == answer["job"]["id"] and answer["job"]["kind"] == "download"
    ended = await api.finished(answer["job"])
    assert ended["state"] == "done"
    code, download = await api("GET", f"/downloads/{download['id']}")
    assert (code, download["state"]) == (200, "done")
    _, model = await api("GET", f"/models/{download['models'][0]}")
    assert model["hashes"]["sha256"] == sha256(content)
    assert [one["id"] for one in (await api("GET", "/downloads"))[1]["downloads"]] == [download["id"]]
    assert (await api("DELETE", f"/downloads/{download['id']}"))[0] == 200
    assert (await api("GET", "/downloads"))[1] == {"downloads": []}


async def test_pause_resume_and_cancel(hub, api, content):
    hub.add("org/upscaler", {"nice.safetensors": content})
    hub.faults = [Gate(1_500_000), Gate(100_000)]
    _, answer = await api("POST", "/downloads", WANTED)
    path = f"/downloads/{answer['download']['id']}"
    code, paused = await api("POST", f"{path}/pause", {})
    assert (code, paused["state"]) == (200, "paused")
    assert (await api.finished(answer["job"]))["state"] == "interrupted"
    assert (await api("POST", "/downloads", WANTED))[1]["code"] == "already_downloading"
    code, answer = await api("POST", f"{path}/resume", {})
    assert code == 202
    code, _ = await api("DELETE", path)
    assert code == 200
    assert (await api.finished(answer["job"]))["state"] == "cancelled"
    code, problem = await api("POST", f"{path}/resume", {})
    assert (code, problem["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({}, 400, "invalid_request"),
        ({"provider": "url"}, 400, "invalid_request"),
        ({"provider": "huggingface", "repo_id": "a/b"}, 400, "invalid_request"),
        ({**WANTED, "url": "https://huggingface.co/a"}, 400, "invalid_request"),
        ({**WANTED, "directory": "../x"}, 400, "invalid_request"),
        ({**WANTED, "repo_id": "../../etc"}, 400, "invalid_request"),
        ({**WANTED, "files": ["none.safetensors"]}, 404, "not_found"),
        ({**WANTED, "repo_id": "org/none"}, 503, "remote_not_found"),
        ({"provider": "civitai", "repo_id": "x"}, 400, "invalid_request"),
        ({"provider": "url", "url": "file:///etc/passwd"}, 400, "invalid_request"),
        ({"provider": "url", "url": "https://example.org/a.safetensors"}, 403, "host_not_allowed"),
        ({"provider": "url", "url": "http://127.0.0.1:1/a.safetensors"}, 403, "host_not_allowed"),
        ({**WANTED, "files": ["x.ckpt"]}, 422, "pickle_not_acknowledged"),
        ({**WANTED, "sha256": "0" * 64}, 409, "hash_mismatch"),
    ],
)
async def test_what_cannot_be_downloaded_is_said_at_once(hub, api, content, body, code, word):
    hub.add("org/upscaler", {"nice.safetensors": content})
    answered, problem = await api("POST", "/downloads", body)
    assert (answered, problem["code"]) == (code, word), problem
    assert (await api("GET", "/downloads"))[1] == {"downloads": []}


async def test_a_gated_repository_says_what_to_do(hub, api, content):
    hub.add("org/upscaler", {"nice.safetensors": content})
    hub.faults = [status(403)]
    _, answer = await api("POST", "/downloads", WANTED)
    ended = await api.finished(answer["job"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "remote_forbidden")
    assert "licence" in ended["error"]["message"] and "token" in ended["error"]["message"]
    _, download = await api("GET", f"/downloads/{answer['download']['id']}")
    assert download["page_url"] == f"{hub.origin}/org/upscaler"


def size_of(path: str) -> int | None:
    return os.path.getsize(path) if os.path.exists(path) else None


async def test_what_came_wrong_is_told_kept_and_thrown_away(hub, api, content):
    hub.add("org/upscaler", {"nice.safetensors": content})
    hub.faults = [instead(content[:-1] + bytes([content[-1] ^ 1]))]
    _, answer = await api("POST", "/downloads", WANTED)
    ended = await api.finished(answer["job"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "hash_mismatch")
    path = f"/downloads/{answer['download']['id']}"
    _, download = await api("GET", path)
    [file] = download["files"]
    aside = file["aside"]["path"]
    assert size_of(aside) == file["aside"]["size"] == download["aside_size"] == len(content)
    _, told = await api("GET", "/status")
    assert [warning["code"] for warning in told["warnings"]] == ["download_kept_aside"]
    code, left = await api("DELETE", f"{path}/aside")
    assert (code, left["state"], left["aside_size"], size_of(aside)) == (200, "failed", 0, None)
    assert (await api("GET", "/status"))[1]["warnings"] == []
    assert (await api("DELETE", "/downloads/none/aside"))[0] == 404


@pytest.mark.parametrize(
    ("status_", "code", "words"),
    [
        (401, "remote_unauthorized", ["token", "settings"]),
        (403, "remote_forbidden", ["licence", "token"]),
        (404, "remote_not_found", ["private", "renamed"]),
        (451, "remote_legally_blocked", ["legal"]),
    ],
)
async def test_what_a_refusal_means_and_what_to_do(hub, api, content, status_, code, words):
    hub.add("org/upscaler", {"nice.safetensors": content})
    hub.refused["/api/models/org/refused"] = (status_, {})
    hub.faults = [status(status_)]
    _, answer = await api("POST", "/downloads", WANTED)
    ended = await api.finished(answer["job"])
    _, at_once = await api("POST", "/downloads", {**WANTED, "repo_id": "org/refused"})
    for told in ((ended["error"]["code"], ended["error"]["message"]), (at_once["code"], at_once["detail"])):
        assert told[0] == code
        assert all(word in told[1] for word in words), told
