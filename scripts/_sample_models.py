"""A small models folder to look at: real file names, real tensor names, a few kilobytes each.

Headers are what the real files have in the places that tell what a model is; weights are one row of
made-up numbers. The files are valid, the same bytes on every machine, and of no use for pictures.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]

_SD_UNET = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
_SD_VAE = {"encoder.conv_in.weight": (1, 3, 3, 3), "decoder.conv_in.weight": (1, 4, 3, 3)}
_LORA_SD = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
_LORA_FLUX = "lora_unet_double_blocks_0_img_attn_proj"

SD15: Shapes = {
    _SD_UNET: (1, 768),
    "model.diffusion_model.time_embed.0.weight": (1, 320),
    "first_stage_model.decoder.conv_in.weight": (1, 4, 3, 3),
    "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight": (1, 768),
}
SDXL: Shapes = {
    _SD_UNET: (1, 2048),
    "model.diffusion_model.label_emb.0.0.weight": (1, 2816),
    "first_stage_model.decoder.conv_in.weight": (1, 4, 3, 3),
    "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight": (1, 1280),
}
SD3: Shapes = {
    "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (1, 2432),
    "first_stage_model.decoder.conv_in.weight": (1, 16, 3, 3),
    "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight": (1, 768),
}
LTXV: Shapes = {
    "model.diffusion_model.patchify_proj.weight": (1, 128),
    "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight": (1, 4096),
    "vae.decoder.conv_in.conv.weight": (1, 128, 3),
}
FLUX: Shapes = {
    "double_blocks.0.img_attn.norm.query_norm.scale": (128,),
    "double_blocks.0.img_attn.qkv.weight": (1, 3072),
    "single_blocks.0.linear1.weight": (1, 3072),
}
WAN: Shapes = {
    "patch_embedding.weight": (1, 16, 1, 2, 2),
    "blocks.0.cross_attn.q.weight": (1, 5120),
    "blocks.0.self_attn.q.weight": (1, 5120),
}
QWEN_IMAGE: Shapes = {
    "txt_norm.weight": (3584,),
    "transformer_blocks.0.img_mod.1.weight": (1, 3072),
    "transformer_blocks.0.attn.to_q.weight": (1, 3072),
    "proj_out.weight": (1, 3072),
}
Z_IMAGE: Shapes = {
    "noise_refiner.0.attention.qkv.weight": (1, 3840),
    "cap_embedder.1.weight": (1, 2560),
    "layers.0.attention.qkv.weight": (1, 3840),
}
LORA_SD15: Shapes = {f"{_LORA_SD}.lora_down.weight": (1, 768), f"{_LORA_SD}.lora_up.weight": (320, 1)}
LORA_SDXL: Shapes = {f"{_LORA_SD}.lora_down.weight": (1, 2048), f"{_LORA_SD}.lora_up.weight": (640, 1)}
LORA_FLUX: Shapes = {f"{_LORA_FLUX}.lora_down.weight": (1, 3072), f"{_LORA_FLUX}.lora_up.weight": (1, 1)}
LORA_WAN: Shapes = {
    "diffusion_model.blocks.0.cross_attn.k.lora_down.weight": (1, 5120),
    "diffusion_model.blocks.0.cross_attn.k.lora_up.weight": (1, 1),
}
LORA_QWEN: Shapes = {
    "transformer_blocks.0.attn.to_k.lora_down.weight": (1, 3072),
    "transformer_blocks.0.attn.to_k.lora_up.weight": (1, 1),
}
VAE_SD: Shapes = {**_SD_VAE, "quant_conv.weight": (8, 8, 1, 1)}
VAE_FLUX: Shapes = {"encoder.conv_in.weight": (1, 3, 3, 3), "decoder.conv_in.weight": (1, 16, 3, 3)}
VAE_WAN: Shapes = {"encoder.conv1.weight": (1, 3, 3, 3, 3), "decoder.conv1.weight": (1, 16, 3, 3, 3)}
CONTROLNET: Shapes = {
    "controlnet_cond_embedding.conv_in.weight": (1, 3, 3, 3),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (1, 768),
}
CONTROLNET_SDXL: Shapes = {
    "controlnet_cond_embedding.conv_in.weight": (1, 3, 3, 3),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (1, 2048),
}
CLIP_TEXT: Shapes = {"text_model.encoder.layers.0.self_attn.q_proj.weight": (1, 768)}
T5: Shapes = {"encoder.block.0.layer.0.SelfAttention.q.weight": (1, 4096)}
QWEN_TEXT: Shapes = {"model.layers.0.self_attn.q_proj.weight": (1, 3584)}
CLIP_VISION: Shapes = {"vision_model.encoder.layers.0.self_attn.q_proj.weight": (1, 1280)}
ESRGAN: Shapes = {"body.0.rdb1.conv1.weight": (1, 64, 3, 3), "conv_first.weight": (1, 3, 3, 3)}
EMBEDDING: Shapes = {"emb_params": (2, 768)}
STYLE: Shapes = {"redux_up.weight": (1, 1152), "redux_down.weight": (1, 3072)}

_XL_SPEC = {"modelspec.sai_model_spec": "1.0.0", "modelspec.architecture": "stable-diffusion-xl-v1-base"}
_XL_LORA = {
    "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_network_dim": "8",
}
_SD_LORA = {"ss_base_model_version": "sd_v1", "ss_network_module": "networks.lora", "ss_network_dim": "8"}
_FLUX_LORA = {"ss_base_model_version": "flux1", "modelspec.architecture": "flux-1-dev/lora"}


@dataclass(frozen=True)
class Sample:
    """One file: path below the models folder, tensors, their type, the header's text."""

    path: str
    tensors: Shapes
    dtype: str = "F16"
    metadata: Mapping[str, str] = field(default_factory=dict)


