from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from ..errors import InvalidRequestError
from ..network import UNREACHABLE, HttpStatusError, NetworkError
from .civitai import MOST_HASHES, Civitai, file_with
from .huggingface import HuggingFace
from .matching import WORTH_SHOWING, Match, best_match, is_everybodys, loose_query, normalized, queries
from .records import (
    HubFile,
    HubFiles,
    HubModel,
    HubSearch,
    LookupCandidate,
    LookupResult,
    Provider,
    SourceProblem,
)
from .text import safe_path

MOST_CALLS = 4
CANDIDATES = 5
CHECKED = 2
PUBLISHERS = ("Comfy-Org", "Kijai", "comfyanonymous")
"""Who publishes most of the files that ComfyUI's workflows name, in repositories that are named otherwise."""

_DEADLINE_S = 7.0
_FOUND = 40
_PATIENCE_S = 1.0
"""How long the search by name waits for what Civitai knows, which would save calls."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)

Answered = TypeVar("Answered", HubSearch, HubFiles)


class Lookup:
    """Asks Hugging Face and Civitai what a file is.

    Civitai knows files by their hash. Hugging Face is searched by the cleaned name; where no repository
    found has a file of that name, those of `PUBLISHERS` and of a looser search are looked at. The five best
    are taken, and hashes compared with the two best of them. At most four calls, remembered answers aside.

    Args:
        hub: Hugging Face.
        civitai: Civitai, or None to leave it out.
        clock: Monotonic seconds.
    """

    def __init__(
        self, hub: HuggingFace, civitai: Civitai | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hub = hub
        self._civitai = civitai
        self._clock = clock

    async def find(
        self,
        filename: str,
        sha256: str | None = None,
        size: int | None = None,
        *,
        by_hash: bool = True,
        deadline_s: float = _DEADLINE_S,
    ) -> LookupResult:
        """Candidates for a file, surest first.

        Without the network there is the last remembered answer, or none, and ``offline`` is set: asking
        again later makes sense.

        Args:
            filename: Its name; folders before it help where the name tells nothing.
            sha256: 64 hexadecimal digits, where known.
            size: Bytes, where known.
            by_hash: False where `known_hashes` has asked Civitai already.
            deadline_s: Seconds until there is an answer, all calls together.

        Raises:
            InvalidRequestError: ``sha256`` is none.
            BadAnswerError: No host's answer makes sense.
            HttpStatusError: Every host refuses to answer.
        """
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise InvalidRequestError("A SHA-256 has 64 hexadecimal digits.")
        until = self._clock() + deadline_s
        search = _Search(
            self._hub,
            self._civitai if by_hash else None,
            filename,
            sha256.lower() if sha256 is not None else None,
            size,
            lambda: until - self._clock(),
        )
        return await search.run()

    async def known_hashes(
        self, digests: Sequence[str], *, deadline_s: float = _DEADLINE_S
    ) -> dict[str, LookupCandidate]:
        """What Civitai knows of up to 100 files by their SHA-256, in one call; the others are left out.

        Raises:
            NetworkError: It could not be asked, or did not answer well.
        """
        if self._civitai is None:
            return {}
        wanted = [digest.lower() for digest in digests[:MOST_HASHES]]
        found = await self._civitai.by_hashes(wanted, deadline_s=deadline_s)
        return {
            digest: candidate_of(model, Match(file_with(model.files, digest), "hash", 1.0), digest)
            for digest, model in found.items()
        }

    @property
    def hub_url(self) -> str:
        """The address of the host without which a lookup cannot tell much."""
        return self._hub.base_url

    def download_url(self, candidate: LookupCandidate) -> str:
        """Where a candidate's file is, made here from what names it; empty where there is no such file.

        Raises `InvalidRequestError` for names that are none.
        """
        if candidate.file_name is None:
            return ""
        if candidate.provider == "civitai":
            known = candidate.download_url or ""
            return self._civitai.file_url(candidate.revision, known) if self._civitai is not None else ""
        path = safe_path(candidate.file_name)
        if path is None:
            raise InvalidRequestError("This is not the name of a file in a repository.")
        return self._hub.download_url(candidate.repo_id, candidate.revision, path)


class _Search:
    def __init__(
        self,
        hub: HuggingFace,
        civitai: Civitai | None,
        filename: str,
        sha256: str | None,
        size: int | None,
        left: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._civitai = civitai
        self._filename = filename
        self._sha256 = sha256
        self._size = size
        self._left = left
        self._calls = 0
        self._well_known: set[str] = set()
        self._answers: list[HubSearch | HubFiles] = []
        self._problems: dict[Provider, NetworkError] = {}

    async def run(self) -> LookupResult:
        by_hash = asyncio.ensure_future(self._by_hash())
        try:
            found = await self._rated(await self._repositories(by_hash))
            exact = await by_hash
        finally:
            by_hash.cancel()
        refused = [exc for exc in self._problems.values() if not is_outage(exc)]
        if refused and not self._answers and len(refused) == len(self._problems):
            raise refused[0]
        found = sorted([*exact, *found], key=_rank, reverse=True)
        candidates = [
            candidate_of(model, match, self._sha256)
            for match, model in found
            if match.confidence >= WORTH_SHOWING
        ]
        outages = [exc for exc in self._problems.values() if is_outage(exc)]
        waits = [exc.retry_after_s for exc in outages if hasattr(exc, "retry_after_s")]
        return LookupResult(
            found=bool(candidates),
            candidates=candidates[:CANDIDATES],
            cached=bool(self._answers) and all(answer.cached for answer in self._answers),
            stale=any(answer.stale for answer in self._answers),
            offline=bool(outages) or any(answer.offline for answer in self._answers),
            calls=self._calls,
            retry_after_s=max(waits, default=None),
            problems=[problem_of(provider, exc) for provider, exc in self._problems.items()],
        )

    async def _by_hash(self) -> list[tuple[Match, HubModel]]:
        if self._civitai is None or self._sha256 is None:
            return []
        asked = self._civitai.by_hash(self._sha256, deadline_s=max(self._left(), 0.0))
        answer = await self._asked("civitai", asked)
        models = answer.models if answer is not None else []
        return [(Match(file_with(model.files, self._sha256), "hash", 1.0), model) for model in models]

    async def _repositories(self, by_hash: asyncio.Future[list[tuple[Match, HubModel]]]) -> list[HubModel]:
        """Repositories that may have the file; as soon as one has a file of its name, no more are searched."""
        found: dict[str, HubModel] = {}
        searches = queries(self._filename)
        for query in searches[:1]:
            await self._search(query, found)
        looser = loose_query(self._filename)
        steps: list[Callable[[], Awaitable[None]]] = []
        if not is_everybodys(self._filename):
            steps = [partial(self._look_through, author, found) for author in PUBLISHERS]
        if looser:
            steps.insert(1, partial(self._search, looser, found))
        for step in steps:
            if await self._may_search_on(found, by_hash):
                await step()
        return list(found.values())

    async def _may_search_on(
        self, found: Mapping[str, HubModel], by_hash: asyncio.Future[list[tuple[Match, HubModel]]]
    ) -> bool:
        """Whether there is a reason to search on, and a call left for it, after one to check what was found."""
        await asyncio.wait({by_hash}, timeout=min(_PATIENCE_S, max(self._left(), 0.0)))
        exact = by_hash.done() and by_hash.result()
        reason = not exact and not self._has_name(found.values())
        return reason and "huggingface" not in self._problems and self._calls + bool(found) < MOST_CALLS

    async def _look_through(self, author: str, found: dict[str, HubModel]) -> None:
        """Add a publisher's repositories that have a file of this name."""
        asked = self._hub.published_by(author, deadline_s=max(self._left(), 0.0))
        answer = await self._asked("huggingface", asked)
        for model in answer.models if answer is not None else ():
            if self._has_name([model]):
                self._well_known.add(model.repo_id)
                found.setdefault(model.repo_id, model)

    async def _search(self, query: str, found: dict[str, HubModel]) -> None:
        asked = self._hub.search(query, limit=_FOUND, deadline_s=max(self._left(), 0.0))
        answer = await self._asked("huggingface", asked)
        for model in answer.models if answer is not None else ():
            found.setdefault(model.repo_id, model)

    async def _rated(self, models: Sequence[HubModel]) -> list[tuple[Match, HubModel]]:
        """The best repositories; the two best, as far as calls are left, by the hashes of their files."""
        rated = sorted(
            ((self._match(model, self._listed(model)), model) for model in models), key=_rank, reverse=True
        )[:CANDIDATES]
        checks = min(CHECKED, MOST_CALLS - self._calls)
        checked = await asyncio.gather(*(self._checked(model) for _, model in rated[:checks]))
        return [
            (self._match(model, files) if files is not None else match, model)
            for (match, model), files in zip(rated, [*checked, *[None] * CANDIDATES], strict=False)
        ]

    async def _checked(self, model: HubModel) -> list[HubFile] | None:
        """The repository's files with their hashes, or None when they cannot be had."""
        asked = self._hub.files(model.repo_id, model.revision, deadline_s=max(self._left(), 0.0))
        answer = await self._asked("huggingface", asked, needed=False)
        if answer is None:
            return None
        known = {file.path for file in answer.files}
        missing = [] if answer.complete else [f for f in self._listed(model) if f.path not in known]
        return [*answer.files, *missing]

    def _listed(self, model: HubModel) -> list[HubFile]:
        """The files that came with the description of a repository, which tells their names only."""
        return [
            HubFile(path=path, download_url=self._hub.download_url(model.repo_id, model.revision, path))
            for path in model.file_names
        ]

    async def _asked(
        self, provider: Provider, asked: Awaitable[Answered], *, needed: bool = True
    ) -> Answered | None:
        """An answer, or None, and why there is none is kept; of what is not needed only that a host is out."""
        self._calls += 1
        try:
            answer = await asked
        except NetworkError as exc:
            if needed or is_outage(exc):
                self._problems[provider] = exc
            return None
        self._calls += answer.calls - 1
        self._answers.append(answer)
        return answer

    def _has_name(self, models: Iterable[HubModel]) -> bool:
        wanted = normalized(self._filename)
        return any(normalized(path) == wanted for model in models for path in model.file_names)

    def _match(self, model: HubModel, files: list[HubFile]) -> Match:
        match = best_match(self._filename, model.repo_id, files, self._sha256, self._size)
        if match.confidence < WORTH_SHOWING and model.repo_id in self._well_known:
            # Of a name that everybody uses, theirs is the likeliest; a hash may still prove it.
            return replace(match, confidence=WORTH_SHOWING)
        return match


