from __future__ import annotations

import asyncio
import sqlite3

import httpx
import pytest
import respx
from pydantic import SecretStr

from model_librarian.core.network import (
    Answers,
    BadAnswerError,
    CircuitBreakerOpen,
    HttpStatusError,
    NetworkManager,
    NetworkSettings,
    NetworkUnavailableError,
    OfflineError,
)

API = "https://huggingface.co/api/models"
DAY = 86_400


class Wall:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def hub():
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
async def network(clock):
    manager = NetworkManager(NetworkSettings(deadline_s=3600), clock=clock, sleep=clock.sleep)
    yield manager
    await manager.aclose()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "answers.db"


@pytest.fixture
async def answers_at(network, wall):
    opened = []

    def build(path, **more) -> Answers:
        opened.append(Answers(network, path, clock=wall, **more))
        return opened[-1]

    yield build
    for answers in opened:
        await answers.aclose()


async def test_a_fresh_answer_needs_no_call_even_after_a_restart(hub, answers_at, path, wall):
    route = hub.get(API).respond(json=[1, "ü"])
    first = answers_at(path)
    asked = await first.get(API, {"search": "flux"}, shape=object, ttl_s=600)
    assert (asked.value, asked.cached, asked.stale, asked.calls) == ([1, "ü"], False, False, 1)
    await first.aclose()
    wall.now += 599
    again = await answers_at(path).get(API, {"search": "flux"}, shape=object, ttl_s=600)
    assert (again.value, again.cached, again.stale, again.calls) == ([1, "ü"], True, False, 0)
    assert again.fetched_at == asked.fetched_at
    assert route.call_count == 1
    assert route.calls.last.request.headers["accept"] == "application/json"
    assert path.stat().st_mode & 0o077 == 0


async def test_other_questions_are_other_answers(hub, answers_at):
    answers = answers_at(None)
    hub.get(API).mock(side_effect=lambda request: httpx.Response(200, json=str(request.url.query)))
    one = await answers.get(API, {"search": "a"}, shape=object, ttl_s=600)
    other = await answers.get(API, {"search": "b"}, shape=object, ttl_s=600)
    assert one.value != other.value


async def test_a_stale_answer_comes_at_once_and_a_fresh_one_later(hub, answers_at, wall):
    told = []
    answers = answers_at(None, refreshed=told.append)
    hub.get(API).respond(json="old")
    await answers.get(API, shape=object, ttl_s=600)
    wall.now += 601
    go = asyncio.Event()

    async def slowly(request):
        await go.wait()
        return httpx.Response(200, json="new")

    route = hub.get(API).mock(side_effect=slowly)
    for _ in range(5):
        stale = await answers.get(API, shape=object, ttl_s=600)
        assert (stale.value, stale.cached, stale.stale, stale.calls) == ("old", True, True, 0)
    go.set()
    await answers.refreshed()
    assert route.call_count == 2
    fresh = await answers.get(API, shape=object, ttl_s=600)
    assert (fresh.value, fresh.cached, fresh.stale) == ("new", True, False)
    assert told == [API]


async def test_what_did_not_change_is_not_sent_again_nor_told(hub, answers_at, wall):
    told = []
    answers = answers_at(None, refreshed=told.append)
    hub.get(API).respond(json="same", headers={"ETag": 'W/"abc"', "Link": f'<{API}?cursor=2>; rel="next"'})
    await answers.get(API, shape=object, ttl_s=600)
    wall.now += 700
    route = hub.get(API).respond(304)
    await answers.get(API, shape=object, ttl_s=600)
    await answers.refreshed()
    assert route.calls.last.request.headers["if-none-match"] == 'W/"abc"'
    again = await answers.get(API, shape=object, ttl_s=600)
    assert (again.value, again.stale, again.next_url) == ("same", False, f"{API}?cursor=2")
    assert told == []


@pytest.mark.parametrize(
    "failure", [httpx.Response(500), httpx.Response(200, text="<html>"), httpx.ConnectError]
)
async def test_a_refresh_that_fails_keeps_what_there_is(hub, answers_at, wall, failure):
    answers = answers_at(None, refreshed=lambda url: 1 / 0)
    hub.get(API).respond(json="old")
    await answers.get(API, shape=object, ttl_s=600)
    wall.now += 700
    hub.get(API).mock(side_effect=[failure] * 3)
    await answers.get(API, shape=object, ttl_s=600)
    await answers.refreshed()
    assert (await answers.get(API, shape=object, ttl_s=DAY)).value == "old"


async def test_offline_the_remembered_answer_is_marked(hub, answers_at, network):
    answers = answers_at(None)
    hub.get(API).respond(json="old")
    await answers.get(API, shape=object, ttl_s=600)
    network.configure(NetworkSettings(online=False))
    answer = await answers.get(API, shape=object, ttl_s=600)
    assert (answer.value, answer.cached, answer.stale, answer.offline, answer.calls) == (
        "old",
        True,
        True,
        True,
        0,
    )
    with pytest.raises(OfflineError):
        await answers.get(f"{API}/other", shape=object, ttl_s=600)


