"""Write a file for each kind of model that ComfyUI loads, as small as ComfyUI takes it.

Runs in ComfyUI's own Python, `tiny_models.py FOLDER`: the names and shapes are those of ComfyUI's own classes.
Where a class cannot be small, its file leaves out large tensors that ComfyUI does not look at to tell what it is,
or has holes in their place.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import torch

FOLDER = Path(sys.argv[1])
sys.argv[1:] = ["--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.ops  # noqa: E402
from comfy import gligen  # noqa: E402
from comfy.cldm.cldm import ControlNet  # noqa: E402
from comfy.ldm.hunyuan_video.upsampler import SRModel3DV2  # noqa: E402
from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel  # noqa: E402
from comfy.t2i_adapter.adapter import Adapter, StyleAdapter  # noqa: E402
from comfy.taesd.taesd import TAESD  # noqa: E402
from comfy_extras.nodes_model_patch import SigLIPMultiFeatProjModel  # noqa: E402
from comfy_extras.nodes_photomaker import PhotoMakerIDEncoder  # noqa: E402

FILLED = 110_000
"""Tensors of up to so many elements have random content, larger ones are holes in the file."""

OPS = comfy.ops.disable_weight_init
META = {"device": "meta", "operations": OPS}
torch.manual_seed(11)


def write(path: str, tensors: dict[str, torch.Tensor], prefix: str = "") -> None:
    """A safetensors file in half precision; the content of large tensors takes no room on the disk."""
    file = FOLDER / path
    file.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, object] = {}
    end, filled = 0, []
    for name, value in tensors.items():
        if 0 < value.numel() <= FILLED:
            filled.append((end, (torch.randn(value.shape) * 0.1).to(torch.float16).numpy().tobytes()))
        header[prefix + name] = {
            "dtype": "F16",
            "shape": list(value.shape),
            "data_offsets": [end, end + 2 * value.numel()],
        }
        end += 2 * value.numel()
    text = json.dumps(header).encode()
    with open(file, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for offset, content in filled:
            stream.seek(8 + len(text) + offset)
            stream.write(content)
        stream.truncate(8 + len(text) + end)


def shapes(**tensors: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {name.replace("__", "."): torch.empty(shape, device="meta") for name, shape in tensors.items()}


def below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def told_by(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Of a U-Net's tensors the small ones, and those by which ComfyUI tells its layout."""
    return {
        name: value
        for name, value in network.state_dict().items()
        if value.numel() <= FILLED
        or name.endswith(("0.op.weight", "out_layers.3.weight", "attn2.to_k.weight"))
        or "proj_in" in name
        or "label_emb" in name
    }


def named(*names: tuple[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in names}


mmdit = MMDiT(
    input_size=None, patch_size=2, in_channels=16, depth=1, num_patches=16, pos_embed_max_size=4, adm_in_channels=32,
    context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 48, "out_features": 64}}, **META,
).state_dict()  # fmt: skip
clip_l = named(
    ("text_model.encoder.layers.0.mlp.fc1.weight", (3072, 768)),
    ("text_model.encoder.layers.1.mlp.fc1.weight", (3072, 768)),
    ("text_model.encoder.layers.0.layer_norm1.weight", (768,)),
    ("text_model.final_layer_norm.weight", (768,)),
)
clip_g = named(
    ("text_model.encoder.layers.30.mlp.fc1.weight", (5120, 1280)),
    ("text_model.final_layer_norm.weight", (1280,)),
)
t5 = named(
    ("encoder.block.23.layer.1.DenseReluDense.wi_1.weight", (10240, 4096)),
    ("encoder.final_layer_norm.weight", (4096,)),
)
llama = named(
    ("model.layers.0.self_attn.k_proj.weight", (1024, 4096)),
    ("model.layers.0.post_attention_layernorm.weight", (4096,)),
)
image_encoder = named(
    ("vision_model.encoder.layers.22.layer_norm1.weight", (1024,)),
    ("vision_model.encoder.layers.0.layer_norm1.weight", (1024,)),
    ("vision_model.embeddings.position_embedding.weight", (257, 1024)),
)
sd2 = {
    "image_size": 32, "in_channels": 4, "model_channels": 320, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4], "num_head_channels": 64, "use_spatial_transformer": True, "context_dim": 1024,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1, "use_linear_in_transformer": True,
    "dtype": torch.float16,
}  # fmt: skip

