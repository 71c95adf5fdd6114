"""Which of ComfyUI's own loaders there are by identity, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from comfy_api.latest import io

from .core_loaders import core_options

_STRENGTH = {"default": 1.0, "step": 0.01}


def _none() -> list[Any]:
    return []


def _lora() -> list[Any]:
    strength = {**_STRENGTH, "min": -100.0, "max": 100.0}
    return [
        io.Model.Input("model", tooltip="The diffusion model that the LoRA is applied to."),
        io.Clip.Input("clip", optional=True, tooltip="The CLIP that the LoRA is applied to, if any."),
        io.Float.Input(
            "strength_model", tooltip="How strongly the model is changed; may be negative.", **strength
        ),
        io.Float.Input(
            "strength_clip", tooltip="How strongly the CLIP is changed; may be negative.", **strength
        ),
    ]


def _hypernetwork() -> list[Any]:
    return [
        io.Model.Input("model", tooltip="The diffusion model that the hypernetwork is applied to."),
        io.Float.Input(
            "strength",
            tooltip="How strongly the model is changed; may be negative.",
            **_STRENGTH,
            min=-10.0,
            max=10.0,
        ),
    ]


def _diffusion_model() -> list[Any]:
    return [
        io.Combo.Input(
            "weight_dtype",
            options=core_options("UNETLoader", "weight_dtype"),
            tooltip="The number format in which the weights are kept; «default» keeps the file's own.",
        )
    ]


def _clip(core: str) -> Callable[[], list[Any]]:
    def inputs() -> list[Any]:
        return [
            io.Combo.Input(
                "type",
                options=core_options(core, "type"),
                tooltip="The kind of diffusion model that the text encoder is for.",
            ),
            io.Combo.Input(
                "device",
                options=core_options(core, "device"),
                optional=True,
                tooltip="Where the text encoder runs.",
            ),
        ]

    return inputs


def _diff_controlnet() -> list[Any]:
    return [io.Model.Input("model", tooltip="The diffusion model that the ControlNet is a difference to.")]


class Loader(NamedTuple):
    """A loader by identity: ``core`` is ComfyUI's own node, ``arguments`` are those of its inputs that name files.

    ``others`` makes the inputs that are no models; they have the names that they have in the core. ``subtypes``
    are the folders whose models fit; with ``folder`` a model is a Diffusers folder instead of a file.
    """

    node_id: str
    name: str
    what: str
    subtypes: tuple[str, ...]
    core: str
    arguments: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    others: Callable[[], list[Any]] = _none
    folder: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs that name models."""
        if len(self.arguments) == 1:
            return ("model_id",)
        return tuple(f"model_id_{number}" for number in range(1, len(self.arguments) + 1))


_MODEL, _CLIP, _VAE = ("MODEL", "The diffusion model."), ("CLIP", "The text encoder."), ("VAE", "The VAE.")
_CONTROL_NET = ("CONTROL_NET", "The ControlNet.")

