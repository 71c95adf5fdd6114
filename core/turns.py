"""Letting other threads run."""

from __future__ import annotations

import sys
import threading
import time

RUN_S = 0.004
"""How long work in Python goes on before it gives way."""

_PAUSE_S = 0.0003 if sys.version_info >= (3, 11) or sys.platform != "win32" else 0.0
"""Python 3.10 on Windows would sleep for 15 ms."""

_thread = threading.local()


def give_way() -> None:
    """Let ComfyUI's event loop have the interpreter for a moment, if this thread has worked for a while.

    Work that calls SQLite or the filesystem again and again gives the interpreter away and takes it back so
    quickly that a thread that waits for it hardly ever gets it, often for 50 ms and longer (CPython's lock is
    not fair). To sleep is the only way to stand back. Call it from background work, once for each thing done.
    """
    if time.perf_counter() - getattr(_thread, "since", 0.0) > RUN_S:
        time.sleep(_PAUSE_S)
        _thread.since = time.perf_counter()
