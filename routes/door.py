from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ..core.errors import InvalidRequestError, LibrarianError
from ..core.librarian import Librarian
from . import guards
from .endpoints import Endpoint, call
from .problems import (
    BodyTooLargeError,
    StartingError,
    UnsupportedMediaError,
    problem,
    problem_of,
    problem_of_validation,
)

logger = logging.getLogger(__name__)

PREFIX = "/librarian"
MAX_BODY_BYTES = 16 * 1024 * 1024
THREADS = 8
START_TIMEOUT_S = 30.0

T = TypeVar("T")
WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Between a web server's event loop and the Librarian, which blocks and therefore runs in threads.

    The Librarian is built in the background when the server starts; calls that come earlier wait for it.
    """

    def __init__(self, build: Callable[[], Librarian]) -> None:
        self._build = build
        self._threads = ThreadPoolExecutor(THREADS, "librarian-http")
        self._librarian: Future[Librarian] | None = None

    def open(self) -> None:
        """Build and start the Librarian in the background. Returns at once."""
        self._librarian = self._threads.submit(self._build_and_start)

    def _build_and_start(self) -> Librarian:
        try:
            librarian = self._build()
            librarian.start()
        except Exception:
            logger.exception("Model Librarian could not start; ComfyUI is not affected")
            raise
        return librarian

    async def close(self) -> None:
        """End the Librarian's work and wait for it."""
        if self._librarian is not None:
            try:
                librarian = await asyncio.wrap_future(self._librarian)
            except Exception:  # it never started, and that was reported then
                return
            await self.run(librarian.close)
        self._threads.shutdown(wait=False)

    def wait(self) -> Librarian:
        """The Librarian, for threads that block. Raises what kept it from starting."""
        if self._librarian is None:
            raise StartingError("Model Librarian has not started yet.")
        try:
            return self._librarian.result(START_TIMEOUT_S)
        except LibrarianError:
            raise
        except Exception as error:
            raise StartingError(f"Model Librarian could not start: {error}") from error

    async def librarian(self) -> Librarian:
        """The Librarian, for coroutines. Raises as `wait`."""
        starting = self._librarian
        if starting is not None and not starting.done():
            await asyncio.wait([asyncio.wrap_future(starting)], timeout=START_TIMEOUT_S)
            if not starting.done():
                raise StartingError("Model Librarian is still starting. Try again in a moment.")
        return self.wait()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function in one of the door's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def handler(self, endpoint: Endpoint) -> WebHandler:
        """The web handler of an endpoint."""

        async def handle(request: web.Request) -> web.StreamResponse:
            librarian = await self.librarian()
            guards.check_caller(request, librarian.settings, changes_things=endpoint.changes_things)
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
