"""``/uploads``: files from the browser, with the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload).

For whoever writes a client:

- ``POST /uploads`` with ``Upload-Length`` (bytes) and ``Upload-Metadata`` answers 201 with ``Location``, the last
  part of which is the upload's id. ``filename`` names the file; ``relativePath`` (``folder/…/name``, with ``/``) says
  where in a dropped folder it was, and is what `POST /inspect` groups by.
- ``PATCH`` sends bytes, ``HEAD`` says how many are here, ``DELETE`` removes the upload. Bodies of any size are taken.
- With the last byte the file's hash is known: that answer, and ``HEAD`` from then on, carry
  ``Repr-Digest: sha-256=:…:`` (RFC 9530). Then the id may go into ``uploads[]`` of `POST /inspect` and
  `POST /imports`, which takes the file without copying it.
- An upload lives for seven days after its last byte (``Upload-Expires``), through restarts of the server.
- A problem has a ``code``: ``upload_busy`` (423: somebody else sends or imports it; try again),
  ``upload_offset`` (409: ask with HEAD where to go on), ``not_found`` and ``upload_expired`` (404, 410: begin anew),
  ``insufficient_space`` (507: what came is kept), ``too_many_uploads`` (409), ``checksum_mismatch`` (460: nothing of
  that PATCH is kept), ``upload_too_long`` (413), ``body_too_slow`` (408: nothing came for a minute).

Every request needs ``Tus-Resumable: 1.0.0``. The same callers may upload who may import.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import StreamReader, web

from ..core.errors import InvalidRequestError, LibrarianError, UploadOffsetError, UploadTooLongError
from .problems import BodyTooSlowError, TusVersionError, UploadTypeError, problem_of

if TYPE_CHECKING:  # loaded with the Librarian
    from ..core.importing.receiving import Upload, Writing
    from ..core.librarian import Librarian

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
CHECKSUM_ALGORITHMS = ("sha1", "sha256")
CONTENT_TYPE = "application/offset+octet-stream"

BLOCK_BYTES = 1024 * 1024
IDLE_TIMEOUT_S = 60.0
"""How long a sender may be silent; what came before is kept."""

SETTLE_S = 1.0
"""How long HEAD waits for a PATCH to end. Who asks was mostly cut off, and what it sent is still being written."""

STATUS = {"options": 204, "create": 201, "head": 200, "patch": 204, "delete": 204, "override": 204}
_TUS = {"Tus-Resumable": True}
HEADERS: dict[str, dict[str, bool]] = {
    "options": {},
    "create": {**_TUS, "Upload-Length": True, "Upload-Metadata": False, "Upload-Checksum": False},
    "head": _TUS,
    "patch": {**_TUS, "Upload-Offset": True, "Upload-Checksum": False},
    "delete": _TUS,
    "override": {**_TUS, "X-HTTP-Method-Override": True, "Upload-Offset": False, "Upload-Checksum": False},
}
"""The headers that each handler reads, and whether it needs them; for the OpenAPI document."""

_NUMBER = re.compile(r"[0-9]{1,18}")


class Sending(NamedTuple):
    """What the headers of a request with bytes say of them."""

    length: int | None
    checksum: tuple[str, bytes] | None


class Uploads:
    """Handlers of the tus protocol. Bytes are read on the event loop and written and hashed in threads."""

    def __init__(
        self, enter: Callable[..., Awaitable[Librarian]], run: Callable[..., Awaitable[Any]]
    ) -> None:
        self._enter = enter
        self._run = run
        self._receiving: dict[asyncio.Task[Any], str] = {}

    async def end_streams(self) -> None:
        """Stop receiving, so that the server need not wait for senders; what came is kept."""
        for task in self._receiving:
            task.cancel()

    async def options(self, request: web.Request) -> web.StreamResponse:
        """Say what this server can do. Inside ComfyUI, its own middleware answers instead."""
        await self._enter(request)
        return _answer(
            204,
            {
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
            },
        )

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Begin an upload; bytes in the body are its first."""
        return await self._answered(request, self._create)

    async def head(self, request: web.Request) -> web.StreamResponse:
        """Say how much of an upload is here."""
        return await self._answered(request, self._head)

    async def patch(self, request: web.Request) -> web.StreamResponse:
        """Go on with an upload."""
        return await self._answered(request, self._patch)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove an upload."""
        return await self._answered(request, self._delete)

    async def override(self, request: web.Request) -> web.StreamResponse:
        """For callers that cannot send PATCH or DELETE: ``X-HTTP-Method-Override`` says what is meant."""
        meant = {"PATCH": self._patch, "DELETE": self._delete, "HEAD": self._head}
        handle = meant.get(request.headers.get("X-HTTP-Method-Override", "").upper())
        if handle is None:
            raise web.HTTPMethodNotAllowed("POST", ["DELETE", "HEAD", "PATCH"])
        return await self._answered(request, handle)

    async def _answered(
        self,
        request: web.Request,
        handle: Callable[[web.Request, Librarian], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        librarian = await self._enter(request, changes_things=True)
        try:
            if request.headers.get("Tus-Resumable") != VERSION:
                raise TusVersionError(
                    f"Send «Tus-Resumable: {VERSION}»: this server speaks no other version of tus."
                )
            return await handle(request, librarian)
        except LibrarianError as error:
            response = problem_of(error)
            response.headers["Tus-Resumable"] = VERSION
            if isinstance(error, TusVersionError):
                response.headers["Tus-Version"] = VERSION
            elif isinstance(error, UploadOffsetError):
                response.headers["Upload-Offset"] = str(error.offset)
            return response

    async def _create(self, request: web.Request, librarian: Librarian) -> web.StreamResponse:
        if "Upload-Defer-Length" in request.headers:
            raise InvalidRequestError("The size must be known from the start: send Upload-Length.")
        size = _number(request.headers, "Upload-Length")
        said = request.headers.get("Upload-Metadata", "")
        name = _name(_metadata(said))
        sending = _sending(request) if request.body_exists else None
        if sending is not None and sending.length is not None and sending.length > size:
            raise UploadTooLongError("The body is longer than Upload-Length says.")
        upload: Upload = await self._run(librarian.uploads.create, size, name, said)
        if sending is not None:
            upload = await self._receive(request, librarian, upload.id, 0, sending)
        location = f"{request.rel_url.raw_path.rstrip('/')}/{upload.id}"
        return _answer(201, {"Location": location, **_state(upload)})

    async def _head(self, request: web.Request, librarian: Librarian) -> web.StreamResponse:
        upload_id = request.match_info["upload_id"]
        before = [task for task, received in self._receiving.items() if received == upload_id]
        if before:
            await asyncio.wait(before, timeout=SETTLE_S)
        upload: Upload = await self._run(librarian.uploads.get, upload_id)
        more = {"Upload-Length": str(upload.size), "Cache-Control": "no-store"}
        if upload.metadata:
            more["Upload-Metadata"] = upload.metadata
        return _answer(200, {**_state(upload), **more})

    async def _patch(self, request: web.Request, librarian: Librarian) -> web.StreamResponse:
        sending = _sending(request)
        offset = _number(request.headers, "Upload-Offset")
        upload = await self._receive(request, librarian, request.match_info["upload_id"], offset, sending)
        return _answer(204, _state(upload))

    async def _delete(self, request: web.Request, librarian: Librarian) -> web.StreamResponse:
        await self._run(librarian.uploads.remove, request.match_info["upload_id"])
        return _answer(204, {})

    async def _receive(
        self, request: web.Request, librarian: Librarian, upload_id: str, offset: int, sending: Sending
    ) -> Upload:
        """Add the body to an upload; however it ends, what came is kept."""
        opening = asyncio.ensure_future(
            self._run(
                lambda: librarian.uploads.write(
                    upload_id, offset, length=sending.length, checksum=sending.checksum
                )
            )
        )
        try:
            writing: Writing = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        task = asyncio.current_task()
        assert task is not None
        self._receiving[task] = upload_id
        try:
            await _pour(request.content, writing)
        finally:
            try:
                upload = await asyncio.shield(asyncio.wrap_future(writing.close()))
            finally:
                del self._receiving[task]
        return upload


async def _pour(content: StreamReader, writing: Writing) -> None:
    """Write a body: one block is received while the one before is written, and no more are held."""
    written: asyncio.Future[None] | None = None
    at_end = False
    while not at_end:
        blocks: list[bytes] = []
        try:
            at_end = await asyncio.wait_for(_fill(content, blocks), IDLE_TIMEOUT_S)
        except asyncio.TimeoutError:
            if not blocks:
                raise BodyTooSlowError(
                    f"Nothing came for {IDLE_TIMEOUT_S:.0f} s. What came before is kept: go on from there."
                ) from None
        except (web.RequestPayloadError, ConnectionError):
            at_end = True  # the sender is gone, and nobody reads the answer
        if written is not None:
            await written
        written = asyncio.wrap_future(writing.append(blocks))
    if written is not None:
        await written


async def _fill(content: StreamReader, blocks: list[bytes]) -> bool:
    """Take what comes until it makes a block; whether the body is at its end."""
    size = 0
    while size < BLOCK_BYTES:
        block = await content.readany()
        if not block:
            return True
        blocks.append(block)
        size += len(block)
    return False


def _close_unused(opening: asyncio.Future[Writing]) -> None:
    """For an upload that was opened for a request which was cancelled meanwhile."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _answer(status: int, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status, headers={"Tus-Resumable": VERSION, "X-Content-Type-Options": "nosniff", **headers}
    )


