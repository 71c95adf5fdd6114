from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..jobs import utc_now
from ..told import Told

Origin = Literal["huggingface", "civitai", "url"]

DownloadState = Literal["queued", "downloading", "waiting", "paused", "importing", "done", "failed"]
"""``waiting`` is for a host that cannot be reached now; it goes on by itself. The others are what they say."""

FileState = Literal["queued", "downloading", "arrived", "imported", "present", "failed"]
"""``present`` says that the library has these bytes already, so that nothing is downloaded."""

MAX_FILES = 500


class DownloadRequest(BaseModel):
    """Files of one place.

    Attributes:
        provider: Where they are.
        repo_id: Hugging Face: ``author/name``. Civitai: the model's number, or none with a ``revision``.
        revision: Branch, tag or commit; of Civitai the version's number. The newest where it is left out.
        files: Paths in the repository, or names that are in it once. Of Civitai none means the main file.
            The other parts of a sharded set come by themselves; so does, with a ``model_index.json`` and nothing
            else of its folder, the rest of that Diffusers folder.
        variant: Of a Diffusers folder, the precision of its weights, such as ``fp16``; where a component has none
            of it, and by default, the main one.
        url: With the provider ``url``, an https address on an allowed host.
        name: With ``url``, the file's name where the address has none.
        directory: ComfyUI's folder that the file is for, such as ``loras``; what it is, else, its content says.
        sha256: What the file must have, where the caller knows it; for a single file only.
        here: Paths of files that lie here already, such as the parts of an incomplete set. What has the published
            bytes is copied, not fetched; the files themselves stay as they are.
        uploads: The same of complete uploads, by their ids.
        acknowledge_pickle: Yes to files that can run code when they are loaded.
        link: Link what came into the apps.
    """

    model_config = ConfigDict(extra="forbid")

    provider: Origin
    repo_id: str = Field("", max_length=200)
    revision: str | None = Field(None, min_length=1, max_length=200)
    files: list[str] = Field(default_factory=list, max_length=MAX_FILES)
    variant: str = Field("", max_length=32)
    url: str | None = Field(None, max_length=8192)
    name: str | None = Field(None, max_length=255)
    directory: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(/[^\x00-\x1f]{0,200})?$")
    sha256: str | None = Field(None, pattern="^[0-9a-fA-F]{64}$")
    here: list[str] = Field(default_factory=list, max_length=MAX_FILES)
    uploads: list[str] = Field(default_factory=list, max_length=MAX_FILES)
    acknowledge_pickle: bool = False
    link: bool = False

    @model_validator(mode="after")
    def _names_something(self) -> DownloadRequest:
        if (self.provider == "url") != (self.url is not None):
            raise ValueError("Give a url with the provider url, and only with it.")
        if self.provider == "huggingface" and not (self.repo_id and self.files):
            raise ValueError("Give the repository (repo_id) and its files.")
        if self.provider == "civitai" and not (self.repo_id or self.revision):
            raise ValueError("Give the number of the model (repo_id) or of its version (revision).")
        if self.sha256 is not None and len(self.files) > 1:
            raise ValueError("A sha256 goes with a single file.")
        return self


class Reason(Told):
    """Why something waits or failed: ``code`` is stable, ``message`` for people."""

    code: str


class Aside(BaseModel):
    """A file that came with other bytes than published, and is kept where nobody takes it for a model.

    ``path`` is where it lies, ``size`` how many bytes it has, ``sha256`` what they make.
    """

    path: str
    size: int
    sha256: str


class DownloadFile(BaseModel):
    """One file; sizes in bytes.

    ``asked`` is false for a part of a set that came along. ``size`` and ``sha256`` are what is published, the size
    also what its host says once it sends the file. ``model_id`` is the model that it is part of now. ``aside`` is
    what came in its place, until it is thrown away or the right file is here.
    """

    model_config = ConfigDict(protected_namespaces=())

    path: str
    size: int | None = None
    sha256: str | None = None
    received: int = 0
    state: FileState = "queued"
    asked: bool = True
    reason: Reason | None = None
    model_id: str | None = None
    aside: Aside | None = None


class RelatedFile(BaseModel):
    """A file of the same place that may be needed, too, such as a VAE. ``subtype`` is ComfyUI's folder for it."""

    path: str
    size: int | None = None
    subtype: str


class Download(BaseModel):
    """A download as it stands.

    Attributes:
        id: Its own name, for as long as it is listed.
        job_id: The job that works on it, or worked on it last.
        name: What people call it.
        page_url: The page on which its terms can be read and accepted, where there is one.
        state: What happens with it.
        reason: Why it waits or failed.
        retry_after_s: With ``waiting``, seconds until the next try.
        size: Bytes of all files together, as far as they are known.
        received: Bytes that have come.
        aside_size: Bytes of what came wrong and is kept aside.
        rate: Bytes a second at the moment; None when nothing comes.
        eta_s: Seconds that are left at this rate.
        models: Ids of the models that it became, or that the library had already.
        related: Other files of the same place that may be needed.
    """

    id: str
    job_id: str | None = None
    provider: Origin
    repo_id: str = ""
    revision: str = ""
    name: str
    page_url: str | None = None
    state: DownloadState
    reason: Reason | None = None
    retry_after_s: float | None = None
    files: list[DownloadFile]
    size: int | None = None
    received: int = 0
    aside_size: int = 0
    rate: float | None = None
    eta_s: float | None = None
    link: bool = False
    models: list[str] = Field(default_factory=list)
    related: list[RelatedFile] = Field(default_factory=list)
    created_at: datetime


class PlannedFile(DownloadFile):
    """A file as the journal has it.

    Attributes:
        url: Where its bytes are.
        name: What it is called, with ``/`` where it lies in a folder.
        exact: The published size is exact; Civitai rounds it.
        git_sha1: What Git calls its content, of small files without a published SHA-256.
        upload_id: The upload that it arrives in.
        etag: What the host calls the bytes that have come (RFC 9110, a strong validator).
        told: Fields of the model as its source tells them.
        here: A file of this machine that may have these bytes.
    """

    url: str
    name: str
    exact: bool = True
    git_sha1: str | None = None
    upload_id: str = ""
    etag: str | None = None
    told: dict[str, Any] = Field(default_factory=dict)
    here: str | None = None


class Plan(BaseModel):
    """What is known of a download: where its files are, and what else may be needed."""

    name: str
    repo_id: str = ""
    revision: str = ""
    page_url: str | None = None
    preview_url: str | None = None
    files: list[PlannedFile] = Field(default_factory=list)
    related: list[RelatedFile] = Field(default_factory=list)


class Entry(BaseModel):
    """What lies in ``download.json``: the request, what is known of it, and whether it is to go on by itself."""

    id: str
    request: DownloadRequest
    plan: Plan | None = None
    state: Literal["active", "paused", "failed"] = "active"
    reason: Reason | None = None
    created_at: datetime = Field(default_factory=utc_now)
