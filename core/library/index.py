from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from pydantic import TypeAdapter

from ..errors import NotFoundError
from ..formats.pickle_scan import fingerprint
from ..formats.sidecars import Preview
from ..jobs import utc_now
from ..storage.database import Database
from ..told import as_kept, kept
from ..turns import SHORT_RUN_S, give_way, in_turns
from .metadata import IN_PLACE
from .records import LibraryTotals, Model, ModelSummary
from .schema import KEPT_CHANGES, change_numbers, forget_changes, last_change
from .staging import ModelRow, Rows, Staging
from .text import name_key, search_parts

_ASKED_AT_ONCE = 500
"""Models in one query; older versions of SQLite take no more than 999."""


class IndexedFile(NamedTuple):
    """A file as the index knows it; ``folder`` is the watched folder it was found in, if it is in place.

    ``size`` is in bytes, ``mtime_ns`` in nanoseconds; ``inode`` is ``<device>:<inode>``. ``link`` is the name in that
    folder, if it is a link to the file.
    """

    path: str
    folder: str | None
    size: int
    mtime_ns: int
    inode: str
    sha256: str | None = None
    blake3: str | None = None
    link: str | None = None

    @property
    def state(self) -> tuple[int, int, str]:
        """What changes when the file does."""
        return self.size, self.mtime_ns, self.inode

    @property
    def shown_as(self) -> str:
        """The path under which apps have the file."""
        return self.link or self.path


class ScannedFolder(NamedTuple):
    """What a directory below a watched folder held; the fingerprint is empty if it was not done with."""

    path: str
    folder: str
    subtype: str
    fingerprint: str


def write_folders(db: sqlite3.Connection, folders: Iterable[ScannedFolder], forgotten: Iterable[str]) -> None:
    """Write what directories hold, and which are not there any more, within the transaction that the caller holds."""
    db.executemany("INSERT OR REPLACE INTO scanned_folders VALUES (?, ?, ?, ?)", folders)
    db.executemany("DELETE FROM scanned_folders WHERE path = ?", ((path,) for path in forgotten))


class OwnedModel(NamedTuple):
    """What the index knows of an owned model; ``files`` has each path's size, modification time and inode."""

    metadata_mtime_ns: int | None
    has_problem: bool
    files: dict[str, tuple[int, int, str]]


class IndexedModel(NamedTuple):
    """A model and its files, ready to be written into the index."""

    model: Model
    files: Sequence[IndexedFile]
    preview: Preview = Preview.NONE
    header_read: bool = True
    problem: str | None = None
    metadata_mtime_ns: int | None = None

    @property
    def is_guessed(self) -> bool:
        """Whether nothing but its files and their names says what it is: no person, no lookup, no record."""
        model = self.model
        return (
            model.match_source == "auto" and model.match_method == "none" and self.metadata_mtime_ns is None
        )


class UnreadModel(NamedTuple):
    """A model whose header was not read yet, as the database has it; ``key`` is its row's."""

    key: int
    metadata: str
    preview: int
    metadata_mtime_ns: int | None
    files: list[IndexedFile]

    def entry(self) -> IndexedModel:
        """The model with its record."""
        return IndexedModel(
            Model.model_validate_json(self.metadata),
            self.files,
            preview=Preview(self.preview),
            metadata_mtime_ns=self.metadata_mtime_ns,
        )


def inode_of(status: os.stat_result) -> str:
    """``<device>:<inode>``, which two names of one file share."""
    return f"{status.st_dev}:{status.st_ino}"


def pickle_fingerprint(files: Iterable[IndexedFile]) -> str:
    """What of a model's files its findings are compared with."""
    return fingerprint((file.size, file.mtime_ns) for file in files)


def row_of(entry: IndexedModel) -> ModelRow:
    """A model as it is written into the index."""
    model = entry.model
    return _values(entry), tuple(map(tuple, entry.files)), tuple(model.tags)


