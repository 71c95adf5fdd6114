"""Letting other threads run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

RUN_S = 0.004
"""How long background work goes on before it gives way."""

SHORT_RUN_S = 0.0015
"""The same for answers, since ComfyUI's loop wants the interpreter several times for one request of its own, and for
work that never ends soon and gives the interpreter away and takes it back all the time."""

_PAUSE_SHARE = 0.08 if sys.version_info >= (3, 11) or sys.platform != "win32" else 0.0
"""How long a pause is beside the work before it. Python 3.10 on Windows would sleep for 15 ms."""

_WAITED_S = 0.0003
"""Who had to wait for this long before its next work has stood back."""

_MAX_REST_S = 0.1
_AT_ONCE = 64

_thread = threading.local()


def give_way(run_s: float = RUN_S) -> None:
    """Let ComfyUI's event loop have the interpreter for a moment, if this thread has worked for ``run_s`` seconds.

    Work that calls SQLite or the filesystem again and again gives the interpreter away and takes it back so
    quickly that a thread that waits for it hardly ever gets it, often for 50 ms and longer (CPython's lock is
    not fair). To sleep is the only way to stand back. Call it from background work, once for each thing done,
    and from what answers a request wherever that takes milliseconds.
    """
    clock = getattr(_thread, "clock", None)
    if clock is not None and time.monotonic() - clock <= run_s:
        return  # nor can it have worked for longer; to ask for that takes four times as long
    now = time.thread_time()  # what it only waited, it has not worked
    if clock is None:
        _set_out(now)
    elif now - _thread.since > run_s:
        time.sleep(run_s * _PAUSE_SHARE)
        _set_out(now)


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
