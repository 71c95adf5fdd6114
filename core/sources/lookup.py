from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from ..errors import InvalidRequestError
from ..network import UNREACHABLE, BadAnswerError, HttpStatusError, NetworkError
from .huggingface import HuggingFace
from .matching import WORTH_SHOWING, Match, best_match, normalized, queries
from .records import HubFile, HubFiles, HubModel, HubSearch, LookupCandidate, LookupResult

MOST_CALLS = 4
CANDIDATES = 5
CHECKED = 2
_DEADLINE_S = 7.0
_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class Lookup:
    """Asks Hugging Face what a file is.

    Searches by the cleaned name (and once more, more loosely, when no repository has a file of that
    name), takes the five best, and compares hashes with the two best of them. At most four calls.

    Args:
        hub: Hugging Face.
        clock: Monotonic seconds.
    """

    def __init__(self, hub: HuggingFace, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._clock = clock

    async def find(
        self,
        filename: str,
        sha256: str | None = None,
        size: int | None = None,
        *,
        deadline_s: float = _DEADLINE_S,
    ) -> LookupResult:
        """Candidates for a file, surest first.

        Without the network there is the last remembered answer, or none, and ``offline`` is set: asking
        again later makes sense.

        Args:
            filename: Its name; folders before it help where the name tells nothing.
            sha256: 64 hexadecimal digits, where known.
            size: Bytes, where known.
            deadline_s: Seconds until there is an answer, all calls together.

        Raises:
            InvalidRequestError: ``sha256`` is none.
            BadAnswerError: The host's answer makes no sense.
            HttpStatusError: The host refuses to be searched.
        """
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise InvalidRequestError("A SHA-256 has 64 hexadecimal digits.")
        search = _Search(self._hub, filename, sha256, size, lambda: until - self._clock())
        until = self._clock() + deadline_s
        return await search.run()


class _Search:
    def __init__(
        self,
        hub: HuggingFace,
        filename: str,
        sha256: str | None,
        size: int | None,
        left: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._filename = filename
        self._sha256 = sha256
        self._size = size
        self._left = left
        self._answers: list[HubSearch | HubFiles] = []
        self._problem: NetworkError | None = None

    async def run(self) -> LookupResult:
        models = await self._repositories()
        rated = sorted(
            ((self._match(model, _listed(model)), model) for model in models), key=_rank, reverse=True
        )[:CANDIDATES]
        checked = await asyncio.gather(*(self._checked(model) for _, model in rated[:CHECKED]))
        found = [
            (self._match(model, files) if files is not None else match, model)
            for (match, model), files in zip(rated, [*checked, *[None] * CANDIDATES], strict=False)
        ]
        found.sort(key=_rank, reverse=True)
        candidates = [
            self._candidate(model, match) for match, model in found if match.confidence >= WORTH_SHOWING
        ]
        return LookupResult(
            found=bool(candidates),
            candidates=candidates,
            cached=bool(self._answers) and all(answer.cached for answer in self._answers),
            stale=any(answer.stale for answer in self._answers),
            offline=self._problem is not None or any(answer.offline for answer in self._answers),
            calls=sum(answer.calls for answer in self._answers),
            retry_after_s=getattr(self._problem, "retry_after_s", None),
        )

    async def _repositories(self) -> list[HubModel]:
        found: dict[str, HubModel] = {}
        for query in queries(self._filename)[: MOST_CALLS - CHECKED]:
            try:
                answer = await self._hub.search(query, limit=20, deadline_s=max(self._left(), 0.0))
            except NetworkError as exc:
                if not _is_outage(exc):
                    raise
                self._problem = exc
                break
            self._answers.append(answer)
            for model in answer.models:
                found.setdefault(model.repo_id, model)
            if any(self._has_name(model) for model in found.values()):
                break
        return list(found.values())

    async def _checked(self, model: HubModel) -> list[HubFile] | None:
        """The repository's files with their hashes, or None when they cannot be had."""
        try:
            answer = await self._hub.files(model.repo_id, model.revision, deadline_s=max(self._left(), 0.0))
        except (*UNREACHABLE, HttpStatusError, BadAnswerError) as exc:
            if _is_outage(exc):
                self._problem = exc
            return None
        self._answers.append(answer)
        return answer.files if answer.complete else [*answer.files, *_missing(model, answer.files)]

    def _has_name(self, model: HubModel) -> bool:
        return any(normalized(path) == normalized(self._filename) for path in model.file_names)

    def _match(self, model: HubModel, files: list[HubFile]) -> Match:
        return best_match(self._filename, model.repo_id, files, self._sha256, self._size)

    def _candidate(self, model: HubModel, match: Match) -> LookupCandidate:
        file = match.file
        return LookupCandidate(
            provider=model.provider,
            repo_id=model.repo_id,
            revision=model.revision,
            file_name=file.path if file else None,
            official_name=model.repo_id.rpartition("/")[2],
            author=model.author,
            pipeline_tag=model.pipeline_tag,
            base_model=model.base_model,
            tags=model.tags,
            licence=model.licence,
            gated=model.gated,
            download_url=self._hub.download_url(model.repo_id, model.revision, file.path) if file else None,
            size=file.size if file else None,
            sha256=file.sha256 if file else None,
            match_method=match.method,
            match_confidence=match.confidence,
            requires_confirmation=match.requires_confirmation,
            hash_mismatch=match.hash_mismatch,
            page_url=model.page_url,
        )


def _is_outage(exc: NetworkError) -> bool:
    """Whether the host, not the question, is the problem."""
    return isinstance(exc, UNREACHABLE) or (isinstance(exc, HttpStatusError) and exc.status >= 500)


def _listed(model: HubModel) -> list[HubFile]:
    return [HubFile(path=path) for path in model.file_names]


def _missing(model: HubModel, known: list[HubFile]) -> list[HubFile]:
    paths = {file.path for file in known}
    return [file for file in _listed(model) if file.path not in paths]


def _rank(rated: tuple[Match, HubModel]) -> tuple[float, int]:
    match, model = rated
    return match.confidence, model.downloads
