"""What hosts say about their limits, and how Librarian keeps to them."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

NEAR_LIMIT = 0.1
_MINUTE_S = 60.0
_UNKNOWN_WINDOW_S = 60.0
_UNKNOWN_WAIT_S = 10.0
_LONGEST_WAIT_S = 3600.0
_LONGEST_HEADER = 1024
_EPOCH_SECONDS = 1_000_000_000

_ITEM = re.compile(r'(?:"[^"]*"|[^",])+')
_QUOTED = re.compile(r'"([^"]*)"')
_PARAMETER = re.compile(r";\s*([a-z]+)\s*=\s*([0-9]{1,9})(?![0-9.])", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True)
class Quota:
    """What is left, as a host said.

    Attributes:
        remaining: Calls left in the window.
        limit: Calls in a whole window, or None when the host does not say.
        reset_s: Seconds until the window starts anew.
    """

    remaining: int
    limit: int | None
    reset_s: float

    @property
    def near_limit(self) -> bool:
        """Under a tenth is left."""
        return self.remaining == 0 or (self.limit is not None and self.remaining < self.limit * NEAR_LIMIT)


def read_quota(headers: Mapping[str, str], now: datetime | None = None) -> Quota | None:
    """The quota in a response's headers, or None. Never raises, whatever they hold.

    Two dialects: ``RateLimit: "api";r=489;t=189`` with ``RateLimit-Policy: "fixed window";"api";q=500;w=300``
    (draft-ietf-httpapi-ratelimit-headers-09, as Hugging Face sends it), and ``X-RateLimit-Remaining``,
    ``-Limit`` and ``-Reset`` (seconds, or a Unix time), also without the ``X-``. Of several, the tightest.
    """
    found = [*_structured(headers), *_plain(headers, now or datetime.now(timezone.utc))]
    return min(found, key=_tightness, default=None)


def _tightness(quota: Quota) -> float:
    return quota.remaining / quota.limit if quota.limit else float(quota.remaining)


def _structured(headers: Mapping[str, str]) -> Iterator[Quota]:
    policies: dict[str, int] = {}
    for item in _items(headers, "ratelimit-policy"):
        parameters = dict(_PARAMETER.findall(item))
        if "q" in parameters:
            for name in _QUOTED.findall(item) or [""]:
                policies[name] = int(parameters["q"])
    for item in _items(headers, "ratelimit"):
        parameters = dict(_PARAMETER.findall(item))
        if "r" not in parameters:
            continue
        name = next(iter(_QUOTED.findall(item)), "")
        yield Quota(int(parameters["r"]), policies.get(name) or None, _reset(parameters.get("t")))


def _items(headers: Mapping[str, str], name: str) -> list[str]:
    return _ITEM.findall(headers.get(name, "")[:_LONGEST_HEADER])


def _plain(headers: Mapping[str, str], now: datetime) -> Iterator[Quota]:
    for prefix in ("x-ratelimit", "ratelimit"):
        remaining = _number(headers.get(f"{prefix}-remaining"))
        if remaining is None:
            continue
        reset = _number(headers.get(f"{prefix}-reset"))
        if reset is not None and reset >= _EPOCH_SECONDS:
            reset = max(0, reset - int(now.timestamp()))
        limit = _number(headers.get(f"{prefix}-limit"))
        yield Quota(remaining, limit or None, _reset(reset))


def _reset(value: str | int | None) -> float:
    return _UNKNOWN_WINDOW_S if value is None else min(float(value), _LONGEST_WAIT_S)


def _number(text: str | None) -> int | None:
    found = _WHOLE.match((text or "").strip())
    return int(found.group()) if found else None


def read_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that ``Retry-After`` asks to wait, 0 to 3600, or None. Never raises.

    A date is compared with the response's own ``Date``, so that a wrong clock here does no harm (RFC 9110,
    section 10.2.3).
    """
    text = headers.get("retry-after", "").strip()[:_LONGEST_HEADER]
    if not text:
        return None
    if _WHOLE.fullmatch(text):
        return min(float(text), _LONGEST_WAIT_S)
    until = _date(text)
    if until is None:
        return None
    since = _date(headers.get("date", "")[:_LONGEST_HEADER]) or now or datetime.now(timezone.utc)
    return min(max((until - since).total_seconds(), 0.0), _LONGEST_WAIT_S)


def _date(text: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(text)
        return read if read.tzinfo else read.replace(tzinfo=timezone.utc)
    except (TypeError, ValueError, OverflowError, IndexError, AttributeError):
        return None


class RateLimit:
    """Keeps the calls to one host within its limit and within Librarian's own ceiling.

    Under a tenth of the quota left, what remains is spread over the rest of the window. After a 429
    nobody calls until the host said one may. All times are seconds of a monotonic clock. Safe from any
    thread.
    """

    def __init__(self, host: str, clock: Callable[[], float], calls_per_minute: int) -> None:
        self.host = host
        self.calls_per_minute = calls_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: deque[float] = deque()
        self._quota: Quota | None = None
        self._window_ends = 0.0
        self._spacing_s = 0.0
        self._held_until = 0.0

    def take(self) -> float:
        """Take a place for one call now and return 0, or take none and return the seconds to wait."""
        with self._lock:
            now = self._clock()
            wait = self._wait(now)
            if wait <= 0:
                self._sent.append(now)
            return wait

    @property
    def wait_s(self) -> float:
        """Seconds until a call may go out; 0 when one may now."""
        with self._lock:
            return self._wait(self._clock())

    def learn(self, status: int, headers: Mapping[str, str]) -> bool:
        """Take in what a response says; true when the host came near its limit or refused just now."""
        quota = read_quota(headers)
        retry_after = read_retry_after(headers) if status == 429 else None
        with self._lock:
            now = self._clock()
            was_near = self._near(now)
            if quota is not None:
                self._quota = quota
                self._window_ends = now + quota.reset_s
                self._spacing_s = quota.reset_s / max(quota.remaining, 1)
            if status == 429:
                wait = retry_after
                if wait is None:
                    wait = quota.reset_s if quota is not None else _UNKNOWN_WAIT_S
                self._held_until = max(self._held_until, now + wait)
            return self._near(now) and not was_near

    def quota(self) -> tuple[Quota, bool] | None:
        """What is left now, and whether calls are paced or held back; None when nothing is known."""
        with self._lock:
            now = self._clock()
            near = self._near(now)
            held = max(self._held_until - now, 0.0)
            if self._quota is not None and now < self._window_ends:
                reset_s = max(self._window_ends - now, held)
                return Quota(0 if held else self._quota.remaining, self._quota.limit, reset_s), near
            return (Quota(0, None, held), near) if held else None

    def _near(self, now: float) -> bool:
        near = self._quota is not None and now < self._window_ends and self._quota.near_limit
        return near or now < self._held_until

    def _wait(self, now: float) -> float:
        return max(self._held_until - now, self._paced(now), self._over_ceiling(now), 0.0)

    def _paced(self, now: float) -> float:
        if self._quota is None or now >= self._window_ends or not self._quota.near_limit:
            return 0.0
        if self._quota.remaining == 0:
            return self._window_ends - now
        last = self._sent[-1] if self._sent else now - self._spacing_s
        return min(last + self._spacing_s, self._window_ends) - now

    def _over_ceiling(self, now: float) -> float:
        while self._sent and self._sent[0] <= now - _MINUTE_S:
            self._sent.popleft()
        if len(self._sent) < self.calls_per_minute:
            return 0.0
        return self._sent[-self.calls_per_minute] + _MINUTE_S - now
