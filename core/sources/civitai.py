from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..errors import InvalidRequestError
from ..formats.sidecars import paragraphs
from ..network import Answer, Answers, BadAnswerError, raise_for_status, read_json
from .records import HubFile, HubFiles, HubModel, HubSearch, RemoteChange
from .text import LONGEST_TEXT, counted, how, listed, plain_text, safe_path

ENDPOINT = "https://civitai.com"
SEARCH_TTL_S = 600.0
VERSION_TTL_S = 86_400.0
MOST_HASHES = 100
"""How many hashes Civitai takes in one call."""

_MOST_FOUND = 100
_MOST_TAGS = 100
_MOST_WORDS = 50
_MOST_FILES = 200
_MOST_PICTURES = 50
_LONGEST_DESCRIPTION = 4000
_LARGEST_ID = 10**12
_BYTES_PER_KB = 1024
# SHA-256 and BLAKE3 whole, or AutoV2: the first ten digits of the SHA-256.
_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{10}", re.ASCII)
_WHOLE_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_PICTURES = re.compile(r"https://(?:[a-z0-9-]+\.)*civitai\.com/[^\s\"'<>\\]{1,500}", re.ASCII)
_QUERY = re.compile(r"[A-Za-z0-9=&%+._-]{1,500}", re.ASCII)
_UNSURE_LEVEL = 32
_NOT_FOR_EVERYONE = 4


