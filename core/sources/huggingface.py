from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import InvalidRequestError, NotAModelError
from ..formats.pipelines import Pipeline, pipeline_of
from ..network import Answer, Answers, BadAnswerError
from .records import HubFile, HubFiles, HubModel, HubSearch, RemoteChange
from .text import LONGEST_TEXT, counted, how, listed, plain_text, safe_path

ENDPOINT = "https://huggingface.co"
SEARCH_TTL_S = 600.0
FILES_TTL_S = 86_400.0

_MOST_FOUND = 100
_MOST_PUBLISHED = 500
_MOST_TAGS = 100
_MOST_FILES = 20_000
_LARGEST_SIZE = 2**53
# https://huggingface.co/docs/huggingface_hub: names of 1 to 96 letters, digits, "-", "_", "."
_REPO_ID = re.compile(r"[A-Za-z0-9_.-]{1,96}(?:/[A-Za-z0-9_.-]{1,96})?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}", re.ASCII)


class HuggingFace:
    """The public API of the Hugging Face Hub (https://huggingface.co/docs/hub/api).

    Args:
        answers: The way there.
        base_url: Address of the Hub or of a mirror; what ``HF_ENDPOINT`` names for other programs.
    """

    provider = "huggingface"

    def __init__(self, answers: Answers, base_url: str = ENDPOINT) -> None:
        self._answers = answers
        self._base = base_url.rstrip("/")

    @property
    def base_url(self) -> str:
        """Its address, without a ``/`` at the end."""
        return self._base

    async def search(self, query: str, *, limit: int = 20, deadline_s: float | None = None) -> HubSearch:
        """Repositories of models whose name or author has the query's words, most downloaded first.

        The Hub does not search names of files. Remembered for 10 minutes.

        Args:
            query: Words.
            limit: 1 to 100.
            deadline_s: Seconds until there is an answer or an error.

        Raises:
            NetworkError: The Hub could not be asked, and there is nothing to remember.
        """
        answer = await self._answers.get(
            f"{self._base}/api/models",
            {
                "search": query.strip()[:LONGEST_TEXT],
                "limit": max(1, min(limit, _MOST_FOUND)),
                "full": "true",
                "sort": "downloads",
            },
            shape=list,
            ttl_s=SEARCH_TTL_S,
            deadline_s=deadline_s,
            about=RemoteChange(provider="huggingface", q=query),
        )
        models = [model for item in answer.value[:limit] if (model := self._model(item)) is not None]
        return HubSearch(models=models, **how(answer))

    async def published_by(self, author: str, *, deadline_s: float | None = None) -> HubSearch:
        """The repositories of one publisher with the names of their files. Remembered for 24 hours.

        Args:
            author: The publisher, as written before the ``/``.
            deadline_s: Seconds until there is an answer or an error.

        Raises:
            NetworkError: As ``search``.
        """
        answer = await self._answers.get(
            f"{self._base}/api/models",
            {"author": author, "limit": _MOST_PUBLISHED, "full": "true", "sort": "downloads"},
            shape=list,
            ttl_s=FILES_TTL_S,
            deadline_s=deadline_s,
        )
        found = (self._model(item) for item in answer.value[:_MOST_PUBLISHED])
        models = [model for model in found if model is not None and model.author == author]
        return HubSearch(models=models, **how(answer))

    async def model(self, repo_id: str, *, deadline_s: float | None = None) -> HubModel:
        """One repository's description, with the names of its files.

        Raises:
            InvalidRequestError: ``repo_id`` is none.
            HttpStatusError: 401 or 404 for unknown and private ones.
            NetworkError: As ``search``.
        """
        answer = await self._answers.get(
            f"{self._base}/api/models/{_checked(repo_id)}",
            shape=dict,
            ttl_s=FILES_TTL_S,
            deadline_s=deadline_s,
            about=RemoteChange(provider="huggingface", repo_id=repo_id),
        )
        model = self._model(answer.value)
        if model is None:
            host = urlsplit(self._base).netloc
            raise BadAnswerError(host, "it describes no model")
        return model

    async def files(
        self, repo_id: str, revision: str = "main", *, calls: int = 1, deadline_s: float | None = None
    ) -> HubFiles:
        """The files of a repository with sizes and, for large ones, SHA-256. Remembered for 24 hours.

        Args:
            repo_id: The repository.
            revision: Branch, tag or commit.
            calls: Pages to ask for at most; the Hub gives up to 1,000 entries a page.
            deadline_s: Seconds for each page.

        Raises:
            InvalidRequestError: ``repo_id`` is none.
            HttpStatusError: 401, 403 or 404, and so on.
            NetworkError: As ``search``.
        """
        url: str | None = f"{self._base}/api/models/{_checked(repo_id)}/tree/{quote(revision, safe='')}"
        params: dict[str, str] | None = {"recursive": "true"}
        files: list[HubFile] = []
        pages: list[Answer] = []
        while url is not None and len(pages) < calls:
            page = await self._answers.get(
                url,
                params,
                shape=list,
                ttl_s=FILES_TTL_S,
                deadline_s=deadline_s,
                about=RemoteChange(provider="huggingface", repo_id=repo_id),
            )
            files.extend(
                file.model_copy(update={"download_url": self.download_url(repo_id, revision, file.path)})
                for file in _files(page.value)
            )
            pages.append(page)
            url, params = page.next_url, None
        return HubFiles(files=files[:_MOST_FILES], complete=url is None, **how(*pages))

    async def model_index(
        self, repo_id: str, revision: str, path: str, *, deadline_s: float | None = None
    ) -> Pipeline:
        """What the ``model_index.json`` at a path says. Remembered for 24 hours.

        Raises:
            InvalidRequestError: ``repo_id`` is none.
            BadAnswerError: It is no index of Diffusers.
            NetworkError: As ``search``.
        """
        answer = await self._answers.get(
            self.download_url(repo_id, revision, path), shape=dict, ttl_s=FILES_TTL_S, deadline_s=deadline_s
        )
        try:
            return pipeline_of(answer.value)
        except NotAModelError as error:
            raise BadAnswerError(urlsplit(self._base).netloc, error.message.rstrip(".")) from error

    def download_url(self, repo_id: str, revision: str, path: str) -> str:
        """Where a file's bytes are; answers with a redirect to the Hub's storage."""
        return f"{self._base}/{_checked(repo_id)}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def page_url(self, repo_id: str) -> str:
        """A repository's page for people."""
        return f"{self._base}/{_checked(repo_id)}"

    def _model(self, item: Any) -> HubModel | None:
        """One entry, or None for one that is not a model's; strange fields are left out."""
        if not isinstance(item, dict):
            return None
        repo_id = item.get("id") or item.get("modelId")
        if not isinstance(repo_id, str) or not _is_repo_id(repo_id):
            return None
        tags = [tag for tag in map(plain_text, listed(item.get("tags"))[:_MOST_TAGS]) if tag]
        card = item.get("cardData")
        card = card if isinstance(card, dict) else {}
        commit = item.get("sha")
        siblings = [entry for entry in listed(item.get("siblings")) if isinstance(entry, dict)]
        paths = (safe_path(entry.get("rfilename")) for entry in siblings[:_MOST_FILES])
        return HubModel(
            provider="huggingface",
            repo_id=repo_id,
            name=repo_id.rpartition("/")[2],
            author=plain_text(item.get("author")) or (repo_id.split("/")[0] if "/" in repo_id else ""),
            revision=commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else "main",
            pipeline_tag=plain_text(item.get("pipeline_tag")) or None,
            tags=tags,
            base_model=_first(card.get("base_model")) or _base_model(tags),
            licence=_first(card.get("license")) or _tagged(tags, "license:"),
            downloads=counted(item.get("downloads")),
            likes=counted(item.get("likes")),
            gated=bool(item.get("gated")),
            nsfw="not-for-all-audiences" in tags,
            file_names=[path for path in paths if path],
            page_url=self.page_url(repo_id),
        )


