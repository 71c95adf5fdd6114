from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import InvalidRequestError, LibrarianError
from ..library import Library
from ..loop import LoopThread
from ..sources import Lookup, LookupCandidate, LookupResult
from .models import Models
from .reports import ModelDetails

HASH_FOR_LOOKUP_BYTES = 2 * 1024**3
"""A lookup reads files up to this size to know their hash; larger ones are looked up by name first."""


class Lookups:
    """Asking what a file is, and taking over the answer."""

    def __init__(self, lookup: Lookup, loop: LoopThread, library: Library, models: Models) -> None:
        self._lookup = lookup
        self._loop = loop
        self._library = library
        self._models = models

    def find(
        self, *, model_id: str | None = None, filename: str | None = None, sha256: str | None = None
    ) -> LookupResult:
        """Ask Hugging Face what a model or file is. Raises `NotFoundError` for an unknown model."""
        size: int | None = None
        if model_id is not None:
            model = self._library.model(model_id)
            file = self._library.files(model_id)[0]
            filename, sha256, size = Path(file.path).name, file.sha256, file.size
            if model.files:
                filename = model.files[0].original_name or filename
            if sha256 is None and size <= HASH_FOR_LOOKUP_BYTES:
                with suppress(LibrarianError):
                    sha256 = self._library.hash_of(model_id)[0]
        if not filename:
            raise InvalidRequestError("Name the model or the file to look up.")
        return self._loop.run(self._lookup.find(filename, sha256, size))

    def apply(self, model_id: str, candidate: LookupCandidate) -> ModelDetails:
        """Take over what a candidate says of a model; the person chose it, so it is now manual."""
        model = self._library.model(model_id)
        changes: dict[str, Any] = {
            "repo_id": candidate.repo_id,
            "download_url": candidate.download_url or "",
            "match_method": candidate.match_method,
            "match_confidence": candidate.match_confidence,
            "hash_mismatch": candidate.hash_mismatch,
            "match_source": "manual",
            "pending_online_lookup": False,
            "tags": list(dict.fromkeys([*model.tags, *candidate.tags])),
        }
        if candidate.base_model and not model.base_model:
            changes["base_model"] = candidate.base_model
        self._library.update(model_id, changes)
        return self._models.details(model_id)