class Civitai:
    """The public API of Civitai (https://developer.civitai.com/site/reference/).

    A model there has versions, and a version has files. Here a model's number is its ``repo_id``, and a
    version's number its ``revision``.

    Args:
        answers: The way there.
        base_url: Address of Civitai.
    """

    provider = "civitai"

    def __init__(self, answers: Answers, base_url: str = ENDPOINT) -> None:
        self._answers = answers
        self._base = base_url.rstrip("/")

    @property
    def base_url(self) -> str:
        """Its address, without a ``/`` at the end."""
        return self._base

    async def search(self, query: str, *, limit: int = 20, deadline_s: float | None = None) -> HubSearch:
        """Models with these words, each with its newest version. Remembered for 10 minutes.

        What is not for everyone is left out. Without words, the most downloaded ones.

        Args:
            query: Words.
            limit: 1 to 100.
            deadline_s: Seconds until there is an answer or an error.

        Raises:
            NetworkError: Civitai could not be asked, and there is nothing to remember.
        """
        words = query.strip()[:LONGEST_TEXT]
        params: dict[str, str | int | float | bool | None] = {"limit": max(1, min(limit, _MOST_FOUND))}
        params |= {"query": words} if words else {"sort": "Most Downloaded"}
        answer = await self._answers.get(
            f"{self._base}/api/v1/models",
            {**params, "nsfw": "false"},
            shape=dict,
            ttl_s=SEARCH_TTL_S,
            deadline_s=deadline_s,
            about=RemoteChange(provider="civitai", q=query),
        )
        items = answer.value.get("items")
        if not isinstance(items, list):
            raise BadAnswerError(self._host, "it lists no models")
        models = [model for item in items[:limit] if (model := self._model(item)) is not None]
        return HubSearch(models=models, **how(answer))

    async def by_hash(self, digest: str, *, deadline_s: float | None = None) -> HubSearch:
        """The version that has a file with this hash, or none. Remembered for 24 hours.

        Args:
            digest: SHA-256 or BLAKE3, or AutoV2 (the first ten digits of the SHA-256).
            deadline_s: Seconds until there is an answer or an error.

        Raises:
            InvalidRequestError: ``digest`` is none of these.
            NetworkError: As ``search``.
        """
        digest = digest.lower()
        if not _HASH.fullmatch(digest):
            raise InvalidRequestError("A hash has 64 hexadecimal digits, an AutoV2 hash 10.")
        answer = await self._answers.get(
            f"{self._base}/api/v1/model-versions/by-hash/{digest}",
            shape=dict,
            ttl_s=VERSION_TTL_S,
            deadline_s=deadline_s,
            or_nothing=True,
        )
        model = self._version(answer.value, {}) if answer.value is not None else None
        # Civitai lists no files of an archived model, but still knows whose the hash is.
        fits = model is not None and (not model.files or file_with(model.files, digest) is not None)
        return HubSearch(models=[model] if model is not None and fits else [], **how(answer))

    async def by_hashes(
        self, digests: Sequence[str], *, deadline_s: float | None = None
    ) -> dict[str, HubModel]:
        """The versions that have files with these SHA-256, by hash, in one call; not remembered.

        Args:
            digests: Up to 100 SHA-256.
            deadline_s: Seconds until there is an answer or an error.

        Raises:
            InvalidRequestError: Too many, or something else than a SHA-256 among them.
            HttpStatusError: Civitai refuses.
            NetworkError: It could not be asked.
        """
        wanted = [*dict.fromkeys(digest.lower() for digest in digests)]
        if len(wanted) > MOST_HASHES or not all(_WHOLE_HASH.fullmatch(digest) for digest in wanted):
            raise InvalidRequestError(f"Give up to {MOST_HASHES} SHA-256 of 64 hexadecimal digits.")
        if not wanted:
            return {}
        response = await self._answers.network.request(
            "POST",
            f"{self._base}/api/v1/model-versions/by-hash",
            headers={"Accept": "application/json"},
            json=[digest.upper() for digest in wanted],
            deadline_s=deadline_s,
        )
        raise_for_status(response)
        value = await read_json(response)
        if not isinstance(value, list):
            raise BadAnswerError(self._host, "it lists no versions")
        found: dict[str, HubModel] = {}
        for item in value[: 4 * MOST_HASHES]:
            model = self._version(item, {})
            for file in model.files if model is not None else ():
                if file.sha256 in wanted and model is not None:
                    found.setdefault(file.sha256, model)
        return found

    async def files(
        self, repo_id: str, revision: str = "", *, calls: int = 1, deadline_s: float | None = None
    ) -> HubFiles:
        """The files of a version with sizes and hashes. Remembered for 24 hours.

        Args:
            repo_id: The model's number.
            revision: The version's number; the newest where it is empty or ``main``.
            calls: One is enough.
            deadline_s: Seconds until there is an answer or an error.

        Raises:
            InvalidRequestError: One of the two is no number.
            HttpStatusError: 404 and so on.
            NetworkError: As ``search``.
        """
        model, answer = await self._described(repo_id, revision, deadline_s)
        return HubFiles(files=model.files, **how(answer))

    async def model(self, repo_id: str, revision: str = "", *, deadline_s: float | None = None) -> HubModel:
        """A version with its files. Remembered for 24 hours.

        Args:
            repo_id: The model's number; empty where only the version's is known.
            revision: The version's number; the newest where it is empty or ``main``.
            deadline_s: Seconds until there is an answer or an error.

        Raises as ``files``.
        """
        model, _ = await self._described(repo_id, revision, deadline_s)
        return model

    async def _described(
        self, repo_id: str, revision: str, deadline_s: float | None
    ) -> tuple[HubModel, Answer]:
        newest = revision in ("", "main")
        numbers = [repo_id, revision] if repo_id and not newest else [repo_id if newest else revision]
        for number in numbers:
            if not _NUMBER.fullmatch(number):
                raise InvalidRequestError("A model of Civitai, and a version, is named by its number.")
        answer = await self._answers.get(
            f"{self._base}/api/v1/models/{repo_id}" if newest else self._version_url(revision),
            shape=dict,
            ttl_s=VERSION_TTL_S,
            deadline_s=deadline_s,
            about=RemoteChange(provider="civitai", repo_id=repo_id or None),
        )
        model = self._model(answer.value) if newest else self._version(answer.value, {})
        if model is None or (repo_id and model.repo_id != repo_id):
            raise BadAnswerError(self._host, "it describes another model than was asked for")
        return model, answer

    def file_url(self, revision: str, known: str = "") -> str:
        """Where a version's main file is, or the file at ``known`` if that is one of that version.

        Raises `InvalidRequestError`: ``revision`` is no number.
        """
        if not _NUMBER.fullmatch(revision):
            raise InvalidRequestError("A version of Civitai is named by its number.")
        main = f"{self._base}/api/download/models/{revision}"
        of_version = known.startswith(f"{main}?") and _QUERY.fullmatch(known[len(main) + 1 :])
        return known if of_version else main

    def page_url(self, repo_id: str, revision: str) -> str:
        """A version's page for people."""
        return f"{self._base}/models/{repo_id}?modelVersionId={revision}"

    @property
    def _host(self) -> str:
        return urlsplit(self._base).netloc

    def _version_url(self, revision: str) -> str:
        return f"{self._base}/api/v1/model-versions/{revision}"

    def _model(self, item: Any) -> HubModel | None:
        """An entry of a search with its newest version, or None for one that is no model's."""
        if not isinstance(item, dict):
            return None
        versions = (entry for entry in listed(item.get("modelVersions")) if isinstance(entry, dict))
        found = (self._version({**entry, "modelId": item.get("id")}, item) for entry in versions)
        return next((model for model in found if model is not None), None)

    def _version(self, item: Any, model: Mapping[str, Any]) -> HubModel | None:
        """A version, or None for what is none; strange fields are left out.

        ``model`` is what it is a version of, where that is told around it and not inside.
        """
        if not isinstance(item, dict) or not (_is_id(item.get("id")) and _is_id(item.get("modelId"))):
            return None
        repo_id, revision = str(item["modelId"]), str(item["id"])
        inside = item.get("model")
        model = {**(inside if isinstance(inside, dict) else {}), **model}
        creator = model.get("creator")
        files = [*self._files(item, revision)]
        stats = item.get("stats")
        stats = stats if isinstance(stats, dict) else {}
        picture, picture_level = _picture(item.get("images"))
        level = _level(item.get("nsfwLevel", model.get("nsfwLevel")))
        return HubModel(
            provider="civitai",
            repo_id=repo_id,
            name=plain_text(model.get("name")) or repo_id,
            version=plain_text(item.get("name")),
            author=plain_text(creator.get("username")) if isinstance(creator, dict) else "",
            revision=revision,
            kind=plain_text(model.get("type")),
            tags=_texts(model.get("tags"), _MOST_TAGS),
            base_model=plain_text(item.get("baseModel")) or None,
            trained_words=_texts(item.get("trainedWords"), _MOST_WORDS),
            description=paragraphs(model.get("description"), _LONGEST_DESCRIPTION)
            or paragraphs(item.get("description"), _LONGEST_DESCRIPTION),
            downloads=counted(stats.get("downloadCount")),
            likes=counted(stats.get("thumbsUpCount")),
            gated=item.get("availability") == "EarlyAccess"
            or item.get("usageControl", "Download") not in ("Download", None),
            nsfw=bool(model.get("nsfw")) or (level or 0) >= _NOT_FOR_EVERYONE,
            nsfw_level=level,
            preview_url=picture,
            preview_nsfw_level=picture_level,
            file_names=[file.path for file in files],
            files=files,
            page_url=self.page_url(repo_id, revision),
        )

    def _files(self, version: Mapping[str, Any], revision: str) -> Iterable[HubFile]:
        for item in listed(version.get("files"))[:_MOST_FILES]:
            path = safe_path(item.get("name")) if isinstance(item, dict) else None
            if path is None or "/" in path:
                continue
            hashes = item.get("hashes")
            hashes = hashes if isinstance(hashes, dict) else {}
            yield HubFile(
                path=path,
                size=_size(item.get("sizeKB")),
                sha256=_digest(hashes.get("SHA256")),
                blake3=_digest(hashes.get("BLAKE3")),
                kind=plain_text(item.get("type")),
                download_url=self._download_url(item, revision),
            )

    def _download_url(self, item: Mapping[str, Any], revision: str) -> str:
        """Where a file's bytes are; the version's main file needs no more than its number."""
        address = self.file_url(revision)
        if item.get("primary") is True:
            return address
        about = item.get("metadata")
        about = about if isinstance(about, dict) else {}
        told = {"type": item.get("type"), **{name: about.get(name) for name in ("format", "size", "fp")}}
        chosen = {name: plain_text(value) for name, value in told.items() if plain_text(value)}
        return f"{address}?{urlencode(chosen)}" if chosen else address


