"""Which files are parts of one model, told by their names."""

from __future__ import annotations

import pytest

from model_librarian.core.formats.shards import MAX_SHARDS, Shard, group_shards, parse_shard


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model-00001-of-00005.safetensors", Shard("model", ".safetensors", 1, 5)),
        ("model-00001-of-000163.safetensors", Shard("model", ".safetensors", 1, 163)),
        ("Qwen3-Q8_0-00002-of-00002.gguf", Shard("Qwen3-Q8_0", ".gguf", 2, 2)),
        ("a.b-1-of-2.fp16.gguf", None),
        ("flux.safetensors.part1", Shard("flux", ".safetensors", 1, None)),
        ("big.gguf.part2of3", Shard("big", ".gguf", 2, 3)),
        ("new\nline_00012.bin", Shard("new\nline", ".bin", 12, None)),
        ("写实_00001.sft", Shard("写实", ".sft", 1, None)),
        ("model.safetensors", None),
        ("lora-000010.safetensors", None),
        ("ComfyUI_00001_.safetensors", None),
        ("lora_000000250.safetensors", None),
        ("sd_xl_base_1.0.safetensors", None),
        ("model.safetensors.part", None),
        ("-00001-of-00002.safetensors", None),
        ("x-00001-of-00000.gguf", None),
        (f"x-1-of-{MAX_SHARDS + 1}.gguf", None),
        ("", None),
    ],
)
def test_names(name, expected):
    assert parse_shard(name) == expected


def of(*numbers, total=3, name="m"):
    return [f"{name}-{number:05}-of-{total:05}.gguf" for number in numbers]


def test_a_complete_set_in_any_order():
    [shards], loose = group_shards([*of(3, 1, 2), "other.gguf"])
    assert shards.complete
    assert shards.names == tuple(of(1, 2, 3))
    assert (shards.name, shards.total, shards.missing) == ("m.gguf", 3, ())
    assert loose == ["other.gguf"]


def test_missing_parts_are_named_even_if_only_one_is_there():
    [shards], loose = group_shards(of(2, total=4))
    assert (shards.missing, shards.complete, loose) == ((1, 3, 4), False, [])


def test_parts_may_count_from_zero():
    [shards], _ = group_shards(of(0, 2))
    assert shards.missing == (1,)
    assert shards.problem is None


@pytest.mark.parametrize(
    "names",
    [
        [*of(1, total=3), *of(2, total=5)],
        [*of(1, 2, 3), *of(1, total=5)],
        ["m-00001-of-00002.gguf", "m-1-of-2.gguf"],
        of(1, 4),
    ],
)
def test_names_that_contradict_each_other_are_a_problem_and_never_complete(names):
    [shards], loose = group_shards(names)
    assert shards.problem
    assert not shards.complete
    assert sorted(shards.names) == sorted(names)
    assert loose == []


def test_two_complete_sets_of_one_name_are_two_sets():
    sets, _ = group_shards([*of(1, 2, total=2), *of(1, 2, 3)])
    assert sorted(len(shards.parts) for shards in sets) == [2, 3]
    assert all(shards.complete for shards in sets)


def test_stems_endings_and_folders_keep_sets_apart():
    names = [*of(1, 2, total=2), "m-00001-of-00002.safetensors", "x/m-00001-of-00002.gguf"]
    sets, _ = group_shards(names)
    assert sorted(len(shards.parts) for shards in sets) == [1, 1, 2]


@pytest.mark.parametrize("pattern", ["m.safetensors.part{}", "m_{:05}.safetensors"])
def test_without_a_total_one_file_is_no_set(pattern):
    assert group_shards([pattern.format(1)]) == ([], [pattern.format(1)])
    [shards], _ = group_shards([pattern.format(number) for number in (1, 2, 4)])
    assert (shards.total, shards.missing) == (None, (3,))


def test_steps_of_a_training_are_no_parts():
    names = ["lora_00500.safetensors", "lora_01000.safetensors"]
    assert group_shards(names) == ([], names)
