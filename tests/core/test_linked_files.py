"""Model files that a link in an app's folder leads to, such as those of another drive or of Hugging Face's cache."""

from __future__ import annotations

import os
import shutil

import pytest

from model_librarian.core.importing import ImportRequest
from model_librarian.core.library import ModelQuery
from model_librarian.core.workflows.reading import ModelReference


@pytest.fixture
def rescan(librarian, finished):
    """Scan again, in all ways that there are, and answer what is listed then: each name with its id."""

    def work(kinds=("quick", "deep", "quick")):
        found = []
        for kind in kinds:
            job = finished(librarian.scans.start(kind))
            assert job.state == "done", job.error
            models = librarian.models.search(ModelQuery(limit=500)).models
            assert all(librarian.library.files(model.model_id) for model in models)
            found.append({model.official_name: model.model_id for model in models})
        assert all(listed == found[0] for listed in found)
        return found[0]

    return work


@pytest.fixture
def far(tmp_path, make_model):
    """A file of a drive that no app looks into."""
    return make_model(tmp_path / "drive" / "blobs" / "4f2a")


@pytest.fixture
def link(models_folder, far):
    """The link to it in an app's folder."""
    link = models_folder / "loras" / "styles" / "my style.safetensors"
    link.parent.mkdir()
    link.symlink_to(far)
    return link


def test_a_linked_file_is_one_model_with_the_name_that_the_app_shows(librarian, rescan, link, far):
    [(name, model_id)] = rescan().items()
    assert name == "my style"
    assert rescan() == {name: model_id}
    [file] = librarian.library.files(model_id)
    assert (file.path, file.link) == (str(far), str(link))
    assert librarian.models.search(ModelQuery(q="style my")).total == 1
    assert librarian.library.main_path(model_id) == far


def test_it_is_hashed_once_and_its_hash_stays(librarian, rescan, finished, link):
    [model_id] = rescan().values()
    assert finished(librarian.scans.hash_in_background(hurry=True)).state == "done"
    digests = librarian.library.hash_of(model_id)
    rescan()
    [file] = librarian.library.files(model_id)
    assert (file.sha256, file.blake3) == digests


@pytest.mark.parametrize("gone", ["link", "target", "folder of the link", "folder of the target"])
def test_a_model_goes_with_its_link_or_its_file(librarian, rescan, link, far, gone):
    assert len(rescan()) == 1
    if gone in ("link", "target"):
        (link if gone == "link" else far).unlink()
    else:
        shutil.rmtree(link.parent if gone == "folder of the link" else far.parent)
    assert rescan() == {}


def test_a_watched_folder_that_is_away_takes_no_linked_model_with_it(rescan, models_folder, link):
    before = rescan()
    (models_folder / "loras").rename(models_folder / "away")
    assert rescan() == before


def test_of_two_links_the_other_takes_over(librarian, rescan, models_folder, link, far):
    other = models_folder / "vae" / "another name.safetensors"
    other.parent.mkdir(exist_ok=True)
    other.symlink_to(far)
    [model_id] = rescan().values()
    digests = librarian.library.hash_of(model_id)
    [file] = librarian.library.files(model_id)
    met, left = (link, other) if file.link == str(link) else (other, link)
    met.unlink()
    assert [*rescan().values()] == [model_id]
    [file] = librarian.library.files(model_id)
    assert (file.link, (file.sha256, file.blake3)) == (str(left), digests)


def test_a_link_that_leads_elsewhere_now_is_another_model(librarian, rescan, make_model, tmp_path, link):
    assert len(rescan()) == 1
    link.unlink()
    link.symlink_to(make_model(tmp_path / "drive" / "blobs" / "77aa"))
    [(name, model_id)] = rescan().items()
    assert name == "my style"
    assert librarian.library.files(model_id)[0].path.endswith("77aa")


def test_a_file_takes_the_place_of_its_link(librarian, rescan, link, far):
    rescan()
    link.unlink()
    shutil.copyfile(far, link)
    [(name, model_id)] = rescan().items()
    [file] = librarian.library.files(model_id)
    assert (name, file.path, file.link) == ("my style", str(link), None)


