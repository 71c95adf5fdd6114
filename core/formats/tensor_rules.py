"""What tensor names and shapes say about a model, as data: the first rule that fits wins.

Sources: which tensors ComfyUI looks for in ``comfy/model_detection.py``, ``sd.py``, ``clip_vision.py``,
``controlnet.py``, ``lora.py``, ``weight_adapter/``, ``audio_encoders/`` and the loaders of ``comfy_extras``
(0.30), and ``spandrel`` for models that work on pixels; key names of LoRAs as kohya's sd-scripts, diffusers,
PEFT, LyCORIS and OneTrainer write them.

How a text in a rule is read: a number stands for any number (``double_blocks.0.`` is every double block),
``^`` at its front means the start of a name, ``$`` the end. Dots also stand for the underscores of names like
``lora_unet_double_blocks_0_img_attn_qkv``. `PREFIXES` are taken off first for `ARCHITECTURES`.
"""

from __future__ import annotations

from typing import NamedTuple


class Fits(NamedTuple):
    """When a rule fits: every text of ``all_of``, and none of ``none_of``, is among the tensor names.

    ``width`` asks for a tensor with such a text in its name that has this extent on this axis; ``depth``
    for a name in which this word is followed by this number or a higher one.
    """

    all_of: tuple[str, ...]
    none_of: tuple[str, ...] = ()
    width: tuple[str, int, int] | None = None
    depth: tuple[str, int] | None = None


class Role(NamedTuple):
    """What a file is for, whatever the model: ``subtype`` is ComfyUI's folder."""

    what: str
    subtype: str
    fits: Fits


class Architecture(NamedTuple):
    """A network: its family and base model, and the folder of a file that holds just this."""

    family: str
    base_model: str
    subtype: str
    fits: Fits


def _role(what: str, subtype: str, *all_of: str, none_of: tuple[str, ...] = ()) -> Role:
    return Role(what, subtype, Fits(all_of, none_of))


def _model(
    family: str,
    base_model: str,
    *all_of: str,
    none_of: tuple[str, ...] = (),
    width: tuple[str, int, int] | None = None,
    depth: tuple[str, int] | None = None,
    subtype: str = "diffusion_models",
) -> Architecture:
    return Architecture(family, base_model, subtype, Fits(all_of, none_of, width, depth))


def _of(subtype: str, *rules: tuple[str, str, Fits]) -> tuple[Architecture, ...]:
    return tuple(Architecture(family, base_model, subtype, fits) for family, base_model, fits in rules)


PREFIXES = (
    "model.diffusion_model.", "diffusion_model.", "base_model.model.", "model.model.", "pipe.dit.", "module.", "netG.",
    "params_ema.", "params.", "generator.", "transformer.", "unet.", "dit.", "net.", "control_model.",
    "lora_unet_", "lora_transformer_", "lycoris_", "first_stage_model.", "vae.",
)  # fmt: skip
"""What wrappers and trainers put in front of a tensor's own name."""

_UNET = "model.diffusion_model."

