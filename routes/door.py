from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ..core.errors import InvalidRequestError, LibrarianError
from ..core.host import Host
from ..core.librarian import Librarian
from . import guards
from .endpoints import Endpoint, call
from .problems import (
    BodyTooLargeError,
    UnsupportedMediaError,
    problem,
    problem_of,
    problem_of_validation,
)

logger = logging.getLogger(__name__)

PREFIX = "/librarian"
MAX_BODY_BYTES = 16 * 1024 * 1024

T = TypeVar("T")
WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Between aiohttp and the Librarian: parses, guards, calls in a thread, answers in JSON."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def enter(self, request: web.Request, *, changes_things: bool = False) -> Librarian:
        """The Librarian, for a caller that may use it. Raises `ForbiddenError`, `StartingError`."""
        librarian = await self._host.librarian()
        guards.check_caller(request, librarian.settings, changes_things=changes_things)
        return librarian

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function in a thread."""
        return await self._host.run(function, *arguments)

    def handler(self, endpoint: Endpoint) -> WebHandler:
        """The web handler of an endpoint."""

        async def handle(request: web.Request) -> web.StreamResponse:
            librarian = await self.enter(request, changes_things=endpoint.changes_things)
            arguments: dict[str, Any] = {name: request.match_info[name] for name in endpoint.path_names}
            if endpoint.query is not None:
                arguments["query"] = endpoint.query.model_validate(_query_values(request, endpoint.query))
            if endpoint.method in ("POST", "PUT", "PATCH"):
                body = await _json_body(request)
                if endpoint.body is not None:
                    arguments["body"] = endpoint.body.model_validate(body)
            data = await self.run(call, endpoint, librarian, arguments)
            return web.Response(status=endpoint.status, body=data, content_type="application/json")

        return self.guarded(handle)

    def guarded(self, handle: WebHandler) -> WebHandler:
        """Turn whatever a handler raises into a problem document."""

        async def safely(request: web.Request) -> web.StreamResponse:
            try:
                return await handle(request)
            except ValidationError as error:
                return problem_of_validation(error)
            except LibrarianError as error:
                return problem_of(error)
            except (web.HTTPException, ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                logger.exception("%s %s failed", request.method, request.path)
                return problem(500, "internal_error", "Librarian met an error of its own. See ComfyUI's log.")

        return safely


async def _json_body(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise UnsupportedMediaError("Send a JSON body, with «Content-Type: application/json».")
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise BodyTooLargeError("The body is larger than 16 MB.")
    data = bytearray()
    async for chunk in request.content.iter_chunked(256 * 1024):
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise BodyTooLargeError("The body is larger than 16 MB.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("The body is not valid JSON.") from error


def _query_values(request: web.Request, record: type[BaseModel]) -> dict[str, Any]:
    """The query as a record takes it: lists from repeated names, empty values left out."""
    values: dict[str, Any] = {}
    for name, field in record.model_fields.items():
        given = [value for value in request.query.getall(name, []) if value != ""]
        if given:
            values[name] = given if "list" in str(field.annotation) else given[-1]
    return values
