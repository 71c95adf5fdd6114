from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from ..told import Told

MatchMethod = Literal["hash", "filename_exact", "filename_fuzzy"]


Provider = Literal["huggingface", "civitai"]


class HubFile(BaseModel):
    """A file of a repository.

    Attributes:
        path: Inside the repository, with ``/``.
        size: Bytes, or None.
        sha256: Of its content, 64 lower-case hexadecimal digits; None for files that Hugging Face keeps in
            Git itself (small ones).
        blake3: Likewise, where Civitai tells it.
        git_sha1: Of those small files what Git calls their content (a blob's id), 40 hexadecimal digits.
        kind: What the host says that it is, such as ``Model``, ``VAE`` or ``Config``; empty when it does not.
        download_url: Where its bytes are, built here, not taken from the publisher.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    blake3: str | None = None
    kind: str = ""
    download_url: str | None = None


class HubModel(BaseModel):
    """A model repository, as its host describes it. All texts are the publisher's, made plain and short.

    Attributes:
        provider: The host's name here.
        repo_id: Hugging Face: ``author/name``, or a bare name. Civitai: the model's number.
        name: What people call it.
        version: The version's name, where the host has several of a model.
        author: Who publishes it.
        revision: The commit that the description is of, or ``main``; of Civitai the version's number.
        kind: What the host says that it is, such as ``Checkpoint`` or ``LORA``; empty when it does not.
        pipeline_tag: What it does, in the host's words.
        tags: The publisher's tags.
        base_model: What it was made from.
        trained_words: Words that call forth what it was trained on.
        description: The publisher's words on it, without markup.
        licence: Its licence's short name.
        downloads: In the last 30 days; of Civitai, ever.
        likes: By people of the host.
        gated: A licence must be accepted or access be had first.
        nsfw: Its host says that it is not for everyone.
        nsfw_level: Civitai's levels as a sum of 1 (PG), 2 (PG-13), 4 (R), 8 (X), 16 (XXX), 32 (blocked).
        preview_url: A picture of it at its host.
        preview_nsfw_level: That picture's level.
        file_names: Paths of its files, where the host lists them.
        files: The files themselves, where the host lists them with the model.
        page_url: Its page for people.
    """

    provider: Provider
    repo_id: str
    name: str = ""
    version: str = ""
    author: str = ""
    revision: str = "main"
    kind: str = ""
    pipeline_tag: str | None = None
    tags: list[str] = Field(default_factory=list)
    base_model: str | None = None
    trained_words: list[str] = Field(default_factory=list)
    description: str = ""
    licence: str | None = None
    downloads: int = 0
    likes: int = 0
    gated: bool = False
    nsfw: bool = False
    nsfw_level: int | None = None
    preview_url: str | None = None
    preview_nsfw_level: int | None = None
    file_names: list[str] = Field(default_factory=list)
    files: list[HubFile] = Field(default_factory=list)
    page_url: str


class HubSearch(BaseModel):
    """Found repositories.

    Attributes:
        models: Best first, as the host sorts them.
        cached: Remembered, not asked for now.
        stale: Older than it should be; a fresh answer may follow.
        offline: The host could not be asked.
        fetched_at: When the host said so; None when it never did.
        calls: Calls that this took.
    """

    models: list[HubModel] = Field(default_factory=list)
    cached: bool = False
    stale: bool = False
    offline: bool = False
    fetched_at: datetime | None = None
    calls: int = 0


class HubPipeline(BaseModel):
    """A Diffusers folder of a repository, which is one model.

    Attributes:
        path: Of its ``model_index.json``.
        variant: The precision of its weights, such as ``fp16``; empty for what is published as the main one.
        files: Paths of all its files, the index first.
        size: Bytes of all of them, or None.
        pickle: Loading it can run code.
    """

    path: str
    variant: str = ""
    files: list[str]
    size: int | None = None
    pickle: bool = False


class HubFiles(BaseModel):
    """The files of a repository; the fields as in ``HubSearch``.

    Attributes:
        pipelines: What of it is a Diffusers folder, once for each precision that it can be had in.
        complete: False when the host has more files than were asked for.
    """

    files: list[HubFile] = Field(default_factory=list)
    pipelines: list[HubPipeline] = Field(default_factory=list)
    complete: bool = True
    cached: bool = False
    stale: bool = False
    offline: bool = False
    fetched_at: datetime | None = None
    calls: int = 0


class LookupCandidate(BaseModel):
    """What a file may be. All texts are the publisher's, made plain and short.

    Attributes:
        provider: Who says so.
        repo_id: The repository, as in ``HubModel``; so are the fields that are not described here.
        revision: Commit, or ``main``; of Civitai the version's number.
        file_name: The matching file's path in it; None when only the repository's name fits.
        official_name: What it is called there, with its version where there are several.
        download_url: Where the file is, built here, not taken from the publisher.
        size: Bytes as published.
        sha256: As published.
        match_method: What speaks for it.
        match_confidence: 0 to 1; 1 only for ``hash``, above 0.9 for ``filename_exact``, below that for
            ``filename_fuzzy``, at most 0.7 with ``hash_mismatch``.
        requires_confirmation: A person should say yes before it is used: confidence under 0.6, or
            other bytes.
        hash_mismatch: The name is right, but the bytes are known to be others.
    """

    provider: Provider
    repo_id: str
    revision: str
    file_name: str | None
    official_name: str
    author: str
    kind: str = ""
    pipeline_tag: str | None
    base_model: str | None
    tags: list[str]
    trained_words: list[str] = Field(default_factory=list)
    description: str = ""
    licence: str | None
    gated: bool
    nsfw: bool = False
    nsfw_level: int | None = None
    preview_url: str | None = None
    preview_nsfw_level: int | None = None
    download_url: str | None
    size: int | None
    sha256: str | None
    match_method: MatchMethod
    match_confidence: float = Field(ge=0, le=1)
    requires_confirmation: bool
    hash_mismatch: bool
    page_url: str


class SourceProblem(Told):
    """Why one provider's part of an answer is missing.

    Attributes:
        provider: Whose part.
        code: Stable, such as ``network_unavailable``, ``circuit_open``, ``rate_limited``, ``bad_answer``.
        message: What happened, and what to do.
    """

    provider: Provider
    code: str


class LookupResult(BaseModel):
    """The answer to what a file is.

    Attributes:
        found: There is at least one candidate.
        candidates: Surest first, at most five.
        cached: Nothing of it was asked for now.
        stale: Some of it is older than it should be.
        offline: A host could not be asked, so there may be more to know later.
        calls: Calls that this took, at most four.
        retry_after_s: Seconds after which asking again makes sense, where known.
        problems: Providers that could not be asked, or did not answer well.
    """

    found: bool = False
    candidates: list[LookupCandidate] = Field(default_factory=list)
    cached: bool = False
    stale: bool = False
    offline: bool = False
    calls: int = 0
    retry_after_s: float | None = None
    problems: list[SourceProblem] = Field(default_factory=list)


class RemoteResult(BaseModel):
    """Models that the hosts have.

    Attributes:
        models: Best first, as each host sorts them, the hosts in turn.
        cached: Nothing of it was asked for now.
        stale: Some of it is older than it should be; ``librarian.remote`` tells when there is newer.
        offline: A host could not be asked, so there may be more to know later.
        fetched_at: When the hosts said so, the earliest; None when none ever did.
        retry_after_s: Seconds after which asking again makes sense, where known.
        problems: Providers that could not be asked, or did not answer well.
    """

    models: list[HubModel] = Field(default_factory=list)
    cached: bool = False
    stale: bool = False
    offline: bool = False
    fetched_at: datetime | None = None
    retry_after_s: float | None = None
    problems: list[SourceProblem] = Field(default_factory=list)


class RemoteChange(BaseModel):
    """A host says something else than was remembered: ask again, the new answer is there.

    Attributes:
        provider: Which host.
        q: The search as it was asked, or None when a repository changed.
        repo_id: The repository, or None when the answer of a search changed.
    """

    provider: Provider
    q: str | None = None
    repo_id: str | None = None
