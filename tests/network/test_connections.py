"""The door on real connections: HTTP/2 over TLS on this machine, and everything that goes wrong there."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from model_librarian.core.network import (
    BadAnswerError,
    CircuitBreakerOpen,
    HostNotAllowedError,
    HttpStatusError,
    NetworkUnavailableError,
    RateLimitedError,
)
from model_librarian.core.network import transport as transport_module

from ._asking import get_json

# Generous, for slow machines; without bounds these would be 7 s or never.
SOON_S = 2.0


async def test_ten_calls_at_once_share_one_connection(server, manager_for):
    together = asyncio.Event()

    async def when_all_are_here(exchange):
        if len(server.seen) == 10:
            together.set()
        await together.wait()
        await exchange.answer(exchange.path)

    server.answering = when_all_are_here
    manager = manager_for(server.origin)
    answers = await asyncio.gather(*(get_json(manager, f"{server.origin}/{n}") for n in range(10)))
    assert answers == [f"/{n}" for n in range(10)]
    assert {exchange.http_version for exchange in server.seen} == {"2"}
    assert len(server.connections) == 1
    await get_json(manager, f"{server.origin}/later")
    assert len(server.connections) == 1


async def test_streams_have_a_connection_of_their_own(server, manager_for):
    async def answering(exchange):
        if exchange.path != "/large":
            return await exchange.answer("small")
        await exchange.start()
        for _ in range(400):
            await exchange.body(b"x" * 65536, more=True)
        return await exchange.body()

    server.answering = answering
    manager = manager_for(server.origin)
    async with manager.stream("GET", f"{server.origin}/large", headers={"Range": "bytes=0-"}) as response:
        async for _ in response.aiter_bytes():
            break
        assert await get_json(manager, f"{server.origin}/small") == "small"
    # Broken off after the first piece, 26 MB unread: the next calls do not notice.
    for _ in range(3):
        assert await get_json(manager, f"{server.origin}/small") == "small"
    assert {exchange.http_version for exchange in server.seen if exchange.path == "/large"} == {"1.1"}
    assert server.seen[0].headers["range"] == "bytes=0-"


async def test_a_stream_that_stalls_is_an_error(server, manager_for):
    forever = asyncio.Event()

    async def half(exchange):
        await exchange.start()
        await exchange.body(b"half", more=True)
        await forever.wait()

    server.answering = half
    manager = manager_for(server.origin, timeout_s=0.2)
    got = b""
    with pytest.raises(NetworkUnavailableError, match="no answer in time"):
        async with manager.stream("GET", server.origin) as response:
            async for part in response.aiter_bytes():
                got += part
    assert got == b"half"
    assert manager.status().hosts[0].failures == 1
    forever.set()


async def test_what_the_caller_does_with_a_stream_is_his_own(server, manager_for):
    manager = manager_for(server.origin)
    with pytest.raises(OSError, match="disk full"):
        async with manager.stream("GET", server.origin):
            raise OSError("disk full")
    assert manager.status().hosts[0].failures == 0


async def test_gzip_is_unpacked_and_bounded(server, manager_for):
    packed = {
        "/well": gzip.compress(b'"well"'),
        "/bomb": gzip.compress(b"0" * 3_000_000),
        "/broken": b"no gzip",
    }

    async def answering(exchange):
        await exchange.start(headers={"content-encoding": "gzip"})
        await exchange.body(packed[exchange.path])

    server.answering = answering
    manager = manager_for(server.origin)
    assert await get_json(manager, f"{server.origin}/well") == "well"
    with pytest.raises(BadAnswerError, match="more than 1000000 bytes"):
        await get_json(manager, f"{server.origin}/bomb", max_bytes=1_000_000)
    with pytest.raises(BadAnswerError, match="compression"):
        await get_json(manager, f"{server.origin}/broken")
    assert await get_json(manager, f"{server.origin}/well") == "well"
    assert manager.status().hosts[0].failures == 0


async def test_an_answer_without_end_is_cut_off_and_the_next_call_is_well(server, manager_for):
    async def answering(exchange):
        if exchange.path == "/small":
            return await exchange.answer("small")
        await exchange.start()
        while True:
            await exchange.body(b"x" * 65536, more=True)

    server.answering = answering
    manager = manager_for(server.origin)
    with pytest.raises(BadAnswerError):
        await manager.request("GET", f"{server.origin}/endless", max_bytes=1_000_000)
    assert await get_json(manager, f"{server.origin}/small") == "small"
    # The rest of the answer is not left to clog the connection that the others share.
    assert len(server.connections) == 2


async def within(seconds, awaitable):
    began = time.monotonic()
    try:
        return await awaitable
    finally:
        assert time.monotonic() - began < seconds


@pytest.mark.parametrize("stage", ["headers", "body", "drip"])
async def test_a_stall_ends_with_the_deadline(server, manager_for, stage):
    forever = asyncio.Event()

    async def stalling(exchange):
        if stage != "headers":
            await exchange.start()
        while stage == "drip" and not forever.is_set():
            await exchange.body(b" ", more=True)
            await asyncio.sleep(0.02)
        if stage == "body":
            await exchange.body(b"[1,", more=True)
        await forever.wait()

    server.answering = stalling
    manager = manager_for(server.origin, timeout_s=0.3, deadline_s=0.3)
    with pytest.raises(NetworkUnavailableError, match="in time"):
        await within(SOON_S, get_json(manager, server.origin))
    assert manager.status().hosts[0].failures == 1
    forever.set()


@pytest.mark.parametrize("raw_server", ["silent"], indirect=True)
async def test_a_black_hole_is_left_alone_after_three_calls(raw_server, manager_for):
    manager = manager_for(raw_server.origin, timeout_s=0.2, deadline_s=0.2)
    for _ in range(3):
        with pytest.raises(NetworkUnavailableError, match=r"no connection in time|no answer in time"):
            await within(SOON_S, get_json(manager, raw_server.origin))
    calls = (get_json(manager, raw_server.origin) for _ in range(100))
    answers = await within(0.5, asyncio.gather(*calls, return_exceptions=True))
    assert {type(answer) for answer in answers} == {CircuitBreakerOpen}
    assert all(59 < answer.retry_after_s <= 60 for answer in answers)
    assert manager.status().offline


@pytest.mark.parametrize("raw_server", ["silent"], indirect=True)
async def test_a_call_that_ends_during_the_handshake_leaves_no_socket(raw_server, manager_for):
    manager = manager_for(raw_server.origin, timeout_s=5, deadline_s=0.2)
    gc.disable()
    try:
        with pytest.raises(NetworkUnavailableError):
            await get_json(manager, raw_server.origin)
        await asyncio.wait_for(raw_server.left[0].wait(), SOON_S)
    finally:
        gc.enable()


async def test_packets_that_vanish(full_backlog, manager_for):
    manager = manager_for(full_backlog, timeout_s=0.2, deadline_s=0.3)
    with pytest.raises(NetworkUnavailableError, match="in time"):
        await within(SOON_S, get_json(manager, full_backlog))


@pytest.mark.parametrize("raw_server", ["reset"], indirect=True)
async def test_resets_open_the_circuit(raw_server, manager_for):
    manager = manager_for(raw_server.origin)
    with pytest.raises(NetworkUnavailableError):
        await within(SOON_S, get_json(manager, raw_server.origin))
    assert raw_server.connections == 3
    with pytest.raises(CircuitBreakerOpen):
        await get_json(manager, raw_server.origin)
    assert raw_server.connections == 3


async def test_nobody_there(manager_for):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = f"https://127.0.0.1:{unused.getsockname()[1]}"
        manager = manager_for(origin)
        with pytest.raises(NetworkUnavailableError, match="no connection"):
            await within(SOON_S, get_json(manager, origin))


async def test_a_host_that_says_503_is_left_alone_and_then_tried_once(server, manager_for, clock):
    """A hundred wait for a host that is out: nothing is sent for them, and then one trial, not a stampede."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def well_again(exchange):
        asked.set()
        await go.wait()
        await exchange.answer("well")

    server.answering = lambda exchange: exchange.answer(None, 503)
    manager = manager_for(server.origin, clock=clock, deadline_s=60)
    with pytest.raises(NetworkUnavailableError, match="503"):
        await get_json(manager, server.origin)
    assert len(server.seen) == 3

    async def hundred():
        calls = (get_json(manager, server.origin) for _ in range(100))
        return await asyncio.gather(*calls, return_exceptions=True)

    assert {type(answer) for answer in await hundred()} == {CircuitBreakerOpen}
    server.answering = well_again
    clock.now += 60
    waiting = asyncio.ensure_future(hundred())
    await asked.wait()
    go.set()
    answers = await waiting
    assert [answer for answer in answers if answer == "well"] == ["well"]
    assert sum(isinstance(answer, CircuitBreakerOpen) for answer in answers) == 99
    assert len(server.seen) == 4
    assert manager.status().hosts[0].state == "closed"
    assert len(server.connections) == 1


