"""When a failed call may be repeated, and after which pause."""

from __future__ import annotations

from collections.abc import Callable

#: Calls that do the same when they arrive twice (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
ATTEMPTS = 3
_FIRST_PAUSE_S = 0.2


def attempts(method: str) -> int:
    """How often a call may be sent at most."""
    return ATTEMPTS if method.upper() in IDEMPOTENT else 1


def pause_s(attempt: int, random: Callable[[], float]) -> float:
    """Seconds to wait after the ``attempt``-th failure (from 1): doubling, with half of it left to chance.

    ``random`` gives numbers from 0 to 1; without it, many callers would come back at the same moment.
    """
    return _FIRST_PAUSE_S * float(2 ** (attempt - 1)) * (0.5 + random() / 2)
