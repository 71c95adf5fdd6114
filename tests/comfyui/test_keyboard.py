"""The panel in the real frontend for those who use no pointer, or no screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from _real_comfyui import CORE, FRONTEND, OLD_CORE, OLD_FRONTEND, RealComfyUI
from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => {
  // Colours that are on their way are no colours.
  const finite = document.getAnimations().filter((one) => one.effect?.getComputedTiming().iterations !== Infinity)
  await Promise.allSettled(finite.map((one) => one.finished))
  const { violations } = await axe.run('.lib', { resultTypes: ['violations'] })
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`))
}"""
ON_TAB = """() => document.activeElement?.matches(
  '.librarian-tab-button, [data-testid=librarian-tab-button]') ?? false"""
IN_SEARCH = "() => document.activeElement?.hasAttribute('data-lib-search') ?? false"
LOADED = """() => app.graph._nodes
  .filter(({ type }) => type === 'LibrarianLoadLora')
  .map(({ widgets }) => widgets[0].value)"""
SETTING = "([id, value]) => app.extensionManager.setting.set(id, value)"


@pytest.fixture(scope="module", params=[(CORE, FRONTEND), (OLD_CORE, OLD_FRONTEND)], ids=" + ".join)
def server(
    request: pytest.FixtureRequest, comfyui: RealComfyUI, start_comfyui: Callable[..., RealComfyUI]
) -> RealComfyUI:
    core, frontend = request.param
    if (core, frontend) == (CORE, FRONTEND):
        return comfyui
    return start_comfyui(core=core, frontend=frontend, models=comfyui.models_dir)


def test_from_the_first_tab_stop_to_a_loader(server: RealComfyUI, new_page, own_errors) -> None:
    """Tab to our tab, Enter, type, an arrow, Enter: the model is in the workflow."""
    page: Page = new_page(server)
    page.goto("/")
    page.locator(".librarian-tab-button, [data-testid=librarian-tab-button]").first.wait_for(timeout=60_000)
    page.evaluate("() => app.graph.clear()")
    keys = page.keyboard

    def tab_until(reached: str, most: int) -> None:
        for _ in range(most):
            if page.evaluate(reached):
                return
            keys.press("Tab")
        raise AssertionError(f"{most} presses of Tab do not lead there")

    tab_until(ON_TAB, 60)
    keys.press("Enter")
    expect(page.get_by_label("Search models")).to_be_visible()
    tab_until(IN_SEARCH, 60)
    keys.type("pixel-art")
    option = page.get_by_role("option", name=re.compile("pixel-art-xl"))
    expect(option).to_be_visible()
    expect(page.locator("[role=listbox][aria-busy=false]")).to_be_visible()
    keys.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    described = page.get_by_label("Search models").get_attribute("aria-activedescendant")
    assert described == option.get_attribute("id"), "a screen reader says the row that the arrow is on"
    keys.press("Enter")
    page.wait_for_function(f"() => ({LOADED})().length === 1")
    [model] = server.get_json("/librarian/models?q=pixel-art-xl")["models"]
    assert page.evaluate(LOADED) == [model["model_id"]]
    assert own_errors(page) == []


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_no_violation_in_the_sidebar(server: RealComfyUI, new_page, open_librarian, palette: str) -> None:
    """What axe-core finds in our panel with the colours of the frontend's themes."""
    page: Page = open_librarian(new_page(server, reduced_motion="reduce"))
    page.evaluate(SETTING, ["Comfy.ColorPalette", palette])
    expect(page.get_by_role("option").first).to_be_visible()
    page.add_script_tag(path=AXE)
    found = {"list": page.evaluate(RUN_AXE)}
    page.get_by_role("option").first.click()
    expect(page.locator(".lib-details .lib-facts").first).to_be_visible()
    found["details"] = page.evaluate(RUN_AXE)
    page.locator(".lib-details").press("Escape")
    for place in ("Import", "Links", "Storage"):
        places = page.get_by_role("navigation", name="Places")
        places.get_by_role("button", name=re.compile(f"^{place}")).click()
        page.wait_for_load_state("networkidle")
        found[place] = page.evaluate(RUN_AXE)
    assert {where: all_of_it for where, all_of_it in found.items() if all_of_it} == {}
