"""Whatever lies in an app and is not ours stays byte for byte, whatever is planned, chosen and undone."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_librarian.core.errors import NotFoundError, StorageError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import CleanChoice, LinkChoice, SyncResult
from model_librarian.core.linking import linker as linker_module
from model_librarian.core.linking import maker as maker_module
from model_librarian.core.settings import Surroundings, app_of_models_folder

NAMES = (
    "up.safetensors",
    "Up.safetensors",
    "x.safetensors",
    "new\nline.safetensors",
    "é.bin",
    "n" * 240 + ".sft",
)


def lay_out(root: Path, make_model) -> Surroundings:
    for name in ("upscale_models", "loras"):
        (root / "C" / "models" / name).mkdir(parents=True)
    (root / "d").mkdir()
    surroundings = Surroundings(
        data_dir=root / "data",
        library_root=root / "C" / "model-library",
        apps=[app_of_models_folder(root / "C" / "models")],
        allowed_roots=[root / "d"],
    )
    librarian = Librarian(surroundings)
    items = [
        {"paths": [str(make_model(root / "d" / str(n) / name))]}
        for n, name in enumerate(NAMES[:1] * 2 + NAMES)
    ]
    librarian.jobs.wait(librarian.imports.start(ImportRequest.model_validate({"items": items})).id)
    librarian.close()
    return surroundings


def theirs(folder: Path, library: Path) -> dict[str, object]:
    """Everything that is not one of our links: kind and content, also of empty folders."""
    found: dict[str, object] = {}
    for below, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(below, name)
            if path.is_symlink():
                if library not in Path(os.path.realpath(path)).parents:
                    found[str(path.relative_to(folder))] = os.readlink(path)
            else:
                found[str(path.relative_to(folder))] = path.is_file() and path.read_bytes()
    return found


PLACES = st.sampled_from(
    [f"{folder}{name}" for folder in ("", "up/", "x/") for name in (*NAMES, "other.txt")]
)
THINGS = st.dictionaries(PLACES, st.sampled_from(["file", "link", "broken", "folder", "copy"]), max_size=6)
STEPS = st.lists(
    st.sampled_from(
        ["skip", "rename", "overwrite", "uninstall", "restart", "delete", "edit", "clean", "repair", "vanish"]
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(things=THINGS, steps=STEPS)
@example(things={"Up.safetensors": "file"}, steps=["rename", "uninstall", "edit"])
@example(things={"x.safetensors": "copy"}, steps=["overwrite"])
def test_what_is_not_ours_stays(things, steps, template):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "w"
        shutil.copytree(template, root, symlinks=True)
        models, library, trash = root / "C" / "models", root / "C" / "model-library", root / "trash"
        trash.mkdir()
        (root / "far").write_bytes(b"far away")
        place = models / "upscale_models"
        for name, kind in things.items():
            path = place / name
            try:
                path.parent.mkdir(exist_ok=True)
                if kind == "folder":
                    path.mkdir()
                elif kind == "link":
                    path.symlink_to(root / "far")
                elif kind == "broken":
                    path.symlink_to(root / "nowhere")
                else:
                    source = next(library.glob("*/*/x/x.safetensors"))
                    path.write_bytes(source.read_bytes() if kind == "copy" else f"mine: {name}".encode())
            except OSError:
                continue  # a file where a folder should be, or the other way round
        before = theirs(models, library)
        surroundings = Surroundings(
            data_dir=root / "data",
            library_root=library,
            apps=[app_of_models_folder(models)],
            allowed_roots=[root / "d"],
        )
        librarian = Librarian(surroundings)
        moved: set[str] = set()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linker_module, "to_trash", lambda path: path.rename(trash / uuid.uuid4().hex))
            librarian.jobs.wait(librarian.scans.start("deep").id)
            for step in steps:
                if step == "restart":
                    librarian.close()
                    librarian = Librarian(surroundings)
                    librarian.linker.recover()
                elif step == "uninstall":
                    librarian.links.uninstall(librarian.linker.apps[0].app)
                elif step == "delete":
                    owned = sorted(
                        key for key in librarian.library.index.all_ids() if not key.startswith("in-place")
                    )
                    if owned:
                        librarian.models.delete(owned[0], "permanent")
                elif step == "clean":
                    librarian.links.clean(CleanChoice(broken=True, orphaned=True, missing=True, ghosts=True))
                elif step == "repair":
                    librarian.jobs.wait(librarian.links.repair().id)
                elif step == "vanish":  # a file of the library is lost
                    for path in sorted(library.glob("*/*/up/*.safetensors"))[:1]:
                        path.unlink()
                elif step == "edit":
                    for key in sorted(librarian.library.index.all_ids())[:2]:
                        with suppress(NotFoundError):  # its file was renamed, and no scan has seen that yet
                            librarian.models.edit(key, {"subtype": "loras"})
                else:
                    plan = librarian.links.preview()
                    choice = LinkChoice.model_validate({"plan_id": plan.plan_id, "default_resolution": step})
                    job = librarian.jobs.wait(librarian.links.apply(choice).id)
                    assert job.state == "done", job.error
                    for one in plan.conflicts:
                        name = str(Path(one.target).relative_to(models))
                        if (
                            step == "overwrite"
                            and one.reason == "same_bytes"
                            and Path(one.target).is_symlink()
                        ):
                            # The library has these bytes, until a person deletes them there.
                            assert Path(one.target).read_bytes() == before.pop(name)
                        elif step != "skip":
                            moved.add(name)
        librarian.close()
        after = theirs(models, library)
        for name, what in before.items():
            inside = any(name == one or name.startswith(f"{one}/") for one in moved)
            if not inside:
                assert after.get(name, "gone") == what, name
            elif isinstance(what, bytes):  # replaced, as was chosen: beside it or in the trash
                kept = [*after.values(), *(path.read_bytes() for path in trash.rglob("*") if path.is_file())]
                assert what in kept, name
        for path in place.rglob("*"):
            if (
                path.is_symlink()
                and library in Path(os.path.realpath(path)).parents
                and "vanish" not in steps
            ):
                assert path.exists(), f"{path} is broken"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A library with models whose names collide, laid out once."""
    import numpy as np
    from safetensors.numpy import save_file

    count = iter(range(1000))

    def make_model(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(next(count))
        shapes = {
            "conv_first.weight": (8, 3, 3, 3),
            "body.0.rdb1.conv1.weight": (4, 8, 3, 3),
            "conv_last.weight": (3, 8, 3, 3),
        }
        save_file({name: random.random(shape).astype(np.float16) for name, shape in shapes.items()}, path)
        return path

    root = tmp_path_factory.mktemp("template") / "w"
    lay_out(root, make_model)
    return root


@pytest.fixture
def imported(librarian, finished, make_model, downloads):
    """Import a model of a name; answers its id."""

    def run(name: str = "up.safetensors") -> str:
        item = {"paths": [str(make_model(downloads / name))]}
        return finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]}))).result[
            "imported"
        ][0]

    return run


