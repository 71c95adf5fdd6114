"""What can go wrong, as a person may meet it.

Every error has a stable ``code`` (scripts and the panel build on it) and a message that says what to
do. Routes turn each into ``application/problem+json``, the command line into one line and an exit
status.
"""

from __future__ import annotations


class LibrarianError(Exception):
    """Base of every error that Librarian raises on purpose."""

    code = "librarian_error"

    @property
    def message(self) -> str:
        """The sentence shown to the person."""
        told = self.args[0] if self.args else self.code
        return told if isinstance(told, str) else str(told)


class InvalidRequestError(LibrarianError):
    """The input cannot be understood or is out of range."""

    code = "invalid_request"


class InvalidFieldsError(InvalidRequestError):
    """Some fields of a record are missing or wrong; ``fields`` lists each as (name, what is wrong)."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {wrong}" if name else wrong for name, wrong in fields[:5]))
        self.fields = fields


class NotFoundError(LibrarianError):
    """The model, job, app, mapping or file named does not exist."""

    code = "not_found"


class OutsideRootsError(LibrarianError):
    """A path lies outside the folders that Librarian may read or write."""

    code = "outside_allowed_roots"


class ForbiddenError(LibrarianError):
    """The caller may not do this: foreign origin, remote peer, missing token."""

    code = "forbidden"


class ConflictError(LibrarianError):
    """The world is not as the request assumes; look again, then repeat it."""

    code = "conflict"


class PlanChangedError(ConflictError):
    """A previewed plan no longer fits what is on disk."""

    code = "plan_changed"


class TooManyUploadsError(ConflictError):
    """More uploads wait than may wait at once."""

    code = "too_many_uploads"


class UploadBusyError(LibrarianError):
    """Somebody else writes to, removes or imports an upload right now."""

    code = "upload_busy"


class UploadOffsetError(ConflictError):
    """The bytes do not go on where the upload stands, which is at ``offset`` (bytes)."""

    code = "upload_offset"

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class UploadIncompleteError(ConflictError):
    """Bytes of an upload are still to come."""

    code = "upload_incomplete"


class UploadExpiredError(LibrarianError):
    """Nobody went on with an upload for too long."""

    code = "upload_expired"


class UploadTooLongError(LibrarianError):
    """More bytes came than an upload was said to have."""

    code = "upload_too_long"


class ChecksumError(LibrarianError):
    """What arrived does not have the checksum that it was sent with."""

    code = "checksum_mismatch"


class NotAModelError(LibrarianError):
    """The file's content is not a model, whatever its name says."""

    code = "not_a_model"


class PickleNotAcknowledgedError(LibrarianError):
    """A pickle can run code when loaded; importing or loading one needs an explicit yes."""

    code = "pickle_not_acknowledged"


class SourceChangedError(LibrarianError):
    """A file changed or vanished while it was being read."""

    code = "source_changed"


class StorageError(LibrarianError):
    """The disk refused: no room, no permission, an I/O error."""

    code = "storage_error"


class InsufficientSpaceError(StorageError):
    """Not enough room on the target disk."""

    code = "insufficient_space"


class UnavailableError(LibrarianError):
    """Something that is needed cannot be reached now; trying again later may help."""

    code = "unavailable"


class CancelledError(LibrarianError):
    """The person cancelled the job."""

    code = "cancelled"


class PausedError(LibrarianError):
    """The person paused the work; what is done is kept."""

    code = "paused"
