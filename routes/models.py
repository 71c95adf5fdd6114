"""``/models``, ``/facets``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, RootModel

from ..core.librarian import FileFate, Librarian
from ..core.library import Facets, ModelQuery, SearchResult
from ..core.reports import DeleteReport, ModelDetails
from .endpoints import Endpoints

endpoints = Endpoints()


class ModelChange(RootModel[dict[str, Any]]):
    """Fields to change, by name."""


class DeleteQuery(BaseModel):
    """What becomes of the files; a link's target is never touched."""

    files: FileFate = "trash"


@endpoints.add("GET", "/models")
def search(librarian: Librarian, query: ModelQuery) -> SearchResult:
    """Search or list models."""
    return librarian.search(query)


@endpoints.add("GET", "/facets")
def facets(librarian: Librarian, query: ModelQuery) -> Facets:
    """Count models per type, family and so on."""
    return librarian.facets(query)


@endpoints.add("GET", "/models/{model_id:.+}")
def details(librarian: Librarian, model_id: str) -> ModelDetails:
    """Everything known of one model."""
    return librarian.details(model_id)


@endpoints.add("PATCH", "/models/{model_id:.+}")
def edit(librarian: Librarian, model_id: str, body: ModelChange) -> ModelDetails:
    """Edit a model; it is then manual."""
    return librarian.edit(model_id, body.root)


@endpoints.add("DELETE", "/models/{model_id:.+}")
def delete(librarian: Librarian, model_id: str, query: DeleteQuery) -> DeleteReport:
    """Delete a model: links, registry rows, files."""
    return librarian.delete(model_id, query.files)