async def test_with_an_open_circuit_too(hub, answers_at, wall, clock):
    answers = answers_at(None)
    hub.get(API).respond(json="old")
    await answers.get(API, shape=object, ttl_s=600)
    hub.get(f"{API}/x").mock(side_effect=httpx.ConnectError)
    with pytest.raises(NetworkUnavailableError):
        await answers.get(f"{API}/x", shape=object, ttl_s=600)
    with pytest.raises(CircuitBreakerOpen):
        await answers.get(f"{API}/x", shape=object, ttl_s=600)
    answer = await answers.get(API, shape=object, ttl_s=600)
    assert (answer.value, answer.stale, answer.offline) == ("old", True, True)
    # When the host may be tried again, a stale answer is what tries it.
    clock.now += 60
    wall.now += 700
    hub.get(API).respond(json="new")
    assert not (await answers.get(API, shape=object, ttl_s=600)).offline
    await answers.refreshed()
    assert (await answers.get(API, shape=object, ttl_s=600)).value == "new"


async def test_errors_are_not_remembered(hub, answers_at):
    answers = answers_at(None)
    hub.get(API).respond(404)
    with pytest.raises(HttpStatusError):
        await answers.get(API, shape=object, ttl_s=600)
    hub.get(API).respond(json="here now")
    assert (await answers.get(API, shape=object, ttl_s=600)).value == "here now"


async def test_nor_is_what_has_another_shape(hub, answers_at, wall):
    answers = answers_at(None)
    hub.get(API).respond(json={"error": "?"})
    with pytest.raises(BadAnswerError):
        await answers.get(API, shape=list, ttl_s=600)
    hub.get(API).respond(json=["well"])
    assert (await answers.get(API, shape=list, ttl_s=600)).value == ["well"]
    wall.now += 700
    hub.get(API).respond(json={"error": "?"})
    await answers.get(API, shape=list, ttl_s=600)
    await answers.refreshed()
    assert (await answers.get(API, shape=list, ttl_s=600)).value == ["well"]


async def test_what_a_token_shows_is_not_shown_without(hub, answers_at, network):
    answers = answers_at(None)
    hub.get(API).respond(json="private")
    network.configure(NetworkSettings(tokens={"huggingface.co": SecretStr("hf_x")}))
    await answers.get(API, shape=object, ttl_s=600)
    network.configure(NetworkSettings())
    hub.get(API).respond(json="public")
    assert (await answers.get(API, shape=object, ttl_s=600)).value == "public"


async def test_a_clock_set_back_keeps_nothing_for_ever(hub, answers_at, wall):
    answers = answers_at(None)
    hub.get(API).respond(json="old")
    await answers.get(API, shape=object, ttl_s=600)
    wall.now -= 10 * DAY
    assert (await answers.get(API, shape=object, ttl_s=600)).stale
    await answers.refreshed()
    assert not (await answers.get(API, shape=object, ttl_s=600)).stale


def broken_header(path):
    path.write_bytes(b"this is no database" * 100)


def bits_flipped(path):
    content = bytearray(path.read_bytes())
    for index in range(100, len(content), 3):
        content[index] ^= 0xFF
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:5000])


def from_another_time(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE answers (something TEXT)")


def with_nonsense(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE answers SET value = '{not json', fetched_at = 1e300")


@pytest.mark.parametrize("damage", [broken_header, bits_flipped, cut_off, from_another_time, with_nonsense])
async def test_a_broken_file_is_thrown_away(hub, answers_at, path, damage):
    hub.get(API).respond(json="well")
    first = answers_at(path)
    await first.get(API, shape=object, ttl_s=600)
    await first.aclose()
    damage(path)
    answers = answers_at(path)
    assert (await answers.get(API, shape=object, ttl_s=600)).value == "well"
    await answers.get(API, shape=object, ttl_s=600)
    assert (await answers.get(API, shape=object, ttl_s=600)).cached


async def test_a_place_that_cannot_be_written_only_forgets(hub, answers_at, tmp_path):
    (tmp_path / "file").write_text("")
    hub.get(API).respond(json="well")
    answers = answers_at(tmp_path / "file" / "answers.db")
    for _ in range(2):
        assert not (await answers.get(API, shape=object, ttl_s=600)).cached


async def test_room_is_bounded_and_the_oldest_make_way(hub, answers_at, path, wall):
    hub.get(url__startswith=API).mock(side_effect=lambda request: httpx.Response(200, json="x" * 1000))
    answers = answers_at(path, largest_bytes=10_000)
    for n in range(30):
        wall.now += 1
        await answers.get(f"{API}/{n}", shape=object, ttl_s=DAY)
    with sqlite3.connect(path) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM answers ORDER BY fetched_at")]
    assert 5 <= len(keys) <= 10
    assert keys[-1].endswith("/29")
    large = "https://huggingface.co/api/large"
    hub.get(large).respond(json="y" * 20_000)
    await answers.get(large, shape=object, ttl_s=DAY)
    assert not (await answers.get(large, shape=object, ttl_s=DAY)).cached


async def test_two_servers_on_one_file(hub, answers_at, path):
    hub.get(url__startswith=API).mock(side_effect=lambda request: httpx.Response(200, json=request.url.path))
    one, other = answers_at(path), answers_at(path)
    await asyncio.gather(
        *(answers.get(f"{API}/{n}", shape=object, ttl_s=DAY) for n in range(20) for answers in (one, other))
    )
    for n in range(20):
        answer = await one.get(f"{API}/{n}", shape=object, ttl_s=DAY)
        assert (answer.value, answer.cached) == (f"/api/models/{n}", True)
