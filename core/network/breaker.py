from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .errors import CircuitBreakerOpen

State = Literal["closed", "open", "half-open"]

FAILURES_TO_OPEN = 3
OPEN_S = 60.0
_TRIAL_UNDER_WAY_S = 1.0


@dataclass(frozen=True)
class Pass:
    """The permission for one call; its end is reported with it."""

    era: int
    trial: bool


class Breaker:
    """Leaves a failing host alone.

    Three failures in a row open the circuit for 60 s: calls fail at once. Then one call is let through
    as a trial while the others still fail at once; its success closes the circuit, its failure opens it
    again. Any answer resets the count. All times are seconds of a monotonic clock. Safe from any thread.
    """

    def __init__(
        self, host: str, clock: Callable[[], float], *, changed: Callable[[State, int], None] | None = None
    ) -> None:
        self.host = host
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._trial_until: float | None = None
        # Calls that went out before the circuit last opened or closed say nothing about it now.
        self._era = 0

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    @property
    def state(self) -> State:
        """``half-open`` from the moment a trial is allowed until it has ended."""
        with self._lock:
            return self._state(self._clock())

    @property
    def retry_after_s(self) -> float:
        """Seconds until a call has a chance; 0 when it has one now."""
        with self._lock:
            return self._wait(self._clock())

    def check(self) -> None:
        """Fail at once when a call would; take nothing.

        Raises:
            CircuitBreakerOpen: The circuit is open, or a trial is under way.
        """
        with self._lock:
            self._refuse_or_pass(self._clock())

    def enter(self) -> Pass:
        """Begin a call; every pass must come back through one of the three ends.

        Raises:
            CircuitBreakerOpen: The circuit is open, or a trial is under way.
        """
        with self._lock:
            now = self._clock()
            self._refuse_or_pass(now)
            if self._open_until is None:
                return Pass(self._era, trial=False)
            # A trial whose event loop died never reports back; after a while another one may try.
            self._trial_until = now + OPEN_S
            granted = Pass(self._era, trial=True)
        self._tell("half-open")
        return granted

    def try_now(self) -> bool:
        """End the wait of an open circuit: the next call is the trial. False where there is no wait to end."""
        with self._lock:
            now = self._clock()
            if self._open_until is None or self._open_until <= now:
                return False
            self._open_until = now
        self._tell("half-open")
        return True

    def succeeded(self, granted: Pass) -> None:
        """The host answered, whatever it said."""
        with self._lock:
            if granted.era != self._era:
                return
            closed = self._open_until is not None
            self._failures = 0
            if closed:
                self._open_until = self._trial_until = None
                self._era += 1
        if closed:
            self._tell("closed")

    def failed(self, granted: Pass) -> None:
        """The host did not answer, or said it cannot."""
        with self._lock:
            if granted.era != self._era:
                return
            self._failures += 1
            opened = granted.trial or self._failures >= FAILURES_TO_OPEN
            if opened:
                self._open_until = self._clock() + OPEN_S
                self._trial_until = None
                self._era += 1
        if opened:
            self._tell("open")

    def abandoned(self, granted: Pass) -> None:
        """The call ended without saying anything about the host: cancelled, or never sent."""
        with self._lock:
            if granted.trial and granted.era == self._era:
                self._trial_until = None

    def _state(self, now: float) -> State:
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def _wait(self, now: float) -> float:
        if self._open_until is None:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        under_way = self._trial_until is not None and now < self._trial_until
        return _TRIAL_UNDER_WAY_S if under_way else 0.0

    def _refuse_or_pass(self, now: float) -> None:
        wait = self._wait(now)
        if wait > 0:
            raise CircuitBreakerOpen(self.host, wait)

    def _tell(self, state: State) -> None:
        if self._changed is not None:
            self._changed(state, self._failures)