def _values(entry: IndexedModel) -> tuple[Any, ...]:
    model = entry.model
    file_names = "\n".join(file.shown_as.rpartition(os.sep)[2] for file in entry.files)
    # Most files are called like their model, whose words then are the file's.
    names = (file_names,) if model.official_name in file_names else (model.official_name, file_names)
    return (
        model.model_id,
        model.official_name,
        name_key(model.official_name),
        file_names,
        model.model_type,
        model.subtype,
        model.family,
        model.base_model,
        model.variant,
        model.precision,
        model.model_format,
        model.size_bytes,
        model.security_tier,
        model.storage,
        "\n".join(model.tags),
        "\n".join(model.trained_words),
        model.description,
        model.repo_id,
        search_parts(*names, model.base_model, *model.tags),
        model.match_source,
        model.match_method,
        model.match_confidence,
        model.hash_mismatch,
        model.pending_online_lookup,
        int(entry.preview),
        model.added_date.isoformat(),
        model.updated_date.isoformat(),
        kept(entry.problem),
        entry.header_read,
        entry.metadata_mtime_ns,
        # Only an owned model's metadata is copied whole; the other's defaults would be most of the database.
        model.model_dump_json(by_alias=True, exclude_defaults=model.storage == "in-place"),
        _pickle_state(model, entry.files),
    )


def _pickle_state(model: Model, files: Iterable[IndexedFile]) -> str:
    scan = model.pickle_scan
    return scan.state if scan is not None and scan.is_of(pickle_fingerprint(files)) else ""


