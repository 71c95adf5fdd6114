"""What the Librarian answers beyond the records of its rooms."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ..jobs import JobProgress
from ..library import Model, ModelFile
from ..linking import Link
from ..network import NetworkStatus
from ..told import Told, Troubled


class Warning(Told):
    """Something the person should know about the state of things."""

    code: str


class LibraryReport(BaseModel):
    """The library and how much is in it; sizes in bytes."""

    id: str
    root: str
    models: int
    files: int
    size_bytes: int
    in_place: int


class IndexReport(BaseModel):
    """Whether the index is in step with what is on disk."""

    state: Literal["ready", "indexing", "error"]
    stage: str | None = None
    progress: JobProgress | None = None


class JobCounts(BaseModel):
    """How many jobs wait and how many run."""

    queued: int
    running: int


class StatusReport(BaseModel):
    """How the Librarian does."""

    version: str
    library: LibraryReport
    index: IndexReport
    network: NetworkStatus
    jobs: JobCounts
    warnings: list[Warning] = Field(default_factory=list)


class FileDetails(ModelFile):
    """A file with where it lies and whether it is there."""

    path: str
    exists: bool


class ModelDetails(Model, Troubled):
    """Everything that is known of one model."""

    files: list[FileDetails] = Field(default_factory=list)  # type: ignore[assignment]
    links: list[Link] = Field(default_factory=list)
    preview_url: str | None = None
    preview_is_video: bool = False
    can_show: bool = False
    """Whether `POST /models/{model_id}/show` can open its folder."""


class ShowReport(BaseModel):
    """The file that was shown on the desktop."""

    path: str


class DeleteReport(BaseModel):
    """What a deletion did. ``unreachable`` lists links in folders that could not be reached."""

    unlinked: int
    files_removed: int
    unreachable: list[str]


class AppReport(BaseModel):
    """An app, its target folders by subtype, and how many links it has.

    ``version`` is ``*`` where it is not known; ``added`` says that a person added it, ``ghost`` that its root is
    gone. ``problems`` says what of its own settings cannot be used, such as a line of ``extra_model_paths.yaml``.
    """

    app: str
    name: str
    kind: str
    version: str = "*"
    root: str
    added: bool = False
    ghost: bool = False
    folders: dict[str, list[str]]
    links: int
    problems: list[str] = Field(default_factory=list)


class BrowseEntry(BaseModel):
    """A file or folder. ``importable`` says that its name may be that of a model; ``size`` in bytes."""

    name: str
    path: str
    is_dir: bool
    size: int | None = None
    importable: bool = False


class BrowseReport(BaseModel):
    """A folder inside the allowed roots; without a path, the roots themselves."""

    path: str | None
    parent: str | None
    entries: list[BrowseEntry]


class SettingsReport(BaseModel):
    """The person's settings. Tokens are never shown again, only whether there is one."""

    library_root: str
    allowed_roots: list[str]
    online: bool
    remote_search: bool
    index_in_place: bool
    transfers_at_once: int | None
    download_limit: int | None = None
    allowed_hosts: list[str]
    allow_private_addresses: bool
    allow_remote: bool
    remote_token_set: bool
    huggingface_token_set: bool
    civitai_token_set: bool
    restart_required: bool = False


class SettingsChange(BaseModel):
    """Settings to change; what is left out stays. An empty token, or null for it, removes it.

    ``transfers_at_once`` is how many imports work on one drive at once; 0 leaves it to the kind of drive.
    ``download_limit`` is in bytes a second for all downloads together, 10,000 at least; 0 removes it.
    """

    model_config = ConfigDict(extra="forbid")

    library_root: Path | None = None
    allowed_roots: list[Path] | None = None
    online: bool | None = None
    remote_search: bool | None = None
    index_in_place: bool | None = None
    transfers_at_once: int | None = Field(default=None, ge=0, le=8)
    download_limit: int | None = Field(default=None, ge=0, le=2**53)
    allowed_hosts: list[str] | None = Field(default=None, max_length=100)
    allow_private_addresses: bool | None = None
    allow_remote: bool | None = None
    remote_token: SecretStr | None = None
    huggingface_token: SecretStr | None = None
    civitai_token: SecretStr | None = None