@pytest.fixture
def sync(librarian, finished):
    """Preview and apply with one answer to all conflicts; answers the result."""

    def run(resolution: str = "skip"):
        plan = librarian.links.preview()
        choice = LinkChoice.model_validate({"plan_id": plan.plan_id, "default_resolution": resolution})
        return finished(librarian.links.apply(choice)).result

    return run


@pytest.fixture
def place(models_folder) -> Path:
    return models_folder / "upscale_models" / "up.safetensors"


def test_overwrite_without_a_trash_loses_nothing(librarian, imported, sync, place, monkeypatch):
    def refuse(path):
        raise StorageError(f"{path} cannot go to the trash. It was left where it is.")

    monkeypatch.setattr(linker_module, "to_trash", refuse)
    imported()
    place.write_bytes(b"theirs")
    result = sync("overwrite")
    assert (result["links_created"], result["bytes_freed"]) == (1, 0)
    assert "left where it is" in result["errors"][0]
    assert place.with_name("up.safetensors.old").read_bytes() == b"theirs"


def test_a_link_that_cannot_be_made_gives_the_place_back(librarian, imported, sync, place, monkeypatch):
    def refuse(*_):
        raise StorageError("no links here")

    imported()
    place.write_bytes(b"theirs")
    monkeypatch.setattr(librarian.linker.maker.platform, "make", refuse)
    assert sync("overwrite")["errors"] == ["no links here"]
    assert place.read_bytes() == b"theirs"
    assert os.listdir(place.parent) == [place.name]


def test_a_name_of_255_bytes_can_be_put_aside(librarian, imported, sync, place):
    name = "n" * 243 + ".safetensors"
    imported(name)
    place.with_name(name).write_bytes(b"theirs")
    assert sync("rename")["conflicts_resolved"] == 1
    assert b"theirs" in [path.read_bytes() for path in place.parent.iterdir()]


def test_a_folder_that_is_not_there_is_not_made_up(librarian, imported, sync, models_folder, tmp_path):
    imported()
    (tmp_path / "ComfyUI" / "models").rename(tmp_path / "unplugged")
    library_alone = os.listdir(tmp_path / "ComfyUI")
    app = librarian.linker.apps[0]
    librarian.linker._apps[app.app] = app.model_copy(update={"root": tmp_path / "ComfyUI" / "models"})
    plan = librarian.links.preview()
    assert plan.to_create == []
    assert "Connect its drive" in plan.errors[0]
    assert os.listdir(tmp_path / "ComfyUI") == library_alone


def test_links_in_folders_that_cannot_be_reached_are_told_and_kept(
    librarian, imported, sync, models_folder, tmp_path, monkeypatch
):
    imported()
    sync()
    (tmp_path / "ComfyUI" / "models").rename(tmp_path / "unplugged")
    monkeypatch.setattr(maker_module, "is_reachable", lambda target, _root: target.parent.is_dir())
    result = librarian.links.uninstall(librarian.linker.apps[0].app)
    assert (result.links_removed, len(result.unreachable)) == (0, 1)
    (tmp_path / "unplugged").rename(tmp_path / "ComfyUI" / "models")
    assert librarian.links.uninstall(librarian.linker.apps[0].app).links_removed == 1


