"""Import of sets and folders, and every way to bring files in: what comes, what stays, what is left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from model_librarian.core.errors import InvalidRequestError, LibrarianError, NotAModelError, StorageError
from model_librarian.core.importing import ImportRequest, journal, originals, source, transfer
from model_librarian.core.importing.entry import Entry
from model_librarian.core.library import ModelQuery
from model_librarian.core.services.reports import SettingsChange
from model_librarian.core.storage import reflink
from model_librarian.core.storage.trash import NoTrashError


def request(*paths: Path | list[Path], **more) -> ImportRequest:
    """Each path, or list of paths, as an item of its own."""
    whole = {name: more.pop(name) for name in ("link", "delete_originals") if name in more}
    items = [
        {"paths": [str(part) for part in (path if isinstance(path, list) else [path])], **more}
        for path in paths
    ]
    return ImportRequest.model_validate({"items": items, **whole})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def staging(librarian) -> list[str]:
    return [
        name
        for name in os.listdir(librarian.library.root / ".incoming")
        if name not in ("metadata.lock", "placed")
    ]


@pytest.fixture
def shards(make_model, downloads) -> list[Path]:
    """A sharded set of three parts with its index."""
    folder = downloads / "set"
    parts = [
        make_model(folder / f"big-0000{number}-of-00003.safetensors", {f"layer.{number}.weight": (8, 8)})
        for number in (1, 2, 3)
    ]
    index = folder / "big.safetensors.index.json"
    weights = {f"layer.{number}.weight": part.name for number, part in enumerate(parts, start=1)}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    return [*parts, index]


@pytest.fixture
def pipeline(make_model, downloads) -> Path:
    """A Diffusers folder with two components."""
    folder = downloads / "my-pipeline"
    folder.mkdir()
    (folder / "model_index.json").write_text(
        json.dumps(
            {
                "_class_name": "StableDiffusionPipeline",
                "unet": ["diffusers", "UNet2DConditionModel"],
                "scheduler": ["diffusers", "PNDMScheduler"],
            }
        )
    )
    make_model(folder / "unet" / "diffusion_pytorch_model.safetensors", {"conv_in.weight": (4, 4, 3, 3)})
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    return folder


# --- Sets and folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["copy", "move", "adopt", "auto"])
def test_a_set_comes_whole_with_its_index(librarian, finished, shards, mode):
    folder = shards[0].parent
    before = contents(folder)
    job = finished(librarian.imports.start(request(shards, mode=mode)))
    [model_id] = job.result["imported"]
    placed = librarian.library.root / model_id
    after = contents(placed)
    metadata = json.loads(after.pop("metadata.json"))
    assert after == before
    assert metadata["model_format"] == "sharded-set"
    assert [(f["shard_index"], f["shard_total"]) for f in metadata["files"][:3]] == [(1, 3), (2, 3), (3, 3)]
    assert metadata["size_bytes"] == sum(map(len, before.values()))
    assert Path(model_id).name == "big"
    if mode == "move":
        assert contents(folder) == {}
    else:
        assert contents(folder) == before
    assert all(path.is_symlink() for path in shards) == (mode == "adopt")
    assert staging(librarian) == []


@pytest.mark.parametrize("mode", ["copy", "move", "adopt"])
def test_a_diffusers_folder_keeps_its_tree(librarian, finished, pipeline, mode):
    before = contents(pipeline)
    job = finished(librarian.imports.start(request(pipeline, mode=mode)))
    [model_id] = job.result["imported"]
    after = contents(librarian.library.root / model_id)
    metadata = json.loads(after.pop("metadata.json"))
    assert after == before
    assert metadata["model_format"] == "diffusion-folder"
    assert metadata["files"][0]["name"] == "unet/diffusion_pytorch_model.safetensors"
    assert Path(model_id).name == "my-pipeline"
    assert librarian.library.index.contains(model_id)
    if mode == "move":
        assert not pipeline.exists()
    else:
        assert contents(pipeline) == before  # also through the links
    assert staging(librarian) == []


def test_what_else_lies_in_a_moved_folder_stays(librarian, finished, pipeline):
    (pipeline / "unet" / ".mine").write_text("notes")
    finished(librarian.imports.start(request(pipeline, mode="move")))
    assert contents(pipeline) == {"unet/.mine": b"notes"}


@pytest.mark.parametrize("mode", ["copy", "move", "adopt"])
def test_an_incomplete_set_is_refused_and_says_what_is_missing(librarian, shards, mode):
    shards[1].unlink()
    with pytest.raises(NotAModelError, match="part 2 of 3 is missing"):
        librarian.imports.start(request([shards[0], *shards[2:]], mode=mode))
    assert shards[0].exists()


def test_several_models_are_no_item(librarian, make_model, downloads):
    paths = [make_model(downloads / "a.safetensors"), make_model(downloads / "b.safetensors")]
    with pytest.raises(InvalidRequestError, match=r"2 models, not one: a\.safetensors, b\.safetensors"):
        librarian.imports.start(request(paths))


def test_a_set_is_imported_once(librarian, finished, shards, downloads):
    copy = shutil.copytree(shards[0].parent, downloads / "again")
    [model_id] = finished(librarian.imports.start(request(shards))).result["imported"]
    job = finished(librarian.imports.start(request(copy)))
    assert [(item.state, item.model_id) for item in job.items] == [("skipped", model_id)]


def test_a_set_that_differs_in_one_part_is_another_model(librarian, finished, shards, make_model, downloads):
    copy = shutil.copytree(shards[0].parent, downloads / "other")
    make_model(copy / shards[1].name, {"layer.2.weight": (8, 8)})
    job = finished(librarian.imports.start(request(shards, copy)))
    assert [item.state for item in job.items] == ["done", "done"]
    assert len(job.result["imported"]) == 2


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_set_whose_last_part_cannot_be_read_goes_back_whole(
    librarian, finished, shards, monkeypatch, hard_links
):
    before = contents(shards[0].parent)
    if not hard_links:
        _without_hard_links(monkeypatch)
    real = transfer._read

    def read(file, buffer, path):
        if "00003" in path.name:
            raise StorageError("broken")
        return real(file, buffer, path)

    monkeypatch.setattr(transfer, "_read", read)
    job = finished(librarian.imports.start(request(shards, mode="move")))
    assert job.state == "failed"
    assert contents(shards[0].parent) == before
    assert staging(librarian) == []
    assert not list(librarian.library.root.glob("*/*/*/metadata.json"))


def test_two_names_that_are_one_elsewhere_are_refused(librarian, pipeline):
    (pipeline / "unet" / "Config.json").write_text("other")
    with pytest.raises(InvalidRequestError, match="the same file on some drives"):
        librarian.imports.start(request(pipeline))


# --- Reflink ------------------------------------------------------------------------------------------------


def test_without_shared_bytes_auto_copies_and_reflink_says_so(
    librarian, finished, make_model, downloads, monkeypatch
):
    monkeypatch.setattr(transfer, "clone", lambda *_: False)
    path = make_model(downloads / "a.safetensors")
    job = finished(librarian.imports.start(request(path, mode="reflink")))
    assert (job.items[0].state, job.items[0].code) == ("failed", "storage_error")
    assert "Copy it instead" in job.items[0].message
    assert staging(librarian) == []
    job = finished(librarian.imports.start(request(path, mode="auto")))
    assert librarian.library.main_path(job.result["imported"][0]).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("mode", ["reflink", "auto"])
def test_with_shared_bytes_nothing_is_copied(librarian, finished, make_model, downloads, monkeypatch, mode):
    def clone(original, file):
        file.write(original.read())
        return True

    monkeypatch.setattr(transfer, "clone", clone)
    monkeypatch.setattr(source, "copy_file", None)
    path = make_model(downloads / "a.safetensors")
    job = finished(librarian.imports.start(request(path, mode=mode)))
    assert librarian.library.main_path(job.result["imported"][0]).read_bytes() == path.read_bytes()
    assert path.exists()


def test_a_filesystem_that_could_share_but_is_full_says_so(
    librarian, finished, make_model, downloads, monkeypatch
):
    import fcntl

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fcntl, "ioctl", full)
    monkeypatch.setattr(reflink.sys, "platform", "linux")
    job = finished(librarian.imports.start(request(make_model(downloads / "a.safetensors"), mode="auto")))
    assert job.items[0].code == "insufficient_space"
    assert str(librarian.library.root) in job.items[0].message
    assert ".incoming" not in job.items[0].message
    assert staging(librarian) == []


# --- Adoption -----------------------------------------------------------------------------------------------


def test_an_adopted_model_is_owned_and_its_place_still_works(
    librarian, finished, make_model, models_folder, monkeypatch
):
    path = make_model(models_folder / "loras" / "style.safetensors")
    path.with_suffix(".preview.png").write_bytes(b"\x89PNG picture")
    data = path.read_bytes()
    finished(librarian.scans.start("quick"))
    [model] = librarian.models.search(ModelQuery()).models
    librarian.models.edit(model.model_id, {"tags": ["mine"], "notes": "my words", "official_name": "Style!"})
    librarian.library.index.touch(model.model_id)
    used = _last_used(librarian, model.model_id)
    job = finished(librarian.imports.start(request(path, mode="adopt")))
    assert job.items[0].state == "done", job.items
    [owned] = librarian.models.search(ModelQuery()).models
    assert (owned.storage, owned.official_name, owned.tags, owned.subtype) == (
        "owned", "Style!", ["mine"], "loras",
    )  # fmt: skip
    assert librarian.library.model(owned.model_id).notes == "my words"
    assert _last_used(librarian, owned.model_id) == used
    assert librarian.library.preview(owned.model_id).read_bytes() == b"\x89PNG picture"
    placed = librarian.library.main_path(owned.model_id)
    assert path.is_symlink()
    assert path.samefile(placed)
    assert placed.read_bytes() == data
    assert path.with_suffix(".preview.png").exists()  # whoever shows it beside the link still can
    assert not list((librarian.library.root / "in-place").glob("*/metadata.json"))
    [link] = librarian.links.registered(model_id=owned.model_id)
    assert (link.target, link.state, link.app) == (str(path), "ok", librarian.linker.apps[0].app)
    result = finished(librarian.scans.start("deep"))
    assert result.state == "done"
    assert [found.model_id for found in librarian.models.search(ModelQuery()).models] == [owned.model_id]


def _last_used(librarian, model_id: str) -> str:
    db = librarian.library._database.read()
    [[used]] = db.execute("SELECT last_used FROM models WHERE model_id = ?", (model_id,)).fetchall()
    assert used is not None
    return used


def test_a_file_that_no_app_uses_can_be_adopted_too(librarian, finished, make_model, downloads):
    path = make_model(downloads / "a.safetensors")
    data = path.read_bytes()
    finished(librarian.imports.start(request(path, mode="adopt")))
    assert path.is_symlink()
    assert path.read_bytes() == data


def test_a_link_that_cannot_be_left_leaves_the_file(
    librarian, finished, make_model, models_folder, monkeypatch
):
    path = make_model(models_folder / "loras" / "style.safetensors")
    data = path.read_bytes()

    def refuse(**_):
        raise StorageError("no links here")

    with monkeypatch.context() as patch:
        patch.setattr(librarian.linker, "replace_with_link", refuse)
        job = finished(librarian.imports.start(request(path, mode="adopt")))
        assert job.items[0].state == "done"
        assert "no link could be left" in job.items[0].message
        assert not path.is_symlink()
        assert path.read_bytes() == data
        [pending] = librarian.importer.recover()
        assert pending.pending
    [recovered] = librarian.importer.recover()  # as at the next start
    assert not recovered.pending
    assert path.is_symlink()
    assert path.read_bytes() == data
    assert staging(librarian) == []


def test_what_changed_since_it_was_read_gets_no_link(librarian, finished, make_model, downloads, monkeypatch):
    path = make_model(downloads / "a.safetensors")
    monkeypatch.setattr(source, "same_filesystem", lambda *_: False)
    real = originals.Originals.settle

    def settle(self, entry, final):
        path.unlink()
        path.write_bytes(b"downloaded again")
        return real(self, entry, final)

    monkeypatch.setattr(originals.Originals, "settle", settle)
    job = finished(librarian.imports.start(request(path, mode="adopt")))
    assert "changed after it was imported" in job.items[0].message
    assert path.read_bytes() == b"downloaded again"


def test_adoption_across_drives_reads_the_copy_back_first(
    librarian, finished, make_model, downloads, monkeypatch
):
    path = make_model(downloads / "a.safetensors")
    data = path.read_bytes()
    monkeypatch.setattr(source, "same_filesystem", lambda *_: False)
    real = transfer._write

    def lie(file, block):
        real(file, memoryview(bytes(len(block))))

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_write", lie)
        job = finished(librarian.imports.start(request(path, mode="adopt")))
    assert "does not hold what it should" in job.items[0].message
    assert not path.is_symlink()
    assert path.read_bytes() == data
    job = finished(librarian.imports.start(request(path, mode="adopt")))
    assert path.is_symlink()
    assert path.read_bytes() == data


def test_the_second_of_two_copies_becomes_a_link_too(librarian, finished, make_model, models_folder):
    one = make_model(models_folder / "loras" / "one.safetensors")
    two = models_folder / "loras" / "two.safetensors"
    shutil.copy(one, two)
    finished(librarian.scans.start("quick"))
    first = finished(librarian.imports.start(request(one, mode="adopt")))
    assert first.items[0].state == "done"
    second = finished(librarian.imports.start(request(two, mode="adopt")))
    [model_id] = first.result["imported"]
    assert (second.items[0].state, second.items[0].model_id) == ("skipped", model_id)
    assert "a link leads there now" in second.items[0].message
    assert two.is_symlink()
    assert two.samefile(librarian.library.main_path(model_id))
    assert len(librarian.links.registered(model_id=model_id)) == 2
    assert [model.model_id for model in librarian.models.search(ModelQuery()).models] == [model_id]


def test_a_copy_that_was_edited_does_not_become_a_link(librarian, finished, make_model, models_folder):
    one = make_model(models_folder / "loras" / "one.safetensors")
    two = models_folder / "loras" / "two.safetensors"
    shutil.copy(one, two)
    finished(librarian.scans.start("quick"))
    finished(librarian.imports.start(request(one, mode="adopt")))
    [other] = librarian.models.search(ModelQuery(storage=["in-place"])).models
    librarian.models.edit(other.model_id, {"notes": "mine"})
    job = finished(librarian.imports.start(request(two, mode="adopt")))
    assert "edited" in job.items[0].message
    assert not two.is_symlink()
    assert librarian.library.model(other.model_id).notes == "mine"


def test_a_damaged_file_of_the_library_takes_no_ones_place(librarian, finished, make_model, downloads):
    one = make_model(downloads / "one.safetensors")
    two = downloads / "two.safetensors"
    shutil.copy(one, two)
    data = two.read_bytes()
    [model_id] = finished(librarian.imports.start(request(one, mode="copy"))).result["imported"]
    placed = librarian.library.main_path(model_id)
    placed.write_bytes(bytes(len(data)))
    job = finished(librarian.imports.start(request(two, mode="adopt")))
    assert "does not hold what it should" in job.items[0].message
    assert not two.is_symlink()
    assert two.read_bytes() == data


# --- In place -----------------------------------------------------------------------------------------------


def test_in_place_writes_down_and_touches_nothing(librarian, finished, make_model, downloads):
    path = make_model(downloads / "a.safetensors")
    before = path.stat()
    job = finished(librarian.imports.start(request(path, mode="in-place", metadata={"tags": ["t"]})))
    [model_id] = job.result["imported"]
    assert model_id.startswith("in-place/")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(downloads) == ["a.safetensors"]
    written = json.loads((librarian.library.root / model_id / "metadata.json").read_text())
    assert written["files"][0]["name"] == str(path)
    assert written["storage"] == "in-place"
    assert len(written["hashes"]["sha256"]) == 64
    [found] = librarian.models.search(ModelQuery(q="a")).models
    assert (found.model_id, found.storage, found.tags) == (model_id, "in-place", ["t"])
    again = finished(librarian.imports.start(request(path, mode="in-place")))
    assert [(item.state, item.model_id) for item in again.items] == [("skipped", model_id)]


def test_in_place_in_an_apps_folder_is_listed_by_itself(librarian, finished, make_model, models_folder):
    path = make_model(models_folder / "loras" / "a.safetensors")
    job = finished(librarian.imports.start(request(path, mode="in-place")))
    assert "listed by themselves" in job.items[0].message
    finished(librarian.scans.start("quick"))
    [model] = librarian.models.search(ModelQuery()).models
    again = finished(librarian.imports.start(request(path, mode="in-place")))
    assert [(item.state, item.model_id) for item in again.items] == [("skipped", model.model_id)]


def test_a_model_in_place_can_be_adopted_from_anywhere(librarian, finished, make_model, downloads):
    path = make_model(downloads / "a.safetensors")
    finished(librarian.imports.start(request(path, mode="in-place", metadata={"notes": "mine"})))
    job = finished(librarian.imports.start(request(path, mode="adopt")))
    [model_id] = job.result["imported"]
    assert librarian.library.model(model_id).notes == "mine"
    assert path.is_symlink()
    finished(librarian.scans.start("deep"))
    assert [found.model_id for found in librarian.models.search(ModelQuery()).models] == [model_id]


def test_models_in_place_survive_scans(librarian, finished, make_model, downloads):
    path = make_model(downloads / "a.safetensors")
    [model_id] = finished(librarian.imports.start(request(path, mode="in-place"))).result["imported"]
    for kind in ("quick", "deep", "quick"):
        finished(librarian.scans.start(kind))
        assert [found.model_id for found in librarian.models.search(ModelQuery()).models] == [model_id]
    path.unlink()
    finished(librarian.scans.start("quick"))
    details = librarian.models.search(ModelQuery()).models
    assert not details or details[0].problem


def test_a_preview_that_comes_later_beside_a_model_in_place_is_noticed(
    librarian, finished, make_model, downloads
):
    path = make_model(downloads / "a.safetensors")
    finished(librarian.imports.start(request(path, mode="in-place")))

    def shown():
        finished(librarian.scans.start("quick"))
        [model] = librarian.models.search(ModelQuery()).models
        return model.preview_url is not None

    assert not shown()
    path.with_suffix(".preview.png").write_bytes(b"png")
    assert shown()
    path.with_suffix(".preview.png").unlink()
    assert not shown()


def test_a_set_in_place(librarian, finished, shards):
    job = finished(librarian.imports.start(request(shards, mode="in-place")))
    written = librarian.library.metadata.read(job.result["imported"][0])
    assert sorted(file.name for file in written.files) == sorted(map(str, shards))


# --- Deleting originals -------------------------------------------------------------------------------------


@pytest.fixture
def trash(tmp_path, monkeypatch) -> Path:
    """A trash of the test's own."""
    folder = tmp_path / "trash"
    folder.mkdir()

    def to_trash(path: Path) -> None:
        path.rename(folder / path.name)

    monkeypatch.setattr(originals, "to_trash", to_trash)
    return folder


