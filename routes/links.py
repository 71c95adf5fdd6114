"""``/links``, ``/mappings``, ``/apps``, ``/health``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ..core.librarian import Librarian
from ..core.linking import (
    CleanChoice,
    CleanResult,
    HealthReport,
    Link,
    LinkChoice,
    LinkState,
    Mapping,
    MappingReport,
    NamedMapping,
    NewApp,
    Plan,
    RelocateRequest,
    RelocateResult,
    SyncResult,
)
from ..core.services.reports import AppReport
from .endpoints import JobAccepted


class LinkQuery(BaseModel):
    """Which links are wanted."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str | None = None
    app: str | None = None
    state: LinkState | None = None


class LinkList(BaseModel):
    """Registered links."""

    links: list[Link]


class PreviewRequest(BaseModel):
    """One app or all, all models or some."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    app: str | None = None
    model_ids: list[str] | None = None


class AppList(BaseModel):
    """The apps that models can be linked into."""

    apps: list[AppReport]


def links(librarian: Librarian, query: LinkQuery) -> LinkList:
    """List the links that Librarian made."""
    return LinkList(links=librarian.links.registered(query.model_id, query.app, query.state))


def preview(librarian: Librarian, body: PreviewRequest) -> Plan:
    """Say what a sync would do. Changes nothing."""
    return librarian.links.preview(body.app, body.model_ids)


def apply_plan(librarian: Librarian, body: LinkChoice) -> JobAccepted:
    """Carry out a previewed plan."""
    return JobAccepted(job=librarian.links.apply(body))


def apps(librarian: Librarian) -> AppList:
    """List the apps."""
    return AppList(apps=librarian.links.apps())


def add_app(librarian: Librarian, body: NewApp) -> AppReport:
    """Add another ComfyUI, A1111, Forge, InvokeAI, SwarmUI or any other app, by its root folder."""
    return librarian.links.add_app(body)


def uninstall(librarian: Librarian, app: str) -> SyncResult:
    """Remove all links of an app, and nothing else. One that was added is forgotten."""
    return librarian.links.uninstall(app)


def mappings(librarian: Librarian) -> MappingReport:
    """List the mappings, and what is wrong with those that cannot be used."""
    return librarian.links.mappings()


def mapping(librarian: Librarian, name: str) -> NamedMapping:
    """One mapping."""
    return librarian.links.mapping(name)


def put_mapping(librarian: Librarian, name: str, body: Mapping) -> NamedMapping:
    """Write a mapping; its name is ``{app}_{version}_{variant}``."""
    return librarian.links.put_mapping(name, body)


def delete_mapping(librarian: Librarian, name: str) -> MappingReport:
    """Remove a mapping that a person wrote; answers those that are left."""
    return librarian.links.delete_mapping(name)


def health(librarian: Librarian) -> HealthReport:
    """Look how the links do. Changes nothing."""
    return librarian.links.health()


def clean(librarian: Librarian, body: CleanChoice) -> CleanResult:
    """Remove broken links and orphans, forget what is gone; only what is chosen."""
    return librarian.links.clean(body)


def repair(librarian: Librarian) -> JobAccepted:
    """Find the files of broken links by their hash, and point the links there."""
    return JobAccepted(job=librarian.links.repair())


def relocate(librarian: Librarian, body: RelocateRequest) -> RelocateResult:
    """Let links follow a folder to its new place, or say what that would change."""
    return librarian.links.relocate(body)
