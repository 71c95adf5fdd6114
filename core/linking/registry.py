from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..jobs import utc_now
from ..settings import App
from ..storage.database import Database
from ..storage.disk import storage_error
from ..storage.locks import ProcessLock
from ..turns import in_turns
from .records import Link, LinkType
from .schema import migrate

_T = TypeVar("_T", int, str)

_APP_ROOT = "app_root:"
_MOVED_APP = "moved_app:"
_MOVED_LIBRARY = "moved_library"


class NewLink(NamedTuple):
    """A link about to be made, with absolute paths.

    ``aside`` is where that goes which stands in its place. ``temporary`` is the name under which the link is
    made, to be renamed over a file with the same bytes. A ``pinned`` link stays where a person's file was,
    whatever the mappings say. ``app`` is `NO_APP` for a place outside all apps.
    """

    model_id: str
    app: str
    target: Path
    source: Path
    file_hash: str | None
    aside: Path | None = None
    temporary: Path | None = None
    pinned: bool = False


class MadeLink(NamedTuple):
    """A link that stands on disk."""

    link: NewLink
    link_type: LinkType
    is_external: bool


class Intended(NamedTuple):
    """What was written down in one go as about to be linked: the numbers of the first and last intent."""

    first: int
    last: int


class Roots(NamedTuple):
    """Where the library and the apps lie now; paths below them are stored relative to them."""

    library: Path
    apps: dict[str, Path]

    def stored_source(self, source: Path) -> str:
        """A source as it is written down."""
        return _relative(source, self.library)

    def stored_target(self, app: str, target: Path) -> str:
        """A target as it is written down."""
        return _relative(target, self.apps.get(app))

    def source(self, stored: str) -> str:
        """The absolute path of a stored source."""
        return _absolute(stored, self.library)

    def target(self, app: str, stored: str) -> str:
        """The absolute path of a stored target."""
        return _absolute(stored, self.apps.get(app))


class Moves(NamedTuple):
    """Where the library and apps lay when links were made that may not know of the move yet."""

    library: list[Path]
    apps: dict[str, list[Path]]

    def __bool__(self) -> bool:
        return bool(self.library or self.apps)