async def test_a_500_is_an_answer(server, manager_for):
    server.answering = lambda exchange: exchange.answer(None, 500)
    manager = manager_for(server.origin)
    for _ in range(5):
        with pytest.raises(HttpStatusError):
            await get_json(manager, server.origin)
    assert (len(server.seen), manager.status().hosts[0].state) == (5, "closed")


async def test_a_redirect_loop_ends(server, other_server, manager_for):
    def leading_to(target):
        async def answering(exchange):
            await exchange.start(302, {"location": f"{target.origin}{exchange.path}"})
            await exchange.body()

        return answering

    server.answering, other_server.answering = leading_to(other_server), leading_to(server)
    manager = manager_for(server.origin, other_server.origin)
    with pytest.raises(BadAnswerError, match="circle"):
        await get_json(manager, f"{server.origin}/a")
    assert (len(server.seen), len(other_server.seen)) == (1, 1)
    assert {host.state for host in manager.status().hosts} == {"closed"}


async def test_two_event_loops_at_once_share_what_is_known_but_no_connection(server, manager_for):
    both = asyncio.Event()

    async def when_both_are_here(exchange):
        if len(server.connections) == 2:
            both.set()
        await both.wait()
        await exchange.answer(exchange.path)

    server.answering = when_both_are_here
    manager = manager_for(server.origin)

    def in_a_loop_of_its_own():
        async def call():
            answer = await get_json(manager, f"{server.origin}/there")
            (transport,) = [found for (loop, _), found in manager._transports.items() if loop is here()]
            await transport.aclose()
            return answer

        here = asyncio.get_running_loop
        return asyncio.run(call())

    there = asyncio.create_task(asyncio.to_thread(in_a_loop_of_its_own))
    assert await get_json(manager, f"{server.origin}/here") == "/here"
    assert await there == "/there"
    assert len(server.connections) == 2
    assert len(manager.status().hosts) == 1


