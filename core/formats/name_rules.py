"""What a file name says about a model, as data: the first rule that fits wins.

A name is only asked where the header does not tell, or for what no header can tell (Pony and SDXL have the same
tensors). Rules are regular expressions over the name's words, which `name_words` sets apart: ``ponyXL-v6`` is
``ponyxl v 6`` and ``pony xl v 6``.

Source: the names of the models in ComfyUI's workflow templates (``comfyui-workflow-templates-json``) with the folders
that those name, and the names under which other models are published; a test counts how many come out right.
"""

from __future__ import annotations

from typing import NamedTuple

_SD15, _SD21, _SDXL = ("sd", "SD 1.5"), ("sd", "SD 2.1"), ("sdxl", "SDXL 1.0")

FAMILY_NAMES: tuple[tuple[str, tuple[str, str]], ...] = (
    (r"flux ?3", ("flux3", "Flux.3")),
    (r"flux ?2|flux 2 klein", ("flux2", "Flux.2")),
    (r"kontext", ("flux", "Flux.1 Kontext")),
    (r"flux( 1)? krea", ("flux", "Flux.1 Krea")),
    (r"flux 1|flux", ("flux", "Flux.1")),
    (r"pony(diffusion|xl)?", ("sdxl", "Pony")),
    (r"illustrious(xl)?|ilxl", ("sdxl", "Illustrious")),
    (r"noob ?ai(xl)?", ("sdxl", "NoobAI")),
    (r"(sd xl|sdxl) turbo", ("sdxl", "SDXL Turbo")),
    (r"(sd xl|sdxl) lightning", ("sdxl", "SDXL Lightning")),
    (r"(sd xl|sdxl) refiner", ("sdxl", "SDXL Refiner")),
    (r"sd xl|sdxl", _SDXL),
    (r"(sd|stable diffusion) 3\.5", ("sd3", "SD 3.5")),
    (r"(sd|stable diffusion) 3( medium)?", ("sd3", "SD 3")),
    (r"stable cascade", ("stable-cascade", "Stable Cascade")),
    (r"stable audio 3", ("stable-audio", "Stable Audio 3")),
    (r"stable audio", ("stable-audio", "Stable Audio")),
    (r"svd|stable video", ("svd", "Stable Video Diffusion")),
    (r"v 1 5|sd 15|sd 1\.5|sd 1 5|sd v 1(\.5)?|v 1\.5 pruned", _SD15),
    (r"v 1 4|sd 1\.4", ("sd", "SD 1.4")),
    (r"v 2 1|sd 21|sd 2\.1|sd v 2", _SD21),
    (r"wan ?2[. ]?2|chrono ?edit|dancer", ("wan", "Wan 2.2")),
    (r"wan ?2[. ]?1|humo|scail 2|vace", ("wan", "Wan 2.1")),
    (r"wan", ("wan", "Wan")),
    (r"qwen image 2\.1", ("qwen-image", "Qwen-Image 2.1")),
    (r"qwen (image )?edit|fire ?red image edit", ("qwen-image", "Qwen-Image-Edit")),
    (r"qwen image", ("qwen-image", "Qwen-Image")),
    (r"z ?image", ("z-image", "Z-Image")),
    (r"ltxv? ?2(\.\d)?", ("ltxv", "LTX-2")),
    (r"ltxv?|ltx video", ("ltxv", "LTX-Video")),
    (r"hunyuan ?video ?1?[. ]?5", ("hunyuan-video", "HunyuanVideo 1.5")),
    (r"hunyuan ?video", ("hunyuan-video", "HunyuanVideo")),
    (r"hunyuan ?image", ("hunyuan-image", "HunyuanImage 2.1")),
    (r"hunyuan ?3 d v 2\.1", ("hunyuan-3d", "Hunyuan3D 2.1")),
    (r"hunyuan ?3 d( dit)?( v 2)?", ("hunyuan-3d", "Hunyuan3D 2")),
    (r"hidream o 1", ("hidream", "HiDream-O1")),
    (r"hidream", ("hidream", "HiDream")),
    (r"chroma radiance", ("chroma", "Chroma Radiance")),
    (r"chroma|chroma ?1", ("chroma", "Chroma")),
    (r"neta ?yume(v)?|neta ?lumina|lumina", ("lumina", "Lumina 2")),
    (r"anima", ("anima", "Anima")),
    (r"cosmos predict 2", ("cosmos", "Cosmos Predict2")),
    (r"cosmos", ("cosmos", "Cosmos")),
    (r"ace ?step v? ?1\.5|ace ?15|ace 1\.5", ("ace-step", "ACE-Step 1.5")),
    (r"ace ?step", ("ace-step", "ACE-Step")),
    (r"omnigen ?2", ("omnigen", "OmniGen2")),
    (r"kandinsky ?5( ?lite)?", ("kandinsky", "Kandinsky 5")),
    (r"ernie image", ("ernie-image", "ERNIE-Image")),
    (r"longcat image", ("longcat-image", "LongCat-Image")),
    (r"ovis image|ovis 2\.5", ("ovis-image", "Ovis-Image")),
    (r"new ?bie image", ("newbie", "NewBie Image")),
    (r"minimax music ?3?", ("minimax", "MiniMax Music 3")),
    (r"minimax h 3|fasth 3", ("minimax", "MiniMax H3")),
    (r"ideogram ?4?", ("ideogram", "Ideogram 4")),
    (r"krea ?2", ("krea", "Krea 2")),
    (r"fibo ?2", ("fibo", "FIBO 2")),
    (r"mage flow", ("mage-flow", "Mage-Flow")),
    (r"moss image", ("moss-image", "MOSS-Image")),
    (r"ming image", ("ming-image", "Ming-Image")),
    (r"joyai image|joyimage", ("joyimage", "JoyImage")),
    (r"boogu image", ("boogu", "Boogu")),
    (r"pixeldit", ("pixeldit", "PixelDiT")),
    (r"seedvr ?2", ("seedvr", "SeedVR2")),
    (r"cogvideox?", ("cogvideox", "CogVideoX")),
    (r"mochi", ("mochi", "Mochi 1")),
    (r"aura ?flow", ("auraflow", "AuraFlow")),
    (r"pixart", ("pixart", "PixArt")),
    (r"trellis ?2", ("trellis", "TRELLIS 2")),
    (r"triposplat", ("triposplat", "TripoSplat")),
    (r"pixal ?3 d", ("pixal3d", "Pixal3D")),
    (r"sam ?3(\.1)?", ("sam", "SAM 3")),
    (r"lotus( depth)?", ("lotus", "Lotus")),
    (r"marigold( v 2)?", ("marigold", "Marigold")),
    (r"xl", _SDXL),
    (r"real ?esr ?gan|esrgan|ultra ?sharp", ("esrgan", "")),
    (r"swin ?ir", ("swinir", "")),
    (r"umt 5( xxl)?", ("t5", "UMT5-XXL")),
    (r"byt 5", ("t5", "ByT5")),
    (r"t 5 xxl", ("t5", "T5-XXL")),
    (r"t 5|t 5 gemma", ("t5", "")),
    (r"(sig ?)?clip vision g", ("clip", "CLIP-ViT-G")),
    (r"clip vision h|clip vit h", ("clip", "CLIP-ViT-H")),
    (r"sig ?(c)?lip( vision)?", ("siglip", "SigLIP")),
    (r"dino v 3", ("dino", "DINOv3")),
    (r"clip l", ("clip", "CLIP-L")),
    (r"clip g", ("clip", "CLIP-G")),
    (r"clip", ("clip", "")),
    (r"wav 2 vec ?2?", ("wav2vec", "wav2vec 2.0")),
    (r"whisper", ("whisper", "Whisper")),
    (r"llama|llava", ("llama", "")),
    (r"qwen ?3 ?vl", ("qwen", "Qwen3-VL")),
    (r"qwen 3\.5", ("qwen", "Qwen 3.5")),
    (r"qwen 2\.5 vl", ("qwen", "Qwen2.5-VL")),
    (r"qwen 3", ("qwen", "Qwen 3")),
    (r"qwen", ("qwen", "")),
    (r"gemma ?4", ("gemma", "Gemma 4")),
    (r"gemma 3", ("gemma", "Gemma 3")),
    (r"gemma 2", ("gemma", "Gemma 2")),
    (r"gemma", ("gemma", "")),
    (r"mistral|ministral", ("mistral", "")),
    (r"gpt oss", ("gpt-oss", "GPT-OSS")),
)
"""Words in file names that tell the family and base model."""

