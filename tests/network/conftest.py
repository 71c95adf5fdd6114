from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config

from model_librarian.core.network import NetworkManager, NetworkSettings

Answering = Callable[["Exchange"], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Exchange:
    """One request at the server, and the way to answer it."""

    def __init__(self, scope: dict[str, Any], send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode()
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.peer: tuple[str, int] = tuple(scope["client"])
        self.http_version: str = scope["http_version"]
        self._send = send

    async def start(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    async def body(self, content: bytes = b"", *, more: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": more})

    async def answer(
        self, value: Any = None, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        await self.start(status, {"content-type": "application/json", **(headers or {})})
        await self.body(json.dumps(value).encode())


class Server:
    """A real HTTP/2 server on this machine; ``answering`` says how it behaves."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.origin = f"https://localhost:{port}"
        self.seen: list[Exchange] = []
        self.answering: Answering = lambda exchange: exchange.answer({"path": exchange.path})

    @property
    def connections(self) -> set[tuple[str, int]]:
        return {exchange.peer for exchange in self.seen}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        exchange = Exchange(scope, send)
        self.seen.append(exchange)
        await self.answering(exchange)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    authority.issue_cert(
        "localhost", "127.0.0.1", "hub.example"
    ).private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextlib.asynccontextmanager
async def _running(certificate: Path) -> AsyncIterator[Server]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.certfile = config.keyfile = str(certificate)
    config.graceful_timeout = 0.05
    config.shutdown_timeout = 0.1
    config.errorlog = None
    server = Server(port)
    ending = asyncio.Event()
    task = asyncio.create_task(serve(server, config, shutdown_trigger=ending.wait))  # type: ignore[arg-type]
    try:
        yield server
    finally:
        ending.set()
        await task


@pytest.fixture
async def server(certificate: Path) -> AsyncIterator[Server]:
    async with _running(certificate) as running:
        yield running


@pytest.fixture
async def other_server(certificate: Path) -> AsyncIterator[Server]:
    async with _running(certificate) as running:
        yield running


MakeManager = Callable[..., NetworkManager]


@pytest.fixture
async def manager_for(trusting: ssl.SSLContext) -> AsyncIterator[MakeManager]:
    """Builds managers that trust the test certificate; closes them at the end."""
    built: list[NetworkManager] = []

    def build(
        *allowed: str, log_dir: Path | None = None, clock: Clock | None = None, **settings: Any
    ) -> NetworkManager:
        chosen = NetworkSettings(allowed_hosts=allowed, **{"calls_per_minute": 1000, **settings})
        times: dict[str, Any] = {} if clock is None else {"clock": clock, "sleep": clock.sleep}
        built.append(NetworkManager(chosen, ssl_context=trusting, log_dir=log_dir, **times))
        return built[-1]

    yield build
    for manager in built:
        await manager.aclose()


class RawServer:
    """A listening socket that misbehaves below HTTP."""

    def __init__(self) -> None:
        self.connections = 0
        self.origin = ""
        self.left: list[asyncio.Event] = []


@pytest.fixture
async def raw_server(request: pytest.FixtureRequest) -> AsyncIterator[RawServer]:
    """``silent`` takes connections and says nothing, ``reset`` cuts them off."""
    how: str = request.param
    raw = RawServer()
    writers: list[asyncio.StreamWriter] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        writers.append(writer)
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return
        left = asyncio.Event()
        raw.left.append(left)
        with contextlib.suppress(OSError):
            while await reader.read(1000):
                pass
        left.set()

    listening = await asyncio.start_server(met, "127.0.0.1", 0)
    raw.origin = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield raw
    listening.close()
    for writer in writers:
        writer.transport.abort()


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """An address that swallows every attempt to connect, as a firewall that drops packets does."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting: list[socket.socket] = []
    for _ in range(8):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
        waiting.append(one)
    yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    for one in [*waiting, listening]:
        one.close()
