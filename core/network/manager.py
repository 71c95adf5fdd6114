from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequestError, LibrarianError
from ..sentences import say
from .breaker import Breaker, Pass, State
from .errors import BadAnswerError, HttpStatusError, NetworkUnavailableError, OfflineError, RateLimitedError
from .hosts import HostRules, host_key, host_key_of
from .log import NetworkLog
from .rate_limits import RateLimit
from .records import HostStatus, NetworkSettings, NetworkStatus, RateLimitStatus
from .retry import attempts, pause_s

if TYPE_CHECKING:
    import ssl

    import httpx

logger = logging.getLogger(__name__)

Params = Mapping[str, str | int | float | bool | None]
Watcher = Callable[[NetworkStatus], None]

USER_AGENT = "model-librarian (+https://github.com/model-librarian/model-librarian)"
#: Bytes of an answer that is held in memory.
LARGEST_ANSWER = 32 * 1024 * 1024
MAX_REDIRECTS = 5

_CANNOT = frozenset({502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OWN_HOST_ONLY = ("authorization", "cookie", "proxy-authorization")
_PARSE_IN_THREAD = 256 * 1024
_RESOLVERS = 4
_CLOSING_S = 2.0


class NetworkManager:
    """The only door to the outside.

    Talks to allowed hosts at public addresses only, leaves failing hosts alone, keeps to their rate
    limits, repeats what may be repeated, and answers or raises within a deadline. Usable from several
    event loops; each has connections of its own. Builds nothing before the first call.

    Args:
        settings: What the person allows.
        log_dir: Folder for ``network.log``, or None for no log.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        transport: Takes the place of the real connections.
        ssl_context: Takes the place of the usual certificate checks.
    """

    def __init__(
        self,
        settings: NetworkSettings | None = None,
        *,
        log_dir: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._given_transport = transport
        self._given_ssl_context = ssl_context
        self._log = NetworkLog(log_dir)
        self._lock = threading.Lock()
        self._building = threading.Lock()
        self._loaded = False
        self._hosts: dict[str, _Host] = {}
        self._watchers: list[Watcher] = []
        self._transports: dict[tuple[asyncio.AbstractEventLoop, bool], httpx.AsyncBaseTransport] = {}
        self._ssl_contexts: dict[bool, ssl.SSLContext] = {}
        self._resolvers: ThreadPoolExecutor | None = None
        self.configure(settings or NetworkSettings())

    @property
    def settings(self) -> NetworkSettings:
        """What the person allows."""
        return self._settings

    def configure(self, settings: NetworkSettings) -> None:
        """Take other settings from the next call on; what is known of the hosts stays."""
        self._rules = HostRules(
            settings.allowed_hosts, allow_private=settings.allow_private, allow_http=settings.allow_http
        )
        self._settings = settings
        with self._lock:
            for host in self._hosts.values():
                host.limit.calls_per_minute = settings.calls_per_minute

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        follow_redirects: bool = True,
        deadline_s: float | None = None,
        max_bytes: int = LARGEST_ANSWER,
    ) -> httpx.Response:
        """Ask, and return the whole answer, whatever its HTTP status.

        Args:
            method: HTTP method. Only idempotent ones are ever repeated.
            url: http or https address of an allowed host.
            params: Added to the address's query; None leaves one out.
            headers: Sent along; the host's token is added by itself.
            json: Sent as the body.
            follow_redirects: Follow up to five, each checked like the first address.
            deadline_s: Seconds until there is an answer or an error; the settings' by default.
            max_bytes: The largest body, unpacked.

        Raises:
            OfflineError: The network is switched off.
            HostNotAllowedError: The address, or one it leads to, may not be asked.
            CircuitBreakerOpen: The host is being left alone.
            RateLimitedError: A place in its limit comes only after the deadline.
            NetworkUnavailableError: It did not answer in time, or answered 502, 503 or 504.
            BadAnswerError: Broken or too large, or redirects that lead nowhere.
        """
        call = await self._prepare(method, url, params, headers, json, deadline_s)
        return await self._follow(call, follow_redirects, max_bytes)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Ask, and give the answer with its body still to be read, in pieces.

        For downloads: the deadline ends with the headers; after that only silence for longer than
        ``timeout_s`` is an error. The connection is HTTP/1.1 and its own, because a large body that
        is left unread would block every other call on a shared one.

        Raises:
            NetworkError: As ``request``; NetworkUnavailableError also while the body is read.
        """
        call = await self._prepare(method, url, params, headers, None, deadline_s)
        call.http2 = False
        response = await self._follow(call, True, None)
        host = self._host(response.request.url)
        try:
            yield response
        except LibrarianError:
            raise
        except Exception as exc:
            if not _is_httpx_error(exc):
                raise
            host.breaker.failed(call.granted)
            raise NetworkUnavailableError(host.key, _reason(exc)) from exc
        finally:
            await response.aclose()

    def is_reachable(self, url: str) -> bool:
        """Whether a call would be sent now, as far as is known without sending one."""
        with self._lock:
            host = self._hosts.get(host_key_of(url))
        return self._settings.online and (host is None or host.breaker.retry_after_s == 0)

    def has_token(self, url: str) -> bool:
        """Whether a call to this address would carry an access token."""
        return host_key_of(url) in self._settings.tokens

    def try_now(self) -> None:
        """A person says that the network is back: each host that is left alone gets one trial at the next call."""
        with self._lock:
            hosts = list(self._hosts.values())
        for host in hosts:
            host.breaker.try_now()

    def status(self) -> NetworkStatus:
        """How the network and every host asked so far do."""
        with self._lock:
            hosts = list(self._hosts.values())
        states = [host.status() for host in hosts]
        limits = [limit for host in hosts if (limit := host.limit_status()) is not None]
        unwell = bool(states) and all(state.state != "closed" for state in states)
        return NetworkStatus(
            offline=not self._settings.online or unwell,
            hosts=states,
            rate_limit=min(limits, key=_tightness, default=None),
        )

    def on_change(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher(status)`` when a circuit opens or closes or a limit comes near.

        It is called on the thread of the call that changed it and must return at once. The returned
        function ends that.
        """
        with self._lock:
            self._watchers.append(watcher)

        def unwatch() -> None:
            with self._lock:
                if watcher in self._watchers:
                    self._watchers.remove(watcher)

        return unwatch

    async def aclose(self) -> None:
        """Close every connection and the log. A later call would open new ones."""
        with self._lock:
            transports, self._transports = self._transports, {}
            resolvers, self._resolvers = self._resolvers, None
        here = asyncio.get_running_loop()
        for (loop, _), transport in transports.items():
            if loop is here:
                await transport.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(transport.aclose(), loop)
                await asyncio.wait([asyncio.wrap_future(closing)], timeout=_CLOSING_S)
        if resolvers is not None:
            resolvers.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._log.close)

    async def _prepare(
        self,
        method: str,
        url: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        json: Any,
        deadline_s: float | None,
    ) -> _Call:
        if not self._settings.online:
            raise OfflineError
        with self._lock:
            host = self._hosts.get(host_key_of(url))
        if host is not None:
            host.breaker.check()  # before any work: many callers may wait for a host that is left alone
        if not self._loaded:
            # httpx takes longer to load than an event loop may be held.
            await asyncio.to_thread(_load)
            self._loaded = True
        import httpx

        try:
            address = httpx.URL(url)
            if params:
                given = {name: value for name, value in params.items() if value is not None}
                address = address.copy_merge_params(given)
            request = httpx.Request(method.upper(), address, headers=_sent_along(headers), json=json)
        except (httpx.InvalidURL, ValueError, TypeError) as exc:
            raise InvalidRequestError("This is not an address that can be asked.") from exc
        allowed_s = self._settings.deadline_s if deadline_s is None else deadline_s
        return _Call(request, until=self._clock() + allowed_s, allowed_s=allowed_s)

    async def _follow(self, call: _Call, follow_redirects: bool, max_bytes: int | None) -> httpx.Response:
        """Send a call and go where its answers lead, checking every address anew."""
        seen: set[tuple[str, str]] = set()
        while True:
            url = call.request.url
            self._rules.check(url)
            host = self._host(url)
            seen.add((call.request.method, str(url)))
            response = await self._send(host, call, max_bytes)
            leads_on = response.status_code in _REDIRECTS and "location" in response.headers
            if not (follow_redirects and leads_on):
                return response
            await response.aclose()
            if len(seen) > MAX_REDIRECTS:
                raise BadAnswerError(
                    host.key, say("leads_on", "it leads on more than {count} times", count=MAX_REDIRECTS)
                )
            call.request = _next_request(call.request, response, host.key)
            if (call.request.method, str(call.request.url)) in seen:
                raise BadAnswerError(host.key, say("leads_in_a_circle", "it leads around in a circle"))

    async def _send(self, host: _Host, call: _Call, max_bytes: int | None) -> httpx.Response:
        """Send one request until it is answered, or may not be sent again."""
        request = call.request
        token = self._settings.tokens.get(host.key)
        if token is not None and self._rules.keeps_secrets(request.url):
            request.headers.setdefault("Authorization", f"Bearer {token.get_secret_value()}")
        allowed = attempts(request.method)
        for attempt in range(1, allowed + 1):
            host.breaker.check()
            await self._wait_turn(host, call)
            if self._left(call) <= 0:
                raise NetworkUnavailableError(
                    host.key,
                    say("no_answer_within", "no answer within {seconds} s", seconds=round(call.allowed_s)),
                )
            call.granted = host.breaker.enter()
            why = ""
            cause: Exception | None = None
            try:
                response = await asyncio.wait_for(self._exchange(call, max_bytes), self._left(call))
            except BadAnswerError:
                host.breaker.succeeded(call.granted)
                raise
            except LibrarianError:
                host.breaker.abandoned(call.granted)
                raise
            except Exception as exc:
                # Everything, because the HTTP/2 machinery lets errors of its own through here and there.
                host.breaker.failed(call.granted)
                why, cause = _reason(exc), exc
            except BaseException:
                host.breaker.abandoned(call.granted)
                raise
            else:
                self._learn(host, response)
                if response.status_code in _CANNOT:
                    host.breaker.failed(call.granted)
                    why = say(
                        "answers_with_status",
                        "it answers with HTTP status {status}",
                        status=response.status_code,
                    )
                else:
                    host.breaker.succeeded(call.granted)
                    if response.status_code != 429:
                        return response
                await response.aclose()
                if response.status_code == 429:
                    if attempt == allowed:
                        raise RateLimitedError(host.key, max(host.limit.wait_s, 1.0))
                    continue
            pause = pause_s(attempt, random.random)
            if attempt == allowed or host.breaker.state != "closed" or pause >= self._left(call):
                raise NetworkUnavailableError(host.key, why) from cause
            await self._sleep(pause)
        raise AssertionError("every attempt ends above")

    async def _wait_turn(self, host: _Host, call: _Call) -> None:
        """Wait for a place in the host's limit, but never past the deadline."""
        while (wait := host.limit.take()) > 0:
            if wait >= self._left(call):
                raise RateLimitedError(host.key, wait)
            # Those who wait for the same moment do not all come at it.
            await self._sleep(wait + random.uniform(0.0, min(wait, 1.0) / 10))

    async def _exchange(self, call: _Call, max_bytes: int | None) -> httpx.Response:
        transport = await self._transport(call.http2)
        phase = min(self._settings.timeout_s, max(self._left(call), 0.001))
        read = self._settings.timeout_s if max_bytes is None else phase
        call.request.extensions["timeout"] = {"connect": phase, "read": read, "write": phase, "pool": phase}
        response = await transport.handle_async_request(call.request)
        response.request = call.request
        return response if max_bytes is None else await _whole(response, max_bytes)

    async def _transport(self, http2: bool) -> httpx.AsyncBaseTransport:
        if self._given_transport is not None:
            return self._given_transport
        key = (asyncio.get_running_loop(), http2)
        with self._lock:
            for other in [known for known in self._transports if known[0].is_closed()]:
                del self._transports[other]
            if key in self._transports:
                return self._transports[key]
        # Reading the certificates takes longer than an event loop may be held.
        built = await asyncio.to_thread(self._build_transport, http2)
        with self._lock:
            return self._transports.setdefault(key, built)

    def _build_transport(self, http2: bool) -> httpx.AsyncBaseTransport:
        import httpx

        from .transport import CheckedTransport

        with self._building:
            if http2 not in self._ssl_contexts:
                # Two, because each says for itself which versions of HTTP it offers.
                self._ssl_contexts[http2] = self._given_ssl_context or httpx.create_ssl_context()
            if self._resolvers is None:
                self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="librarian-dns")
            return CheckedTransport(
                lambda host, port, address: self._rules.check_address(host, port, address),
                self._resolvers,
                http2=http2,
                ssl_context=self._ssl_contexts[http2],
            )

    def _host(self, url: httpx.URL) -> _Host:
        key = host_key(url)
        with self._lock:
            if key not in self._hosts:
                breaker = Breaker(key, self._clock, changed=lambda state, n: self._note(key, state, n))
                limit = RateLimit(key, self._clock, self._settings.calls_per_minute)
                self._hosts[key] = _Host(key, breaker, limit)
            return self._hosts[key]

    def _left(self, call: _Call) -> float:
        return call.until - self._clock()

    def _note(self, host: str, state: State, failures: int) -> None:
        what = {
            "open": f"circuit open after {failures} failures in a row",
            "half-open": "circuit half-open, one call is let through",
            "closed": "circuit closed, the host answers",
        }
        self._changed(f"{host}: {what[state]}")

    def _learn(self, host: _Host, response: httpx.Response) -> None:
        came_near = host.limit.learn(response.status_code, response.headers)
        limit = host.limit_status()
        if came_near and limit is not None:
            said = "refused (429)" if response.status_code == 429 else "near its limit"
            left = f"{limit.remaining} of {limit.limit or 'unknown'} calls left"
            self._changed(f"{host.key}: {said}, {left}, {limit.reset_s:.0f} s to wait")

    def _changed(self, line: str) -> None:
        self._log.write(line)
        with self._lock:
            watchers = tuple(self._watchers)
        status = self.status()
        for watcher in watchers:
            try:
                watcher(status)
            except Exception:
                logger.exception("a watcher of the network failed")