class Index:
    """The rows of ``models.db``: what is written into it and read by identity."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counting = threading.Lock()
        self._counted: tuple[tuple[int, int], LibraryTotals] | None = None

    def put(self, entries: Iterable[IndexedModel]) -> None:
        """Add or replace models, all in one transaction."""
        self.put_rows(map(row_of, entries))

    def put_rows(self, models: Iterable[ModelRow], *, unless_changed_since: int | None = None) -> None:
        """The same with rows.

        With the number of a `last_change`, those that were changed or removed since then are left as they are, and
        none is added.
        """
        rows = Rows(models)  # before the transaction: nobody waits for it while files are read
        if not rows.models:
            return
        with self._database.write() as db:
            staging = Staging(db)
            staging.add(rows)
            if unless_changed_since is None:
                staging.choose_all()
            else:
                staging.choose_unchanged(unless_changed_since)
            staging.apply(searchable=self._database.searchable)
            staging.clear()

    def replace_metadata(self, changed: Iterable[tuple[Model, int | None]]) -> None:
        """Write the rows of edited models, each with its file's time; files, previews and problems stay.

        A model that is not known any more is left out.
        """
        with self._database.write() as db:
            entries = []
            for model, metadata_mtime_ns in changed:
                row = db.execute(
                    "SELECT id, has_preview, header_read, problem FROM models WHERE model_id = ?",
                    (model.model_id,),
                ).fetchone()
                if row is not None:
                    entries.append(
                        IndexedModel(
                            model,
                            [_indexed_file(found) for found in _files(db, row["id"])],
                            Preview(row["has_preview"]),
                            bool(row["header_read"]),
                            as_kept(row["problem"]),
                            metadata_mtime_ns,
                        )
                    )
            self.put(entries)

    def known(self, model_ids: Iterable[str]) -> set[str]:
        """Which of these models are indexed."""
        wanted = iter(model_ids)
        found: set[str] = set()
        while some := tuple(islice(wanted, _ASKED_AT_ONCE)):
            rows = self._database.read().execute(
                f"SELECT model_id FROM models WHERE model_id IN ({', '.join('?' * len(some))})", some
            )
            found.update(row[0] for row in rows)
        return found

    def remove(self, model_ids: Iterable[str]) -> None:
        """Forget models; their files are not touched."""
        with self._database.write() as db:
            for model_id in model_ids:
                files = db.execute(
                    "SELECT f.path FROM model_files f JOIN models m ON m.id = f.model "
                    "WHERE m.model_id = ? AND f.folder IS NOT NULL",
                    (model_id,),
                ).fetchall()
                # A file that is still there is found again: the next scan looks closer where it lies.
                db.executemany(
                    "UPDATE scanned_folders SET fingerprint = '' WHERE path = ?",
                    ((os.path.split(path)[0],) for (path,) in files),
                )
                db.execute("DELETE FROM models WHERE model_id = ?", (model_id,))

    def set_problem(self, model_ids: Iterable[str], problem: str | None) -> None:
        """Say what is wrong with some models, or that nothing is any more."""
        with self._database.write() as db:
            db.executemany(
                "UPDATE models SET problem = ?1 WHERE model_id = ?2 AND problem IS NOT ?1",
                ((kept(problem), key) for key in model_ids),
            )

    def set_hashes(self, path: str, sha256: str, blake3: str) -> None:
        """Remember the hashes of one file."""
        with self._database.write() as db:
            db.execute("UPDATE model_files SET sha256 = ?, blake3 = ? WHERE path = ?", (sha256, blake3, path))
            _note_change(db, path)

    def set_state(self, path: str, status: os.stat_result) -> None:
        """Another file with the same bytes has taken the place of one: its hashes stay true."""
        with self._database.write() as db:
            db.execute(
                "UPDATE model_files SET mtime_ns = ?, inode = ? WHERE path = ? AND size = ?",
                (status.st_mtime_ns, inode_of(status), path, status.st_size),
            )
            _note_change(db, path)

    def last_change(self) -> int:
        """The number of the last change of any model."""
        return last_change(self._database.read())

    def forget_changes(self) -> None:
        """Drop the numbers of changes that every running process has taken over long ago, if there are any."""
        numbers = change_numbers(self._database.read())
        if numbers is not None and numbers[1] - numbers[0] >= KEPT_CHANGES:
            with self._database.write() as db:
                forget_changes(db)

    def touch(self, model_id: str) -> None:
        """Note that a model was used now, which ranks it before its equals."""
        with self._database.write() as db:
            db.execute(
                "UPDATE models SET last_used = ? WHERE model_id = ?", (utc_now().isoformat(), model_id)
            )

    def model(self, model_id: str) -> Model:
        """The whole record. Raises `NotFoundError`."""
        row = (
            self._database.read()
            .execute("SELECT metadata FROM models WHERE model_id = ?", (model_id,))
            .fetchone()
        )
        if row is None:
            raise NotFoundError(
                f"There is no model {model_id!r}. It may have been deleted or renamed; search for it."
            )
        return Model.model_validate_json(row[0])

    def summary(self, model_id: str) -> ModelSummary:
        """The record as lists show it. Raises `NotFoundError`."""
        row = (
            self._database.read()
            .execute(f"SELECT {SUMMARY_COLUMNS} FROM models WHERE model_id = ?", (model_id,))
            .fetchone()
        )
        if row is None:
            raise NotFoundError(f"There is no model {model_id!r}.")
        return summaries_of([row])[0]

    def contains(self, model_id: str) -> bool:
        """Whether a model of this id is indexed."""
        return (
            self._database.read().execute("SELECT 1 FROM models WHERE model_id = ?", (model_id,)).fetchone()
            is not None
        )

    def files(self, model_id: str) -> list[IndexedFile]:
        """A model's files in order, the main file first."""
        rows = self._database.read().execute(
            "SELECT f.* FROM model_files f JOIN models m ON m.id = f.model WHERE m.model_id = ? ORDER BY f.position",
            (model_id,),
        )
        return [_indexed_file(row) for row in rows]

    def models_with_hash(self, digest: str) -> list[str]:
        """Ids of the models of which a file has this SHA-256 or BLAKE3, or one that begins so."""
        end = digest + "g"
        rows = self._database.read().execute(
            "SELECT DISTINCT m.model_id FROM model_files f JOIN models m ON m.id = f.model "
            "WHERE (f.sha256 >= ? AND f.sha256 < ?) OR (f.blake3 >= ? AND f.blake3 < ?) LIMIT 100",
            (digest, end, digest, end),
        )
        return [row[0] for row in rows]

    def files_of_size(self, size: int, sha256: str | None = None) -> list[tuple[str, IndexedFile]]:
        """Model id and file of every indexed file of this size in bytes: who may hold the same bytes.

        With ``sha256``, those with another hash are left out.
        """
        other = "" if sha256 is None else "AND (f.sha256 IS NULL OR f.sha256 = ?)"
        rows = self._database.read().execute(
            f"SELECT m.model_id, f.* FROM model_files f JOIN models m ON m.id = f.model WHERE f.size = ? {other}",
            (size,) if sha256 is None else (size, sha256),
        )
        return [(row["model_id"], _indexed_file(row)) for row in rows]

    def models_with_file_name(self, name: str) -> list[str]:
        """Ids of the models whose official name has the same words as ``name``, else of those with such a file."""
        stem = name.rpartition(".")[0] or name
        db = self._database.read()
        rows = db.execute(
            "SELECT model_id FROM models WHERE name_key = ? OR name_key = ? LIMIT 100",
            (name_key(name), name_key(stem)),
        ).fetchall()
        if not rows:  # called otherwise by a header or by a record beside it; nobody waits for this often
            rows = db.execute(
                "SELECT model_id FROM models "
                "WHERE instr(char(10) || lower(file_names) || char(10), lower(?)) LIMIT 100",
                (f"\n{name}\n",),
            ).fetchall()
        return [row[0] for row in rows]

    def file_at(self, path: str) -> tuple[str, IndexedFile] | None:
        """Model id and file of what is known to lie at a path."""
        row = (
            self._database.read()
            .execute(
                "SELECT m.model_id, f.* FROM model_files f JOIN models m ON m.id = f.model WHERE f.path = ?",
                (path,),
            )
            .fetchone()
        )
        return None if row is None else (row["model_id"], _indexed_file(row))

    def files_in(self, directory: str) -> list[tuple[str, IndexedFile]]:
        """Model id and file of what is known to lie in one directory of a watched folder, not below it.

        A file that a link leads to lies where the link does.
        """
        query = _below("m.model_id, f.*", "AND instr(substr(f.{name}, length(:start) + 1), :sep) = 0")
        rows = self._database.read().execute(query, _range_of(directory))
        return [(row["model_id"], _indexed_file(row)) for row in rows]

    def previews_in(self, directory: str) -> dict[str, Preview]:
        """What shows each model that lies in one directory of a watched folder, by its id, where anything does."""
        query = _below("m.model_id, m.has_preview", "AND m.has_preview")
        rows = self._database.read().execute(query, _range_of(directory))
        return {model_id: Preview(preview) for model_id, preview in rows}

    def files_below(self, directory: str) -> list[tuple[str, IndexedFile]]:
        """Model id and file of what is known to lie below a directory of a watched folder, however deep."""
        rows = self._database.read().execute(_below("m.model_id, f.*"), _range_of(directory))
        return [(row["model_id"], _indexed_file(row)) for row in rows]

    def as_known(self, model_id: str) -> IndexedModel:
        """A model as the index has it. Raises `NotFoundError`."""
        db = self._database.read()
        row = db.execute(
            "SELECT id, has_preview, header_read, problem, metadata_mtime_ns, metadata FROM models "
            "WHERE model_id = ?",
            (model_id,),
        ).fetchone()
        if row is None:
            raise NotFoundError(f"There is no model {model_id!r}.")
        return IndexedModel(
            Model.model_validate_json(row["metadata"]),
            [_indexed_file(file) for file in _files(db, row["id"])],
            Preview(row["has_preview"]),
            bool(row["header_read"]),
            as_kept(row["problem"]),
            row["metadata_mtime_ns"],
        )

    def ids_elsewhere(self) -> set[str]:
        """The models in place that lie in no watched folder."""
        return {
            row[0]
            for row in self._database.read().execute(
                "SELECT DISTINCT m.model_id FROM model_files f JOIN models m ON m.id = f.model "
                "WHERE f.folder = ''"
            )
        }

    def scanned_folders(self) -> dict[str, ScannedFolder]:
        """What each directory of the watched folders held when it was last scanned, by its path."""
        rows = self._database.read().execute("SELECT * FROM scanned_folders")
        return {row["path"]: ScannedFolder(*row) for row in rows}

    def remember_folders(self, folders: Iterable[ScannedFolder], forgotten: Iterable[str] = ()) -> None:
        """Remember what directories hold, and forget those that are not there any more."""
        with self._database.write() as db:
            write_folders(db, folders, forgotten)

    def owned_families(self) -> Iterator[str]:
        """The first two parts of the owned models' ids, ``<type>/<family>``, each once."""
        start = ""
        while row := (
            self._database.read()
            .execute("SELECT model_id FROM models WHERE model_id >= ? ORDER BY model_id LIMIT 1", (start,))
            .fetchone()
        ):
            family = row[0].rpartition("/")[0]
            if family != IN_PLACE:
                yield family
            start = family + "0"  # the character after "/"

    def owned_family(self, family: str) -> dict[str, OwnedModel]:
        """What is known of the owned models of one ``<type>/<family>``, by their ids."""
        # The ``+`` keeps SQLite from going through all owned models by their storage instead of to the few
        # whose ids are asked for.
        rows = self._database.read().execute(
            "SELECT m.model_id, m.metadata_mtime_ns, m.problem IS NOT NULL, f.path, f.size, f.mtime_ns, f.inode "
            "FROM models m LEFT JOIN model_files f ON f.model = m.id "
            "WHERE m.model_id >= ? AND m.model_id < ? AND +m.storage = 'owned' ORDER BY m.model_id, f.position",
            (family + "/", family + "0"),
        )
        known: dict[str, OwnedModel] = {}
        for model_id, metadata_mtime_ns, has_problem, path, *state in rows:
            model = known.get(model_id)
            if model is None:
                model = known[model_id] = OwnedModel(metadata_mtime_ns, bool(has_problem), {})
            if path is not None:
                model.files[path] = tuple(state)
        return known

    def owned_inodes(self) -> set[str]:
        """``<device>:<inode>`` of every file in the library."""
        return {
            row[0]
            for row in self._database.read().execute("SELECT inode FROM model_files WHERE folder IS NULL")
        }

    def written_in_place(self) -> dict[str, int]:
        """The modification times of the ``metadata.json`` of models that stay where they are, by id."""
        return dict(
            self._database.read()
            .execute(
                "SELECT model_id, metadata_mtime_ns FROM models INDEXED BY models_written_in_place "
                "WHERE storage = 'in-place' AND metadata_mtime_ns IS NOT NULL"
            )
            .fetchall()
        )

    def unread(self, limit: int, after: int = 0) -> list[UnreadModel]:
        """Models whose headers were not read yet, in the order of their keys, those after a key."""
        db = self._database.read()
        rows = db.execute(
            "SELECT id, metadata, has_preview, metadata_mtime_ns FROM models WHERE header_read = 0 AND id > ? "
            "ORDER BY id LIMIT ?",
            (after, limit),
        ).fetchall()
        return [
            UnreadModel(key, metadata, preview, mtime_ns, [_indexed_file(file) for file in _files(db, key)])
            for key, metadata, preview, mtime_ns in rows
        ]

    def unscanned_pickles(self) -> list[str]:
        """Ids of the pickles of which it is not known what they would do, in the order in which they came."""
        rows = self._database.read().execute(
            "SELECT model_id FROM models WHERE security_tier = 'pickle' AND pickle_state = '' ORDER BY id"
        )
        return [row[0] for row in rows]

    def count_unread(self) -> int:
        """How many headers wait to be read."""
        return int(
            self._database.read().execute("SELECT count(*) FROM models WHERE header_read = 0").fetchone()[0]
        )

    def all_ids(self) -> set[str]:
        """Every model's id."""
        return {row[0] for row in self._database.read().execute("SELECT model_id FROM models")}

    def owned_models(self, model_ids: Iterable[str] | None = None) -> Iterator[Model]:
        """The whole records of owned models, or of those among ``model_ids``, one after another."""
        if model_ids is not None:
            yield from (model for model in map(self.model, model_ids) if model.storage == "owned")
            return
        last = ""
        # The ``+`` keeps SQLite from sorting all owned models for each part of them.
        query = (
            "SELECT model_id, metadata FROM models WHERE model_id > ? AND +storage = 'owned' "
            f"ORDER BY model_id LIMIT {_ASKED_AT_ONCE}"
        )
        while rows := self._database.read().execute(query, (last,)).fetchall():
            for _, metadata in in_turns(rows):
                yield Model.model_validate_json(metadata)
            last = rows[-1][0]

    def totals(self) -> LibraryTotals:
        """How many models, files and bytes are indexed; counted anew only if something was written since."""
        with self._counting:
            state = self._database.state()
            if self._counted is None or self._counted[0] != state:
                self._counted = state, self._count()
            return self._counted[1]

    def _count(self) -> LibraryTotals:
        db = self._database.read()
        models, size, in_place = db.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(sum(storage = 'in-place'), 0) "
            "FROM models"
        ).fetchone()
        files = db.execute("SELECT count(*) FROM model_files").fetchone()[0]
        return LibraryTotals(models=models, files=files, size_bytes=size, in_place=in_place)


