"""``/inspect``, ``/imports``, ``/browse``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ..core.importing import ImportRequest, Inspection
from ..core.librarian import Librarian
from ..core.services.reports import BrowseReport
from .endpoints import JobAccepted


class InspectRequest(BaseModel):
    """Full paths of files and folders on the server."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(min_length=1, max_length=1000)


class BrowseQuery(BaseModel):
    """The folder to list; none lists the allowed roots."""

    path: str | None = None


def inspect(librarian: Librarian, body: InspectRequest) -> Inspection:
    """Say what files are, before importing them."""
    return librarian.imports.inspect(body.paths)


def import_models(librarian: Librarian, body: ImportRequest) -> JobAccepted:
    """Import models."""
    return JobAccepted(job=librarian.imports.start(body))


def browse(librarian: Librarian, query: BrowseQuery) -> BrowseReport:
    """List a folder inside the allowed roots."""
    return librarian.imports.browse(query.path)
