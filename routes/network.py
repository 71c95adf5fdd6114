"""``/lookup``, ``/remote``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..core.librarian import Librarian
from ..core.services.reports import ModelDetails
from ..core.sources import HubFiles, LookupCandidate, LookupResult, Provider, RemoteResult
from .endpoints import JobAccepted


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


class RetryRequest(BaseModel):
    """Nothing."""


class RemoteQuery(BaseModel):
    """What is searched for, and where: everywhere by default, and then as many of each provider."""

    q: str = Field(default="", max_length=1000)
    provider: Provider | None = None
    limit: int = Field(default=20, ge=1, le=100)


class RemoteFilesQuery(BaseModel):
    """A repository, as ``/remote`` names it."""

    provider: Provider
    repo_id: str = Field(min_length=1, max_length=200)
    revision: str = Field(default="main", min_length=1, max_length=200)


def lookup(librarian: Librarian, body: LookupRequest) -> LookupResult:
    """Ask Hugging Face and Civitai what a file is."""
    return librarian.lookups.find(model_id=body.model_id, filename=body.filename, sha256=body.sha256)


def apply_candidate(librarian: Librarian, body: ApplyRequest) -> ModelDetails:
    """Take over what a candidate says."""
    return librarian.lookups.apply(body.model_id, body.candidate)


def retry(librarian: Librarian, body: RetryRequest) -> JobAccepted:
    """Ask again about every model that waits for a lookup."""
    return JobAccepted(job=librarian.lookups.retry())


def remote(librarian: Librarian, query: RemoteQuery) -> RemoteResult:
    """Models that Hugging Face and Civitai have; what is remembered at once, and fresh behind it."""
    return librarian.lookups.remote(query.q, query.provider, query.limit)


def remote_files(librarian: Librarian, query: RemoteFilesQuery) -> HubFiles:
    """The files of a repository at its host, with their sizes."""
    return librarian.lookups.remote_files(query.provider, query.repo_id, query.revision)
