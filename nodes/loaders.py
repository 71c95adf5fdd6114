"""Loaders that take a model by what it is. ComfyUI's own functions do the loading."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .core_loaders import core_loader
from .resolving import check_model, model_fingerprint, model_path

CATEGORY = "loaders/Librarian"


def model_input(what: str) -> io.String.Input:
    """The input that names the model; ``object_info`` does not grow with the library."""
    return io.String.Input(
        "model_id",
        default="",
        tooltip=f"Which {what} to load: its id in the library, its hash, or its file's name.",
    )


class ModelLoader(io.ComfyNode):  # type: ignore[misc]
    """What all loaders share: how the model is checked, and when it is loaded again."""

    @classmethod
    async def validate_inputs(cls, model_id: str | None = None) -> bool | str:
        """Name the input that cannot be loaded, and why."""
        return await check_model(model_id)

    @classmethod
    def fingerprint_inputs(cls, model_id: str, **_: Any) -> str:
        """The file's hash."""
        return model_fingerprint(model_id)


class LibrarianLoadUpscaleModel(ModelLoader):
    """Loads an upscale model by identity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs of ComfyUI's «Load Upscale Model»."""
        return io.Schema(
            node_id="LibrarianLoadUpscaleModel",
            display_name="Load Upscale Model (Librarian)",
            category=CATEGORY,
            description="Loads an upscale model by what it is, wherever it lies.",
            inputs=[model_input("upscale model")],
            outputs=[io.UpscaleModel.Output()],
        )

    @classmethod
    def execute(cls, model_id: str) -> io.NodeOutput:
        """Load as the core's node does."""
        path = model_path(model_id)
        return core_loader("UpscaleModelLoader", "execute", path)(path.name)


class LibrarianLoadLora(ModelLoader):
    """Applies a LoRA, found by identity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs of ComfyUI's «Load LoRA»; without a CLIP only the model is changed."""
        strength = {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}
        return io.Schema(
            node_id="LibrarianLoadLora",
            display_name="Load LoRA (Librarian)",
            category=CATEGORY,
            description="Applies a LoRA to a diffusion model and a CLIP, by what it is, wherever it lies.",
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRA is applied to."),
                io.Clip.Input("clip", optional=True, tooltip="The CLIP that the LoRA is applied to, if any."),
                model_input("LoRA"),
                io.Float.Input(
                    "strength_model",
                    tooltip="How strongly the model is changed; may be negative.",
                    **strength,
                ),
                io.Float.Input(
                    "strength_clip", tooltip="How strongly the CLIP is changed; may be negative.", **strength
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The changed diffusion model."),
                io.Clip.Output(tooltip="The changed CLIP."),
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, model_id: str, strength_model: float, strength_clip: float, clip: Any = None
    ) -> io.NodeOutput:
        """Load and patch as the core's node does."""
        if strength_model == 0 and (strength_clip == 0 or clip is None):
            return io.NodeOutput(model, clip)
        path = model_path(model_id)
        load = core_loader("LoraLoader", "load_lora", path)
        return io.NodeOutput(*load(model, clip, path.name, strength_model, strength_clip))
