"""What can be wrong with a file that comes from elsewhere."""

from __future__ import annotations

from ..errors import ConflictError, LibrarianError


class DownloadExistsError(ConflictError):
    """These files are being downloaded already."""

    code = "already_downloading"


class HashMismatchError(ConflictError):
    """What came does not have the published SHA-256, or what is published is not what was asked for."""

    code = "hash_mismatch"


class SizeMismatchError(LibrarianError):
    """The host sends more or less than it announced or published."""

    code = "size_mismatch"


class WebPageError(LibrarianError):
    """The host sent a web page, such as a log-in page, in place of the file."""

    code = "web_page"