class _Host:
    """What is known of one host."""

    def __init__(self, key: str, breaker: Breaker, limit: RateLimit) -> None:
        self.key = key
        self.breaker = breaker
        self.limit = limit

    def status(self) -> HostStatus:
        return HostStatus(
            host=self.key,
            state=self.breaker.state,
            failures=self.breaker.failures,
            retry_after_s=self.breaker.retry_after_s,
        )

    def limit_status(self) -> RateLimitStatus | None:
        known = self.limit.quota()
        if known is None:
            return None
        quota, near = known
        return RateLimitStatus(
            host=self.key,
            remaining=quota.remaining,
            limit=quota.limit,
            reset_s=quota.reset_s,
            near_limit=near,
        )


class _Call:
    """One call on its way: what is sent next, and until when."""

    def __init__(self, request: httpx.Request, *, until: float, allowed_s: float) -> None:
        self.request = request
        self.until = until
        self.allowed_s = allowed_s
        self.http2 = True
        self.granted = Pass(-1, trial=False)


def raise_for_status(response: httpx.Response) -> None:
    """Let a 2xx answer pass.

    Raises:
        HttpStatusError: Any other.
    """
    if not response.is_success:
        raise HttpStatusError(host_key(response.request.url), response.status_code)


async def read_json(response: httpx.Response) -> Any:
    """What a JSON answer says; large ones are read on a thread.

    Raises:
        BadAnswerError: It is not JSON, or nested beyond reason.
    """
    content = response.content
    try:
        if len(content) > _PARSE_IN_THREAD:
            return await asyncio.to_thread(json.loads, content)
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        page = " but a web page; a log-in page of this network, perhaps" if kind == "text/html" else ""
        raise BadAnswerError(host_key(response.request.url), f"it is not JSON{page}") from exc