@pytest.mark.parametrize("mode", ["copy", "auto"])
def test_originals_go_to_the_trash(librarian, finished, make_model, downloads, trash, mode):
    path = make_model(downloads / "a.safetensors")
    data = path.read_bytes()
    job = finished(librarian.imports.start(request(path, mode=mode, delete_originals=True)))
    assert librarian.library.main_path(job.result["imported"][0]).read_bytes() == data
    assert not path.exists()
    assert (trash / "a.safetensors").read_bytes() == data


def test_a_folder_goes_to_the_trash_as_one(librarian, finished, pipeline, trash):
    before = contents(pipeline)
    finished(librarian.imports.start(request(pipeline, mode="copy", delete_originals=True)))
    assert not pipeline.exists()
    assert contents(trash / pipeline.name) == before


def test_without_a_trash_originals_go_for_good(librarian, finished, make_model, downloads, monkeypatch):
    def none(path):
        raise NoTrashError("there is no trash")

    monkeypatch.setattr(originals, "to_trash", none)
    path = make_model(downloads / "a.safetensors")
    finished(librarian.imports.start(request(path, mode="copy", delete_originals=True)))
    assert not path.exists()


def test_an_original_that_the_trash_does_not_take_stays(
    librarian, finished, make_model, downloads, monkeypatch
):
    def fail(path):
        raise StorageError(f"{path} cannot go to the trash")

    monkeypatch.setattr(originals, "to_trash", fail)
    path = make_model(downloads / "a.safetensors")
    job = finished(librarian.imports.start(request(path, mode="copy", delete_originals=True)))
    assert job.items[0].state == "done"
    assert "cannot go to the trash" in job.items[0].message
    assert path.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_write_protected_originals_stay(librarian, finished, make_model, downloads, trash, monkeypatch):
    path = make_model(downloads / "a.safetensors")
    path.chmod(0o444)
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda what, mode: real(what, mode) and not (mode == os.W_OK and what == path)
    )  # as for anybody but root
    job = finished(librarian.imports.start(request(path, mode="copy", delete_originals=True)))
    assert job.items[0].state == "done"
    assert "write-protected" in job.items[0].message
    assert path.exists()


