"""Loaders that take a model by what it is. ComfyUI's own functions do the loading."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

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
        """Load with spandrel, as ComfyUI does."""
        import comfy.utils
        from spandrel import ImageModelDescriptor
        from spandrel import ModelLoader as SpandrelLoader

        path = model_path(model_id)
        state = comfy.utils.load_torch_file(str(path), safe_load=True)
        if any(name.startswith("module.") for name in state):  # saved from a DataParallel wrapper
            state = comfy.utils.state_dict_prefix_replace(state, {"module.": ""})
        model = SpandrelLoader().load_from_state_dict(state).eval()
        if not isinstance(model, ImageModelDescriptor):
            raise ValueError(f"{path.name} is not a model that upscales single images.")
        return io.NodeOutput(model)


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
        """Load and patch with ComfyUI's own functions."""
        import comfy.sd
        import comfy.utils

        if strength_model == 0 and (strength_clip == 0 or clip is None):
            return io.NodeOutput(model, clip)
        lora = comfy.utils.load_torch_file(str(model_path(model_id)), safe_load=True)
        changed = comfy.sd.load_lora_for_models(model, clip, lora, strength_model, strength_clip)
        return io.NodeOutput(*changed)
