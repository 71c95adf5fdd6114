"""``/inspect``, ``/imports``, ``/browse``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..core.importing import ImportRequest, Inspection
from ..core.librarian import Librarian
from ..core.services.reports import BrowseReport
from .endpoints import JobAccepted


class InspectRequest(BaseModel):
    """Full paths of files and folders on the server, or ids of complete uploads."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(default_factory=list, max_length=1000)
    uploads: list[str] = Field(default_factory=list, max_length=10_000)

    @model_validator(mode="after")
    def _one_of_both(self) -> InspectRequest:
        if bool(self.paths) == bool(self.uploads):
            raise ValueError("Give either paths or uploads.")
        return self


class BrowseQuery(BaseModel):
    """The folder to list; none lists the allowed roots."""

    path: str | None = None


def inspect(librarian: Librarian, body: InspectRequest) -> Inspection:
    """Say what files are, before importing them."""
    if body.uploads:
        return librarian.imports.inspect_uploads(body.uploads)
    return librarian.imports.inspect(body.paths)


def import_models(librarian: Librarian, body: ImportRequest) -> JobAccepted:
    """Import models."""
    return JobAccepted(job=librarian.imports.start(body))


def browse(librarian: Librarian, query: BrowseQuery) -> BrowseReport:
    """List a folder inside the allowed roots."""
    return librarian.imports.browse(query.path)
