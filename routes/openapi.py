"""The OpenAPI 3.1 document, made from the endpoints' own types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from ..core.version import VERSION
from . import uploads
from .endpoints import Endpoint
from .table import Route

_REFERENCE = "#/components/schemas/{model}"

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "said": {"$ref": _REFERENCE.format(model="Said")},
    },
}

_A_PROBLEM = {
    "description": "A problem (RFC 9457).",
    "content": {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
}


def document(endpoints: Iterable[Endpoint], prefix: str, streams: Iterable[Route] = ()) -> dict[str, Any]:
    """Describe every endpoint, and the calls of the tus protocol (``streams``); paths begin with ``prefix``."""
    endpoints = list(endpoints)
    records = [
        *((endpoint.answer, "serialization") for endpoint in endpoints),
        *((endpoint.body, "validation") for endpoint in endpoints if endpoint.body),
    ]
    references, definitions = models_json_schema(list(dict.fromkeys(records)), ref_template=_REFERENCE)  # type: ignore[arg-type]
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _path(prefix, endpoint.route)
        answer = references[endpoint.answer, "serialization"]
        operation: dict[str, Any] = {
            "operationId": endpoint.function.__name__,
            "summary": (endpoint.function.__doc__ or "").strip(),
            "parameters": _parameters(endpoint),
            "responses": {
                str(endpoint.status): {
                    "description": "The answer.",
                    "content": {"application/json": {"schema": answer}},
                },
                "default": _A_PROBLEM,
            },
        }
        if endpoint.body is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": references[endpoint.body, "validation"]}},
            }
        paths.setdefault(path, {})[endpoint.route.method.lower()] = operation
    for route in streams:
        paths.setdefault(_path(prefix, route), {})[route.method.lower()] = _stream(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Model Librarian", "version": VERSION},
        "paths": paths,
        "components": {"schemas": {**definitions.get("$defs", {}), "Problem": _PROBLEM}},
    }


def _path(prefix: str, route: Route) -> str:
    return prefix + re.sub(r"\{(\w+)[^}]*\}", r"{\1}", route.path)


def _stream(route: Route) -> dict[str, Any]:
    """A call of the tus protocol, as its handler and the headers that it reads describe it."""
    handler = getattr(uploads.Uploads, route.function)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)", route.path)
    ]
    parameters += [
        {"name": name, "in": "header", "required": required, "schema": {"type": "string"}}
        for name, required in uploads.HEADERS[route.function].items()
    ]
    operation: dict[str, Any] = {
        "operationId": f"{route.function}_upload",
        "summary": (handler.__doc__ or "").strip(),
        "parameters": parameters,
        "responses": {
            str(uploads.STATUS[route.function]): {"description": "The answer, in headers."},
            "default": _A_PROBLEM,
        },
    }
    if "Upload-Checksum" in uploads.HEADERS[route.function]:
        operation["requestBody"] = {"content": {uploads.CONTENT_TYPE: {}}}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in endpoint.path_names
    ]
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema()
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": value}
            for name, value in schema["properties"].items()
        ]
    return parameters
