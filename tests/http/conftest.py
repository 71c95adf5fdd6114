from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from model_librarian.standalone import application


class Api:
    """Calls the API as a page of the same server would."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Status and JSON of one call below ``/librarian``."""
        if body is not None:
            more["json"] = body
        async with self.client.request(method, f"/librarian{path}", **more) as response:
            if "json" not in response.content_type:
                return response.status, await response.text()
            return response.status, await response.json(content_type=None)

    async def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it ended."""
        import asyncio

        for _ in range(600):
            status, current = await self("GET", f"/jobs/{job['id']}")
            assert status == 200
            if current["state"] not in ("queued", "running"):
                return current
            await asyncio.sleep(0.02)
        raise AssertionError(f"the job did not end: {current}")


@pytest.fixture
async def api(surroundings) -> AsyncIterator[Api]:
    """The standalone server on a free port of this machine."""
    async with TestClient(TestServer(application(surroundings))) as client:
        api = Api(client)
        _, jobs = await api("GET", "/jobs")
        for job in jobs["jobs"]:
            await api.finished(job)
        yield api