ENCODER_FAMILIES = ("t5", "clip", "siglip", "llama", "qwen", "gemma", "mistral", "gpt-oss")
"""Families of text encoders: their names often also say which diffusion model they are meant for."""

SAME_TENSORS: dict[str, tuple[str, ...]] = {
    "z-image": ("lumina",),
    "chroma": ("flux",),
    "ovis-image": ("flux",),
    "longcat-image": ("flux",),
    "mage-flow": ("qwen-image",),
    "flux2": ("flux",),
    "flux3": ("flux", "flux2"),
    "qwen-image": ("wan",),
    "anima": ("cosmos", "wan"),
    "hunyuan-video": ("flux",),
}
"""Families of which some tensors are named like those of others: there the name may tell them apart."""


class NameRule(NamedTuple):
    """A file whose name has ``words`` in it, and not ``unless``, belongs in ``subtype``."""

    words: str
    subtype: str
    unless: str = ""


SUBTYPE_NAMES: tuple[NameRule, ...] = (
    NameRule(r"control lora|controlnet lora", "controlnet", r"ic lora"),
    NameRule(r"lora|lycoris|locon|loha|lokr", "loras"),
    NameRule(r"lightx 2 v|lightning \d+ steps", "loras"),
    NameRule(r"marigold v 2", "loras", r"vae|conditioning"),
    NameRule(r"diffsynth controlnet|lllite|uso flux 1 projector", "model_patches"),
    NameRule(r"(z image|minimax h 3) (\S+ )*controlnet", "model_patches"),
    NameRule(r"infinite ?talk (multi|single)", "model_patches"),
    NameRule(r"controlnet|control v 11 \w+|t 2 i ?adapter", "controlnet"),
    NameRule(r"ip ?adapter", "ipadapter"),
    NameRule(r"photo ?maker", "photomaker"),
    NameRule(r"gligen", "gligen"),
    NameRule(r"redux", "style_models"),
    NameRule(r"taesd(xl)?|taef 1|taef 2|taehv|taew|lighttae\w*", "vae_approx"),
    NameRule(
        r"(with|baked|bake|no|includes|incl|0\.9) ?vae|vae (baked|included|fix)|(baked|no|with)vae",
        "checkpoints",
    ),
    NameRule(r"vae", "vae"),
    NameRule(r"(sig)?clip vision|siglip|clip vi ?t|dino v [23]", "clip_vision", r"body"),
    NameRule(r"(spatial|temporal|latent) (upscaler|upsampler)", "latent_upscale_models"),
    NameRule(r"whisper|wav 2 vec 2?|audio encoder|sheetsage( \d)?", "audio_encoders"),
    NameRule(r"(embedding|textual inversion)|marigold (\S+ )*conditioning", "embeddings"),
    NameRule(r"birefnet|rmbg", "background_removal"),
    NameRule(r"film net|rife", "frame_interpolation"),
    NameRule(r"depth anything|moge", "geometry_estimation"),
    NameRule(r"raft (large|small)", "optical_flow"),
    NameRule(r"sam 3 d body", "detection"),
    NameRule(r"real ?esr ?gan|esrgan|bsrgan|swin ?ir|ultra ?sharp|nmkd|remacri", "upscale_models"),
    NameRule(r"text encoder(s)?|prompt (enhancer|upsampler)", "text_encoders"),
    NameRule(
        r"(u|by)?m?t 5( ?(xxl|xl|base|small|large|gemma|encoder))?|t 5(xxl|gemma)|umt 5", "text_encoders"
    ),
    NameRule(r"clip [lg]|jina clip|long clip", "text_encoders"),
    NameRule(r"llama|llava|gemma|mistral|ministral|gpt oss|ling mini|ovis 2\.5", "text_encoders"),
    NameRule(r"qwen 3 ?vl|qwen 2\.5 vl|qwen (\d+(\.\d+)? )?(0\d|[\d.]+) b", "text_encoders"),
)
"""Words in file names that tell the folder, where the header does not."""

