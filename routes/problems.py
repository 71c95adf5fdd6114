"""Errors as ``application/problem+json`` (RFC 9457) with a stable ``code``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ..core import errors
from ..core.sentences import said_of


class BodyTooSlowError(errors.LibrarianError):
    """The body did not arrive in time."""

    code = "body_too_slow"


class UnsupportedMediaError(errors.LibrarianError):
    """The body is not JSON; a form of another site cannot send JSON."""

    code = "json_required"


class UploadTypeError(errors.LibrarianError):
    """The bytes of an upload come under the content type of the tus protocol only; a form cannot send that."""

    code = "offset_octet_stream_required"


class TusVersionError(errors.LibrarianError):
    """The caller does not say that it speaks this server's version of the tus protocol."""

    code = "tus_version"


class BodyTooLargeError(errors.LibrarianError):
    """The body is larger than any call needs."""

    code = "body_too_large"


STATUS: tuple[tuple[type[errors.LibrarianError], int], ...] = (
    (errors.InvalidRequestError, 400),
    (errors.ForbiddenError, 403),
    (errors.OutsideRootsError, 403),
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.SourceChangedError, 409),
    (errors.NotAModelError, 422),
    (errors.PickleNotAcknowledgedError, 422),
    (errors.UploadExpiredError, 410),
    (errors.UploadTooLongError, 413),
    (errors.UploadBusyError, 423),
    (errors.ChecksumError, 460),
    (errors.UnavailableError, 503),
    (BodyTooSlowError, 408),
    (BodyTooLargeError, 413),
    (TusVersionError, 412),
    (UploadTypeError, 415),
    (UnsupportedMediaError, 415),
    (errors.InsufficientSpaceError, 507),
)

TITLES = {
    400: "The request cannot be understood",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Things have changed",
    410: "Too old",
    412: "Another version of the protocol",
    413: "Too large",
    415: "Another content type is required",
    422: "This file cannot be used",
    423: "In use",
    460: "Damaged on its way",
    500: "Something went wrong",
    503: "Not available now",
    507: "Not enough room",
}


def status_of(error: errors.LibrarianError) -> int:
    """The HTTP status that fits an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def problem(status: int, code: str, detail: str, **more: Any) -> web.Response:
    """A problem document."""
    body = {
        "type": f"urn:librarian:problem:{code}",
        "title": TITLES.get(status, TITLES[500]),
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type="application/problem+json",
        headers={"X-Content-Type-Options": "nosniff"},
    )


def problem_of(error: errors.LibrarianError) -> web.Response:
    """The problem document of an error."""
    more: dict[str, Any] = {}
    said = said_of(error.message)
    if said is not None:
        more["said"] = asdict(said)
    wait = getattr(error, "retry_after_s", None)
    if wait is not None:
        more["retry_after_s"] = wait
    if isinstance(error, errors.InvalidFieldsError):
        more["fields"] = [{"field": name, "message": wrong} for name, wrong in error.fields]
    return problem(status_of(error), error.code, error.message, **more)
