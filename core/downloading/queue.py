"""Whose turn it is, and what wakes those that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from ..errors import CancelledError, PausedError

AT_ONCE = 2
"""How many downloads have bytes coming at once."""

Stop = Literal["pause", "cancel"]


class Run:
    """One go at a download, from its start until it ends, is paused or cancelled."""

    def __init__(self) -> None:
        self.stopped: Stop | None = None
        self.woken = False
        self.task: asyncio.Task[object] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Raise `PausedError` or `CancelledError` if it should stop."""
        if self.stopped == "pause":
            raise PausedError("The download is paused.")
        if self.stopped == "cancel":
            raise CancelledError("The download was cancelled.")


class Turns:
    """Lets `AT_ONCE` runs go at once, in the order in which they came; the others wait, as do those that retry."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: list[Run] = []
        self._busy = 0

    @contextmanager
    def turn(self, run: Run) -> Iterator[None]:
        """Wait for a turn and have it. Raises `PausedError`, `CancelledError`."""
        with self._changed:
            self._line.append(run)
            try:
                self._changed.wait_for(
                    lambda: run.stopped is not None or self._line.index(run) < AT_ONCE - self._busy
                )
            finally:
                self._line.remove(run)
                self._changed.notify_all()
            run.check()
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def wait(self, run: Run, seconds: float) -> None:
        """Wait to be woken, so many seconds at most. Raises `PausedError`, `CancelledError`."""
        with self._changed:
            self._changed.wait_for(lambda: run.stopped is not None or run.woken, timeout=seconds)
            run.woken = False
        run.check()

    def wake(self, run: Run) -> None:
        """End its waiting."""
        with self._changed:
            run.woken = True
            self._changed.notify_all()

    def stop(self, run: Run, how: Stop) -> None:
        """Have a run end soon; once cancelled it stays so."""
        with self._changed:
            if run.stopped != "cancel":
                run.stopped = how
            self._changed.notify_all()
            task, loop = run.task, run.loop
        if task is not None and loop is not None:
            loop.call_soon_threadsafe(task.cancel)

    def stoppable(self, run: Run) -> Callable[[], None]:
        """Say from inside a coroutine that it is what the run waits for; call what is answered at its end."""
        with self._changed:
            run.task, run.loop = asyncio.current_task(), asyncio.get_running_loop()
        if run.stopped is not None and run.task is not None:
            run.task.cancel()

        def done() -> None:
            with self._changed:
                run.task = run.loop = None

        return done
