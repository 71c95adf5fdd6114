from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from ..jobs import utc_now
from ..settings import App
from ..storage.database import Database
from ..storage.roots import is_within
from .records import Link, LinkType
from .schema import migrate


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


class Registry:
    """``registry.db``: every link that Librarian made.

    Paths below the library's or the app's root are stored relative to it, so that moving both together
    breaks nothing. What is about to be linked is written down first (an *intent*), so that a crash
    between registry and disk is found at the next start.
    """

    def __init__(self, path: Path, library_root: Path, apps: Iterable[App]) -> None:
        self._database = Database(path, migrate)
        self._lock_path = path.with_name(path.name + ".lock")
        self._library_root = library_root
        with self._database.write() as db:
            known = dict(db.execute("SELECT key, value FROM settings").fetchall())
            before = known.get("library_root")
            if before is not None and before != str(library_root) and Path(before).is_dir():
                _keep_sources(db, Path(before))
            self._roots = {
                key.partition(":")[2]: Path(value)
                for key, value in known.items()
                if key.startswith("app_root:")
            }
            self.apps = [self._settled(app) for app in apps]
            db.executemany(
                "INSERT INTO settings (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [
                    ("library_root", str(library_root)),
                    *((f"app_root:{app.app}", str(app.root)) for app in self.apps),
                ],
            )

    def _settled(self, app: App) -> App:
        """The app under the id that its root has here.

        An app at a known root is the one that was there before. One with a known id at another root is
        that app, moved, if the old root is gone; else it is another app, and gets an id of its own.
        """
        at_root = next((name for name, root in self._roots.items() if root == app.root), None)
        name, number = at_root or app.app, 1
        while at_root is None and name in self._roots and self._roots[name].is_dir():
            number += 1
            name = f"{app.app}-{number}"
        self._roots[name] = app.root
        return app.model_copy(update={"app": name})

    @property
    def set_aside(self) -> Path | None:
        """Where an unusable ``registry.db`` was put at start, if there was one."""
        return self._database.set_aside

    @contextmanager
    def changing(self, timeout: float = -1) -> Iterator[None]:
        """Be the only one, of all threads and processes, who makes or removes links. Cannot be nested.

        Raises `filelock.Timeout` if somebody else still is after ``timeout`` seconds.
        """
        with FileLock(self._lock_path, timeout=timeout):
            yield

    def root_of(self, app: str) -> Path | None:
        """The root of an app, also of one that is not there any more."""
        return self._roots.get(app)

    def links(
        self,
        *,
        model_ids: Sequence[str] | None = None,
        app: str | None = None,
    ) -> list[Link]:
        """Registered links, with absolute paths; their ``state`` is not looked at here."""
        sql = "SELECT * FROM links WHERE 1"
        parameters: list[str] = []
        if model_ids is not None:
            sql += f" AND model_id IN ({', '.join('?' * len(model_ids))})"
            parameters += model_ids
        if app is not None:
            sql += " AND app = ?"
            parameters.append(app)
        return [
            self._link(row) for row in self._database.read().execute(f"{sql} ORDER BY link_id", parameters)
        ]

    def link_at(self, app: str, target: Path) -> Link | None:
        """The link registered at a place of an app, if there is one."""
        row = (
            self._database.read()
            .execute(
                "SELECT * FROM links WHERE app = ? AND target_app_path = ?",
                (app, _relative(target, self._roots.get(app))),
            )
            .fetchone()
        )
        return self._link(row) if row else None

    def linked(self, model_ids: Sequence[str]) -> frozenset[str]:
        """Which of these models have a link."""
        rows = self._database.read().execute(
            f"SELECT DISTINCT model_id FROM links WHERE model_id IN ({', '.join('?' * len(model_ids))})",
            model_ids,
        )
        return frozenset(row[0] for row in rows)

    def counts(self) -> dict[str, int]:
        """How many links each app has."""
        return dict(self._database.read().execute("SELECT app, count(*) FROM links GROUP BY app").fetchall())

    def intend(self, links: Iterable[NewLink]) -> None:
        """Write down what is about to be linked."""
        with self._database.write() as db:
            db.executemany(
                "INSERT INTO intents (model_id, app, target_app_path, source_model_path, file_hash, aside, "
                "temporary, pinned) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (*self._stored(link), _text(link.aside), _text(link.temporary), link.pinned)
                    for link in links
                ),
            )

    def register(self, made: Iterable[tuple[NewLink, LinkType, bool]], intended: Iterable[NewLink]) -> None:
        """Register the links that stand on disk (link, kind, whether external); what was intended is settled."""
        now = utc_now().isoformat()
        with self._database.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO links (model_id, app, target_app_path, source_model_path, file_hash, "
                "link_type, is_external, created_at, pinned) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (*self._stored(link), link_type, external, now, link.pinned)
                    for link, link_type, external in made
                ),
            )
            db.executemany(
                "DELETE FROM intents WHERE app = ? AND target_app_path = ?",
                ((link.app, self._stored(link)[2]) for link in intended),
            )

    def intents(self) -> Iterator[NewLink]:
        """What was about to be linked when the process ended."""
        for row in self._database.read().execute("SELECT * FROM intents"):
            yield NewLink(
                row["model_id"],
                row["app"],
                self._absolute(row["target_app_path"], self._roots.get(row["app"])),
                self._absolute(row["source_model_path"], self._library_root),
                row["file_hash"],
                Path(row["aside"]) if row["aside"] else None,
                Path(row["temporary"]) if row["temporary"] else None,
                bool(row["pinned"]),
            )

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

    def remove(self, link_ids: Iterable[int]) -> None:
        """Forget links that are gone from disk."""
        with self._database.write() as db:
            db.executemany("DELETE FROM links WHERE link_id = ?", ((link_id,) for link_id in link_ids))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _stored(self, link: NewLink) -> tuple[str, str, str, str, str | None]:
        target = _relative(link.target, self._roots.get(link.app))
        return link.model_id, link.app, target, _relative(link.source, self._library_root), link.file_hash

    def _link(self, row: sqlite3.Row) -> Link:
        return Link(
            link_id=row["link_id"],
            model_id=row["model_id"],
            app=row["app"],
            target=str(self._absolute(row["target_app_path"], self._roots.get(row["app"]))),
            source=str(self._absolute(row["source_model_path"], self._library_root)),
            link_type=row["link_type"],
            is_external=bool(row["is_external"]),
            pinned=bool(row["pinned"]),
            created_at=row["created_at"],
        )

    def _absolute(self, stored: str, root: Path | None) -> Path:
        path = Path(stored)
        return path if path.is_absolute() or root is None else root / path


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _keep_sources(db: sqlite3.Connection, library_root: Path) -> None:
    """Another library was chosen while the old one is still there: its links go on leading to it."""
    rows = db.execute("SELECT link_id, source_model_path FROM links").fetchall()
    db.executemany(
        "UPDATE links SET source_model_path = ? WHERE link_id = ?",
        [(str(library_root / source), link_id) for link_id, source in rows if not Path(source).is_absolute()],
    )


def _relative(path: Path, root: Path | None) -> str:
    if root is not None and is_within(path, root):
        return path.relative_to(root).as_posix()
    return str(path)
