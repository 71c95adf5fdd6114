"""Two processes on one library and registry: no lost update, no double link, each sees the other's changes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from filelock import Timeout

from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import LinkChoice, NewApp
from model_librarian.core.settings import app_of_models_folder

MODELS = 40

SYNC = """
import pathlib, sys
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import LinkChoice
from model_librarian.core.settings import Surroundings
librarian = Librarian(Surroundings.remembered(pathlib.Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
made = 0
for _ in range(20):
    plan = librarian.links.preview()
    if not plan.to_create:
        break
    job = librarian.jobs.wait(librarian.links.apply(LinkChoice(plan_id=plan.plan_id)).id)
    assert job.state == "done" or job.error.code == "plan_changed", job
    made += (job.result or {}).get("links_created", 0)
librarian.close()
print(made)
"""


def test_two_syncs_at_once_make_each_link_once(librarian, surroundings, finished, make_model, downloads):
    names = [make_model(downloads / f"m{number}.safetensors") for number in range(MODELS)]
    items = [{"paths": [str(name)]} for name in names]
    finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
    surroundings.remember()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SYNC, surroundings.data_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    told = [process.communicate("go\n", timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert sum(int(output) for output, _ in told) == MODELS
    links = librarian.links.registered()
    assert len(links) == len({link.target for link in links}) == MODELS
    assert {link.state for link in links} == {"ok"}
    assert librarian.links.preview().total_actions == 0


def test_each_sees_what_the_other_links_adds_and_removes(
    librarian, surroundings, finished, make_model, downloads, tmp_path
):
    other = Librarian(surroundings)
    item = {"paths": [str(make_model(downloads / "up.safetensors"))]}
    finished(librarian.imports.start(ImportRequest.model_validate({"items": [item], "link": True})))
    assert [link.state for link in other.links.registered()] == ["ok"]

    root = tmp_path / "webui"
    (root / "modules").mkdir(parents=True)
    (root / "webui.py").touch()
    app = other.links.add_app(NewApp(root=root)).app
    finished(librarian.links.apply(LinkChoice(plan_id=librarian.links.preview(app=app).plan_id)))
    place = root / "models" / "ESRGAN" / "up.safetensors"
    assert [link.target for link in other.links.registered(app=app)] == [str(place)]

    assert other.links.uninstall(app).links_removed == 1
    assert not place.exists()
    assert [link.app for link in librarian.links.registered()] == ["comfyui"]
    assert [known.app for known in librarian.links.apps()] == ["comfyui"]
    other.close()


def test_a_plan_of_one_is_refused_after_the_other_changed_the_place(
    librarian, surroundings, finished, make_model, downloads
):
    other = Librarian(surroundings)
    item = {"paths": [str(make_model(downloads / "up.safetensors"))]}
    finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
    plan = other.links.preview()
    finished(librarian.links.apply(LinkChoice(plan_id=librarian.links.preview().plan_id)))
    job = other.jobs.wait(other.links.apply(LinkChoice(plan_id=plan.plan_id)).id)
    assert (job.state, job.error.code) == ("failed", "plan_changed")
    other.close()


def test_only_one_changes_links_at_a_time(librarian, surroundings, finished, make_model, downloads):
    other = Librarian(surroundings)
    item = {"paths": [str(make_model(downloads / "up.safetensors"))]}
    finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
    plan = other.links.preview()
    with librarian.linker.registry.changing():
        with pytest.raises(Timeout), other.linker.registry.changing(timeout=0):
            pass
        job = other.links.apply(LinkChoice(plan_id=plan.plan_id))
        assert other.links.registered() == []
    assert other.jobs.wait(job.id).result["links_created"] == 1
    other.close()


def test_two_comfyuis_with_one_data_folder_keep_their_own_ids(surroundings, tmp_path):
    apps = []
    for name in ("one", "two"):
        (tmp_path / name / "models" / "loras").mkdir(parents=True)
        app = app_of_models_folder(tmp_path / name / "models").model_copy(update={"app": "comfyui"})
        apps.append(Librarian(surroundings.model_copy(update={"apps": [app]})))
    ids = [one.linker.apps[0].app for one in apps]
    assert len(set(ids)) == 2
    for one in apps:
        one.close()
    again = Librarian(surroundings.model_copy(update={"apps": [app]}))
    assert again.linker.apps[0].app == ids[1]
    again.close()


def test_a_model_that_another_one_put_into_the_library_is_news(
    librarian, surroundings, finished, make_model, downloads, tmp_path
):
    """It comes as a whole folder, by one rename."""
    other = Librarian(surroundings.model_copy(update={"data_dir": tmp_path / "home of the other"}))
    item = {"paths": [str(make_model(downloads / "up.safetensors"))]}
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
    folder = librarian.library.root / job.result["imported"][0]
    for path in (folder, folder.parent, folder.parent.parent):
        assert other.library.is_news(path)
        assert not librarian.library.is_news(path)
    other.jobs.wait(other.scans.start("quick").id)
    for path in (folder, folder.parent, folder.parent.parent, other.library.root):
        assert not other.library.is_news(path)
    other.close()
