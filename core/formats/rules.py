"""What is known about models, as data: the first rule that fits wins.

Sources: tensor names as ComfyUI's ``comfy/model_detection.py`` and ``spandrel`` look for them;
``modelspec.*`` as in Stability's SAI Model Spec; ``ss_*`` as kohya's sd-scripts write them.
"""

from __future__ import annotations

from typing import NamedTuple


class TensorRule(NamedTuple):
    """Fits when every text of ``all_of`` and none of ``none_of`` occurs among the tensor names.

    A text that begins with a line break is anchored at the start of a name. ``width``, if given, is a part
    of a tensor's name and an extent that its shape must have.
    """

    all_of: tuple[str, ...]
    none_of: tuple[str, ...] = ()
    width: tuple[str, int] | None = None


MODEL_TYPES = {
    "checkpoints": "diffusion",
    "diffusion_models": "diffusion",
    "loras": "diffusion",
    "vae": "diffusion",
    "vae_approx": "diffusion",
    "controlnet": "diffusion",
    "embeddings": "diffusion",
    "hypernetworks": "diffusion",
    "style_models": "diffusion",
    "gligen": "diffusion",
    "model_patches": "diffusion",
    "ipadapter": "diffusion",
    "text_encoders": "llm",
    "LLM": "llm",
    "llm": "llm",
    "clip_vision": "vision",
    "upscale_models": "vision",
    "latent_upscale_models": "vision",
    "photomaker": "vision",
    "audio_encoders": "audio",
}
"""Model type of each of ComfyUI's folders."""

SUBTYPE_TENSORS: tuple[tuple[TensorRule, str], ...] = (
    (TensorRule((".lora_up.weight",)), "loras"),
    (TensorRule((".lora_down.weight",)), "loras"),
    (TensorRule((".lora_A.",)), "loras"),
    (TensorRule((".lora.up.weight",)), "loras"),
    (TensorRule((".hada_w1_a",)), "loras"),
    (TensorRule((".lokr_w1",)), "loras"),
    (TensorRule((".oft_blocks",)), "loras"),
    (TensorRule(("\ncontrol_model.",)), "controlnet"),
    (TensorRule(("\ncontrolnet_cond_embedding.",)), "controlnet"),
    (TensorRule(("controlnet_blocks.",)), "controlnet"),
    (TensorRule(("\ncontrolnet_x_embedder.",)), "controlnet"),
    (TensorRule(("\ninput_hint_block.",)), "controlnet"),
    (TensorRule(("\nbody.0.resnets.", "\nconv_in.")), "controlnet"),
    (TensorRule(("\nip_adapter.",)), "ipadapter"),
    (TensorRule(("\nimage_proj.",)), "ipadapter"),
    (TensorRule(("\nmodel.diffusion_model.", "first_stage_model.")), "checkpoints"),
    (TensorRule(("\nmodel.diffusion_model.", "cond_stage_model.")), "checkpoints"),
    (TensorRule(("\nmodel.diffusion_model.", "\nconditioner.")), "checkpoints"),
    (TensorRule(("\nmodel.diffusion_model.", "\nvae.")), "checkpoints"),
    (TensorRule(("\nmodel.diffusion_model.", "\ntext_encoders.")), "checkpoints"),
    (TensorRule(("\nmodel.diffusion_model.",)), "diffusion_models"),
    (TensorRule(("double_blocks.0.img_attn.",)), "diffusion_models"),
    (TensorRule(("joint_blocks.0.",)), "diffusion_models"),
    (TensorRule(("blocks.0.cross_attn.", "patch_embedding.")), "diffusion_models"),
    (TensorRule(("transformer_blocks.0.attn.", "proj_out.")), "diffusion_models"),
    (TensorRule(("transformer_blocks.0.attn1.", "patchify_proj.")), "diffusion_models"),
    (TensorRule(("\ndown_blocks.0.", "\nup_blocks.0.", "\ntime_embedding.")), "diffusion_models"),
    (TensorRule(("\ninput_blocks.0.0.", "\nout.0.", "\ntime_embed.0.")), "diffusion_models"),
    (TensorRule(("noise_refiner.0.",)), "diffusion_models"),
    (TensorRule(("\nclip_l.", "\nclip_g."), (".weight",)), "embeddings"),
    (TensorRule(("emb_params",)), "embeddings"),
    (TensorRule(("string_to_param",)), "embeddings"),
    (TensorRule(("\nfirst_stage_model.",)), "vae"),
    (TensorRule(("decoder.conv_in.", "encoder.conv_in.")), "vae"),
    (TensorRule(("\ndecoder.conv1.", "\nencoder.conv1.")), "vae"),
    (TensorRule(("decoder.up_blocks.", "encoder.down_blocks.")), "vae"),
    (TensorRule(("decoder.upsamples.", "encoder.downsamples.")), "vae"),
    (TensorRule(("\n1.weight", "\n3.conv.0.weight")), "vae_approx"),
    (TensorRule(("vision_model.encoder.layers.0.", "text_model.encoder.layers.0.")), "text_encoders"),
    (TensorRule(("vision_model.encoder.layers.0.",)), "clip_vision"),
    (TensorRule(("visual.transformer.resblocks.0.",), ("\ntransformer.resblocks.0.",)), "clip_vision"),
    (TensorRule(("text_model.encoder.layers.0.",)), "text_encoders"),
    (TensorRule(("encoder.block.0.layer.0.SelfAttention.",)), "text_encoders"),
    (TensorRule(("transformer.resblocks.0.",)), "text_encoders"),
    (TensorRule(("model.layers.0.self_attn.",)), "text_encoders"),
    (TensorRule(("layers.0.self_attn.q_proj.",)), "text_encoders"),
    (TensorRule(("\nmodel.0.weight", "\nmodel.1.sub.0.RDB1.conv1.0.weight")), "upscale_models"),
    (TensorRule(("body.0.rdb1.conv1.",)), "upscale_models"),
    (TensorRule(("RRDB_trunk.0.RDB1.",)), "upscale_models"),
    (TensorRule((".residual_group.blocks.0.",)), "upscale_models"),
    (TensorRule(("\nlayers.0.blocks.0.", "\nupsample.")), "upscale_models"),
    (TensorRule(("\nbody.0.weight", "\nbody.1.weight", "\nbody.2.weight")), "upscale_models"),
    (TensorRule(("\nparams.body.0.weight",)), "upscale_models"),
    (TensorRule(("\nto_feat.", "\nto_img.")), "upscale_models"),
    (TensorRule(("upsampler.0.weight", "\nfeats.0.")), "upscale_models"),
    (TensorRule(("\nconv_first.weight", "\nconv_last.weight")), "upscale_models"),
    (TensorRule(("\nconv_1.sk.weight",)), "upscale_models"),
)
"""Which tensors make which of ComfyUI's folders."""

