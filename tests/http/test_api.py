"""The HTTP door: names as the specification fixes them, and problems that say why."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil

import pytest

PROBLEM_KEYS = {"type", "title", "status", "detail", "code"}


async def test_status(api):
    status, body = await api("GET", "/status")
    assert status == 200
    assert {"version", "library", "index", "network", "jobs", "warnings"} <= set(body)
    assert {"id", "root", "models", "files", "size_bytes", "in_place"} <= set(body["library"])
    assert body["index"]["state"] == "ready"
    assert {"offline", "hosts", "rate_limit"} <= set(body["network"])


async def test_the_whole_road(api, make_model, downloads, models_folder):
    source = make_model(downloads / "RealESRGAN_x4plus.safetensors")
    status, body = await api("POST", "/inspect", {"paths": [str(source)]})
    assert status == 200
    group = body["groups"][0]
    assert group["importable"]
    assert group["guess"]["subtype"] == "upscale_models"

    status, body = await api("POST", "/imports", {"items": [{"paths": [str(source)], "mode": "copy"}]})
    assert status == 202
    job = await api.finished(body["job"])
    assert job["state"] == "done"
    model_id = job["result"]["imported"][0]

    status, body = await api("GET", "/models", params={"q": "realesrgan"})
    assert (body["total"], body["match"]) == (1, "all")
    assert body["models"][0]["model_id"] == model_id
    assert body["query_time_ms"] > 0

    status, plan = await api("POST", "/mappings/preview", {})
    assert [link["model_id"] for link in plan["to_create"]] == [model_id]
    status, body = await api("POST", "/mappings/apply", {"plan_id": plan["plan_id"]})
    assert status == 202
    assert (await api.finished(body["job"]))["result"]["links_created"] == 1
    assert (models_folder / "upscale_models" / "RealESRGAN_x4plus.safetensors").is_symlink()

    status, details = await api("GET", f"/models/{model_id}")
    assert details["schema"] == 1
    assert details["files"][0]["exists"]
    assert details["links"][0]["state"] == "ok"
    assert "content" not in details

    status, edited = await api("PATCH", f"/models/{model_id}", {"tags": ["sharp"]})
    assert (status, edited["tags"], edited["match_source"]) == (200, ["sharp"], "manual")

    status, body = await api("DELETE", f"/models/{model_id}?files=permanent")
    assert (status, body) == (200, {"unlinked": 1, "files_removed": 1, "unreachable": []})
    assert (await api("GET", "/links"))[1]["links"] == []
    assert source.exists()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/models/no/such/model", None, 404, "not_found"),
        ("GET", "/models?limit=0", None, 400, "invalid_request"),
        ("GET", "/models?limit=501", None, 400, "invalid_request"),
        ("GET", "/models?sort=nonsense", None, 400, "invalid_request"),
        ("GET", "/jobs/none", None, 404, "not_found"),
        ("GET", "/previews/no/such", None, 404, "not_found"),
        ("GET", "/web/../pyproject.toml", None, 404, None),
        ("GET", "/web/%2e%2e/%2e%2e/pyproject.toml", None, 404, None),
        ("GET", "/browse?path=/etc", None, 403, "outside_allowed_roots"),
        ("GET", "/browse?path=relative", None, 400, "invalid_request"),
        ("GET", "/browse?path=~nobody-at-all/x", None, 400, "invalid_request"),
        ("GET", f"/models?offset={2**63}", None, 400, "invalid_request"),
        ("POST", "/lookup", {"model_id": "\ud800"}, 400, "invalid_request"),
        ("POST", "/inspect", {"paths": ["/etc/passwd"]}, 403, "outside_allowed_roots"),
        ("POST", "/inspect", {"paths": []}, 400, "invalid_request"),
        ("POST", "/inspect", {"files": []}, 400, "invalid_request"),
        ("POST", "/imports", {"items": [{"paths": ["/etc/hostname"]}]}, 403, "outside_allowed_roots"),
        ("POST", "/mappings/preview", {"app": "none"}, 404, "not_found"),
        ("DELETE", "/apps/none", None, 404, "not_found"),
        ("POST", "/lookup", {}, 400, "invalid_request"),
        ("PATCH", "/settings", {"unknown": 1}, 400, "invalid_request"),
        ("PATCH", "/settings", {"allowed_roots": ["relative"]}, 400, "invalid_request"),
    ],
)
async def test_problems(api, method, path, body, status, code):
    answer, found = await api(method, path, body)
    assert answer == status
    if code is not None:
        assert set(found) >= PROBLEM_KEYS
        assert (found["code"], found["status"]) == (code, status)
        assert found["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/nonsense", None),
        ("POST", "/", None),
        ("DELETE", "/jobs/a/b/c", None),
        ("DELETE", "/status", "GET, HEAD"),
        ("POST", "/models", "GET, HEAD, PATCH"),
        ("PUT", "/models/loras/sdxl/pixel", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/imports", "POST"),
    ],
)
async def test_what_is_no_call_is_said_to_be_none(api, method, path, allow):
    async with api.client.request(method, f"/librarian{path}") as response:
        problem = await response.json(content_type="application/problem+json")
        assert response.headers.get("Allow") == allow
        status, code = (404, "not_found") if allow is None else (405, "method_not_allowed")
        assert (response.status, problem["status"], problem["code"]) == (status, status, code)
        assert set(problem) >= PROBLEM_KEYS
        assert f"{method} /librarian{path}" in problem["detail"]


async def test_refused_imports_say_why_and_write_nothing(api, downloads, make_torch_zip, surroundings):
    page = downloads / "page.safetensors"
    page.write_text("<!DOCTYPE html><html></html>")
    pickle = make_torch_zip(downloads / "up.pth")
    for path, code, says in [
        (page, "not_a_model", "web page"),
        (pickle, "pickle_not_acknowledged", "run code"),
    ]:
        status, body = await api("POST", "/imports", {"items": [{"paths": [str(path)]}]})
        assert (status, body["code"]) == (422, code)
        assert says in body["detail"]
    left = {path.name for path in surroundings.library_root.rglob("*") if path.is_file()}
    assert left <= {"library.json", "metadata.lock"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example:8190"},
        {"Host": "rebound.example", "Origin": "http://rebound.example"},
        {"Host": "127.0.0.1@rebound.example"},
        {"X-Forwarded-For": "192.0.2.7", "Host": "comfy.example"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/models"), ("POST", "/scan"), ("GET", "/events")])
async def test_foreign_pages_are_refused(api, headers, method, path):
    status, body = await api(method, path, {} if method == "POST" else None, headers=headers)
    assert (status, body["code"]) == (403, "forbidden")


async def test_forms_of_other_sites_are_refused(api):
    for content_type in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
    ):
        status, body = await api(
            "POST", "/scan", data=b'{"kind": "quick"}', headers={"Content-Type": content_type}
        )
        assert (status, body["code"]) == (415, "json_required")


async def test_oversized_and_broken_bodies(api):
    json_type = {"Content-Type": "application/json"}
    status, body = await api("POST", "/scan", data=b" " * (17 * 1024 * 1024), headers=json_type)
    assert (status, body["code"]) == (413, "body_too_large")
    for data in (b"{", b"", b"\xff\xfe", b"[" * 100_000):
        status, body = await api("POST", "/scan", data=data, headers=json_type)
        assert (status, body["code"]) == (400, "invalid_request")


async def test_others_may_change_things_only_with_leave_and_token(api, monkeypatch):
    from model_librarian.routes import guards

    monkeypatch.setattr(guards, "_is_loopback", lambda name: False)
    assert (await api("GET", "/models"))[0] == 200
    assert (await api("POST", "/scan", {}))[0] == 403
    monkeypatch.undo()
    status, body = await api("PATCH", "/settings", {"allow_remote": True, "remote_token": "open sesame"})
    assert (status, body["remote_token_set"]) == (200, True)
    assert "sesame" not in json.dumps(body)
    monkeypatch.setattr(guards, "_is_loopback", lambda name: False)
    assert (await api("POST", "/scan", {}))[0] == 403
    assert (await api("POST", "/scan", {}, headers={"Authorization": "Bearer wrong"}))[0] == 403
    assert (await api("POST", "/scan", {}, headers={"Authorization": "Bearer open sesame"}))[0] == 202


async def test_whoever_comes_through_a_proxy_of_this_machine_is_not_local(api):
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert (await api("GET", "/models", headers={header: "192.0.2.7"}))[0] == 200
        status, body = await api("POST", "/scan", {}, headers={header: "192.0.2.7"})
        assert (status, body["code"]) == (403, "forbidden")


async def test_a_name_that_anybody_can_point_here_is_refused_for_peers_of_the_network_too(api, monkeypatch):
    from model_librarian.routes import guards

    monkeypatch.setattr(guards, "_is_loopback", lambda name: False)
    for host, status in [
        ("192.168.1.5:8188", 200),
        ("[fe80::1]:8188", 200),
        ("workstation:8188", 200),
        ("workstation.local:8188", 200),
        ("rebound.example:8188", 403),
    ]:
        assert (await api("GET", "/models", headers={"Host": host}))[0] == status


async def test_a_token_of_any_bytes_is_only_wrong(api, monkeypatch):
    from model_librarian.routes import guards

    await api("PATCH", "/settings", {"allow_remote": True, "remote_token": "sésame"})
    monkeypatch.setattr(guards, "_is_loopback", lambda name: False)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    writer.write(
        b"POST /librarian/scan HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n{}"
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403")


async def test_a_body_that_never_ends_is_given_up(api, monkeypatch):
    from model_librarian.routes import door

    monkeypatch.setattr(door, "BODY_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    writer.write(
        b"POST /librarian/scan HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    answer = await asyncio.wait_for(reader.read(2000), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_too_slow" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /librarian/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bomb: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /librarian/models HTTP/1.1\r\n" + b"X-B: y\r\n" * 50_000 + b"\r\n",
        b"GET /librarian/models HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: rebound.example\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ],
)
async def test_header_bombs_are_refused_and_the_server_lives(api, request_bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    writer.write(request_bytes)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(2000), 10)
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")) or not answer
    writer.close()
    assert (await api("GET", "/status"))[0] == 200


async def test_what_a_publisher_wrote_is_never_taken_for_a_page(api, make_model, downloads):
    source = make_model(downloads / "x.safetensors")
    item = {"paths": [str(source)], "metadata": {"official_name": "<script>alert(1)</script>"}}
    _, body = await api("POST", "/imports", {"items": [item]})
    await api.finished(body["job"])
    async with api.client.get("/librarian/models") as response:
        assert response.content_type == "application/json"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    async with api.client.get("/librarian/models/<script>") as response:
        assert response.content_type == "application/problem+json"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_model_cannot_lose_its_name(api, make_model, downloads):
    item = {"paths": [str(make_model(downloads / "x.safetensors"))]}
    status, answer = await api("POST", "/imports", {"items": [{**item, "metadata": {"official_name": " "}}]})
    assert (status, answer["detail"]) == (400, "official_name: A model's name must not be empty.")
    _, body = await api("POST", "/imports", {"items": [item]})
    [model_id] = (await api.finished(body["job"]))["result"]["imported"]
    status, answer = await api("PATCH", f"/models/{model_id}", {"official_name": ""})
    assert (status, answer["detail"]) == (400, "official_name: A model's name must not be empty.")
    assert (await api("GET", f"/models/{model_id}"))[1]["official_name"] == "x"


async def test_names_that_are_no_unicode_disturb_nobody(api, downloads, make_model):
    os.rename(make_model(downloads / "x"), os.fsencode(downloads) + b"/bad\xff.safetensors")
    make_model(downloads / "good.safetensors")
    status, body = await api("GET", "/browse", params={"path": str(downloads)})
    assert (status, [entry["name"] for entry in body["entries"]]) == (200, ["good.safetensors"])
    status, body = await api("POST", "/inspect", {"paths": [str(downloads)]})
    assert status == 200
    assert [group["importable"] for group in body["groups"]] == [False, True]
    assert "Rename it" in body["groups"][0]["problem"]


async def test_a_pipe_is_no_file_and_nobody_waits_for_it(api, downloads):
    os.mkfifo(downloads / "pipe.safetensors")
    call = api("POST", "/imports", {"items": [{"paths": [str(downloads / "pipe.safetensors")]}]})
    status, body = await asyncio.wait_for(call, 10)
    assert (status, body["code"]) == (422, "not_a_model")


async def test_settings_file_is_for_its_owner_only(api, surroundings):
    await api("PATCH", "/settings", {"huggingface_token": "hf_secret"})
    path = surroundings.data_dir / "settings.json"
    assert path.stat().st_mode & 0o077 == 0
    assert "hf_secret" in path.read_text()
    _, body = await api("GET", "/settings")
    assert body["huggingface_token_set"] is True
    assert "hf_secret" not in json.dumps(body)
    assert (await api("PATCH", "/settings", {"online": False}))[1]["huggingface_token_set"] is True
    assert (await api("PATCH", "/settings", {"huggingface_token": None}))[1]["huggingface_token_set"] is False
    await api("PATCH", "/settings", {"huggingface_token": "hf_secret"})
    assert (await api("PATCH", "/settings", {"huggingface_token": ""}))[1]["huggingface_token_set"] is False


async def test_allowed_folders_take_effect_at_once(api, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert (await api("GET", "/browse", params={"path": str(tmp_path / "elsewhere")}))[0] == 403
    status, body = await api("PATCH", "/settings", {"allowed_roots": [str(tmp_path / "elsewhere")]})
    assert (status, body["allowed_roots"], body["restart_required"]) == (
        200,
        [str(tmp_path / "elsewhere")],
        False,
    )
    assert (await api("GET", "/browse", params={"path": str(tmp_path / "elsewhere")}))[0] == 200
    status, body = await api("PATCH", "/settings", {"library_root": str(tmp_path / "other-library")})
    assert (status, body["restart_required"]) == (200, True)


async def test_modules_are_never_stale(api):
    async with api.client.get("/librarian/web/librarian.js") as response:
        assert response.headers["Cache-Control"] == "no-cache"
        tag = response.headers["ETag"]
        assert response.content_type == "text/javascript"
    async with api.client.get("/librarian/web/librarian.js", headers={"If-None-Match": tag}) as response:
        assert response.status == 304


async def test_texts_come_in_each_language(api):
    status, body = await api("GET", "/locales/en")
    assert (status, "librarian" in body) == (200, True)
    assert (await api("GET", "/locales/xx"))[0] == 404


async def test_events_stream(api):
    async with api.client.get("/librarian/events") as stream:
        assert stream.content_type == "text/event-stream"
        assert (await stream.content.readline()).startswith(b":")
        await api("POST", "/scan", {})

        async def first_job() -> dict:
            while True:
                line = await stream.content.readline()
                if line.startswith(b"event: librarian.job"):
                    return json.loads((await stream.content.readline()).removeprefix(b"data: "))

        job = await asyncio.wait_for(first_job(), 10)
        assert job["kind"] == "scan"


async def test_previews_come_by_model_only(api, make_model, models_folder):
    make_model(models_folder / "loras" / "style.safetensors")
    picture = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
    (models_folder / "loras" / "style.png").write_bytes(picture)
    _, body = await api("POST", "/scan", {})
    await api.finished(body["job"])
    _, found = await api("GET", "/models", params={"q": "style"})
    url = found["models"][0]["preview_url"]
    async with api.client.get(f"/{url}") as response:
        assert (response.status, response.content_type) == (200, "image/png")
        assert await response.read() == picture


async def test_a_picture_that_is_replaced_under_its_name_is_sent_anew(api, make_model, models_folder):
    make_model(models_folder / "loras" / "style.safetensors")
    picture = models_folder / "loras" / "style.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    _, body = await api("POST", "/scan", {})
    await api.finished(body["job"])
    _, found = await api("GET", "/models", params={"q": "style"})
    url = f"/{found['models'][0]['preview_url']}"
    async with api.client.get(url) as response:
        tag, kept = response.headers["ETag"], response.headers["Cache-Control"]
    assert "stale-while-revalidate" in kept
    assert int(re.search(r"max-age=(\d+)", kept)[1]) <= 60
    async with api.client.get(url, headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    other = b"\x89PNG\r\n\x1a\n" + b"\1" * 40
    picture.write_bytes(other)
    async with api.client.get(url, headers={"If-None-Match": tag}) as response:
        assert response.status == 200
        assert await response.read() == other


@pytest.mark.parametrize(("ending", "media"), [(".mp4", "video/mp4"), (".preview.webm", "video/webm")])
async def test_a_video_preview_comes_in_parts(api, make_model, models_folder, ending, media):
    make_model(models_folder / "loras" / "style.safetensors")
    film = bytes(range(256)) * 8
    (models_folder / "loras" / f"style{ending}").write_bytes(film)
    _, body = await api("POST", "/scan", {})
    await api.finished(body["job"])
    _, found = await api("GET", "/models", params={"q": "style"})
    [model] = found["models"]
    assert model["preview_is_video"]
    _, details = await api("GET", f"/models/{model['model_id']}")
    assert details["preview_is_video"]
    url = f"/{model['preview_url']}"
    async with api.client.get(url, params={"size": "96"}) as response:
        assert (response.status, response.content_type) == (200, media)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Accept-Ranges"] == "bytes"
        assert await response.read() == film
    async with api.client.get(url, headers={"Range": "bytes=100-199"}) as response:
        assert (response.status, response.content_type) == (206, media)
        assert response.headers["Content-Range"] == f"bytes 100-199/{len(film)}"
        assert await response.read() == film[100:200]


async def test_a_preview_that_is_too_large_is_not_sent(api, make_model, models_folder):
    make_model(models_folder / "loras" / "style.safetensors")
    film = models_folder / "loras" / "style.mp4"
    film.write_bytes(b"")
    os.truncate(film, 64 * 1024 * 1024 + 1)
    _, body = await api("POST", "/scan", {})
    await api.finished(body["job"])
    _, found = await api("GET", "/models", params={"q": "style"})
    url = found["models"][0]["preview_url"]
    async with api.client.get(f"/{url}") as response:
        assert response.status == 404
        assert "64 MB" in await response.text()


async def test_openapi_describes_every_call(api):
    status, document = await api("GET", "/openapi.json")
    assert status == 200
    assert document["openapi"].startswith("3.1")
    calls = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    for call in [
        ("GET", "/librarian/status"),
        ("GET", "/librarian/models"),
        ("GET", "/librarian/models/{model_id}"),
        ("POST", "/librarian/imports"),
        ("POST", "/librarian/mappings/apply"),
        ("POST", "/librarian/duplicates/share"),
        ("POST", "/librarian/duplicates/share/preview"),
        ("POST", "/librarian/jobs/{job_id}/cancel"),
    ]:
        assert call in calls
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"]


async def test_apps_and_browse(api, models_folder, downloads):
    _, body = await api("GET", "/apps")
    assert body["apps"][0]["app"] == "comfyui"
    assert "upscale_models" in body["apps"][0]["folders"]
    _, body = await api("GET", "/browse")
    assert str(downloads) in {entry["path"] for entry in body["entries"]}
    (downloads / "sub").mkdir()
    (downloads / "m.safetensors").write_bytes(b"x")
    (downloads / "escape").symlink_to("/etc")
    _, body = await api("GET", "/browse", params={"path": str(downloads)})
    assert [(entry["name"], entry["is_dir"], entry["importable"]) for entry in body["entries"]] == [
        ("sub", True, False),
        ("m.safetensors", False, True),
    ]


async def test_many_models_are_edited_alike(api, make_model, models_folder):
    for name in ("one", "two"):
        make_model(models_folder / "loras" / f"{name}.safetensors")
    _, answer = await api("POST", "/scan", {"kind": "quick"})
    await api.finished(answer["job"])
    _, found = await api("GET", "/models")
    ids = [model["model_id"] for model in found["models"]]
    status, answer = await api(
        "PATCH", "/models", {"model_ids": [*ids, "no/such/model"], "add_tags": ["style"]}
    )
    assert status == 202
    job = await api.finished(answer["job"])
    assert (job["result"]["edited"], job["result"]["failed"]) == (2, 1)
    assert job["result"]["models"][-1]["code"] == "not_found"
    _, found = await api("GET", "/models?tag=style")
    assert {model["model_id"] for model in found["models"]} == set(ids)

    for wrong in ({}, {"add_tags": [""]}, {"fields": {"files": []}}, {"fields": {}, "more": 1}):
        status, answer = await api("PATCH", "/models", {"model_ids": ids, **wrong})
        assert status == 400, answer


async def test_equal_files_of_the_library_are_stored_once(api, make_model, downloads, surroundings):
    path = str(make_model(downloads / "up.safetensors"))
    _, answer = await api("POST", "/imports", {"items": [{"paths": [path]}]})
    [model_id] = (await api.finished(answer["job"]))["result"]["imported"]
    folder = surroundings.library_root / model_id
    shutil.copytree(folder, folder.with_name("up2"))
    one, other = folder / "up.safetensors", folder.with_name("up2") / "up.safetensors"
    _, answer = await api("POST", "/scan", {"kind": "quick"})
    await api.finished(answer["job"])
    _, report = await api("GET", "/duplicates")
    [group] = report["groups"]
    assert (group["to_share"], {file["can_share"] for file in group["files"]}) == (1, {True})
    status, plan = await api("POST", "/duplicates/share/preview", {"sha256": [group["sha256"]]})
    assert status == 200
    [file] = plan["files"]
    assert (file["path"], file["keeper"], plan["left"]) == (str(other), str(one), [])
    assert (file["bytes_to_win"], plan["bytes_to_win"]) == (group["size_bytes"], group["size_bytes"])
    assert (await api("POST", "/duplicates/share/preview", {"sha256": []}))[1]["files"] == []
    status, answer = await api(
        "POST", "/duplicates/share", {"sha256": [group["sha256"]], "hard_links": file["way"] == "hardlink"}
    )
    assert status == 202
    job = await api.finished(answer["job"])
    assert (job["kind"], job["state"], job["result"]["shared"]) == ("share", "done", 1)
    assert [(item["name"], item["state"]) for item in job["items"]] == [(str(other), "done")]
    assert one.read_bytes() == other.read_bytes()
    _, report = await api("GET", "/duplicates")
    assert report["groups"] == []
    for wrong in ({"sha256": "all"}, {"hard_links": "perhaps"}, {"paths": [str(one)]}):
        status, answer = await api("POST", "/duplicates/share", wrong)
        assert (status, answer["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/inspect", {}, "Give either paths or uploads."),
        ("/inspect", [1], "This should be a JSON object."),
        ("/imports", {"items": [{"mode": "copy"}]}, "items.0: Give either paths or uploads."),
    ],
)
async def test_what_is_wrong_with_a_body_is_said_in_plain_words(api, path, body, detail):
    status, answer = await api("POST", path, body)
    assert (status, answer["detail"]) == (400, detail)