class Registry:
    """``registry.db``: every link that Librarian made.

    Paths below the library's or the app's root are stored relative to it, so that moving both together
    breaks nothing. What is about to be linked is written down first (an *intent*), so that a crash
    between registry and disk is found at the next start. Processes that share the file see each other's
    changes at once: nothing of it is kept in memory.
    """

    def __init__(
        self, path: Path, library_root: Path, apps: Iterable[App], library_id: str | None = None
    ) -> None:
        self._database = Database(path, migrate)
        self._lock_path = path.with_name(path.name + ".lock")
        self._library_root = library_root
        with self._database.write() as db:
            self._choose_library(db, library_root, library_id)
            self.apps = [self._settled(db, app) for app in apps]

    @staticmethod
    def _choose_library(db: sqlite3.Connection, root: Path, library_id: str | None) -> None:
        """Note where the library lies.

        The same library at another place was moved, and its links with it. Another library leaves the links
        of the one before leading where they led.
        """
        before = _setting(db, "library_root")
        if before is not None and before != str(root):
            known_id = _setting(db, "library_id")
            is_another = None not in (known_id, library_id) and known_id != library_id
            if is_another or Path(before).is_dir():
                _keep_sources(db, Path(before))
            else:
                _add_move(db, _MOVED_LIBRARY, before)
            _own_sources(db, root)
        _set(db, "library_root", str(root))
        if library_id is not None:
            _set(db, "library_id", library_id)

    def settle(self, app: App) -> App:
        """Write down where an app lies; answers it under the id that it has here. See `_settled`."""
        with self._database.write() as db:
            return self._settled(db, app)

    @staticmethod
    def _settled(db: sqlite3.Connection, app: App) -> App:
        """The app under the id that its root has here.

        An app at a known root is the one that was there before. One with a known id at another root is
        that app, moved, if the old root is gone; else it is another app, and gets an id of its own.
        """
        roots = _app_roots(db)
        at_root = next((name for name, root in roots.items() if root == app.root), None)
        name, number = at_root or app.app, 1
        while at_root is None and name in roots and roots[name].is_dir():
            number += 1
            name = f"{app.app}-{number}"
        if at_root is None and name in roots:
            _add_move(db, _MOVED_APP + name, str(roots[name]))
        _set(db, _APP_ROOT + name, str(app.root))
        return app.model_copy(update={"app": name})

    @property
    def set_aside(self) -> Path | None:
        """Where an unusable ``registry.db`` was put at start, if there was one."""
        return self._database.set_aside

    def to_rebuild(self) -> Path | None:
        """The registry that was set aside last and whose links are not taken over yet, if there is one.

        Raises `StorageError` if the folder cannot be read.
        """
        folder = self._database.path.parent
        try:
            asides = sorted(
                path
                for path in folder.glob(f"{self._database.path.name}.aside-*")
                if not path.name.endswith(("-wal", "-shm"))
            )
        except OSError as error:
            raise storage_error(error, folder) from error
        if not asides or _setting(self._database.read(), "rebuilt") == asides[-1].name:
            return None
        return asides[-1]

    def rebuilt(self, aside: Path, made: Iterable[MadeLink]) -> None:
        """Register the links that were found again; it need not be done another time."""
        with self._database.write() as db:
            self._register(db, made)
            _set(db, "rebuilt", aside.name)

    @contextmanager
    def changing(self, timeout: float = -1) -> Iterator[None]:
        """Be the only one, of all threads and processes, who makes or removes links. Cannot be nested.

        Raises `filelock.Timeout` if somebody else still is after ``timeout`` seconds.
        """
        lock = ProcessLock(self._lock_path)
        lock.acquire(timeout)
        try:
            yield
        finally:
            lock.release()

    def roots(self) -> Roots:
        """Where the library and every known app lie, also apps that are not there any more."""
        return Roots(self._library_root, _app_roots(self._database.read()))

    def root_of(self, app: str) -> Path | None:
        """The root of an app, also of one that is not there any more."""
        return self.roots().apps.get(app)

    def forget_app(self, app: str) -> int:
        """Forget an app with all its links; answers how many those were. Nothing on disk is touched."""
        with self._database.write() as db:
            count = db.execute("DELETE FROM links WHERE app = ?", (app,)).rowcount
            db.execute("DELETE FROM settings WHERE key IN (?, ?)", (_APP_ROOT + app, _MOVED_APP + app))
        return count

    def moves(self) -> Moves:
        """What was found to lie elsewhere since links were last brought in step."""
        moved = self._database.read().execute(
            "SELECT key, value FROM settings WHERE key = ? OR substr(key, 1, ?) = ?",
            (_MOVED_LIBRARY, len(_MOVED_APP), _MOVED_APP),
        )
        places = {row[0]: [Path(text) for text in json.loads(row[1])] for row in moved}
        library = places.pop(_MOVED_LIBRARY, [])
        return Moves(library, {key[len(_MOVED_APP) :]: roots for key, roots in places.items()})

    def forget_moves(self) -> None:
        """Every link knows where things lie now."""
        with self._database.write() as db:
            db.execute(
                "DELETE FROM settings WHERE key = ? OR substr(key, 1, ?) = ?",
                (_MOVED_LIBRARY, len(_MOVED_APP), _MOVED_APP),
            )

    def links(
        self,
        *,
        model_ids: Sequence[str] | None = None,
        app: str | None = None,
        link_ids: Sequence[int] | None = None,
    ) -> list[Link]:
        """Registered links of some models or of these ids, with absolute paths; no look is taken at the disk."""
        return [*self.each(model_ids=model_ids, app=app, link_ids=link_ids)]

    def each(
        self,
        *,
        model_ids: Sequence[str] | None = None,
        app: str | None = None,
        link_ids: Sequence[int] | None = None,
    ) -> Iterator[Link]:
        """The same one after another: 100,000 at once are a heap for the garbage collector, which halts all threads."""
        if link_ids is not None:
            conditions = [_one_of("link_id", some) for some in _chunks(link_ids)]
        elif model_ids is not None:
            conditions = [_one_of("model_id", some) for some in _chunks(model_ids)]
        else:
            conditions = [("1", ())]
        roots = self.roots()
        for condition, values in conditions:
            # The ``+`` keeps SQLite from going through all links of the app instead of to the few asked for.
            of_app = "" if app is None else f" AND {'' if condition == '1' else '+'}app = ?"
            sql = f"SELECT * FROM links WHERE {condition}{of_app}"
            parameters = [*values, *([app] if app is not None else [])]
            rows = self._database.read().execute(f"{sql} ORDER BY link_id", parameters)
            for row in in_turns(rows):
                yield _link(row, roots)

    def ids(self, app: str) -> list[int]:
        """The ids of an app's links."""
        rows = self._database.read().execute(
            "SELECT link_id FROM links WHERE app = ? ORDER BY link_id", (app,)
        )
        return [row[0] for row in rows]

    def link_at(self, app: str, target: Path) -> Link | None:
        """The link registered at a place of an app, if there is one."""
        roots = self.roots()
        row = (
            self._database.read()
            .execute(
                "SELECT * FROM links WHERE app = ? AND target_app_path = ?",
                (app, roots.stored_target(app, target)),
            )
            .fetchone()
        )
        return _link(row, roots) if row else None

    def targets(self) -> Iterator[str]:
        """Every registered place, as an absolute path."""
        roots = self.roots()
        for app, stored in in_turns(self._database.read().execute("SELECT app, target_app_path FROM links")):
            yield roots.target(app, stored)

    def linked(self, model_ids: Sequence[str]) -> frozenset[str]:
        """Which of these models have a link."""
        db = self._database.read()
        return frozenset(
            row[0]
            for some in _chunks(model_ids)
            for row in db.execute(
                f"SELECT DISTINCT model_id FROM links WHERE model_id IN ({', '.join('?' * len(some))})", some
            )
        )

    def counts(self) -> dict[str, int]:
        """How many links each app has."""
        return dict(self._database.read().execute("SELECT app, count(*) FROM links GROUP BY app").fetchall())

    def intend(self, links: Sequence[NewLink]) -> Intended:
        """Write down what is about to be linked."""
        roots = self.roots()
        with self._database.write() as db:
            first = db.execute("SELECT coalesce(max(intent_id), 0) + 1 FROM intents").fetchone()[0]
            db.executemany(
                "INSERT INTO intents (intent_id, model_id, app, target_app_path, source_model_path, file_hash, "
                "aside, temporary, pinned) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (number, *_stored(link, roots), _text(link.aside), _text(link.temporary), link.pinned)
                    for number, link in enumerate(links, start=first)
                ),
            )
        return Intended(first, first + len(links) - 1)

    def register(self, made: Iterable[MadeLink], intended: Intended) -> None:
        """Register the links that stand on disk; what was intended is settled."""
        with self._database.write() as db:
            self._register(db, made)
            db.execute("DELETE FROM intents WHERE intent_id BETWEEN ? AND ?", intended)

    def _register(self, db: sqlite3.Connection, made: Iterable[MadeLink]) -> None:
        roots = Roots(self._library_root, _app_roots(db))
        now = utc_now().isoformat()
        db.executemany(
            "INSERT OR REPLACE INTO links (model_id, app, target_app_path, source_model_path, file_hash, "
            "link_type, is_external, created_at, pinned) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (*_stored(link, roots), link_type, external, now, link.pinned)
                for link, link_type, external in made
            ),
        )

    def all_intended(self) -> Intended:
        """All that is written down as about to be linked."""
        row = self._database.read().execute(
            "SELECT coalesce(min(intent_id), 0), coalesce(max(intent_id), 0) FROM intents"
        )
        return Intended(*row.fetchone())

    def intents(self) -> Iterator[NewLink]:
        """What was about to be linked when the process ended."""
        roots = self.roots()
        for row in self._database.read().execute("SELECT * FROM intents"):
            yield NewLink(
                row["model_id"],
                row["app"],
                Path(roots.target(row["app"], row["target_app_path"])),
                Path(roots.source(row["source_model_path"])),
                row["file_hash"],
                Path(row["aside"]) if row["aside"] else None,
                Path(row["temporary"]) if row["temporary"] else None,
                bool(row["pinned"]),
            )

    def relocate(self, link: Link, *, target: Path | None = None, source: Path | None = None) -> None:
        """Write down that a link lies, or leads, elsewhere now."""
        roots = self.roots()
        with self._database.write() as db:
            if source is not None:
                db.execute(
                    "UPDATE links SET source_model_path = ? WHERE link_id = ?",
                    (roots.stored_source(source), link.link_id),
                )
            if target is not None:
                db.execute(
                    "UPDATE OR REPLACE links SET target_app_path = ? WHERE link_id = ?",
                    (roots.stored_target(link.app, target), link.link_id),
                )

    def move_app(self, app: str, root: Path) -> None:
        """Write down that an app lies elsewhere now."""
        with self._database.write() as db:
            _set(db, _APP_ROOT + app, str(root))

    def own_folder(self, folder: Path) -> None:
        """Write down that a folder is about to be made for links."""
        with self._database.write() as db:
            db.execute("INSERT OR IGNORE INTO folders (path) VALUES (?)", (str(folder),))

    def disown_folder(self, folder: Path) -> bool:
        """Forget a folder; ``False`` if it never was ours."""
        with self._database.write() as db:
            return db.execute("DELETE FROM folders WHERE path = ?", (str(folder),)).rowcount > 0

    def owns_folder(self, folder: Path) -> bool:
        """Whether the folder was made for links."""
        found = self._database.read().execute("SELECT 1 FROM folders WHERE path = ?", (str(folder),))
        return found.fetchone() is not None

    def intend_removal(self, link_ids: Iterable[int]) -> None:
        """Write down which links are about to go from disk."""
        with self._database.write() as db:
            db.executemany("UPDATE links SET removing = 1 WHERE link_id = ?", ((key,) for key in link_ids))

    def removals(self) -> list[Link]:
        """Links that were about to go when the process ended."""
        roots = self.roots()
        return [
            _link(row, roots) for row in self._database.read().execute("SELECT * FROM links WHERE removing")
        ]

    def remove(self, link_ids: Iterable[int]) -> None:
        """Forget links that are gone from disk; those that were about to go, too, stay."""
        with self._database.write() as db:
            db.executemany("DELETE FROM links WHERE link_id = ?", ((link_id,) for link_id in link_ids))
            db.execute("UPDATE links SET removing = 0 WHERE removing")

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def readable_links(aside: Path, roots: Roots) -> list[Link]:
    """The links that can still be read from a registry that was set aside, with today's absolute paths."""
    found: list[Link] = []
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(aside)) as db:
        db.row_factory = sqlite3.Row
        for row in db.execute("SELECT * FROM links"):
            with suppress(ValueError, TypeError, IndexError):  # a damaged row
                found.append(_link(row, roots))
    return found