GGUF_SUBTYPES = {
    **dict.fromkeys(
        (
            "flux",
            "sd1",
            "sdxl",
            "sd3",
            "wan",
            "ltxv",
            "hyvid",
            "aura",
            "hidream",
            "cosmos",
            "qwen_image",
            "lumina2",
        ),
        "diffusion_models",
    ),
    **dict.fromkeys(
        (
            "t5",
            "t5encoder",
            "llama",
            "qwen2",
            "qwen2vl",
            "qwen3",
            "qwen3vl",
            "gemma2",
            "gemma3",
            "mistral3",
            "clip",
        ),
        "text_encoders",
    ),
}
"""``general.architecture`` of GGUF files, as ComfyUI-GGUF writes and reads them."""

_SD15, _SD20, _SDXL = ("sd", "SD 1.5"), ("sd", "SD 2.1"), ("sdxl", "SDXL 1.0")

FAMILY_TENSORS: tuple[tuple[TensorRule, tuple[str, str]], ...] = (
    (
        TensorRule(("double_blocks.0.img_attn.norm.query_norm.", "single_transformer_blocks.")),
        ("flux", "Flux.1"),
    ),
    (
        TensorRule(("double_blocks.0.img_attn.", "txt_in.individual_token_refiner")),
        ("hunyuan-video", "HunyuanVideo"),
    ),
    (TensorRule(("double_blocks.0.img_attn.",)), ("flux", "Flux.1")),
    (TensorRule(("lora_unet_double_blocks_0_",)), ("flux", "Flux.1")),
    (TensorRule(("single_transformer_blocks.0.",)), ("flux", "Flux.1")),
    (TensorRule(("joint_blocks.0.",)), ("sd3", "SD 3.5")),
    (TensorRule(("patch_embedding.", "blocks.0.cross_attn.")), ("wan", "Wan")),
    (TensorRule(("patchify_proj.",)), ("ltxv", "LTX-Video")),
    (TensorRule(("txt_norm.weight", "transformer_blocks.0.img_mod")), ("qwen-image", "Qwen-Image")),
    (TensorRule(("noise_refiner.0.", "cap_embedder.")), ("lumina", "Lumina 2")),
    (TensorRule(("conditioner.embedders.1.",)), _SDXL),
    (TensorRule(("lora_te2_",)), _SDXL),
    (TensorRule(("label_emb.0.0.",)), _SDXL),
    (TensorRule(("lora_unet_input_blocks_4_1_transformer_blocks_1_",)), _SDXL),
    (TensorRule(("attn2.to_k.weight",), width=("attn2.to_k.weight", 2048)), _SDXL),
    (TensorRule(("attn2.to_k.weight",), width=("attn2.to_k.weight", 1024)), _SD20),
    (TensorRule(("attn2.to_k.weight",), width=("attn2.to_k.weight", 768)), _SD15),
    (TensorRule(("attn2_to_k.lora_down",), width=("attn2_to_k.lora_down", 2048)), _SDXL),
    (TensorRule(("attn2_to_k.lora_down",), width=("attn2_to_k.lora_down", 1024)), _SD20),
    (TensorRule(("attn2_to_k.lora_down",), width=("attn2_to_k.lora_down", 768)), _SD15),
    (TensorRule(("encoder.block.0.layer.0.SelfAttention.",)), ("t5", "")),
    (TensorRule(("body.0.rdb1.conv1.",)), ("esrgan", "")),
    (TensorRule(("\nmodel.1.sub.0.RDB1.conv1.0.weight",)), ("esrgan", "")),
    (TensorRule(("RRDB_trunk.0.RDB1.",)), ("esrgan", "")),
    (TensorRule(("\nbody.0.weight", "\nbody.1.weight", "\nbody.2.weight")), ("realesrgan-compact", "")),
    (TensorRule((".residual_group.blocks.0.",)), ("swinir", "")),
)
"""Which tensors make which family and base model."""

