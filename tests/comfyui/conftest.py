"""The package inside the real ComfyUI, with the real frontend, in a real browser.

Write **sync** tests in this folder: playwright's sync API holds an event loop of its own, so `async def`
tests do not belong here. The markers `comfyui` and `browser` are set from the fixtures that a test uses.

    def test_found(librarian_page):  # shared server, new page, our tab is open
        librarian_page.get_by_placeholder("Search models").fill("xl base")

For the whole session (of each process that runs tests: `scripts/test` hands them whole files):

- `comfyui`: the running `RealComfyUI` that most tests share: newest core and frontend, some forty sample
  models in its `models_dir`.
- `browser`: headless Chromium.

For one file:

- `start_comfyui(core=OLD_CORE, frontend=OLD_FRONTEND, models=FOLDER, ...)`: one more server; every field
  of `RealComfyUI` is an option, `models` is copied into its models folder. It is killed at the file's end.

For one test:

- `new_page(server, **options)`: a page in a context of its own that reaches nothing but this server, such
  as `new_page(comfyui, color_scheme="light", viewport={"width": 400, "height": 900})`.
- `page`: `new_page(comfyui)`; nothing is loaded yet, `page.goto("/")` does.
- `lasting_page(server)`: the same page for all tests of a file that leave it as they found it.
- `open_librarian(page)`: loads the frontend unless a page is open, and opens our tab.
- `librarian_page`: `page` with our tab open.
- `console_of(page)`: what the console said (`error: text (address)`), with page errors (`pageerror: stack`).
- `own_errors(page)`: those of them that are errors and come from our package; the frontend has its own.

`RealComfyUI` (scripts/_real_comfyui.py) has `base_url`, `base_dir`, `models_dir`, `library_home`, `log`,
`log_path`, `get(path)`, `get_json(path)`, `start()`, `stop()`, `restart()` and `kill()`. A test that stops,
kills or fills a server starts one of its own. When a test fails, a screenshot and the console of each of
its pages are kept in a folder, the path of which is printed.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _real_comfyui import CHROMIUM_FLAGS, RealComfyUI, browser_path
from _sample_models import write_sample_models
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect, sync_playwright

TAB_BUTTON = "[data-testid=librarian-tab-button], .librarian-tab-button"
FOLDER = Path(__file__).parent
SERVER_FIXTURES = {"comfyui", "start_comfyui"}
REPORT = pytest.StashKey[pytest.TestReport]()

StartComfyUI = Callable[..., RealComfyUI]
NewPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder by what they use, and run them after all others.

    Once playwright has run, the main thread has a running event loop, and `async def` tests of other
    folders would fail in it.
    """
    ours = [item for item in items if item.path.is_relative_to(FOLDER)]
    for item in ours:
        used = set(getattr(item, "fixturenames", ()))
        if used & SERVER_FIXTURES:
            item.add_marker(pytest.mark.comfyui)
        if "browser" in used:
            item.add_marker(pytest.mark.browser)
    items[:] = [item for item in items if item not in ours] + ours


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the report, by which `new_page` decides on a screenshot."""
    report = yield
    if report.when == "call":
        item.stash[REPORT] = report
    return report


# --- servers ------------------------------------------------------------------------------------------


@contextmanager
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartComfyUI]:
    servers: list[RealComfyUI] = []

    def start(*, models: Path | None = None, **options: Any) -> RealComfyUI:
        server = RealComfyUI(tmp_path_factory.mktemp("comfyui"), **options)
        if models is not None:
            shutil.copytree(models, server.models_dir, dirs_exist_ok=True)
        servers.append(server)
        return server.start()

    try:
        yield start
    finally:
        for server in servers:
            server.kill()  # Ctrl-C would take seconds, and nobody looks at what it leaves


@pytest.fixture(scope="module")
def start_comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartComfyUI]:
    with starting(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealComfyUI]:
    models = tmp_path_factory.mktemp("sample") / "models"
    write_sample_models(models)
    with starting(tmp_path_factory) as start:
        yield start(models=models)


# --- browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def consoles() -> dict[Page, list[str]]:
    return {}


@pytest.fixture
def console_of(consoles: dict[Page, list[str]]) -> Callable[[Page], list[str]]:
    return consoles.__getitem__


@pytest.fixture
def own_errors(consoles: dict[Page, list[str]]) -> Callable[[Page], list[str]]:
    def errors(page: Page) -> list[str]:
        lines = [line for line in consoles[page] if line.startswith(("error:", "pageerror:"))]
        return [line for line in lines if "librarian" in line.lower()]

    return errors


@contextmanager
def opening(browser: Browser, consoles: dict[Page, list[str]]) -> Iterator[NewPage]:
    contexts: list[BrowserContext] = []

    def new(server: RealComfyUI, **options: Any) -> Page:
        base_url = server.base_url

        def only_ours(route: Route) -> None:
            ours = route.request.url.startswith((base_url + "/", "blob:", "data:"))
            route.continue_() if ours else route.abort()

        context = browser.new_context(base_url=base_url, **options)
        contexts.append(context)
        context.route("**/*", only_ours)
        page = context.new_page()
        lines = consoles.setdefault(page, [])
        page.on("console", lambda said: lines.append(f"{said.type}: {said.text} ({said.location['url']})"))
        page.on("pageerror", lambda error: lines.append(f"pageerror: {error.stack or error}"))
        return page

    yield new
    for context in contexts:
        context.close()


@pytest.fixture
def new_page(
    browser: Browser, consoles: dict[Page, list[str]], request: pytest.FixtureRequest
) -> Iterator[NewPage]:
    with opening(browser, consoles) as new:
        yield new
        keep_evidence_of_failure(request, consoles)


@pytest.fixture(scope="module")
def pages_of_the_file(browser: Browser) -> Iterator[tuple[NewPage, dict[Page, list[str]]]]:
    consoles: dict[Page, list[str]] = {}
    with opening(browser, consoles) as new:
        yield new, consoles


@pytest.fixture
def lasting_page(
    pages_of_the_file: tuple[NewPage, dict[Page, list[str]]],
    consoles: dict[Page, list[str]],
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[RealComfyUI], Page]]:
    new, lasting = pages_of_the_file

    def get(server: RealComfyUI) -> Page:
        page = next(iter(lasting), None) or new(server)
        lasting[page].clear()
        consoles[page] = lasting[page]
        return page

    yield get
    keep_evidence_of_failure(request, consoles)


def keep_evidence_of_failure(request: pytest.FixtureRequest, consoles: dict[Page, list[str]]) -> None:
    report = request.node.stash.get(REPORT, None)
    if report is not None and report.failed:
        keep_evidence(request.node.name, consoles)


def keep_evidence(test: str, consoles: dict[Page, list[str]]) -> None:
    """Save what the pages of a failed test look like and said, and print where."""
    folder = Path(tempfile.mkdtemp(prefix=f"librarian-{re.sub(r'[^A-Za-z0-9]+', '-', test)[:60]}-"))
    for number, (page, lines) in enumerate(consoles.items(), start=1):
        (folder / f"page-{number}.console.txt").write_text("\n".join(lines), encoding="utf-8")
        if not page.is_closed():
            page.screenshot(path=folder / f"page-{number}.png")
    print(f"\nScreenshots and console: {folder}")


@pytest.fixture
def page(comfyui: RealComfyUI, new_page: NewPage) -> Page:
    return new_page(comfyui)


@pytest.fixture
def open_librarian() -> Callable[[Page], Page]:
    def open_tab(page: Page) -> Page:
        if page.url == "about:blank":
            page.goto("/")
        button = page.locator(TAB_BUTTON).first
        button.wait_for(timeout=60_000)
        if "side-bar-button-selected" not in (button.get_attribute("class") or ""):
            button.click()
        return page

    return open_tab


@pytest.fixture
def type_at_once() -> Callable[[Locator, str], None]:
    """Types letter by letter, all within one moment however slow the machine, so that it can count what is asked."""

    def type_at_once(field: Locator, text: str) -> None:
        field.focus()
        field.evaluate(
            "(_, text) => { for (const one of text) document.execCommand('insertText', false, one) }", text
        )
        expect(field).to_have_value(text)

    return type_at_once


@pytest.fixture
def librarian_page(page: Page, open_librarian: Callable[[Page], Page]) -> Page:
    return open_librarian(page)
