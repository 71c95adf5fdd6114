"""``/links``, ``/mappings``, ``/apps``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ..core.librarian import Librarian
from ..core.linking import Link, LinkChoice, LinkState, Plan, SyncResult
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


def uninstall(librarian: Librarian, app: str) -> SyncResult:
    """Remove all links of an app, and nothing else."""
    return librarian.links.uninstall(app)
