"""Models of several files: sharded sets and Diffusers folders, in app folders, elsewhere, and in the library."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery
from model_librarian.core.library.metadata import serialise
from model_librarian.core.library.records import Model, ModelFile


def shard(number, total=3, name="llm"):
    return f"{name}-{number:05}-of-{total:05}.safetensors"


@pytest.fixture
def sharded(make_model, models_folder):
    folder = models_folder / "text_encoders" / "llm"
    for number in (1, 2, 3):
        make_model(folder / shard(number), {f"layer{number}.weight": (4, number)})
    return folder


@pytest.fixture
def pipeline(make_model, models_folder):
    def make(folder=models_folder / "checkpoints" / "my-sdxl"):
        index = {"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
        folder.mkdir(parents=True)
        (folder / "model_index.json").write_text(json.dumps(index))
        make_model(folder / "unet" / "diffusion_pytorch_model.safetensors", {"conv_in.weight": (8, 8)})
        make_model(folder / "vae" / "diffusion_pytorch_model.safetensors", {"decoder.weight": (16, 16)})
        (folder / "unet" / "config.json").write_text("{}")
        return folder

    return make


def only(librarian):
    [model] = librarian.models.search(ModelQuery()).models
    return model


def paths(librarian, model_id):
    return [file.path for file in librarian.library.files(model_id)]


@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_a_sharded_set_in_an_app_is_one_model(librarian, scan, sharded, kind):
    scan(kind)
    model = only(librarian)
    assert (model.official_name, model.model_format, model.problem) == ("llm", "sharded-set", None)
    assert model.size_bytes == sum(path.stat().st_size for path in sharded.iterdir())
    assert paths(librarian, model.model_id) == [str(sharded / shard(number)) for number in (1, 2, 3)]
    files = librarian.library.model(model.model_id).files
    assert [(file.shard_index, file.shard_total) for file in files] == [(1, 3), (2, 3), (3, 3)]
    assert librarian.library.main_path(model.model_id) == sharded / shard(1)
    digest = hashlib.sha256((sharded / shard(1)).read_bytes()).hexdigest()
    assert librarian.library.hash_of(model.model_id)[0] == digest
    assert librarian.library.find_file_by_hash(digest) == sharded / shard(1)
    for again in ("quick", "deep"):
        assert scan(again)["models_indexed"] == 0


def test_a_part_that_comes_and_goes(librarian, scan, sharded, make_model):
    away = sharded.parent / "part.away"
    (sharded / shard(2)).rename(away)
    scan()
    model = only(librarian)
    assert "part 2 of 3 is missing" in model.problem
    assert model.problem_said.code == "download_parts"
    assert model.problem_said.parameters["problem"].parameters["number"] == "2"
    assert librarian.models.details(model.model_id).problem_said == model.problem_said
    away.rename(sharded / shard(2))
    scan()
    assert (only(librarian).model_id, only(librarian).problem) == (model.model_id, None)
    (sharded / shard(3)).unlink()
    scan()
    assert "part 3 of 3 is missing" in only(librarian).problem
    assert only(librarian).model_id == model.model_id
    assert len(paths(librarian, model.model_id)) == 2
    shutil.rmtree(sharded)
    scan()
    assert librarian.models.search(ModelQuery()).total == 0


def test_a_renamed_set_keeps_identity_edits_and_hashes(librarian, scan, sharded):
    scan()
    model_id = only(librarian).model_id
    digest = librarian.library.hash_of(model_id)
    librarian.models.edit(model_id, {"tags": ["mine"]})
    moved = sharded.with_name("renamed")
    sharded.rename(moved)
    scan()
    assert only(librarian).model_id == model_id
    assert librarian.library.model(model_id).tags == ["mine"]
    assert paths(librarian, model_id) == [str(moved / shard(number)) for number in (1, 2, 3)]
    assert librarian.library.index.files(model_id)[0].sha256 == digest[0]
    written = json.loads((librarian.library.root / model_id / "metadata.json").read_text())
    assert [file["name"] for file in written["files"]] == paths(librarian, model_id)


@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_a_renamed_set_or_folder_is_called_by_its_new_name(librarian, scan, sharded, pipeline, kind):
    def listed():
        return {model.official_name: model.model_id for model in librarian.models.search(ModelQuery()).models}

    folder = pipeline()
    scan()
    before = listed()
    for part in list(sharded.iterdir()):
        part.rename(part.with_name(part.name.replace("llm", "other")))
    folder.rename(folder.with_name("mine"))
    scan(kind)
    assert listed() == {"other": before["llm"], "mine": before["my-sdxl"]}


def test_numbered_loras_stay_models_of_their_own(librarian, scan, make_model, models_folder):
    for number in (1, 2, 3):
        make_model(models_folder / "loras" / f"style_{number:05}.safetensors")
    make_model(models_folder / "loras" / "alone-00001-of-00001.safetensors")
    scan()
    found = librarian.models.search(ModelQuery()).models
    assert len(found) == 4
    assert {model.model_format for model in found} == {"single-file"}


def test_sets_with_the_names_that_all_have_are_called_like_their_folders(
    librarian, scan, make_model, models_folder
):
    for folder in ("qwen", "gemma"):
        for number in (1, 2):
            make_model(
                models_folder / "text_encoders" / folder / shard(number, 2, "model"), {folder: (number, 2)}
            )
    scan()
    names = {model.official_name for model in librarian.models.search(ModelQuery()).models}
    assert names == {"qwen", "gemma"}


@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_a_diffusers_folder_in_an_app_is_one_model(librarian, scan, pipeline, kind):
    folder = pipeline()
    scan(kind)
    model = only(librarian)
    assert (model.official_name, model.model_format) == ("my-sdxl", "diffusion-folder")
    assert (model.problem, model.family, model.security_tier) == (None, "sdxl", "safe")
    assert (
        librarian.library.main_path(model.model_id) == folder / "unet" / "diffusion_pytorch_model.safetensors"
    )
    assert len(paths(librarian, model.model_id)) == 4
    for again in ("quick", "deep"):
        assert scan(again)["models_indexed"] == 0
    (folder / "vae" / "extra.json").write_text("{}")
    scan()
    assert only(librarian).model_id == model.model_id
    assert len(paths(librarian, model.model_id)) == 5
    folder.rename(folder.with_name("renamed"))
    scan()
    assert only(librarian).model_id == model.model_id
    shutil.rmtree(folder.with_name("renamed"))
    scan()
    assert librarian.models.search(ModelQuery()).total == 0


def test_a_folder_for_whole_models_is_indexed(librarian, scan, surroundings, pipeline, models_folder):
    pipeline(models_folder / "diffusers" / "flux")
    librarian.close()
    from model_librarian.core.settings import app_of_models_folder

    again = Librarian(surroundings.model_copy(update={"apps": [app_of_models_folder(models_folder)]}))
    again.jobs.wait(again.scans.start("quick").id)
    assert (only(again).official_name, only(again).subtype) == ("flux", "diffusers")
    again.close()


def test_what_was_listed_as_loose_files_becomes_one_model(librarian, scan, sharded, surroundings):
    """A database of an earlier version listed every part by itself."""
    hidden = [sharded / shard(number) for number in (2, 3)]
    (sharded / shard(1)).rename(sharded / "llm.safetensors")
    for number, path in enumerate(hidden):
        path.rename(sharded / f"other{number}.safetensors")
    scan()
    assert librarian.models.search(ModelQuery()).total == 3
    (sharded / "llm.safetensors").rename(sharded / shard(1))
    for number, path in enumerate(hidden):
        (sharded / f"other{number}.safetensors").rename(path)
    scan()
    assert only(librarian).model_format == "sharded-set"
    assert len(paths(librarian, only(librarian).model_id)) == 3


@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_an_edited_file_that_becomes_part_of_a_diffusers_folder_stays_edited(
    librarian, scan, make_model, models_folder, kind, monkeypatch
):
    # Hashing would write the record anew.
    monkeypatch.setattr(librarian.library.usage, "has_unhashed", lambda: False)
    folder = models_folder / "checkpoints" / "mine"
    make_model(folder / "unet.safetensors")
    scan()
    model_id = only(librarian).model_id
    librarian.models.edit(model_id, {"tags": ["best"]})
    make_model(folder / "vae.safetensors")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    for _ in range(2):
        scan(kind)
        model = only(librarian)
        assert (model.model_id, model.model_format, model.tags) == (model_id, "diffusion-folder", ["best"])
        details = librarian.models.details(model_id)
        assert [file.name for file in details.files] == paths(librarian, model_id)
        assert len(details.files) == 3
        assert model.size_bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_a_pickle_in_any_part_makes_the_whole_a_pickle(librarian, scan, pipeline):
    import pickle

    folder = pipeline()
    (folder / "vae" / "weights.bin").write_bytes(pickle.dumps({"weight": 1}, protocol=2))
    scan()
    assert only(librarian).security_tier == "pickle"


# In place, anywhere


@pytest.fixture
def declare(librarian, make_model, downloads):
    """A model whose files lie outside all watched folders, as an import in place writes it down."""

    def make(names=("far.safetensors",), model_format="single-file", place="in-place/far-1"):
        files = []
        for number, name in enumerate(names):
            path = make_model(downloads / "models" / name, {f"w{number}": (4, 4)})
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            files.append(ModelFile(name=str(path), size=path.stat().st_size, sha256=digest))
        model = Model(
            model_id=place,
            official_name="far away",
            cleaned_name="far-1",
            storage="in-place",
            model_format=model_format,
            files=files,
            size_bytes=sum(file.size for file in files),
            tags=["declared"],
        )
        folder = librarian.library.root / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metadata.json").write_bytes(serialise(model))
        return model

    return make


SETS = [
    (("far.safetensors",), "single-file"),
    (tuple(shard(number, name="far") for number in (1, 2, 3)), "sharded-set"),
    (("unet/x.safetensors", "vae/y.safetensors"), "diffusion-folder"),
]


@pytest.mark.parametrize(("names", "model_format"), SETS)
@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_a_model_elsewhere_is_listed_and_survives(
    librarian, scan, declare, surroundings, names, model_format, kind
):
    declared = declare(names, model_format)
    scan(kind)
    model = only(librarian)
    assert (model.model_id, model.storage, model.model_format) == (
        "in-place/far-1",
        "in-place",
        model_format,
    )
    assert paths(librarian, model.model_id) == [file.name for file in declared.files]
    assert librarian.models.search(ModelQuery(q="declared")).total == 1
    librarian.library.index.touch(model.model_id)
    for again in ("quick", "deep", "quick"):
        assert scan(again)["models_indexed"] == 0
        assert only(librarian).model_id == model.model_id
    librarian.models.edit(model.model_id, {"notes": "kept"})
    librarian.close()
    (surroundings.data_dir / "models.db").unlink()
    anew = Librarian(surroundings)
    anew.jobs.wait(anew.scans.start(kind).id)
    assert anew.library.model("in-place/far-1").notes == "kept"
    assert paths(anew, "in-place/far-1") == [file.name for file in declared.files]
    assert anew.library.find_file_by_hash(declared.files[0].sha256)
    anew.close()


@pytest.mark.parametrize(("names", "model_format"), SETS)
@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_files_that_are_gone_make_a_phantom_that_comes_back(
    librarian, scan, declare, names, model_format, kind
):
    declared = declare(names, model_format)
    scan()
    last = declared.files[-1].name
    os.rename(last, last + ".away")
    result = scan(kind)
    assert result["models_skipped_missing_files"] == 1
    assert librarian.models.search(ModelQuery()).total == 0
    assert scan(kind)["models_skipped_missing_files"] == 1
    os.rename(last + ".away", last)
    scan(kind)
    assert only(librarian).model_id == declared.model_id
    assert librarian.library.model(declared.model_id).tags == ["declared"]


@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_while_its_drive_is_missing_a_model_stays_listed_with_its_problem(
    librarian, scan, declare, downloads, kind
):
    declared = declare()
    scan()
    librarian.library.index.touch(declared.model_id)
    (downloads / "models").rename(downloads / "unplugged")
    for _ in range(2):
        result = scan(kind)
        assert result["models_skipped_missing_files"] == 1
        assert "Connect its drive" in only(librarian).problem
    (downloads / "unplugged").rename(downloads / "models")
    scan(kind)
    assert only(librarian).problem is None
    row = librarian.library._database.read().execute("SELECT last_used FROM models").fetchone()
    assert row[0]


def test_a_file_elsewhere_that_is_replaced_loses_its_hash(librarian, scan, declare, make_model):
    declared = declare()
    scan()
    path = declared.files[0].name
    before = librarian.library.hash_of(declared.model_id)
    data = bytearray(Path(path).read_bytes())
    data[-1] ^= 1
    Path(path).write_bytes(data)
    os.utime(path, ns=(9, 9))
    scan()
    assert librarian.library.index.files(declared.model_id)[0].sha256 is None
    assert librarian.library.hash_of(declared.model_id) != before


def test_what_is_no_longer_written_down_is_no_longer_listed(librarian, scan, declare):
    declared = declare()
    scan()
    shutil.rmtree(librarian.library.root / declared.model_id)
    scan()
    assert librarian.models.search(ModelQuery()).total == 0


def test_a_relative_or_hostile_path_lists_nothing(librarian, scan, declare):
    declared = declare()
    path = librarian.library.root / declared.model_id / "metadata.json"
    for name in ("far.safetensors", "../../../etc/passwd", "a\0b", ""):
        content = json.loads(path.read_text())
        content["files"][0]["name"] = name
        path.write_text(json.dumps(content))
        assert scan()["models_skipped_missing_files"] == 1
        assert librarian.models.search(ModelQuery()).total == 0


# In the library


@pytest.fixture
def owned_set(librarian, make_model):
    def make(names, model_format, place="llm/qwen/big"):
        folder = librarian.library.root / place
        files = []
        for number, name in enumerate(names):
            path = make_model(folder / name, {f"w{number}": (4, 4)})
            files.append(ModelFile(name=name, size=path.stat().st_size))
        model = Model(
            model_id=place,
            official_name="big",
            cleaned_name="big",
            model_format=model_format,
            files=files,
        )
        (folder / "metadata.json").write_bytes(serialise(model))
        return folder

    return make


@pytest.mark.parametrize(("names", "model_format"), SETS[1:])
@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_an_owned_model_of_several_files(librarian, scan, owned_set, names, model_format, kind):
    folder = owned_set(names, model_format)
    scan(kind)
    model = only(librarian)
    assert paths(librarian, model.model_id) == [str(folder / name) for name in names]
    assert librarian.library.main_path(model.model_id) == folder / names[0]
    assert librarian.library.hash_of(model.model_id)
    for again in ("quick", "deep"):
        assert scan(again)["models_indexed"] == 0
    (folder / names[-1]).unlink()
    result = scan(kind)
    assert (result["models_skipped_missing_files"], result["models_found"]) == (1, 1)
    assert librarian.models.search(ModelQuery()).total == 0


def test_an_owned_file_must_not_lie_elsewhere(librarian, scan, owned_set, downloads, make_model):
    folder = owned_set(("a/x.safetensors",), "diffusion-folder")
    shutil.rmtree(folder / "a")
    make_model(downloads / "a" / "x.safetensors", {"w0": (4, 4)})
    (folder / "a").symlink_to(downloads / "a")
    [error] = scan()["errors"]
    assert "outside its folder" in error


def test_a_model_whose_metadata_is_damaged_is_listed_from_its_files(librarian, scan, owned_set, surroundings):
    folder = owned_set(("one.safetensors",), "single-file")
    (folder / "metadata.json").write_text("{ damaged")
    for kind in ("quick", "deep", "quick"):
        result = scan(kind)
        assert "damaged" in result["errors"][0]
        model = only(librarian)
        assert model.model_id == "llm/qwen/big"
        assert "damaged" in model.problem
        assert librarian.library.main_path(model.model_id) == folder / "one.safetensors"
    owned_set(("one.safetensors",), "single-file")
    scan()
    assert only(librarian).problem is None


def test_equal_files_within_one_model_are_no_duplicates(librarian, scan, declare):
    one = declare(("unet/x.safetensors", "vae/y.safetensors"), "diffusion-folder")
    other = declare(("again.safetensors",), place="in-place/again-1")
    first = one.files[0]

    def say_equal(model, position):
        shutil.copy(first.name, model.files[position].name)
        path = librarian.library.root / model.model_id / "metadata.json"
        content = json.loads(path.read_text())
        content["files"][position].update(size=first.size, sha256=first.sha256)
        path.write_text(json.dumps(content))

    say_equal(one, 1)
    scan()
    assert librarian.library.usage.duplicates().groups == []
    say_equal(other, 0)
    scan()
    [group] = librarian.library.usage.duplicates().groups
    assert {file.model_id for file in group.files} == {one.model_id, other.model_id}
