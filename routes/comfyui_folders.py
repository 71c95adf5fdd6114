"""Where this ComfyUI keeps things, as its ``folder_paths`` says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..core.settings import (
    DIFFUSERS_FOLDER,
    FOLDER_ALIASES,
    MODEL_EXTENSIONS,
    NOT_MODEL_FOLDERS,
    App,
    Surroundings,
    TargetFolder,
)


def surroundings() -> Surroundings:
    """This ComfyUI's places, as its ``folder_paths`` says them."""
    import folder_paths

    user = Path(folder_paths.get_user_directory())
    if hasattr(folder_paths, "get_system_user_directory"):
        data_dir = Path(folder_paths.get_system_user_directory("librarian"))
    else:
        data_dir = user / "__librarian"
    home = os.environ.get("LIBRARIAN_HOME")
    models = Path(folder_paths.models_dir)
    return Surroundings(
        data_dir=Path(home).absolute() if home else data_dir,
        library_root=models.parent / "model-library",
        apps=[_app(folder_paths, models.parent)],
        allowed_roots=[
            models,
            Path(folder_paths.get_input_directory()),
            Path(folder_paths.get_output_directory()),
        ],
    )


def look_into(kind: str, folder: Path) -> None:
    """Let this ComfyUI look for models of a kind in one more folder, until it ends."""
    import folder_paths

    folder_paths.add_model_folder_path(kind, str(folder))


def _app(folder_paths: Any, root: Path) -> App:
    """This ComfyUI as an app: every folder that it, its custom nodes and extra paths know models in."""
    folders = []
    for name, (paths, extensions) in folder_paths.folder_names_and_paths.items():
        holds_models = not extensions or MODEL_EXTENSIONS & {extension.lower() for extension in extensions}
        if name not in NOT_MODEL_FOLDERS and holds_models:
            subtype = FOLDER_ALIASES.get(name, name)
            folders += [TargetFolder(subtype=subtype, path=Path(path)) for path in paths]
    diffusers, _ = folder_paths.folder_names_and_paths.get(DIFFUSERS_FOLDER, ([], set()))
    return App(
        app="comfyui",
        name="ComfyUI",
        version=_version(),
        root=root,
        folders=folders,
        directories=[Path(path) for path in diffusers],
    )


def _version() -> str:
    try:
        from comfyui_version import __version__
    except ImportError:
        return "*"
    return str(__version__)
