from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..settings import AppKind

LinkType = Literal["symlink", "hardlink", "junction"]
LinkState = Literal["ok", "broken", "missing", "changed"]
ConflictReason = Literal["file_exists", "linked_to_different_source", "same_bytes"]
Resolution = Literal["skip", "overwrite", "rename"]

NO_APP = ""
"""The app of a link that stands where a person's file was, outside all apps."""


class Link(BaseModel):
    """A link that Librarian made. ``target`` is where it lies, ``source`` the model's file.

    ``is_external`` says that the two lie on different filesystems. ``state`` is ``ok``, ``broken`` (the
    source is gone), ``missing`` (the link is gone) or ``changed`` (something else lies there now). A
    ``pinned`` link took the place of a file with the same bytes and stays there whatever the mappings say;
    its ``app`` is empty where the place belongs to no app.
    """

    model_config = ConfigDict(protected_namespaces=())

    link_id: int
    model_id: str
    app: str
    target: str
    source: str
    link_type: LinkType
    is_external: bool
    pinned: bool = False
    file_hash: str | None = None
    state: LinkState = "ok"
    created_at: datetime


@dataclass(slots=True)
class PlannedLink:
    """A link that should be: made, or there already.

    Of these there may be 100,000, and of a record of pydantic the garbage collector looks at three objects.
    """

    model_id: str
    app: str
    target: str
    source: str
    size_bytes: int = 0
    file_hash: str | None = None


@dataclass(slots=True, kw_only=True)
class Conflict(PlannedLink):
    """A link whose place is taken by something that Librarian did not put there."""

    reason: ConflictReason
    existing: str


@dataclass(slots=True)
class PlannedRemoval:
    """A registered link that should go: its source is gone, or no rule wants it any more."""

    link_id: int
    model_id: str
    app: str
    target: str


class Plan(BaseModel):
    """What a sync would do. Making one changes nothing.

    ``bytes_to_win`` is what links in the place of copies (`same_bytes`) would give back.
    """

    plan_id: str
    to_create: list[PlannedLink] = Field(default_factory=list)
    to_skip_exists: list[PlannedLink] = Field(default_factory=list)
    conflicts: list[Conflict] = Field(default_factory=list)
    broken_to_remove: list[PlannedRemoval] = Field(default_factory=list)
    orphaned_to_remove: list[PlannedRemoval] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    errors: list[str] = Field(default_factory=list)
    total_actions: int = 0
    bytes_to_win: int = 0


class LinkChoice(BaseModel):
    """What the person decided about a plan's conflicts: per target, and for all others."""

    plan_id: str
    resolutions: dict[str, Resolution] = Field(default_factory=dict)
    default_resolution: Resolution = "skip"


class SyncResult(BaseModel):
    """What a sync did. ``bytes_freed`` counts the copies that links replaced.

    ``unreachable`` lists links that should go, in folders that are not there now; they stay registered.
    ``registered`` counts the models whose own folder ComfyUI was told of, where no link can be made; ``notes``
    says which.
    """

    links_created: int = 0
    links_removed: int = 0
    skipped: int = 0
    conflicts_resolved: int = 0
    bytes_freed: int = 0
    registered: int = 0
    notes: list[str] = Field(default_factory=list)
    unreachable: list[str] = Field(default_factory=list)
    errors: list[str] = Field(default_factory=list)


class NewApp(BaseModel):
    """An app to add, by its root folder. Without a ``kind``, what lies there tells it."""

    model_config = ConfigDict(extra="forbid")

    root: Path
    kind: AppKind | None = None
    name: str | None = Field(default=None, min_length=1, max_length=200)
    variant: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,62}$")


class GhostApp(BaseModel):
    """An app whose root is gone, and how many registered links it has."""

    app: str
    root: str
    links: int


class FoundLink(BaseModel):
    """A symlink in an app's folder that Librarian does not know. ``source`` is where it leads."""

    app: str
    target: str
    source: str


class HealthReport(BaseModel):
    """How the links do.

    ``broken_links`` lead to files that are gone. ``orphaned_links`` lead into the library but are not
    registered. ``missing_files`` are registered links that are not on disk any more, ``changed_links`` such
    in whose place something else lies. ``others_broken`` are broken links that others made: listed, never
    touched. ``unreachable`` are places on drives that are not there. ``status`` is ``errors`` if something
    that an app lists would fail to load.
    """

    status: Literal["healthy", "warnings", "errors"] = "healthy"
    broken_links: list[Link] = Field(default_factory=list)
    orphaned_links: list[FoundLink] = Field(default_factory=list)
    ghost_apps: list[GhostApp] = Field(default_factory=list)
    missing_files: list[Link] = Field(default_factory=list)
    changed_links: list[Link] = Field(default_factory=list)
    others_broken: list[FoundLink] = Field(default_factory=list)
    unreachable: list[Link] = Field(default_factory=list)
    total_issues: int = 0
    checked_at: datetime


class CleanChoice(BaseModel):
    """What is to be cleaned."""

    model_config = ConfigDict(extra="forbid")

    broken: bool = False
    orphaned: bool = False
    ghosts: bool = False
    missing: bool = False


class CleanResult(BaseModel):
    """What was cleaned. ``missing`` counts registered links that were gone already, ``ghosts`` forgotten apps."""

    broken: int = 0
    orphaned: int = 0
    ghosts: int = 0
    missing: int = 0
    errors: list[str] = Field(default_factory=list)


class LinkChange(BaseModel):
    """A link that leads, or lies, elsewhere now; or would, or could not."""

    link_id: int
    app: str
    target: str
    old_target: str
    source: str
    old_source: str
    problem: str | None = None


class RepairResult(BaseModel):
    """What became of the broken links; ``failed`` lists those whose file was not found anywhere."""

    repaired: int = 0
    failed: list[LinkChange] = Field(default_factory=list)
    details: list[LinkChange] = Field(default_factory=list)


class RelocateRequest(BaseModel):
    """A folder that is elsewhere now, such as a drive's mount point."""

    model_config = ConfigDict(extra="forbid")

    old_prefix: str
    new_prefix: str
    dry_run: bool = False


class RelocateResult(BaseModel):
    """How many links were moved, or would be in a dry run, and which. ``failed`` were left as they were."""

    updated: int = 0
    links: list[LinkChange] = Field(default_factory=list)
    failed: list[LinkChange] = Field(default_factory=list)
    dry_run: bool = False
