from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..library import Library
from ..linking import Linker
from ..workflows import ModelReference, Resolution, Resolver, references_in
from .models import Models


class Workflows:
    """Which models a workflow wants, and whether an app has them."""

    def __init__(self, library: Library, linker: Linker, models: Models) -> None:
        self._library = library
        self._linker = linker
        self._models = models

    def resolve(self, references: Sequence[ModelReference], app: str | None = None) -> list[Resolution]:
        """Find models for an app, by default the first one, which inside ComfyUI is that ComfyUI.

        Raises `NotFoundError` for an unknown app.
        """
        apps = self._linker.apps
        chosen = self._linker.app(app) if app else apps[0] if apps else None

        def linked_at(model_id: str) -> list[Path]:
            links = self._linker.registry.links(model_ids=[model_id], app=chosen.app if chosen else None)
            return [Path(link.target) for link in links]

        resolver = Resolver(self._library, chosen, linked_at, self._models.identify)
        return [resolver.resolve(reference) for reference in references]

    def resolve_workflow(self, workflow: Any, app: str | None = None) -> list[Resolution]:
        """The same for every model that a workflow names. Raises `InvalidRequestError`."""
        return self.resolve(references_in(workflow), app)