WHOLE_NAMES: dict[str, str] = {
    "ae": "vae",
    "full encoder small decoder": "vae",
    "minimax music 3 dav": "vae",
    "v 1 5 pruned emaonly": "checkpoints",
    "v 1 5 pruned": "checkpoints",
}
"""Names that tell the folder only as a whole."""

BASE_NAMES: tuple[NameRule, ...] = (
    NameRule(r"(sd xl|sdxl|sd 3(\.5)?|sd v? ?\d(\.\d)?|stable diffusion)", "checkpoints"),
    NameRule(
        r"(ace step( v)?|neta ?yumev?|stable audio( open)?|hunyuan 3 d|sam 3\.1|hidream o 1|svd|yue ?2"
        r"|sdpose wholebody)",
        "checkpoints",
    ),
    NameRule(r"ltx (video|2(\.\d)?)", "checkpoints", r"transformer|2\.5"),
    NameRule(r"flux 1 dev fp 8|flux 1 schnell fp 8", ""),
    NameRule(
        r"(flux( ?[123]|\.1)?|wan( ?2(\.[12]| [12])|21|22)?|qwen image|z image|hidream [ie] 1|chroma( ?1)?|omnigen ?2"
        r"|kandinsky ?5( ?lite)?|hunyuan ?video|hunyuan ?image|anima|ernie image|longcat image|ovis image|krea ?2"
        r"|ideogram ?4|lens|boogu image|mage flow|ming image|moss image|joyai image|fibo ?2|pixeldit|seedvr ?2"
        r"|acestep v|cosmos|lumina|new ?bie image|minimax (h|music) 3|ltx 2\.5|pixal ?3 d|trellis ?2|lotus depth"
        r"|firered image|chrono edit|capybara|causal forcing|humo|triposplat|rt detr|void pass|pid flux 1|cogvideox?"
        r"|(fastvideo )?fasth 3)",
        "diffusion_models",
    ),
)
"""How the names of base models begin, and the folder for which they are published. A name is one of a base
model only if its other words are numbers, single letters and `BASE_WORDS`: others are of LoRAs and merges."""

