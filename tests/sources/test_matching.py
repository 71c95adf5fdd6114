from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_librarian.core.sources.matching import (
    best_match,
    is_generic,
    normalized,
    queries,
    similarity,
    unpacked,
    words,
)
from model_librarian.core.sources.records import HubFile

ONE = "1" * 64
OTHER = "2" * 64


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("flux1-dev-Q4_K_M-00001-of-00002.gguf", ["flux1 dev q4 k m", "flux1 dev"]),
        ("flux1-dev.safetensors", ["flux1 dev"]),
        ("Wan2.1_I2V_14B_fp8_e4m3fn.safetensors", ["wan2.1 i2v 14b fp8 e4m3fn", "wan2.1 i2v 14b"]),
        ("sd_xl_base_1.0.safetensors", ["sd xl base 1.0", "stable diffusion xl base 1.0"]),
        ("realistic (1).safetensors", ["realistic"]),
        ("realistic - Copy.safetensors", ["realistic"]),
        ("realistic_00001.safetensors", ["realistic"]),
        ("realistic.safetensors.part1", ["realistic"]),
        ("模型 v2.safetensors", ["模型 v2"]),
        ("FLUX.1-dev/transformer/diffusion_pytorch_model-00001-of-00003.safetensors", ["flux 1 dev"]),
        ("C:\\models\\FLUX.1-dev\\vae\\diffusion_pytorch_model.safetensors", ["flux 1 dev"]),
        ("model.safetensors", []),
        ("models/vae/ae.safetensors", []),
        ("pytorch_model-00001-of-00002.bin", []),
        ("", []),
        (".safetensors", []),
    ],
)
def test_what_is_searched_for(filename, expected):
    assert queries(filename) == expected


def test_how_a_file_is_packed_is_not_what_it_is():
    for packed in (
        "Q5_K_S",
        "IQ3_XXS",
        "fp16",
        "bf16",
        "fp8_e4m3fn_scaled",
        "nvfp4",
        "pruned-emaonly",
        "Q8_0",
    ):
        assert unpacked(words(f"flux1-dev-{packed}.gguf")) == "flux1 dev", packed


@pytest.mark.parametrize(
    ("name", "nearer", "further"),
    [
        ("flux1-dev-fp8.safetensors", "FLUX.1-dev", "FLUX.1-schnell"),
        ("flux1-dev-fp8.safetensors", "flux1-dev.safetensors", "flux2-dev.safetensors"),
        ("wan2.1_t2v_14B.safetensors", "Wan2.1-T2V-14B", "Wan2.1-I2V-14B"),
        ("wan2.1_t2v_14B.safetensors", "Wan2.1-T2V-14B", "Wan2.1-T2V-1.3B"),
        ("sd_xl_base_1.0.safetensors", "stable-diffusion-xl-base-1.0", "stable-diffusion-2-1-base"),
    ],
)
def test_versions_and_kinds_are_told_apart(name, nearer, further):
    assert similarity(name, nearer) > similarity(name, further) + 0.15


def test_the_same_hash_is_certain_whatever_the_name():
    files = [HubFile(path="mine.safetensors", sha256=OTHER), HubFile(path="a/b.safetensors", sha256=ONE)]
    match = best_match("mine.safetensors", "x/y", files, ONE.upper())
    assert (match.file.path, match.method, match.confidence) == ("a/b.safetensors", "hash", 1.0)
    assert not match.requires_confirmation


def test_the_same_name_is_nearly_certain():
    files = [HubFile(path="split/Flux1-Dev.safetensors", size=10)]
    match = best_match("flux1-dev.safetensors", "org/FLUX.1-dev", files)
    assert match.method == "filename_exact"
    assert 0.9 < match.confidence < 1
    assert not match.requires_confirmation


@pytest.mark.parametrize(
    ("known", "published"),
    [({"sha256": ONE}, {"sha256": OTHER}), ({"size": 5}, {"size": 6})],
)
def test_the_right_name_with_other_bytes(known, published):
    files = [HubFile(path="flux1-dev.safetensors", **published)]
    match = best_match("flux1-dev.safetensors", "org/FLUX.1-dev", files, **known)
    assert match.hash_mismatch
    assert match.confidence <= 0.7
    assert match.requires_confirmation


def test_a_name_that_everybody_uses_is_no_evidence():
    files = [HubFile(path="vae/model.safetensors"), HubFile(path="text_encoder/model.safetensors")]
    match = best_match("model.safetensors", "org/something", files)
    assert (match.method, match.requires_confirmation) == ("filename_fuzzy", True)
    placed = best_match("something/text_encoder/model.safetensors", "org/something", files)
    assert placed.file.path == "text_encoder/model.safetensors"
    assert 0.6 < placed.confidence < 0.9


def test_similar_names_are_fuzzy_and_below():
    files = [HubFile(path="flux1-dev.safetensors"), HubFile(path="ae.safetensors"), HubFile(path="README.md")]
    match = best_match("flux1-dev-fp8.safetensors", "org/FLUX.1-dev", files)
    assert (match.method, match.file.path) == ("filename_fuzzy", "flux1-dev.safetensors")
    assert 0.6 < match.confidence < 0.9
    far = best_match("something_else_entirely.safetensors", "org/FLUX.1-dev", files)
    assert far.requires_confirmation


def test_the_same_size_speaks_for_a_similar_name():
    files = [
        HubFile(path="flux1-dev-fp16.safetensors", size=24_000_000),
        HubFile(path="x.safetensors", size=1),
    ]
    plain = best_match("my-flux-dev.safetensors", "org/FLUX.1-dev", files)
    sized = best_match("my-flux-dev.safetensors", "org/FLUX.1-dev", files, size=24_000_000)
    assert plain.confidence < sized.confidence < 0.9
    assert sized.file.size == 24_000_000


@given(st.text(max_size=300), st.text(max_size=300), st.lists(st.text(max_size=60), max_size=5))
def test_any_names_whatever(one, other, paths):
    assert 0 <= similarity(one, other) <= 1
    assert all(query.strip() for query in queries(one))
    is_generic(one)
    normalized(one)
    match = best_match(one, other, [HubFile(path=path, size=1) for path in paths], ONE, 2_000_000)
    assert 0 <= match.confidence <= 1
    assert match.method != "hash"
    assert match.method != "filename_exact" or match.hash_mismatch == (match.confidence <= 0.7)
