"""The HTTP door inside ComfyUI: routes on its server, events on its websocket.

Importing this and `install` are all that happens while ComfyUI starts; what is heavy is imported by the
thread that builds the Librarian.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..core.host import Host
from .door import Door

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..core.librarian import Librarian

START_DELAY_S = 0.2


def install(server: Any) -> None:
    """Add routes, start and stop to ComfyUI's ``PromptServer``. Touches nothing else and no disk.

    The server keeps the host as ``server.librarian``; the nodes find it there.
    """

    def build() -> Librarian:
        from ..core.librarian import Librarian
        from .comfyui_folders import look_into, surroundings

        librarian = Librarian(surroundings())
        librarian.linker.folders.attach(look_into)
        librarian.events.subscribe(lambda name, record: _send(server, name, record))
        return librarian

    host = Host(build)
    door = Door(host)
    door.add_routes(server.routes)
    server.librarian = host

    async def start(_app: web.Application) -> None:
        # The server listens right after this; what is heavy begins then.
        asyncio.get_running_loop().call_later(START_DELAY_S, host.open)

    async def stop(_app: web.Application) -> None:
        await host.close()

    server.app.on_startup.append(start)
    server.app.on_shutdown.append(door.end_streams)
    server.app.on_cleanup.append(stop)


def _send(server: Any, name: str, record: BaseModel) -> None:
    server.send_sync(name, record.model_dump(mode="json", by_alias=True))
