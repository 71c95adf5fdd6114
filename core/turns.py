"""Letting other threads run."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

RUN_S = 0.0025
"""How long background work goes on before it gives way."""

SHORT_RUN_S = 0.0015
"""The same for answers, since ComfyUI's loop wants the interpreter several times for one request of its own, and for
work that never ends soon and gives the interpreter away and takes it back all the time."""

_ROUNDS = 3
"""How often a loop goes round in its turn: what waits is woken in one round, and goes on in the next."""

_PATIENCE_S = 0.01
"""How long to wait for a loop that somebody else holds."""

_WAITED_S = 0.0003
"""Who had to wait for this long before its next work has stood back."""

_SHORT_SWITCH_S = 0.001
_UNCOLLECTED_S = 1.0
_MAX_REST_S = 0.1
_AT_ONCE = 16

_thread = threading.local()
_loops: list[asyncio.AbstractEventLoop] = []
_turn: threading.Lock | None = None
"""Held until the loop that somebody waits for now has had its turn."""


def add_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Give way to an event loop from now on."""
    _loops.append(loop)


def remove_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Do no longer give way to an event loop."""
    _loops.remove(loop)


def give_way(run_s: float = RUN_S) -> None:
    """Let the event loops have a turn, if this thread has worked for ``run_s`` seconds since they last had one.

    Work that calls SQLite or the filesystem again and again gives the interpreter away and takes it back so
    quickly that a thread that waits for it hardly ever gets it, often for 50 ms and longer (CPython's lock is
    not fair). To sleep for a moment is not enough: a loop whose thread the system wakes later than that has missed it.
    So the loop is waited for, by all who work: of several threads that took turns the loop would wait for each. Call it
    from background work, once for each thing done, and from what answers a request wherever that takes milliseconds.
    Without a loop, as on the command line, nothing is waited for.
    """
    turn = _turn  # once: it may be over any moment
    if turn is not None:
        _wait_with(turn)
        return
    clock = getattr(_thread, "clock", None)
    if clock is not None and time.monotonic() - clock <= run_s:
        return  # nor can it have worked for longer; to ask for that takes four times as long
    now = time.thread_time()  # what it only waited, it has not worked
    if clock is None:
        _set_out(now)
    elif now - _thread.since > run_s:
        for loop in tuple(_loops):
            _wait_for(loop)
        _set_out(time.thread_time())


def _wait_for(loop: asyncio.AbstractEventLoop) -> None:
    """Wait until a loop has done what it has to do now, and what comes of it in its next rounds."""
    global _turn
    if not loop.is_running() or _is_on_a_loop():
        return
    turn = threading.Lock()
    turn.acquire()
    _turn = turn
    try:
        loop.call_soon_threadsafe(_go_round, loop, turn, _ROUNDS)
        _pass_through(turn)
    except RuntimeError:  # it was closed just now
        turn.release()
    finally:
        if _turn is turn:
            _turn = None


def _wait_with(turn: threading.Lock) -> None:
    """Wait until the turn of a loop is over that another thread waits for."""
    if not _is_on_a_loop():
        _pass_through(turn)
        _set_out(time.thread_time())


def _pass_through(turn: threading.Lock) -> None:
    if turn.acquire(timeout=_PATIENCE_S):
        turn.release()  # for the next who waits


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _go_round(loop: asyncio.AbstractEventLoop, turn: threading.Lock, rounds: int) -> None:
    if rounds:
        loop.call_soon(_go_round, loop, turn, rounds - 1)
    else:
        turn.release()


@contextmanager
def short_switches() -> Iterator[None]:
    """Let whoever waits for the interpreter have it after one millisecond instead of Python's five, whoever has it.

    For a short time, and for what cannot give way: imports, which make hundreds of classes.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SHORT_SWITCH_S))
    short = sys.getswitchinterval()
    try:
        yield
    finally:
        if sys.getswitchinterval() == short:  # nobody else has chosen another meanwhile
            sys.setswitchinterval(before)


@contextmanager
def uncollected() -> Iterator[None]:
    """Have no garbage collected while thousands of objects are made that are gone again in a moment.

    The collector would take them for what stays, and soon look at all objects in the process because of them; every
    thread stands still meanwhile. What has no cycles is freed as ever. After a second garbage is collected again
    whatever happens: what is read may lie on a share that hangs, and the process is not ours.
    """
    if not gc.isenabled():
        yield
        return
    limit = threading.Timer(_UNCOLLECTED_S, gc.enable)
    limit.daemon = True
    gc.disable()
    try:
        limit.start()
        yield
    finally:
        limit.cancel()
        gc.enable()


def in_turns(things: Iterable[T]) -> Iterator[T]:
    """Things that take some microseconds each, and a moment for the event loop between some of them, if it is time.

    Of few things nobody notices how long they take; who goes through many such gives way between them.
    """
    things = iter(things)
    while some := list(islice(things, _AT_ONCE)):
        yield from some
        if len(some) == _AT_ONCE:
            give_way()


def begin() -> None:
    """Begin an answer or a job: who had to wait for it need not stand back for the work before."""
    now = time.thread_time()
    since = getattr(_thread, "since", None)
    if since is None or time.monotonic() - _thread.clock - (now - since) >= _WAITED_S:
        _set_out(now)


def _set_out(now: float) -> None:
    _thread.since, _thread.clock = now, time.monotonic()


def rest() -> None:
    """Stand back for as long as this thread has worked since it last did, a tenth of a second at most.

    For work that nobody waits for: so it takes half of one processor. To lower the thread's priority instead would
    be worse: the system then may not let it run while it has the interpreter, which everybody else waits for.
    """
    now = time.thread_time()
    time.sleep(min(now - getattr(_thread, "rested", now), _MAX_REST_S))
    _thread.rested = now