ROLES: tuple[Role, ...] = (
    _role("PhotoMaker", "photomaker", "^id_encoder."),
    _role("Control-LoRA", "controlnet", "^lora_controlnet$"),
    _role("LoRA (kohya, diffusers)", "loras", "lora_up.weight"),
    _role("LoRA (kohya, diffusers)", "loras", "lora_down.weight"),
    _role("LoRA (diffusers)", "loras", "lora.up.weight"),
    _role("LoRA (diffusers)", "loras", "lora.down.weight"),
    _role("LoRA (diffusers)", "loras", "lora_linear_layer.up."),
    _role("LoRA (PEFT)", "loras", ".lora_A."),
    _role("LoRA (PEFT)", "loras", ".lora_B."),
    _role("LoRA (Mochi)", "loras", ".lora_A$"),
    _role("LoHa (LyCORIS)", "loras", ".hada_w1_a"),
    _role("LoKr (LyCORIS)", "loras", ".lokr_w1"),
    _role("LoKr (LyCORIS)", "loras", ".lokr_w2"),
    _role("OFT, BOFT", "loras", ".oft_blocks"),
    _role("OFT (PEFT)", "loras", ".oft_diag"),
    _role("GLoRA", "loras", ".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight"),
    _role("DoRA", "loras", ".dora_scale"),
    _role("difference to a model", "loras", "^diffusion_model.", ".diff$"),
    _role("difference to a model", "loras", "^diffusion_model.", ".diff_b$"),
    _role("GLIGEN", "gligen", "position_net.", ".fuser."),
    _role("IP-Adapter", "ipadapter", "^ip_adapter."),
    _role("IP-Adapter", "ipadapter", "^image_proj."),
    _role("IP-Adapter (XLabs)", "ipadapter", "ip_adapter_double_stream_"),
    _role("style model (Redux)", "style_models", "^redux_down.weight"),
    _role("style model (T2I-Adapter)", "style_models", "^style_embedding"),
    _role("DiffSynth control", "model_patches", "controlnet_blocks.0.y_rms.weight"),
    _role("USO projector", "model_patches", "^feature_embedder.mid_layer_norm."),
    _role("Z-Image Fun ControlNet", "model_patches", "^control_all_x_embedder."),
    _role("ControlNet-LLLite", "model_patches", "^lllite_"),
    _role("Uni3C", "model_patches", "^controlnet_patch_embedding."),
    _role("InfiniteTalk, MultiTalk", "model_patches", "^audio_proj.proj1.", ".audio_cross_attn."),
    _role("ControlNet (A1111)", "controlnet", "^control_model.", none_of=(_UNET,)),
    _role("ControlNet (diffusers)", "controlnet", "^controlnet_cond_embedding."),
    _role("ControlNet (DiT: Flux, SD 3, Qwen)", "controlnet", "^controlnet_blocks.0."),
    _role("ControlNet (DiT: Flux, SD 3, Qwen)", "controlnet", "^controlnet_x_embedder."),
    _role("ControlNet (DiT: Flux, SD 3, Qwen)", "controlnet", "^controlnet_single_blocks.0."),
    _role("ControlNet (Hunyuan-DiT)", "controlnet", "^after_proj_list."),
    _role("ControlNet", "controlnet", "^input_hint_block."),
    _role("T2I-Adapter", "controlnet", "^body.0.block1.weight", "conv_in.weight"),
    _role("T2I-Adapter (diffusers)", "controlnet", "adapter.body.0.resnets."),
    _role("motion module (AnimateDiff)", "animatediff_models", ".motion_modules."),
    _role("hypernetwork", "hypernetworks", "^768.0.linear.0."),
    _role("embedding", "embeddings", "^emb_params$"),
    _role("embedding", "embeddings", "^string_to_param"),
    _role("embedding (SDXL)", "embeddings", "^clip_g$"),
    _role("embedding", "embeddings", "^clip_l$"),
    _role("checkpoint", "checkpoints", _UNET, "first_stage_model."),
    _role("checkpoint", "checkpoints", _UNET, "cond_stage_model."),
    _role("checkpoint", "checkpoints", _UNET, "^conditioner."),
    _role("checkpoint", "checkpoints", _UNET, "^vae."),
    _role("checkpoint", "checkpoints", _UNET, "^text_encoders."),
    _role("checkpoint (audio)", "checkpoints", "^model.model.", "^pretransform."),
    _role("checkpoint (3D)", "checkpoints", "^model.", "^vae.geo_decoder."),
    _role("checkpoint (SAM 3)", "checkpoints", "^detector.backbone.vision_backbone."),
    _role("diffusion model", "diffusion_models", "^model.diffusion_model."),
    _role("VAE", "vae", "^first_stage_model."),
)  # fmt: skip
"""What a file is for. Where none fits, the architecture tells (`ARCHITECTURES`)."""

_SD15, _SD21, _SDXL = ("sd", "SD 1.5"), ("sd", "SD 2.1"), ("sdxl", "SDXL 1.0")
_SD3, _FLUX = ("sd3", "SD 3.5"), ("flux", "Flux.1")
_IMG_ATTN = "double_blocks.0.img_attn"
_LINEAR1 = "^single_blocks.0.linear1"
_ATTN1_Q = "^transformer_blocks.0.attn1.to_q"
_ATTN2 = "attn2.to_k"