def test_more_names_of_an_original_are_told(librarian, finished, make_model, downloads, trash):
    path = make_model(downloads / "a.safetensors")
    os.link(path, downloads / "other")
    job = finished(librarian.imports.start(request(path, mode="copy", delete_originals=True)))
    assert "1 more name (a hard link)" in job.items[0].message
    assert (downloads / "other").exists()


def test_an_original_that_changed_since_stays(librarian, finished, make_model, downloads, trash, monkeypatch):
    path = make_model(downloads / "a.safetensors")
    real = librarian.importer._journal.place

    def place(*arguments):
        with open(path, "ab") as file:
            file.write(b"more")
        return real(*arguments)

    monkeypatch.setattr(librarian.importer._journal, "place", place)
    job = finished(librarian.imports.start(request(path, mode="copy", delete_originals=True)))
    assert job.items[0].state == "done"
    assert "changed after it was imported" in job.items[0].message
    assert path.read_bytes().endswith(b"more")


def test_originals_in_an_apps_folder_are_not_deleted(librarian, make_model, models_folder):
    path = make_model(models_folder / "vae" / "ae.safetensors")
    with pytest.raises(InvalidRequestError, match="Adopt it"):
        librarian.imports.start(request(path, mode="copy", delete_originals=True))


@pytest.mark.parametrize(("mode", "delete_originals"), [("copy", True), ("move", False)])
def test_originals_of_duplicates_stay_and_this_is_said(
    librarian, finished, make_model, downloads, trash, mode, delete_originals
):
    path = make_model(downloads / "a.safetensors")
    other = downloads / "b.safetensors"
    shutil.copy(path, other)
    finished(librarian.imports.start(request(path)))
    job = finished(librarian.imports.start(request(other, mode=mode, delete_originals=delete_originals)))
    assert job.items[0].state == "skipped"
    assert job.items[0].message.endswith("The original was kept.")
    assert other.exists()