SAMPLES = (
    Sample("checkpoints/sd_xl_base_1.0.safetensors", SDXL, metadata=_XL_SPEC),
    Sample("checkpoints/sd_xl_base_1.0_0.9vae.safetensors", SDXL, metadata=_XL_SPEC),
    Sample("checkpoints/juggernautXL_v9Rdphoto2Lightning.safetensors", SDXL),
    Sample("checkpoints/ponyDiffusionV6XL_v6StartWithThisOne.safetensors", SDXL),
    Sample("checkpoints/SD1.5/v1-5-pruned-emaonly-fp16.safetensors", SD15),
    Sample("checkpoints/SD1.5/dreamshaper_8.safetensors", SD15),
    Sample("checkpoints/SD1.5/realisticVisionV60B1_v51VAE.safetensors", SD15),
    Sample("checkpoints/sd3.5_large_fp8_scaled.safetensors", SD3, "F8_E4M3"),
    Sample("checkpoints/ltx-2-19b-dev-fp8.safetensors", LTXV, "F8_E4M3"),
    Sample("diffusion_models/flux1-dev.safetensors", FLUX, "BF16"),
    Sample("diffusion_models/flux1-schnell.safetensors", FLUX, "BF16"),
    Sample("diffusion_models/qwen_image_fp8_e4m3fn.safetensors", QWEN_IMAGE, "F8_E4M3"),
    Sample("diffusion_models/qwen_image_edit_2511_bf16.safetensors", QWEN_IMAGE, "BF16"),
    Sample("diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", WAN, "F8_E4M3"),
    Sample("diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors", WAN, "F8_E4M3"),
    Sample("diffusion_models/z_image_turbo_bf16.safetensors", Z_IMAGE, "BF16"),
    Sample("loras/lcm-lora-sdv1-5.safetensors", LORA_SD15, metadata=_SD_LORA),
    Sample("loras/add_detail.safetensors", LORA_SD15, metadata={**_SD_LORA, "ss_output_name": "add_detail"}),
    Sample("loras/sd_xl_offset_example-lora_1.0.safetensors", LORA_SDXL, metadata=_XL_LORA),
    Sample("loras/sdxl_lightning_4step_lora.safetensors", LORA_SDXL, metadata=_XL_LORA),
    Sample("loras/pixel-art-xl.safetensors", LORA_SDXL, metadata=_XL_LORA),
    Sample("loras/flux_realism_lora.safetensors", LORA_FLUX, "BF16", _FLUX_LORA),
    Sample("loras/Wan/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors", LORA_WAN),
    Sample("loras/Wan/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors", LORA_WAN),
    Sample("loras/Qwen-Image-Lightning-4steps-V1.0.safetensors", LORA_QWEN, "BF16"),
    Sample("vae/vae-ft-mse-840000-ema-pruned.safetensors", VAE_SD, "F32"),
    Sample("vae/sdxl_vae.safetensors", VAE_SD, "F32"),
    Sample("vae/ae.safetensors", VAE_FLUX, "F32"),
    Sample("vae/wan_2.1_vae.safetensors", VAE_WAN, "BF16"),
    Sample("text_encoders/clip_l.safetensors", CLIP_TEXT),
    Sample("text_encoders/t5xxl_fp16.safetensors", T5),
    Sample("text_encoders/t5xxl_fp8_e4m3fn_scaled.safetensors", T5, "F8_E4M3"),
    Sample("text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors", T5, "F8_E4M3"),
    Sample("text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors", QWEN_TEXT, "F8_E4M3"),
    Sample("clip_vision/clip_vision_h.safetensors", CLIP_VISION),
    Sample("controlnet/control_v11p_sd15_canny_fp16.safetensors", CONTROLNET),
    Sample("controlnet/control_v11f1p_sd15_depth_fp16.safetensors", CONTROLNET),
    Sample("controlnet/controlnet-union-sdxl-1.0-promax.safetensors", CONTROLNET_SDXL),
    Sample("upscale_models/RealESRGAN_x4plus.safetensors", ESRGAN, "F32"),
    Sample("upscale_models/4x-UltraSharp.safetensors", ESRGAN, "F32"),
    Sample("embeddings/EasyNegative.safetensors", EMBEDDING, "F32"),
    Sample("style_models/flux1-redux-dev.safetensors", STYLE, "BF16"),
)

