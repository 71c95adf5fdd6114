"""Uploads over HTTP, with the tus protocol 1.0.0 as it is written."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import threading
from email.utils import parsedate_to_datetime

import pytest
from aiohttp.test_utils import TestClient, TestServer

from model_librarian.core.importing import uploads as core_uploads
from model_librarian.routes import uploads as route_uploads
from model_librarian.standalone import application

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"
DATA = random.Random(4).randbytes(3_000_000)


def metadata(**pairs: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


class Tus:
    """Sends what a tus client sends; headers of `None` are left out."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, data=None, **headers):
        sent = {**TUS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        sent = {name: value for name, value in sent.items() if value is not None}
        async with self.client.request(method, path, data=data, headers=sent) as response:
            body = await response.json(content_type=None) if "json" in response.content_type else None
            return response.status, response.headers, body

    async def create(self, size: int, **more: str) -> str:
        said = metadata(**(more or {"filename": "up.safetensors"}))
        status, headers, _ = await self(
            "POST", "/librarian/uploads", Upload_Length=str(size), Upload_Metadata=said
        )
        assert status == 201
        return headers["Location"]

    async def patch(self, path: str, offset: int, data, **more):
        return await self(
            "PATCH", path, data, **{"Upload_Offset": str(offset), "Content_Type": BYTES, **more}
        )

    async def offset(self, path: str) -> int:
        status, headers, _ = await self("HEAD", path)
        assert status == 200
        return int(headers["Upload-Offset"])


@pytest.fixture
def tus(api) -> Tus:
    return Tus(api.client)


async def begin_patch(tus: Tus, path: str, length: int, offset: int = 0):
    """A PATCH of which only the headers are sent so far."""
    reader, writer = await asyncio.open_connection("127.0.0.1", tus.client.port)
    writer.write(
        f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nContent-Type: {BYTES}\r\n"
        f"Upload-Offset: {offset}\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    return reader, writer


async def until(condition) -> None:
    """Wait for what must come."""
    for _ in range(1000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def files(surroundings) -> list:
    incoming = surroundings.library_root / ".incoming"
    return [path for path in incoming.glob("upload-*/content/*") if path.is_file()]


async def test_options_say_what_the_server_can_do(tus):
    status, headers, _ = await tus("OPTIONS", "/librarian/uploads", Tus_Resumable=None)
    assert status == 204
    assert (headers["Tus-Resumable"], headers["Tus-Version"]) == ("1.0.0", "1.0.0")
    extensions = set(headers["Tus-Extension"].split(","))
    assert extensions == {"creation", "creation-with-upload", "expiration", "checksum", "termination"}
    assert "sha1" in headers["Tus-Checksum-Algorithm"].split(",")


async def test_in_two_pieces(tus, surroundings):
    said = metadata(filename="näme.safetensors", filetype="application/octet-stream")
    status, headers, _ = await tus(
        "POST", "/librarian/uploads", Upload_Length=str(len(DATA)), Upload_Metadata=said
    )
    assert status == 201
    path = headers["Location"]
    assert path.startswith("/librarian/uploads/")
    assert headers["Upload-Offset"] == "0"
    assert parsedate_to_datetime(headers["Upload-Expires"])

    status, headers, _ = await tus.patch(path, 0, DATA[:1_000_001])
    assert (status, headers["Upload-Offset"]) == (204, "1000001")
    assert "Repr-Digest" not in headers
    status, headers, _ = await tus("HEAD", path)
    assert (status, headers["Upload-Offset"], headers["Upload-Length"]) == (200, "1000001", str(len(DATA)))
    assert headers["Upload-Metadata"] == said
    assert headers["Cache-Control"] == "no-store"

    status, headers, _ = await tus.patch(path, 1_000_001, DATA[1_000_001:])
    assert (status, headers["Upload-Offset"]) == (204, str(len(DATA)))
    assert headers["Repr-Digest"] == digest(DATA)
    _, headers, _ = await tus("HEAD", path)
    assert headers["Repr-Digest"] == digest(DATA)
    [file] = files(surroundings)
    assert (file.name, file.read_bytes()) == ("näme.safetensors", DATA)


async def test_first_bytes_with_the_creation(tus):
    said = {"Upload_Length": str(len(DATA)), "Upload_Metadata": metadata(filename="a.gguf")}
    status, headers, _ = await tus("POST", "/librarian/uploads", DATA[:5], Content_Type=BYTES, **said)
    assert (status, headers["Upload-Offset"]) == (201, "5")
    status, headers, _ = await tus.patch(headers["Location"], 5, DATA[5:])
    assert (status, headers["Repr-Digest"]) == (204, digest(DATA))


async def test_a_file_without_bytes_is_complete_at_once(tus):
    path = await tus.create(0)
    _, headers, _ = await tus("HEAD", path)
    assert (headers["Upload-Offset"], headers["Repr-Digest"]) == ("0", digest(b""))


async def test_bodies_of_unknown_length(tus):
    async def pieces():
        for start in range(0, len(DATA), 100_000):
            yield DATA[start : start + 100_000]

    path = await tus.create(len(DATA))
    status, headers, _ = await tus.patch(path, 0, pieces())
    assert (status, headers["Repr-Digest"]) == (204, digest(DATA))


async def test_more_than_comfyui_lets_through_elsewhere(surroundings):
    """ComfyUI's application takes bodies of 100 MB; here one of 1 KB does."""
    app = application(surroundings)
    app._client_max_size = 1024
    async with TestClient(TestServer(app)) as client:
        tus = Tus(client)
        path = await tus.create(len(DATA))
        status, headers, _ = await tus.patch(path, 0, DATA)
        assert (status, headers["Repr-Digest"]) == (204, digest(DATA))


async def test_callers_that_can_only_post(tus):
    path = await tus.create(len(DATA))
    sent = {"Upload_Offset": "0", "Content_Type": BYTES, "X_HTTP_Method_Override": "PATCH"}
    status, headers, _ = await tus("POST", path, DATA, **sent)
    assert (status, headers["Repr-Digest"]) == (204, digest(DATA))
    assert (await tus("POST", path, X_HTTP_Method_Override="DELETE"))[0] == 204
    assert (await tus("HEAD", path))[0] == 404
    assert (await tus("POST", path))[0] == 405


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Tus_Resumable": None}, 412, "tus_version"),
        ({"Tus_Resumable": "0.2.2"}, 412, "tus_version"),
        ({"Upload_Length": None}, 400, "invalid_request"),
        ({"Upload_Length": "-1"}, 400, "invalid_request"),
        ({"Upload_Length": "0x10"}, 400, "invalid_request"),
        ({"Upload_Length": "9" * 30}, 400, "invalid_request"),
        ({"Upload_Length": "9" * 18}, 507, "insufficient_space"),
        ({"Upload_Defer_Length": "1"}, 400, "invalid_request"),
        ({"Upload_Metadata": "filename %%%"}, 400, "invalid_request"),
        ({"Upload_Metadata": "filename /w=="}, 400, "invalid_request"),
        ({"Upload_Metadata": metadata(filename="a" * 2000)}, 400, "invalid_request"),
        ({"data": b"xx", "Content_Type": BYTES}, 413, "upload_too_long"),
        ({"data": b"x", "Content_Type": "application/json"}, 415, "offset_octet_stream_required"),
    ],
)
async def test_refused_creations_say_why_and_leave_nothing(tus, surroundings, headers, status, code):
    answer, found, body = await tus("POST", "/librarian/uploads", **{"Upload_Length": "1", **headers})
    assert_problem(answer, found, body, status, code)
    assert not files(surroundings)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content_Type": "application/json"}, 415, "offset_octet_stream_required"),
        ({"Content_Type": None}, 415, "offset_octet_stream_required"),
        ({"Tus_Resumable": None}, 412, "tus_version"),
        ({"Upload_Offset": None}, 400, "invalid_request"),
        ({"Upload_Offset": "5"}, 409, "upload_offset"),
        ({"data": b"x" * 11}, 413, "upload_too_long"),
        ({"Upload_Checksum": "md4 eHg="}, 400, "invalid_request"),
        ({"Upload_Checksum": "sha1 ?"}, 400, "invalid_request"),
    ],
)
async def test_refused_bytes_change_nothing(tus, headers, status, code):
    path = await tus.create(10)
    sent = {"data": b"x", "Upload_Offset": "0", "Content_Type": BYTES, **headers}
    answer, found, body = await tus("PATCH", path, **sent)
    assert_problem(answer, found, body, status, code)
    if code == "upload_offset":
        assert found["Upload-Offset"] == "0"
    assert await tus.offset(path) == 0


