from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from .locks import ProcessLock

logger = logging.getLogger(__name__)

BUSY_TIMEOUT_S = 30.0
WRITER_CACHE_KIB = 8 * 1024
"""Enough for the inner pages of every index at 100,000 models, so that rows are added without re-reading."""

CHECKPOINT_PAGES = 8000
"""When the write-ahead log is folded in by itself, in pages of 4 KiB: a bulk of rows touches the same pages
again and again, and each checkpoint writes them once."""

Migrate = Callable[[sqlite3.Connection], bool]


class Database:
    """One SQLite file: one writer, and a reading connection of its own for each thread.

    In WAL mode readers see the last whole transaction while the writer works. A file that is corrupt or
    comes from a newer Librarian is set aside (``name.aside-<time>``) and replaced by an empty one;
    ``set_aside`` then says where it lies.
    """

    def __init__(self, path: Path, migrate: Migrate) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self.generation = 0
        """How often the file was made anew since it was opened."""
        self._migrate = migrate
        self._lock = threading.RLock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._observing = threading.Lock()
        self._observer: sqlite3.Connection | None = None
        self._observed_generation = 0
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._opening():
            self._writer, self.searchable = self._open()
            self._identity = _identity(path)

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Be the only one, of all threads and processes, who opens the file or sets it aside.

        SQLite fails at once, without waiting, where two turn a new file to its write-ahead log, and what one has
        made anew another must not set aside as the damaged file. Without the lock it goes on where there can be none.
        """
        lock = ProcessLock(self.path.with_name(f"{self.path.name}.opening"))
        with suppress(OSError):
            lock.acquire(BUSY_TIMEOUT_S)
        try:
            yield
        finally:
            lock.release()

    def _open(self) -> tuple[sqlite3.Connection, bool]:
        if self._damage_mark.exists():
            self._put_aside("it was found to be damaged")
        try:
            return self._open_once()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise  # locked, or the disk refuses: the file itself may be fine
            self._put_aside(error)
            return self._open_once()

    @property
    def _damage_mark(self) -> Path:
        return self.path.with_name(f"{self.path.name}.damaged")

    def _put_aside(self, reason: object) -> None:
        name = f"{self.path.name}.aside-{time.strftime('%Y%m%d-%H%M%S')}"
        aside = next(
            path
            for number in count()
            if not (path := self.path.with_name(f"{name}-{number}" if number else name)).exists()
        )
        logger.warning("%s cannot be used (%s); it is kept as %s and made anew", self.path, reason, aside)
        self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).replace(aside.with_name(aside.name + suffix))
        self._damage_mark.unlink(missing_ok=True)
        self.set_aside = aside

    def check(self) -> None:
        """Read every page. Raises `sqlite3.DatabaseError` if the file is damaged.

        Takes about a second for 200 MB, in SQLite, while other threads run.
        """
        problem = self.read().execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)

    def renew(self, reason: object) -> None:
        """Set the damaged file aside and go on with an empty one.

        Another process may have done so already; then its new file is opened. Where an open file cannot
        be renamed (Windows), that is left for the next start.
        """
        with self._lock, self._opening():
            if self._closed:
                return
            try:
                if _identity(self.path) == self._identity:
                    self._put_aside(reason)
            except OSError:
                logger.warning(
                    "%s is damaged (%s) and will be made anew at the next start", self.path, reason
                )
                self._damage_mark.touch()
                return
            self._readers.append(self._writer)  # threads may be reading; all are closed at the end
            self._writer, self.searchable = self._open()
            self._identity = _identity(self.path)
            self.generation += 1

    def _open_once(self) -> tuple[sqlite3.Connection, bool]:
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            _let_write(connection)
            return connection, self._migrate(connection)
        except BaseException:
            connection.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def write(self, connection: sqlite3.Connection | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction on the writing connection, or on another: all of it happens, or nothing."""
        with self._lock:
            db = connection or self._writer
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                with suppress(sqlite3.DatabaseError):  # what went wrong first is what counts
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of the caller's own for long work in temporary tables, closed at the end.

        What it commits is not folded into the file before somebody calls `checkpoint`.
        """
        connection = self._connect()
        try:
            _let_write(connection)
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            yield connection
        finally:
            connection.close()

    def read(self) -> sqlite3.Connection:
        """This thread's reading connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.generation != self.generation:
            self._local.generation = self.generation
            connection = self._local.connection = self._connect_reader()
        return connection

    def state(self) -> tuple[int, int]:
        """The generation, and a number that is another one once any process has written anything more into it."""
        with self._observing:
            generation = self.generation
            if self._observer is None or self._observed_generation != generation:
                self._observer = self._connect_reader()
                self._observed_generation = generation
            return generation, self._observer.execute("PRAGMA data_version").fetchone()[0]

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        with self._lock:
            if self._closed:
                connection.close()
                raise sqlite3.ProgrammingError(f"{self.path.name} is closed")
            self._readers.append(connection)
        return connection

    def checkpoint(self) -> None:
        """Move what the write-ahead log holds into the file, as far as readers allow."""
        with self._lock, suppress(sqlite3.OperationalError):
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close every connection. Nobody may be using one any more."""
        with self._lock:
            self._closed = True
            for connection in (*self._readers, self._writer):
                connection.close()
            self._readers.clear()


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the file itself is no good, and not that it is locked or the disk refuses."""
    if isinstance(error, sqlite3.OperationalError):
        return any(
            text in str(error) for text in ("no such ", "already exists", "malformed", "vtable constructor")
        )
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
    )


def _let_write(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    connection.execute("PRAGMA temp.journal_mode = MEMORY")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
