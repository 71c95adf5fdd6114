"""What takes the room: equal files, and sizes by type, family and drive."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import psutil
from pydantic import BaseModel, ConfigDict

from ..formats import ModelFormat, SecurityTier
from ..formats.shards import is_weights
from ..storage.database import Database
from ..storage.reflink import places_on_disk
from .records import Storage


class DuplicateFile(BaseModel):
    """One of several files that hold the same bytes, and what of its model decides what can become of it."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    path: str
    storage: Storage
    official_name: str
    model_format: ModelFormat
    security_tier: SecurityTier
    can_share: bool = False


class DuplicateGroup(BaseModel):
    """Files with the same bytes that are stored more than once; ``bytes_to_win`` is what storing them once would free.

    Names of one file count once, and so do clones. ``to_share`` is how many of the library's own need not be
    stored since another one ``can_share`` its bytes.
    """

    sha256: str
    size_bytes: int
    bytes_to_win: int
    to_share: int = 0
    files: list[DuplicateFile]


class DuplicateReport(BaseModel):
    """Every group, the one that frees most first; files not hashed yet may add to it."""

    groups: list[DuplicateGroup]
    bytes_to_win: int
    files_to_hash: int


class Share(BaseModel):
    """A part of the whole; ``size_bytes`` on disk."""

    name: str
    models: int
    size_bytes: int


class DriveShare(Share):
    """A drive's part, with its room in bytes where the system tells."""

    total_bytes: int | None = None
    free_bytes: int | None = None


class StorageReport(BaseModel):
    """How much room the models take, and where. Every file counts once, however many names it has."""

    size_bytes: int
    by_type: list[Share]
    by_family: list[Share]
    by_drive: list[DriveShare]


class Usage:
    """Answers about the room that models take, from the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def duplicates(self) -> DuplicateReport:
        """Groups of weights with equal bytes, among those whose hash is known."""
        found = []
        for sha256, rows in self._equal_weights():
            copies = [names[0] for names in copies_on_disk(rows, _state)]
            sharing = Counter(_device(row) for row in copies if _may_share(row))
            group = DuplicateGroup(
                sha256=sha256,
                size_bytes=copies[0]["size"],
                bytes_to_win=copies[0]["size"] * (len(copies) - 1),
                to_share=sum(count - 1 for count in sharing.values()),
                files=[
                    DuplicateFile(
                        **{field: row[field] for field in DuplicateFile.model_fields if field != "can_share"},
                        can_share=_may_share(row) and sharing[_device(row)] > 1,
                    )
                    for row in copies
                ],
            )
            # Equal files of one model that stays where it is are none that a person could give up.
            if group.to_share or len({file.model_id for file in group.files}) > 1:
                found.append(group)
        found.sort(key=lambda group: -group.bytes_to_win)
        return DuplicateReport(
            groups=found,
            bytes_to_win=sum(group.bytes_to_win for group in found),
            files_to_hash=self.count_unhashed(),
        )

    def to_share(self, digests: Collection[str] | None = None) -> Iterator[list[tuple[str, Path]]]:
        """Model id and path of the library's own weights with the same bytes; if given, of these SHA-256."""
        wanted = None if digests is None else frozenset(digests)
        for sha256, rows in self._equal_weights():
            files = [(row["model_id"], Path(row["path"])) for row in rows if _may_share(row)]
            if len(files) > 1 and (wanted is None or sha256 in wanted):
                yield files

    def _equal_weights(self) -> Iterator[tuple[str, list[sqlite3.Row]]]:
        """The files of each SHA-256 that several have, the library's first. Settings beside weights are none."""
        rows = self._database.read().execute(
            f"{_FILES} WHERE f.sha256 IN ({_TWICE}) ORDER BY f.sha256, m.storage DESC, f.path"
        )
        for sha256, files in groupby(rows, lambda row: str(row["sha256"])):
            weights = [row for row in files if is_weights(row["path"])]
            if weights:
                yield sha256, weights

    def count_unhashed(self) -> int:
        """How many files share their size with another and have no hash yet."""
        return int(self._database.read().execute(f"SELECT count(*) FROM ({_UNHASHED})").fetchone()[0])

    def has_unhashed(self) -> bool:
        """Whether there are such files."""
        return self._database.read().execute(f"{_UNHASHED} LIMIT 1").fetchone() is not None

    def unhashed(self) -> tuple[int, Iterator[tuple[str, int]]]:
        """How many bytes only a hash can tell apart, and model id and size of each such file, small ones first."""
        # Two arrays of numbers: a list of 100,000 records halts all threads while garbage is collected.
        keys, sizes = array("q"), array("q")
        for key, size in self._database.read().execute(f"{_UNHASHED} ORDER BY f.size, m.id"):
            keys.append(key)
            sizes.append(size)

        def waiting() -> Iterator[tuple[str, int]]:
            for key, size in zip(keys, sizes, strict=True):
                row = (
                    self._database.read()
                    .execute("SELECT model_id FROM models WHERE id = ?", (key,))
                    .fetchone()
                )
                if row is not None:
                    yield row[0], size

        return sum(sizes), waiting()

    def storage(self) -> StorageReport:
        """Sizes by ComfyUI folder, family and drive."""
        db = self._database.read()
        by_type, by_family = (
            {
                name: Share(name=name, models=models, size_bytes=size)
                for name, models, size in db.execute(_BY.format(by))
            }
            for by in ("subtype", "family")
        )
        drives: dict[str, DriveShare] = {}
        names: dict[str, str] = {}
        mounts = _mounts()
        for device, path, models, size in db.execute(_BY_DEVICE):
            name = names[device] = mounts.get(device) or str(Path(path).anchor)
            drive = drives.setdefault(name, DriveShare(name=name, models=0, size_bytes=0))
            drive.models += models
            drive.size_bytes += size
            with suppress(OSError):
                usage = psutil.disk_usage(name)
                drive.total_bytes, drive.free_bytes = usage.total, usage.free
        rows = db.execute(
            f"{_FILES} WHERE f.sha256 IN ({_TWICE}) OR f.inode IN ({_NAMED_TWICE}) ORDER BY f.id"
        )
        for _, *others in copies_on_disk(rows, _state):
            for row in others:
                on = drives.get(
                    names.get(_device(row), "")
                )  # none for what came only now: it was not counted
                for share in filter(None, (by_type.get(row["subtype"]), by_family.get(row["family"]), on)):
                    share.size_bytes -= row["size"]
        return StorageReport(
            size_bytes=sum(drive.size_bytes for drive in drives.values()),
            by_type=_largest_first(by_type.values()),
            by_family=_largest_first(by_family.values()),
            by_drive=_largest_first(drives.values()),
        )


