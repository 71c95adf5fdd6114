"""What is not JSON: the panel's modules, its texts, previews, and the stream of events."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..core.errors import NotFoundError
from ..core.storage.roots import is_within, real_path

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..core.librarian import Librarian

PACKAGE = Path(__file__).resolve().parent.parent
WEB = PACKAGE / "web"
LOCALES = PACKAGE / "locales"

KEEP_ALIVE_S = 15.0
EVENT_BACKLOG = 1000

_TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}


KEPT_PREVIEWS = "private, max-age=10, stale-while-revalidate=86400"
"""A picture that scrolls by again is there at once, and one that was replaced under its name is soon noticed."""


class Assets:
    """Handlers for files and events. Files answer with an ETag, and sooner or later are asked for again."""

    def __init__(
        self, enter: Callable[[web.Request], Awaitable[Librarian]], run: Callable[..., Awaitable[Any]]
    ) -> None:
        self._enter = enter
        self._run = run
        self._streams: set[asyncio.Task[None]] = set()

    async def module(self, request: web.Request) -> web.StreamResponse:
        """A file of the panel. ComfyUI serves ``*.mjs`` so that browsers keep stale ones; this does not."""
        return await self._file(request, WEB, request.match_info["path"])

    async def texts(self, request: web.Request) -> web.StreamResponse:
        """The panel's texts in one language."""
        return await self._file(request, LOCALES, f"{request.match_info['language']}/main.json")

    async def preview(self, request: web.Request) -> web.StreamResponse:
        """A model's picture or video: by model only, never by a path from the caller."""
        librarian = await self._enter(request)
        path, content_type = await self._run(librarian.models.preview, request.match_info["model_id"])
        response = web.FileResponse(path)
        response.content_type = content_type
        response.headers["Cache-Control"] = KEPT_PREVIEWS
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Every event as a server-sent event named like it, with the record as JSON."""
        librarian = await self._enter(request)
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
            }
        )

        def listen(name: str, record: BaseModel) -> None:
            message = f"event: {name}\ndata: {record.model_dump_json(by_alias=True)}\n\n".encode()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(enqueue, message)

        def enqueue(message: bytes) -> None:
            if queue.qsize() < EVENT_BACKLOG:  # a page that reads too slowly asks for the state again
                queue.put_nowait(message)

        unsubscribe = librarian.events.subscribe(listen)
        stream = loop.create_task(_stream(request, response, queue))
        self._streams.add(stream)
        try:
            await asyncio.wait([stream])
        finally:
            stream.cancel()
            self._streams.discard(stream)
            unsubscribe()
        return response

    async def end_streams(self, _app: web.Application) -> None:
        """End every stream of events, so that the server need not wait for pages to go."""
        for stream in self._streams:
            stream.cancel()

    async def _file(self, request: web.Request, folder: Path, below: str) -> web.StreamResponse:
        data, content_type = await self._run(_read, folder, below)
        tag = hashlib.blake2b(data, digest_size=12).hexdigest()
        headers = {"Cache-Control": "no-cache", "ETag": f'"{tag}"', "X-Content-Type-Options": "nosniff"}
        if any(known.value == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        charset = "utf-8" if content_type.startswith("text/") or content_type == "application/json" else None
        return web.Response(body=data, content_type=content_type, charset=charset, headers=headers)


async def _stream(request: web.Request, response: web.StreamResponse, queue: asyncio.Queue[bytes]) -> None:
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        await response.prepare(request)
        await response.write(b": listening\n\n")
        while True:
            try:
                message = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
            except asyncio.TimeoutError:
                message = b": still here\n\n"
            await response.write(message)


def _read(folder: Path, below: str) -> tuple[bytes, str]:
    path = real_path(folder / below)
    if not is_within(path, real_path(folder)) or not path.is_file():
        raise NotFoundError(f"There is no {below!r}.")
    content_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return path.read_bytes(), content_type
