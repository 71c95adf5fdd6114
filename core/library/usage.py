"""What takes the room: equal files, and sizes by type, family and drive."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from ..formats import ModelFormat, SecurityTier
from ..storage.database import Database
from .records import Storage


class DuplicateFile(BaseModel):
    """One of several files that hold the same bytes, and what of its model decides whether a link can replace it."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    path: str
    storage: Storage
    official_name: str
    model_format: ModelFormat
    security_tier: SecurityTier


class DuplicateGroup(BaseModel):
    """Files with the same bytes. Links to one file count once; ``bytes_to_win`` is what links would free."""

    sha256: str
    size_bytes: int
    bytes_to_win: int
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
        """Groups of files with equal bytes, among those whose hash is known."""
        rows = self._database.read().execute(
            "SELECT f.sha256, f.size, f.inode, f.path, m.model_id, m.storage, m.official_name, m.model_format, "
            "m.security_tier FROM model_files f "
            "JOIN models m ON m.id = f.model WHERE f.sha256 IN "
            "(SELECT sha256 FROM model_files WHERE sha256 IS NOT NULL GROUP BY sha256 HAVING count(*) > 1) "
            "ORDER BY f.sha256, m.storage DESC, f.path"
        )
        groups: dict[str, DuplicateGroup] = {}
        inodes: dict[str, set[str]] = {}
        for row in rows:
            seen = inodes.setdefault(row["sha256"], set())
            if row["inode"] in seen:
                continue
            seen.add(row["inode"])
            group = groups.setdefault(
                row["sha256"],
                DuplicateGroup(sha256=row["sha256"], size_bytes=row["size"], bytes_to_win=0, files=[]),
            )
            group.files.append(DuplicateFile(**{field: row[field] for field in DuplicateFile.model_fields}))
            group.bytes_to_win = group.size_bytes * (len(group.files) - 1)
        found = sorted(
            # Equal files within one model, such as two text encoders, are none that a person could give up.
            (group for group in groups.values() if len({file.model_id for file in group.files}) > 1),
            key=lambda group: -group.bytes_to_win,
        )
        return DuplicateReport(
            groups=found,
            bytes_to_win=sum(group.bytes_to_win for group in found),
            files_to_hash=self.count_unhashed(),
        )

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
        by_type = [
            Share(name=row[0], models=row[1], size_bytes=row[2]) for row in db.execute(_BY.format("subtype"))
        ]
        by_family = [
            Share(name=row[0], models=row[1], size_bytes=row[2]) for row in db.execute(_BY.format("family"))
        ]
        drives: dict[str, DriveShare] = {}
        rows = db.execute(
            "SELECT substr(inode, 1, instr(inode, ':') - 1), min(path), count(DISTINCT model), sum(size) "
            "FROM (SELECT min(path) AS path, inode, model, size FROM model_files GROUP BY inode) GROUP BY 1"
        )
        mounts = _mounts()
        for device, path, models, size in rows:
            name = mounts.get(device) or str(Path(path).anchor)
            drive = drives.setdefault(name, DriveShare(name=name, models=0, size_bytes=0))
            drive.models += models
            drive.size_bytes += size
            with suppress(OSError):
                usage = psutil.disk_usage(name)
                drive.total_bytes, drive.free_bytes = usage.total, usage.free
        by_drive = sorted(drives.values(), key=lambda drive: -drive.size_bytes)
        return StorageReport(
            size_bytes=sum(drive.size_bytes for drive in by_drive),
            by_type=by_type,
            by_family=by_family,
            by_drive=by_drive,
        )


_UNHASHED = (
    "SELECT m.id, f.size FROM model_files f JOIN models m ON m.id = f.model "
    "WHERE f.sha256 IS NULL AND f.position = 0 AND m.problem IS NULL AND f.size > 0 AND EXISTS "
    "(SELECT 1 FROM model_files o WHERE o.size = f.size AND o.id != f.id AND o.inode != f.inode)"
)
_BY = "SELECT {0}, count(*), sum(size_bytes) FROM models GROUP BY 1 ORDER BY 3 DESC, 1"


def _mounts() -> dict[str, str]:
    """Mount point by device number, the shortest where a device is mounted more than once."""
    mounts: dict[str, str] = {}
    for partition in sorted(psutil.disk_partitions(all=True), key=lambda found: -len(found.mountpoint)):
        with suppress(OSError):
            mounts[str(Path(partition.mountpoint).stat().st_dev)] = partition.mountpoint
    return mounts
