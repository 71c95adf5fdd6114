"""The standalone server: the same API and the same panel as a page, without ComfyUI."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from aiohttp import web

from .core.host import Host
from .core.librarian import Librarian
from .core.settings import Surroundings
from .routes.assets import WEB
from .routes.door import Door


def application(surroundings: Surroundings) -> web.Application:
    """An aiohttp application that owns a Librarian from its start to its end."""
    host = Host(lambda: Librarian(surroundings))
    table = web.RouteTableDef()
    door = Door(host)
    door.add_routes(table)

    @table.get("/")
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    app = web.Application()
    app.add_routes(table)

    async def start(_app: web.Application) -> None:
        host.open()
        await host.librarian()

    async def stop(_app: web.Application) -> None:
        await host.close()

    app.on_startup.append(start)
    app.on_shutdown.append(door.end_streams)
    app.on_cleanup.append(stop)
    return app


async def serve(surroundings: Surroundings, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; prints one line with the address when it answers.

    Raises `OSError` if the address cannot be used.
    """
    runner = web.AppRunner(application(surroundings), shutdown_timeout=2.0)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl+C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        addresses = runner.addresses
        shown = f"[{host}]" if ":" in host else host
        print(f"Model Librarian is at http://{shown}:{addresses[0][1]}/", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
