"""Links: planned before made, registered, and never anything of others touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_librarian.core.errors import InvalidRequestError, NotFoundError, PlanChangedError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import LinkChoice


@pytest.fixture
def imported(librarian, finished, make_model, downloads):
    """Import a model of a name; answers its id."""

    def run(name: str = "up.safetensors", **metadata) -> str:
        source = make_model(downloads / name)
        item = {"paths": [str(source)], "metadata": metadata}
        job = finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
        return job.result["imported"][0]

    return run


@pytest.fixture
def sync(librarian, finished):
    """Preview and apply; answers the job."""

    def run(default_resolution="skip", **resolutions):
        plan = librarian.links.preview()
        choice = LinkChoice(
            plan_id=plan.plan_id, default_resolution=default_resolution, resolutions=resolutions
        )
        return finished(librarian.links.apply(choice))

    return run


@pytest.fixture
def place(models_folder) -> Path:
    return models_folder / "upscale_models" / "up.safetensors"


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(path.relative_to(folder)): (path.is_symlink() and os.readlink(path), path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def test_preview_changes_nothing(librarian, imported, models_folder, tmp_path):
    imported()
    before = snapshot(tmp_path / "ComfyUI")
    plan = librarian.links.preview()
    assert [Path(link.target).name for link in plan.to_create] == ["up.safetensors"]
    assert plan.total_actions == 1
    assert snapshot(tmp_path / "ComfyUI") == before


def test_apply_makes_a_relative_link_and_registers_it(librarian, imported, sync, place):
    model_id = imported()
    assert sync().result["links_created"] == 1
    assert place.is_symlink()
    assert not os.path.isabs(os.readlink(place))
    assert place.resolve() == librarian.library.main_path(model_id)
    [link] = librarian.links.registered()
    assert (link.model_id, link.state, link.link_type, link.is_external) == (model_id, "ok", "symlink", False)
    plan = librarian.links.preview()
    assert (plan.total_actions, len(plan.to_skip_exists)) == (0, 1)


def test_a_link_into_a_linked_folder_is_relative_to_the_real_one(
    librarian, imported, sync, models_folder, tmp_path
):
    real = tmp_path / "far" / "away" / "upscalers"
    real.mkdir(parents=True)
    (models_folder / "upscale_models").rmdir()
    (models_folder / "upscale_models").symlink_to(real)
    imported()
    sync()
    assert (real / "up.safetensors").resolve().is_file()


def test_library_and_app_moved_together_keep_every_link(librarian, imported, sync, surroundings, tmp_path):
    from model_librarian.core.settings import app_of_models_folder

    imported()
    sync()
    librarian.close()
    (tmp_path / "ComfyUI").rename(tmp_path / "Moved")
    moved = surroundings.model_copy(
        update={
            "library_root": tmp_path / "Moved" / "model-library",
            "apps": [
                app_of_models_folder(tmp_path / "Moved" / "models").model_copy(update={"app": "comfyui"})
            ],
        }
    )
    again = Librarian(moved)
    [link] = again.links.registered()
    assert link.state == "ok"
    assert Path(link.target) == tmp_path / "Moved" / "models" / "upscale_models" / "up.safetensors"
    again.close()


def test_across_filesystems_links_are_absolute_with_a_warning(surroundings, make_model, downloads):
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == downloads.stat().st_dev:
        pytest.skip("there is no second filesystem here")
    import tempfile

    from model_librarian.core.settings import app_of_models_folder

    with tempfile.TemporaryDirectory(dir=other) as folder:
        (Path(folder) / "models" / "upscale_models").mkdir(parents=True)
        app = app_of_models_folder(Path(folder) / "models")
        librarian = Librarian(surroundings.model_copy(update={"apps": [app]}))
        source = make_model(downloads / "up.safetensors")
        request = ImportRequest.model_validate({"items": [{"paths": [str(source)]}], "link": True})
        librarian.jobs.wait(librarian.imports.start(request).id)
        link = Path(folder) / "models" / "upscale_models" / "up.safetensors"
        assert os.path.isabs(os.readlink(link))
        assert link.resolve().is_file()
        assert librarian.links.registered()[0].is_external
        assert any("another drive" in warning for warning in librarian.links.preview().warnings)
        librarian.close()


@pytest.mark.parametrize("what", ["file", "link", "copy"])
def test_what_lies_in_the_way_is_a_conflict_and_stays(librarian, imported, sync, place, what, tmp_path):
    model_id = imported()
    if what == "file":
        place.write_bytes(b"somebody's own")
    elif what == "link":
        (tmp_path / "theirs").write_bytes(b"theirs")
        place.symlink_to(tmp_path / "theirs")
    else:
        place.write_bytes(librarian.library.main_path(model_id).read_bytes())
    before = place.read_bytes()
    [conflict] = librarian.links.preview().conflicts
    reasons = {"file": "file_exists", "link": "linked_to_different_source", "copy": "same_bytes"}
    assert conflict.reason == reasons[what]
    result = sync().result
    assert (result["links_created"], result["skipped"]) == (0, 1)
    assert place.read_bytes() == before
    assert librarian.links.registered() == []


def test_rename_keeps_the_old_file_beside(librarian, imported, sync, place):
    imported()
    place.write_bytes(b"theirs")
    place.with_name("up.safetensors.old").write_bytes(b"older")
    result = sync("rename").result
    assert (result["links_created"], result["conflicts_resolved"]) == (1, 1)
    assert place.is_symlink()
    assert place.with_name("up.safetensors.old.1").read_bytes() == b"theirs"
    assert place.with_name("up.safetensors.old").read_bytes() == b"older"


def test_overwrite_puts_the_old_file_into_the_trash(librarian, imported, sync, place, monkeypatch):
    trash = []
    monkeypatch.setattr(
        "model_librarian.core.linking.linker.to_trash",
        lambda path: (trash.append(path.read_bytes()), path.unlink()),
    )
    imported()
    place.write_bytes(b"theirs")
    result = sync(**{str(place): "overwrite"}).result
    assert (result["links_created"], result["bytes_freed"]) == (1, 6)
    assert trash == [b"theirs"]
    assert place.is_symlink()


def test_a_copy_becomes_a_link_and_gives_its_bytes_back(librarian, imported, sync, place, monkeypatch):
    monkeypatch.setattr("model_librarian.core.linking.linker.to_trash", lambda path: pytest.fail(str(path)))
    source = librarian.library.main_path(imported())
    place.write_bytes(source.read_bytes())
    plan = librarian.links.preview()
    assert (plan.conflicts[0].reason, plan.bytes_to_win) == ("same_bytes", source.stat().st_size)
    result = sync("overwrite").result
    assert (result["links_created"], result["conflicts_resolved"]) == (1, 1)
    assert result["bytes_freed"] == source.stat().st_size
    assert place.is_symlink()
    assert os.listdir(place.parent) == [place.name]


def test_a_second_name_of_another_file_gives_no_bytes_back(librarian, imported, sync, place, downloads):
    source = librarian.library.main_path(imported())
    (downloads / "kept").write_bytes(source.read_bytes())
    os.link(downloads / "kept", place)
    assert sync("overwrite").result["bytes_freed"] == 0
    assert (downloads / "kept").read_bytes() == source.read_bytes()


def test_a_large_file_that_only_looks_like_a_copy_stays(librarian, imported, sync, place, monkeypatch):
    monkeypatch.setattr("model_librarian.core.linking.planner.COMPARED_BYTES", 10)
    monkeypatch.setattr("model_librarian.core.linking.planner.SAMPLE_BYTES", 16)
    data = bytearray(librarian.library.main_path(imported()).read_bytes())
    data[100] ^= 1
    place.write_bytes(data)
    assert librarian.links.preview().conflicts[0].reason == "same_bytes"
    result = sync("overwrite").result
    assert (result["links_created"], result["bytes_freed"]) == (0, 0)
    assert "other bytes" in result["errors"][0]
    assert place.read_bytes() == data


def test_a_plan_is_refused_when_the_world_has_changed(librarian, imported, finished, place):
    imported()
    plan = librarian.links.preview()
    place.write_bytes(b"appeared meanwhile")
    job = finished(librarian.links.apply(LinkChoice(plan_id=plan.plan_id)))
    assert (job.state, job.error.code) == ("failed", PlanChangedError.code)
    assert place.read_bytes() == b"appeared meanwhile"
    assert librarian.links.registered() == []


def test_an_unknown_plan_is_refused(librarian, finished):
    assert finished(librarian.links.apply(LinkChoice(plan_id="x"))).error.code == NotFoundError.code


def test_two_models_with_one_file_name_both_get_a_link(librarian, imported, sync, models_folder):
    imported("one/model.safetensors")
    imported("two/model.safetensors")
    assert sync().result["links_created"] == 2
    links = [Path(link.target) for link in librarian.links.registered()]
    assert len(set(links)) == 2
    assert all(link.name == "model.safetensors" and link.resolve().is_file() for link in links)
    assert librarian.links.preview().total_actions == 0


def test_a_model_that_changes_its_subtype_moves_its_link(librarian, imported, sync, models_folder, place):
    model_id = imported()
    sync()
    librarian.models.edit(model_id, {"subtype": "loras"})
    plan = librarian.links.preview()
    assert len(plan.to_create) == 1
    assert [Path(removal.target) for removal in plan.orphaned_to_remove] == [place]
    sync()
    assert not os.path.lexists(place)
    assert (models_folder / "loras" / "up.safetensors").is_symlink()


def test_a_model_of_unknown_kind_is_not_linked_and_said_so(librarian, imported):
    imported(subtype="unknown")
    plan = librarian.links.preview()
    assert plan.to_create == []
    assert "type is unknown" in plan.warnings[0]


def test_delete_takes_links_registry_rows_and_files(librarian, imported, sync, place):
    model_id = imported()
    sync()
    report = librarian.models.delete(model_id, "permanent")
    assert (report.unlinked, report.files_removed) == (1, 1)
    assert not os.path.lexists(place)
    assert librarian.links.registered() == []
    assert not (librarian.library.root / model_id).exists()
    with pytest.raises(NotFoundError):
        librarian.models.details(model_id)


def test_delete_can_keep_the_files(librarian, imported, sync, place, finished):
    model_id = imported()
    path = librarian.library.main_path(model_id)
    sync()
    librarian.models.delete(model_id, "keep")
    assert path.is_file()
    assert not os.path.lexists(place)
    finished(librarian.scans.start("quick"))
    assert not librarian.library.index.contains(model_id)


def test_delete_removes_a_link_only_if_it_is_still_ours(librarian, imported, sync, place):
    model_id = imported()
    sync()
    place.unlink()
    place.write_bytes(b"somebody's own now")
    librarian.models.delete(model_id, "permanent")
    assert place.read_bytes() == b"somebody's own now"


def test_deleting_a_model_in_place_needs_its_file_to_go(librarian, finished, make_model, models_folder):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    finished(librarian.scans.start("quick"))
    [model_id] = librarian.library.index.all_ids()
    with pytest.raises(InvalidRequestError, match="stays listed"):
        librarian.models.delete(model_id, "keep")
    librarian.models.delete(model_id, "permanent")
    assert not path.exists()


def test_uninstall_removes_all_links_of_an_app_and_nothing_else(
    librarian, imported, sync, models_folder, place
):
    imported()
    sync()
    (models_folder / "upscale_models" / "theirs.safetensors").write_bytes(b"theirs")
    assert librarian.links.uninstall("comfyui").links_removed == 1
    assert os.listdir(models_folder / "upscale_models") == ["theirs.safetensors"]
    with pytest.raises(NotFoundError):
        librarian.links.uninstall("no-such-app")


def test_many_models_are_linked_and_unlinked_in_parts(librarian, imported, sync, models_folder, monkeypatch):
    monkeypatch.setattr("model_librarian.core.library.index._ASKED_AT_ONCE", 2)
    monkeypatch.setattr("model_librarian.core.linking.linker.BATCH", 2)
    names = [f"m{number}.safetensors" for number in range(5)]
    for name in names:
        imported(name)
    assert sync().result["links_created"] == 5
    again = librarian.links.preview()
    assert sorted(Path(link.target).name for link in again.to_skip_exists) == names
    assert again.total_actions == 0
    assert librarian.links.uninstall("comfyui").links_removed == 5
    assert librarian.links.registered() == []
    assert os.listdir(models_folder / "upscale_models") == []


def test_of_a_plan_only_what_is_to_be_done_is_kept(librarian, imported, sync, finished):
    imported()
    sync()
    imported("other.safetensors")
    plan = librarian.links.preview()
    assert (len(plan.to_create), len(plan.to_skip_exists)) == (1, 1)
    kept = librarian.linker._prepared[plan.plan_id].plan
    assert (len(kept.to_create), kept.to_skip_exists) == (1, [])
    result = finished(librarian.links.apply(LinkChoice(plan_id=plan.plan_id))).result
    assert (result["links_created"], result["skipped"]) == (1, 1)


@pytest.mark.parametrize("made", [True, False])
def test_a_link_cut_off_between_disk_and_registry_is_mended(
    librarian, imported, surroundings, place, made, monkeypatch
):
    imported()
    plan = librarian.links.preview()

    class Killed(BaseException):
        pass

    def die(*_, **__):
        raise Killed

    if made:
        monkeypatch.setattr(librarian.linker.registry, "register", die)
    else:
        monkeypatch.setattr(librarian.linker.maker.platform, "make", die)
    with pytest.raises(Killed):
        from model_librarian.core.linking import SyncResult
        from model_librarian.core.linking.linker import _new_link

        librarian.linker._create([_new_link(planned) for planned in plan.to_create], SyncResult())
    assert os.path.lexists(place) is made
    librarian.close()
    again = Librarian(surroundings)
    again.linker.recover()
    assert [link.state for link in again.links.registered()] == (["ok"] if made else [])
    assert list(again.linker.registry.intents()) == []
    again.close()


def test_states_of_links(librarian, imported, sync, place):
    model_id = imported()
    sync()
    assert librarian.links.registered()[0].state == "ok"
    source = librarian.library.main_path(model_id)
    aside = source.with_suffix(".aside")
    source.rename(aside)
    assert librarian.links.registered()[0].state == "broken"
    aside.rename(source)
    place.unlink()
    assert librarian.links.registered()[0].state == "missing"
    place.write_bytes(b"other")
    assert librarian.links.registered(state="changed")[0].state == "changed"
    assert librarian.links.registered(state="ok") == []


def test_linked_models_are_marked_in_lists(librarian, imported, sync):
    from model_librarian.core.library import ModelQuery

    imported()
    assert [model.linked for model in librarian.models.search(ModelQuery()).models] == [False]
    sync()
    assert [model.linked for model in librarian.models.search(ModelQuery()).models] == [True]


def test_an_app_is_the_same_by_its_root_whatever_it_is_called(librarian, imported, sync, surroundings):
    imported()
    sync()
    librarian.close()
    [app] = surroundings.apps
    again = Librarian(
        surroundings.model_copy(update={"apps": [app.model_copy(update={"app": "other-name"})]})
    )
    assert [known.app for known in again.linker.apps] == ["comfyui"]
    assert [link.state for link in again.links.registered()] == ["ok"]
    again.close()


def test_another_app_of_the_same_name_gets_an_id_of_its_own(
    librarian, imported, sync, surroundings, tmp_path, place
):
    from model_librarian.core.settings import app_of_models_folder

    imported()
    sync()
    librarian.close()
    (tmp_path / "second" / "ComfyUI" / "models" / "upscale_models").mkdir(parents=True)
    second = app_of_models_folder(tmp_path / "second" / "ComfyUI" / "models")
    assert second.app == "comfyui"
    again = Librarian(surroundings.model_copy(update={"apps": [second]}))
    assert [app.app for app in again.linker.apps] == ["comfyui-2"]
    assert [link.state for link in again.links.registered(app="comfyui")] == ["ok"]
    plan = again.links.preview()
    assert (len(plan.to_create), plan.orphaned_to_remove, plan.broken_to_remove) == (1, [], [])
    again.close()
    assert place.is_symlink()


def test_links_of_a_library_that_is_no_longer_chosen_stay_true(
    librarian, imported, sync, surroundings, tmp_path, place
):
    imported()
    sync()
    librarian.close()
    again = Librarian(surroundings.model_copy(update={"library_root": tmp_path / "another-library"}))
    assert [link.state for link in again.links.registered()] == ["ok"]
    assert place.resolve().is_file()
    again.close()