LOADERS = (
    Loader("LibrarianLoadCheckpoint", "Load Checkpoint", "checkpoint", ("checkpoints",),
           "CheckpointLoaderSimple", ("ckpt_name",), (_MODEL, _CLIP, _VAE)),
    Loader("LibrarianLoadUnCLIPCheckpoint", "Load unCLIP Checkpoint", "unCLIP checkpoint", ("checkpoints",),
           "unCLIPCheckpointLoader", ("ckpt_name",), (_MODEL, _CLIP, _VAE, ("CLIP_VISION", "The image encoder."))),
    Loader("LibrarianLoadDiffusers", "Load Diffusers Folder", "Diffusers folder", ("diffusers",),
           "DiffusersLoader", ("model_path",), (_MODEL, _CLIP, _VAE), folder=True),
    Loader("LibrarianLoadDiffusionModel", "Load Diffusion Model", "diffusion model", ("diffusion_models",),
           "UNETLoader", ("unet_name",), (_MODEL,), _diffusion_model),
    Loader("LibrarianLoadLora", "Load LoRA", "LoRA", ("loras",),
           "LoraLoader", ("lora_name",),
           (("MODEL", "The changed diffusion model."), ("CLIP", "The changed CLIP.")), _lora),
    Loader("LibrarianLoadVAE", "Load VAE", "VAE", ("vae", "vae_approx"), "VAELoader", ("vae_name",), (_VAE,)),
    Loader("LibrarianLoadCLIP", "Load CLIP", "text encoder", ("text_encoders",),
           "CLIPLoader", ("clip_name",), (_CLIP,), _clip("CLIPLoader")),
    Loader("LibrarianLoadDualCLIP", "Load CLIP (Dual)", "text encoder", ("text_encoders",),
           "DualCLIPLoader", ("clip_name1", "clip_name2"), (_CLIP,), _clip("DualCLIPLoader")),
    Loader("LibrarianLoadTripleCLIP", "Load CLIP (Triple)", "text encoder", ("text_encoders",),
           "TripleCLIPLoader", ("clip_name1", "clip_name2", "clip_name3"), (_CLIP,)),
    Loader("LibrarianLoadQuadrupleCLIP", "Load CLIP (Quadruple)", "text encoder", ("text_encoders",),
           "QuadrupleCLIPLoader", ("clip_name1", "clip_name2", "clip_name3", "clip_name4"), (_CLIP,)),
    Loader("LibrarianLoadControlNet", "Load ControlNet", "ControlNet", ("controlnet",),
           "ControlNetLoader", ("control_net_name",), (_CONTROL_NET,)),
    Loader("LibrarianLoadDiffControlNet", "Load ControlNet (diff)", "difference ControlNet", ("controlnet",),
           "DiffControlNetLoader", ("control_net_name",), (_CONTROL_NET,), _diff_controlnet),
    Loader("LibrarianLoadCLIPVision", "Load CLIP Vision", "image encoder", ("clip_vision",),
           "CLIPVisionLoader", ("clip_name",), (("CLIP_VISION", "The image encoder."),)),
    Loader("LibrarianLoadUpscaleModel", "Load Upscale Model", "upscale model", ("upscale_models",),
           "UpscaleModelLoader", ("model_name",), (("UPSCALE_MODEL", "The upscale model."),)),
    Loader("LibrarianLoadLatentUpscaleModel", "Load Latent Upscale Model", "latent upscale model",
           ("latent_upscale_models",), "LatentUpscaleModelLoader", ("model_name",),
           (("LATENT_UPSCALE_MODEL", "The latent upscale model."),)),
    Loader("LibrarianLoadStyleModel", "Load Style Model", "style model", ("style_models",),
           "StyleModelLoader", ("style_model_name",), (("STYLE_MODEL", "The style model."),)),
    Loader("LibrarianLoadGLIGEN", "Load GLIGEN", "GLIGEN model", ("gligen",),
           "GLIGENLoader", ("gligen_name",), (("GLIGEN", "The GLIGEN model."),)),
    Loader("LibrarianLoadHypernetwork", "Load Hypernetwork", "hypernetwork", ("hypernetworks",),
           "HypernetworkLoader", ("hypernetwork_name",), (("MODEL", "The changed diffusion model."),), _hypernetwork),
    Loader("LibrarianLoadAudioEncoder", "Load Audio Encoder", "audio encoder", ("audio_encoders",),
           "AudioEncoderLoader", ("audio_encoder_name",), (("AUDIO_ENCODER", "The audio encoder."),)),
    Loader("LibrarianLoadModelPatch", "Load Model Patch", "model patch", ("model_patches",),
           "ModelPatchLoader", ("name",), (("MODEL_PATCH", "The model patch."),)),
    Loader("LibrarianLoadPhotoMaker", "Load PhotoMaker Model", "PhotoMaker model", ("photomaker",),
           "PhotoMakerLoader", ("photomaker_model_name",), (("PHOTOMAKER", "The PhotoMaker model."),)),
)  # fmt: skip