def test_what_a_metadata_calls_itself_never_leads_out_of_the_app(
    librarian, imported, finished, sync, models_folder
):
    import json

    for name in ("one/same.safetensors", "two/same.safetensors"):
        path = librarian.library.root / imported(name) / "metadata.json"
        metadata = json.loads(path.read_text())
        metadata["cleaned_name"] = "../../../../escaped"
        path.write_text(json.dumps(metadata))
    finished(librarian.scans.start("deep"))
    assert sync()["links_created"] == 2
    for link in librarian.links.registered():
        assert models_folder / "upscale_models" in Path(os.path.normpath(link.target)).parents


def test_a_folder_of_the_app_that_leads_into_the_library_gets_no_links(
    librarian, imported, sync, models_folder
):
    model_id = imported()
    folder = librarian.library.root / model_id
    (models_folder / "upscale_models").rmdir()
    (models_folder / "upscale_models").symlink_to(folder)
    before = sorted(os.listdir(folder))
    plan = librarian.links.preview()
    assert "leads into the library" in plan.errors[0]
    sync("overwrite")
    assert sorted(os.listdir(folder)) == before


def test_names_that_differ_in_case_get_places_that_differ_everywhere(librarian, imported, sync):
    imported("one/same.safetensors")
    imported("two/Same.safetensors")
    assert sync()["links_created"] == 2
    assert len({link.target.casefold() for link in librarian.links.registered()}) == 2


def test_an_empty_folder_of_the_person_is_not_removed(librarian, imported, sync, models_folder):
    imported("one/same.safetensors")
    second = imported("two/same.safetensors")
    own = models_folder / "upscale_models" / second.rpartition("/")[2]
    own.mkdir()
    sync()
    librarian.links.uninstall(librarian.linker.apps[0].app)
    assert own.is_dir()


def test_a_folder_made_for_links_is_removed_with_the_last_one(librarian, imported, sync, models_folder):
    imported("one/same.safetensors")
    imported("two/same.safetensors")
    sync()
    assert len(os.listdir(models_folder / "upscale_models")) == 2
    librarian.links.uninstall(librarian.linker.apps[0].app)
    assert os.listdir(models_folder / "upscale_models") == []


def test_a_hard_link_whose_model_is_gone_holds_the_last_bytes(librarian, imported, sync, place, monkeypatch):
    def refuse(*_, **__):
        raise OSError(1, "Operation not permitted")

    model_id = imported()
    data = librarian.library.main_path(model_id).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", refuse)
        sync()
    assert librarian.links.registered()[0].link_type == "hardlink"
    librarian.library.main_path(model_id).unlink()
    librarian.links.uninstall(librarian.linker.apps[0].app)
    assert place.read_bytes() == data


def test_a_plan_is_carried_out_once_however_often_it_is_asked_for(librarian, imported, place):
    imported()
    plan = librarian.links.preview()
    choice = LinkChoice(plan_id=plan.plan_id)
    results: list[object] = []

    def apply() -> None:
        from model_librarian.core.jobs import Job, JobContext

        try:
            results.append(
                librarian.linker.apply(choice, JobContext(Job(id="x", kind="sync"), lambda _: None))
            )
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=apply) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [result for result in results if isinstance(result, SyncResult)]
    assert [result.links_created for result in done] == [1]
    assert len(librarian.links.registered()) == 1


def test_two_processes_on_one_registry_make_each_link_once(librarian, surroundings, imported, place):
    imported()
    other = Librarian(surroundings)
    jobs = []
    for one in (librarian, other):
        plan = one.links.preview()
        jobs.append((one, one.links.apply(LinkChoice(plan_id=plan.plan_id))))
    ended = [one.jobs.wait(job.id) for one, job in jobs]
    created = sum(job.result["links_created"] for job in ended if job.result)
    assert created == 1
    assert [link.state for link in other.links.registered()] == ["ok"]
    other.close()


def test_a_crash_between_making_room_and_linking_gives_the_place_back(
    librarian, surroundings, imported, place, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    imported()
    place.write_bytes(b"theirs")
    plan = librarian.links.preview()
    with monkeypatch.context() as patch:
        patch.setattr(librarian.linker.maker.platform, "make", die)
        patch.setattr(
            maker_module,
            "rename_new",
            lambda source, target: source.rename(target) if source == place else None,
        )
        with pytest.raises(Killed):
            librarian.linker._resolve(
                plan.conflicts[0], "overwrite", linker_module.fingerprint(place), SyncResult()
            )
    assert not place.exists()
    again = Librarian(surroundings)
    again.linker.recover()
    assert place.read_bytes() == b"theirs"
    assert list(again.linker.registry.intents()) == []
    again.close()