METADATA_KEYS = (
    "modelspec.architecture",
    "ss_base_model_version",
    "general.architecture",
    "modelspec.implementation",
    "ss_sd_model_name",
)
"""Header keys that name the architecture, most trustworthy first."""

ARCHITECTURES: tuple[tuple[str, tuple[str, str]], ...] = (
    ("stable-diffusion-xl", _SDXL),
    ("sdxl", _SDXL),
    ("stable-diffusion-v1", _SD15),
    ("sd_v1", _SD15),
    ("sd1", _SD15),
    ("stable-diffusion-v2", _SD20),
    ("sd_v2", _SD20),
    ("stable-diffusion-v3", ("sd3", "SD 3.5")),
    ("stable-diffusion-3", ("sd3", "SD 3.5")),
    ("sd3", ("sd3", "SD 3.5")),
    ("flux-2", ("flux2", "Flux.2")),
    ("flux2", ("flux2", "Flux.2")),
    ("flux", ("flux", "Flux.1")),
    ("wan", ("wan", "Wan")),
    ("ltx", ("ltxv", "LTX-Video")),
    ("hunyuan", ("hunyuan-video", "HunyuanVideo")),
    ("hyvid", ("hunyuan-video", "HunyuanVideo")),
    ("qwen-image", ("qwen-image", "Qwen-Image")),
    ("qwen_image", ("qwen-image", "Qwen-Image")),
    ("lumina", ("lumina", "Lumina 2")),
    ("hidream", ("hidream", "HiDream")),
    ("chroma", ("chroma", "Chroma")),
    ("t5", ("t5", "")),
    ("llama", ("llama", "")),
    ("qwen", ("qwen", "")),
    ("gemma", ("gemma", "")),
)
"""Beginnings of architecture names."""

