"""A second Python process, for work that needs nothing but what it is given.

Python runs one thread at a time: whoever makes rows or reads headers in this process has ComfyUI's event loop wait for
the interpreter. In another process that costs the loop nothing, and two processors work at once.
"""

# The other process runs this very file before it knows where any package lies: the standard library only.
from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError  # the built-in one from Python 3.11 on
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

T = TypeVar("T")
Batch = TypeVar("Batch", bound=tuple[Any, ...])

logger = logging.getLogger(__name__)

_WORTH_IT_S = 0.25
"""How long work goes on here before another process is started for the rest, which takes some tenths of a second."""

_AHEAD = 8
"""How many batches are with the other process at a time."""

_LOOKED_S = 0.1
"""How often whoever waits for a batch looks whether to go on."""

_END_S = 1.0
"""How long a killed process is waited for: it may hang on a share."""

_NICENESS = 15
"""By how much it stands back for ComfyUI where both want a processor."""

_PIPE_BYTES = 2**20
"""How much of requests and of answers may lie ready, where a pipe can hold so much (Linux), and is read at once.

A thread that wakes for every 8 KB of an answer would wait for the interpreter each time, and the event loop with it.
"""

_SIZE_BYTES = 8

_CREATION_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(
    subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0
)
_PACKAGE, _, _ = __name__.rpartition(".core.")
_ROOT = Path(__file__).resolve().parent.parent


class Worker:
    """Does work batch by batch: here until another process is ready for it, then there.

    That process is started only for work that goes on for a while. It may fail to start, end or be killed at any
    moment; what it does not answer is done here. It ends with `close`, or when this process does. ``check`` is called
    between batches and while one is waited for, and raises to break off. For one thread.
    """

    def __init__(self, check: Callable[[], object] = lambda: None) -> None:
        self._check = check
        self._process: subprocess.Popen[bytes] | None = None
        self._receiving: ThreadPoolExecutor | None = None
        self._ready: Future[bytes] | None = None
        self._is_tried = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def map(
        self, function: Callable[..., T], batches: Iterable[Batch], *, shared: bool = False
    ) -> Iterator[tuple[Batch, T]]:
        """Each batch of arguments, in order, with what ``function`` answers to it; some are taken in advance.

        The function is one of this package's modules and goes by nothing but its arguments and what lies on disk,
        which it does not change. What it raises is raised here. While the other process has enough to do, ``shared``
        work goes on here, too: it is done sooner, and this process is as busy as without the other one.
        """
        began = time.monotonic()
        most = 2 * _AHEAD if shared else _AHEAD
        taken: deque[tuple[Batch, Future[bytes] | T]] = deque()
        for batch in batches:
            self._check()
            if not self._is_tried and time.monotonic() - began > _WORTH_IT_S:
                self._start(function)
            has_enough = shared and sum(_is_awaited(answer) for _, answer in taken) >= _AHEAD
            if self._is_ready() and not has_enough:
                taken.append((batch, self._ask((function, batch))))
            else:
                taken.append((batch, function(*batch)))
            while taken and (len(taken) >= most or not _is_awaited(taken[0][1])):
                yield self._done(function, *taken.popleft())
        while taken:
            yield self._done(function, *taken.popleft())

    def close(self) -> None:
        """End the other process, whatever it is at."""
        if self._process is None or self._receiving is None:
            return
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
            self._receiving.shutdown(cancel_futures=True)
            for pipe in filter(None, (self._process.stdin, self._process.stdout)):
                with suppress(OSError):  # it has not read everything
                    pipe.close()

    def _done(self, function: Callable[..., T], batch: Batch, answer: Future[bytes] | T) -> tuple[Batch, T]:
        if not isinstance(answer, Future):
            return batch, answer
        packed = self._wait_for(answer)
        return batch, pickle.loads(packed) if packed else function(*batch)

    def _wait_for(self, asked: Future[bytes]) -> bytes:
        while True:
            self._check()
            with suppress(NotYetError):
                return asked.result(_LOOKED_S)

    def _start(self, function: Callable[..., object]) -> None:
        self._is_tried = True
        if not Path(sys.executable or "").name.lower().startswith("python"):
            return  # an application with a Python inside, which would only start once more
        as_here = ["-X", f"utf8={sys.flags.utf8_mode}", *(["-B"] if sys.dont_write_bytecode else [])]
        if sys.pycache_prefix:
            as_here += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", *as_here, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=_PIPE_BYTES,
                pipesize=_PIPE_BYTES,
                creationflags=_CREATION_FLAGS,
            )
        except OSError as error:
            logger.info("Scans have no process of their own: %s", error)
            return
        self._receiving = ThreadPoolExecutor(1, "librarian-worker")
        self._ready = self._ask((_PACKAGE, str(_ROOT), sys.path, _packed(function)))

    def _is_ready(self) -> bool:
        return self._ready is not None and self._ready.done() and bool(self._ready.result())

    def _ask(self, request: object) -> Future[bytes]:
        """What the other process will answer; nothing if it cannot, or has ended."""
        assert self._process is not None and self._process.stdin is not None and self._receiving is not None
        with suppress(OSError):  # it has ended
            _write(self._process.stdin, _packed(request))
        return self._receiving.submit(self._receive)

    def _receive(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        try:
            return _read(self._process.stdout)
        except OSError:
            return b""


def _is_awaited(answer: object) -> bool:
    return isinstance(answer, Future) and not answer.done()


def _packed(what: object) -> bytes:
    return pickle.dumps(what, pickle.HIGHEST_PROTOCOL)


def _write(stream: IO[bytes], packed: bytes) -> None:
    stream.write(len(packed).to_bytes(_SIZE_BYTES, "little") + packed)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    """What was written whole; nothing if it was not."""
    size = int.from_bytes(stream.read(_SIZE_BYTES), "little")
    packed = stream.read(size)
    return packed if len(packed) == size else b""


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until there is nobody to ask any more."""
    name, root, sys.path[:], first = pickle.loads(_read(requests))
    package = types.ModuleType(name)
    package.__path__ = [root]  # its own `__init__` is ComfyUI's door
    sys.modules[name] = package
    pickle.loads(first)  # its modules are imported before the first batch is waited for
    _write(answers, _packed(None))
    while request := _read(requests):
        try:
            function, batch = pickle.loads(request)
            answer = _packed(function(*batch))
        except Exception:  # whoever asked does it again, and is told there
            answer = b""
        _write(answers, answer)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is typed into the terminal is for who started this
    if sys.platform != "win32":
        os.nice(_NICENESS)
    answers_only = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what somebody prints does not come between them
    _serve(sys.stdin.buffer, answers_only)
