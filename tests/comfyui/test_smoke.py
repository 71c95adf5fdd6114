"""ComfyUI starts with the package in it and says nothing bad about it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from _real_comfyui import CORE, FRONTEND, OLD_CORE, OLD_FRONTEND, RealComfyUI
from playwright.sync_api import Page


@pytest.fixture(scope="module", params=[(CORE, FRONTEND), (OLD_CORE, OLD_FRONTEND)], ids=" + ".join)
def server(
    request: pytest.FixtureRequest, comfyui: RealComfyUI, start_comfyui: Callable[..., RealComfyUI]
) -> RealComfyUI:
    core, frontend = request.param
    if (core, frontend) == (CORE, FRONTEND):
        return comfyui
    return start_comfyui(core=core, frontend=frontend)


def test_server_starts_without_complaint(server: RealComfyUI) -> None:
    stats = server.get_json("/system_stats")
    assert isinstance(stats, dict)
    assert stats["system"]["comfyui_version"] == server.core
    log = server.log
    assert server.package_folder in log, "ComfyUI lists the import times of custom nodes"
    assert "IMPORT FAILED" not in log
    started, _, later = log.partition("To see the GUI go to")
    assert later, "ComfyUI says where it listens"
    assert "Traceback" not in started
    # Pages of other tests may have gone away in the middle of an answer of ComfyUI's own.
    tracebacks = re.findall(r"Traceback \(most recent call last\):\n(?:  .*\n)+", later)
    assert not [text for text in tracebacks if server.package_folder in text]


def test_frontend_loads(server: RealComfyUI, new_page: Callable[..., Page]) -> None:
    page = new_page(server)
    page.goto("/")
    page.locator("#graph-canvas").wait_for(timeout=60_000)
    version = page.evaluate("window.__COMFYUI_FRONTEND_VERSION__")
    assert version == server.frontend


def test_tab_opens(
    server: RealComfyUI,
    new_page: Callable[..., Page],
    open_librarian: Callable[[Page], Page],
    own_errors: Callable[[Page], list[str]],
) -> None:
    page = open_librarian(new_page(server))
    page.get_by_placeholder("Search models").wait_for()
    assert own_errors(page) == []
