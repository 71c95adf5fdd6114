"""``/resolve``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..core.librarian import Librarian
from ..core.workflows import ModelReference, Resolution


class ResolveRequest(BaseModel):
    """Models as workflows name them, or a whole workflow in either of ComfyUI's formats."""

    model_config = ConfigDict(extra="forbid")

    references: list[ModelReference] = Field(default_factory=list, max_length=10_000)
    workflow: dict[str, Any] | None = None
    app: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ResolveRequest:
        if bool(self.references) == (self.workflow is not None):
            raise ValueError("Give either references or a workflow.")
        return self


class ResolveResult(BaseModel):
    """One result for each reference, in their order."""

    results: list[Resolution]


def resolve(librarian: Librarian, body: ResolveRequest) -> ResolveResult:
    """Say where the models are that a workflow wants."""
    if body.workflow is not None:
        return ResolveResult(results=librarian.workflows.resolve_workflow(body.workflow, body.app))
    return ResolveResult(results=librarian.workflows.resolve(body.references, body.app))
