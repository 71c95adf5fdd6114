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
        return str(self.args[0]) if self.args else self.code


class InvalidRequestError(LibrarianError):
    """The input cannot be understood or is out of range."""

    code = "invalid_request"


class InvalidFieldsError(InvalidRequestError):
    """Some fields of a record are missing or wrong; ``fields`` lists each as (name, what is wrong)."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {wrong}" for name, wrong in fields[:5]))
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