BASE_WORDS = frozenset(
    """
    base full dev schnell fast turbo distill distilled pro sft pretrained preview exp hd xl large medium
    small mini image fp bf int nvfp mxfp fn scaled mixed awq convrot pruned emaonly ema kj comfy klein
    kontext krea edit inpaint inpainting inp fill canny depth fun camera control layered dit open video
    audio mv all in one refiner animate vace scail move high low noise ti flf transformer flow unconditional
    ref va fl radiance onereward wanmove ati design multiview hgnet bernini dancer global local framewise
    multiplex px to omniref sr aio kv xt xs mxl step
    """.split()  # noqa: SIM905
)
"""Words of which, beside the family's own, the published names of base models are made."""

NAME_PRECISIONS: tuple[tuple[str, str], ...] = (
    (r"fp 8 e 4 m 3 fn", "fp8_e4m3fn"),
    (r"fp 8 e 5 m 2", "fp8_e5m2"),
    (r"fp 8( scaled)? e 4 m 3 fn", "fp8_e4m3fn"),
    (r"fp 8 ?(mixed)?", "fp8"),
    (r"int 8", "int8"),
    (r"w 4 a 8", "w4a8"),
    (r"nvfp 4", "nvfp4"),
    (r"mxfp 8", "mxfp8"),
    (r"fp 4", "fp4"),
    (r"fp 16", "fp16"),
    (r"bf 16", "bf16"),
    (r"fp 32", "fp32"),
    (r"q 8 0", "q8_0"),
    (r"q 6 k", "q6_k"),
    (r"q 5 k m", "q5_k_m"),
    (r"q 5 k s", "q5_k_s"),
    (r"q 4 k m", "q4_k_m"),
    (r"q 4 k s", "q4_k_s"),
    (r"q 4 0", "q4_0"),
    (r"q 3 k m", "q3_k_m"),
    (r"q 3 k s", "q3_k_s"),
    (r"q 2 k", "q2_k"),
)
"""Words in file names that tell the precision."""

NAME_VARIANTS: tuple[tuple[str, str], ...] = tuple(
    (word, word)
    for word in (
        "inpainting", "inpaint", "refiner", "kontext", "fill", "turbo", "lightning", "schnell", "dev", "pruned",
        "distilled",
    )
)  # fmt: skip
"""Words in file names that tell a variant."""
