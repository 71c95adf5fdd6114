from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import CancelledError

T = TypeVar("T")

_CHECK_S = 0.1


class LoopThread:
    """An event loop in a thread of its own, for network calls that blocking code waits for.

    It keeps connections alive between calls and keeps their work off the loop of whoever asks. The
    thread starts with the first call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, T], check: Callable[[], object] | None = None) -> T:
        """Run a coroutine there and wait for what it returns or raises.

        ``check`` is called ten times a second; what it raises ends the coroutine and is raised. Raises
        `CancelledError` when the loop is closed meanwhile, or was before.
        """
        future = self.submit(coroutine)
        while True:
            try:
                return future.result(_CHECK_S if check is not None else None)
            except concurrent.futures.CancelledError:
                raise CancelledError("Librarian is shutting down.") from None
            except (TimeoutError, concurrent.futures.TimeoutError):
                if future.done():
                    raise
            try:
                if check is not None:
                    check()
            except BaseException:
                future.cancel()
                raise

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin a coroutine there, and return at once. Raises `CancelledError` once the loop is closed."""
        loop = self._started()
        if loop is None:
            coroutine.close()
            raise CancelledError("Librarian is shutting down.")
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def close(self) -> None:
        """End what still runs there, the loop and its thread; nothing runs there again."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(end_tasks(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _started(self) -> asyncio.AbstractEventLoop | None:
        with self._lock:
            if self._loop is None and not self._closed:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="librarian-network", daemon=True
                )
                self._thread.start()
            return self._loop


async def end_tasks() -> None:
    """Cancel all tasks but this one, so that nobody waits for them for ever."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
