"""Loaders that take a model by what it is. ComfyUI's own functions do the loading."""

from __future__ import annotations

from typing import Any, ClassVar

from comfy_api.latest import io

from ..core.errors import InvalidRequestError
from .core_loaders import core_loader, core_nodes
from .resolving import check_model, model_fingerprint, model_path
from .table import LOADERS, Loader

CATEGORY = "loaders/Librarian"


class ModelLoader(io.ComfyNode):  # type: ignore[misc]
    """A loader of `LOADERS`; each is a class of its own that says only which."""

    LOADER: ClassVar[Loader]

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs of the core's own node, but models by identity.

        ``object_info`` does not grow with the library. The option ``librarian`` tells the panel which models fit,
        and which input of ComfyUI's own node takes the same ones by name.
        """
        loader = cls.LOADER
        models = [_model_input(loader, number) for number in range(len(loader.inputs))]
        others = loader.others()
        wired = [other for other in others if not isinstance(other, io.WidgetInput)]
        return io.Schema(
            node_id=loader.node_id,
            display_name=f"{loader.name} (Librarian)",
            category=CATEGORY,
            description=f"ComfyUI's «{loader.name}» for any model of your library, wherever its file lies.",
            inputs=[*wired, *models, *(other for other in others if other not in wired)],
            hidden=[io.Hidden.unique_id],
            outputs=[io.Custom(kind).Output(tooltip=tooltip) for kind, tooltip in loader.outputs],
        )

    @classmethod
    async def validate_inputs(
        cls,
        model_id: str | None = None,
        model_id_1: str | None = None,
        model_id_2: str | None = None,
        model_id_3: str | None = None,
        model_id_4: str | None = None,
    ) -> bool | str:
        """Name the input that cannot be loaded, and why. What another node will say is not known yet.

        The names are spelled out because ComfyUI leaves its own checks of all other inputs to a function that
        takes any.
        """
        given = dict(
            zip(
                ("model_id", "model_id_1", "model_id_2", "model_id_3", "model_id_4"),
                (model_id, model_id_1, model_id_2, model_id_3, model_id_4),
                strict=True,
            )
        )
        for name in cls.LOADER.inputs:
            reference = given[name]
            problem = None if reference is None else await check_model(reference, folder=cls.LOADER.folder)
            if problem is not None:
                return f"{name}: {problem}"
        return True

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> str:
        """The files' hashes. What another node will give is not known yet; ComfyUI sees by itself if that changes."""
        given = (inputs.get(name) for name in cls.LOADER.inputs)
        return " ".join(
            "" if reference is None else model_fingerprint(reference, cls.hidden.unique_id)
            for reference in given
        )

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        """Load as the core's node does. Raises `InvalidRequestError` for a choice that there is not."""
        loader = cls.LOADER
        for other in loader.others():  # older cores do not check it
            given = inputs.get(other.id)
            if isinstance(other, io.Combo.Input) and given is not None and given not in other.options:
                raise InvalidRequestError(f"{other.id}: {given!r} is not one of {', '.join(other.options)}.")
        paths = {
            argument: str(model_path(inputs.pop(name), folder=loader.folder))
            for argument, name in zip(loader.arguments, loader.inputs, strict=True)
        }
        result = core_loader(loader.core)(**inputs, **paths)
        return result if isinstance(result, io.NodeOutput) else io.NodeOutput(*result)


def _model_input(loader: Loader, number: int) -> Any:
    which = f" as number {number + 1}" if len(loader.inputs) > 1 else ""
    names = "or its folder's name" if loader.folder else "its hash, or its file's name"
    made = io.String.Input(
        loader.inputs[number],
        default="",
        tooltip=f"Which {loader.what} to load{which}: its id in the library, {names}.",
    )
    made.extra_dict = {
        "librarian": {"subtypes": list(loader.subtypes), "core": [loader.core, loader.arguments[number]]}
    }  # older cores take it in this way only
    return made


def loader_nodes() -> list[type[ModelLoader]]:
    """A node for each loader that this ComfyUI has."""
    return [
        type(loader.node_id, (ModelLoader,), {"LOADER": loader, "__module__": __name__})
        for loader in LOADERS
        if loader.core in core_nodes()
    ]
