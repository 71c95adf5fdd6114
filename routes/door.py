from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from ..core.errors import LibrarianError
from ..core.host import Host
from . import guards
from .assets import Assets
from .problems import BodyTooLargeError, BodyTooSlowError, UnsupportedMediaError, problem, problem_of
from .table import ROUTES, Route
from .uploads import Uploads

if TYPE_CHECKING:  # loaded at the first call
    from ..core.librarian import Librarian
    from .endpoints import Endpoint

logger = logging.getLogger(__name__)

PREFIX = "/librarian"
MAX_BODY_BYTES = 16 * 1024 * 1024
BODY_TIMEOUT_S = 30.0

T = TypeVar("T")
WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Between aiohttp and the Librarian: guards, calls in a thread, answers in JSON."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._endpoints: dict[Route, Endpoint] = {}
        self._assets = Assets(self.enter, self.run)
        self._uploads = Uploads(self.enter, self.run)

    def add_routes(self, table: web.RouteTableDef) -> None:
        """Put every route into a table that an aiohttp application takes."""
        assets = self._assets
        table.get(f"{PREFIX}/openapi.json")(self.guarded(self._openapi))
        table.get(f"{PREFIX}/events")(self.guarded(assets.events))
        table.get(f"{PREFIX}/web/{{path:.+}}")(self.guarded(assets.module))
        table.get(f"{PREFIX}/locales/{{language:[A-Za-z-]+}}")(self.guarded(assets.texts))
        table.get(f"{PREFIX}/previews/{{model_id:.+}}")(self.guarded(assets.preview))
        for route in ROUTES:
            table.route(route.method, PREFIX + route.path)(self.guarded(self._handler(route)))
        table.route("*", f"{PREFIX}/{{path:.*}}")(_no_route)

    async def end_streams(self, app: web.Application) -> None:
        """For ``on_shutdown``: end the streams of events, and the bodies of uploads."""
        await self._assets.end_streams(app)
        await self._uploads.end_streams()

    async def enter(self, request: web.Request, *, changes_things: bool = False) -> Librarian:
        """The Librarian, for a caller that may use it. Raises `ForbiddenError`, `StartingError`."""
        librarian = await self._host.librarian()
        guards.check_caller(request, librarian.preferences.current, changes_things=changes_things)
        return librarian

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function in a thread."""
        return await self._host.run(function, *arguments)

    def guarded(self, handle: WebHandler) -> WebHandler:
        """Turn whatever a handler raises into a problem document."""

        async def safely(request: web.Request) -> web.StreamResponse:
            try:
                return await handle(request)
            except LibrarianError as error:
                return problem_of(error)
            except (web.HTTPException, ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                logger.exception("%s %s failed", request.method, request.path)
                return problem(500, "internal_error", "Librarian met an error of its own. See ComfyUI's log.")

        return safely

    def _handler(self, route: Route) -> WebHandler:
        if route.streams:
            handler: WebHandler = getattr(self._uploads, route.function)
            return handler

        async def handle(request: web.Request) -> web.StreamResponse:
            librarian = await self.enter(request, changes_things=route.changes_things)
            endpoint = self._endpoints.get(route)
            if endpoint is None:
                endpoint = await self.run(self._load, route)
            body = await _json_body(request) if route.method in ("POST", "PUT", "PATCH") else b""
            query = {name: request.query.getall(name) for name in request.query}
            data = await self.run(endpoint.call, librarian, dict(request.match_info), query, body)
            return web.Response(
                status=endpoint.status,
                body=data,
                content_type="application/json",
                headers={"X-Content-Type-Options": "nosniff"},
            )

        return handle

    def _load(self, route: Route) -> Endpoint:
        from .endpoints import Endpoint

        return self._endpoints.setdefault(route, Endpoint(route))

    async def _openapi(self, _request: web.Request) -> web.Response:
        def make() -> bytes:
            from .openapi import document

            endpoints = [self._load(route) for route in ROUTES if not route.streams]
            streams = [route for route in ROUTES if route.streams]
            return json.dumps(document(endpoints, PREFIX, streams)).encode()

        return web.Response(body=await self.run(make), content_type="application/json")


async def _no_route(request: web.Request) -> web.Response:
    """Say in JSON, too, that there is no such call; it comes last, so that all others are asked first."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if isinstance(resource, (web.PlainResource, web.DynamicResource)):
            match, methods = await resource.resolve(request)
            if match is None:
                allowed |= methods
    said = f"{request.method} {request.path}"
    if not allowed:
        return problem(404, "not_found", f"There is no {said}. {PREFIX}/openapi.json describes all calls.")
    answer = problem(405, "method_not_allowed", f"There is no {said}, only {', '.join(sorted(allowed))}.")
    answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


async def _json_body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise UnsupportedMediaError("Send a JSON body, with «Content-Type: application/json».")
    try:
        return await asyncio.wait_for(_read_body(request), BODY_TIMEOUT_S)
    except asyncio.TimeoutError as error:
        raise BodyTooSlowError(
            f"The body did not arrive within {BODY_TIMEOUT_S:.0f} s. Send it again."
        ) from error


async def _read_body(request: web.Request) -> bytes:
    data = bytearray()
    async for chunk in request.content.iter_chunked(256 * 1024):
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise BodyTooLargeError("The body is larger than 16 MB. Send it in parts.")
    return bytes(data)