# --- What lies beside ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_a_picture_and_what_tools_wrote_come_along(librarian, finished, make_model, downloads, mode):
    path = make_model(downloads / "style.safetensors")
    (downloads / "style.png").write_bytes(b"\x89PNG picture")
    (downloads / "style.metadata.json").write_text(json.dumps({"model_name": "Style", "tags": ["anime"]}))
    (downloads / "other.png").write_bytes(b"somebody's")
    job = finished(librarian.imports.start(request(path, mode=mode)))
    [model_id] = job.result["imported"]
    assert librarian.library.preview(model_id).name == "preview.png"
    assert (librarian.library.root / model_id / "style.metadata.json").exists()
    assert librarian.library.model(model_id).tags == ["anime"]
    left = {"other.png"} if mode == "move" else {
        "other.png", "style.png", "style.metadata.json", "style.safetensors",
    }  # fmt: skip
    assert set(os.listdir(downloads)) == left


def test_a_picture_of_two_models_stays_with_the_other(librarian, finished, make_model, downloads):
    path = make_model(downloads / "style.safetensors")
    make_model(downloads / "style.sft")
    (downloads / "style.png").write_bytes(b"\x89PNG picture")
    job = finished(librarian.imports.start(request(path, mode="move")))
    assert librarian.library.preview(job.result["imported"][0]) is not None
    assert (downloads / "style.png").exists()