def assert_problem(answer, headers, body, status, code) -> None:
    assert (answer, body["code"], body["status"]) == (status, code, status)
    assert len(body["detail"]) > 10
    assert headers["Tus-Resumable"] == "1.0.0"
    assert headers.get("Tus-Version") == ("1.0.0" if status == 412 else None)


@pytest.mark.parametrize(
    "upload_id", ["0" * 32, "nothing", "..", "%2e%2e%2fjournal", "0" * 31 + "/", "x" * 3000]
)
async def test_uploads_that_are_not_there(tus, upload_id):
    from yarl import URL

    for method, more in (
        ("HEAD", {}),
        ("PATCH", {"Upload_Offset": "0", "Content_Type": BYTES}),
        ("DELETE", {}),
    ):
        url = URL(f"/librarian/uploads/{upload_id}", encoded=True)
        assert (await tus(method, url, **more))[0] in (404, 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example"},
    ],
)
async def test_foreign_pages_are_refused(tus, surroundings, headers):
    path = await tus.create(10)
    calls = [
        ("OPTIONS", "/librarian/uploads", {}),
        ("POST", "/librarian/uploads", {"Upload-Length": "1"}),
        ("HEAD", path, {}),
        ("PATCH", path, {"Upload-Offset": "0", "Content-Type": BYTES}),
        ("DELETE", path, {}),
    ]
    for method, where, more in calls:
        data = b"x" if method == "PATCH" else None
        async with tus.client.request(
            method, where, data=data, headers={**TUS, **more, **headers}
        ) as response:
            assert response.status == 403
    assert await tus.offset(path) == 0