_DIFFUSION: tuple[Architecture, ...] = (
    _model(*_SD3, "joint_blocks.0.context_block.attn.ln_q."),
    _model("sd3", "SD 3", "joint_blocks.0.context_block.attn.qkv.weight$", "^x_embedder.", none_of=("lora",)),
    _model(*_SD3, "joint_blocks.0."),
    _model("stable-cascade", "Stable Cascade", "^clip_txt_mapper.weight"),
    _model("stable-cascade", "Stable Cascade", "^clip_mapper.weight", "^clf.1."),
    _model("stable-cascade", "Stable Cascade", "^down_blocks.0.0.attention.attn."),
    _model("stable-audio", "Stable Audio", "^rotary_pos_emb.inv_freq"),
    _model("stable-audio", "Stable Audio", "layers.0.self_attn.to_qkv"),
    _model("auraflow", "AuraFlow", "double_layers.0.attn.w1q."),
    _model("auraflow", "AuraFlow", "^joint_transformer_blocks.0.attn."),
    _model("hunyuan-dit", "Hunyuan-DiT", "^mlp_t5.0."),
    _model("hunyuan-dit", "Hunyuan-DiT", "^blocks.0.attn1.Wqkv"),
    _model("hunyuan-3d", "Hunyuan3D 2", "latent_in.weight", none_of=("lora",)),
    _model("hunyuan-video", "HunyuanVideo 1.5", "txt_in.individual_token_refiner.", "^vision_in.proj."),
    _model("hunyuan-image", "HunyuanImage 2.1", "txt_in.individual_token_refiner.", "^byt5_in."),
    _model("hunyuan-image", "HunyuanImage 2.1", _IMG_ATTN, width=(_IMG_ATTN, 1, 3584)),
    _model("hunyuan-video", "HunyuanVideo 1.5", _IMG_ATTN, width=(_IMG_ATTN, 1, 2048)),
    _model("hunyuan-video", "HunyuanVideo", "txt_in.individual_token_refiner."),
    _model("hunyuan-video", "HunyuanVideo", "double_blocks.0.img_mlp.fc1"),
    _model("joyimage", "JoyImage", "double_blocks.0.attn.img_attn_qkv."),
    _model("chroma", "Chroma Radiance", "^nerf_blocks.0."),
    _model("chroma", "Chroma", "^distilled_guidance_layer."),
    _model("flux2", "Flux.2", "double_stream_modulation_img.lin"),
    _model("flux2", "Flux.2", "single_transformer_blocks.0.attn.to_qkv_mlp_proj"),
    _model("flux2", "Flux.2", _IMG_ATTN, width=(_IMG_ATTN, 1, 6144)),
    _model("flux2", "Flux.2", _IMG_ATTN, width=(_IMG_ATTN, 1, 4096)),
    _model("flux2", "Flux.2", "double_blocks.0.img_mlp.2.", width=("double_blocks.0.img_mlp.2.", 1, 9216)),
    _model("flux2", "Flux.2", _LINEAR1, width=(_LINEAR1, 1, 6144)),
    _model("flux2", "Flux.2", _LINEAR1, width=(_LINEAR1, 1, 4096)),
    _model("flux2", "Flux.2", "^single_blocks.0.linear2", width=("^single_blocks.0.linear2", 1, 12288)),
    _model("flux2", "Flux.2", "^transformer_blocks.0.ff.linear_in."),
    _model("hunyuan-3d", "Hunyuan3D 2", _IMG_ATTN, width=(_IMG_ATTN, 1, 1024)),
    _model("ovis-image", "Ovis-Image", "double_blocks.0.img_mlp.gate_proj."),
    _model("longcat-image", "LongCat-Image", _IMG_ATTN, width=("^txt_in.weight", 1, 3584)),
    _model("hunyuan-video", "HunyuanVideo", _IMG_ATTN, depth=("double_blocks", 19)),
    _model(*_FLUX, _IMG_ATTN),
    _model(*_FLUX, _LINEAR1),
    _model(*_FLUX, "single_transformer_blocks.0."),
    _model("mochi", "Mochi 1", "^t5_yproj."),
    _model("mochi", "Mochi 1", "^blocks.0.attn.qkv_x"),
    _model("mochi", "Mochi 1", "^transformer_blocks.0.attn1.add_k_proj"),
    _model("minimax", "MiniMax H3", "^video_patch_proj.weight", "^audio_patch_proj.weight"),
    _model("minimax", "MiniMax H3", "^blocks.0.attn.qkv_proj"),
    _model("ace-step", "ACE-Step", "^genre_embedder.weight"),
    _model("ace-step", "ACE-Step", "^transformer_blocks.0.cross_attn.to_q"),
    _model("pixart", "PixArt", "^t_block.1.weight"),
    _model("pixart", "PixArt", "^blocks.0.cross_attn.q_linear"),
    _model("pixart", "PixArt", "^blocks.0.cross_attn.kv_linear"),
    _model("pixart", "PixArt", "^adaln_single.emb.timestep_embedder.linear_1.", "^pos_embed.proj."),
    _model("pixart", "PixArt", _ATTN1_Q, width=(_ATTN1_Q, 1, 1152)),
    _model("ltxv", "LTX-2", "^audio_adaln_single."),
    _model("ltxv", "LTX-2", "^transformer_blocks.0.audio_attn1."),
    _model("ltxv", "LTX-Video", "^adaln_single.emb.timestep_embedder.linear_1."),
    _model("ltxv", "LTX-Video", "^patchify_proj."),
    _model("ltxv", "LTX-Video", "^transformer_blocks.0.attn1.", width=(_ATTN1_Q, 1, 4096)),
    _model("ltxv", "LTX-Video", "^transformer_blocks.0.attn1.", width=(_ATTN1_Q, 1, 2048)),
    _model("ace-step", "ACE-Step 1.5", "^encoder.lyric_encoder.layers.0."),
    _model("cosmos", "Cosmos", "^blocks.block0.blocks.0.block.attn."),
    _model("anima", "Anima", "llm_adapter.blocks.0."),
    _model("cosmos", "Cosmos Predict2", "^blocks.0.mlp.layer1.weight"),
    _model("cosmos", "Cosmos Predict2", "^blocks.0.cross_attn.q_proj"),
    _model("pid", "PiD", "^lq_proj.latent_proj.0."),
    _model("pixeldit", "PixelDiT", "^core.pixel_embedder.proj."),
    _model("pixeldit", "PixelDiT", "core.patch_blocks.0.attn.qkv_x"),
    _model("boogu", "Boogu", "double_stream_layers.0.img_instruct_attn."),
    _model("omnigen", "OmniGen2", "^time_caption_embed."),
    _model("omnigen", "OmniGen2", "^context_refiner.0.attn.to_q"),
    _model("omnigen", "OmniGen2", "^layers.0.attn.to_q", width=("^layers.0.attn.to_q", 1, 2520)),
    _model("z-image", "Z-Image", "^cap_embedder.1.", "^cap_pad_token"),
    _model("z-image", "Z-Image", "^noise_refiner.0.", width=("^noise_refiner.0.attention.", 1, 3840)),
    _model("ideogram", "Ideogram 4", "^layers.0.attention.o."),
    _model("lumina", "Lumina 2", "^noise_refiner.0.", "^cap_embedder."),
    _model("z-image", "Z-Image", "^layers.0.attention.", width=("^layers.0.attention.", 1, 3840)),
    _model("lumina", "Lumina 2", "^layers.0.attention.", width=("^layers.0.attention.", 1, 2304)),
    _model("cogvideox", "CogVideoX", "^blocks.0.norm1.linear.weight", "^patch_embed.proj."),
    _model("cogvideox", "CogVideoX", "^transformer_blocks.0.norm1.linear.weight", "^patch_embed.proj."),
    _model("cogvideox", "CogVideoX", "^blocks.0.attn_out."),
    _model("cogvideox", "CogVideoX", _ATTN1_Q, width=(_ATTN1_Q, 1, 1920)),
    _model("cogvideox", "CogVideoX", _ATTN1_Q, width=(_ATTN1_Q, 1, 3072)),
    _model("seedvr", "SeedVR2", "^blocks.0.mlp.all.proj_in_gate."),
    _model("seedvr", "SeedVR2", "^blocks.0.mlp.vid.proj_out."),
    _model("wan", "Wan 2.2", "^casual_audio_encoder."),
    _model("wan", "Wan 2.2", "^face_adapter.fuser_blocks.0."),
    _model("wan", "Wan 2.1", "^vace_patch_embedding."),
    _model("wan", "Wan 2.2", "blocks.0.cross_attn.k.", width=("^patch_embedding.weight", 1, 48)),
    _model("wan", "Wan 2.1", "blocks.0.cross_attn.k.", "^img_emb.proj.0."),
    _model("wan", "Wan 2.1", "blocks.0.cross_attn.k_img."),
    _model("wan", "Wan 2.2", "blocks.0.cross_attn.k.", width=("^patch_embedding.weight", 1, 36)),
    _model("wan", "Wan", "^blocks.0.cross_attn."),
    _model("wan", "Wan", "^blocks.0.self_attn.", "^blocks.0.ffn.0."),
    _model("hunyuan-3d", "Hunyuan3D 2.1", "t_embedder.mlp.2.weight", "blocks.0.attn1.k_norm."),
    _model("hunyuan-3d", "Hunyuan3D 2.1", "^blocks.0.attn1.to_q", width=("^blocks.0.attn1.to_q", 1, 2048)),
    _model("wan", "Wan", "^blocks.0.attn1.to_", "^blocks.0.attn2.to_"),
    _model("triposplat", "TripoSplat", "^cam_out_layer.weight", "^repo_layers.0."),
    _model("hidream", "HiDream-O1", "t_embedder1.mlp.0.", "x_embedder.proj1."),
    _model("hidream", "HiDream", "^caption_projection.0.linear."),
    _model("hidream", "HiDream", "double_stream_blocks.0.block."),
    _model("lens", "Lens", "transformer_blocks.0.attn.norm_added_q.", "transformer_blocks.0.img_mlp.w1."),
    _model("lens", "Lens", "^transformer_blocks.0.attn.img_qkv"),
    _model("mage-flow", "Mage-Flow", "^txt_norm.weight", width=("^txt_norm.weight", 0, 2560)),
    _model("qwen-image", "Qwen-Image", "^txt_norm.weight"),
    _model("qwen-image", "Qwen-Image", "^transformer_blocks.0.img_mlp.net."),
    _model("qwen-image", "Qwen-Image", "^transformer_blocks.0.img_mod."),
    _model("qwen-image", "Qwen-Image", "^transformer_blocks.0.attn.", depth=("transformer_blocks", 59)),
    _model(*_SD3, "^transformer_blocks.0.attn.add_k_proj", width=("^transformer_blocks.0.attn.to_q", 1, 2432)),
    _model(*_SD3, "^transformer_blocks.0.attn.add_k_proj", width=("^transformer_blocks.0.attn.to_q", 1, 1536)),
    _model("ideogram", "Ideogram 4", "^embed_image_indicator.weight"),
    _model("krea", "Krea 2", "^txtfusion.projector."),
    _model("krea", "Krea 2", "^text_fusion."),
    _model("krea", "Krea 2", "^blocks.0.attn.wq"),
    _model("krea", "Krea 2", "^transformer_blocks.0.attn.to_gate"),
    _model("kandinsky", "Kandinsky 5", "^visual_transformer_blocks.0."),
    _model("ernie-image", "ERNIE-Image", "^layers.0.mlp.linear_fc2.weight"),
    _model("ernie-image", "ERNIE-Image", "^layers.0.self_attention.to_q"),
    _model("rt-detr", "", "^encoder.pan_blocks.1.cv4."),
    _model("sam", "SAM 3", "^detector.backbone.vision_backbone.", subtype="checkpoints"),
    _model("svd", "Stable Video Diffusion", "input_blocks.1.1.time_stack.0."),
    _model("sdxl", "SDXL Refiner", _ATTN2, "conditioner.embedders.0.model.", width=(_ATTN2, 1, 1280)),
    _model(*_SDXL, "conditioner.embedders.1."),
    _model(*_SDXL, "lora_te2_"),
    _model(*_SDXL, "text_encoder_2."),
    _model(*_SDXL, _ATTN2, width=(_ATTN2, 1, 2048)),
    _model("sdxl", "SDXL Refiner", _ATTN2, "label_emb.0.0.", width=(_ATTN2, 1, 1280)),
    _model(*_SD21, _ATTN2, width=(_ATTN2, 1, 1024)),
    _model(*_SD15, _ATTN2, width=(_ATTN2, 1, 768)),
    _model(*_SDXL, "blocks.0.attentions.0.transformer_blocks.0.", depth=("transformer_blocks", 1)),
    _model(*_SDXL, "blocks.0.1.transformer_blocks.0.", depth=("transformer_blocks", 1)),
    _model(*_SDXL, "input_blocks.0.0.", "label_emb.0.0."),
    _model(*_SDXL, "add_embedding.linear_1.", "down_blocks.0."),
    _model(*_SD21, "cond_stage_model.model."),
    _model(*_SD15, "cond_stage_model.transformer."),
    _model(*_SD15, "blocks.0.attentions.0.transformer_blocks.0.", none_of=(".motion_modules.",)),
    _model(*_SD15, "blocks.0.1.transformer_blocks.0."),
)  # fmt: skip

