"""``/downloads``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ..core.downloading import Download, DownloadRequest
from ..core.librarian import Librarian
from .endpoints import JobAccepted


class DownloadList(BaseModel):
    """The downloads that are not removed, oldest first."""

    downloads: list[Download]


class DownloadAccepted(JobAccepted):
    """A download was queued; follow its job."""

    download: Download


class PauseRequest(BaseModel):
    """Nothing."""

    model_config = ConfigDict(extra="forbid")


class ResumeRequest(BaseModel):
    """Whether files that can run code are welcome, where the download asks for that."""

    model_config = ConfigDict(extra="forbid")

    acknowledge_pickle: bool = False


def downloads(librarian: Librarian) -> DownloadList:
    """List the downloads."""
    return DownloadList(downloads=librarian.downloads.all())


def download(librarian: Librarian, body: DownloadRequest) -> DownloadAccepted:
    """Download files of Hugging Face, Civitai or another allowed host into the library."""
    accepted = librarian.downloads.add(body)
    return DownloadAccepted(job=accepted.job, download=accepted.download)


def one(librarian: Librarian, download_id: str) -> Download:
    """One download."""
    return librarian.downloads.get(download_id)


def pause(librarian: Librarian, download_id: str, body: PauseRequest) -> Download:
    """Stop a download and keep what has come."""
    return librarian.downloads.pause(download_id)


def resume(librarian: Librarian, download_id: str, body: ResumeRequest) -> DownloadAccepted:
    """Go on with a download where it was."""
    accepted = librarian.downloads.resume(download_id, acknowledge_pickle=body.acknowledge_pickle)
    return DownloadAccepted(job=accepted.job, download=accepted.download)


def remove(librarian: Librarian, download_id: str) -> Download:
    """Cancel a download and remove what has come."""
    return librarian.downloads.remove(download_id)


def remove_aside(librarian: Librarian, download_id: str) -> Download:
    """Throw away what came with other bytes than published and is kept aside."""
    return librarian.downloads.remove_aside(download_id)