FAMILY_NAMES: tuple[tuple[str, tuple[str, str]], ...] = (
    ("flux 2", ("flux2", "Flux.2")),
    ("flux 1", ("flux", "Flux.1")),
    ("flux", ("flux", "Flux.1")),
    ("pony", ("sdxl", "Pony")),
    ("ponydiffusion", ("sdxl", "Pony")),
    ("illustrious", ("sdxl", "Illustrious")),
    ("noobai", ("sdxl", "NoobAI")),
    ("sd xl turbo", ("sdxl", "SDXL Turbo")),
    ("sdxl turbo", ("sdxl", "SDXL Turbo")),
    ("sdxl lightning", ("sdxl", "SDXL Lightning")),
    ("sd xl", _SDXL),
    ("sdxl", _SDXL),
    ("xl", _SDXL),
    ("sd 3.5", ("sd3", "SD 3.5")),
    ("sd 3", ("sd3", "SD 3")),
    ("v 1 5", _SD15),
    ("v 1 4", ("sd", "SD 1.4")),
    ("v 2 1", _SD20),
    ("sd 15", _SD15),
    ("sd 1.5", _SD15),
    ("sd 1 5", _SD15),
    ("stable diffusion v 1 5", _SD15),
    ("wan 2.2", ("wan", "Wan 2.2")),
    ("wan 2 2", ("wan", "Wan 2.2")),
    ("wan 22", ("wan", "Wan 2.2")),
    ("wan 2.1", ("wan", "Wan 2.1")),
    ("wan 2 1", ("wan", "Wan 2.1")),
    ("wan", ("wan", "Wan")),
    ("qwen image edit", ("qwen-image", "Qwen-Image-Edit")),
    ("qwen image", ("qwen-image", "Qwen-Image")),
    ("z image", ("z-image", "Z-Image")),
    ("ltx 2", ("ltxv", "LTX-2")),
    ("ltxv", ("ltxv", "LTX-Video")),
    ("ltx", ("ltxv", "LTX-Video")),
    ("hunyuan video", ("hunyuan-video", "HunyuanVideo")),
    ("hunyuanvideo", ("hunyuan-video", "HunyuanVideo")),
    ("hunyuan 3 d", ("hunyuan-3d", "Hunyuan3D")),
    ("hidream", ("hidream", "HiDream")),
    ("chroma", ("chroma", "Chroma")),
    ("lumina", ("lumina", "Lumina 2")),
    ("cosmos", ("cosmos", "Cosmos")),
    ("kontext", ("flux", "Flux.1 Kontext")),
    ("realesrgan", ("esrgan", "")),
    ("esrgan", ("esrgan", "")),
    ("ultrasharp", ("esrgan", "")),
    ("swinir", ("swinir", "")),
    ("t 5", ("t5", "")),
    ("t 5 xxl", ("t5", "")),
    ("umt 5", ("t5", "")),
    ("clip", ("clip", "")),
    ("llama", ("llama", "")),
    ("qwen", ("qwen", "")),
    ("gemma", ("gemma", "")),
    ("mistral", ("mistral", "")),
)
"""Words in file names that tell the family and base model."""

SAME_TENSORS = {"z-image": "lumina", "chroma": "flux", "flux2": "flux"}
"""Families whose tensors are named like those of another: only their names tell them apart."""

SUBTYPE_NAMES: tuple[tuple[str, str], ...] = (
    ("lora", "loras"),
    ("lycoris", "loras"),
    ("controlnet", "controlnet"),
    ("control", "controlnet"),
    ("clip vision", "clip_vision"),
    ("vae", "vae"),
    ("esrgan", "upscale_models"),
    ("realesrgan", "upscale_models"),
    ("upscaler", "upscale_models"),
    ("upscale", "upscale_models"),
    ("ultrasharp", "upscale_models"),
    ("swinir", "upscale_models"),
    ("t 5 xxl", "text_encoders"),
    ("t 5", "text_encoders"),
    ("umt 5", "text_encoders"),
    ("text encoder", "text_encoders"),
    ("clip l", "text_encoders"),
    ("clip g", "text_encoders"),
    ("embedding", "embeddings"),
    ("checkpoint", "checkpoints"),
)
"""Words in file names that tell the folder, where the header does not."""

NAME_PRECISIONS: tuple[tuple[str, str], ...] = (
    ("fp 8 e 4 m 3 fn", "fp8_e4m3fn"),
    ("fp 8 e 5 m 2", "fp8_e5m2"),
    ("fp 8", "fp8"),
    ("fp 16", "fp16"),
    ("bf 16", "bf16"),
    ("fp 32", "fp32"),
    ("nvfp 4", "nvfp4"),
    ("q 8 0", "q8_0"),
    ("q 6 k", "q6_k"),
    ("q 5 k m", "q5_k_m"),
    ("q 4 k m", "q4_k_m"),
    ("q 4 k s", "q4_k_s"),
)
"""Words in file names that tell the precision."""

NAME_VARIANTS: tuple[tuple[str, str], ...] = tuple(
    (word, word)
    for word in (
        "inpainting",
        "inpaint",
        "refiner",
        "turbo",
        "lightning",
        "schnell",
        "dev",
        "pruned",
        "distilled",
    )
)
"""Words in file names that tell a variant."""
