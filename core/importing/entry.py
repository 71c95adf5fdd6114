"""What a running import writes down, so that the next start can finish or undo it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, model_validator

from ..library.index import inode_of


class EntryFile(BaseModel):
    """One file of an import.

    ``staged_name`` is relative to the model's folder, with ``/``. ``taken`` means that the file in staging is (or
    is about to be) the source itself and no copy. ``inode``, ``size`` (bytes) and ``mtime_ns`` tell whether the
    source is still the file that was read. ``keep`` means that the source stays, whatever becomes of the others.
    """

    source: Path
    staged_name: str
    size: int
    mtime_ns: int
    inode: str
    taken: bool = False
    keep: bool = False

    def is_of(self, status: os.stat_result) -> bool:
        """Whether this is the very file that the import is about, unchanged."""
        return (self.size, self.mtime_ns, self.inode) == (
            status.st_size,
            status.st_mtime_ns,
            inode_of(status),
        )


Fate = Literal["keep", "remove", "trash", "link"]
"""What becomes of the originals once the model is in the library."""


class Entry(BaseModel):
    """What one import is doing, as it stands on disk before each step that a crash could cut in two.

    ``placing`` means that the staged folder may have its final name already. ``folder`` is what the sources lie in
    if the model is a folder. ``replaces`` is the model in place that becomes this one. With ``shares`` the one source
    is a model's own file, and ``sharing`` means that the staged one may have taken its place.
    """

    model_id: str = ""
    originals: Fate = "keep"
    state: Literal["staging", "placing", "sharing"] = "staging"
    shares: bool = False
    files: list[EntryFile]
    folder: Path | None = None
    replaces: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_one_file(cls, data: Any) -> Any:
        """Journals of version 0.1 are about one file and say only whether it is moved."""
        if isinstance(data, dict) and "source" in data:
            names = ("source", "staged_name", "size", "mtime_ns", "inode", "taken")
            file = {name: data[name] for name in names if name in data}
            kept = {name: data[name] for name in ("model_id", "state") if name in data}
            return {**kept, "originals": "remove" if data.get("mode") == "move" else "keep", "files": [file]}
        return data


def entry_file(path: Path, name: str, status: os.stat_result) -> EntryFile:
    """What the journal says of a file as it is now."""
    return EntryFile(
        source=path,
        staged_name=name,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=inode_of(status),
    )