async def test_closing_leaves_no_connection(server, manager_for):
    manager = manager_for(server.origin)
    assert await get_json(manager, f"{server.origin}/1") == {"path": "/1"}
    (transport,) = manager._transports.values()
    assert len(transport._pool.connections) == 1
    await manager.aclose()
    assert (transport._pool.connections, manager._transports) == ([], {})
    assert await get_json(manager, f"{server.origin}/2") == {"path": "/2"}
    assert len(server.connections) == 2


async def test_an_answer_shorter_than_it_said_is_asked_for_again(server, manager_for):
    async def answering(exchange):
        if len(server.seen) > 1:
            return await exchange.answer("well")
        await exchange.start(headers={"content-length": "100"})
        return await exchange.body(b"[1, 2")

    server.answering = answering
    manager = manager_for(server.origin)
    assert await get_json(manager, server.origin) == "well"
    assert len(server.seen) == 2


async def test_an_unknown_certificate_is_refused(server, manager_for, monkeypatch):
    manager = manager_for(server.origin)
    manager._given_ssl_context = None
    with pytest.raises(NetworkUnavailableError, match="certificate"):
        await get_json(manager, server.origin)
    assert server.seen == []


async def test_a_storm_of_429(server, manager_for):
    times = []

    async def busy_at_first(exchange):
        times.append(time.monotonic())
        if len(times) == 1:
            await exchange.answer(None, 429, {"retry-after": "1"})
        else:
            await exchange.answer("well")

    server.answering = busy_at_first
    manager = manager_for(server.origin)
    with pytest.raises(RateLimitedError) as refused:
        await get_json(manager, server.origin, deadline_s=0.8)
    assert 0 < refused.value.retry_after_s <= 1
    answers = await asyncio.gather(*(get_json(manager, server.origin) for _ in range(50)))
    assert answers == ["well"] * 50
    # One was told to wait; the others did not even try before the time was up.
    assert len(times) == 51
    assert min(times[1:]) - times[0] > 0.99


# Addresses