def _state(upload: Upload) -> dict[str, str]:
    state = {
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": format_datetime(upload.expires_at.replace(microsecond=0), usegmt=True),
    }
    if upload.sha256 is not None:
        digest = base64.b64encode(bytes.fromhex(upload.sha256)).decode()
        state["Repr-Digest"] = f"sha-256=:{digest}:"
    return state


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise InvalidRequestError(f"Send {name}: a number of bytes, in digits.")
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """The pairs of ``Upload-Metadata``: ``key base64,key base64``."""
    pairs: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            pairs[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise InvalidRequestError(
                f"Upload-Metadata: {key[:40]} is not text in UTF-8 and base64."
            ) from error
    return pairs


def _name(metadata: Mapping[str, str]) -> str:
    named = (metadata.get(key, "") for key in ("relativePath", "filename", "name"))
    return next((name for name in named if name.strip()), "upload")


def _sending(request: web.Request) -> Sending:
    if request.content_type != CONTENT_TYPE:
        raise UploadTypeError(f"Send the bytes of an upload with «Content-Type: {CONTENT_TYPE}».")
    return Sending(request.content_length, _checksum(request.headers.get("Upload-Checksum")))


def _checksum(header: str | None) -> tuple[str, bytes] | None:
    if header is None:
        return None
    algorithm, _, text = header.partition(" ")
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise InvalidRequestError(f"Upload-Checksum: use {' or '.join(CHECKSUM_ALGORITHMS)}.")
    try:
        return algorithm, base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidRequestError("Upload-Checksum: the digest is not in base64.") from error