_VAES = _of(
    "vae",
    ("seedvr", "SeedVR2", Fits(("decoder.up_blocks.2.upsamplers.0.upscale_conv.",))),
    ("wan", "Wan 2.2", Fits(("decoder.upsamples.0.upsamples.0.residual.",))),
    ("wan", "Wan 2.1", Fits(("decoder.middle.0.residual.0.gamma",))),
    ("wan", "Wan 2.1", Fits(("decoder.upsamples.0.residual.", "encoder.downsamples.0."))),
    ("ltxv", "LTX-Video", Fits(("decoder.up_blocks.0.res_blocks.0.conv1.conv.",))),
    ("ltxv", "LTX-2", Fits(("vocoder.resblocks.0.convs1.0.",))),
    ("cogvideox", "CogVideoX", Fits(("decoder.conv_in.conv.", "decoder.mid_block.resnets.0.norm1.norm_layer."))),
    ("hunyuan-video", "HunyuanVideo 1.5", Fits(("decoder.conv_in.conv.",), width=("decoder.conv_in.conv.", 1, 32))),
    ("hunyuan-video", "HunyuanVideo", Fits(("decoder.conv_in.conv.",))),
    ("cosmos", "Cosmos", Fits(("decoder.unpatcher3d.wavelets",))),
    ("hunyuan-3d", "Hunyuan3D 2", Fits(("geo_decoder.cross_attn_decoder.",))),
    ("ace-step", "ACE-Step", Fits(("vocoder.backbone.channel_layers.",))),
    ("mmaudio", "MMAudio", Fits(("vocoder.activation_post.downsample.",))),
    ("stable-audio", "Stable Audio 3", Fits(("decoder.layers.3.transformers.0.pre_norm.alpha",))),
    ("stable-audio", "Stable Audio", Fits(("decoder.layers.1.layers.0.beta",))),
    ("minimax", "MiniMax H3", Fits(("decoder.transformer_blocks.0.scale1", "encoder.down.5.block.0."))),
    ("minimax", "MiniMax H3", Fits(("^pre_block.attn.zero_k_bias",))),
    ("mochi", "Mochi 1", Fits(("blocks.2.blocks.3.stack.5.",))),
    ("triposplat", "TripoSplat", Fits(("^gs.base_offset_scale", "^octree.out_proj."))),
    ("stable-cascade", "Stable Cascade", Fits(("vquantizer.codebook.weight",))),
    ("flux2", "Flux.2", Fits(("decoder.conv_in.weight", "^bn.running_mean"))),
    ("hunyuan-image", "HunyuanImage 2.1", Fits(("decoder.conv_in.weight",), width=("decoder.conv_in.weight", 1, 64))),
    ("flux", "Flux.1", Fits(("decoder.conv_in.weight",), width=("decoder.conv_in.weight", 1, 16))),
    ("unknown", "", Fits(("decoder.conv_in.weight", "encoder.conv_in.weight"), ("^quantize.",))),
    ("unknown", "", Fits(("decoder.up_blocks.0.", "encoder.down_blocks.0."))),
)  # fmt: skip

