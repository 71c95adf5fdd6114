"""How bytes get out: pooled connections that go to checked addresses only.

Imported when the first call is made, because httpx takes a while to load.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

_CONNECTIONS = 20
_KEEP_ALIVE_S = 30.0
_ADDRESSES_TRIED = 3

CheckAddress = Callable[[str, int, str], None]


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name, checks every address it has, and connects to one of those.

    The name is not resolved a second time, so an answer that changes after the check (DNS rebinding)
    changes nothing.
    """

    def __init__(self, check_address: CheckAddress, resolvers: Executor) -> None:
        self._check_address = check_address
        self._resolvers = resolvers
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect within ``timeout`` seconds, all addresses together.

        Raises:
            HostNotAllowedError: One of the addresses is private.
            httpcore.ConnectError: The name is unknown, or nobody answers there.
            httpcore.ConnectTimeout: No answer in time.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        addresses = await self._resolve(host, port, timeout)
        for address in addresses:
            self._check_address(host.lower().rstrip("."), port, address)
        problem: Exception = httpcore.ConnectError(f"{host} has no address")
        for index, address in enumerate(addresses):
            # An address that swallows everything must leave time for the next one.
            share = None if until is None else max(until - loop.time(), 0.0) / (len(addresses) - index)
            try:
                return _Stream(
                    await self._sockets.connect_tcp(address, port, share, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                problem = exc
        raise problem

    async def sleep(self, seconds: float) -> None:
        """Wait; asked for by the pool's interface."""
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int, timeout: float | None) -> list[str]:
        # Not on the loop's default threads: a dead resolver holds a thread for half a minute, and
        # ComfyUI needs those.
        loop = asyncio.get_running_loop()
        look_up = loop.run_in_executor(self._resolvers, _addresses, host, port)
        try:
            return await asyncio.wait_for(look_up, timeout)
        except (TimeoutError, asyncio.TimeoutError) as exc:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from exc
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(f"the name {host} is not known") from exc


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is closed when its encryption cannot be set up.

    httpcore closes it after an error only, not when the call is cancelled, and each call that ends with
    its deadline would leave an open socket behind.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a name, IPv4 first: where one of the two is broken, it is IPv6."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_ADDRESSES_TRIED]


class CheckedTransport(httpx.AsyncBaseTransport):
    """The connections of one event loop.

    Goes through the proxy that the environment names (``HTTPS_PROXY``, ``NO_PROXY`` and so on, or the
    system's settings). A proxy resolves names itself, so there only the name can be checked.
    """

    def __init__(
        self, check_address: CheckAddress, resolvers: Executor, *, http2: bool, ssl_context: ssl.SSLContext
    ) -> None:
        self._http2 = http2
        self._ssl_context = ssl_context
        self._proxies = {scheme: _proxy_url(url) for scheme, url in urllib.request.getproxies().items()}
        self._through: dict[str, httpx.AsyncHTTPTransport] = {}
        self._bypassed: dict[str, bool] = {}
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=_KEEP_ALIVE_S,
            http2=http2,
            network_backend=CheckedBackend(check_address, resolvers),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the response's body is still to be read.

        Raises:
            HostNotAllowedError: The host has a private address.
            httpx.TransportError: Nobody answered.
        """
        proxy = self._proxies.get(request.url.scheme) or self._proxies.get("all")
        if proxy and not await self._bypasses(request.url.host):
            return await self._proxied(proxy).handle_async_request(request)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        with _as_httpx():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
        for transport in self._through.values():
            await transport.aclose()

    async def _bypasses(self, host: str) -> bool:
        if host not in self._bypassed:
            # Some systems resolve names to find out.
            self._bypassed[host] = bool(await asyncio.to_thread(urllib.request.proxy_bypass, host))
        return self._bypassed[host]

    def _proxied(self, proxy: str) -> httpx.AsyncHTTPTransport:
        if proxy not in self._through:
            self._through[proxy] = httpx.AsyncHTTPTransport(
                proxy=proxy,
                verify=self._ssl_context,
                http2=self._http2,
                limits=httpx.Limits(
                    max_connections=_CONNECTIONS,
                    max_keepalive_connections=_CONNECTIONS,
                    keepalive_expiry=_KEEP_ALIVE_S,
                ),
            )
        return self._through[proxy]


def _proxy_url(url: str) -> str:
    return url if "://" in url else f"http://{url}"


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with _as_httpx():
            await self._answer.aclose()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Both libraries have the same errors under the same names; callers know httpx's."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as exc:
        kind = getattr(httpx, type(exc).__name__, httpx.TransportError)
        raise kind(str(exc)) from exc
