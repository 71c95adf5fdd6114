"""Which files of a repository are one Diffusers folder; lists as they are on Hugging Face."""

from __future__ import annotations

import pytest

from model_librarian.core.errors import NotAModelError
from model_librarian.core.formats.pipeline_files import files_of, variants_of
from model_librarian.core.formats.pipelines import pipeline_of


def _names(text: str) -> list[str]:
    return text.split()


SDXL = pipeline_of(
    {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": True,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
)
SDXL_NAMES = _names(
    """
    .gitattributes 01.png LICENSE.md README.md model_index.json sd_xl_base_1.0.safetensors
    sd_xl_offset_example-lora.safetensors scheduler/scheduler_config.json text_encoder/config.json
    text_encoder/flax_model.msgpack text_encoder/model.fp16.safetensors text_encoder/model.onnx
    text_encoder/model.safetensors text_encoder/openvino_model.bin text_encoder/openvino_model.xml
    text_encoder_2/config.json text_encoder_2/flax_model.msgpack text_encoder_2/model.fp16.safetensors
    text_encoder_2/model.onnx text_encoder_2/model.onnx_data text_encoder_2/model.safetensors
    text_encoder_2/openvino_model.bin tokenizer/merges.txt tokenizer/special_tokens_map.json
    tokenizer/tokenizer_config.json tokenizer/vocab.json unet/config.json unet/diffusion_flax_model.msgpack
    unet/diffusion_pytorch_model.fp16.safetensors unet/diffusion_pytorch_model.safetensors unet/model.onnx
    unet/model.onnx_data unet/openvino_model.bin vae/config.json vae/diffusion_flax_model.msgpack
    vae/diffusion_pytorch_model.fp16.safetensors vae/diffusion_pytorch_model.safetensors vae_1_0/config.json
    vae_1_0/diffusion_pytorch_model.safetensors vae_decoder/config.json vae_decoder/model.onnx
    vae_encoder/model.onnx
    """
)

SD15 = pipeline_of(
    {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
)
SD15_NAMES = _names(
    """
    model_index.json v1-5-pruned-emaonly.ckpt v1-5-pruned.safetensors
    feature_extractor/preprocessor_config.json safety_checker/config.json
    safety_checker/model.fp16.safetensors safety_checker/model.safetensors safety_checker/pytorch_model.bin
    safety_checker/pytorch_model.fp16.bin scheduler/scheduler_config.json text_encoder/config.json
    text_encoder/model.fp16.safetensors text_encoder/model.safetensors text_encoder/pytorch_model.bin
    text_encoder/pytorch_model.fp16.bin tokenizer/merges.txt tokenizer/vocab.json unet/config.json
    unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.fp16.bin
    unet/diffusion_pytorch_model.fp16.safetensors unet/diffusion_pytorch_model.non_ema.bin
    unet/diffusion_pytorch_model.non_ema.safetensors unet/diffusion_pytorch_model.safetensors vae/config.json
    vae/diffusion_pytorch_model.bin vae/diffusion_pytorch_model.fp16.safetensors
    vae/diffusion_pytorch_model.safetensors
    """
)

FLUX = pipeline_of(
    {
        "_class_name": "FluxPipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer_2": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "image_encoder": [None, None],
    }
)
FLUX_NAMES = _names(
    """
    flux1-dev.safetensors ae.safetensors model_index.json scheduler/scheduler_config.json
    text_encoder_2/config.json text_encoder_2/model-00001-of-00002.safetensors
    text_encoder_2/model-00002-of-00002.safetensors text_encoder_2/model.safetensors.index.json
    tokenizer_2/spiece.model tokenizer_2/tokenizer.json transformer/config.json
    transformer/diffusion_pytorch_model-00001-of-00002.safetensors
    transformer/diffusion_pytorch_model-00002-of-00002.safetensors
    transformer/diffusion_pytorch_model.safetensors.index.json
    transformer/diffusion_pytorch_model.bf16-00001-of-00002.safetensors
    transformer/diffusion_pytorch_model.bf16-00002-of-00002.safetensors
    transformer/diffusion_pytorch_model.safetensors.index.bf16.json transformer/pipeline.py
    """
)


def weights(files: list[str]) -> list[str]:
    return [path for path in files if path.endswith((".safetensors", ".bin"))]


def test_of_each_component_one_copy_as_safetensors():
    files = files_of(SDXL, SDXL_NAMES)
    assert files[0] == "model_index.json"
    assert weights(files) == [
        "text_encoder/model.safetensors",
        "text_encoder_2/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    texts = [name for name in SDXL_NAMES if name.endswith((".json", ".txt")) and not name.startswith("vae_")]
    assert sorted(set(files) - set(weights(files))) == sorted(texts)


def test_a_precision_that_is_asked_for():
    assert variants_of(SDXL, SDXL_NAMES) == ["", "fp16"]
    assert weights(files_of(SDXL, SDXL_NAMES, variant="fp16")) == [
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ]


def test_training_copies_are_no_precision_and_what_people_leave_out_comes_along():
    assert variants_of(SD15, SD15_NAMES) == ["", "fp16"]
    assert weights(files_of(SD15, SD15_NAMES)) == [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "safety_checker/model.safetensors",
    ]
    assert "feature_extractor/preprocessor_config.json" in files_of(SD15, SD15_NAMES)


def test_parts_come_with_the_index_of_their_own_precision():
    main, bf16 = files_of(FLUX, FLUX_NAMES), files_of(FLUX, FLUX_NAMES, variant="bf16")
    name = "transformer/diffusion_pytorch_model"
    inside = [path for path in main if path.startswith("transformer/")]
    assert inside == [
        "transformer/config.json",
        f"{name}-00001-of-00002.safetensors",
        f"{name}-00002-of-00002.safetensors",
        f"{name}.safetensors.index.json",
    ]
    assert [path for path in bf16 if path.startswith("transformer/")] == [
        "transformer/config.json",
        f"{name}.bf16-00001-of-00002.safetensors",
        f"{name}.bf16-00002-of-00002.safetensors",
        f"{name}.safetensors.index.bf16.json",
    ]
    assert "text_encoder_2/model-00002-of-00002.safetensors" in bf16, "the main one where there is no other"
    assert "tokenizer_2/spiece.model" in main
    assert not any(path.endswith(".py") for path in main)


def test_a_copy_with_a_missing_part_is_no_copy():
    names = [
        name
        for name in FLUX_NAMES
        if name != "transformer/diffusion_pytorch_model.bf16-00002-of-00002.safetensors"
    ]
    assert variants_of(FLUX, names) == [""]
    names = [
        name for name in names if name != "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
    ]
    with pytest.raises(NotAModelError, match="transformer"):
        files_of(FLUX, names)


def test_a_pickle_only_where_there_is_nothing_else():
    names = [name for name in SD15_NAMES if not name.endswith(".safetensors") or name.startswith("vae/")]
    assert weights(files_of(SD15, names)) == [
        "text_encoder/pytorch_model.bin",
        "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.safetensors",
        "safety_checker/pytorch_model.bin",
    ]
    only_fp16 = [name for name in SD15_NAMES if ".fp16." in name or name.endswith(".json")]
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in files_of(SD15, only_fp16)


def test_weights_of_other_programs_are_none():
    names = [name for name in SDXL_NAMES if not name.startswith("unet/") or "safetensors" not in name]
    with pytest.raises(NotAModelError, match="unet"):
        files_of(SDXL, names)


def test_a_folder_inside_a_repository_keeps_to_itself():
    names = [*(f"diffusers/{name}" for name in SD15_NAMES), "unet/diffusion_pytorch_model.safetensors"]
    files = files_of(SD15, names, "diffusers")
    assert files[0] == "diffusers/model_index.json"
    assert all(path.startswith("diffusers/") for path in files)
    assert len(files) == len(files_of(SD15, SD15_NAMES))
