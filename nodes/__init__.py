"""The ComfyUI nodes (V3): thin, by identity."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .loaders import loader_nodes


class LibrarianNodes(ComfyExtension):  # type: ignore[misc]
    """All nodes of this package."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """What ComfyUI registers."""
        return [*loader_nodes()]
