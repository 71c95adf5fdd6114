"""Every route of the API in one place."""

from __future__ import annotations

import json
from itertools import chain

from aiohttp import web

from . import imports, jobs, links, models, network, status
from .assets import Assets
from .door import PREFIX, Door
from .openapi import document

ENDPOINTS = tuple(
    chain(
        status.endpoints.all,
        models.endpoints.all,
        imports.endpoints.all,
        jobs.endpoints.all,
        links.endpoints.all,
        network.endpoints.all,
    )
)


def add_routes(table: web.RouteTableDef, door: Door) -> None:
    """Put every route into a table that an aiohttp application takes."""
    assets = Assets(door)
    table.get(f"{PREFIX}/openapi.json")(openapi)
    table.get(f"{PREFIX}/events")(door.guarded(assets.events))
    table.get(f"{PREFIX}/web/{{path:.+}}")(door.guarded(assets.module))
    table.get(f"{PREFIX}/locales/{{language:[A-Za-z-]+}}")(door.guarded(assets.texts))
    table.get(f"{PREFIX}/previews/{{model_id:.+}}")(door.guarded(assets.preview))
    for endpoint in ENDPOINTS:
        table.route(endpoint.method, PREFIX + endpoint.path)(door.handler(endpoint))


async def openapi(_request: web.Request) -> web.Response:
    """The OpenAPI document."""
    return web.Response(text=json.dumps(document(ENDPOINTS, PREFIX)), content_type="application/json")
