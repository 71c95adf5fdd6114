"""Equal files of the library are stored once: which ones, how, and what is left as it is."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from model_librarian.core.errors import StorageError
from model_librarian.core.importing import ImportRequest, journal, sharing, transfer
from model_librarian.core.importing.sharing import ShareRequest
from model_librarian.core.jobs import JobContext
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery
from model_librarian.core.linking import LinkChoice

EVERYTHING = ShareRequest(hard_links=True)


def copied(librarian: Librarian, finished, model_id: str, name: str) -> str:
    """The id of a model that a person copied by hand, folder and all."""
    folder = librarian.library.root / model_id
    shutil.copytree(folder, folder.with_name(name))
    finished(librarian.scans.start("quick"))
    return model_id.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def twice(librarian, finished, make_model, downloads) -> tuple[str, str]:
    """Two models of the library with the same bytes."""
    path = make_model(downloads / "up.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(path)]}]})
    [one] = finished(librarian.imports.start(request)).result["imported"]
    return one, copied(librarian, finished, one, "up2")


def paths(librarian: Librarian, *model_ids: str) -> list[Path]:
    return [librarian.library.main_path(model_id) for model_id in model_ids]


def left_behind(librarian: Librarian) -> list[str]:
    return sorted(set(os.listdir(librarian.library.root / ".incoming")) - {"metadata.lock", "placed"})


def records(librarian: Librarian) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in librarian.library.root.glob("*/*/*/metadata.json")}


def inodes(*files: Path) -> set[int]:
    return {path.stat().st_ino for path in files}


# --- What is done -------------------------------------------------------------------------------------------


def test_two_models_keep_everything_but_the_room(librarian, finished, twice, downloads):
    other = twice[1]
    librarian.models.edit(other, {"notes": "mine", "tags": ["kept"]})
    files = paths(librarian, *twice)
    data, before = files[0].read_bytes(), records(librarian)
    [group] = librarian.models.duplicates().groups
    assert (group.to_share, [file.can_share for file in group.files]) == (1, [True, True])
    plan = librarian.shares.preview(ShareRequest())
    assert [(file.path, file.keeper, file.way) for file in plan.files] == [
        (str(files[1]), str(files[0]), "hardlink")
    ]
    assert (plan.left, plan.bytes_to_win) == ([], len(data))
    assert len(inodes(*files)) == 2, "a preview changes nothing"

    job = finished(librarian.shares.start(EVERYTHING))
    assert [(item.state, item.name, item.model_id) for item in job.items] == [("done", str(files[1]), other)]
    assert job.result == {"shared": 1, "failed": 0, "bytes_freed": len(data), "left": []}
    assert len(inodes(*files)) == 1
    assert [path.read_bytes() for path in files] == [data, data]
    assert records(librarian) == before
    assert {model.official_name for model in librarian.models.search(ModelQuery()).models} == {"up"}
    assert librarian.models.details(other).notes == "mine"
    assert left_behind(librarian) == []
    assert librarian.models.duplicates().groups == []
    assert librarian.shares.preview(ShareRequest()).files == []


def test_the_next_scans_have_nothing_to_do(librarian, finished, twice):
    finished(librarian.shares.start(EVERYTHING))
    hashes = [librarian.library.files(model_id)[0].sha256 for model_id in twice]
    assert finished(librarian.scans.start("quick")).result["models_indexed"] == 0
    assert [librarian.library.files(model_id)[0].sha256 for model_id in twice] == hashes != [None, None]
    finished(librarian.scans.start("deep"))
    assert librarian.library.usage.count_unhashed() == 0
    assert len(set(hashes)) == 1


def test_what_is_shared_takes_its_room_once(librarian, finished, twice):
    size = paths(librarian, twice[0])[0].stat().st_size
    before = librarian.models.storage()
    assert before.size_bytes == 2 * size
    finished(librarian.shares.start(EVERYTHING))
    report = librarian.models.storage()
    assert report.size_bytes == size
    for shares in (report.by_type, report.by_family, report.by_drive):
        assert [(share.models, share.size_bytes) for share in shares] == [(2, size)]


@pytest.mark.parametrize("fate", ["permanent", "keep"])
def test_one_of_them_is_deleted_and_the_other_lives(librarian, finished, twice, fate):
    files = paths(librarian, *twice)
    data = files[0].read_bytes()
    finished(librarian.shares.start(EVERYTHING))
    librarian.models.delete(twice[0], fate)
    assert files[1].read_bytes() == data
    assert librarian.library.main_path(twice[1]) == files[1]
    assert librarian.models.details(twice[1]).files[0].exists


def test_links_in_apps_go_on_working(librarian, finished, twice, models_folder):
    plan = librarian.links.preview()
    finished(librarian.links.apply(LinkChoice(plan_id=plan.plan_id)))
    links = [path for path in (models_folder / "upscale_models").iterdir() if path.is_symlink()]
    assert links
    targets = [os.readlink(path) for path in links]
    finished(librarian.shares.start(EVERYTHING))
    assert [os.readlink(path) for path in links] == targets
    assert {link.state for link in librarian.links.registered()} == {"ok"}
    assert librarian.linker.health.check().total_issues == 0
    again = librarian.links.preview()
    assert (again.to_create, again.conflicts, again.broken_to_remove) == (
        plan.to_create[:0], plan.conflicts, [],
    )  # fmt: skip


def test_parts_of_sets_share_as_well_but_nothing_that_a_person_may_edit(
    librarian, finished, make_model, downloads
):
    """Two pipelines with the same text encoder, which one of them has twice; their settings are equal, too."""
    encoder = make_model(downloads / "encoder.safetensors", seed=7)
    for number, name in enumerate(("first", "second")):
        folder = downloads / name
        index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
        parts = ("text_encoder", "text_encoder_2") if name == "first" else ("text_encoder",)
        for part in parts:
            index[part] = ["transformers", "CLIPTextModel"]
            (folder / part).mkdir(parents=True)
            shutil.copy(encoder, folder / part / "model.safetensors")
            (folder / part / "config.json").write_text('{"of": "encoder"}')
        make_model(folder / "unet" / "diffusion_pytorch_model.safetensors", seed=number)
        (folder / "model_index.json").write_text(json.dumps(index))
    items = [{"paths": [str(downloads / name)]} for name in ("first", "second")]
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
    assert [item.state for item in job.items] == ["done", "done"], job.items
    job = finished(librarian.shares.start(EVERYTHING))
    assert [item.state for item in job.items] == ["done", "done"], job.items
    root = librarian.library.root
    encoders = list(root.glob("*/*/*/text_encoder*/model.safetensors"))
    assert (len(encoders), len(inodes(*encoders))) == (3, 1)
    configs = list(root.glob("*/*/*/text_encoder*/config.json"))
    assert (len(configs), len(inodes(*configs))) == (3, 3)
    assert job.result["bytes_freed"] == 2 * encoder.stat().st_size
    assert librarian.models.duplicates().groups == []
    assert finished(librarian.scans.start("quick")).result["models_indexed"] == 0


def test_only_some_are_shared_if_some_are_named(librarian, finished, twice, make_model, downloads):
    path = make_model(downloads / "more.safetensors", seed=9)
    request = ImportRequest.model_validate({"items": [{"paths": [str(path)]}]})
    [more] = finished(librarian.imports.start(request)).result["imported"]
    copied(librarian, finished, more, "more2")
    digest = librarian.library.files(more)[0].sha256
    plan = librarian.shares.preview(ShareRequest(sha256=[digest]))
    assert [file.model_id for file in plan.files] == [more.rpartition("/")[0] + "/more2"]
    assert len(librarian.shares.preview(ShareRequest()).files) == 2


# --- Clones -------------------------------------------------------------------------------------------------


@pytest.fixture
def clones(monkeypatch) -> None:
    """A filesystem that shares bytes, as far as that can be played: what is a clone costs room here."""

    def clone(original, file) -> bool:
        file.write(original.read())
        return True

    monkeypatch.setattr(transfer, "clone", clone)
    monkeypatch.setattr(sharing, "way_in", lambda _: "clone")


def test_clones_need_no_agreement_and_keep_times_and_permissions(librarian, finished, twice, clones):
    files = paths(librarian, *twice)
    files[1].chmod(0o640)
    os.utime(files[1], ns=(1, 1_000_000_000_123_456_000))
    finished(librarian.scans.start("quick"))
    finished(librarian.scans.hash_in_background(hurry=True))
    before = files[1].stat()
    job = finished(librarian.shares.start(ShareRequest()))
    assert [item.state for item in job.items] == ["done"], job.items
    after = files[1].stat()
    assert after.st_ino not in (before.st_ino, files[0].stat().st_ino)
    assert (after.st_mtime_ns, after.st_mode, after.st_nlink) == (before.st_mtime_ns, before.st_mode, 1)
    assert finished(librarian.scans.start("quick")).result["models_indexed"] == 0


def test_a_filesystem_that_does_not_share_after_all(librarian, finished, twice, clones, monkeypatch):
    monkeypatch.setattr(transfer, "clone", lambda *_: False)
    files = paths(librarian, *twice)
    before = inodes(*files)
    job = finished(librarian.shares.start(ShareRequest()))
    assert (job.items[0].state, job.items[0].code) == ("failed", "storage_error")
    assert (inodes(*files), left_behind(librarian)) == (before, [])


def test_hard_links_are_made_only_if_agreed_to(librarian, finished, twice):
    job = finished(librarian.shares.start(ShareRequest()))
    assert job.items == []
    assert [file["code"] for file in job.result["left"]] == ["hard_links_not_agreed"]
    assert len(inodes(*paths(librarian, *twice))) == 2


# --- What is left as it is ----------------------------------------------------------------------------------


def left_codes(librarian: Librarian) -> list[str]:
    plan = librarian.shares.preview(ShareRequest())
    assert plan.files == []
    assert all(len(file.reason) > 20 for file in plan.left)
    return [file.code for file in plan.left]


def test_files_with_further_names_elsewhere(librarian, twice, tmp_path):
    files = paths(librarian, *twice)
    os.link(files[1], tmp_path / "mine")  # such as a hard link in an app
    plan = librarian.shares.preview(ShareRequest())
    assert [(file.path, file.keeper) for file in plan.files] == [(str(files[0]), str(files[1]))]
    os.link(files[0], tmp_path / "mine too")
    assert left_codes(librarian) == ["hard_linked"]


def test_write_protected_files_are_what_others_share(librarian, finished, twice):
    """As clones; one file has one set of permissions."""
    files = paths(librarian, *twice)
    files[1].chmod(0o444)
    assert left_codes(librarian) == ["other_owner"]
    files[0].chmod(0o444)
    assert left_codes(librarian) == ["read_only"]


def test_a_file_of_another_owner_keeps_no_others_from_sharing(librarian, finished, twice):
    files = [*paths(librarian, *twice), paths(librarian, copied(librarian, finished, twice[0], "up3"))[0]]
    files[0].chmod(0o600)
    plan = librarian.shares.preview(ShareRequest())
    assert [(file.path, file.keeper) for file in plan.files] == [(str(files[2]), str(files[1]))]
    assert [(file.path, file.code) for file in plan.left] == [(str(files[1]), "other_owner")]


def test_a_filesystem_without_either(librarian, twice, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    assert left_codes(librarian) == ["no_sharing"]


def test_links_and_what_is_gone(librarian, twice, tmp_path):
    files = paths(librarian, *twice)
    files[1].rename(tmp_path / "moved")
    assert left_codes(librarian) == ["not_there"]
    files[1].symlink_to(tmp_path / "moved")
    assert left_codes(librarian) == ["is_link"]


def test_another_filesystem(librarian, finished, twice, tmpfs):
    folder = paths(librarian, *twice)[1].parent
    elsewhere = tmpfs("size=4m")
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.mkdir()
    subprocess.run(["mount", "--bind", str(elsewhere), str(folder)], check=True)
    try:
        for path in kept.iterdir():
            shutil.copy2(path, folder)
        shutil.rmtree(kept)
        finished(librarian.scans.start("deep"))
        assert left_codes(librarian) == ["other_filesystem"]
        [group] = librarian.models.duplicates().groups
        assert (group.to_share, group.files[0].can_share) == (0, False)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def expect_untouched(librarian, finished, twice, code: str) -> str:
    """Sharing fails with a code and changes neither file; the message."""
    files = paths(librarian, *twice)
    job = finished(librarian.shares.start(EVERYTHING))
    assert [(item.state, item.code) for item in job.items] == [("failed", code)], job.items
    assert job.result["bytes_freed"] == 0
    assert left_behind(librarian) == []
    assert len(inodes(*files)) == 2
    return job.items[0].message


def test_other_bytes_are_refused_whatever_the_index_says(librarian, finished, twice):
    files = paths(librarian, *twice)
    before = files[1].stat()
    data = files[1].read_bytes()
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    with open(files[1], "r+b") as file:
        file.write(damaged)
    os.utime(files[1], ns=(before.st_atime_ns, before.st_mtime_ns))  # as a dying disk would
    assert "different bytes" in expect_untouched(librarian, finished, twice, "conflict")
    assert [path.read_bytes() for path in files] == [data, damaged]


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_changes_while_it_is_read(librarian, finished, twice, monkeypatch, which):
    files = paths(librarian, *twice)
    real = sharing.hash_file

    def change(path, progress, check):
        found = real(path, progress, check)
        if path == files[1]:
            os.utime(files[which], ns=(1, 1))
        return found

    monkeypatch.setattr(sharing, "hash_file", change)
    expect_untouched(librarian, finished, twice, "source_changed")


def test_a_file_that_vanishes_meanwhile(librarian, finished, twice, monkeypatch):
    files = paths(librarian, *twice)
    real = sharing.hash_file

    def vanish(path, progress, check):
        found = real(path, progress, check)
        if path == files[1]:
            path.unlink()
        return found

    monkeypatch.setattr(sharing, "hash_file", vanish)
    job = finished(librarian.shares.start(EVERYTHING))
    assert [(item.state, item.code) for item in job.items] == [("failed", "source_changed")]
    assert (files[0].exists(), files[1].exists(), left_behind(librarian)) == (True, False, [])


def test_a_model_that_is_deleted_by_another_process_meanwhile_stays_deleted(
    librarian, finished, twice, monkeypatch, surroundings
):
    other = Librarian(surroundings.model_copy(update={"data_dir": surroundings.data_dir.with_name("other")}))
    other.jobs.wait(other.scans.start("quick").id, timeout=60)
    files = paths(librarian, *twice)
    real = sharing.hash_file

    def delete(path, progress, check):
        found = real(path, progress, check)
        if path == files[1]:
            other.models.delete(twice[1], "permanent")
        return found

    monkeypatch.setattr(sharing, "hash_file", delete)
    job = finished(librarian.shares.start(EVERYTHING))
    other.close()
    assert [(item.state, item.code) for item in job.items] == [("failed", "source_changed")]
    assert (files[0].exists(), files[1].parent.exists(), left_behind(librarian)) == (True, False, [])


def test_cancelled_between_two_files_what_is_done_stays(librarian, finished, twice, monkeypatch):
    third = copied(librarian, finished, twice[0], "up3")
    files = paths(librarian, twice[0], twice[1], third)
    real = sharing.Sharing.share

    def share_then_cancel(self, file, progress):
        real(self, file, progress)
        [job] = [job for job in librarian.jobs.all() if job.kind == "share"]
        librarian.jobs.cancel(job.id)

    monkeypatch.setattr(sharing.Sharing, "share", share_then_cancel)
    job = finished(librarian.shares.start(EVERYTHING))
    assert (job.state, [item.state for item in job.items]) == ("cancelled", ["done", "cancelled"])
    assert (job.result["shared"], job.result["bytes_freed"]) == (1, files[0].stat().st_size)
    assert (len(inodes(*files)), left_behind(librarian)) == (2, [])
    monkeypatch.undo()
    assert finished(librarian.shares.start(EVERYTHING)).result["shared"] == 1
    assert len(inodes(*files)) == 1


def test_cancelled_within_a_file_it_is_as_it_was(librarian, finished, twice, monkeypatch):
    real = JobContext.advance

    def cancel(self, current):
        real(self, current)
        if self.job.kind == "share":
            self.request_cancel()

    monkeypatch.setattr(JobContext, "advance", cancel)
    job = finished(librarian.shares.start(EVERYTHING))
    assert (job.state, [item.state for item in job.items]) == ("cancelled", ["cancelled"])
    assert (len(inodes(*paths(librarian, *twice))), left_behind(librarian)) == (2, [])


@pytest.mark.parametrize(("renamed", "outcome"), [(False, "undone"), (True, "finished")])
def test_the_next_start_says_what_was_cut_off(librarian, finished, twice, monkeypatch, renamed, outcome):
    files = paths(librarian, *twice)
    real = Path.replace

    def cut_off(path, target):
        if path.name == files[1].name:
            if renamed:
                real(path, target)
            raise OSError(errno.EIO, "cut off")
        return real(path, target)

    monkeypatch.setattr(
        journal.Journal, "_close", lambda _, staging: staging.lock.release()
    )  # as a kill would
    monkeypatch.setattr(Path, "replace", cut_off)
    assert finished(librarian.shares.start(EVERYTHING)).items[0].state == "failed"
    monkeypatch.undo()
    assert left_behind(librarian) != []
    librarian.imports.recover()
    [job] = [job for job in librarian.jobs.all() if job.state == "interrupted"]
    assert (job.kind, job.items[0].message) == (
        "share",
        f"Sharing the bytes was cut off and is now {outcome}.",
    )
    assert (len(inodes(*files)), left_behind(librarian)) == (1 if renamed else 2, [])
    assert finished(librarian.scans.start("quick")).result["models_indexed"] == 0
    assert finished(librarian.shares.start(EVERYTHING)).result["shared"] == (0 if renamed else 1)


def test_two_processes_share_the_same_files(librarian, finished, twice, surroundings):
    for number in range(3, 9):
        copied(librarian, finished, twice[0], f"up{number}")
    other = Librarian(surroundings.model_copy(update={"data_dir": surroundings.data_dir.with_name("other")}))
    other.jobs.wait(other.scans.start("quick").id, timeout=60)
    jobs = [(one, one.shares.start(EVERYTHING)) for one in (librarian, other)]
    ended = [one.jobs.wait(job.id, timeout=60) for one, job in jobs]
    other.close()
    assert {item.state for job in ended for item in job.items} <= {"done", "failed"}
    assert {item.code for job in ended for item in job.items} <= {None, "source_changed"}, ended
    models = list(librarian.library.root.glob("*/*/up*/up.safetensors"))
    assert (len(models), len(inodes(*models)), left_behind(librarian)) == (8, 1, [])


def test_a_full_disk_changes_nothing(librarian, finished, twice, clones, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(transfer, "clone", full)
    message = expect_untouched(librarian, finished, twice, "insufficient_space")
    assert "Nothing was changed" in message
    assert ".incoming" not in message


def test_all_names_of_a_copy_are_replaced_and_count_once(librarian, finished, twice):
    files = paths(librarian, *twice)
    third = copied(librarian, finished, twice[0], "up3")
    last = paths(librarian, third)[0]
    last.unlink()
    os.link(files[1], last)
    finished(librarian.scans.start("quick"))
    finished(librarian.scans.hash_in_background(hurry=True))
    size = last.stat().st_size
    plan = librarian.shares.preview(ShareRequest())
    assert (len(plan.files), plan.bytes_to_win) == (2, size)
    job = finished(librarian.shares.start(EVERYTHING))
    assert (job.result["shared"], job.result["bytes_freed"]) == (2, size)
    assert len(inodes(*files, last)) == 1


def test_a_library_that_is_not_there_is_said(librarian, twice):
    (librarian.library.root / "library.json").unlink()
    with pytest.raises(StorageError, match="cannot be reached"):
        librarian.shares.preview(ShareRequest())
