"""Links over HTTP: mappings, apps, health, repair, relocation, with the names that the specification fixes."""

from __future__ import annotations

import os

import pytest

MAPPING = {
    "app": "comfyui",
    "version": "*",
    "variant": "default",
    "rules": [{"name": "mine", "target_subdir": "models/loras/mine", "filters": {"tags": ["mine"]}}],
}


@pytest.fixture
async def imported(api, make_model, downloads):
    """Import a model and link it; answers its id."""

    async def run(name: str = "up.safetensors") -> str:
        item = {"paths": [str(make_model(downloads / name))]}
        _, body = await api("POST", "/imports", {"items": [item], "link": True})
        return (await api.finished(body["job"]))["result"]["imported"][0]

    return run


async def test_mappings(api, imported, models_folder):
    status, body = await api("GET", "/mappings")
    assert status == 200
    assert body["problems"] == []
    assert {"a1111_*_default", "forge_*_default", "invokeai_*_default", "swarmui_*_default"} <= {
        found["name"] for found in body["mappings"]
    }
    status, body = await api("PUT", "/mappings/comfyui_*_default", MAPPING)
    assert (status, body["name"], body["source"]) == (200, "comfyui_*_default", "person")
    status, body = await api("GET", "/mappings/comfyui_*_default")
    assert body["mapping"]["rules"][0]["target_subdir"] == "models/loras/mine"

    model_id = await imported()
    await api("PATCH", f"/models/{model_id}", {"tags": ["mine"]})
    _, plan = await api("POST", "/mappings/preview", {"app": "comfyui"})
    assert str(models_folder / "loras" / "mine" / "up.safetensors") in [
        one["target"] for one in plan["to_create"]
    ]

    status, body = await api("DELETE", "/mappings/comfyui_*_default")
    assert status == 200
    assert all(found["source"] == "preset" for found in body["mappings"])


async def test_long_lists_are_the_same_in_pieces(api, imported, monkeypatch):
    for number in range(5):
        await imported(f"m{number} [x].safetensors")
    whole = await api("GET", "/links")
    _, plan = await api("POST", "/mappings/preview", {})
    monkeypatch.setattr("model_librarian.routes.endpoints._AT_ONCE", 2)
    assert await api("GET", "/links") == whole
    assert len(whole[1]["links"]) == 5
    _, again = await api("POST", "/mappings/preview", {})
    assert again | {"plan_id": ""} == plan | {"plan_id": ""}
    assert len(again["to_skip_exists"]) == 5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rules": [{"name": "x"}]}, "rules.0.target_subdir"),
        ({"rules": [{"name": "x", "target_subdir": "../../etc"}]}, "rules.0.target_subdir"),
        ({"app": "../../x"}, "app"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_an_invalid_mapping_is_refused_with_the_key(api, change, field):
    status, body = await api("PUT", "/mappings/comfyui_*_default", {**MAPPING, **change})
    assert status in (400, 422)
    assert field in body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/mappings/none_*_default", None, 404, "not_found"),
        ("DELETE", "/mappings/a1111_*_default", None, 404, "not_found"),
        ("PUT", "/mappings/other_*_default", MAPPING, 400, "invalid_request"),
        ("POST", "/apps", {"root": "/no/such/folder"}, 404, "not_found"),
        ("POST", "/apps", {"root": "/"}, 400, "invalid_request"),
        ("POST", "/links/relocate", {"old_prefix": "usb", "new_prefix": "/x"}, 400, "invalid_request"),
    ],
)
async def test_problems_have_codes(api, method, path, body, status, code):
    answered, problem = await api(method, path, body)
    assert (answered, problem["code"]) == (status, code)


async def test_apps_are_added_and_leave_nothing_behind(api, imported, tmp_path):
    root = tmp_path / "webui"
    (root / "modules").mkdir(parents=True)
    (root / "webui.py").touch()
    status, app = await api("POST", "/apps", {"root": str(root)})
    assert (status, app["kind"], app["added"], app["app"]) == (200, "a1111", True, "webui")
    assert app["folders"]["upscale_models"] == [str(root / "models" / "ESRGAN")]
    assert (app["ghost"], app["problems"]) == (False, [])
    status, body = await api("POST", "/apps", {"root": f"{root}/"})
    assert (status, body["code"]) == (409, "app_known")
    assert "«webui»" in body["detail"]
    await imported()
    assert (root / "models" / "ESRGAN" / "up.safetensors").is_file()
    _, body = await api("GET", "/apps")
    assert [(found["app"], found["links"]) for found in body["apps"]] == [("comfyui", 1), ("webui", 1)]
    status, body = await api("DELETE", "/apps/webui")
    assert (status, body["links_removed"]) == (200, 1)
    assert os.listdir(root / "models" / "ESRGAN") == []
    _, body = await api("GET", "/apps")
    assert [found["app"] for found in body["apps"]] == ["comfyui"]


async def test_health_and_cleaning(api, imported, models_folder):
    status, report = await api("GET", "/health")
    assert (status, report["status"], report["total_issues"]) == (200, "healthy", 0)
    names = {"broken_links", "orphaned_links", "ghost_apps", "missing_files"}
    assert names <= set(report)
    model_id = await imported()
    _, details = await api("GET", f"/models/{model_id}")
    os.unlink(details["files"][0]["path"])
    _, report = await api("GET", "/health")
    assert report["status"] == "errors"
    assert [link["model_id"] for link in report["broken_links"]] == [model_id]
    status, body = await api("POST", "/health/clean", {"broken": True, "orphaned": False, "ghosts": False})
    assert (status, body["broken"]) == (200, 1)
    assert os.listdir(models_folder / "upscale_models") == []
    assert (await api("GET", "/health"))[1]["total_issues"] == 0


async def test_repair_is_a_job(api, imported, models_folder):
    model_id = await imported()
    _, details = await api("GET", f"/models/{model_id}")
    os.unlink(details["files"][0]["path"])
    status, body = await api("POST", "/links/repair", {})
    assert status == 202
    result = (await api.finished(body["job"]))["result"]
    assert (result["repaired"], len(result["failed"]), len(result["details"])) == (0, 1, 1)


async def test_relocation_can_be_tried_first(api, imported, models_folder, tmp_path):
    await imported()
    link = models_folder / "upscale_models" / "up.safetensors"
    source = str(link.resolve())
    library = tmp_path / "ComfyUI" / "model-library"
    link.unlink()
    link.symlink_to(source.replace(str(library), "/media/usb"))
    request = {"old_prefix": "/media/usb", "new_prefix": str(library), "dry_run": True}
    status, body = await api("POST", "/links/relocate", request)
    assert (status, body["updated"], len(body["links"])) == (200, 1, 1)
    assert not link.exists()
    other = {"old_prefix": "/media/us", "new_prefix": str(library)}
    assert (await api("POST", "/links/relocate", other))[1]["updated"] == 0
    await api("POST", "/links/relocate", {**request, "dry_run": False})
    assert str(link.resolve()) == source


async def test_what_changes_things_is_refused_from_elsewhere(api, imported):
    await imported()
    for method, path in (
        ("PUT", "/mappings/comfyui_*_default"),
        ("DELETE", "/mappings/comfyui_*_default"),
        ("POST", "/apps"),
        ("POST", "/health/clean"),
        ("POST", "/links/repair"),
        ("POST", "/links/relocate"),
    ):
        status, body = await api(method, path, {}, headers={"Origin": "https://evil.example"})
        assert (status, body["code"]) == (403, "forbidden"), path