def _load() -> None:
    """Load what the first call needs, also what would otherwise be loaded in the middle of it."""
    from . import transport  # noqa: F401

    for late in ("h2.connection", "httpcore._async.http2", "anyio._backends._asyncio"):
        with suppress(ImportError):
            import_module(late)


def _sent_along(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, deflate", **(headers or {})}


def _next_request(request: httpx.Request, response: httpx.Response, host: str) -> httpx.Request:
    """The request that a redirect asks for (RFC 9110, section 15.4)."""
    import httpx

    try:
        url = request.url.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError) as exc:
        raise BadAnswerError(host, "it leads to an address that is none") from exc
    headers = request.headers.copy()
    elsewhere = host_key(url) != host or url.scheme != request.url.scheme
    for name in ("host", *(_OWN_HOST_ONLY if elsewhere else ())):
        headers.pop(name, None)
    if response.status_code in (307, 308) or request.method in ("GET", "HEAD"):
        return httpx.Request(request.method, url, headers=headers, content=request.content or None)
    for name in ("content-length", "content-type"):
        headers.pop(name, None)
    return httpx.Request("GET", url, headers=headers)


async def _whole(response: httpx.Response, max_bytes: int) -> httpx.Response:
    """Read a body to its end, but no more than ``max_bytes`` of it."""
    import httpx

    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > max_bytes:
                await _hang_up(response)
                raise BadAnswerError(host_key(response.request.url), f"it has more than {max_bytes} bytes")
    except httpx.DecodingError as exc:
        raise BadAnswerError(host_key(response.request.url), "its compression is broken") from exc
    finally:
        await response.aclose()
    headers = response.headers.copy()
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        headers.pop(name, None)
    return httpx.Response(
        response.status_code,
        headers=headers,
        content=bytes(body),
        request=response.request,
        extensions={key: value for key, value in response.extensions.items() if key == "http_version"},
    )