async def test_others_than_this_machine_need_the_token(api, tus, monkeypatch):
    from model_librarian.routes import guards

    await api("PATCH", "/settings", {"allow_remote": True, "remote_token": "sesame"})
    path = await tus.create(3)
    monkeypatch.setattr(guards, "_is_loopback", lambda name: False)
    assert (await tus.patch(path, 0, b"abc"))[0] == 403
    assert (await tus("HEAD", path))[0] == 403
    assert (await tus.patch(path, 0, b"abc", Authorization="Bearer sesame"))[0] == 204


async def test_names_stay_inside(tus, surroundings):
    outside = {path for path in surroundings.data_dir.parent.rglob("*") if ".incoming" not in path.parts}
    for name in ("../../x.gguf", "/etc/passwd", "..\\..\\x", "a\0b", "CON", "upload.json", "lock", ".."):
        path = await tus.create(1, filename=name)
        assert (await tus.patch(path, 0, b"x"))[0] == 204
    assert len(files(surroundings)) == 8
    assert {
        path for path in surroundings.data_dir.parent.rglob("*") if ".incoming" not in path.parts
    } == outside


async def test_deleting(tus, surroundings):
    path = await tus.create(len(DATA))
    await tus.patch(path, 0, DATA[:10])
    status, headers, _ = await tus("DELETE", path)
    assert (status, headers["Tus-Resumable"]) == (204, "1.0.0")
    assert (await tus("HEAD", path))[0] == 404
    assert (await tus.patch(path, 10, DATA[10:]))[0] == 404
    assert (await tus("DELETE", path))[0] == 404
    assert not list((surroundings.library_root / ".incoming").glob("upload-*"))


