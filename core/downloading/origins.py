"""What a request names: addresses, sizes and hashes of files, and what their source tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import InvalidRequestError, NotFoundError
from ..formats.classify import model_type_of, name_subtype, name_words
from ..formats.pipeline_files import files_of, variants_of
from ..formats.pipelines import MODEL_INDEX
from ..formats.shards import is_weights, parse_shard
from ..importing.grouping import is_shard_index
from ..network import HttpStatusError, NetworkManager
from ..settings import FOLDER_ALIASES
from ..sources import Civitai, HubFile, HubModel, HuggingFace
from ..sources.huggingface import ENDPOINT as HUB
from ..storage.names import safe_name
from .errors import HashMismatchError
from .records import MAX_FILES, DownloadRequest, Plan, PlannedFile, RelatedFile
from .sets import configs_of, pipeline_folder

_PAGES = 20
_MOST_RELATED = 50
_HARMLESS_LEVELS = 3
_RELATED = frozenset({"vae", "text_encoders", "clip_vision"})
_SUBTYPES = {
    "LORA": "loras",
    "LoCon": "loras",
    "DoRA": "loras",
    "VAE": "vae",
    "TextualInversion": "embeddings",
    "Controlnet": "controlnet",
    "Upscaler": "upscale_models",
    "Hypernetwork": "hypernetworks",
}
"""ComfyUI's folders for Civitai's kinds; what a checkpoint is, its tensors say better."""

_HUB_PATH = re.compile(r"/([^/]+/[^/]+)/(?:resolve|blob)/([^/]+)/(.+)")
_CIVITAI_PATH = re.compile(r"/api/download/models/([0-9]{1,12})")
_GENERIC = re.compile(r"(?:diffusion_pytorch_|pytorch_)?model", re.IGNORECASE)


class Origins:
    """Asks Hugging Face, Civitai or another allowed host what is to be downloaded."""

    def __init__(self, network: NetworkManager, hub: HuggingFace, civitai: Civitai) -> None:
        self._network = network
        self._hub = hub
        self._civitai = civitai

    def understood(self, request: DownloadRequest) -> DownloadRequest:
        """The request, with an address of Hugging Face or Civitai as what it names there.

        Raises `InvalidRequestError` for an address that is none.
        """
        if request.url is None:
            return request
        try:
            parts = urlsplit(request.url)
            host = parts.hostname
        except ValueError as error:
            raise InvalidRequestError("This is not an address that can be asked.") from error
        if not host:
            raise InvalidRequestError("This is not an address that can be asked.")
        found: dict[str, Any] | None = None
        hub = _HUB_PATH.fullmatch(parts.path)
        if hub and request.url.startswith((f"{self._hub.base_url}/", f"{HUB}/")):
            repo_id, revision, path = map(unquote, hub.groups())
            newest = revision == "main"
            found = {"repo_id": repo_id, "revision": None if newest else revision, "files": [path]}
            found["provider"] = "huggingface"
        version = _CIVITAI_PATH.fullmatch(parts.path)
        if version and request.url.startswith(f"{self._civitai.base_url}/") and not parse_qs(parts.query):
            found = {"provider": "civitai", "revision": version[1]}
        if found is None:
            return request
        return request.model_copy(update={**found, "url": None, "name": None})

    def page_url(self, request: DownloadRequest) -> str | None:
        """The page of what is asked for, as far as the request tells."""
        with suppress(InvalidRequestError):
            if request.provider == "huggingface":
                return self._hub.page_url(request.repo_id)
            if request.provider == "civitai" and request.repo_id:
                return self._civitai.page_url(request.repo_id, request.revision or "")
        return None

    def asked_url(self, request: DownloadRequest) -> str:
        """The address of the host that is asked first."""
        if request.provider == "url":
            return request.url or ""
        return self._hub.base_url if request.provider == "huggingface" else self._civitai.base_url

    async def plan(self, request: DownloadRequest) -> Plan:
        """What is to be downloaded.

        Raises:
            NotFoundError: There is no such file there.
            HashMismatchError: It is published with another hash than the request names.
            InvalidRequestError: A name that can be none.
            NetworkError: The host could not be asked, or refuses.
        """
        if request.provider == "huggingface":
            plan = await self._from_hub(request)
        elif request.provider == "civitai":
            plan = await self._from_civitai(request)
        else:
            plan = await self._from_url(request)
        subtype = FOLDER_ALIASES.get(folder, folder) if (folder := _folder(request)) else None
        for file in plan.files:
            if subtype:
                file.told["subtype"] = subtype
            if "subtype" in file.told:
                file.told["model_type"] = model_type_of(file.told["subtype"])
            file.told["download_url"] = file.url
            if file.sha256 is not None and request.provider != "url":
                file.told |= {"match_source": "auto", "match_method": "hash", "match_confidence": 1.0}
        alone = [path for path, weights in configs_of(plan.files).items() if not weights]
        if alone and not any(pipeline_folder(file.path) is not None for file in plan.files):
            raise InvalidRequestError(
                f"{alone[0]} is no model. Download it together with the model that it belongs to."
            )
        if request.sha256 is not None:
            _expect(plan.files, request.sha256.lower())
        return plan

    async def _from_hub(self, request: DownloadRequest) -> Plan:
        model = await self._hub.model(request.repo_id)
        # A commit never changes, so that what is remembered of it and what comes later fit together.
        revision = request.revision or model.revision
        listing = await self._hub.files(request.repo_id, revision, calls=_PAGES)
        files = {file.path: file for file in listing.files}
        asked = [_named(path, files, request.repo_id) for path in request.files]
        wanted: dict[str, None] = {}
        for one in asked:
            folder = pipeline_folder(one)
            alone = sum(path.startswith(folder) for path in asked) == 1 if folder is not None else False
            rest = (
                await self._pipeline(model, revision, one, files, request)
                if alone
                else _rest_of_set(one, files)
            )
            wanted |= dict.fromkeys((one, *rest))
        if len(wanted) > MAX_FILES:
            raise InvalidRequestError(f"These are {len(wanted)} files; at most {MAX_FILES} can come at once.")
        return Plan(
            name=_display_name(request, asked),
            repo_id=request.repo_id,
            revision=revision,
            page_url=model.page_url,
            files=[
                PlannedFile(
                    **_published(files[path]),
                    asked=path in asked,
                    url=files[path].download_url or "",
                    name=_file_name(path, request.repo_id, several=len(wanted) > 1),
                    told=_told_by_hub(model, path),
                )
                for path in wanted
            ],
            related=_related(wanted, files.values()),
        )

    async def _pipeline(
        self,
        model: HubModel,
        revision: str,
        path: str,
        files: Mapping[str, HubFile],
        request: DownloadRequest,
    ) -> list[str]:
        """The files of the Diffusers folder that an index describes."""
        pipeline = await self._hub.model_index(model.repo_id, revision, path)
        folder = path.rpartition("/")[0]
        variants = variants_of(pipeline, files, folder)
        if request.variant not in variants:
            there = ", ".join(filter(None, variants)) or "only the main one"
            raise NotFoundError(f"{model.repo_id} has no variant {request.variant!r}; there is {there}.")
        return files_of(pipeline, files, folder, request.variant)

    async def _from_civitai(self, request: DownloadRequest) -> Plan:
        model = await self._civitai.model(request.repo_id, request.revision or "")
        files = {file.path: file for file in reversed(model.files)}
        if not files:
            raise NotFoundError("Civitai has no files of this version (any more).")
        main = next((file for file in model.files if file.kind == "Model"), model.files[0])
        asked = [_named(name, files, model.name) for name in request.files] or [main.path]
        preview = model.preview_url if (model.preview_nsfw_level or 0) <= _HARMLESS_LEVELS else None
        return Plan(
            name=" - ".join(filter(None, (model.name, model.version))),
            repo_id=model.repo_id,
            revision=model.revision,
            page_url=model.page_url,
            preview_url=preview,
            files=[
                PlannedFile(
                    **_published(files[path]),
                    exact=False,
                    url=files[path].download_url or "",
                    name=safe_name(path),
                    told=_told_by_civitai(model, files[path]),
                )
                for path in dict.fromkeys(asked)
            ],
            related=[
                RelatedFile(path=file.path, size=file.size, subtype=_SUBTYPES[file.kind])
                for file in model.files
                if file.path not in asked and file.kind in _SUBTYPES
            ],
        )

    async def _from_url(self, request: DownloadRequest) -> Plan:
        url = request.url or ""
        name = safe_name(PurePosixPath(request.name or unquote(urlsplit(url).path)).name)
        response = await self._network.request("HEAD", url, headers={"Accept-Encoding": "identity"})
        if response.status_code in (401, 403, 404, 410, 451):
            raise HttpStatusError(response.request.url.host, response.status_code)
        length = response.headers.get("content-length", "") if response.is_success else ""
        size = int(length) if re.fullmatch(r"[0-9]{1,18}", length, re.ASCII) else None
        return Plan(name=name, files=[PlannedFile(path=name, name=name, url=url, size=size, exact=False)])


def _folder(request: DownloadRequest) -> str:
    return (request.directory or "").partition("/")[0]


def _expect(files: Sequence[PlannedFile], sha256: str) -> None:
    """Have the file that was asked for come with this hash. Raises `HashMismatchError` if it cannot."""
    asked = [file for file in files if file.asked]
    if len(asked) != 1:
        raise InvalidRequestError("A sha256 goes with a single file.")
    if asked[0].sha256 not in (None, sha256):
        raise HashMismatchError(
            f"{asked[0].path} is published with other bytes (SHA-256 {asked[0].sha256}) than the ones asked for. "
            "Download it without the hash, or look for the right file elsewhere."
        )
    asked[0].sha256 = sha256


def _named(path: str, files: dict[str, HubFile], where: str) -> str:
    """The path that is meant: it, or the only one that ends with it. Raises `NotFoundError`."""
    if path in files:
        return path
    found = [known for known in files if known.rpartition("/")[2] == path]
    if len(found) != 1:
        raise NotFoundError(f"{where} has no file {path!r}. Look at its page for the names of its files.")
    return found[0]


def _rest_of_set(path: str, files: dict[str, HubFile]) -> Iterable[str]:
    """The other parts of a sharded set, and its index."""
    folder, slash, name = path.rpartition("/")
    mine = parse_shard(name)
    if mine is None:
        return
    for other in files:
        where, _, other_name = other.rpartition("/")
        if where != folder:
            continue
        shard = parse_shard(other_name)
        same = shard is not None and shard._replace(index=mine.index) == mine
        index = is_shard_index(other_name) and other_name == f"{mine.stem}{mine.suffix}.index.json"
        if (same and mine.total is not None) or index:
            yield f"{folder}{slash}{other_name}"


def _published(file: HubFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256,
        "git_sha1": file.git_sha1 if file.sha256 is None else None,
    }


def _display_name(request: DownloadRequest, asked: Sequence[str]) -> str:
    repo_id = request.repo_id
    if [path.rpartition("/")[2] for path in asked] == [MODEL_INDEX]:
        folder = asked[0].rpartition("/")[0]
        return " ".join(filter(None, (repo_id, folder, request.variant)))
    names = ", ".join(path.rpartition("/")[2] for path in asked[:3]) + (", …" if len(asked) > 3 else "")
    return f"{repo_id}: {names}"


def _file_name(path: str, repo_id: str, *, several: bool) -> str:
    """What a file is to be called: its path, below a folder that has the repository's name.

    A single file with a name that tells nothing takes that of its repository.
    """
    repository = safe_name(repo_id.rpartition("/")[2])
    parts = [safe_name(part) for part in path.split("/")]
    stem, dot, ending = parts[-1].partition(".")
    if not several and _GENERIC.fullmatch(stem):
        folder = f"-{parts[-2]}" if len(parts) > 1 else ""
        return safe_name(f"{repository}{folder}{dot}{ending}")
    return "/".join([repository, *parts])


def _told_by_hub(model: HubModel, path: str) -> dict[str, Any]:
    told: dict[str, Any] = {"repo_id": model.repo_id}
    if model.base_model:
        told["base_model"] = model.base_model
    return told | ({"official_name": model.name} if _tells_nothing(path) else {})


def _tells_nothing(path: str) -> bool:
    shard = parse_shard(path)
    return bool(_GENERIC.fullmatch((shard.stem if shard else path).rpartition("/")[2].partition(".")[0]))


def _told_by_civitai(model: HubModel, file: HubFile) -> dict[str, Any]:
    told: dict[str, Any] = {
        "official_name": " - ".join(filter(None, (model.name, model.version))),
        "base_model": model.base_model,
        "trained_words": model.trained_words,
        "tags": model.tags,
        "description": model.description,
        "repo_id": model.repo_id,
        "subtype": _SUBTYPES.get(file.kind) or _SUBTYPES.get(model.kind),
    }
    return {name: value for name, value in told.items() if value}


def _related(wanted: Iterable[str], files: Iterable[HubFile]) -> list[RelatedFile]:
    """VAEs and text encoders beside what is wanted."""
    chosen = {*wanted}
    whole = tuple(folder for path in chosen if (folder := pipeline_folder(path)) is not None)
    found: list[RelatedFile] = []
    for file in files:
        if (
            file.path.startswith(whole)
            or file.path in chosen
            or not is_weights(file.path)
            or len(found) == _MOST_RELATED
        ):
            continue
        folders = file.path.lower().split("/")[:-1]
        placed = next((FOLDER_ALIASES.get(one, one) for one in reversed(folders)), "")
        placed = "text_encoders" if placed.startswith("text_encoder") else placed
        subtype = placed if placed in _RELATED else name_subtype(name_words(PurePosixPath(file.path).stem))
        if subtype in _RELATED:
            found.append(RelatedFile(path=file.path, size=file.size, subtype=subtype))
    return found