# --- Journals of the version before -------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["staging", "placing"])
def test_a_journal_of_the_version_before_is_finished_or_undone(
    librarian, make_model, downloads, state, tmp_path
):
    path = make_model(downloads / "a.safetensors")
    data, status = path.read_bytes(), path.stat()
    root = librarian.library.root
    folder = root / ".incoming" / ("a" * 32)
    place = folder / "model" if state == "staging" else root / "vision" / "esrgan" / "a"
    place.mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    os.link(path, place / "a.safetensors")
    if state == "placing":
        (place / "metadata.json").write_text(
            json.dumps(
                {
                    "schema": 1, "model_id": "vision/esrgan/a", "official_name": "a", "cleaned_name": "a",
                    "files": [{"name": "a.safetensors", "size": len(data)}],
                }
            )
        )  # fmt: skip
    (folder / "journal.json").write_text(
        json.dumps(
            {
                "model_id": "vision/esrgan/a", "mode": "move", "taken": True, "state": state,
                "source": str(path), "staged_name": "a.safetensors", "size": status.st_size,
                "mtime_ns": status.st_mtime_ns, "inode": f"{status.st_dev}:{status.st_ino}",
            }
        )
    )  # fmt: skip
    [recovered] = librarian.importer.recover()
    assert recovered.outcome == ("undone" if state == "staging" else "finished")
    assert path.exists() == (state == "staging")
    left = path if state == "staging" else place / "a.safetensors"
    assert left.read_bytes() == data
    assert staging(librarian) == []


