"""The panel for everybody: no violation that axe-core finds, the keyboard alone, right to left, 280 pixels.

The standalone page on top of a server of its own, because axe looks at whole pages and ComfyUI's are not ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _sample_models import write_sample_models
from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ['violations'] })
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`))
}"""
STILL = """() => Promise.allSettled(document.getAnimations()
  .filter((one) => one.effect?.getComputedTiming().iterations !== Infinity)
  .map((one) => one.finished))"""
TOO_WIDE = """async () => {
  const coming = document.getAnimations().filter(({ effect }) => effect.getTiming().iterations !== Infinity)
  await Promise.allSettled(coming.map(({ finished }) => finished))  // a sheet slides in from the side
  const { clientWidth } = document.documentElement
  const inside = (element) => element.closest('.lib-visually-hidden, svg, .lib-middle, .lib-list')
  return [...document.querySelectorAll('.lib *')]
    .filter((element) => !inside(element) && element.getClientRects().length > 0)
    .filter((element) => {
      const { left, right } = element.getBoundingClientRect()
      return right > clientWidth + 1 || left < -1
    })
    .map((element) => element.outerHTML.slice(0, 120))
}"""
ENDS = """(element) => {
  const texts = [...element.querySelectorAll('*'), element].flatMap(({ childNodes }) => [...childNodes])
    .filter(({ nodeType, data }) => nodeType === Node.TEXT_NODE && data.trim())
    .sort((one, other) => (one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1))
  const middle = (text, at) => {
    const range = document.createRange()
    range.setStart(text, at)
    range.setEnd(text, at + 1)
    const { left, right } = range.getBoundingClientRect()
    return (left + right) / 2
  }
  const last = texts.at(-1)
  return [middle(texts[0], 0), middle(last, last.data.trimEnd().length - 1)]
}"""
"""Where the first and the last letter of an element stand, in pixels from the left."""
PLACES = ("Models", "Import", "Links", "Storage")
ARABIC = "نموذج_الخط_العربي_الجميل_للرسم_الواقعي_بالألوان_المائية_v2.1"


