"""How an endpoint is written: a plain function with typed parameters.

``query`` and ``body`` are parsed into the record they are annotated with, other parameters come from
the path, and what the function returns is the answer. The OpenAPI document is made from the same
annotations, so that it cannot say anything else.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..core.errors import InvalidFieldsError, InvalidRequestError
from ..core.jobs import Job
from ..core.librarian import Librarian
from ..core.turns import SHORT_RUN_S, give_way
from .table import Route

_AT_ONCE = 500


class JobAccepted(BaseModel):
    """Work was queued; follow its job."""

    job: Job


class Endpoint:
    """One call of the API, with the types that its function is annotated with."""

    def __init__(self, route: Route) -> None:
        module = import_module(f".{route.module}", __package__)
        self.route = route
        self.function: Callable[..., BaseModel] = getattr(module, route.function)
        hints = typing.get_type_hints(self.function)
        self.query: type[BaseModel] | None = hints.get("query")
        self.body: type[BaseModel] | None = hints.get("body")
        self.answer: type[BaseModel] = hints["return"]
        parameters = inspect.signature(self.function).parameters
        self.path_names = tuple(name for name in parameters if name not in ("librarian", "query", "body"))

    @property
    def status(self) -> int:
        """202 for queued work, 200 else."""
        return 202 if issubclass(self.answer, JobAccepted) else 200

    def call(
        self, librarian: Librarian, path: Mapping[str, str], query: Mapping[str, Sequence[str]], body: bytes
    ) -> bytes:
        """Parse, run the function, and make the JSON of what it returns. Blocks; run it in a thread.

        Raises `InvalidRequestError`, and what the function raises.
        """
        arguments: dict[str, Any] = {name: path[name] for name in self.path_names}
        try:
            if self.query is not None:
                arguments["query"] = self.query.model_validate(_query_values(query, self.query))
            if self.body is not None:
                arguments["body"] = self.body.model_validate(_parsed(body))
        except ValidationError as error:
            raise _wrong_fields(error) from error
        try:
            return _json_of(self.function(librarian, **arguments))
        except OverflowError as error:
            raise InvalidRequestError("A number is too large. Give a smaller one.") from error


def _json_of(record: BaseModel) -> bytes:
    """A record as JSON; long lists in pieces, since one call for 100,000 things holds all other threads meanwhile."""
    long = {name: value for name, value in record if isinstance(value, list) and len(value) > _AT_ONCE}
    short = record.model_dump_json(by_alias=True, exclude=set(long))
    if not long:
        return short.encode()
    fields = [short[1:-1]] if short != "{}" else []
    for name, values in long.items():
        pieces = []
        for start in range(0, len(values), _AT_ONCE):
            some = record.model_copy(update={name: values[start : start + _AT_ONCE]})
            key, _, rest = some.model_dump_json(by_alias=True, include={name}).partition("[")
            pieces.append(rest[:-2])
            give_way(SHORT_RUN_S)
        fields.append(f"{key[1:]}[{','.join(pieces)}]")
    return f"{{{','.join(fields)}}}".encode()


def _parsed(body: bytes) -> Any:
    try:
        value = json.loads(body)
        if b"\\ud" in body.lower():  # half a surrogate pair is no text: no file and no database takes it
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("The body is not valid JSON. Send JSON in UTF-8.") from error
    return value


def _query_values(query: Mapping[str, Sequence[str]], record: type[BaseModel]) -> dict[str, Any]:
    """The query as a record takes it: lists from repeated names, empty values left out."""
    values: dict[str, Any] = {}
    for name, field in record.model_fields.items():
        given = [value for value in query.get(name, ()) if value != ""]
        if given:
            values[name] = given if typing.get_origin(field.annotation) is list else given[-1]
    return values


def _wrong_fields(error: ValidationError) -> InvalidFieldsError:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return InvalidFieldsError([(".".join(str(part) for part in one["loc"]), _wrong(one)) for one in found])


def _wrong(error: ErrorDetails) -> str:
    """What pydantic says of a field, in words for people who know nothing of Python."""
    if error["type"] in ("model_type", "dict_type"):
        return "This should be a JSON object."
    return error["msg"].removeprefix("Value error, ")
