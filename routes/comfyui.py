"""The HTTP door inside ComfyUI: routes on its server, events on its websocket, folders from its settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from ..core.host import Host
from ..core.librarian import Librarian
from ..core.settings import (
    FOLDER_ALIASES,
    MODEL_EXTENSIONS,
    NOT_MODEL_FOLDERS,
    App,
    Surroundings,
    TargetFolder,
)
from .door import Door
from .table import add_routes


def install(server: Any) -> None:
    """Add routes, start and stop to ComfyUI's ``PromptServer``. Touches nothing else and no disk.

    The server keeps the host as ``server.librarian``; the nodes find it there.
    """

    def build() -> Librarian:
        librarian = Librarian(surroundings())
        librarian.events.subscribe(lambda name, record: _send(server, name, record))
        return librarian

    host = Host(build)
    add_routes(server.routes, Door(host))
    server.librarian = host

    async def start(_app: web.Application) -> None:
        host.open()

    async def stop(_app: web.Application) -> None:
        await host.close()

    server.app.on_startup.append(start)
    server.app.on_cleanup.append(stop)


def _send(server: Any, name: str, record: BaseModel) -> None:
    server.send_sync(name, record.model_dump(mode="json", by_alias=True))


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
        allowed_roots=[Path(folder_paths.get_input_directory()), Path(folder_paths.get_output_directory())],
    )


def _app(folder_paths: Any, root: Path) -> App:
    """This ComfyUI as an app: every folder that it, its custom nodes and extra paths know models in."""
    folders = []
    for name, (paths, extensions) in folder_paths.folder_names_and_paths.items():
        wanted = (
            MODEL_EXTENSIONS & {extension.lower() for extension in extensions}
            if extensions
            else MODEL_EXTENSIONS
        )
        if name in NOT_MODEL_FOLDERS or not wanted:
            continue
        subtype = FOLDER_ALIASES.get(name, name)
        folders += [TargetFolder(subtype=subtype, path=Path(path), extensions=wanted) for path in paths]
    return App(app="comfyui", name="ComfyUI", root=root, folders=folders)