def test_a_journal_with_fields_of_a_later_version_is_understood():
    file = {"source": "/a", "staged_name": "a", "size": 1, "mtime_ns": 1, "inode": "1:1", "later": True}
    assert Entry.model_validate({"files": [file], "later": 1}).files[0].staged_name == "a"


# --- Batches ------------------------------------------------------------------------------------------------


def test_a_person_may_say_how_many_work_on_a_drive(librarian, finished, make_model, downloads, monkeypatch):
    paths = [make_model(downloads / f"{number}.safetensors") for number in range(6)]
    lock, now, most = threading.Lock(), [0], [0]
    real = librarian.importer._import

    def one(*arguments):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            return real(*arguments)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(librarian.importer, "_import", one)
    librarian.preferences.change(SettingsChange(transfers_at_once=1))
    finished(librarian.imports.start(request(*paths)))
    assert most == [1]
    assert librarian.preferences.change(SettingsChange(transfers_at_once=0)).transfers_at_once is None


def test_a_batch_tells_bytes_of_all_its_items(librarian, finished, make_model, downloads, shards):
    paths = [make_model(downloads / f"{number}.safetensors") for number in range(4)]
    job = finished(librarian.imports.start(request(*paths, shards)))
    total = sum(path.stat().st_size for path in [*paths, *shards])
    assert (job.progress.unit, job.progress.current, job.progress.total) == ("bytes", total, total)
    assert [item.current for item in job.items] == [item.total for item in job.items]
    assert job.result["imported"] == [item.model_id for item in job.items]


