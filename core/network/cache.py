from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .errors import BadAnswerError, NetworkError
from .hosts import host_key
from .manager import NetworkManager, Params, raise_for_status, read_json

logger = logging.getLogger(__name__)

LARGEST_BYTES = 64 * 1024 * 1024
_LARGEST_ENTRY = 8 * 1024 * 1024
_BUSY_S = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    etag TEXT,
    next_url TEXT,
    fetched_at REAL NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (fetched_at);
"""


@dataclass(frozen=True)
class Answer:
    """What a host said, now or earlier.

    Attributes:
        value: The JSON.
        fetched_at: When the host last said or confirmed it, UTC.
        cached: It was remembered, not asked for now.
        stale: It is older than it should be, or the host cannot be asked.
        offline: The host could not be asked.
        calls: Calls that this took, 0 or 1.
        next_url: Where the list goes on, when the host says so.
    """

    value: Any
    fetched_at: datetime
    cached: bool = False
    stale: bool = False
    offline: bool = False
    calls: int = 0
    next_url: str | None = None


class Answers:
    """JSON answers, remembered on disk.

    A fresh answer is given without a call. A stale one is given at once, too, and a fresh one fetched
    in the background (stale-while-revalidate, RFC 5861). When the host cannot be reached, the
    remembered answer is given, however old. The file may be deleted at any time; one that cannot be
    read is thrown away.

    Args:
        network: The door.
        path: The SQLite file, or None to remember only until the process ends.
        clock: Seconds since 1970.
        refreshed: Called when the background brought something new, with what the asker said that it is
            ``about``, or the URL; must return at once.
        largest_bytes: Room for all answers; the oldest make way.
    """

    def __init__(
        self,
        network: NetworkManager,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        refreshed: Callable[[Any], None] | None = None,
        largest_bytes: int = LARGEST_BYTES,
    ) -> None:
        self._network = network
        self._store = _Store(path, largest_bytes)
        self._clock = clock
        self._refreshed = refreshed
        self._refreshing: dict[str, asyncio.Task[None]] = {}

    @property
    def network(self) -> NetworkManager:
        """The door."""
        return self._network

    async def get(
        self,
        url: str,
        params: Params | None = None,
        *,
        shape: type[list[Any]] | type[dict[str, Any]],
        ttl_s: float,
        deadline_s: float | None = None,
        about: object = None,
        or_nothing: bool = False,
    ) -> Answer:
        """The JSON at an address, at most ``ttl_s`` seconds old unless marked ``stale``.

        Args:
            url: As ``NetworkManager.request``, and so are ``params`` and ``deadline_s``.
            params: Added to the address's query.
            shape: ``list`` or ``dict``; an answer that is none is neither given nor remembered.
            ttl_s: Seconds for which an answer is good.
            deadline_s: Seconds until there is an answer or an error.
            about: What ``refreshed`` is told when the background brings something new.
            or_nothing: HTTP 404 is an answer, too: the value None, remembered like any other.

        Raises:
            NetworkError: There is nothing to remember, and as ``NetworkManager.request``.
            HttpStatusError: The host answered with an HTTP error.
            BadAnswerError: It answered with something else.
        """
        address = f"{url}?{urlencode(sorted((params or {}).items()))}" if params else url
        question = _Question(self._key(address), address, shape, or_nothing, about)
        known = await asyncio.to_thread(self._store.get, question.key)
        if known is not None and question.is_answered_by(known.value):
            age_s = self._clock() - known.fetched_at
            # A clock set back must not keep an answer for ever.
            fresh = 0 <= age_s <= ttl_s
            if not self._network.is_reachable(url):
                return known.answer(cached=True, stale=True, offline=True)
            if fresh:
                return known.answer(cached=True)
            self._refresh_later(question, known)
            return known.answer(cached=True, stale=True)
        fetched = await self._fetch(question, None, deadline_s)
        return fetched.answer(calls=1)

    async def aclose(self) -> None:
        """End the work in the background and close the file."""
        here = asyncio.get_running_loop()
        tasks = list(self._refreshing.values())
        for task in tasks:
            if task.get_loop() is here:
                task.cancel()
            else:
                with suppress(RuntimeError):
                    task.get_loop().call_soon_threadsafe(task.cancel)
        await asyncio.gather(*(task for task in tasks if task.get_loop() is here), return_exceptions=True)
        await asyncio.to_thread(self._store.close)

    async def refreshed(self) -> None:
        """Wait until the background work of this event loop is done."""
        here = asyncio.get_running_loop()
        await asyncio.gather(*(task for task in self._refreshing.values() if task.get_loop() is here))

    def _key(self, address: str) -> str:
        # What is visible with a token is not shown without one.
        return f"{'known' if self._network.has_token(address) else 'anyone'} {address}"

    def _refresh_later(self, question: _Question, known: _Entry) -> None:
        if question.key in self._refreshing:
            return
        task = asyncio.get_running_loop().create_task(self._refresh(question, known))
        self._refreshing[question.key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(question.key, None))

    async def _refresh(self, question: _Question, known: _Entry) -> None:
        try:
            fetched = await self._fetch(question, known, None)
        except NetworkError as exc:
            logger.debug("an answer was not refreshed: %s", exc.code)
            return
        if fetched.value != known.value and self._refreshed is not None:
            try:
                self._refreshed(question.address if question.about is None else question.about)
            except Exception:
                logger.exception("a listener for refreshed answers failed")

    async def _fetch(self, question: _Question, known: _Entry | None, deadline_s: float | None) -> _Entry:
        headers = {"Accept": "application/json"}
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        response = await self._network.request(
            "GET", question.address, headers=headers, deadline_s=deadline_s
        )
        if response.status_code == 304 and known is not None:
            entry = replace(known, fetched_at=self._clock())
        elif response.status_code == 404 and question.or_nothing:
            entry = _Entry(None, None, None, self._clock())
        else:
            raise_for_status(response)
            value = await read_json(response)
            if not isinstance(value, question.shape):
                raise BadAnswerError(host_key(response.request.url), "it has another shape than it should")
            next_url = response.links.get("next", {}).get("url")
            entry = _Entry(value, response.headers.get("etag"), next_url, self._clock())
        await asyncio.to_thread(self._store.put, question.key, entry)
        return entry


@dataclass(frozen=True)
class _Question:
    """What is asked for, and what would be an answer."""

    key: str
    address: str
    shape: type
    or_nothing: bool
    about: object

    def is_answered_by(self, value: Any) -> bool:
        return isinstance(value, self.shape) or (value is None and self.or_nothing)


@dataclass(frozen=True)
class _Entry:
    value: Any
    etag: str | None
    next_url: str | None
    fetched_at: float

    def answer(
        self, *, cached: bool = False, stale: bool = False, offline: bool = False, calls: int = 0
    ) -> Answer:
        at = datetime.fromtimestamp(self.fetched_at, timezone.utc)
        return Answer(self.value, at, cached, stale, offline, calls, self.next_url)


class _Store:
    """A table of answers. Blocks; never raises for what is on the disk."""

    def __init__(self, path: Path | None, largest_bytes: int) -> None:
        self._path = path
        self._largest_bytes = largest_bytes
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None

    def get(self, key: str) -> _Entry | None:
        with self._lock:
            try:
                found = self._connection().execute(
                    "SELECT value, etag, next_url, fetched_at FROM answers WHERE key = ?", (key,)
                )
                row = found.fetchone()
                if row is None:
                    return None
                value, etag, next_url, fetched_at = row
                entry = _Entry(json.loads(value), etag, next_url, float(fetched_at))
                entry.answer()
                return entry
            except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError, RecursionError) as exc:
                self._discard(exc)
                return None

    def put(self, key: str, entry: _Entry) -> None:
        value = json.dumps(entry.value, separators=(",", ":"))
        size = len(value) + len(key)
        if size > min(_LARGEST_ENTRY, self._largest_bytes):
            return
        row = (key, value, entry.etag, entry.next_url, entry.fetched_at, size)
        with self._lock:
            try:
                connection = self._connection()
                with connection:
                    connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)
                    self._make_room(connection)
            except (sqlite3.Error, OSError) as exc:
                self._discard(exc)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path or ":memory:", timeout=_BUSY_S, check_same_thread=False)
            try:
                connection.executescript(_SCHEMA)
                if self._path is not None:
                    self._path.chmod(0o600)
            except BaseException:
                connection.close()
                raise
            self._open = connection
        return self._open

    def _make_room(self, connection: sqlite3.Connection) -> None:
        (total,) = connection.execute("SELECT coalesce(sum(bytes), 0) FROM answers").fetchone()
        while total > self._largest_bytes:
            oldest = connection.execute(
                "SELECT key, bytes FROM answers ORDER BY fetched_at LIMIT 1"
            ).fetchone()
            connection.execute("DELETE FROM answers WHERE key = ?", (oldest[0],))
            total -= oldest[1]

    def _discard(self, exc: Exception) -> None:
        """Start anew when the file is broken; when it is only busy or out of reach, let it be."""
        if isinstance(exc, OSError) or (isinstance(exc, sqlite3.OperationalError) and not _is_foreign(exc)):
            return
        self._close()
        if self._path is not None:
            for name in (self._path.name, f"{self._path.name}-journal"):
                with suppress(OSError):
                    self._path.with_name(name).unlink()

    def _close(self) -> None:
        if self._open is not None:
            with suppress(sqlite3.Error):
                self._open.close()
            self._open = None


def _is_foreign(exc: sqlite3.OperationalError) -> bool:
    """The file is a database, but with another table than ours."""
    return "no such" in str(exc) or "has no column" in str(exc) or "columns but" in str(exc)
