"""The search table of the specification, row by row, and that no text whatever breaks it."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_librarian.core.library import ModelQuery

NAMES = {
    "text_encoders": ["Llama-3-7b", "umt5_xxl_fp8_e4m3fn_scaled", "clip_l"],
    "checkpoints": ["sd_xl_base_1.0_0.9vae", "juggernautXL_v9", "v1-5-pruned-emaonly-fp16"],
    "loras": ["flux-realism-lora", "café_style", "写实风格", "sdxl_lightning_4step_lora"],
    "diffusion_models": ["flux1-dev-fp8", "wan2.2_t2v_low_noise_14B_fp8_scaled"],
    "vae": ["ae", "wan_2.1_vae"],
}


@pytest.fixture
def library(librarian, finished, make_model, models_folder):
    for folder, names in NAMES.items():
        for name in names:
            make_model(models_folder / folder / f"{name}.safetensors")
    finished(librarian.scans.start("quick"))
    return librarian


def found(librarian, text, **more):
    result = librarian.models.search(ModelQuery(q=text, **more))
    return [model.official_name for model in result.models], result.match


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("llama", "Llama-3-7b"),
        ("LLAMA", "Llama-3-7b"),
        ("3", "Llama-3-7b"),
        ("7b", "Llama-3-7b"),
        ("llama3", "Llama-3-7b"),
        ("xl base", "sd_xl_base_1.0_0.9vae"),
        ("base xl", "sd_xl_base_1.0_0.9vae"),
        ("sd_xl_base_1.0_0.9vae.safetensors", "sd_xl_base_1.0_0.9vae"),
        ("cafe", "café_style"),
        ("café", "café_style"),
        ("cafe\u0301", "café_style"),
        ("写实", "写实风格"),
        ("实风", "写实风格"),
        ("实风格", "写实风格"),
        ("风格", "写实风格"),
        ("juggernaut xl", "juggernautXL_v9"),
        ("v9", "juggernautXL_v9"),
    ],
)
def test_what_is_typed_finds(library, typed, name):
    names, match = found(library, typed)
    assert name in names
    assert match == "all"


def test_every_word_must_fit_if_anything_has_every_word(library):
    names, match = found(library, "flux lora")
    assert (names, match) == (["flux-realism-lora"], "all")


def test_words_fit_across_columns(library):
    names, match = found(library, "fp8 diffusion_models")
    assert set(names) == {"flux1-dev-fp8", "wan2.2_t2v_low_noise_14B_fp8_scaled"}
    assert match == "all"


def test_if_nothing_has_every_word_some_will_do_and_it_says_so(library):
    names, match = found(library, "llama juggernaut")
    assert {"Llama-3-7b", "juggernautXL_v9"} <= set(names)
    assert match == "any"


def test_flux_lora_without_any_flux_lora_is_either_and_the_answer_says_so(library):
    names, match = found(library, "flux lora", subtype=["diffusion_models", "text_encoders"])
    assert (names, match) == (["flux1-dev-fp8"], "any")


def test_a_misspelt_name_finds_the_nearest_and_the_answer_says_so(library):
    assert found(library, "juggernot") == (["juggernautXL_v9"], "fuzzy")


@pytest.mark.parametrize(
    "text", ['"', "*", "a:b", "NEAR(", "-x", "x" * 10_000, "\0", "a\0b", '" OR 1=1 --', "%", "()"]
)
@pytest.mark.parametrize("loaded", [True, False])
def test_an_answer_and_never_an_error(library, text, loaded):
    if not loaded:
        library.library._search._words = None
    result = library.models.search(ModelQuery(q=text))
    assert result.total >= len(result.models)
    assert result.query_time_ms > 0
    library.models.facets(ModelQuery(q=text))


@pytest.mark.parametrize(
    ("sort", "first"), [("name", "ae"), ("size", "clip_l"), ("added", "v1-5-pruned-emaonly-fp16")]
)
@pytest.mark.parametrize("text", ["", "safetensors"])
def test_the_chosen_sort(library, finished, models_folder, sort, first, text):
    big = models_folder / "text_encoders" / "clip_l.safetensors"
    big.write_bytes(big.read_bytes() + bytes(5000))
    newest = models_folder / "checkpoints" / "v1-5-pruned-emaonly-fp16.safetensors"
    os.utime(newest, (4e9, 4e9))
    finished(library.scans.start("quick"))
    names, _ = found(library, text, sort=sort)
    assert names[0] == first
    other_way, _ = found(library, text, sort=sort, order="asc" if sort in ("size", "added") else "desc")
    assert other_way[-1] == first


def test_nothing_typed_lists_the_newest_first(library, make_model, models_folder, finished):
    make_model(models_folder / "vae" / "zzz_newest.safetensors")
    finished(library.scans.start("quick"))
    names, match = found(library, "")
    assert names[0] == "zzz_newest"
    assert match == "list"


def test_the_exact_name_comes_first(library, make_model, models_folder, finished):
    make_model(models_folder / "vae" / "ae_of_another_kind.safetensors")
    make_model(models_folder / "vae" / "my_ae.safetensors")
    finished(library.scans.start("quick"))
    names, _ = found(library, "ae")
    assert names[:2] == ["ae", "ae_of_another_kind"]


def test_filters_and_facets(library):
    names, _ = found(library, "flux", subtype=["loras"])
    assert names == ["flux-realism-lora"]
    facets = library.models.facets(ModelQuery(q="flux"))
    assert {value.value: value.count for value in facets.subtype} == {"loras": 1, "diffusion_models": 1}


def test_a_hash_finds_that_very_model(library):
    some = library.models.search(ModelQuery(q="clip_l")).models[0]
    sha256, blake3 = library.library.hash_of(some.model_id)
    for text in (sha256, sha256.upper(), sha256[:10], blake3, blake3[:12]):
        assert found(library, text) == (["clip_l"], "hash")


def test_paging_is_stable(library):
    everything = [
        model.model_id for model in library.models.search(ModelQuery(sort="name", limit=100)).models
    ]
    pages = [
        model.model_id
        for offset in range(0, 20, 3)
        for model in library.models.search(ModelQuery(sort="name", limit=3, offset=offset)).models
    ]
    assert pages == everything
    assert len(set(everything)) == 14


def test_without_fts5_names_are_still_found(library):
    library.library._database.searchable = False
    names, match = found(library, "xl base")
    assert (names, match) == (["sd_xl_base_1.0_0.9vae"], "like")
    assert found(library, "100%_\\")[0] == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(alphabet=st.characters(), max_size=60),
        st.text(alphabet="\"*:()-^+NEARORANDNOT {}[]\\'\0%_~", max_size=40),
    )
)
def test_no_text_whatever_raises(library, text):
    for query in (ModelQuery(q=text), ModelQuery(q=text, sort="size", subtype=[text])):
        result = library.models.search(query)
        assert result.total >= len(result.models) or result.models == []
        library.models.facets(query)


def test_ten_thousand_characters_are_answered(library):
    assert library.models.search(ModelQuery(q="x" * 10_000)).models == []
    assert library.models.search(ModelQuery(q="a " * 10_000)).match in ("all", "any")