async def _hang_up(response: httpx.Response) -> None:
    """Close the connection itself.

    The rest of an HTTP/2 body would otherwise go on to arrive and use up the window that all calls on
    the connection share.
    """
    stream = response.extensions.get("network_stream")
    if stream is not None:
        await stream.aclose()


def _is_httpx_error(exc: Exception) -> bool:
    import httpx

    return isinstance(exc, (httpx.HTTPError, httpx.StreamError))


def _reason(exc: Exception) -> str:
    """Why nobody answered, without addresses in it."""
    import httpx

    if isinstance(exc, httpx.ConnectTimeout):
        return say("no_connection_in_time", "no connection in time")
    if isinstance(exc, (httpx.TimeoutException, TimeoutError, asyncio.TimeoutError)):
        return say("no_answer_in_time", "no answer in time")
    if isinstance(exc, httpx.ProxyError):
        return say("proxy_refused", "the proxy refused")
    if isinstance(exc, ImportError):
        return say("proxy_needs_socksio", "the proxy that the environment names needs the package socksio")
    if isinstance(exc, httpx.ConnectError):
        return say("no_connection", "no connection ({error})", error=str(exc)[:200] or "refused")
    return say("connection_broke", "the connection broke")


def _tightness(limit: RateLimitStatus) -> float:
    return limit.remaining / limit.limit if limit.limit else float(limit.remaining)
