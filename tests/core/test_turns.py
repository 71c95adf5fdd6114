"""Who gives way to the event loop, and when."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator

import pytest

from model_librarian.core import turns


class Loop:
    """An event loop in a thread of its own, to which others give way."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        """Have it hear a text in the round after its next, as what waits for a timer or an answer is woken."""
        self.loop.call_soon_threadsafe(self.loop.call_soon, self.heard.append, text)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


@pytest.fixture
def served() -> Iterator[Loop]:
    served = Loop()
    turns.add_loop(served.loop)
    turns._set_out(time.thread_time())
    yield served
    turns.remove_loop(served.loop)
    if served.loop.is_running():
        served.stop()
    served.loop.close()


@pytest.fixture
def patience(monkeypatch) -> float:
    """So long that no machine is too slow."""
    monkeypatch.setattr(turns, "_PATIENCE_S", 30.0)
    return turns._PATIENCE_S


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def waits(monkeypatch) -> list[asyncio.AbstractEventLoop]:
    """The loops that were waited for."""
    found: list[asyncio.AbstractEventLoop] = []
    monkeypatch.setattr(turns, "_wait_for", found.append)
    return found


def test_who_has_worked_long_enough_lets_the_loop_do_all_it_has_to_do(served, patience):
    served.say("once")
    work(0.06)
    turns.give_way(0.05)
    assert served.heard == ["once"]


def test_who_has_only_begun_goes_on(served, monkeypatch):
    waited = waits(monkeypatch)
    turns.give_way(0.05)
    assert waited == []
    work(0.06)
    turns.give_way(0.05)
    turns.give_way(0.05)
    assert waited == [served.loop]


def test_who_works_beside_waits_with_the_one_who_does(served, patience, monkeypatch):
    held, waiting = threading.Event(), threading.Event()
    heard: list[list[str]] = []

    def begins() -> None:
        turns._set_out(time.thread_time())
        work(0.06)
        turns.give_way(0.05)

    def has_only_begun() -> None:
        turns._set_out(time.thread_time())
        turns.give_way(0.05)
        heard.append(list(served.heard))

    real = turns._is_on_a_loop
    monkeypatch.setattr(turns, "_is_on_a_loop", lambda: waiting.set() or real())
    served.loop.call_soon_threadsafe(held.wait)
    served.say("once")
    first, second = (threading.Thread(target=target) for target in (begins, has_only_begun))
    first.start()
    while turns._turn is None and first.is_alive():
        time.sleep(0.001)
    waiting.clear()
    second.start()
    waiting.wait(patience)  # it has met the other's turn
    held.set()
    first.join()
    second.join()
    assert heard == [["once"]]
    assert turns._turn is None


def test_a_loop_that_somebody_else_holds_is_not_waited_for_without_end(served):
    free = threading.Event()
    served.loop.call_soon_threadsafe(free.wait, 30)
    work(0.06)
    turns.give_way(0.05)
    assert not free.is_set()
    free.set()


def test_a_loop_that_was_stopped_or_closed_is_not_waited_for(served, patience):
    served.stop()
    began = time.monotonic()
    work(0.06)
    turns.give_way(0.05)
    served.loop.close()
    work(0.06)
    turns.give_way(0.05)
    assert time.monotonic() - began < patience


async def test_a_loop_does_not_wait_for_itself(patience):
    loop = asyncio.get_running_loop()
    turns.add_loop(loop)
    try:
        turns._set_out(time.thread_time())
        began = time.monotonic()
        work(0.06)
        turns.give_way(0.05)
        assert time.monotonic() - began < patience
    finally:
        turns.remove_loop(loop)


def test_who_had_to_wait_for_its_next_work_has_given_way(served, monkeypatch):
    waited = waits(monkeypatch)
    work(0.06)
    real = time.monotonic
    monkeypatch.setattr(turns.time, "monotonic", lambda: real() + 1)  # it waited a second
    turns.begin()
    turns.give_way(0.05)
    assert waited == []


def test_who_begins_the_next_at_once_has_not(served, monkeypatch):
    waited = waits(monkeypatch)
    work(0.06)
    monkeypatch.setattr(turns.time, "monotonic", lambda: turns._thread.clock + 0.06)  # no other ran meanwhile
    turns.begin()
    turns.give_way(0.05)
    assert waited == [served.loop]


def collections_while(work):
    """How often garbage is collected while some work is done."""
    collected = []
    gc.callbacks.append(lambda phase, _: collected.append(phase))
    try:
        work()
    finally:
        gc.callbacks.pop()
    return len(collected)


def test_what_is_gone_in_a_moment_brings_on_no_collection():
    def work():
        assert len([[] for _ in range(10_000)]) == 10_000

    with turns.uncollected():
        with turns.uncollected():
            assert not collections_while(work)
        assert not collections_while(work)
    assert collections_while(work)


def test_garbage_is_collected_again_even_if_a_file_never_answers(monkeypatch):
    monkeypatch.setattr(turns, "_UNCOLLECTED_S", 0.01)
    with turns.uncollected():
        until = time.monotonic() + 30
        while not gc.isenabled() and time.monotonic() < until:
            time.sleep(0.001)
        assert gc.isenabled()


def test_who_wants_no_collections_at_all_keeps_it_so():
    gc.disable()
    try:
        with turns.uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
