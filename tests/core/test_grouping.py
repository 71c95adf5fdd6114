"""Which files are one model: single files, sharded sets and Diffusers folders, found by walking."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from model_librarian.core.errors import InvalidRequestError, NotAModelError, NotFoundError, OutsideRootsError
from model_librarian.core.importing.grouping import FileGroup, group_named, group_paths
from model_librarian.core.storage.roots import AllowedRoots


@pytest.fixture
def roots(downloads: Path) -> AllowedRoots:
    return AllowedRoots([downloads])


def put(folder: Path, *names: str) -> list[Path]:
    files = [folder / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"weights")
    return files


def shards(total: int, *numbers: int, stem: str = "flux") -> list[str]:
    return [f"{stem}-{number:05}-of-{total:05}.safetensors" for number in numbers or range(1, total + 1)]


def put_shard_index(path: Path, names: list[str]) -> Path:
    weights = {f"layer.{number}": name for number, name in enumerate(names)}
    path.write_text(json.dumps({"metadata": {"total_size": 7, "format": "pt"}, "weight_map": weights}))
    return path


def put_pipeline(folder: Path) -> Path:
    """A Diffusers folder as ``save_pretrained`` lays it out, with small files."""
    put(
        folder,
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
        "README.md",
        ".git/config",
        ".gitattributes",
        "unet/.cache/x.safetensors",
    )
    (folder / "model_index.json").write_text(
        json.dumps(
            {
                "_class_name": "StableDiffusionXLPipeline",
                "_diffusers_version": "0.30.0",
                "force_zeros_for_empty_prompt": True,
                "image_encoder": [None, None],
                "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
                "scheduler": ["diffusers", "EulerDiscreteScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"],
            }
        )
    )
    return folder


def member_names(group: FileGroup) -> list[str]:
    return sorted(member.name for member in group.members)


def test_files_and_folders_are_sorted_into_models(downloads, roots):
    put(downloads, "a.safetensors", "notes.txt", "preview.png", "deep/er/b.gguf", ".hidden/c.safetensors")
    put(downloads / "set", *shards(3), "config.json")
    put_pipeline(downloads / "my-sdxl")
    groups = group_paths([downloads], roots)
    assert [(group.name, group.format, len(group.members)) for group in groups] == [
        ("a.safetensors", "single-file", 1),
        ("b.gguf", "single-file", 1),
        ("my-sdxl", "diffusion-folder", 9),
        ("flux.safetensors", "sharded-set", 3),
    ]
    assert all(group.complete and group.problem is None for group in groups)


def test_a_set_knows_its_parts_in_order(downloads, roots):
    files = put(downloads, *shards(3, 3, 1, 2))
    [group] = group_paths(files, roots)
    assert [(member.name, member.shard_index, member.shard_total) for member in group.members] == [
        (name, number, 3) for number, name in enumerate(shards(3), start=1)
    ]
    assert group.main.path == downloads / shards(3)[0]
    assert group.size_bytes == 3 * len(b"weights")
    assert group.stem == "flux"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (shards(5, 1, 3), (2, 4, 5)),
        (["m.gguf.part1", "m.gguf.part2", "m.gguf.part4"], (3,)),
        (["m_00001.safetensors", "m_00003.safetensors"], (2,)),
    ],
)
def test_an_incomplete_set_says_what_is_missing(downloads, roots, names, missing):
    [group] = group_paths(put(downloads, *names), roots)
    assert (group.missing_shards, group.complete) == (missing, False)
    assert all(str(number) in group.problem for number in missing)
    assert "missing" in group.problem


def test_totals_that_contradict_each_other_are_an_error(downloads, roots):
    [group] = group_paths(put(downloads, *shards(3, 1, 2), *shards(5, 3)), roots)
    assert "3 and 5" in group.problem
    assert (group.complete, group.missing_shards) == (False, ())


def test_equal_names_in_two_folders_are_two_sets(downloads, roots):
    first = put(downloads / "one", *shards(2, 1))
    second = put(downloads / "two", *shards(2, 2))
    assert [group.missing_shards for group in group_paths([*first, *second], roots)] == [(2,), (1,)]


def test_only_what_was_named_belongs_to_a_set(downloads, roots):
    files = put(downloads, *shards(2))
    [group] = group_paths(files[:1], roots)
    assert group.missing_shards == (2,)
    assert "the folder" in group.problem


def test_one_part_of_one_is_a_single_file(downloads, roots):
    [group] = group_paths(put(downloads, *shards(1)), roots)
    assert (group.format, group.name, group.complete) == ("single-file", shards(1)[0], True)


@pytest.mark.parametrize("cut", [True, False])
def test_pieces_of_one_file_are_told_from_parts_of_a_model(downloads, roots, cut):
    names = ["m.safetensors.part1", "m.safetensors.part2"] if cut else shards(2)
    [group] = group_paths(put(downloads, *names), roots)
    assert group.cut is cut


def test_an_index_belongs_to_its_set(downloads, roots):
    put(downloads, *shards(2), *shards(2, stem="other"))
    put_shard_index(downloads / "flux.safetensors.index.json", shards(2))
    put_shard_index(downloads / "other.safetensors.index.fp16.json", shards(2, stem="other"))
    put_shard_index(downloads / "gone.safetensors.index.json", shards(2, stem="gone"))
    first, second = group_paths([downloads], roots)
    assert member_names(first) == [*shards(2), "flux.safetensors.index.json"]
    assert member_names(second) == [*shards(2, stem="other"), "other.safetensors.index.fp16.json"]
    assert first.complete
    assert second.complete


def test_an_index_tells_of_parts_that_names_do_not(downloads, roots):
    names = [f"写实_{number:05}.safetensors" for number in (1, 2, 3)]
    files = put(downloads, *names[:2])
    index = put_shard_index(downloads / "写实.safetensors.index.json", names)
    assert group_paths(files, roots)[0].complete
    [group] = group_paths([*files, index], roots)
    assert group.missing_shards == (3,)


@pytest.mark.parametrize("named", [shards(3), [*shards(2), "extra.safetensors"]])
def test_an_index_that_contradicts_its_files_is_an_error(downloads, roots, named):
    put(downloads, *shards(2))
    put_shard_index(downloads / "flux.safetensors.index.json", named)
    [group] = group_paths([downloads], roots)
    assert "index" in group.problem
    assert not group.complete


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff" * 100, b'{"weight_map": [[["' + b"[" * 100_000])
def test_a_damaged_index_adds_nothing_and_harms_nothing(downloads, roots, damage):
    put(downloads, *shards(2))
    (downloads / "flux.safetensors.index.json").write_bytes(damage)
    [group] = group_paths([downloads], roots)
    assert group.complete
    assert "flux.safetensors.index.json" in member_names(group)


def test_a_name_that_says_nothing_is_replaced_by_the_folders(downloads, roots):
    put(downloads / "FLUX.1-dev-fp8", *shards(2, stem="diffusion_pytorch_model"))
    hub = downloads / "hub" / "models--Qwen--Qwen3-8B" / "snapshots" / ("a" * 40)
    put(hub, *shards(2, stem="model"))
    assert [group.name for group in group_paths([downloads], roots)] == [
        "FLUX.1-dev-fp8.safetensors",
        "Qwen3-8B.safetensors",
    ]


def test_a_diffusers_folder_is_one_model_with_all_its_files(downloads, roots):
    folder = put_pipeline(downloads / "SDXL v1.0")
    [group] = group_paths([folder], roots)
    assert (group.name, group.stem, group.format, group.folder) == (
        "SDXL v1.0",
        "SDXL v1.0",
        "diffusion-folder",
        folder,
    )
    assert member_names(group) == [
        "README.md",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert group.main.name == "unet/diffusion_pytorch_model.safetensors"
    by_file = group_paths([member.path for member in group.members], roots)
    assert [(one.name, member_names(one), one.complete) for one in by_file] == [
        (group.name, member_names(group), True)
    ]


def test_a_diffusers_folder_names_its_missing_components(downloads, roots):
    folder = put_pipeline(downloads / "sdxl")
    [group] = group_paths([folder / "model_index.json"], roots)
    assert not group.complete
    for name in ("scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        assert name in group.problem
    assert "whole folder" in group.problem
    assert "image_encoder" not in group.problem


def test_a_component_without_its_weights_or_a_part_of_them_is_missed(downloads, roots):
    folder = put_pipeline(downloads / "sdxl")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    [group] = group_paths([folder], roots)
    assert (group.complete, "vae" in group.problem, "scheduler" in group.problem) == (False, True, False)
    put(folder / "vae", *shards(3, 1, 2, stem="diffusion_pytorch_model"))
    [group] = group_paths([folder], roots)
    assert not group.complete
    assert "vae/" in group.problem
    assert "part 3 of 3" in group.problem


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"_class_name": 7}', "[" * 100_000, '{"_class_name": "' + "x" * 2_000_000]
)
def test_a_damaged_model_index_is_said(downloads, roots, damage):
    folder = put_pipeline(downloads / "sdxl")
    (folder / "model_index.json").write_text(damage)
    [group] = group_paths([folder], roots)
    assert "model_index.json" in group.problem
    assert not group.complete


def test_a_component_that_leads_out_of_the_folder_is_refused(downloads, roots, tmp_path):
    folder = put_pipeline(downloads / "sdxl")
    index = json.loads((folder / "model_index.json").read_text())
    index["../../secret"] = ["diffusers", "AutoencoderKL"]
    (folder / "model_index.json").write_text(json.dumps(index))
    [group] = group_paths([folder], roots)
    assert "Do not trust" in group.problem


def test_links_inside_the_roots_are_followed_others_refused(downloads, roots, tmp_path):
    shared = put(downloads / "shared" / "t5", "model.safetensors")[0].parent
    folder = put_pipeline(downloads / "sdxl")
    (folder / "text_encoder_2").symlink_to(shared, target_is_directory=True)
    [group] = group_paths([folder], roots)
    assert group.complete
    assert "text_encoder_2/model.safetensors" in member_names(group)
    [secret] = put(tmp_path / "elsewhere", "secret.safetensors")
    (folder / "unet" / "more.safetensors").symlink_to(secret)
    [group] = group_paths([folder], roots)
    assert "outside the folders" in group.problem
    assert "unet/more.safetensors" not in member_names(group)


def test_a_link_to_nothing_in_a_diffusers_folder_is_said(downloads, roots):
    folder = put_pipeline(downloads / "sdxl")
    (folder / "unet" / "blob.safetensors").symlink_to("../../nowhere")
    [group] = group_paths([folder], roots)
    assert "not there" in group.problem


def test_links_out_of_the_roots_are_left_out_of_a_walk(downloads, roots, tmp_path):
    put(tmp_path / "elsewhere", "secret.safetensors")
    put(downloads, "mine.safetensors")
    (downloads / "folder").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (downloads / "file.safetensors").symlink_to(tmp_path / "elsewhere" / "secret.safetensors")
    assert [group.name for group in group_paths([downloads], roots)] == ["mine.safetensors"]


@pytest.mark.parametrize("pipeline", [True, False])
def test_circles_of_links_end(downloads, roots, pipeline):
    folder = put_pipeline(downloads / "sdxl") if pipeline else downloads / "plain"
    put(folder / "unet", "x.safetensors")
    (folder / "unet" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "unet" / "itself").symlink_to("itself")
    (folder / "unet" / "down").symlink_to(folder / "unet", target_is_directory=True)
    groups = group_paths([folder], roots)
    assert [name for group in groups for name in member_names(group)].count(
        "unet/x.safetensors" if pipeline else "x.safetensors"
    ) == 1
    assert not any("/up/" in name for group in groups for name in member_names(group))


def test_many_links_between_folders_end_in_an_error_not_in_ages(downloads, roots):
    folder = put_pipeline(downloads / "sdxl")
    knots = [folder / f"knot{number}" for number in range(12)]
    for knot in knots:
        knot.mkdir()
    for knot in knots:
        for other in knots:
            (knot / other.name).symlink_to(other, target_is_directory=True)
    with pytest.raises(InvalidRequestError, match="more than 100 files"):
        group_paths([folder], roots, limit=100)


def test_too_many_files_are_an_error(downloads, roots):
    put(downloads, *(f"{number}.safetensors" for number in range(11)))
    with pytest.raises(InvalidRequestError, match="more than 10 files"):
        group_paths([downloads], roots, limit=10)
    assert len(group_paths([downloads], roots, limit=11)) == 11


def test_what_is_named_is_never_left_out(downloads, roots):
    [notes] = put(downloads, "notes.txt")
    assert [group.name for group in group_paths([notes], roots)] == ["notes.txt"]
    index = put_shard_index(downloads / "x.safetensors.index.json", shards(2))
    assert [group.name for group in group_paths([index], roots)] == ["x.safetensors.index.json"]


def test_a_path_that_comes_twice_counts_once(downloads, roots):
    [file] = put(downloads, "a.safetensors")
    assert len(group_paths([file, downloads, file], roots)) == 1


def test_paths_that_cannot_be_walked(downloads, roots, tmp_path):
    with pytest.raises(NotFoundError):
        group_paths([downloads / "gone.safetensors"], roots)
    (downloads / "link.safetensors").symlink_to("gone.safetensors")
    with pytest.raises(NotFoundError):
        group_paths([downloads / "link.safetensors"], roots)
    with pytest.raises(OutsideRootsError):
        group_paths([tmp_path], roots)
    os.mkfifo(downloads / "pipe.safetensors")
    with pytest.raises(NotAModelError, match="not a file"):
        group_paths([downloads / "pipe.safetensors"], roots)
    assert group_paths([downloads], roots) == []


def test_files_that_lie_anywhere_are_sorted_by_the_names_they_are_to_have(downloads, roots):
    folder = put_pipeline(downloads / "sdxl")
    named = {f"My SDXL/{member.name}": member.path for member in group_paths([folder], roots)[0].members}
    named |= {f"set/{name}": folder / "README.md" for name in shards(2)}
    uploads = downloads / "uploads"
    uploads.mkdir()
    placed = []
    for number, (name, path) in enumerate(named.items()):
        upload = uploads / f"{number:08x}"
        upload.write_bytes(path.read_bytes())
        placed.append((upload, name))
    pipeline, shard_set = group_named(placed)
    assert (pipeline.name, pipeline.stem, pipeline.format, pipeline.complete) == (
        "My SDXL",
        "My SDXL",
        "diffusion-folder",
        True,
    )
    assert "unet/config.json" in member_names(pipeline)
    assert pipeline.main.name == "unet/diffusion_pytorch_model.safetensors"
    assert {member.path.parent for member in pipeline.members} == {uploads}
    assert (shard_set.name, member_names(shard_set)) == ("flux.safetensors", shards(2))


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x.safetensors", "a/../../x", "a\0b", "."])
def test_names_that_lead_elsewhere_are_refused(downloads, name):
    with pytest.raises(InvalidRequestError, match="no file's name"):
        group_named([(downloads / "0", name)])


def test_two_files_of_one_name_are_refused(downloads):
    with pytest.raises(InvalidRequestError, match="two files"):
        group_named([(downloads / "0", "a/x.gguf"), (downloads / "1", "a//x.gguf")])