def _setting(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def _set(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute(
        "INSERT INTO settings (key, value) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value != excluded.value",
        (key, value),
    )


def _add_move(db: sqlite3.Connection, key: str, before: str) -> None:
    known = json.loads(_setting(db, key) or "[]")
    _set(db, key, json.dumps(list(dict.fromkeys([*known, before]))))


def _app_roots(db: sqlite3.Connection) -> dict[str, Path]:
    rows = db.execute(
        "SELECT key, value FROM settings WHERE substr(key, 1, ?) = ?", (len(_APP_ROOT), _APP_ROOT)
    )
    return {row[0][len(_APP_ROOT) :]: Path(row[1]) for row in rows}


def _stored(link: NewLink, roots: Roots) -> tuple[str, str, str, str, str | None]:
    target = roots.stored_target(link.app, link.target)
    return link.model_id, link.app, target, roots.stored_source(link.source), link.file_hash


def _link(row: sqlite3.Row, roots: Roots) -> Link:
    return Link(
        link_id=row["link_id"],
        model_id=row["model_id"],
        app=row["app"],
        target=roots.target(row["app"], row["target_app_path"]),
        source=roots.source(row["source_model_path"]),
        link_type=row["link_type"],
        is_external=bool(row["is_external"]),
        pinned=bool(row["pinned"]) if "pinned" in row.keys() else False,  # noqa: SIM118
        file_hash=row["file_hash"],
        created_at=row["created_at"],
    )


def _keep_sources(db: sqlite3.Connection, library_root: Path) -> None:
    """Another library was chosen: the links of the one before go on leading to it."""
    rows = db.execute("SELECT link_id, source_model_path FROM links").fetchall()
    db.executemany(
        "UPDATE links SET source_model_path = ? WHERE link_id = ?",
        [(str(library_root / source), link_id) for link_id, source in rows if not Path(source).is_absolute()],
    )


def _own_sources(db: sqlite3.Connection, library_root: Path) -> None:
    """A library that was chosen before is chosen again: its sources move with it from now on."""
    start = f"{library_root}{os.sep}"
    rows = db.execute(
        "SELECT link_id, source_model_path FROM links WHERE substr(source_model_path, 1, ?) = ?",
        (len(start), start),
    ).fetchall()
    db.executemany(
        "UPDATE links SET source_model_path = ? WHERE link_id = ?",
        [(_relative(Path(source), library_root), link_id) for link_id, source in rows],
    )


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """The values in lists that are short enough for the parameters of one statement."""
    for start in range(0, len(values), 500):
        yield values[start : start + 500]


def _one_of(column: str, values: Sequence[int] | Sequence[str]) -> tuple[str, Sequence[int] | Sequence[str]]:
    return f"{column} IN ({', '.join('?' * len(values))})", values


def _relative(path: Path, root: Path | None) -> str:
    text, start = str(path), str(root).rstrip(os.sep) + os.sep if root is not None else None
    if start is None or not text.startswith(start):
        return text
    return text[len(start) :].replace(os.sep, "/")


def _absolute(stored: str, root: Path | None) -> str:
    native = stored if os.sep == "/" else stored.replace("/", os.sep)
    return native if root is None else os.path.join(root, native)  # noqa: PTH118