@dataclass
class Standalone:
    """A running standalone server."""

    base_url: str
    loras: Path


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    folder = tmp_path_factory.mktemp("a11y")
    write_sample_models(folder / "models")
    lora = next((folder / "models" / "loras").glob("*.safetensors"))
    shutil.copy(lora, lora.with_name("a-copy.safetensors"))
    shutil.copy(lora, lora.with_name(f"{ARABIC}.safetensors"))
    server = subprocess.Popen(
        [sys.executable, "-m", "model_librarian", "serve", "--port", "0", "--models", folder / "models"],
        env={**os.environ, "LIBRARIAN_HOME": str(folder / "home"), "LIBRARIAN_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    yield Standalone(server.stdout.readline().split()[-1].rstrip("/"), lora.parent)
    server.terminate()
    assert server.wait(20) == 0


def opened(page: Page) -> Page:
    page.goto("/")
    expect(page.get_by_role("option").first).to_be_visible()
    return page


def go(page: Page, place: str) -> None:
    page.get_by_role("navigation").locator("button").nth(PLACES.index(place)).click()
    page.wait_for_load_state("networkidle")


def violations(page: Page) -> list[str]:
    if not page.evaluate("() => Boolean(window.axe)"):
        page.add_script_tag(path=AXE)
    # Colours that are on their way are no colours.
    page.evaluate(STILL)
    return page.evaluate(RUN_AXE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [280, 380, 1300])
def test_no_violation_in_any_place(standalone: Standalone, new_page, scheme: str, width: int) -> None:
    page = opened(new_page(standalone, color_scheme=scheme, viewport={"width": width, "height": 900}))
    found: dict[str, list[str]] = {}

    def look(where: str) -> None:
        found[where] = violations(page)

    look("first start")
    for place in PLACES[1:]:
        go(page, place)
        look(place)
    go(page, "Import")
    page.get_by_role("button", name="Browse…").click()
    expect(page.locator(".lib-browse-list li").first).to_be_visible()
    look("folders of the server")
    page.get_by_role("button", name="Close the browser").click()
    page.get_by_label("Paths").fill("/proc/version")
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look("a path that is refused")
    page.get_by_label("Paths").fill(str(standalone.loras))
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_role("button", name="Next")).to_be_visible()
    look("what the files are")
    page.get_by_role("button", name="Next").click()
    look("how they come in")
    go(page, "Links")
    page.get_by_role("button", name="All links are healthy").click()
    look("health of the links")
    page.get_by_role("region", name="Links").get_by_role("button", name="Back").click()
    for action, what in (("Add an app…", "another app"), ("A folder moved…", "a folder that moved")):
        page.get_by_role("button", name=action).click()
        look(what)
        page.get_by_role("region", name="Links").get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Preview").first.click()
    look("preview of the links")
    page.get_by_role("region", name="Links").get_by_role("button", name="Back").click()
    page.locator(".lib-app").get_by_role("button").last.click()
    page.get_by_role("menuitem").first.click()
    expect(page.get_by_role("heading", name=re.compile("^What goes where"))).to_be_visible()
    look("mapping rules")
    go(page, "Storage")
    page.get_by_role("region", name="Storage").locator("summary").first.click()
    look("a group of duplicates")
    page.get_by_role("button", name="Replace copies by links…").click()
    look("preview of a replacement")
    page.get_by_role("button", name="Cancel").click()
    go(page, "Models")
    page.get_by_role("option").nth(1).click()
    expect(page.locator(".lib-details .lib-facts").first).to_be_visible()
    look("details")
    page.get_by_role("button", name="Delete", exact=True).click()
    look("delete")
    page.keyboard.press("Escape")
    page.locator(".lib-details").press("Escape")
    page.get_by_role("option").nth(0).click(modifiers=["Control"])
    page.get_by_role("option").nth(2).click(modifiers=["Shift"])
    look("three chosen")
    for action in ("Tag…", "Kind…", "Link…", "Adopt…", "Delete…"):
        page.get_by_role("region", name="Selection").get_by_role("button", name=action).click()
        look(action)
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Show as a grid of previews").click()
    look("grid")
    page.get_by_label("Search models").fill("zzqqxxyy")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    look("nothing found")
    page.get_by_role("button", name="Clear search").first.click()
    page.get_by_role("button", name="Kind", exact=True).click()
    look("menu of a filter")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Jobs").click()
    look("jobs")
    page.get_by_role("region", name="Jobs").get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Menu").click()
    look("menu")
    page.get_by_role("menuitem", name="Settings").click()
    page.wait_for_load_state("networkidle")
    look("settings")
    assert {where: all_of_it for where, all_of_it in found.items() if all_of_it} == {}


def test_the_keyboard_alone(standalone: Standalone, new_page) -> None:
    """Find, choose two, tag them, undo; then to the storage and back, without a pointer."""
    page = opened(new_page(standalone))
    keys = page.keyboard
    focused = page.locator(":focus")

    def tab_to(name: str | re.Pattern[str], role: str = "button") -> None:
        wanted = page.get_by_role(role, name=name).and_(focused)  # type: ignore[arg-type]
        for _ in range(60):
            if wanted.count():
                return
            keys.press("Tab")
        raise AssertionError(f"the Tab key never reaches {name}")

    keys.press("/")
    keys.type("lora")
    expect(page.get_by_text(re.compile("^[0-9]+ found"))).to_be_visible()
    tab_to("Models found", "listbox")
    keys.press("Home")
    keys.press("Space")
    keys.press("Shift+ArrowDown")
    expect(page.get_by_role("region", name="Selection")).to_contain_text("2 chosen")
    tab_to("Tag…")
    keys.press("Enter")
    tab_to("Add tags", "textbox")
    keys.type("by keyboard")
    tab_to("Change 2 models")
    keys.press("Enter")
    expect(page.get_by_text("2 models changed")).to_be_visible()
    tab_to("Undo")
    keys.press("Enter")
    expect(page.get_by_text("2 models are as they were")).to_be_visible()
    tab_to(re.compile("^Storage"))
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Storage", exact=True)).to_be_visible()
    tab_to("Replace copies by links…")
    keys.press("Enter")
    # Nothing changes by the key that opened the question.
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("button", name="Replace copies by links…")).to_be_focused()


