from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any, TypeVar

from . import turns
from .errors import LibrarianError, UnavailableError

if TYPE_CHECKING:  # what builds the Librarian imports it, in a thread
    from .librarian import Librarian

logger = logging.getLogger(__name__)

THREADS = 8
START_TIMEOUT_S = 30.0

T = TypeVar("T")


class StartingError(UnavailableError):
    """The Librarian is not there (yet)."""

    code = "not_started"


class Host:
    """A Librarian beside an event loop: it blocks, so it lives in threads of its own, which give way to the loop.

    It is built in the background, so whoever starts it goes on at once; calls that come earlier wait.
    """

    def __init__(self, build: Callable[[], Librarian]) -> None:
        self._build = build
        self._threads = ThreadPoolExecutor(THREADS, "librarian-host")
        self._started: Future[Librarian] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Build and start the Librarian in the background, beside the loop that this is called on. Returns at once."""
        self._loop = asyncio.get_running_loop()
        turns.add_loop(self._loop)
        self._threads.submit(self._build_and_start)

    def _build_and_start(self) -> None:
        try:
            with turns.short_switches():
                librarian = self._build()
            librarian.start()
        except LibrarianError as error:
            logger.error("Model Librarian could not start, nothing else is affected: %s", error.message)
            self._started.set_exception(error)
        except Exception as error:
            logger.exception("Model Librarian could not start, nothing else is affected")
            self._started.set_exception(error)
        else:
            self._started.set_result(librarian)

    async def close(self) -> None:
        """End the Librarian's work and wait for it."""
        if self._loop is not None:
            try:
                librarian = await asyncio.wrap_future(self._started)
            except Exception:  # it never started, and that was reported then
                return
            finally:
                turns.remove_loop(self._loop)
            await self.run(librarian.close)
        self._threads.shutdown(wait=False)

    def wait(self) -> Librarian:
        """The Librarian, for threads that block. Raises what kept it from starting."""
        try:
            return self._started.result(START_TIMEOUT_S)
        except FutureTimeout:
            raise StartingError("Model Librarian is still starting. Try again in a moment.") from None
        except LibrarianError:
            raise
        except Exception as error:
            raise StartingError(f"Model Librarian could not start: {error}") from error

    async def librarian(self) -> Librarian:
        """The Librarian, for coroutines. Raises as `wait`."""
        if not self._started.done():
            done, _ = await asyncio.wait([asyncio.wrap_future(self._started)], timeout=START_TIMEOUT_S)
            if not done:
                raise StartingError("Model Librarian is still starting. Try again in a moment.")
            done.pop().exception()  # `wait` raises it as well
        return self.wait()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function in one of the host's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
