"""Files that come from elsewhere: what they are, how they arrive, and what is written down of it."""

from .errors import (
    DownloadExistsError,
    DownloadFailedError,
    HashMismatchError,
    SizeMismatchError,
    WebPageError,
)
from .origins import Origins
from .records import Aside, Download, DownloadFile, DownloadRequest, DownloadState, Reason, RelatedFile

__all__ = [
    "Aside",
    "Download",
    "DownloadExistsError",
    "DownloadFailedError",
    "DownloadFile",
    "DownloadRequest",
    "DownloadState",
    "HashMismatchError",
    "Origins",
    "Reason",
    "RelatedFile",
    "SizeMismatchError",
    "WebPageError",
]