write(
    "checkpoints/tiny-checkpoint.safetensors",
    {
        **below("model.diffusion_model.", mmdit),
        **below("first_stage_model.", TAESD(latent_channels=16).state_dict()),
        **below("text_encoders.clip_l.transformer.", clip_l),
    },
)
write(
    "checkpoints/tiny-unclip.safetensors",
    {
        **below(
            "model.diffusion_model.",
            told_by(
                UNetModel(
                    **sd2,
                    out_channels=4,
                    num_classes="sequential",
                    adm_in_channels=1536,
                    transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
                    **META,
                )
            ),
        ),
        **below("first_stage_model.", TAESD(latent_channels=4).state_dict()),
        **named(
            ("embedder.model.visual.transformer.resblocks.22.ln_1.weight", (1024,)),
            ("embedder.model.visual.transformer.resblocks.0.ln_1.weight", (1024,)),
            ("embedder.model.visual.transformer.resblocks.0.attn.in_proj_weight", (3072, 1024)),
            ("embedder.model.visual.transformer.resblocks.0.attn.in_proj_bias", (3072,)),
            ("embedder.model.visual.positional_embedding", (257, 1024)),
        ),
    },
)
write("diffusion_models/tiny-mmdit.safetensors", mmdit)
write(
    "loras/tiny-lora.safetensors",
    named(
        ("lora_unet_joint_blocks_0_x_block_attn_qkv.lora_up.weight", (192, 2)),
        ("lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight", (2, 64)),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", (3072, 2)),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", (2, 768)),
    ),
)
write("vae/tiny-vae.safetensors", TAESD(latent_channels=4).state_dict())
write("text_encoders/tiny-clip-l.safetensors", clip_l)
write("text_encoders/tiny-clip-g.safetensors", clip_g)
write("text_encoders/tiny-t5.safetensors", t5)
write("text_encoders/tiny-llama.safetensors", llama)
write(
    "controlnet/tiny-t2i.safetensors",
    Adapter(
        cin=64, channels=[8, 16, 32, 32], nums_rb=2, ksize=1, sk=True, use_conv=False, xl=False
    ).state_dict(),
)
write(
    "controlnet/tiny-difference.safetensors",
    {
        **below("control_model.", told_by(ControlNet(**sd2, hint_channels=3, **META))),
        **named(("difference", (1,))),
    },
)
write("clip_vision/tiny-vision.safetensors", image_encoder)
write(
    "latent_upscale_models/tiny-latent.safetensors",
    SRModel3DV2(4, 4, hidden_channels=64, num_blocks=1, global_residual=False).state_dict(),
)
write(
    "style_models/tiny-style.safetensors",
    StyleAdapter(width=1024, context_dim=768, num_head=8, n_layes=3, num_token=8).state_dict(),
)
write(
    "gligen/tiny-gligen.safetensors",
    {
        **below(
            "input_blocks.1.1.transformer_blocks.0.fuser.",
            gligen.GatedSelfAttentionDense(16, 768, 8, 2).state_dict(),
        ),
        **below("position_net.", gligen.PositionNet(8, 16).state_dict()),
    },
)
write(
    "audio_encoders/tiny-wav2vec2.safetensors",
    named(("encoder.layer_norm.bias", (768,)), ("encoder.layer_norm.weight", (768,))),
)
write(
    "model_patches/tiny-siglip.safetensors",
    below("feature_embedder.", SigLIPMultiFeatProjModel(**META).state_dict()),
)
with torch.device("meta"):
    photomaker = PhotoMakerIDEncoder().state_dict()
write("photomaker/tiny-photomaker.safetensors", photomaker)
conv = torch.nn.Conv2d
write(
    "upscale_models/tiny-upscaler.safetensors",
    below(
        "body.",
        torch.nn.Sequential(
            conv(3, 16, 3), torch.nn.PReLU(16), conv(16, 16, 3), torch.nn.PReLU(16), conv(16, 12, 3)
        ).state_dict(),
    ),
)

layer = {"linear.0.weight": torch.randn(64, 64), "linear.0.bias": torch.randn(64)}
(FOLDER / "hypernetworks").mkdir()
torch.save({64: [layer, layer], 128: [layer, layer]}, FOLDER / "hypernetworks" / "tiny-hypernetwork.pt")

write("diffusers/tiny-folder/unet/diffusion_pytorch_model.safetensors", mmdit)
write("diffusers/tiny-folder/vae/diffusion_pytorch_model.safetensors", TAESD(latent_channels=4).state_dict())
write("diffusers/tiny-folder/text_encoder/model.safetensors", clip_l)
(FOLDER / "diffusers" / "tiny-folder" / "model_index.json").write_text(
    json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": ["transformers", "CLIPTextModel"],
        }
    )
)
for part in (1, 2):
    write(f"diffusion_models/halves-0000{part}-of-00002.safetensors", mmdit)
