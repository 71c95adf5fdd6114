"""Hugging Face and Civitai on this machine, as far as downloads need them, and what can go wrong there."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"

Fault = Callable[["Exchange"], None]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    """What Git calls it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def in_git(path: str) -> bool:
    """Whether Hugging Face keeps a file of this name in Git itself, without a SHA-256."""
    return path.endswith((".json", ".txt", ".md", ".yaml"))


class Exchange(BaseHTTPRequestHandler):
    """One request; ``content`` is what a file's address stands for."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub
    content: bytes
    etag: str

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append((self.command, self.path, dict(self.headers)))
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            pages = {**self.hub.pages}
        if path in pages:
            self.answer(
                200,
                json.dumps(pages[path]).encode(),
                {"Content-Type": "application/json", **self.hub.page_headers},
            )
        elif path in self.hub.redirects:
            self.answer(302, b"", {"Location": self.hub.redirects[path]})
        elif path in self.hub.refused:
            status, headers = self.hub.refused[path]
            self.answer(status, b"{}", headers)
        elif path in self.hub.files:
            self.content = self.hub.files[path]
            self.etag = f'"{sha256(self.content)[:32]}"'
            fault = self.hub.next_fault() if self.command == "GET" else None
            (fault or serve)(self)
        else:
            self.answer(404, b'{"error": "not found"}', {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(exchange: Exchange, stop_after: int | None = None) -> int:
    """A file, or the part of it that is asked for; answers how many bytes were sent."""
    body, status = exchange.content, 200
    headers = {"ETag": exchange.etag, "Content-Type": "application/octet-stream"}
    asked = re.fullmatch(r"bytes=(\d+)-", exchange.headers.get("Range", ""))
    if asked and exchange.headers.get("If-Range", exchange.etag) == exchange.etag:
        start = int(asked[1])
        if start >= len(body):
            exchange.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return 0
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        body, status = body[start:], 206
    exchange.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        exchange.send_header(name, value)
    exchange.end_headers()
    if exchange.command == "HEAD":
        return 0
    sent = body[:stop_after]
    exchange.wfile.write(sent)
    exchange.wfile.flush()
    return len(sent)


def cut(after: int) -> Fault:
    """Hang up after some bytes."""

    def fault(exchange: Exchange) -> None:
        serve(exchange, after)
        exchange.close_connection = True

    return fault


def status(code: int, **headers: str) -> Fault:
    """Answer with a status and no file."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.answer(code, b"", named)


def page(kind: str) -> Fault:
    """A log-in page in place of the file."""
    body = b"\n<!DOCTYPE html><html><body>Log in</body></html>"
    return lambda exchange: exchange.answer(200, body, {"Content-Type": kind})


def instead(body: bytes) -> Fault:
    """Other bytes than published."""
    kind = {"Content-Type": "application/octet-stream", "ETag": '"other"'}
    return lambda exchange: exchange.answer(200, body, kind)


def endless(exchange: Exchange) -> None:
    """More than announced, in chunks, with no length."""
    exchange.send_response(200)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    block = b"\0" * 65536
    try:
        for _ in range(1000):
            exchange.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
    except OSError:
        exchange.hub.hung_up.set()
    exchange.close_connection = True


class Gate:
    """Sends some bytes, says so, and goes on once it is opened (or hangs up when the hub ends).

    Until then it is silent, for which a client hangs up after a while; one that ``drips`` sends a byte a second.
    """

    def __init__(self, after: int, *, drips: bool = False) -> None:
        self._after = after
        self._beat_s = 1.0 if drips else None
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        exchange.hub.gates.append(self)
        sent = serve(exchange, self._after)
        self.reached.set()
        asked = re.fullmatch(r"bytes=(\d+)-", exchange.headers.get("Range", ""))
        rest = exchange.content[(int(asked[1]) if asked else 0) + sent :]
        try:
            while not self.opened.wait(self._beat_s):
                exchange.wfile.write(rest[:1])
                rest = rest[1:]
            exchange.wfile.write(rest)
        except OSError:
            exchange.hub.hung_up.set()
        exchange.close_connection = True


class FakeHub:
    """Repositories and versions with real bytes, at ``origin``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pages: dict[str, Any] = {}
        self.page_headers: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.refused: dict[str, tuple[int, dict[str, str]]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.gates: list[Gate] = []
        self.hung_up = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.origin = ""

    def start(self, port: int = 0) -> None:
        handler = type("Handler", (Exchange,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        for gate in self.gates:
            gate.opened.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def next_fault(self) -> Fault | None:
        with self.lock:
            return self.faults.pop(0) if self.faults else None

    def add(self, repo_id: str, files: dict[str, bytes], **more: Any) -> None:
        """A repository of Hugging Face; its large files come by a redirect, as from there."""
        self.pages[f"/api/models/{repo_id}"] = {
            "id": repo_id, "author": repo_id.split("/")[0], "sha": COMMIT, "tags": [], **more,
        }  # fmt: skip
        tree = [
            {
                "type": "file",
                "path": path,
                "size": len(content),
                "oid": git_sha1(content),
                **({} if in_git(path) else {"lfs": {"oid": sha256(content), "size": len(content)}}),
            }
            for path, content in files.items()
        ]
        self.pages[f"/api/models/{repo_id}/tree/{COMMIT}"] = tree
        for path, content in files.items():
            self.redirects[f"/{repo_id}/resolve/{COMMIT}/{path}"] = f"/cdn/{repo_id}/{path}"
            self.files[f"/cdn/{repo_id}/{path}"] = content

    def add_version(self, model_id: int, version_id: int, name: str, content: bytes, **more: Any) -> None:
        """A version on Civitai with one file."""
        version = {
            "id": version_id,
            "modelId": model_id,
            "name": "v2",
            "baseModel": "SDXL 1.0",
            "trainedWords": ["pixelart"],
            "model": {"name": "Pixel Art", "type": "LORA"},
            "files": [
                {
                    "name": name,
                    "type": "Model",
                    "primary": True,
                    "sizeKB": round(len(content) / 1024, 2),
                    "hashes": {"SHA256": sha256(content).upper()},
                }
            ],
            **more,
        }
        self.pages[f"/api/v1/model-versions/{version_id}"] = version
        self.pages[f"/api/v1/models/{model_id}"] = {
            "id": model_id, "name": "Pixel Art", "type": "LORA", "modelVersions": [version],
        }  # fmt: skip
        self.redirects[f"/api/download/models/{version_id}"] = f"/cdn/civitai/{version_id}"
        self.files[f"/cdn/civitai/{version_id}"] = content

    def sent_to(self, part: str) -> list[dict[str, str]]:
        """The headers of every GET of an address with this in it."""
        return [headers for method, path, headers in self.asked if method == "GET" and part in path]