_PREVIEWERS = _of(
    "vae_approx",
    ("taesd", "", Fits(("^taesd_decoder.",))),
    ("taesd", "", Fits(("^decoder.1.weight", "^encoder.0.weight", "^decoder.0.conv.0."))),
    ("taesd", "", Fits(("^1.weight$", "^3.conv.0.weight$"))),
)  # fmt: skip

_T5 = "encoder.block.0.layer.0.SelfAttention."
_LAYER = "model.layers.0."

_TEXT_ENCODERS = _of(
    "text_encoders",
    ("t5", "UMT5-XXL", Fits((_T5,), width=("^shared.weight", 0, 256384))),
    ("t5", "ByT5", Fits((_T5,), width=(_T5 + "k.weight", 0, 384))),
    ("t5", "T5-XXL", Fits((_T5,), width=("DenseReluDense.wi_1.weight", 0, 10240))),
    ("t5", "T5-XXL", Fits((_T5,), depth=("encoder.block", 23), width=(_T5 + "k.weight", 0, 4096))),
    ("t5", "", Fits((_T5,))),
    ("t5", "T5-Gemma", Fits(("encoder.layers.0.pre_self_attn_layernorm.",))),
    ("jina-clip", "Jina CLIP 2", Fits(("encoder.layers.0.mixer.Wqkv.",))),
    ("gemma", "Gemma 4", Fits((_LAYER + "post_feedforward_layernorm.", _LAYER + "layer_scalar"))),
    ("gemma", "Gemma 3", Fits((_LAYER + "post_feedforward_layernorm.", _LAYER + "self_attn.q_norm."))),
    ("gemma", "Gemma 2", Fits((_LAYER + "post_feedforward_layernorm.",))),
    ("gpt-oss", "GPT-OSS", Fits(("layers.0.self_attn.sinks",))),
    ("qwen", "Qwen 3.5", Fits(("layers.0.linear_attn.A_log",))),
    ("qwen", "Qwen3-VL", Fits(("visual.deepstack_merger_list.0.",))),
    ("qwen", "Qwen2.5-VL", Fits(("layers.0.self_attn.k_proj.bias", "layers.0.mlp.gate_proj.", "visual.blocks.0."))),
    ("qwen", "Qwen 2.5", Fits(("layers.0.self_attn.k_proj.bias", "layers.0.mlp.gate_proj."))),
    ("qwen", "Qwen 3", Fits(("layers.0.self_attn.q_norm.", "layers.0.self_attn.q_proj."))),
    ("mistral", "Mistral 3", Fits((_LAYER,), width=(_LAYER + "input_layernorm.weight", 0, 5120))),
    ("mistral", "Ministral 3", Fits((_LAYER,), width=(_LAYER + "input_layernorm.weight", 0, 3072))),
    ("llama", "Llama 3", Fits((_LAYER,), width=(_LAYER + "input_layernorm.weight", 0, 4096))),
    ("unknown", "", Fits(("layers.0.self_attn.q_proj.", "layers.0.mlp.gate_proj."), ("vision_model.",))),
    ("unknown", "", Fits((_LAYER + "self_attn.",))),
    ("clip", "", Fits(("vision_model.encoder.layers.0.", "text_model.encoder.layers.0."))),
    ("clip", "CLIP-G", Fits(("text_model.encoder.layers.0.",), depth=("encoder.layers", 30))),
    ("clip", "CLIP-H", Fits(("text_model.encoder.layers.0.",), depth=("encoder.layers", 22))),
    ("clip", "CLIP-L", Fits(("text_model.encoder.layers.0.",))),
    ("clip", "", Fits(("^resblocks.0.attn.",))),
)  # fmt: skip

