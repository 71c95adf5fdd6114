"""Who stands back for ComfyUI's event loop, and when."""

from __future__ import annotations

import time

import pytest

from model_librarian.core import turns


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """How long this thread was sent to sleep each time."""
    found: list[float] = []
    monkeypatch.setattr(turns.time, "sleep", found.append)
    turns.begin()
    return found


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_who_has_worked_long_enough_stands_back(pauses):
    turns._set_out(time.thread_time())
    turns.give_way(0.05)
    assert pauses == []
    work(0.06)
    turns.give_way(0.05)
    turns.give_way(0.05)
    assert pauses == [0.05 * turns._PAUSE_SHARE]


def test_who_had_to_wait_for_its_next_work_has_stood_back(pauses, monkeypatch):
    turns._set_out(time.thread_time())
    work(0.06)
    real = time.monotonic
    monkeypatch.setattr(turns.time, "monotonic", lambda: real() + 1)  # it waited a second
    turns.begin()
    turns.give_way(0.05)
    assert pauses == []


def test_who_begins_the_next_at_once_has_not(pauses, monkeypatch):
    turns._set_out(time.thread_time())
    work(0.06)
    monkeypatch.setattr(turns.time, "monotonic", lambda: turns._thread.clock + 0.06)  # no other ran meanwhile
    turns.begin()
    turns.give_way(0.05)
    assert pauses == [0.05 * turns._PAUSE_SHARE]