SUMMARY_COLUMNS = (
    "model_id, official_name, file_names, model_type, subtype, family, base_model, variant, precision, "
    "model_format, size_bytes, security_tier, storage, tags, match_source, match_method, match_confidence, "
    "hash_mismatch, pending_online_lookup, has_preview, problem, added_date, updated_date, pickle_state"
)
"""What `summaries_of` needs; the whole metadata is left where it is."""

_SUMMARY_NAMES = SUMMARY_COLUMNS.split(", ")


_SUMMARIES = TypeAdapter(list[ModelSummary])
_SHOWN_AT_ONCE = 100


def summaries_of(rows: Iterable[Sequence[Any]]) -> list[ModelSummary]:
    """Rows of ``models`` as lists show them; each begins with `SUMMARY_COLUMNS`."""
    rows, found = iter(rows), list[ModelSummary]()
    while some := [_summary_values(row) for row in islice(rows, _SHOWN_AT_ONCE)]:
        found += _SUMMARIES.validate_python(some)
        give_way(SHORT_RUN_S)
    return found


def _summary_values(row: Sequence[Any]) -> dict[str, Any]:
    values = dict(zip(_SUMMARY_NAMES, row, strict=False))  # ``dict(row)`` looks for every name among all
    pickle = values["security_tier"] == "pickle"
    values["pickle_state"] = (values["pickle_state"] or "not_scanned") if pickle else None
    values["file_name"] = values["file_names"].partition("\n")[0]
    values["tags"] = values["tags"].split("\n") if values["tags"] else []
    if values["has_preview"]:
        preview = Preview(values["has_preview"])
        values["preview_url"] = _preview_url(values, preview)
        values["preview_is_video"] = preview is Preview.VIDEO
    if values["problem"] is not None:
        values["problem"] = as_kept(values["problem"])
    return values