async def test_a_sender_that_vanishes_leaves_what_came(tus):
    path = await tus.create(len(DATA))
    _, writer = await begin_patch(tus, path, len(DATA))
    writer.write(DATA[:1_500_000])
    await writer.drain()

    async def some_came():
        return await tus.offset(path) >= 1024 * 1024

    await until(some_came)
    writer.close()

    async def free_again():
        status, _, body = await tus.patch(path, await tus.offset(path), b"")
        assert status in (204, 423), body
        return status == 204

    await until(free_again)
    offset = await tus.offset(path)
    assert 1024 * 1024 <= offset <= 1_500_000
    status, headers, _ = await tus.patch(path, offset, DATA[offset:])
    assert (status, headers["Repr-Digest"]) == (204, digest(DATA))


async def test_two_at_once_do_not_mix(tus):
    path = await tus.create(len(DATA))
    reader, writer = await begin_patch(tus, path, len(DATA))
    writer.write(DATA[:2_000_000])

    async def some_came():
        return await tus.offset(path) >= 1024 * 1024

    await until(some_came)
    status, _, body = await tus.patch(path, await tus.offset(path), b"\xff" * 100_000)
    assert (status, body["code"]) == (423, "upload_busy")
    writer.write(DATA[2_000_000:])
    assert (await reader.readline()).startswith(b"HTTP/1.1 204")
    writer.close()
    _, headers, _ = await tus("HEAD", path)
    assert headers["Repr-Digest"] == digest(DATA)


async def test_many_files_at_once(tus):
    parts = [DATA[number * 1000 :] for number in range(12)]
    paths = [await tus.create(len(part), filename=f"{number}.gguf") for number, part in enumerate(parts)]
    answers = await asyncio.gather(
        *(tus.patch(path, 0, part) for path, part in zip(paths, parts, strict=True))
    )
    assert [headers["Repr-Digest"] for _, headers, _ in answers] == [digest(part) for part in parts]


async def test_a_silent_sender_does_not_hold_the_file_for_ever(tus, monkeypatch):
    monkeypatch.setattr(route_uploads, "IDLE_TIMEOUT_S", 0.2)
    path = await tus.create(len(DATA))
    reader, writer = await begin_patch(tus, path, len(DATA))
    writer.write(DATA[:1000])
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert answer.startswith(b"HTTP/1.1 408")
    writer.close()
    assert await tus.offset(path) == 1000
    assert (await tus.patch(path, 1000, DATA[1000:]))[0] == 204


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_checksums(tus, algorithm):
    def checksum(data: bytes) -> str:
        return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"

    path = await tus.create(len(DATA))
    half = len(DATA) // 2
    status, _, body = await tus.patch(path, 0, DATA[:half], Upload_Checksum=checksum(b"else"))
    assert (status, body["code"]) == (460, "checksum_mismatch")
    assert await tus.offset(path) == 0
    assert (await tus.patch(path, 0, DATA[:half], Upload_Checksum=checksum(DATA[:half])))[0] == 204
    assert (await tus.patch(path, half, DATA[half:], Upload_Checksum=checksum(b"else")))[0] == 460
    assert await tus.offset(path) == half
    status, headers, _ = await tus.patch(path, half, DATA[half:], Upload_Checksum=checksum(DATA[half:]))
    assert (status, headers["Repr-Digest"]) == (204, digest(DATA))


async def test_a_disk_that_becomes_full_keeps_what_came(tus, monkeypatch):
    import errno

    room = 2_000_000
    real = core_uploads.Writing._write

    def write(self, block):
        if self.offset + len(block) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, block)

    path = await tus.create(len(DATA))
    monkeypatch.setattr(core_uploads.Writing, "_write", write)
    status, _, body = await tus.patch(path, 0, DATA)
    assert (status, body["code"]) == (507, "insufficient_space")
    assert "are kept" in body["detail"]
    offset = await tus.offset(path)
    assert 0 < offset <= room
    monkeypatch.undo()
    status, headers, _ = await tus.patch(path, offset, DATA[offset:])
    assert (status, headers["Repr-Digest"]) == (204, digest(DATA))


