"""How an endpoint is written: a plain function with typed parameters.

``query`` and ``body`` are parsed into the record they are annotated with, other parameters come from
the path, and what the function returns is the answer. The OpenAPI document is made from the same
annotations, so that it cannot say anything else.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from ..core.jobs import Job
from ..core.librarian import Librarian

Handler = TypeVar("Handler", bound=Callable[..., BaseModel])


class Endpoint(NamedTuple):
    """One call of the API. ``path`` is below ``/librarian`` and may hold ``{name}`` or ``{name:.+}``."""

    method: str
    path: str
    handler: Callable[..., BaseModel]
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    answer: type[BaseModel]
    path_names: tuple[str, ...]

    @property
    def status(self) -> int:
        """202 for queued work, 200 else."""
        return 202 if issubclass(self.answer, JobAccepted) else 200

    @property
    def changes_things(self) -> bool:
        """Whether the call may change anything."""
        return self.method != "GET"


class JobAccepted(BaseModel):
    """Work was queued; follow its job."""

    job: Job


class Endpoints:
    """The endpoints of one resource."""

    def __init__(self) -> None:
        self.all: list[Endpoint] = []

    def add(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Make a function ``f(librarian, …)`` an endpoint."""

        def decorate(handler: Handler) -> Handler:
            hints = typing.get_type_hints(handler)
            names = [name for name in inspect.signature(handler).parameters if name != "librarian"]
            self.all.append(
                Endpoint(
                    method=method,
                    path=path,
                    handler=handler,
                    query=hints.get("query"),
                    body=hints.get("body"),
                    answer=hints["return"],
                    path_names=tuple(name for name in names if name not in ("query", "body")),
                )
            )
            return handler

        return decorate


def call(endpoint: Endpoint, librarian: Librarian, arguments: dict[str, Any]) -> bytes:
    """Run an endpoint and make its JSON. Blocks; run it in a thread."""
    answer = endpoint.handler(librarian, **arguments)
    return answer.model_dump_json(by_alias=True).encode()
