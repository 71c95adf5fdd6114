"""Model Librarian: one library for all the models a person owns.

This folder is both the package ``model_librarian`` and a ComfyUI custom node. What follows is all that
happens at import: routes and start are handed to ComfyUI's server, if there is one; work begins later.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import LibrarianNodes

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> LibrarianNodes:
    """What ComfyUI calls to get the nodes (V3)."""
    from .nodes import LibrarianNodes

    return LibrarianNodes()


def _join_comfyui() -> None:
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is not None:
        from .routes.comfyui import install

        install(server)


_join_comfyui()