def names(monkeypatch, *answers):
    """Let names mean what the test says; returns what was asked."""
    asked = []
    left = list(answers)

    def getaddrinfo(host, port, *args, **kwargs):
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in found else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (found, port))]

    monkeypatch.setattr(transport_module.socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"])
async def test_a_name_of_a_private_address_is_not_connected_to(server, manager_for, monkeypatch, address):
    names(monkeypatch, address)
    manager = manager_for(f"hub.example:{server.port}")
    with pytest.raises(HostNotAllowedError, match="private address"):
        await get_json(manager, f"https://hub.example:{server.port}/")
    assert server.seen == []
    assert manager.status().hosts[0].failures == 0


async def test_nor_is_one_that_a_redirect_leads_to(server, other_server, manager_for, monkeypatch):
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        return real("127.0.0.1" if host == "cdn.hub.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(transport_module.socket, "getaddrinfo", getaddrinfo)
    target = f"https://cdn.hub.example:{other_server.port}/secret"

    async def leading(exchange):
        await exchange.answer(None, 302, {"location": target})

    server.answering = leading
    manager = manager_for(server.origin, f"*.hub.example:{other_server.port}")
    with pytest.raises(HostNotAllowedError, match=r"cdn\.hub\.example"):
        await manager.request("GET", server.origin)
    assert other_server.seen == []


async def test_nor_a_host_that_is_not_on_the_list(server, other_server, manager_for):
    async def leading(exchange):
        await exchange.answer(None, 307, {"location": f"{other_server.origin}/x"})

    server.answering = leading
    manager = manager_for(server.origin)
    with pytest.raises(HostNotAllowedError):
        await manager.request("GET", server.origin)
    assert other_server.seen == []
    allowed = manager_for(server.origin, other_server.origin)
    assert (await allowed.request("GET", server.origin)).json() == {"path": "/x"}


async def test_the_address_that_was_checked_is_the_one_connected_to(server, manager_for, monkeypatch):
    connected = []
    backend = transport_module.httpcore.AnyIOBackend
    real_connect = backend.connect_tcp

    async def connect_tcp(self, host, port, *args, **kwargs):
        connected.append(host)
        return await real_connect(self, "127.0.0.1", port, *args, **kwargs)

    monkeypatch.setattr(backend, "connect_tcp", connect_tcp)
    asked = names(monkeypatch, "93.184.215.14", "127.0.0.1")
    manager = manager_for(f"hub.example:{server.port}")
    assert await get_json(manager, f"https://hub.example:{server.port}/x") == {"path": "/x"}
    # Named once; the certificate was that of the name, the connection went to the number.
    assert asked == ["hub.example"]
    assert connected == ["93.184.215.14"]


async def test_private_addresses_when_the_person_allows_them(server, manager_for, monkeypatch):
    names(monkeypatch, "127.0.0.1")
    manager = manager_for(f"hub.example:{server.port}", allow_private=True)
    assert await get_json(manager, f"https://hub.example:{server.port}/x") == {"path": "/x"}


async def test_the_next_address_is_tried_when_one_is_dead(server, manager_for, monkeypatch):
    def getaddrinfo(host, port, *args, **kwargs):
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(transport_module.socket, "getaddrinfo", getaddrinfo)
    manager = manager_for(f"hub.example:{server.port}", allow_private=True)
    assert await get_json(manager, f"https://hub.example:{server.port}/x") == {"path": "/x"}


async def test_names_that_are_not_known(manager_for, monkeypatch):
    def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(transport_module.socket, "getaddrinfo", getaddrinfo)
    manager = manager_for("hub.example")
    with pytest.raises(NetworkUnavailableError, match="not known"):
        await get_json(manager, "https://hub.example/")


async def test_a_resolver_that_never_answers(manager_for, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(transport_module.socket, "getaddrinfo", lambda *a, **k: release.wait(10) and [])
    manager = manager_for("hub.example", timeout_s=0.2, deadline_s=0.3)
    try:
        with pytest.raises(NetworkUnavailableError, match="in time"):
            await within(SOON_S, get_json(manager, "https://hub.example/"))
    finally:
        release.set()


async def test_the_environments_proxy_is_used(raw_proxy, server, manager_for, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", raw_proxy.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    manager = manager_for(server.origin, f"https://127.0.0.1:{server.port}")
    assert await get_json(manager, f"{server.origin}/x") == {"path": "/x"}
    assert raw_proxy.asked == [f"CONNECT localhost:{server.port} HTTP/1.1"]
    assert server.seen[-1].http_version == "2"
    await get_json(manager, f"https://127.0.0.1:{server.port}/y")
    assert len(raw_proxy.asked) == 1


@pytest.fixture
async def raw_proxy():
    """A proxy that only tunnels."""

    proxy = SimpleNamespace(asked=[], address="")
    tasks = []

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def met(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        proxy.asked.append(head.splitlines()[0])
        host, port = head.split()[1].rsplit(":", 1)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        tasks.append(asyncio.ensure_future(pump(reader, far_writer)))
        tasks.append(asyncio.ensure_future(pump(far_reader, writer)))

    listening = await asyncio.start_server(met, "127.0.0.1", 0)
    proxy.address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield proxy
    listening.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