def file_with(files: Sequence[HubFile], digest: str) -> HubFile | None:
    """The file that has this SHA-256, BLAKE3 or AutoV2 in lower case, or None."""
    for file in files:
        if digest in (file.sha256, file.blake3) or (file.sha256 is not None and file.sha256[:10] == digest):
            return file
    return None


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 < value < _LARGEST_ID


def _texts(value: Any, most: int) -> list[str]:
    texts = (plain_text(item).strip(" ,") for item in listed(value)[:most])
    return [*dict.fromkeys(text for text in texts if text)]


def _digest(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and _WHOLE_HASH.fullmatch(value.lower()) else None


def _size(kilobytes: Any) -> int | None:
    if isinstance(kilobytes, (int, float)) and 0 <= kilobytes < 2**43:
        return round(kilobytes * _BYTES_PER_KB)
    return None


def _level(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 64 else None


def _picture(images: Any) -> tuple[str | None, int | None]:
    """The most harmless picture and its level; one that does not say is taken for the worst."""
    found: list[tuple[int, str]] = []
    for image in listed(images)[:_MOST_PICTURES]:
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str) or not _PICTURES.fullmatch(url) or image.get("type", "image") != "image":
            continue
        level = _level(image.get("nsfwLevel"))
        found.append((_UNSURE_LEVEL if level is None else level, url))
    level, url = min(found, default=(None, None), key=lambda entry: entry[0] or 0)
    return url, level
