"""What an inspection says of single files, sharded sets and Diffusers folders."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from model_librarian.core.errors import NotFoundError
from model_librarian.core.importing.duplicates import FileBytes, model_with_files
from model_librarian.core.importing.records import ImportGroup
from model_librarian.core.librarian import Librarian
from model_librarian.core.storage.sandbox import Sandbox

FLUX = {
    "double_blocks.0.img_attn.norm.key_norm.scale": (4,),
    "single_blocks.0.linear1.weight": (4, 4),
    "img_in.weight": (4, 4),
    "guidance_in.in_layer.weight": (4, 4),
}


def only_group(librarian: Librarian, *paths: Path) -> ImportGroup:
    [group] = librarian.imports.inspect([str(path) for path in paths]).groups
    return group


@pytest.fixture
def flux_set(make_model, downloads) -> Path:
    """A FLUX model in two parts, neither of which tells by itself what it is."""
    folder = downloads / "set"
    names = list(FLUX)
    for number, part in enumerate((names[:1], names[1:]), start=1):
        make_model(folder / f"painter-0000{number}-of-00002.safetensors", {name: FLUX[name] for name in part})
    return folder


@pytest.fixture
def pipeline(make_model, downloads) -> Path:
    """An SDXL Diffusers folder."""
    folder = downloads / "Dream v2.1"
    make_model(folder / "unet" / "diffusion_pytorch_model.safetensors", {"conv_in.weight": (4, 4, 3, 3)})
    make_model(folder / "vae" / "diffusion_pytorch_model.safetensors", {"decoder.conv_in.weight": (4, 4)})
    (folder / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    (folder / "README.md").write_text("# Dream")
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_set_is_one_group_and_is_known_by_all_its_parts(librarian, flux_set):
    group = only_group(librarian, flux_set)
    assert (group.name, group.format, group.complete) == ("painter.safetensors", "sharded-set", True)
    assert group.size_bytes == sum(file.stat().st_size for file in flux_set.iterdir())
    assert (group.guess.family, group.guess.subtype) == ("flux", "diffusion_models")
    assert group.security_tier == "safe"
    assert group.importable


def test_a_set_with_a_missing_part_cannot_be_imported(librarian, flux_set):
    (flux_set / "painter-00002-of-00002.safetensors").unlink()
    group = only_group(librarian, flux_set)
    assert (group.complete, group.missing_shards, group.importable) == (False, [2], False)
    assert "part 2 of 2 is missing" in group.problem
    assert group.guess is not None


def test_a_set_with_one_bad_part_is_refused_by_its_name(librarian, flux_set):
    (flux_set / "painter-00002-of-00002.safetensors").write_text("<!DOCTYPE html><html>log in</html>")
    group = only_group(librarian, flux_set)
    assert not group.importable
    assert "painter-00002-of-00002.safetensors is a web page" in group.problem


def test_a_set_has_the_worst_tier_of_its_parts(librarian, flux_set, make_torch_zip):
    make_torch_zip(flux_set / "painter-00002-of-00002.safetensors")
    assert only_group(librarian, flux_set).security_tier == "pickle"


def test_pieces_of_one_file_are_read_as_one(librarian, make_model, downloads):
    whole = make_model(downloads / "painter.safetensors", FLUX)
    data = whole.read_bytes()
    whole.unlink()
    cut = len(data) - 20
    (downloads / "painter.safetensors.part1").write_bytes(data[:cut])
    (downloads / "painter.safetensors.part2").write_bytes(data[cut:])
    group = only_group(librarian, downloads)
    assert (group.name, group.size_bytes, group.security_tier) == ("painter.safetensors", len(data), "safe")
    assert group.guess.family == "flux"
    assert group.importable
    (downloads / "painter.safetensors.part2").write_bytes(data[cut:-1])
    assert "cut short" in only_group(librarian, downloads).problem


def test_a_diffusers_folder_is_what_its_class_says(librarian, pipeline):
    group = only_group(librarian, pipeline)
    assert (group.name, group.format, group.complete) == ("Dream v2.1", "diffusion-folder", True)
    assert group.guess.official_name == "Dream v2.1"
    assert (group.guess.model_type, group.guess.subtype) == ("diffusion", "diffusers")
    assert (group.guess.family, group.guess.base_model) == ("sdxl", "SDXL 1.0")
    assert group.guess.precision == "fp16"
    assert group.security_tier == "safe"
    assert len(group.files) == 5
    assert group.importable


def test_the_name_of_a_diffusers_folder_tells_the_base_model_more_closely(librarian, pipeline):
    folder = pipeline.rename(pipeline.with_name("My Pony"))
    assert only_group(librarian, folder).guess.base_model == "Pony"


@pytest.mark.parametrize("name", ["vae/extra.bin", "unet/harmless.txt", "scheduler/state.json"])
def test_one_pickle_makes_a_diffusers_folder_a_pickle_whatever_it_is_called(
    librarian, pipeline, make_torch_zip, name
):
    make_torch_zip(pipeline / name)
    group = only_group(librarian, pipeline)
    assert group.security_tier == "pickle"
    assert group.importable


def test_a_failed_download_in_a_diffusers_folder_is_refused(librarian, pipeline):
    (pipeline / "vae" / "diffusion_pytorch_model.safetensors").write_text("<html>404</html>")
    group = only_group(librarian, pipeline)
    assert not group.importable
    assert "vae/diffusion_pytorch_model.safetensors" in group.problem
    assert "web page" in group.problem


def test_raw_weights_of_openvino_are_let_through_as_unknown(librarian, pipeline):
    (pipeline / "unet" / "openvino_model.bin").write_bytes(b"\x3c\x99\x00\x11" * 100)
    assert not only_group(librarian, pipeline).importable
    (pipeline / "unet" / "openvino_model.xml").write_text("<?xml version='1.0'?><net/>")
    group = only_group(librarian, pipeline)
    assert (group.importable, group.security_tier) == (True, "unknown")


def test_a_diffusers_folder_with_a_name_in_another_encoding_is_said(librarian, pipeline):
    (pipeline / "vae" / "caf\udce9.json").write_text("{}")
    group = only_group(librarian, pipeline)
    assert "no valid Unicode" in group.problem
    assert not group.importable


def own(librarian: Librarian, make_model, folder: str, *names: str, seeds: tuple[int, ...]) -> list[Path]:
    """Put a model with several files into the library, as an import leaves it there."""
    place = librarian.library.root / folder
    files = [make_model(place / name, seed=seed) for name, seed in zip(names, seeds, strict=True)]
    record = {
        "schema": 1,
        "model_id": folder,
        "official_name": place.name,
        "cleaned_name": place.name,
        "files": [
            {"name": name, "size": file.stat().st_size} for name, file in zip(names, files, strict=True)
        ],
    }
    (place / "metadata.json").write_text(json.dumps(record))
    librarian.library.add_owned(folder)
    return files


def bytes_of(*files: Path) -> list[FileBytes]:
    return [FileBytes(file, file.stat().st_size) for file in files]


def test_a_set_is_a_duplicate_only_if_all_its_bytes_are_known(librarian, make_model, downloads):
    own(librarian, make_model, "diffusion/flux/mine", "a.safetensors", "b.safetensors", seeds=(1, 2))
    first = make_model(downloads / "x-00001-of-00002.safetensors", seed=1)
    second = make_model(downloads / "x-00002-of-00002.safetensors", seed=2)
    assert only_group(librarian, downloads).duplicate_of == "diffusion/flux/mine"
    assert not only_group(librarian, downloads).importable
    make_model(second, seed=3)
    assert only_group(librarian, downloads).duplicate_of is None
    shutil.copy(first, second)  # one part twice is not both
    make_model(downloads / "y-00001-of-00002.safetensors", seed=2)
    assert model_with_files(librarian.library, bytes_of(first)) is None


def test_a_file_that_a_larger_model_also_has_is_no_duplicate_of_it(librarian, make_model, downloads):
    own(librarian, make_model, "a/a/pipeline", "unet.safetensors", "t5.safetensors", seeds=(1, 2))
    t5 = make_model(downloads / "t5.safetensors", seed=2)
    assert only_group(librarian, t5).duplicate_of is None
    own(librarian, make_model, "z/z/t5", "t5xxl.safetensors", seeds=(2,))
    assert only_group(librarian, t5).duplicate_of == "z/z/t5"


def test_known_hashes_are_believed_and_a_models_own_files_are_known_unread(librarian, make_model, downloads):
    files = own(librarian, make_model, "a/a/set", "a.safetensors", "b.safetensors", seeds=(1, 2))
    assert model_with_files(librarian.library, bytes_of(*files)) == "a/a/set"
    others = [file._replace(path=downloads / "is not read", sha256="0" * 64) for file in bytes_of(*files)]
    assert model_with_files(librarian.library, others) is None


def test_files_with_other_names_are_told_of_before_they_are_moved(librarian, make_model, downloads):
    def told() -> list[str]:
        warnings = librarian.imports.inspect([str(downloads)]).warnings
        return [warning.message for warning in warnings if warning.code == "other_names"]

    one, two = (make_model(downloads / f"{name}.safetensors", seed=seed) for seed, name in enumerate("ab"))
    assert told() == []
    os.link(one, downloads.parent / "elsewhere")
    [message] = told()
    assert message.startswith("a.safetensors has other names elsewhere")
    os.link(two, downloads.parent / "elsewhere, too")
    [message] = told()
    assert message.startswith("2 files, such as ")


def test_an_inspection_says_what_is_in_the_way(librarian, make_model, downloads, monkeypatch):
    make_model(downloads / "one.safetensors")
    make_model(downloads / "two.safetensors")
    before = {warning.code for warning in librarian.imports.inspect([str(downloads)]).warnings}
    assert not before & {"insufficient_space", "not_writable", "cross_filesystem"}
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1000))
    [warning] = [
        warning
        for warning in librarian.imports.inspect([str(downloads)]).warnings
        if warning.code == "insufficient_space"
    ]
    assert str(librarian.library.root) in warning.message
    assert "Free some room" in warning.message


def test_in_a_sandbox_a_path_that_is_not_there_says_which_folders_are_seen(librarian, downloads, monkeypatch):
    around = Sandbox("container", ("/models",), "Give it others.")
    monkeypatch.setattr("model_librarian.core.importing.inspect.sandbox", lambda: around)
    with pytest.raises(NotFoundError, match=r"gone\.safetensors is not there.*sees /models only"):
        librarian.imports.inspect([str(downloads / "gone.safetensors")])
    monkeypatch.setattr("model_librarian.core.importing.inspect.sandbox", lambda: None)
    with pytest.raises(NotFoundError, match=r"is not there\.$"):
        librarian.imports.inspect([str(downloads / "gone.safetensors")])