def candidate_of(model: HubModel, match: Match, sha256: str | None = None) -> LookupCandidate:
    """A model of a host as what a file may be; ``sha256`` is the file's own, where it is known."""
    file = match.file
    return LookupCandidate(
        provider=model.provider,
        repo_id=model.repo_id,
        revision=model.revision,
        file_name=file.path if file else None,
        official_name=" - ".join(filter(None, (model.name, model.version))),
        author=model.author,
        kind=model.kind,
        pipeline_tag=model.pipeline_tag,
        base_model=model.base_model,
        tags=model.tags,
        trained_words=model.trained_words,
        description=model.description,
        licence=model.licence,
        gated=model.gated,
        nsfw=model.nsfw,
        nsfw_level=model.nsfw_level,
        preview_url=model.preview_url,
        preview_nsfw_level=model.preview_nsfw_level,
        download_url=file.download_url if file else None,
        size=file.size if file else None,
        sha256=sha256 if match.method == "hash" else file.sha256 if file else None,
        match_method=match.method,
        match_confidence=match.confidence,
        requires_confirmation=match.requires_confirmation,
        hash_mismatch=match.hash_mismatch,
        page_url=model.page_url,
    )


def problem_of(provider: Provider, error: NetworkError) -> SourceProblem:
    """Why a provider's part is missing, as the doors tell it."""
    return SourceProblem(provider=provider, code=error.code, message=error.message)


def is_outage(exc: NetworkError) -> bool:
    """Whether the host, not the question, is the problem."""
    return isinstance(exc, UNREACHABLE) or (isinstance(exc, HttpStatusError) and exc.status >= 500)


def _rank(rated: tuple[Match, HubModel]) -> tuple[float, int]:
    match, model = rated
    return match.confidence, model.downloads
