from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..formats import Guess, ModelFormat, SecurityTier
from ..told import Told, Troubled
from .transfer import Transferred

ImportMode = Literal["auto", "copy", "move", "reflink", "in-place", "adopt"]
"""How files come into the library.

``auto`` is ``reflink`` where the filesystem can, else ``copy``. ``adopt`` moves and leaves a link where the file
was. ``in-place`` leaves the files where they are and only writes down what they are.
"""


class Staged(NamedTuple):
    """A file that has arrived whole on the library's filesystem, durable and hashed, such as an upload.

    ``name`` is what the person calls it, with ``/`` where it came in folders. An import takes the file from
    ``path`` without reading it again, and gives it back there if it does not come to its end. ``told`` are fields
    of a model as the file's source tells them.
    """

    path: Path
    name: str
    transferred: Transferred
    told: Mapping[str, Any] = {}


class GroupFile(BaseModel):
    """A file of a group; ``size`` in bytes.

    Of an ``upload`` (its id) the path is the name that it came with, and the hash is known before any import.
    """

    path: str
    size: int
    upload: str | None = None
    sha256: str | None = None


class ImportGroup(Troubled):
    """Files that make one model, and what they are.

    ``problem`` says why it cannot be imported; ``duplicate_of`` is the model that has these bytes already.
    ``beside`` are uploads that belong to it, such as its picture: an `ImportItem` names them as its own ``beside``.
    """

    name: str
    format: ModelFormat = "single-file"
    files: list[GroupFile]
    beside: list[GroupFile] = Field(default_factory=list)
    size_bytes: int
    complete: bool = True
    missing_shards: list[int] = Field(default_factory=list)
    guess: Guess | None = None
    security_tier: SecurityTier = "unknown"
    duplicate_of: str | None = None
    importable: bool = False


class ImportWarning(Told):
    """What should be known before an import, or would stop it: ``code`` is stable, ``message`` for people."""

    code: str


class Inspection(BaseModel):
    """What was found at the paths that were asked about, and what is in the way of importing all of it."""

    groups: list[ImportGroup]
    warnings: list[ImportWarning] = Field(default_factory=list)


class ImportItem(BaseModel):
    """One model to import: the paths of all its files or of its folder, or the ids of its uploads.

    ``metadata`` overrides what its header and name say. An upload is always moved, whatever ``mode`` says.
    ``beside`` are ids of uploads that come along under names like its own: its picture, what other tools know of
    it. What lies beside files at paths comes along by itself.
    """

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(default_factory=list, max_length=10_000)
    uploads: list[str] = Field(default_factory=list, max_length=10_000)
    beside: list[str] = Field(default_factory=list, max_length=100)
    mode: ImportMode = "auto"
    metadata: dict[str, Any] = Field(default_factory=dict)
    acknowledge_pickle: bool = False

    @model_validator(mode="after")
    def _has_one_origin(self) -> ImportItem:
        if bool(self.paths) == bool(self.uploads):
            raise ValueError("Give either paths or uploads.")
        if self.beside and not self.uploads:
            raise ValueError("Only uploads have others beside them.")
        return self


class ImportRequest(BaseModel):
    """A batch. With ``link`` the new models are linked into the apps at its end.

    With ``delete_originals`` the files that were copied go to the trash, or for good where there is none.
    """

    model_config = ConfigDict(extra="forbid")

    items: list[ImportItem] = Field(min_length=1, max_length=10_000)
    delete_originals: bool = False
    link: bool = False
