from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

MatchMethod = Literal["hash", "filename_exact", "filename_fuzzy"]


class HubModel(BaseModel):
    """A model repository, as its host describes it. All texts are the publisher's, made plain and short.

    Attributes:
        provider: The host's name here, such as ``huggingface``.
        repo_id: ``author/name``, or a bare name.
        author: Who publishes it.
        revision: The commit that the description is of, or ``main``.
        pipeline_tag: What it does, in the host's words.
        tags: The publisher's tags.
        base_model: What it was made from.
        licence: Its licence's short name.
        downloads: In the last 30 days.
        likes: By people of the host.
        gated: A licence must be accepted first.
        file_names: Paths of its files, where the host lists them.
        page_url: Its page for people.
    """

    provider: str
    repo_id: str
    author: str = ""
    revision: str = "main"
    pipeline_tag: str | None = None
    tags: list[str] = Field(default_factory=list)
    base_model: str | None = None
    licence: str | None = None
    downloads: int = 0
    likes: int = 0
    gated: bool = False
    file_names: list[str] = Field(default_factory=list)
    page_url: str


class HubFile(BaseModel):
    """A file of a repository.

    Attributes:
        path: Inside the repository, with ``/``.
        size: Bytes, or None.
        sha256: Of its content, 64 lower-case hexadecimal digits; None for files that the host keeps in
            Git itself (small ones).
    """

    path: str
    size: int | None = None
    sha256: str | None = None


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


class HubFiles(BaseModel):
    """The files of a repository; the fields as in ``HubSearch``.

    Attributes:
        complete: False when the host has more files than were asked for.
    """

    files: list[HubFile] = Field(default_factory=list)
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
        repo_id: The repository.
        revision: Commit, or ``main``.
        file_name: The matching file's path in it; None when only the repository's name fits.
        official_name: The repository's name without its author.
        author: Who publishes it.
        pipeline_tag: What it does.
        base_model: What it was made from.
        tags: The publisher's tags.
        licence: Its licence's short name.
        gated: A licence must be accepted before a download.
        download_url: Where the file is, built here, not taken from the publisher.
        size: Bytes as published.
        sha256: As published.
        match_method: What speaks for it.
        match_confidence: 0 to 1; 1 only for ``hash``, above 0.9 for ``filename_exact``, below that for
            ``filename_fuzzy``, at most 0.7 with ``hash_mismatch``.
        requires_confirmation: A person should say yes before it is used: confidence under 0.6, or
            other bytes.
        hash_mismatch: The name is right, but the bytes are known to be others.
        page_url: The repository's page for people.
    """

    provider: str
    repo_id: str
    revision: str
    file_name: str | None
    official_name: str
    author: str
    pipeline_tag: str | None
    base_model: str | None
    tags: list[str]
    licence: str | None
    gated: bool
    download_url: str | None
    size: int | None
    sha256: str | None
    match_method: MatchMethod
    match_confidence: float = Field(ge=0, le=1)
    requires_confirmation: bool
    hash_mismatch: bool
    page_url: str


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
    """

    found: bool = False
    candidates: list[LookupCandidate] = Field(default_factory=list)
    cached: bool = False
    stale: bool = False
    offline: bool = False
    calls: int = 0
    retry_after_s: float | None = None
