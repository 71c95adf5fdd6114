"""How tests ask for JSON."""

from __future__ import annotations

from typing import Any

from model_librarian.core.network import NetworkManager, raise_for_status, read_json


async def get_json(
    manager: NetworkManager, url: str, params: dict[str, Any] | None = None, **more: Any
) -> Any:
    """What an address says; raises for any status but 2xx, and for what is no JSON."""
    response = await manager.request("GET", url, params=params, **more)
    raise_for_status(response)
    return await read_json(response)