def test_a_cancelled_batch_begins_nothing_more(librarian, finished, make_model, downloads, monkeypatch):
    paths = [make_model(downloads / f"{number}.safetensors") for number in range(6)]
    real = transfer._read

    def read(*arguments):
        librarian.jobs.cancel(job_id[0])
        return real(*arguments)

    job_id: list[str] = []
    go = threading.Event()
    real_run = librarian.importer.run

    def run(*arguments):
        assert go.wait(10)
        return real_run(*arguments)

    monkeypatch.setattr(librarian.importer, "run", run)
    monkeypatch.setattr(transfer, "_read", read)
    job = librarian.imports.start(request(*paths, mode="move"))
    job_id.append(job.id)
    go.set()
    ended = finished(job)
    assert ended.state == "cancelled"
    assert {item.state for item in ended.items} == {"cancelled"}
    assert all(path.exists() for path in paths)
    assert staging(librarian) == []


def _without_hard_links(monkeypatch) -> None:
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)


def test_an_upload_that_has_arrived_is_taken_without_a_second_write(
    librarian, finished, make_model, tmp_path, monkeypatch
):
    data = make_model(tmp_path / "a.safetensors").read_bytes()
    upload = librarian.uploads.create(len(data), "a.safetensors")
    writing = librarian.uploads.write(upload.id, 0)
    writing.append([data])
    writing.close().result()
    monkeypatch.setattr(transfer, "_stream", None)  # neither read nor written
    items = [{"uploads": [upload.id]}]
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
    assert job.items[0].state == "done", job.items
    assert librarian.library.main_path(job.result["imported"][0]).read_bytes() == data
    with pytest.raises(LibrarianError):
        librarian.uploads.get(upload.id)
    assert staging(librarian) == []