_ENCODERS = (
    *_of(
        "clip_vision",
        ("siglip", "SigLIP", Fits(("vision_model.encoder.layers.0.", "vision_model.head.attention."))),
        ("siglip", "SigLIP", Fits(("vision_model.encoder.layers.0.",), width=("layers.0.layer_norm1.weight", 0, 1152))),
        ("clip", "CLIP-ViT-G", Fits(("vision_model.encoder.layers.0.",), depth=("encoder.layers", 47))),
        ("clip", "CLIP-ViT-H", Fits(("vision_model.encoder.layers.0.",), depth=("encoder.layers", 30))),
        ("clip", "CLIP-ViT-L", Fits(("vision_model.encoder.layers.0.",), depth=("encoder.layers", 22))),
        ("clip", "", Fits(("vision_model.encoder.layers.0.",))),
        ("clip", "", Fits(("^visual.transformer.resblocks.0.",))),
        ("dino", "DINOv2", Fits(("^encoder.layer.0.layer_scale2.lambda1",))),
        ("dino", "DINOv3", Fits(("layer.0.mlp.gate_proj.", "layer.0.norm1."))),
    ),
    *_of(
        "audio_encoders",
        ("wav2vec", "wav2vec 2.0", Fits(("encoder.layer_norm.bias", "feature_extractor.conv_layers.0."))),
        ("whisper", "Whisper", Fits(("encoder.embed_positions.weight", "encoder.conv1."))),
    ),
)  # fmt: skip

