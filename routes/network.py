"""``/lookup``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..core.librarian import Librarian
from ..core.services.reports import ModelDetails
from ..core.sources import LookupCandidate, LookupResult


class LookupRequest(BaseModel):
    """A model of the library, or a file's name with its SHA-256 where that is known."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: str | None = None
    filename: str | None = Field(default=None, max_length=1024)
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")

    @model_validator(mode="after")
    def _names_something(self) -> LookupRequest:
        if not self.model_id and not self.filename:
            raise ValueError("give model_id or filename")
        return self


class ApplyRequest(BaseModel):
    """The candidate that the person chose for a model."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: str
    candidate: LookupCandidate


def lookup(librarian: Librarian, body: LookupRequest) -> LookupResult:
    """Ask Hugging Face what a file is."""
    return librarian.lookups.find(model_id=body.model_id, filename=body.filename, sha256=body.sha256)


def apply_candidate(librarian: Librarian, body: ApplyRequest) -> ModelDetails:
    """Take over what a candidate says."""
    return librarian.lookups.apply(body.model_id, body.candidate)