async def test_a_slow_disk_holds_up_the_sender_and_not_the_server(tus, api, monkeypatch):
    """What is not written yet is not taken: two blocks are held and no more, and other calls are answered."""
    gate = threading.Event()
    appended: list[int] = []
    real_append, real_write = core_uploads.Writing.append, core_uploads.Writing._write

    def append(self, blocks):
        appended.append(sum(map(len, blocks)))
        return real_append(self, blocks)

    def write(self, block):
        gate.wait(30)
        real_write(self, block)

    monkeypatch.setattr(core_uploads.Writing, "append", append)
    monkeypatch.setattr(core_uploads.Writing, "_write", write)
    data = DATA * 10
    path = await tus.create(len(data))
    sending = asyncio.ensure_future(tus.patch(path, 0, data))

    async def one_came():
        return bool(appended)

    await until(one_came)
    for _ in range(20):
        assert (await api("GET", "/status"))[0] == 200
    assert sum(appended) <= 2 * (route_uploads.BLOCK_BYTES + 512 * 1024)
    gate.set()
    status, headers, _ = await sending
    assert (status, headers["Repr-Digest"]) == (204, digest(data))


async def test_through_a_restart(surroundings):
    async with TestClient(TestServer(application(surroundings))) as client:
        tus = Tus(client)
        path = await tus.create(len(DATA))
        await tus.patch(path, 0, DATA[:1_000_000])
        _, writer = await begin_patch(tus, path, 2_000_000, 1_000_000)
        writer.write(DATA[1_000_000:2_500_000])
        await writer.drain()

        async def some_came():
            return await tus.offset(path) >= 2_000_000

        await until(some_came)
    with contextlib.suppress(ConnectionError):
        writer.close()
    async with TestClient(TestServer(application(surroundings))) as client:
        tus = Tus(client)
        offset = await tus.offset(path)
        assert offset >= 2_000_000
        status, headers, _ = await tus.patch(path, offset, DATA[offset:])
        assert (status, headers["Repr-Digest"]) == (204, digest(DATA))


async def sent(tus: Tus, path, name: str | None = None) -> str:
    """The id of an upload of a file that lies on the disk."""
    data = path if isinstance(path, bytes) else path.read_bytes()
    where = await tus.create(len(data), relativePath=name or path.name, filename="x")
    assert (await tus.patch(where, 0, data))[0] == 204
    return where.rpartition("/")[2]


async def imported(api, *uploads: str, **more):
    """How the import of one model went."""
    status, body = await api("POST", "/imports", {"items": [{"uploads": list(uploads), **more}]})
    assert status == 202, body
    return await api.finished(body["job"])


async def test_the_whole_road(api, tus, make_model, tmp_path, surroundings):
    source = make_model(tmp_path / "RealESRGAN_x4plus.safetensors")
    upload_id = await sent(tus, source)
    [staged] = files(surroundings)
    inode = staged.stat().st_ino
    status, body = await api("POST", "/inspect", {"uploads": [upload_id]})
    assert status == 200
    [group] = body["groups"]
    assert (group["importable"], group["guess"]["subtype"]) == (True, "upscale_models")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert group["files"] == [
        {"path": source.name, "size": source.stat().st_size, "upload": upload_id, "sha256": digest}
    ]

    job = await imported(api, upload_id)
    assert job["state"] == "done", job
    _, model = await api("GET", f"/models/{job['result']['imported'][0]}")
    [file] = model["files"]
    assert (file["name"], file["original_name"]) == (source.name, source.name)
    assert file["sha256"] == digest
    [placed] = surroundings.library_root.rglob(source.name)
    assert placed.stat().st_ino == inode, "the very file that was uploaded, not a copy"
    assert not list((surroundings.library_root / ".incoming").glob("upload-*"))
    assert (await tus("HEAD", f"/librarian/uploads/{upload_id}"))[0] == 404

    again = await sent(tus, source, "other name.safetensors")
    _, body = await api("POST", "/inspect", {"uploads": [again]})
    assert body["groups"][0]["duplicate_of"] == model["model_id"]
    job = await imported(api, again)
    assert job["items"][0]["state"] == "skipped"
    assert not files(surroundings), "nobody needs the same bytes twice"