_PIXELS = (
    *_of(
        "latent_upscale_models",
        ("ltxv", "LTX-Video", Fits(("post_upsample_res_blocks.0.",))),
        ("hunyuan-video", "HunyuanVideo 1.5", Fits(("^up.0.block.0.conv1.conv.", "^conv_in.conv."))),
        ("hunyuan-video", "HunyuanVideo 1.5", Fits(("^blocks.0.block.0.conv.", "^in_conv.conv."))),
    ),
    *_of(
        "upscale_models",
        ("esrgan", "", Fits(("^model.0.weight", "^model.1.sub.0.RDB1."))),
        ("esrgan", "", Fits(("body.0.rdb1.conv1.",))),
        ("esrgan", "", Fits(("RRDB_trunk.0.RDB1.",))),
        ("realesrgan-compact", "", Fits(("^body.0.weight$",), ("^conv_in.", "^body.0.body.0."))),
        ("atd", "", Fits(("relative_position_index_SA", ".attn_atd."))),
        ("hat", "", Fits((".residual_group.overlap_attn.",))),
        ("srformer", "", Fits((".aligned_relative_position_index",))),
        ("swin2sr", "", Fits((".residual_group.blocks.0.", ".attn.logit_scale"))),
        ("craft", "", Fits((".residual_group.hf_blocks.0.",))),
        ("swinir", "", Fits((".residual_group.blocks.0.",))),
        ("drct", "", Fits(("layers.0.swin1.norm1.", "layers.0.adjust1."))),
        ("dat", "", Fits(("before_RG.1.", ".channel_interaction."))),
        ("rgt", "", Fits(("before_RG.1.", "layers.0.blocks.0.gamma"))),
        ("grl", "", Fits(("layers.0.blocks.0.attn.window_attn.",))),
        ("span", "", Fits(("^conv_1.sk.weight", "block_1.c1_r.sk."))),
        ("safmn", "", Fits(("^to_feat.", "^to_img."))),
        ("omnisr", "", Fits(("^residual_layer.0.residual_layer.0.layer.0.",))),
        ("plksr", "", Fits(("^feats.0.", ".lk.conv."))),
        ("plksr", "", Fits(("^feats.0.", "channe_mixer."))),
        ("plksr", "", Fits(("^feats.0.", "channel_mixer."))),
        ("seemore", "", Fits(("body.0.local_block.", "upsampler.0."))),
        ("rcan", "", Fits(("body.0.body.0.body.3.conv_du.0.",))),
        ("cugan", "", Fits(("^unet1.conv1.conv.0.", "^unet2.conv1."))),
        ("mosr", "", Fits(("^gblocks.0.",))),
        ("moesr", "", Fits(("^in_to_dim.", "^blocks.0.blocks.0.gamma"))),
        ("fdat", "", Fits(("^groups.0.blocks.0.inter.",))),
        ("ditn", "", Fits(("^UFONE.0.",))),
        ("dctlsa", "", Fits(("^B1.body.0.transformer_body.",))),
        ("aurasr", "", Fits(("mid_attn.layers.0.0.to_out.weight", "final_res_block."))),
        ("nafnet", "", Fits(("^intro.weight", "^ending.weight", "^middle_blks.0."))),
        ("scunet", "", Fits(("^m_head.0.", "^m_tail.0."))),
        ("fbcnn", "", Fits(("^m_head.weight", "^qf_pred."))),
        ("drunet", "", Fits(("^m_head.weight", "^m_tail.weight"))),
        ("restormer", "", Fits(("^encoder_level1.0.attn.temperature",))),
        ("gfpgan", "", Fits(("^stylegan_decoder.",))),
        ("codeformer", "", Fits(("^idx_pred_layer.1.", "^position_emb"))),
        ("lama", "", Fits(("1.bn_l.", ".convl2l."))),
        ("restoreformer", "", Fits(("^quantize.embedding.", "^encoder.conv_in.", "^decoder.conv_in."))),
    ),
    *_of("frame_interpolation", ("film", "", Fits(("^extract.extract_sublevels.convs.",)))),
    *_of("frame_interpolation", ("rife", "", Fits(("block0.conv0.0.0.", "block1.conv0.0.0.")))),
    *_of("optical_flow", ("raft", "", Fits(("^feature_encoder.", "^context_encoder.", "^update_block.")))),
    *_of("background_removal", ("birefnet", "", Fits(("^bb.", "^squeeze_module.", "^decoder.")))),
    *_of("geometry_estimation", ("depth-anything", "", Fits(("^backbone.embeddings.patch_embeddings.projection.",)))),
    *_of("geometry_estimation", ("moge", "", Fits(("^encoder.backbone.", "^points_head.")))),
)  # fmt: skip

ARCHITECTURES = (*_DIFFUSION, *_VAES, *_PREVIEWERS, *_TEXT_ENCODERS, *_ENCODERS, *_PIXELS)
"""Which tensors make which family and base model. Diffusion models come first: a checkpoint holds the others, too."""
