from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import chain, zip_longest

from ..errors import NotAModelError
from ..formats.pipeline_files import files_of, variants_of
from ..formats.pipelines import MODEL_INDEX
from ..network import NetworkError
from .civitai import Civitai
from .huggingface import HuggingFace
from .lookup import is_outage, problem_of
from .records import HubFile, HubFiles, HubModel, HubPipeline, HubSearch, Provider, RemoteResult
from .text import plain_text

logger = logging.getLogger(__name__)

_DEADLINE_S = 7.0
_MOST_PIPELINES = 3
"""Diffusers folders that are looked into; hardly a repository has two."""

_MOST_NAMES = 100
"""Names of files that are told of each model; some repositories have thousands."""


class Remote:
    """Searches Hugging Face and Civitai for models.

    Remembered answers come at once, however old, while fresh ones are fetched in the background.
    """

    def __init__(self, hub: HuggingFace, civitai: Civitai) -> None:
        self._hub = hub
        self._sources: dict[Provider, HuggingFace | Civitai] = {"huggingface": hub, "civitai": civitai}

    async def search(
        self,
        query: str,
        *,
        provider: Provider | None = None,
        limit: int = 20,
        deadline_s: float = _DEADLINE_S,
    ) -> RemoteResult:
        """Models with these words; without the network what is remembered, or nothing and ``offline``.

        Args:
            query: Words; empty for the most downloaded models.
            provider: Where; everywhere by default, and then as many of each.
            limit: 1 to 100, of each provider.
            deadline_s: Seconds until there is an answer.

        Raises:
            BadAnswerError: No provider's answer makes sense.
            HttpStatusError: Every provider refuses to answer.
        """
        asked = [provider] if provider is not None else [*self._sources]
        answers = await asyncio.gather(
            *(self._sources[name].search(query, limit=limit, deadline_s=deadline_s) for name in asked),
            return_exceptions=True,
        )
        found: list[HubSearch] = []
        failed: dict[Provider, NetworkError] = {}
        for name, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NetworkError):
                failed[name] = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append(answer)
        outages = [error for error in failed.values() if is_outage(error)]
        if not found and not outages:
            raise next(iter(failed.values()))
        in_turn = chain.from_iterable(zip_longest(*(answer.models for answer in found)))
        waits = [error.retry_after_s for error in outages if hasattr(error, "retry_after_s")]
        return RemoteResult(
            models=[_brief(model) for model in in_turn if model is not None],
            cached=bool(found) and all(answer.cached for answer in found),
            stale=any(answer.stale for answer in found),
            offline=bool(outages) or any(answer.offline for answer in found),
            fetched_at=min((answer.fetched_at for answer in found if answer.fetched_at), default=None),
            retry_after_s=max(waits, default=None),
            problems=[problem_of(name, error) for name, error in failed.items()],
        )

    async def files(
        self, provider: Provider, repo_id: str, revision: str = "main", *, deadline_s: float = _DEADLINE_S
    ) -> HubFiles:
        """The files of a repository, with their sizes. Remembered for 24 hours.

        Raises:
            InvalidRequestError: ``repo_id`` is none.
            HttpStatusError: 401, 403 or 404, and so on.
            NetworkError: The provider cannot be asked, and nothing is remembered.
        """
        until = time.monotonic() + deadline_s
        listing = await self._sources[provider].files(repo_id, revision, deadline_s=deadline_s)
        if provider == "huggingface" and listing.complete:
            listing.pipelines = await self._pipelines(repo_id, revision, listing, until)
        return listing

    async def _pipelines(
        self, repo_id: str, revision: str, listing: HubFiles, until: float
    ) -> list[HubPipeline]:
        """The Diffusers folders among some files; those whose index cannot be had now are left out."""
        files = {file.path: file for file in listing.files}
        indexes = sorted(path for path in files if path.rpartition("/")[2] == MODEL_INDEX)
        found: dict[tuple[str, ...], HubPipeline] = {}
        for path in indexes[:_MOST_PIPELINES]:
            folder = path.rpartition("/")[0]
            try:
                left = max(0.0, until - time.monotonic())
                pipeline = await self._hub.model_index(repo_id, revision, path, deadline_s=left)
                for variant in variants_of(pipeline, files, folder):
                    names = files_of(pipeline, files, folder, variant)
                    found.setdefault(tuple(names), _pipeline(path, variant, [files[name] for name in names]))
            except (NetworkError, NotAModelError) as error:
                logger.info("%s of %s is not offered: %s", path, repo_id, error.message)
        return list(found.values())


def _pipeline(path: str, variant: str, files: Sequence[HubFile]) -> HubPipeline:
    sizes = [file.size for file in files]
    known = [size for size in sizes if size is not None]
    return HubPipeline(
        path=path,
        variant=variant,
        files=[file.path for file in files],
        size=sum(known) if len(known) == len(sizes) else None,
        pickle=any(file.path.endswith(".bin") for file in files),
    )


def _brief(model: HubModel) -> HubModel:
    """A model for a list: a repository may have thousands of files, and a long description."""
    return model.model_copy(
        update={
            "file_names": model.file_names[:_MOST_NAMES],
            "files": model.files[:_MOST_NAMES],
            "description": plain_text(model.description, 500),
        }
    )
