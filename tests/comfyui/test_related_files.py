"""A set that is incomplete: its match is looked up in the panel, and one click has what is missing of it."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Page, expect

from ..fake_hub import COMMIT, FakeHub

REPOSITORY = "someone/pixel-encoder"
NAMES = [f"pixel-encoder-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
VAE = "vae/pixel-vae.safetensors"


@pytest.fixture
def hub(make_model, tmp_path):
    hub = FakeHub()
    hub.start()
    files = {
        name: make_model(tmp_path / name, {f"body.{n}.weight": (30, 30)}).read_bytes()
        for n, name in enumerate([*NAMES, VAE.rpartition("/")[2]])
    }
    hub.add(REPOSITORY, {VAE if name in VAE else name: data for name, data in files.items()})
    found = {"id": REPOSITORY, "author": "someone", "sha": COMMIT, "tags": [], "downloads": 1, "likes": 1}
    hub.pages["/api/models"] = [{**found, "siblings": [{"rfilename": name} for name in (*NAMES, VAE)]}]
    hub.pages["/api/v1/models"] = {"items": [], "metadata": {}}
    yield hub
    hub.stop()


def test_the_missing_part_comes_and_the_set_is_whole(
    hub, start_comfyui, new_page, open_librarian, own_errors
) -> None:
    environment = {"HF_ENDPOINT": hub.origin, "CIVITAI_ENDPOINT": hub.origin, "LIBRARIAN_OFFLINE": ""}
    server = start_comfyui(environment=environment)
    folder = server.base_dir / "models" / "text_encoders"
    folder.mkdir(exist_ok=True)
    for name in NAMES[:2]:
        (folder / name).write_bytes(hub.files[f"/cdn/{REPOSITORY}/{name}"])
    page: Page = open_librarian(new_page(server))
    row = page.get_by_role("option").filter(has_text="pixel-encoder")
    expect(row).to_be_visible(timeout=15_000)
    row.click()
    details = page.locator(".lib-details")
    expect(details).to_contain_text("part 3 of 3 is missing", timeout=15_000)
    details.get_by_role("button", name="Look up").click()
    related = details.locator(".lib-related")
    expect(related).to_contain_text("1 part is missing here", timeout=15_000)
    expect(related).to_contain_text("pixel-vae")
    related.get_by_role("button", name="Download what is missing").click()
    related.get_by_role("button", name="Show in library").click(timeout=15_000)
    expect(details).to_contain_text("In the library", timeout=15_000)
    expect(details).not_to_contain_text("is missing")
    for name in NAMES:
        expect(details).to_contain_text(name[:13])
    asked = {path.rpartition("/")[2] for method, path, _ in hub.asked if method == "GET" and "/cdn/" in path}
    assert asked == {NAMES[2]}
    assert sorted(path.name for path in folder.glob("*.safetensors")) == NAMES[:2]
    assert own_errors(page) == []

    for address in ("/librarian/nonsense", "/api/librarian/nonsense"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(server.base_url + address)
        assert (error.value.code, error.value.headers["Content-Type"]) == (404, "application/problem+json")


def test_a_models_folder_that_is_made_while_comfyui_runs_is_listed(
    start_comfyui, new_page, open_librarian, make_model, tell
) -> None:
    server = start_comfyui()
    folder = server.base_dir / "models" / "gligen"
    assert not folder.exists()
    page = open_librarian(new_page(server))
    began = time.monotonic()
    make_model(folder / "late.safetensors")
    expect(page.get_by_role("option").filter(has_text="late")).to_be_visible(timeout=10_000)
    tell(f"a file in a models folder that was made late: listed after {time.monotonic() - began:.1f} s")