Kept = TypeVar("Kept")
Shared = TypeVar("Shared", bound=Share)


def copies_on_disk(files: Iterable[Kept], state: Callable[[Kept], tuple[str, str]]) -> list[list[Kept]]:
    """Files by the bytes on disk that they are: names of one file are together, and clones of each other.

    ``state`` answers a file's `inode_of` and its path.
    """
    copies: dict[object, list[Kept]] = {}
    of_inode: dict[str, object] = {}
    for file in files:
        inode, path = state(file)
        if inode not in of_inode:
            places = places_on_disk(Path(path))
            of_inode[inode] = (inode.partition(":")[0], places) if places is not None else inode
        copies.setdefault(of_inode[inode], []).append(file)
    return [*copies.values()]


def _state(row: sqlite3.Row) -> tuple[str, str]:
    return row["inode"], row["path"]


def _device(row: sqlite3.Row) -> str:
    return str(row["inode"].partition(":")[0])


def _may_share(row: sqlite3.Row) -> bool:
    """Whether the bytes of weights may be stored once with those of others."""
    return row["storage"] == "owned" and row["problem"] is None


def _largest_first(shares: Iterable[Shared]) -> list[Shared]:
    return sorted(shares, key=lambda share: (-share.size_bytes, share.name))


_FILES = (
    "SELECT f.sha256, f.size, f.inode, f.path, m.model_id, m.storage, m.official_name, m.model_format, "
    "m.security_tier, m.subtype, m.family, m.problem FROM model_files f JOIN models m ON m.id = f.model"
)
_TWICE = "SELECT sha256 FROM model_files WHERE sha256 IS NOT NULL GROUP BY sha256 HAVING count(*) > 1"
_NAMED_TWICE = "SELECT inode FROM model_files GROUP BY inode HAVING count(*) > 1"
_UNHASHED = (
    "SELECT m.id, f.size FROM model_files f JOIN models m ON m.id = f.model "
    "WHERE f.sha256 IS NULL AND f.position = 0 AND m.problem IS NULL AND f.size > 0 AND EXISTS "
    "(SELECT 1 FROM model_files o WHERE o.size = f.size AND o.id != f.id AND o.inode != f.inode)"
)
_BY_DEVICE = (
    "SELECT substr(inode, 1, instr(inode, ':') - 1), min(path), count(DISTINCT model), sum(size) "
    "FROM model_files GROUP BY 1"
)
_BY = "SELECT {0}, count(*), sum(size_bytes) FROM models GROUP BY 1"


def _mounts() -> dict[str, str]:
    """Mount point by device number, the shortest where a device is mounted more than once."""
    mounts: dict[str, str] = {}
    for partition in sorted(psutil.disk_partitions(all=True), key=lambda found: -len(found.mountpoint)):
        with suppress(OSError):
            mounts[str(Path(partition.mountpoint).stat().st_dev)] = partition.mountpoint
    return mounts