def test_a_link_to_a_model_that_a_person_put_on_the_list_is_that_model(
    librarian, rescan, finished, make_model, downloads, models_folder
):
    path = make_model(downloads / "kept there.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(path)], "mode": "in-place"}]})
    assert finished(librarian.imports.start(request)).state == "done"
    before = rescan()
    link = models_folder / "loras" / "its link.safetensors"
    link.symlink_to(path)
    link.with_suffix(".png").write_bytes(b"a picture")
    assert rescan() == before == {"kept there": before["kept there"]}
    [file] = librarian.library.files(before["kept there"])
    assert (file.path, file.link) == (str(path), str(link))  # apps have it under that name
    link.unlink()
    assert rescan() == before
    [file] = librarian.library.files(before["kept there"])
    assert (file.path, file.link, file.folder) == (str(path), None, "")


def test_shards_that_are_links_are_one_model(librarian, rescan, make_model, models_folder, tmp_path):
    for number in (1, 2):
        name = f"big-0000{number}-of-00002.safetensors"
        (models_folder / "text_encoders").mkdir(exist_ok=True)
        target = make_model(tmp_path / "drive" / f"blob{number}")
        (models_folder / "text_encoders" / name).symlink_to(target)
    [(name, model_id)] = rescan().items()
    assert (name, len(librarian.library.files(model_id))) == ("big", 2)


def test_what_lies_beside_the_link_belongs_to_it(librarian, rescan, link):
    link.with_suffix(".png").write_bytes(b"a picture")
    [model_id] = rescan().values()
    assert librarian.library.preview(model_id) == link.with_suffix(".png")
    assert librarian.library.summary(model_id).preview_url


def test_a_workflow_finds_it_under_the_name_of_its_link(librarian, rescan, link):
    [model_id] = rescan().values()
    [app] = librarian.linker.apps
    for name, state in (("styles/my style.safetensors", "present"), ("my style.safetensors", "elsewhere")):
        [found] = librarian.workflows.resolve([ModelReference(folder="loras", name=name)], app.app)
        assert (found.state, found.model_id, found.value) == (
            state,
            model_id,
            os.path.join("styles", link.name),
        )


def test_a_link_that_a_person_removes_is_news(librarian, rescan, link):
    rescan()
    assert not librarian.library.is_news(link)
    link.unlink()
    assert librarian.library.is_news(link)
    assert librarian.library.is_news(link.parent.parent / "nothing like it") is False


def test_two_listings_of_one_file_by_an_earlier_version_become_one(librarian, rescan, link):
    [model_id] = rescan().values()
    digests = librarian.library.hash_of(model_id)
    with librarian.library._database.write() as db:
        db.execute("UPDATE model_files SET link = NULL")
    assert [*rescan().values()] == [model_id]
    [file] = librarian.library.files(model_id)
    assert (file.link, (file.sha256, file.blake3)) == (str(link), digests)


@pytest.mark.parametrize("first_gone", [True, False], ids=["moved", "another"])
def test_the_files_of_a_linked_folder_are_what_the_folder_of_the_link_says(
    librarian, rescan, make_model, models_folder, tmp_path, first_gone
):
    make_model(tmp_path / "drive" / "a.safetensors")
    first, second = models_folder / "vae" / "mine", models_folder / "loras" / "mine"
    first.parent.mkdir(exist_ok=True)
    first.symlink_to(tmp_path / "drive")
    known = rescan()
    [model] = librarian.models.search(ModelQuery()).models
    assert model.subtype == "vae"
    second.symlink_to(tmp_path / "drive")
    if first_gone:
        first.unlink()
    assert rescan() == known
    [model] = librarian.models.search(ModelQuery()).models
    assert model.subtype == "loras"  # of two the first by name, as a new index has it


def test_an_edited_model_stays_listed_without_its_link(librarian, rescan, finished, link, far):
    [model_id] = rescan().values()
    librarian.models.edit(model_id, {"notes": "mine"})
    link.unlink()
    for kind in ("deep", "quick", "deep"):  # as a new index has it
        finished(librarian.scans.start(kind))
        assert [found.model_id for found in librarian.models.search(ModelQuery()).models] == [model_id]
        [file] = librarian.library.files(model_id)
        assert (file.path, file.link, file.folder) == (str(far), None, "")
    assert librarian.models.details(model_id).notes == "mine"
    link.symlink_to(far)
    assert [*rescan().values()] == [model_id]
    far.unlink()
    link.unlink()
    assert rescan() == {}


def test_edited_files_of_a_folder_that_becomes_a_model_are_that_models(
    librarian, rescan, finished, make_model, models_folder
):
    folder = models_folder / "checkpoints" / "pipe"
    for name in ("a", "b", "c"):
        make_model(folder / f"{name}.safetensors")
    for model_id in rescan().values():
        librarian.models.edit(model_id, {"notes": "mine"})
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    for kind in ("quick", "deep", "quick"):
        finished(librarian.scans.start(kind))
        [model] = librarian.models.search(ModelQuery()).models
        assert len(librarian.library.files(model.model_id)) == 4
