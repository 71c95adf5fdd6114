"""The door's rules, with made-up answers and made-up time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import respx
from pydantic import SecretStr

from model_librarian.core.errors import InvalidRequestError, LibrarianError
from model_librarian.core.network import (
    BadAnswerError,
    CircuitBreakerOpen,
    HostNotAllowedError,
    HttpStatusError,
    NetworkManager,
    NetworkSettings,
    NetworkUnavailableError,
    OfflineError,
    RateLimitedError,
    retry,
)

from ._asking import get_json

HUB = "https://huggingface.co"
API = f"{HUB}/api/models"


@pytest.fixture
def manager_with(clock, tmp_path):
    def build(**settings) -> NetworkManager:
        return NetworkManager(NetworkSettings(**settings), log_dir=tmp_path, clock=clock, sleep=clock.sleep)

    return build


@pytest.fixture
async def manager(manager_with):
    built = manager_with(deadline_s=3600)
    yield built
    await built.aclose()


@pytest.fixture
def hub():
    with respx.mock(assert_all_called=False) as router:
        yield router


async def test_json_and_how_it_is_asked_for(hub, manager):
    route = hub.get(API, params={"search": "flux dev", "limit": "5"}).respond(json=[{"id": "a/b"}])
    assert await get_json(manager, API, {"search": "flux dev", "limit": 5, "left_out": None}) == [
        {"id": "a/b"}
    ]
    request = route.calls.last.request
    assert request.headers["user-agent"].startswith("model-librarian")
    assert "authorization" not in request.headers


async def test_an_address_with_a_query_keeps_it(hub, manager):
    route = hub.get(API).respond(json=[])
    await get_json(manager, f"{API}?cursor=abc%3D", {"limit": 5})
    assert route.calls.last.request.url.params.multi_items() == [("cursor", "abc="), ("limit", "5")]


async def test_switched_off_sends_nothing(hub, manager_with):
    manager = manager_with(online=False)
    with pytest.raises(OfflineError):
        await get_json(manager, API)
    assert not hub.calls
    assert manager.status().offline
    assert not manager.is_reachable(API)
    manager.configure(NetworkSettings())
    hub.get(API).respond(json=1)
    assert await get_json(manager, API) == 1
    assert not manager.status().offline


async def test_hosts_that_are_not_allowed_are_not_asked(hub, manager):
    for url in ("https://example.org/", "http://huggingface.co/", "https://10.0.0.1/", "relative"):
        with pytest.raises(HostNotAllowedError):
            await manager.request("GET", url)
    assert not hub.calls
    assert manager.status().hosts == []


@pytest.mark.parametrize(
    "url", ["https://[", "https://x:99999999/", "https://\x00/", "https://hf.co/" + "a" * 70_000]
)
async def test_addresses_that_are_none(manager, url):
    with pytest.raises(LibrarianError):
        await manager.request("GET", url)


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (401, "remote_unauthorized", "token"),
        (403, "remote_forbidden", "licence"),
        (404, "remote_not_found", "private, renamed or deleted"),
        (451, "remote_legally_blocked", "legal"),
        (418, "remote_refused", "418"),
        (500, "remote_refused", "500"),
    ],
)
async def test_what_a_status_means_is_said(hub, manager, status, code, advice):
    hub.get(API).respond(status)
    with pytest.raises(HttpStatusError, match=advice) as refused:
        await get_json(manager, API)
    assert (refused.value.code, refused.value.status, refused.value.host) == (code, status, "huggingface.co")
    assert (await manager.request("GET", API)).status_code == status
    assert manager.status().hosts[0].failures == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b'{"a": ', b"\xff\xfe\x00", b"[" * 200_000, b"[" * 2_000_000, b"1" * 5000 + b"x"],
)
async def test_answers_that_are_not_json(hub, manager, content):
    hub.get(API).respond(content=content)
    with pytest.raises(BadAnswerError):
        await get_json(manager, API)


async def test_a_login_page_is_recognised(hub, manager):
    hub.get(API).respond(html="<h1>Welcome to our hotel</h1>")
    with pytest.raises(BadAnswerError, match="log-in page"):
        await get_json(manager, API)


# Failures, retries, the circuit


@pytest.mark.parametrize(
    "failure", [502, 503, 504, httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError]
)
async def test_what_failed_is_tried_again_after_growing_pauses(hub, manager, clock, failure):
    bad = httpx.Response(failure) if isinstance(failure, int) else failure
    route = hub.get(API).mock(side_effect=[bad, bad, httpx.Response(200, json="well")])
    assert await get_json(manager, API) == "well"
    assert route.call_count == 3
    first, second = clock.slept
    assert 0.1 <= first <= 0.2 <= second <= 0.4
    assert manager.status().hosts[0].failures == 0


async def test_three_failures_open_the_circuit_and_calls_fail_at_once(hub, manager, clock, tmp_path):
    route = hub.get(API).mock(side_effect=httpx.ConnectError)
    seen = []
    manager.on_change(seen.append)
    with pytest.raises(NetworkUnavailableError, match=r"huggingface\.co cannot be reached"):
        await get_json(manager, API)
    assert route.call_count == 3
    clock.now += 20
    with pytest.raises(CircuitBreakerOpen) as refused:
        await get_json(manager, API)
    assert route.call_count == 3
    assert refused.value.retry_after_s == pytest.approx(40)
    status = manager.status()
    assert status.offline
    assert [(host.host, host.state, host.failures) for host in status.hosts] == [
        ("huggingface.co", "open", 3)
    ]
    assert status.hosts[0].retry_after_s == pytest.approx(40)
    assert [told.hosts[0].state for told in seen] == ["open"]
    assert not manager.is_reachable(API)


async def test_it_closes_again_when_the_host_answers(hub, manager, clock, tmp_path):
    hub.get(API).mock(side_effect=[httpx.ConnectError] * 3 + [httpx.Response(404)])
    seen = []
    stop = manager.on_change(seen.append)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)
    clock.now += 60
    assert (await manager.request("GET", API)).status_code == 404
    assert [told.hosts[0].state for told in seen] == ["open", "half-open", "closed"]
    assert not manager.status().offline
    await manager.aclose()
    log = (tmp_path / "network.log").read_text()
    assert "huggingface.co: circuit open after 3 failures in a row" in log
    assert "circuit half-open" in log
    assert "circuit closed" in log
    stop()


async def test_one_trial_with_many_waiting(hub, manager, clock):
    hub.get(API).mock(side_effect=[httpx.ConnectError] * 3)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)
    clock.now += 60
    go = asyncio.Event()
    sent = []

    async def slowly(request):
        sent.append(request)
        await go.wait()
        return httpx.Response(200, json="well")

    hub.get(API).mock(side_effect=slowly)
    calls = [asyncio.ensure_future(get_json(manager, API)) for _ in range(100)]
    pending = set(calls)
    while len(pending) > 1:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    go.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["CircuitBreakerOpen"] * 99 + ["str"]
    assert len(sent) == 1
    assert manager.status().hosts[0].state == "closed"


async def test_callers_of_an_open_circuit_are_refused_before_any_work(hub, manager, monkeypatch):
    """A hundred of them must cost next to nothing, so nothing of a request is made for them."""
    hub.get(API).mock(side_effect=[httpx.ConnectError] * 3)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)

    def made(*_: object, **__: object) -> None:
        raise AssertionError("a request was made")

    monkeypatch.setattr(httpx, "Request", made)
    calls = (get_json(manager, API, {"search": str(n)}) for n in range(100))
    refused = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in refused} == {CircuitBreakerOpen}


async def test_a_clock_set_back_neither_opens_nor_holds_a_circuit(hub, tmp_path, monkeypatch):
    """Times are monotonic: what the wall clock says has no part in it."""
    import time

    manager = NetworkManager(NetworkSettings(deadline_s=3600), log_dir=tmp_path)
    hub.get(API).mock(side_effect=[httpx.ConnectError] * 3)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)
    before = manager.status().hosts[0].retry_after_s
    for moved in (-86_400 * 365, 86_400 * 365):
        monkeypatch.setattr(time, "time", lambda moved=moved: 1_700_000_000 + moved)
        with pytest.raises(CircuitBreakerOpen):
            await get_json(manager, API)
        assert 0 < manager.status().hosts[0].retry_after_s <= before
    await manager.aclose()


async def test_a_cancelled_trial_is_not_the_last(hub, manager, clock):
    hub.get(API).mock(side_effect=[httpx.ConnectError] * 3)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)
    clock.now += 60
    began = asyncio.Event()

    async def never(request):
        began.set()
        await asyncio.Event().wait()

    hub.get(API).mock(side_effect=never)
    trial = asyncio.ensure_future(get_json(manager, API))
    await began.wait()
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    hub.get(API).mock(return_value=httpx.Response(200, json="well"))
    assert await get_json(manager, API) == "well"


async def test_one_host_down_is_not_the_other(hub, manager):
    hub.get(API).mock(side_effect=httpx.ConnectError)
    hub.get("https://civitai.com/api").respond(json=1)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)
    assert await get_json(manager, "https://civitai.com/api") == 1
    status = manager.status()
    assert {host.host: host.state for host in status.hosts} == {
        "huggingface.co": "open",
        "civitai.com": "closed",
    }
    assert not status.offline


async def test_what_may_not_arrive_twice_is_sent_once(hub, manager):
    route = hub.post(API).mock(side_effect=httpx.ReadTimeout)
    with pytest.raises(NetworkUnavailableError):
        await manager.request("POST", API, json={"a": 1})
    assert route.call_count == 1


async def test_no_retry_beyond_the_deadline(hub, manager, monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_PAUSE_S", 120.0)
    route = hub.get(API).mock(side_effect=httpx.ConnectError)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API, deadline_s=50)
    assert route.call_count == 1


async def test_time_that_is_up_already_is_no_fault_of_the_host(hub, manager):
    route = hub.get(API).respond(json=1)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API, deadline_s=0)
    assert not route.called
    assert manager.status().hosts[0].failures == 0


async def test_a_strange_error_inside_the_machinery_is_a_clear_one_outside(hub, manager):
    hub.get(API).mock(side_effect=KeyError("stream 7"))
    with pytest.raises(NetworkUnavailableError, match="connection broke"):
        await get_json(manager, API)


# Limits


async def test_a_429_waits_as_it_says_and_others_wait_too(hub, manager, clock):
    times = []
    refused = asyncio.Event()

    def answer(request):
        times.append(clock.now)
        refused.set()
        if len(times) == 1:
            return httpx.Response(429, headers={"Retry-After": "30"})
        return httpx.Response(200, json="well")

    hub.get(API).mock(side_effect=answer)
    first = asyncio.ensure_future(get_json(manager, API))
    await refused.wait()
    assert await asyncio.gather(first, *(get_json(manager, API) for _ in range(5))) == ["well"] * 6
    assert all(later - times[0] >= 30 for later in times[1:])


async def test_a_wait_beyond_the_deadline_is_an_error_at_once(hub, manager, clock, tmp_path):
    route = hub.get(API).respond(429, headers={"RateLimit": '"api";r=0;t=55'})
    seen = []
    manager.on_change(seen.append)
    for _ in range(3):
        with pytest.raises(RateLimitedError) as refused:
            await get_json(manager, API, deadline_s=7)
        assert refused.value.retry_after_s == pytest.approx(55)
    assert route.call_count == 1
    assert clock.slept == []
    limit = manager.status().rate_limit
    assert (limit.host, limit.remaining, limit.near_limit) == ("huggingface.co", 0, True)
    assert limit.reset_s == pytest.approx(55)
    assert len(seen) == 1
    assert manager.status().hosts[0].failures == 0
    await manager.aclose()
    assert "refused (429)" in (tmp_path / "network.log").read_text()


async def test_a_host_that_only_says_429_does_not_keep_anybody(hub, manager):
    route = hub.get(API).respond(429, headers={"Retry-After": "0"})
    with pytest.raises(RateLimitedError):
        await get_json(manager, API)
    assert route.call_count == 3


async def test_near_the_limit_is_said_once_and_calls_are_paced(hub, manager, clock):
    hub.get(API).respond(
        json=1,
        headers={"RateLimit": '"api";r=20;t=100', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'},
    )
    seen = []
    manager.on_change(seen.append)
    for _ in range(3):
        await get_json(manager, API)
    assert len(seen) == 1
    assert seen[0].rate_limit.near_limit
    assert seen[0].rate_limit.remaining == 20
    assert clock.slept[0] == pytest.approx(5, rel=0.2)
    assert len(clock.slept) == 2


async def test_own_ceiling_per_host(hub, manager_with, clock):
    manager = manager_with(calls_per_minute=3)
    hub.get(API).respond(json=1)
    hub.get("https://civitai.com/x").respond(json=2)
    for _ in range(3):
        await get_json(manager, API)
    with pytest.raises(RateLimitedError) as refused:
        await get_json(manager, API)
    assert refused.value.retry_after_s == pytest.approx(60)
    assert await get_json(manager, "https://civitai.com/x") == 2
    clock.now += 60
    assert await get_json(manager, API) == 1


async def test_a_watcher_that_fails_disturbs_nobody(hub, manager):
    hub.get(API).mock(side_effect=httpx.ConnectError)
    seen = []
    manager.on_change(lambda status: 1 / 0)
    manager.on_change(seen.append)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)
    assert seen


# Redirects and secrets

TOKEN = "hf_verysecret"


@pytest.fixture
async def known(manager_with):
    built = manager_with(tokens={"huggingface.co": SecretStr(TOKEN)}, deadline_s=3600)
    yield built
    await built.aclose()


async def test_a_token_goes_to_its_own_host_only(hub, known):
    start = hub.get(f"{HUB}/a/resolve/main/x").respond(302, headers={"Location": f"{HUB}/b"})
    middle = hub.get(f"{HUB}/b").respond(307, headers={"Location": "https://cdn-lfs.hf.co/c?sig=1"})
    end = hub.get("https://cdn-lfs.hf.co/c").respond(json="well")
    assert (await known.request("GET", f"{HUB}/a/resolve/main/x")).json() == "well"
    assert start.calls.last.request.headers["authorization"] == f"Bearer {TOKEN}"
    assert middle.calls.last.request.headers["authorization"] == f"Bearer {TOKEN}"
    assert "authorization" not in end.calls.last.request.headers
    assert end.calls.last.request.headers["host"] == "cdn-lfs.hf.co"
    assert known.has_token(API)
    assert not known.has_token("https://cdn-lfs.hf.co/c")


async def test_nor_does_what_a_caller_sends_along(hub, manager):
    hub.get(API).respond(302, headers={"Location": "https://civitai.com/x"})
    end = hub.get("https://civitai.com/x").respond(json=1)
    headers = {"Authorization": "Bearer mine", "Cookie": "a=b", "Range": "bytes=5-"}
    await manager.request("GET", API, headers=headers)
    sent = end.calls.last.request.headers
    assert "authorization" not in sent
    assert "cookie" not in sent
    assert sent["range"] == "bytes=5-"


async def test_a_token_is_not_sent_without_encryption(hub, manager_with):
    manager = manager_with(tokens={"huggingface.co": SecretStr(TOKEN)}, allow_http=True)
    hub.get(API).respond(302, headers={"Location": "http://huggingface.co/x"})
    end = hub.get("http://huggingface.co/x").respond(json=1)
    await manager.request("GET", API)
    assert "authorization" not in end.calls.last.request.headers


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/x",
        "http://huggingface.co/x",
        "https://127.0.0.1/x",
        "https://169.254.169.254/latest",
        "//evil.example/x",
        "https://huggingface.co@evil.example/",
        "file:///etc/passwd",
        "https://huggingface.co:22/",
        "gopher://huggingface.co/",
    ],
)
async def test_redirects_to_elsewhere_are_refused(hub, known, location):
    hub.get(API).respond(302, headers={"Location": location})
    with pytest.raises(HostNotAllowedError):
        await known.request("GET", API)
    assert len(hub.calls) == 1


@pytest.mark.parametrize(
    "location", ["https://[", "https://hf.co:999999/", "https://hf.co:port/", "\x00", ""]
)
async def test_redirects_to_nowhere(hub, manager, location):
    hub.get(API).respond(302, headers={"Location": location})
    with pytest.raises((BadAnswerError, HostNotAllowedError)):
        await manager.request("GET", API)


async def test_redirect_loops_and_chains_end(hub, manager):
    hub.get(f"{HUB}/a").respond(302, headers={"Location": "/b"})
    hub.get(f"{HUB}/b").respond(302, headers={"Location": "/a"})
    with pytest.raises(BadAnswerError, match="circle"):
        await manager.request("GET", f"{HUB}/a")
    hub.get(url__regex=r"/chain/\d+").mock(
        side_effect=lambda request: httpx.Response(
            302, headers={"Location": f"/chain/{int(request.url.path.rsplit('/', 1)[1]) + 1}"}
        )
    )
    with pytest.raises(BadAnswerError, match="more than 5"):
        await manager.request("GET", f"{HUB}/chain/1")
    asked = [call.request.url.path for call in hub.calls if "chain" in call.request.url.path]
    assert asked == [f"/chain/{n}" for n in range(1, 7)]


async def test_five_redirects_are_followed(hub, manager):
    for n in range(5):
        hub.get(f"{HUB}/{n}").respond(302, headers={"Location": f"/{n + 1}"})
    hub.get(f"{HUB}/5").respond(json="well")
    assert (await manager.request("GET", f"{HUB}/0")).json() == "well"


async def test_redirects_need_not_be_followed(hub, manager):
    hub.get(API).respond(302, headers={"Location": "https://evil.example/"})
    assert (await manager.request("GET", API, follow_redirects=False)).status_code == 302


@pytest.mark.parametrize(("status", "method", "body"), [(303, "GET", b""), (307, "POST", b'{"a":1}')])
async def test_what_becomes_of_a_post(hub, manager, status, method, body):
    hub.post(API).respond(status, headers={"Location": "/x"})
    end = hub.route(url=f"{HUB}/x").respond(json=1)
    await manager.request("POST", API, json={"a": 1})
    request = end.calls.last.request
    assert (request.method, request.content) == (method, body)
    assert ("content-type" in request.headers) == (method == "POST")


async def test_no_secret_is_ever_written_down(hub, known, tmp_path, caplog):
    caplog.set_level("DEBUG", "httpx")
    caplog.set_level("DEBUG", "model_librarian")
    signed = "https://cdn-lfs.hf.co/c?Signature=verysigned"
    hub.get(API).respond(302, headers={"Location": signed})
    hub.get("https://cdn-lfs.hf.co/c").mock(side_effect=httpx.ConnectError)
    with pytest.raises(NetworkUnavailableError) as failed:
        await known.request("GET", API)
    await known.aclose()
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    said = [written, caplog.text, str(failed.value), repr(known.settings), known.settings.model_dump_json()]
    for text in said:
        assert TOKEN not in text
        assert "verysigned" not in text
    assert "cdn-lfs.hf.co" in written


async def test_the_log_turns_over(tmp_path, manager_with, monkeypatch):
    monkeypatch.setattr("model_librarian.core.network.log._LARGEST_BYTES", 2000)
    manager = manager_with()
    for n in range(100):
        manager._log.write(f"line {n}")
    await manager.aclose()
    assert {path.name for path in tmp_path.iterdir()} == {"network.log", "network_prev.log"}
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert "line 99" in (tmp_path / "network.log").read_text()


async def test_a_log_that_cannot_be_written_hurts_nobody(hub, clock, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    manager = NetworkManager(NetworkSettings(), log_dir=blocked, clock=clock, sleep=clock.sleep)
    hub.get(API).mock(side_effect=httpx.ConnectError)
    with pytest.raises(NetworkUnavailableError):
        await get_json(manager, API)
    await manager.aclose()
    assert capsys.readouterr().err == ""


async def test_bodies_that_are_no_json_values(manager):
    with pytest.raises(InvalidRequestError):
        await manager.request("POST", API, json={1, 2})


def test_each_event_loop_has_connections_of_its_own(hub, manager_with):
    manager = manager_with()
    hub.get(API).respond(json=1)
    for _ in range(3):
        assert asyncio.run(get_json(manager, API)) == 1
    assert len(manager._transports) == 1
    asyncio.run(manager.aclose())


def test_importing_the_room_is_cheap():
    code = (
        "import sys; import model_librarian.core.network, model_librarian.core.sources;"
        "heavy = {'httpx', 'httpcore', 'h2', 'rapidfuzz'} & set(sys.modules); assert not heavy, heavy"
    )
    root = Path(sys.modules["model_librarian"].__path__[0]).parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