@pytest.mark.parametrize(("direction", "locale"), [("ltr", "en-US"), ("rtl", "en-US"), ("ltr", "zh-CN")])
def test_nothing_is_cut_off_at_280_pixels(
    standalone: Standalone, new_page, direction: str, locale: str
) -> None:
    page = new_page(
        standalone, viewport={"width": 280, "height": 800}, reduced_motion="reduce", locale=locale
    )
    opened(page)
    page.evaluate("(direction) => { document.documentElement.dir = direction }", direction)
    assert page.evaluate(TOO_WIDE) == []
    page.get_by_role("option").first.click(modifiers=["Control"])
    assert page.evaluate(TOO_WIDE) == [], "selection"
    page.locator(".lib-bulk-line button").last.click()
    page.get_by_role("option").first.click()
    expect(page.locator(".lib-details .lib-facts").first).to_be_visible()
    assert page.evaluate(TOO_WIDE) == [], "details"
    for place in PLACES[1:]:
        go(page, place)
        assert page.evaluate(TOO_WIDE) == [], place


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_words_and_names_keep_their_order(standalone: Standalone, new_page, direction: str) -> None:
    """Whichever way the page runs: words of ours from the left, an Arabic name from the right, version last."""
    page = new_page(standalone, viewport={"width": 320, "height": 800}, reduced_motion="reduce")
    opened(page)
    page.evaluate("(direction) => { document.documentElement.dir = direction }", direction)

    def runs_from_left(selector: str) -> bool:
        first, last = page.locator(selector).first.evaluate(ENDS)
        return bool(first < last)

    assert runs_from_left(".lib-result-count"), "«42 models», not «models 42»"
    assert runs_from_left(".lib-row-facts")
    page.get_by_label("Search models").fill("v2.1")
    row = page.get_by_role("option", name=re.compile("v2.1"))
    expect(row).to_be_visible()
    name = row.locator(".lib-row-name")
    assert not runs_from_left(".lib-row-name")
    assert name.locator(".lib-middle-head").evaluate("(head) => head.scrollWidth > head.clientWidth")
    assert name.locator(".lib-middle-tail").evaluate("(tail) => tail.scrollWidth <= tail.clientWidth")
    tile, text = row.locator(".lib-tile").bounding_box(), name.bounding_box()
    assert tile and text
    gap = (
        text["x"] - tile["x"] - tile["width"] if direction == "ltr" else tile["x"] - text["x"] - text["width"]
    )
    assert 0 < gap < 20, "the name stands beside its picture"
    row.click()
    title = page.locator(".lib-details h2")
    expect(title).to_have_text(ARABIC)
    assert not runs_from_left(".lib-details h2")
    assert runs_from_left(".lib-details .lib-note")


def test_a_page_from_right_to_left_mirrors(standalone: Standalone, new_page) -> None:
    page = new_page(standalone, viewport={"width": 380, "height": 800}, reduced_motion="reduce")
    opened(page)
    page.evaluate("() => { document.documentElement.dir = 'rtl' }")

    def middle(selector: str) -> float:
        box = page.locator(selector).first.bounding_box()
        assert box
        return box["x"] + box["width"] / 2

    assert middle(".lib-search > .lib-icon") > middle(".lib-search-input") > middle(".lib-search-key")
    assert middle(".lib-row .lib-tile") > middle(".lib-row .lib-row-marks")
    page.get_by_role("option", name=re.compile("a-copy")).click()
    back = ".lib-details .lib-sheet-header button"
    name, button = (page.locator(selector).first.bounding_box() for selector in (".lib-details h2 bdi", back))
    assert name and button
    assert 0 <= button["x"] - name["x"] - name["width"] < 24, "the name begins beside the button"
    assert (
        page.locator(f"{back} svg")
        .evaluate("(icon) => getComputedStyle(icon).transform")
        .startswith("matrix(-1")
    )
    assert middle(".lib-details dt") > middle(".lib-details dd")
    page.locator(".lib-details").press("Escape")
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("menuitem", name="Settings").click()
    switch = page.get_by_role("switch", checked=True).first
    left, knob = switch.evaluate(
        """(element) => {
          const { left, transform } = getComputedStyle(element, '::before')
          return [parseFloat(left), new DOMMatrix(transform).e]
        }"""
    )
    assert left + knob == 2, "what is on stands at the end of the line"