def _preview_url(values: Mapping[str, Any], preview: Preview) -> str:
    version = datetime.fromisoformat(values["updated_date"]).timestamp()
    kind = "v" if preview is Preview.VIDEO else ""
    return f"librarian/previews/{quote(values['model_id'])}?v={version:.0f}{kind}"


def _below(columns: str, condition: str = "") -> str:
    """A query for what lies below a directory of a watched folder; of a link and what it leads to the link counts."""
    return " UNION ALL ".join(
        f"SELECT {columns} FROM model_files f JOIN models m ON m.id = f.model "
        f"WHERE f.{name} >= :start AND f.{name} < :end AND f.folder IS NOT NULL {itself} {condition.format(name=name)}"
        for name, itself in (("path", "AND f.link IS NULL"), ("link", ""))
    )


def _range_of(directory: str) -> dict[str, str]:
    start = directory.rstrip(os.sep) + os.sep
    return {"start": start, "end": start + "\U0010ffff", "sep": os.sep}


def _note_change(db: sqlite3.Connection, path: str) -> None:
    """A deep scan that runs meanwhile must not write its older state of a file over it."""
    db.execute("INSERT INTO model_changes (model) SELECT model FROM model_files WHERE path = ?", (path,))


def _files(db: sqlite3.Connection, key: int) -> list[sqlite3.Row]:
    return db.execute("SELECT * FROM model_files WHERE model = ? ORDER BY position", (key,)).fetchall()


def _indexed_file(row: sqlite3.Row) -> IndexedFile:
    return IndexedFile(*(row[name] for name in IndexedFile._fields))
