"""``/models``, ``/facets``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, RootModel

from ..core.librarian import Librarian
from ..core.library import DuplicateReport, Facets, ModelQuery, SearchResult, StorageReport
from ..core.services.removal import FileFate
from ..core.services.reports import DeleteReport, ModelDetails


class ModelChange(RootModel[dict[str, Any]]):
    """Fields to change, by name."""


class DeleteQuery(BaseModel):
    """What becomes of the files; a link's target is never touched."""

    files: FileFate = "trash"


def search(librarian: Librarian, query: ModelQuery) -> SearchResult:
    """Search or list models."""
    return librarian.models.search(query)


def facets(librarian: Librarian, query: ModelQuery) -> Facets:
    """Count models per type, family and so on."""
    return librarian.models.facets(query)


def details(librarian: Librarian, model_id: str) -> ModelDetails:
    """Everything known of one model."""
    return librarian.models.details(model_id)


def edit(librarian: Librarian, model_id: str, body: ModelChange) -> ModelDetails:
    """Edit a model; it is then manual."""
    return librarian.models.edit(model_id, body.root)


def delete(librarian: Librarian, model_id: str, query: DeleteQuery) -> DeleteReport:
    """Delete a model: links, registry rows, files."""
    return librarian.models.delete(model_id, query.files)


def duplicates(librarian: Librarian) -> DuplicateReport:
    """Files with the same bytes."""
    return librarian.models.duplicates()


def storage(librarian: Librarian) -> StorageReport:
    """How much room the models take, and where."""
    return librarian.models.storage()
