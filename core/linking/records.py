from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LinkType = Literal["symlink", "hardlink"]
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
    state: LinkState = "ok"
    created_at: datetime


class PlannedLink(BaseModel):
    """A link that should be: made, or there already."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    app: str
    target: str
    source: str
    size_bytes: int = 0


class Conflict(PlannedLink):
    """A link whose place is taken by something that Librarian did not put there."""

    reason: ConflictReason
    existing: str


class PlannedRemoval(BaseModel):
    """A registered link that should go: its source is gone, or no rule wants it any more."""

    model_config = ConfigDict(protected_namespaces=())

    link_id: int
    model_id: str
    app: str
    target: str


class Plan(BaseModel):
    """What a sync would do. Making one changes nothing."""

    plan_id: str
    to_create: list[PlannedLink] = Field(default_factory=list)
    to_skip_exists: list[PlannedLink] = Field(default_factory=list)
    conflicts: list[Conflict] = Field(default_factory=list)
    broken_to_remove: list[PlannedRemoval] = Field(default_factory=list)
    orphaned_to_remove: list[PlannedRemoval] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    errors: list[str] = Field(default_factory=list)
    total_actions: int = 0


class LinkChoice(BaseModel):
    """What the person decided about a plan's conflicts: per target, and for all others."""

    plan_id: str
    resolutions: dict[str, Resolution] = Field(default_factory=dict)
    default_resolution: Resolution = "skip"


class SyncResult(BaseModel):
    """What a sync did. ``bytes_freed`` counts the copies that links replaced.

    ``unreachable`` lists links that should go, in folders that are not there now; they stay registered.
    """

    links_created: int = 0
    links_removed: int = 0
    skipped: int = 0
    conflicts_resolved: int = 0
    bytes_freed: int = 0
    unreachable: list[str] = Field(default_factory=list)
    errors: list[str] = Field(default_factory=list)
