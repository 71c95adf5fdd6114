"""Diffusers folders: what ``model_index.json`` says, read as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_librarian.core.errors import NotAModelError, StorageError
from model_librarian.core.formats.pipelines import (
    MAX_INDEX_BYTES,
    PIPELINES,
    Component,
    Pipeline,
    classify_pipeline,
    read_model_index,
)


@pytest.mark.parametrize(
    ("class_name", "name", "family", "base_model"),
    [
        ("StableDiffusionXLPipeline", "my model", "sdxl", "SDXL 1.0"),
        ("StableDiffusionXLControlNetInpaintPipeline", "illustrious-v2", "sdxl", "Illustrious"),
        ("StableDiffusion3Pipeline", "stable-diffusion-3.5-large", "sd3", "SD 3.5"),
        ("StableDiffusionPipeline", "stable-diffusion-v1-5", "sd", "SD 1.5"),
        ("StableDiffusionPipeline", "an old one", "sd", ""),
        ("StableVideoDiffusionPipeline", "x", "svd", "Stable Video Diffusion"),
        ("FluxPipeline", "FLUX.1-dev", "flux", "Flux.1"),
        ("FluxKontextPipeline", "mine", "flux", "Flux.1 Kontext"),
        ("FluxKontextPipeline", "flux mine", "flux", "Flux.1 Kontext"),
        ("FluxPipeline", "flux krea", "flux", "Flux.1 Krea"),
        ("Flux2KleinPipeline", "klein", "flux2", "Flux.2"),
        ("WanImageToVideoPipeline", "Wan2.2-I2V-A14B-Diffusers", "wan", "Wan 2.2"),
        ("QwenImageEditPlusPipeline", "x", "qwen-image", "Qwen-Image-Edit"),
        ("LTX2Pipeline", "x", "ltxv", "LTX-2"),
        ("FluxPipeline", "my pony", "flux", "Flux.1"),
        ("NobodyKnowsPipeline", "sdxl thing", "sdxl", "SDXL 1.0"),
        ("NobodyKnowsPipeline", "x", "unknown", ""),
    ],
)
def test_the_class_tells_the_family_and_the_name_what_fits_it(class_name, name, family, base_model):
    guess = classify_pipeline(Pipeline(class_name, ()), None, name)
    assert (guess.family, guess.base_model) == (family, base_model)
    assert (guess.model_type, guess.subtype, guess.official_name) == ("diffusion", "diffusers", name)


def test_what_the_person_says_it_is_wins():
    guess = classify_pipeline(Pipeline("FluxPipeline", ()), None, "x", subtype="checkpoints")
    assert guess.subtype == "checkpoints"


def test_no_rule_hides_behind_another():
    starts = [start for start, _ in PIPELINES]
    for number, start in enumerate(starts):
        assert not any(start.startswith(earlier) for earlier in starts[:number]), start


def test_which_components_must_be_there_and_which_need_weights(tmp_path):
    index = {
        "_class_name": "FluxPipeline",
        "_diffusers_version": "0.30.0",
        "_name_or_path": ["diffusers", "Nothing"],
        "requires_safety_checker": True,
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "T5TokenizerFast"],
        "image_processor": ["transformers", "SiglipImageProcessor"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "mine": ["my_own_code", "Whatever"],
    }
    path = tmp_path / "model_index.json"
    path.write_text(json.dumps(index))
    assert read_model_index(path) == Pipeline(
        "FluxPipeline",
        (
            Component("scheduler", False),
            Component("tokenizer", False),
            Component("tokenizer_2", False),
            Component("image_processor", False),
            Component("text_encoder", True),
            Component("transformer", True),
            Component("mine", False),
        ),
        ("feature_extractor", "safety_checker"),
    )


def test_an_index_that_is_too_large_or_not_there(tmp_path):
    path = tmp_path / "model_index.json"
    with pytest.raises(StorageError):
        read_model_index(path)
    path.write_text(json.dumps({"_class_name": "FluxPipeline", "x": "x" * MAX_INDEX_BYTES}))
    with pytest.raises(NotAModelError):
        read_model_index(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.dictionaries(st.text() | st.just("_class_name"), json_values, max_size=5).map(
        lambda value: json.dumps(value).encode()
    )
)
@example(b'{"_class_name": "X", "..": ["diffusers", "UNet"]}')
@example(b'{"_class_name": "X", "a/b": ["diffusers", "UNet"]}')
@example(b'{"_class_name": "X", "a\\u0000": ["diffusers", "UNet"]}')
@example(b"[" * 100_000)
@example(b"1" * 10_000)
def test_whatever_an_index_holds_it_is_read_or_refused(tmp_path: Path, data: bytes):
    path = tmp_path / "model_index.json"
    path.write_bytes(data)
    try:
        pipeline = read_model_index(path)
    except NotAModelError:
        return
    assert len(pipeline.class_name) <= 200
    for component in pipeline.components:
        assert (tmp_path / component.name).parent == tmp_path
