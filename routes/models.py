"""``/models``, ``/facets``, ``/duplicates``, ``/storage``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from ..core.importing.sharing import SharePlan, ShareRequest
from ..core.librarian import Librarian
from ..core.library import BulkEdit, DuplicateReport, Facets, ModelQuery, SearchResult, StorageReport
from ..core.library.edits import MAX_EDITED
from ..core.services.removal import FileFate
from ..core.services.reports import DeleteReport, ModelDetails, ShowReport
from .endpoints import JobAccepted


class ModelChange(RootModel[dict[str, Any]]):
    """Fields to change, by name."""


class BulkEditRequest(BulkEdit):
    """The same changes for many models."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_ids: list[str] = Field(min_length=1, max_length=MAX_EDITED)


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


def edit_many(librarian: Librarian, body: BulkEditRequest) -> JobAccepted:
    """Edit many models alike; each is then manual."""
    return JobAccepted(job=librarian.models.edit_many(body.model_ids, body))


def show(librarian: Librarian, model_id: str) -> ShowReport:
    """Open the folder of a model's file on the desktop of the machine that runs Librarian."""
    return librarian.models.show(model_id)


def delete(librarian: Librarian, model_id: str, query: DeleteQuery) -> DeleteReport:
    """Delete a model: links, registry rows, files."""
    return librarian.models.delete(model_id, query.files)


def duplicates(librarian: Librarian) -> DuplicateReport:
    """Files with the same bytes."""
    return librarian.models.duplicates()


def preview_sharing(librarian: Librarian, body: ShareRequest) -> SharePlan:
    """Say what storing equal files of the library once would do. Changes nothing."""
    return librarian.shares.preview(body)


def share(librarian: Librarian, body: ShareRequest) -> JobAccepted:
    """Store equal files of the library once: as clones, or as hard links if that is agreed to."""
    return JobAccepted(job=librarian.shares.start(body))


def storage(librarian: Librarian) -> StorageReport:
    """How much room the models take, and where."""
    return librarian.models.storage()
