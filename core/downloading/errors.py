"""What can be wrong with a file that comes from elsewhere."""

from __future__ import annotations

from ..errors import ConflictError, LibrarianError
from ..network import HttpStatusError, NetworkError
from ..sentences import say


class DownloadExistsError(ConflictError):
    """These files are being downloaded already."""

    code = "already_downloading"


class HashMismatchError(ConflictError):
    """What came does not have the published hash, or what is published is not what was asked for.

    ``sha256`` is what the bytes that came make, where some came.
    """

    code = "hash_mismatch"

    def __init__(self, message: str, sha256: str | None = None) -> None:
        super().__init__(message)
        self.sha256 = sha256


class SizeMismatchError(LibrarianError):
    """The host sends more or less than it announced or published."""

    code = "size_mismatch"


class DownloadFailedError(LibrarianError):
    """Something of a download could not be had; the code is that of its first file that failed."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class WebPageError(LibrarianError):
    """The host sent a web page, such as a log-in page, in place of the file."""

    code = "web_page"


def explained(error: NetworkError, page_url: str | None) -> NetworkError:
    """The error, with the page on which something can be done about it."""
    if isinstance(error, HttpStatusError) and error.status in (401, 403) and page_url:
        told = HttpStatusError(error.host, error.status)
        told.args = (say("its_page", "{problem} Its page is {url}", problem=told.message, url=page_url),)
        return told
    return error