async def test_parts_of_a_set_come_in_any_order(api, tus, make_model, tmp_path, surroundings):
    names = [f"llama-0000{number}-of-00003.safetensors" for number in (3, 1, 2)]
    ids = [await sent(tus, make_model(tmp_path / name), f"dropped/{name}") for name in names]
    _, body = await api("POST", "/inspect", {"uploads": ids[:2]})
    [group] = body["groups"]
    assert (group["complete"], group["missing_shards"], group["importable"]) == (False, [2], False)
    _, body = await api("POST", "/inspect", {"uploads": ids})
    [group] = body["groups"]
    assert (group["complete"], group["format"]) == (True, "sharded-set")
    order = [file["upload"] for file in group["files"]]
    assert order == [ids[1], ids[2], ids[0]]
    job = await imported(api, *order)
    assert job["state"] == "done", job
    assert {path.name for path in surroundings.library_root.rglob("llama-*.safetensors")} == set(names)


async def test_a_dropped_diffusers_folder(api, tus, make_model, tmp_path, surroundings):
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    weights = "diffusion_pytorch_model.safetensors"
    uploads = [await sent(tus, json.dumps(index).encode(), "tiny-sd/model_index.json")]
    for part in ("unet", "vae"):
        uploads.append(await sent(tus, make_model(tmp_path / part / weights), f"tiny-sd/{part}/{weights}"))
        uploads.append(await sent(tus, b"{}", f"tiny-sd/{part}/config.json"))
    other = await sent(tus, make_model(tmp_path / "up.safetensors"))
    _, body = await api("POST", "/inspect", {"uploads": [other, *uploads]})
    groups = {group["name"]: group for group in body["groups"]}
    assert set(groups) == {"up.safetensors", "tiny-sd"}
    group = groups["tiny-sd"]
    assert (group["format"], group["importable"]) == ("diffusion-folder", True), group
    assert {file["upload"] for file in group["files"]} == set(uploads)
    job = await imported(api, *uploads)
    assert job["state"] == "done", job
    [placed] = surroundings.library_root.rglob("model_index.json")
    inside = {
        path.relative_to(placed.parent).as_posix() for path in placed.parent.rglob("*") if path.is_file()
    }
    assert inside >= {"model_index.json", f"unet/{weights}", f"vae/{weights}", "unet/config.json"}


async def test_what_cannot_be_imported_is_kept_and_said(
    api, tus, make_model, make_torch_zip, tmp_path, surroundings
):
    begun = (await tus.create(10)).rpartition("/")[2]
    for call, body in (
        ("/inspect", {"uploads": [begun]}),
        ("/inspect", {"uploads": ["0" * 32]}),
        ("/inspect", {"uploads": ["../../x"]}),
        ("/inspect", {}),
        ("/inspect", {"uploads": [begun], "paths": ["/x"]}),
        ("/imports", {"items": [{"uploads": [begun], "paths": ["/x"]}]}),
    ):
        status, problem = await api("POST", call, body)
        assert status in (400, 404, 409), problem

    page = await sent(tus, b"<!DOCTYPE html><html></html>", "page.safetensors")
    _, body = await api("POST", "/inspect", {"uploads": [page]})
    assert not body["groups"][0]["importable"]
    assert "web page" in body["groups"][0]["problem"]
    pickle = await sent(tus, make_torch_zip(tmp_path / "up.pth"))
    job = await imported(api, pickle)
    assert (job["state"], job["items"][0]["code"]) == ("failed", "pickle_not_acknowledged")
    assert len(files(surroundings)) == 3
    job = await imported(api, pickle, acknowledge_pickle=True)
    assert job["state"] == "done", job


async def test_the_document_has_every_call(api):
    _, document = await api("GET", "/openapi.json")
    assert set(document["paths"]["/librarian/uploads"]) == {"post", "options"}
    assert set(document["paths"]["/librarian/uploads/{upload_id}"]) == {"head", "patch", "delete", "post"}
    patch = document["paths"]["/librarian/uploads/{upload_id}"]["patch"]
    assert [one["name"] for one in patch["parameters"] if one["required"]] == [
        "upload_id", "Tus-Resumable", "Upload-Offset",
    ]  # fmt: skip
