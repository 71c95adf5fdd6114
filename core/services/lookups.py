from __future__ import annotations

from contextlib import suppress

from ..errors import InvalidRequestError, LibrarianError
from ..jobs import Job
from ..library import Library
from ..library.index import IndexedFile
from ..loop import LoopThread
from ..sources import HubFiles, Lookup, LookupCandidate, LookupResult, Provider, Remote, RemoteResult
from .matches import changes_of, name_for_lookup, proven
from .models import Models
from .pending import PendingLookups
from .reports import ModelDetails

HASH_FOR_LOOKUP_BYTES = 2 * 1024**3
"""A lookup reads files up to this size to know their hash; larger ones are looked up by name first."""


class Lookups:
    """Asking what a file is, taking over the answer, and searching the hosts."""

    def __init__(
        self,
        lookup: Lookup,
        remote: Remote,
        loop: LoopThread,
        library: Library,
        models: Models,
        pending: PendingLookups,
    ) -> None:
        self._lookup = lookup
        self._remote = remote
        self._loop = loop
        self._library = library
        self._models = models
        self.pending = pending

    def find(
        self, *, model_id: str | None = None, filename: str | None = None, sha256: str | None = None
    ) -> LookupResult:
        """Ask Hugging Face and Civitai what a model or file is.

        That nobody knows a model is written down with its time; what a person edited stays as it is.

        Raises `NotFoundError` for an unknown model.
        """
        size: int | None = None
        if model_id is not None:
            file = self._hashed(model_id)[0]
            filename = name_for_lookup(self._library.model(model_id), file)
            sha256, size = file.sha256, file.size
        if not filename:
            raise InvalidRequestError("Name the model or the file to look up.")
        result = self._loop.run(self._lookup.find(filename, sha256, size))
        if model_id is not None and not result.found and not result.offline and not result.problems:
            with suppress(LibrarianError):  # edited or gone meanwhile, or its drive only reads
                self.pending.note_nothing_found(model_id)
        return result

    def apply(self, model_id: str, candidate: LookupCandidate) -> ModelDetails:
        """Take over what a candidate says of a model; the person chose it, so it is now manual.

        A candidate that was shown before the hash was known is compared now: the same bytes make it ``hash``,
        others a mismatch of confidence 0.7 at most.
        """
        known = proven(candidate, self._hashed(model_id))
        model = self._library.model(model_id)
        self._library.update(
            model_id, changes_of(model, known, self._lookup.download_url(known), chosen=True)
        )
        return self._models.details(model_id)

    def retry(self) -> Job:
        """Ask again about every model that waits for a lookup, and hosts that are left alone."""
        return self.pending.retry()

    def remote(self, query: str, provider: Provider | None = None, limit: int = 20) -> RemoteResult:
        """Models that the hosts have."""
        return self._loop.run(self._remote.search(query, provider=provider, limit=limit))

    def remote_files(self, provider: Provider, repo_id: str, revision: str = "main") -> HubFiles:
        """The files of a repository there, with their sizes. Raises as `Remote.files`."""
        return self._loop.run(self._remote.files(provider, repo_id, revision))

    def _hashed(self, model_id: str) -> list[IndexedFile]:
        """A model's files, the main one hashed unless that takes long. Raises `NotFoundError`."""
        files = self._library.files(model_id)
        if not files:
            raise InvalidRequestError(f"{model_id!r} has no files to look up.")
        if files[0].sha256 is None and files[0].size <= HASH_FOR_LOOKUP_BYTES:
            with suppress(LibrarianError):
                self._library.hash_of(model_id)
                return self._library.files(model_id)
        return files