GGUF_SAMPLES = (
    Sample("diffusion_models/flux1-dev-Q8_0.gguf", FLUX, "F16", {"general.architecture": "flux"}),
    Sample("text_encoders/t5-v1_1-xxl-encoder-Q8_0.gguf", T5, "F16", {"general.architecture": "t5encoder"}),
)

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}
_GGUF_F16, _GGUF_TEXT, _GGUF_ALIGNMENT = 1, 8, 32


def write_sample_models(folder: Path) -> int:
    """Write every sample that is not there yet below `folder`; returns how many there are in all."""
    for samples, content_of in ((SAMPLES, safetensors_bytes), (GGUF_SAMPLES, gguf_bytes)):
        for sample in samples:
            path = folder / sample.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(content_of(sample))
    return len(SAMPLES) + len(GGUF_SAMPLES)


def safetensors_bytes(sample: Sample) -> bytes:
    """Return a safetensors file: length of the header, header, weights."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", **sample.metadata}}
    offset = 0
    for name, shape in sorted(sample.tensors.items()):
        end = offset + prod(shape) * _BYTES[sample.dtype]
        header[name] = {"dtype": sample.dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + _weights(sample, offset)


def gguf_bytes(sample: Sample) -> bytes:
    """Return a GGUF file, version 3: counts, key-values, tensor infos, weights, all of type F16."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    metadata = {**sample.metadata, "general.name": Path(sample.path).stem}
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(sample.tensors), len(metadata))]
    parts += [text(key) + struct.pack("<I", _GGUF_TEXT) + text(value) for key, value in metadata.items()]
    offset = 0
    for name, shape in sorted(sample.tensors.items()):
        extents = struct.pack(f"<{len(shape)}Q", *reversed(shape))  # the fastest axis comes first
        parts += [text(name), struct.pack("<I", len(shape)), extents, struct.pack("<IQ", _GGUF_F16, offset)]
        offset += -(-prod(shape) * 2 // _GGUF_ALIGNMENT) * _GGUF_ALIGNMENT
    header = b"".join(parts)
    return header + bytes(-len(header) % _GGUF_ALIGNMENT) + _weights(sample, offset)


def _weights(sample: Sample, count: int) -> bytes:
    return random.Random(sample.path).randbytes(count)
