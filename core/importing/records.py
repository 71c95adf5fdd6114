from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ..formats import Guess, ModelFormat, SecurityTier
from .transfer import Transferred

ImportMode = Literal["copy", "move"]


class Staged(NamedTuple):
    """A file that has arrived whole on the library's filesystem, durable and hashed, such as an upload.

    ``name`` is what the person calls it, with ``/`` where it came in folders. An import takes the file from
    ``path`` without reading it again, and gives it back there if it does not come to its end.
    """

    path: Path
    name: str
    transferred: Transferred


class GroupFile(BaseModel):
    """A file of a group; ``size`` in bytes."""

    path: str
    size: int


class ImportGroup(BaseModel):
    """Files that make one model, and what they are.

    ``problem`` says why it cannot be imported; ``duplicate_of`` is the model that has these bytes already.
    """

    name: str
    format: ModelFormat = "single-file"
    files: list[GroupFile]
    size_bytes: int
    complete: bool = True
    missing_shards: list[int] = Field(default_factory=list)
    guess: Guess | None = None
    security_tier: SecurityTier = "unknown"
    duplicate_of: str | None = None
    importable: bool = False
    problem: str | None = None


class ImportWarning(BaseModel):
    """What should be known before an import, or would stop it: ``code`` is stable, ``message`` for people."""

    code: str
    message: str


class Inspection(BaseModel):
    """What was found at the paths that were asked about, and what is in the way of importing all of it."""

    groups: list[ImportGroup]
    warnings: list[ImportWarning] = Field(default_factory=list)


class ImportItem(BaseModel):
    """One model to import. ``metadata`` overrides what its header and name say."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(min_length=1, max_length=1)
    mode: ImportMode = "copy"
    metadata: dict[str, Any] = Field(default_factory=dict)
    acknowledge_pickle: bool = False


class ImportRequest(BaseModel):
    """A batch. With ``link`` the new models are linked into the apps at its end."""

    model_config = ConfigDict(extra="forbid")

    items: list[ImportItem] = Field(min_length=1, max_length=10_000)
    link: bool = False
