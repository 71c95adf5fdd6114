"""Hugging Face and Civitai on a port of this machine, with the shapes that they document."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHosts:
    """What the two hosts have; change it at any time."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.found_on_civitai: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status: int | None = None
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What lets a Librarian ask these hosts, and no others."""
        return {"LIBRARIAN_OFFLINE": "", "HF_ENDPOINT": self.url, "CIVITAI_ENDPOINT": self.civitai_url}

    @property
    def civitai_url(self) -> str:
        """The same place under another name, so that each host has a circuit of its own."""
        return self.url.replace("127.0.0.1", "localhost")

    def publish(self, repo_id: str, path: str, data: bytes) -> None:
        """A file on Hugging Face."""
        self.repositories.setdefault(repo_id, {})[path] = data

    def publish_version(self, file_name: str, data: bytes, **more: Any) -> None:
        """A file on Civitai, as the only one of a version."""
        sha256 = hashlib.sha256(data).hexdigest()
        file = {
            "name": file_name,
            "type": "Model",
            "sizeKB": len(data) / 1024,
            "hashes": {"SHA256": sha256.upper(), "AutoV2": sha256[:10].upper()},
            "primary": True,
        }
        version = {
            "id": 2514310,
            "modelId": 827184,
            "name": "v1",
            "baseModel": "SDXL 1.0",
            "trainedWords": ["sharp"],
            "nsfwLevel": 1,
            "model": {"name": file_name.partition(".")[0], "type": "LORA", "nsfw": False},
            "files": [file],
            "images": [],
            **more,
        }
        self.versions[sha256] = version
        inside = {key: value for key, value in version.items() if key not in ("model", "modelId")}
        self.found_on_civitai.append({"id": 827184, **version["model"], "modelVersions": [inside]})

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON of one call."""
        self.asked.append(f"{method} {path}")
        if self.status is not None:
            return self.status, {"error": "?"}
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        place = unquote(parts.path)
        if place == "/api/models":
            return 200, self._search(query)
        if place.startswith("/api/models/") and "/tree/" in place:
            repo_id = place.removeprefix("/api/models/").partition("/tree/")[0]
            return (200, self._tree(repo_id)) if repo_id in self.repositories else (404, {"error": "?"})
        if place == "/api/v1/models":
            words = query.get("query", "").lower().split()
            fits = [m for m in self.found_on_civitai if all(word in m["name"].lower() for word in words)]
            return 200, {"items": fits, "metadata": {}}
        if place == "/api/v1/model-versions/by-hash" and method == "POST":
            wanted = [digest.lower() for digest in json.loads(body)]
            return 200, [self.versions[digest] for digest in wanted if digest in self.versions]
        if place.startswith("/api/v1/model-versions/by-hash/"):
            version = self.versions.get(place.rpartition("/")[2].lower())
            return (200, version) if version is not None else (404, {"error": "Model not found"})
        return 404, {"error": "?"}

    def _search(self, query: dict[str, str]) -> list[dict[str, Any]]:
        words = query.get("search", "").lower().split()
        author = query.get("author")
        return [
            {
                "id": repo_id,
                "author": repo_id.partition("/")[0],
                "sha": COMMIT,
                "tags": ["license:mit", "photo"],
                "downloads": 1,
                "siblings": [{"rfilename": path} for path in files],
            }
            for repo_id, files in self.repositories.items()
            if all(word in repo_id.lower() for word in words) and author in (None, repo_id.partition("/")[0])
        ]

    def _tree(self, repo_id: str) -> list[dict[str, Any]]:
        return [
            {
                "type": "file",
                "path": path,
                "size": len(data),
                "lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)},
            }
            for path, data in self.repositories[repo_id].items()
        ]


@contextmanager
def serving(hosts: FakeHosts) -> Iterator[FakeHosts]:
    """Serve the hosts until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, value = hosts.answer(self.command, self.path, body)
            answer = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hosts.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hosts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
