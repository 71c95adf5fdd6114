"""The panel and the outside: a lookup on a (fake) hub, and the banner when the hub is gone."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page, expect

REPOSITORY = "someone/flux-realism-lora"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The two calls of the hub's public API that a lookup makes, on a port of this machine."""

    def __init__(self, file: Path) -> None:
        data = file.read_bytes()
        lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}
        tree = [{"type": "file", "oid": "c" * 40, "size": len(data), "lfs": lfs, "path": file.name}]
        model = {
            "id": REPOSITORY,
            "modelId": REPOSITORY,
            "author": "someone",
            "sha": COMMIT,
            "tags": ["lora"],
        }
        model["siblings"] = [{"rfilename": file.name}]
        hub = self
        self.alive = True

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                if not hub.alive:
                    self.send_error(503)
                    return
                answer = {"/api/models": [model], f"/api/models/{REPOSITORY}": model}.get(path)
                if path.startswith(f"/api/models/{REPOSITORY}/tree/"):
                    answer = tree
                body = json.dumps(answer).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.environment = {"LIBRARIAN_OFFLINE": "", "HF_ENDPOINT": url, "CIVITAI_ENDPOINT": url}


@pytest.fixture
def hub(tmp_path: Path, make_model) -> Iterator[Hub]:
    hub = Hub(make_model(tmp_path / "models" / "loras" / "flux-realism-lora.safetensors"))
    thread = threading.Thread(target=hub.server.serve_forever)
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


def test_a_lookup_verifies_a_model_and_says_when_the_hub_is_gone(
    hub: Hub, start_comfyui, new_page, open_librarian, tmp_path
) -> None:
    server = start_comfyui(models=tmp_path / "models", environment=hub.environment)
    page: Page = open_librarian(new_page(server))
    page.get_by_role("option", name=re.compile("flux-realism-lora")).click(timeout=20_000)

    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_text(REPOSITORY).first).to_be_visible()
    expect(page.get_by_text("Verified").first).to_be_visible()
    page.get_by_role("button", name="Apply").first.click()
    expect(page.locator(".lib-identity-badges")).to_contain_text("Verified")
    [model] = server.get_json("/librarian/models")["models"]
    assert (model["match_method"], model["match_confidence"]) == ("hash", 1.0)

    hub.alive = False
    page.evaluate(
        "async () => await window.app.api.fetchApi('/librarian/lookup', {method: 'POST',"
        " headers: {'Content-Type': 'application/json'}, body: JSON.stringify({filename: 'other_thing.safetensors'})})"
    )
    expect(page.get_by_text("Using cached data (offline)")).to_be_visible(timeout=7_000)
    assert server.get_json("/librarian/status")["network"]["offline"] is True
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_text("Verified").first).to_be_visible()