def _files(items: list[Any]) -> Iterable[HubFile]:
    for item in items:
        if not isinstance(item, dict) or item.get("type", "file") != "file":
            continue
        path = safe_path(item.get("path"))
        if path is None:
            continue
        lfs = item.get("lfs")
        lfs = lfs if isinstance(lfs, dict) else {}
        digest = lfs.get("oid") or lfs.get("sha256")
        digest = digest.removeprefix("sha256:") if isinstance(digest, str) else ""
        blob = item.get("oid")  # of a large file that of its pointer, which says nothing
        in_git = not lfs and isinstance(blob, str) and _GIT_SHA1.fullmatch(blob)
        yield HubFile(
            path=path,
            size=_size(lfs.get("size", item.get("size"))),
            sha256=digest.lower() if _SHA256.fullmatch(digest) else None,
            git_sha1=blob if in_git else None,
        )


def _is_repo_id(text: str) -> bool:
    return bool(_REPO_ID.fullmatch(text)) and not any(part.strip(".") == "" for part in text.split("/"))


def _checked(repo_id: str) -> str:
    if not _is_repo_id(repo_id):
        raise InvalidRequestError("A repository of Hugging Face is named author/name.")
    return repo_id


def _first(value: Any) -> str | None:
    return plain_text(value[0] if isinstance(value, list) and value else value) or None


def _tagged(tags: list[str], prefix: str) -> str | None:
    return next((tag[len(prefix) :] for tag in tags if tag.startswith(prefix)), None)


def _base_model(tags: list[str]) -> str | None:
    """From ``base_model:author/name``; ``base_model:finetune:author/name`` says the same again."""
    found = _tagged(tags, "base_model:")
    return found.rpartition(":")[2] if found else None


def _size(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _LARGEST_SIZE else None
