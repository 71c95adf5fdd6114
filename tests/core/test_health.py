"""How the links do: what is wrong is told apart, cleaned as chosen, repaired and relocated."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from model_librarian.core.errors import InvalidRequestError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import CleanChoice, LinkChoice, NewApp, RelocateRequest

EVERYTHING = CleanChoice(broken=True, orphaned=True, ghosts=True, missing=True)


@pytest.fixture
def linked(librarian, finished, make_model, downloads):
    """Import models and link them; answers their files in the library by name."""

    def run(*names: str) -> dict[str, Path]:
        items = [{"paths": [str(make_model(downloads / name))]} for name in names]
        job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
        sync(librarian)
        paths = [librarian.library.main_path(model_id) for model_id in job.result["imported"]]
        return {path.name: path for path in paths}

    return run


def sync(librarian: Librarian) -> None:
    job = librarian.links.apply(LinkChoice(plan_id=librarian.links.preview().plan_id))
    assert librarian.jobs.wait(job.id).state == "done"


@pytest.fixture
def folder(models_folder) -> Path:
    return models_folder / "upscale_models"


def names(found) -> list[str]:
    return sorted(Path(one.target).name for one in found)


@pytest.fixture
def mixed(librarian, linked, folder, tmp_path):
    """One link of each state, and things of others."""
    files = linked("ok.sft", "broken.sft", "missing.sft", "changed.sft")
    files["broken.sft"].unlink()
    (folder / "missing.sft").unlink()
    (folder / "changed.sft").unlink()
    (folder / "changed.sft").write_bytes(b"somebody's own")
    (folder / "orphan.sft").symlink_to(files["ok.sft"])
    (folder / "dead orphan.sft").symlink_to(files["ok.sft"].with_name("never.sft"))
    (tmp_path / "far.sft").write_bytes(b"far")
    (folder / "theirs.sft").symlink_to(tmp_path / "far.sft")
    (folder / "their dead one.sft").symlink_to(tmp_path / "nowhere")
    (folder / "real.sft").write_bytes(b"real")
    return files


def test_each_state_is_told_apart(librarian, mixed):
    report = librarian.links.health()
    assert report.status == "errors"
    assert names(report.broken_links) == ["broken.sft"]
    assert names(report.missing_files) == ["missing.sft"]
    assert names(report.changed_links) == ["changed.sft"]
    assert names(report.orphaned_links) == ["dead orphan.sft", "orphan.sft"]
    assert names(report.others_broken) == ["their dead one.sft"]
    assert report.ghost_apps == report.unreachable == []
    assert report.total_issues == 5


def test_looking_changes_nothing(librarian, mixed, folder):
    before = {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()}
    first, second = librarian.links.health(), librarian.links.health()
    assert first.model_copy(update={"checked_at": second.checked_at}) == second
    assert {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()} == before


OTHERS = {"changed.sft", "theirs.sft", "their dead one.sft", "real.sft", "ok.sft"}


@pytest.mark.parametrize(
    ("choice", "gone", "counts"),
    [
        ({}, set(), (0, 0, 0, 0)),
        ({"broken": True}, {"broken.sft"}, (1, 0, 0, 0)),
        ({"orphaned": True}, {"orphan.sft", "dead orphan.sft"}, (0, 2, 0, 0)),
        ({"missing": True}, set(), (0, 0, 0, 1)),
        ({"broken": True, "orphaned": True, "missing": True, "ghosts": True}, None, (1, 2, 0, 1)),
    ],
)
def test_only_what_was_chosen_is_cleaned(librarian, mixed, folder, choice, gone, counts):
    before = set(os.listdir(folder))
    result = librarian.links.clean(CleanChoice.model_validate(choice))
    assert (result.broken, result.orphaned, result.ghosts, result.missing) == counts
    left = set(os.listdir(folder))
    assert left == (OTHERS if gone is None else before - gone)
    assert (folder / "changed.sft").read_bytes() == b"somebody's own"
    assert mixed["ok.sft"].is_file()


def test_all_clean_is_healthy(librarian, linked):
    linked("one.sft")
    report = librarian.links.health()
    assert (report.status, report.total_issues) == ("healthy", 0)


def test_a_link_seen_through_two_folders_is_no_orphan(
    librarian, linked, surroundings, models_folder, tmp_path
):
    linked("one.sft")
    librarian.close()
    (tmp_path / "alias").symlink_to(models_folder / "upscale_models")
    [app] = surroundings.apps
    from model_librarian.core.settings import TargetFolder

    more = [TargetFolder(subtype="upscale_models", path=tmp_path / "alias"), *app.folders]
    again = Librarian(surroundings.model_copy(update={"apps": [app.model_copy(update={"folders": more})]}))
    assert again.links.health().total_issues == 0
    again.close()


# Ghosts


def add(librarian, root: Path) -> str:
    (root / "modules").mkdir(parents=True)
    (root / "webui.py").touch()
    return librarian.links.add_app(NewApp(root=root, kind="a1111")).app


def test_an_app_whose_root_is_gone_is_a_ghost_and_no_other_is_caught(librarian, linked, tmp_path):
    apps = [add(librarian, tmp_path / name) for name in ("web", "webui", "my web", "WEB_", "w%b")]
    linked("one.sft")
    shutil.rmtree(tmp_path / "web")
    report = librarian.links.health()
    assert [(ghost.app, ghost.links) for ghost in report.ghost_apps] == [("web", 1)]
    assert report.unreachable == [], "its links are told with it"
    assert report.status == "warnings"
    assert librarian.links.clean(CleanChoice(ghosts=True)).ghosts == 1
    assert sorted(link.app for link in librarian.links.registered()) == sorted(["comfyui", *apps[1:]])
    assert "web" not in [app.app for app in librarian.links.apps()]
    assert librarian.links.health().total_issues == 0


def test_an_app_that_is_only_unplugged_keeps_its_links_until_it_is_cleaned(librarian, linked, tmp_path):
    app = add(librarian, tmp_path / "usb" / "webui")
    linked("one.sft")
    (tmp_path / "usb").rename(tmp_path / "unplugged")
    librarian.links.clean(CleanChoice(broken=True, orphaned=True, missing=True))
    assert librarian.links.uninstall(app).unreachable
    assert librarian.links.preview().orphaned_to_remove == []
    (tmp_path / "unplugged").rename(tmp_path / "usb")
    assert [link.state for link in librarian.links.registered(app=app)] == ["ok"]


def test_a_folder_that_is_unplugged_says_nothing_of_its_links(librarian, linked, models_folder, tmp_path):
    app = librarian.linker._apps["comfyui"]
    elsewhere = tmp_path / "drive" / "loras"
    elsewhere.mkdir(parents=True)
    from model_librarian.core.settings import TargetFolder

    folders = [TargetFolder(subtype="upscale_models", path=elsewhere)]
    librarian.linker._apps["comfyui"] = app.model_copy(update={"folders": folders})
    linked("one.sft")
    (tmp_path / "drive").rename(tmp_path / "unplugged")
    report = librarian.links.health()
    assert (names(report.unreachable), report.total_issues) == (["one.sft"], 0)
    assert librarian.links.clean(EVERYTHING).missing == 0
    (tmp_path / "unplugged").rename(tmp_path / "drive")
    assert [link.state for link in librarian.links.registered()] == ["ok"]


# Repair


def repair(librarian):
    return librarian.jobs.wait(librarian.links.repair().id).result


def test_a_broken_link_is_pointed_to_the_same_bytes_wherever_they_are(
    librarian, linked, finished, folder, models_folder
):
    files = linked("one.sft", "two.sft", "lost.sft")
    digest = librarian.links.registered()[0].file_hash
    assert digest
    moved = models_folder / "vae" / "another name.safetensors"
    shutil.move(files["one.sft"], moved)
    files["lost.sft"].unlink()
    finished(librarian.scans.start("deep"))
    for model_id in librarian.library.index.all_ids():
        librarian.library.hash_of(model_id)
    result = repair(librarian)
    assert (result["repaired"], len(result["failed"])) == (1, 1)
    assert "lost.sft" in result["failed"][0]["target"]
    assert (folder / "one.sft").resolve() == moved
    states = {Path(link.target).name: link.state for link in librarian.links.registered()}
    assert states == {"one.sft": "ok", "two.sft": "ok", "lost.sft": "broken"}
    assert librarian.links.health().broken_links[0].target.endswith("lost.sft")


def test_other_bytes_of_the_same_name_repair_nothing(librarian, linked, finished, folder, make_model):
    [source] = linked("one.sft").values()
    source.unlink()
    make_model(folder.parent / "vae" / "one.sft")
    finished(librarian.scans.start("deep"))
    assert repair(librarian)["repaired"] == 0


def test_what_took_the_links_place_is_not_repaired_away(librarian, mixed, folder):
    repair(librarian)
    assert (folder / "changed.sft").read_bytes() == b"somebody's own"
    assert not os.path.lexists(folder / "missing.sft")


# Relocation


@pytest.fixture
def on_drives(surroundings, make_model, downloads, tmp_path):
    """A library on ``/usb`` linked, with absolute links, into apps on ``/a`` and ``/ab``."""
    (tmp_path / "usb").mkdir()
    librarian = Librarian(surroundings.model_copy(update={"library_root": tmp_path / "usb" / "library"}))
    for name in ("a", "ab"):
        add(librarian, tmp_path / name / "webui")
    item = {"paths": [str(make_model(downloads / "up.safetensors"))]}
    request = ImportRequest.model_validate({"items": [item], "link": True})
    librarian.jobs.wait(librarian.imports.start(request).id)
    for link in librarian.links.registered():
        os.unlink(link.target)
        os.symlink(link.source, link.target)
    assert [link.state for link in librarian.links.registered()] == ["ok"] * 3
    yield librarian
    librarian.close()


def states(librarian) -> list[tuple[str, str]]:
    return sorted((link.target, link.state) for link in librarian.links.registered())


def test_a_dry_run_says_what_would_change_and_changes_nothing(on_drives, tmp_path):
    (tmp_path / "usb").rename(tmp_path / "disk")
    before = states(on_drives)
    request = RelocateRequest(
        old_prefix=str(tmp_path / "usb"), new_prefix=str(tmp_path / "disk"), dry_run=True
    )
    result = on_drives.links.relocate(request)
    assert (result.updated, result.failed) == (3, [])
    assert states(on_drives) == before
    assert all(change.source.startswith(f"{tmp_path}/disk/") for change in result.links)


def test_a_dry_run_moves_no_app(on_drives, tmp_path):
    (tmp_path / "a").rename(tmp_path / "z")
    roots = on_drives.linker.registry.roots()
    apps = on_drives.links.apps()
    request = RelocateRequest(old_prefix=str(tmp_path / "a"), new_prefix=str(tmp_path / "z"), dry_run=True)
    on_drives.links.relocate(request)
    assert on_drives.linker.registry.roots() == roots
    assert on_drives.links.apps() == apps


def test_of_apps_that_cannot_all_be_moved_none_is(on_drives, tmp_path):
    for name in ("a", "ab"):
        (tmp_path / "drive" / name).mkdir(parents=True)
        (tmp_path / name / "webui").rename(tmp_path / "drive" / name / "webui")
        on_drives.links.relocate(
            RelocateRequest(old_prefix=str(tmp_path / name), new_prefix=str(tmp_path / "drive" / name))
        )
    (tmp_path / "new" / "a").mkdir(parents=True)
    (tmp_path / "drive" / "a" / "webui").rename(tmp_path / "new" / "a" / "webui")
    roots = on_drives.linker.registry.roots()
    with pytest.raises(InvalidRequestError, match="ab/webui is not there"):
        on_drives.links.relocate(
            RelocateRequest(old_prefix=str(tmp_path / "drive"), new_prefix=str(tmp_path / "new"))
        )
    assert on_drives.linker.registry.roots() == roots


def test_links_follow_the_library_to_its_new_place(on_drives, surroundings, tmp_path):
    on_drives.close()
    (tmp_path / "usb").rename(tmp_path / "disk")
    again = Librarian(surroundings.model_copy(update={"library_root": tmp_path / "disk" / "library"}))
    assert {state for _, state in states(again)} == {"changed"}
    request = RelocateRequest(old_prefix=str(tmp_path / "usb"), new_prefix=f"{tmp_path}/disk/")
    assert again.links.relocate(request).updated == 3
    assert {state for _, state in states(again)} == {"ok"}
    assert again.links.relocate(request).updated == 0
    again.close()


def test_an_apps_new_mount_point_moves_its_links_and_no_other(on_drives, tmp_path):
    (tmp_path / "a").rename(tmp_path / "z")
    result = on_drives.links.relocate(
        RelocateRequest(old_prefix=str(tmp_path / "a"), new_prefix=str(tmp_path / "z"))
    )
    assert result.updated == 1
    assert {state for _, state in states(on_drives)} == {"ok"}
    places = [Path(target).relative_to(tmp_path).parts[0] for target, _ in states(on_drives)]
    assert sorted(places) == ["ComfyUI", "ab", "z"]
    roots = {app.app: app.root for app in on_drives.links.apps()}
    assert roots["webui"] == str(tmp_path / "z" / "webui")
    assert roots["webui-2"] == str(tmp_path / "ab" / "webui")


def test_nothing_is_pointed_to_what_is_not_there(on_drives, tmp_path):
    before = states(on_drives)
    result = on_drives.links.relocate(
        RelocateRequest(old_prefix=str(tmp_path / "usb"), new_prefix=str(tmp_path / "typo"))
    )
    assert (result.updated, len(result.failed)) == (0, 3)
    assert "is not there" in result.failed[0].problem
    assert states(on_drives) == before


def test_links_of_others_below_the_prefix_stay(on_drives, models_folder, tmp_path):
    theirs = models_folder / "loras" / "theirs.safetensors"
    (tmp_path / "usb" / "own").write_bytes(b"own")
    theirs.symlink_to(tmp_path / "usb" / "own")
    (tmp_path / "usb").rename(tmp_path / "disk")
    on_drives.links.relocate(
        RelocateRequest(old_prefix=str(tmp_path / "usb"), new_prefix=str(tmp_path / "disk"))
    )
    assert os.readlink(theirs) == str(tmp_path / "usb" / "own")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "/x"),
        ("a", "/x"),
        ("/x", "y"),
        ("/x", "/x/"),
        ("/\0", "/x"),
        ("~nobody-here/x", "/x"),
        ("/\udc80", "/x"),
    ],
)
def test_prefixes_that_are_none_are_refused(librarian, old, new):
    with pytest.raises(InvalidRequestError):
        librarian.links.relocate(RelocateRequest(old_prefix=old, new_prefix=new))


# Uninstalling everything


def test_uninstalling_everything_leaves_only_what_is_not_ours(librarian, mixed, folder, tmp_path):
    app = add(librarian, tmp_path / "webui")
    sync(librarian)
    results = librarian.links.uninstall_all()
    assert results[app].links_removed == 3  # of all models but the one whose file is gone
    assert librarian.links.registered() == []
    assert not any((tmp_path / "webui" / "models").rglob("*.sft"))
    assert {"changed.sft", "theirs.sft", "their dead one.sft", "real.sft"} <= set(os.listdir(folder))
    assert mixed["ok.sft"].is_file()