def test_of_many_files_of_one_size_none_is_read_to_its_end(
    librarian, finished, make_model, models_folder, downloads, monkeypatch
):
    monkeypatch.setattr(librarian.scans, "hash_in_background", lambda: None)
    for number in range(20):
        make_model(models_folder / "loras" / f"{number}.safetensors")
    same = models_folder / "loras" / "same.safetensors"
    path = make_model(downloads / "new.safetensors")
    finished(librarian.scans.start("quick"))
    read: list[str] = []
    real = type(librarian.library).hash_of

    def hash_of(self, model_id, job=None):
        read.append(model_id)
        return real(self, model_id, job)

    monkeypatch.setattr(type(librarian.library), "hash_of", hash_of)
    job = finished(librarian.imports.start(request(path)))
    assert (job.items[0].state, read) == ("done", [])
    other = make_model(downloads / "other.safetensors")
    shutil.copy(other, same)
    finished(librarian.scans.start("quick"))
    job = finished(librarian.imports.start(request(other)))
    assert (job.items[0].state, len(read)) == ("skipped", 1)


def test_a_linked_original_is_kept_and_said_to_be_a_link(librarian, finished, make_model, downloads):
    real = make_model(downloads / "real.bin")
    link = downloads / "a.safetensors"
    link.symlink_to(real)
    job = finished(librarian.imports.start(request(link).model_copy(update={"delete_originals": True})))
    assert job.items[0].state == "done"
    assert f"{link} is a link, which was kept, like what it leads to." in job.items[0].message
    assert link.is_symlink()
    assert real.exists()


def test_a_part_that_cannot_be_given_back_now_holds_up_no_other_and_comes_later(
    librarian, finished, shards, surroundings, monkeypatch
):
    """Without hard links the parts are renamed one by one; the last one fails, and so does giving back the first."""
    before = [path.read_bytes() for path in shards]
    _without_hard_links(monkeypatch)
    real_hash, real_rename = source.hash_file, journal.rename_new

    def hash_file(path, *more):
        if path == shards[-1]:
            raise OSError(errno.EIO, "Input/output error")
        return real_hash(path, *more)

    def rename_new(staged, target):
        if target == shards[0]:
            raise OSError(errno.EACCES, "Permission denied")
        real_rename(staged, target)

    monkeypatch.setattr(source, "hash_file", hash_file)
    monkeypatch.setattr(journal, "rename_new", rename_new)
    job = finished(librarian.imports.start(request(shards, mode="move")))
    assert job.items[0].state == "failed"
    assert [path.exists() for path in shards] == [False, *[True] * (len(shards) - 1)]
    [kept] = surroundings.library_root.glob(f".incoming/*/model/{shards[0].name}")
    told = (
        f"{shards[0]} could not be given back, which is tried again at the next start; until then the file is kept "
        f"as {kept}: "
    )
    assert told in job.items[0].message
    assert kept.read_bytes() == before[0]
    assert shards[1].name not in job.items[0].message
    librarian.imports.recover()  # a start at which it still cannot be
    [again] = [job for job in librarian.jobs.all() if job.state == "interrupted"]
    assert told in again.items[0].message
    assert kept.exists()
    monkeypatch.setattr(journal, "rename_new", real_rename)
    librarian.imports.recover()
    assert [path.read_bytes() for path in shards] == before
    assert staging(librarian) == []


def test_a_duplicate_that_cannot_be_given_back_now_is_said_to_be_kept(
    librarian, finished, make_model, downloads, surroundings, monkeypatch
):
    finished(librarian.imports.start(request(make_model(downloads / "a.safetensors", seed=1))))
    copy = make_model(downloads / "b.safetensors", seed=1)
    _without_hard_links(monkeypatch)

    def rename_new(_staged, _target):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(journal, "rename_new", rename_new)
    job = finished(librarian.imports.start(request(copy, mode="move")))
    assert (job.items[0].state, copy.exists()) == ("skipped", False)
    [kept] = surroundings.library_root.glob(".incoming/*/model/*.safetensors")
    assert f"until then the file is kept as {kept}" in job.items[0].message
