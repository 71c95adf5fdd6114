"""What a header's own key-values say about a model, as data: the first rule that fits wins.

Sources: ``modelspec.*`` as in Stability's SAI Model Spec; ``ss_*`` as kohya's sd-scripts, musubi-tuner, OneTrainer
and ai-toolkit write them; ``general.architecture`` as llama.cpp and ComfyUI-GGUF write it.
"""

from __future__ import annotations

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
    "animatediff_models": "diffusion",
    "text_encoders": "llm",
    "LLM": "llm",
    "llm": "llm",
    "clip_vision": "vision",
    "upscale_models": "vision",
    "latent_upscale_models": "vision",
    "photomaker": "vision",
    "background_removal": "vision",
    "frame_interpolation": "vision",
    "geometry_estimation": "vision",
    "optical_flow": "vision",
    "detection": "vision",
    "audio_encoders": "audio",
}
"""Model type of each of ComfyUI's folders."""

GGUF_SUBTYPES = {
    **dict.fromkeys(
        (
            "flux", "flux2", "sd1", "sd2", "sd3", "sdxl", "wan", "ltxv", "hyvid", "aura", "hidream", "cosmos", "chroma",
            "qwen_image", "lumina2", "z_image", "omnigen2", "kandinsky5", "pixart", "mochi", "anima",
        ),
        "diffusion_models",
    ),
    **dict.fromkeys(
        (
            "t5", "t5encoder", "umt5", "llama", "llama4", "qwen2", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen35",
            "gemma", "gemma2", "gemma3", "gemma4", "mistral3", "clip", "gpt-oss", "phi3",
        ),
        "text_encoders",
    ),
}  # fmt: skip
"""``general.architecture`` of GGUF files, and the folder it stands for."""

SPEC_SUBTYPES = {
    "lora": "loras",
    "locon": "loras",
    "loha": "loras",
    "lokr": "loras",
    "textual-inversion": "embeddings",
    "controlnet": "controlnet",
    "control-lora": "controlnet",
    "vae": "vae",
}
"""What stands after the slash in ``modelspec.architecture``."""

METADATA_KEYS = (
    "modelspec.architecture",
    "ss_base_model_version",
    "general.architecture",
    "modelspec.implementation",
    "ss_sd_model_name",
)
"""Header keys that name the architecture, most trustworthy first."""

BASE_NAME_KEYS = ("ss_sd_model_name", "ss_base_model_name", "modelspec.title")
"""Header keys with a name that may tell the base model more closely, by the rules for file names."""

_SD15, _SD21, _SDXL = ("sd", "SD 1.5"), ("sd", "SD 2.1"), ("sdxl", "SDXL 1.0")

METADATA_ARCHITECTURES: tuple[tuple[str, tuple[str, str]], ...] = (
    ("stable-diffusion-xl-v1-refiner", ("sdxl", "SDXL Refiner")),
    ("stable-diffusion-xl", _SDXL),
    ("sdxl", _SDXL),
    ("stable-diffusion-v1", _SD15),
    ("sd_v1", _SD15),
    ("sd_1", _SD15),
    ("sd1", _SD15),
    ("stable-diffusion-v2", _SD21),
    ("sd_v2", _SD21),
    ("sd_2", _SD21),
    ("sd2", _SD21),
    ("stable-diffusion-v3", ("sd3", "SD 3.5")),
    ("stable-diffusion-3", ("sd3", "SD 3.5")),
    ("sd3", ("sd3", "SD 3.5")),
    ("stable-cascade", ("stable-cascade", "Stable Cascade")),
    ("stable-video", ("svd", "Stable Video Diffusion")),
    ("flux-2", ("flux2", "Flux.2")),
    ("flux.2", ("flux2", "Flux.2")),
    ("flux2", ("flux2", "Flux.2")),
    ("flux-1-kontext", ("flux", "Flux.1 Kontext")),
    ("flux-kontext", ("flux", "Flux.1 Kontext")),
    ("flux", ("flux", "Flux.1")),
    ("wan2.2", ("wan", "Wan 2.2")),
    ("wan22", ("wan", "Wan 2.2")),
    ("wan2.1", ("wan", "Wan 2.1")),
    ("wan21", ("wan", "Wan 2.1")),
    ("wan", ("wan", "Wan")),
    ("ltx2", ("ltxv", "LTX-2")),
    ("ltx-2", ("ltxv", "LTX-2")),
    ("ltx", ("ltxv", "LTX-Video")),
    ("hunyuan3d", ("hunyuan-3d", "Hunyuan3D 2")),
    ("hunyuanimage", ("hunyuan-image", "HunyuanImage 2.1")),
    ("hunyuan-dit", ("hunyuan-dit", "Hunyuan-DiT")),
    ("hunyuan", ("hunyuan-video", "HunyuanVideo")),
    ("hyvid", ("hunyuan-video", "HunyuanVideo")),
    ("framepack", ("hunyuan-video", "HunyuanVideo")),
    ("qwen-image-edit", ("qwen-image", "Qwen-Image-Edit")),
    ("qwen_image_edit", ("qwen-image", "Qwen-Image-Edit")),
    ("qwen-image", ("qwen-image", "Qwen-Image")),
    ("qwen_image", ("qwen-image", "Qwen-Image")),
    ("z-image", ("z-image", "Z-Image")),
    ("z_image", ("z-image", "Z-Image")),
    ("zimage", ("z-image", "Z-Image")),
    ("lumina", ("lumina", "Lumina 2")),
    ("hidream", ("hidream", "HiDream")),
    ("chroma", ("chroma", "Chroma")),
    ("aura", ("auraflow", "AuraFlow")),
    ("pixart", ("pixart", "PixArt")),
    ("mochi", ("mochi", "Mochi 1")),
    ("omnigen", ("omnigen", "OmniGen2")),
    ("kandinsky", ("kandinsky", "Kandinsky 5")),
    ("anima", ("anima", "Anima")),
    ("cosmos", ("cosmos", "Cosmos")),
    ("umt5", ("t5", "UMT5-XXL")),
    ("t5", ("t5", "")),
    ("llama", ("llama", "")),
    ("qwen2vl", ("qwen", "Qwen2.5-VL")),
    ("qwen3vl", ("qwen", "Qwen3-VL")),
    ("qwen3", ("qwen", "Qwen 3")),
    ("qwen", ("qwen", "")),
    ("gemma3", ("gemma", "Gemma 3")),
    ("gemma2", ("gemma", "Gemma 2")),
    ("gemma", ("gemma", "")),
    ("mistral", ("mistral", "")),
    ("gpt-oss", ("gpt-oss", "GPT-OSS")),
    ("clip", ("clip", "")),
)
"""Beginnings of architecture names, in lower case."""

PRECISIONS = {
    "F8_E4M3": "fp8_e4m3fn",
    "F8_E5M2": "fp8_e5m2",
    "F8_E8M0": "mxfp8",
    "F4": "fp4",
    "U8": "fp4",
    "F16": "fp16",
    "F32": "fp32",
    "F64": "fp64",
    "I8": "int8",
}
"""Precision that a tensor type stands for; any other type is its own name. Packed 4-bit weights are bytes."""
