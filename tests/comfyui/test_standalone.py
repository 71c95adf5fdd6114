"""The panel as a page of the standalone server: no ComfyUI needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _sample_models import write_sample_models
from playwright.sync_api import Page, expect


@dataclass
class Standalone:
    """A running standalone server."""

    base_url: str
    folder: Path


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[Standalone]:
    write_sample_models(tmp_path / "models")
    (tmp_path / "downloads").mkdir()
    arguments = ["serve", "--port", "0", "--models", tmp_path / "models", "--allow", tmp_path / "downloads"]
    server = subprocess.Popen(
        [sys.executable, "-m", "model_librarian", *arguments],
        env={**os.environ, "LIBRARIAN_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    yield Standalone(server.stdout.readline().split()[-1].rstrip("/"), tmp_path)
    server.terminate()
    assert server.wait(20) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_searches_and_imports(standalone: Standalone, new_page, make_model, scheme: str) -> None:
    page: Page = new_page(standalone, color_scheme=scheme)
    page.goto("/")
    page.get_by_label("Search models").fill("xl base")
    expect(page.get_by_role("option").first).to_contain_text("sd_xl_base_1.0")
    expect(page.get_by_role("option")).to_have_count(2)

    source = make_model(standalone.folder / "downloads" / "4x_new_upscaler.safetensors")
    page.get_by_role("navigation", name="Places").get_by_role("button", name=re.compile("^Import")).click()
    page.get_by_label("Paths").fill(str(source))
    page.get_by_role("button", name="Inspect").click()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("radio", name=re.compile("^Move")).check()
    page.get_by_role("button", name=re.compile("^Import 1")).click()
    expect(page.get_by_role("heading", name="1 imported")).to_be_visible()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="4x_new_upscaler")).to_be_visible()
    assert not source.exists()
    link = standalone.folder / "models" / "upscale_models" / source.name
    assert link.is_symlink()
    assert link.stat().st_size > 0


def test_an_import_that_is_refused_says_why(standalone: Standalone, new_page) -> None:
    page: Page = new_page(standalone)
    page.goto("/")
    page.get_by_role("navigation", name="Places").get_by_role("button", name=re.compile("^Import")).click()
    page.get_by_label("Paths").fill("/etc/passwd")
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_text("is outside the folders that Librarian may use")).to_be_visible()
    broken = standalone.folder / "downloads" / "page.safetensors"
    broken.write_text("<!DOCTYPE html><html>Sign in</html>")
    page.get_by_label("Paths").fill(str(broken))
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_text("is a web page, not a model")).to_be_visible()
