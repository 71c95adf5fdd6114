"""One file on its way: asked for from where it was left, checked as it comes, written as it comes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import NotFoundError, UploadExpiredError, UploadTooLongError
from ..importing.receiving import Upload, Writing
from ..importing.uploads import Uploads
from ..network import BadAnswerError, NetworkManager, NetworkUnavailableError, raise_for_status
from ..sentences import say
from .errors import HashMismatchError, SizeMismatchError, WebPageError
from .records import PlannedFile

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH_BYTES = 1024 * 1024
_BATCHES_AHEAD = 2
_LOOK_AT_BYTES = 512
_ROUNDED_BYTES = 1024
"""How far the real size may be from one that its source rounds."""

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_STRONG = re.compile(r'"[\x21\x23-\x7e]{1,500}"', re.ASCII)
_PAGE = re.compile(
    rb"\s*(?:<!--.{0,1000}?-->\s*)*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL
)


class _Body(NamedTuple):
    """What an answer's head says of its body: from where, and how large the whole file is. In bytes."""

    start: int
    total: int
    etag: str | None


class Pace:
    """Holds several downloads together to a number of bytes a second, which may change at any time."""

    def __init__(self, limit: Callable[[], int | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        """Wait for the room for ``count`` bytes that have come."""
        limit = self._limit()
        if not limit:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + count / limit
        await asyncio.sleep(self._free_at - now)


class Fetching:
    """Brings files into uploads.

    Args:
        network: The way there.
        uploads: Where they arrive.
        threads: Where the disk is waited for.
        pace: What holds them back.
    """

    def __init__(self, network: NetworkManager, uploads: Uploads, threads: Executor, pace: Pace) -> None:
        self._network = network
        self._uploads = uploads
        self._threads = threads
        self._pace = pace

    async def fetch(
        self, file: PlannedFile, owner: str, changed: Callable[[], None], came: Callable[[int], None]
    ) -> Upload:
        """Bring a file to its end, from where it was left; answers the whole upload with its hashes.

        What lies on this machine already is copied, if it has the published bytes.

        ``file`` follows what happens; ``changed`` is called when what is to be remembered of it did, ``came`` with
        each number of bytes that is on the disk.

        Raises:
            NetworkError: Nobody answered, or the host refuses. What has come is kept.
            HashMismatchError: It is whole, but has another hash than is published. It stays in its upload.
            SizeMismatchError: The host has a file of another size.
            WebPageError: The host sent a web page.
            StorageError: The disk refuses; full, for one. What has come is kept.
        """
        upload = await self._call(self._there, file)
        if file.here is not None and file.etag is None and not (upload and upload.complete):
            upload = await self._copied(file, Path(file.here), upload, owner, came)
        if upload is None or not upload.complete:
            try:
                upload = await self._receive(file, upload, owner, changed, came)
            except SizeMismatchError as error:
                if isinstance(error.__cause__, UploadTooLongError):
                    await self._call(self._uploads.discard, file.upload_id)
                    file.received, file.etag = 0, None
                raise
        return await self._call(self._verified, file, upload)

    async def _copied(
        self, file: PlannedFile, path: Path, upload: Upload | None, owner: str, came: Callable[[int], None]
    ) -> Upload | None:
        """A copy of a file that lies here, if it is the published one; nothing is left of any other.

        It goes on from what an earlier run had copied: the hash of the whole tells whether that belongs to it.
        """
        try:
            if upload is None or upload.size != file.size:
                upload = await self._call(self._new_upload, file, file.size or 0, owner)
                file.received = 0
            writing = await self._open(upload, upload.offset)
            try:
                await self._write(self._blocks_of(path, upload.offset), writing, file, came, local=True)
            finally:
                upload = await asyncio.shield(asyncio.wrap_future(writing.close()))
            if upload.complete and upload.sha256 == file.sha256:
                return upload
            logger.info("%s is not %s as it is published; that is fetched", path, file.path)
        except (OSError, UploadTooLongError) as error:
            logger.info("%s could not be copied, so it is fetched: %s", path, error)
        await self._call(self._uploads.discard, file.upload_id)
        file.received = 0
        return None

    async def _blocks_of(self, path: Path, start: int) -> AsyncIterator[bytes]:
        source = await self._call(lambda: path.open("rb"))
        try:
            await self._call(source.seek, start)
            while block := await self._call(source.read, _BATCH_BYTES):
                yield block
        finally:
            source.close()

    def _verified(self, file: PlannedFile, upload: Upload) -> Upload:
        """A whole upload with its hash, if it has the published bytes. Raises `HashMismatchError`."""
        staged = None
        if upload.sha256 is None or (file.sha256 is None and file.git_sha1 is not None):
            [staged] = self._uploads.staged([upload.id])
        if upload.sha256 is None and staged is not None:  # a crash came before its hashes were written down
            upload = upload._replace(sha256=staged.transferred.sha256)
        published, came = file.sha256, upload.sha256
        if published is None and file.git_sha1 is not None and staged is not None:
            published, came = file.git_sha1, _git_sha1(staged.path, upload.size)
        if published is not None and came != published:
            name = "SHA-256" if file.sha256 is not None else "Git SHA-1"
            raise HashMismatchError(
                say(
                    "hash_mismatch",
                    "{path} arrived with other bytes than published ({algorithm} {came}…, not {published}…).",
                    path=file.path,
                    algorithm=name,
                    came=(came or "")[:12],
                    published=published[:12],
                ),
                upload.sha256,
            )
        return upload

    async def _receive(
        self,
        file: PlannedFile,
        upload: Upload | None,
        owner: str,
        changed: Callable[[], None],
        came: Callable[[int], None],
    ) -> Upload:
        offset = upload.offset if upload is not None else 0
        if file.etag is None and file.sha256 is None:
            offset = 0  # nothing would tell whether the rest belongs to what is here
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if file.etag is not None:
                headers["If-Range"] = file.etag
        async with self._network.stream("GET", file.url, headers=headers) as response:
            if response.status_code == 416 and offset:
                await self._start_again(file, changed)
                raise NetworkUnavailableError(
                    response.request.url.host, "it has no more of this file; it starts again"
                )
            body = _understood(response, file, offset)
            # Parts with different validators are parts of different files (RFC 9110, section 15.3.7.3).
            other = body.start > 0 and file.sha256 is None and body.etag != file.etag
            if upload is None or other or body.start != upload.offset or body.total != upload.size:
                upload = await self._call(self._new_upload, file, body.total, owner)
                if body.start:  # the file is another one now, and its beginning is needed, too
                    await self._start_again(file, changed)
                    raise NetworkUnavailableError(
                        response.request.url.host, "the file has changed; it starts again"
                    )
            if (file.size, file.etag) != (body.total, body.etag):
                file.size, file.etag = body.total, body.etag
                await self._call(changed)
            file.received = body.start
            writing = await self._open(upload, body.start)
            try:
                await self._write(response.aiter_raw(), writing, file, came)
            except UploadTooLongError as error:
                raise SizeMismatchError(
                    say(
                        "more_than_announced",
                        "{path} was announced with {length} bytes, but its host sends more. It was cut off.",
                        path=file.path,
                        length=body.total,
                    )
                ) from error
            finally:
                upload = await asyncio.shield(asyncio.wrap_future(writing.close()))
                file.received = upload.offset
            if not upload.complete:
                raise NetworkUnavailableError(response.request.url.host, "it ended before all had come")
            return upload

    async def _write(
        self,
        blocks: AsyncIterator[bytes],
        writing: Writing,
        file: PlannedFile,
        came: Callable[[int], None],
        *,
        local: bool = False,
    ) -> None:
        """Write what comes, a few batches ahead of the disk at most."""
        under_way: deque[Future[None]] = deque()
        batch: list[bytes] = []
        count = 0
        looked_at = local or writing.offset > 0

        def append() -> None:
            nonlocal batch, count
            size = count

            def written(future: Future[None]) -> None:
                if not future.cancelled() and future.exception() is None:
                    file.received += size
                    came(size)

            under_way.append(writing.append(batch))
            under_way[-1].add_done_callback(written)
            batch, count = [], 0

        async def settle(most: int) -> None:
            while len(under_way) > most:
                # Whoever stops this must not take a batch out of the middle.
                await asyncio.shield(asyncio.wrap_future(under_way.popleft()))

        try:
            async for block in blocks:
                batch.append(block)
                count += len(block)
                if not looked_at and count >= _LOOK_AT_BYTES:
                    _refuse_page(batch, file)
                    looked_at = True
                if not local:
                    await self._pace.take(len(block))
                if count >= _BATCH_BYTES:
                    append()
                    await settle(_BATCHES_AHEAD)
            if not looked_at:
                _refuse_page(batch, file)
                looked_at = True
        finally:
            if (
                batch and looked_at
            ):  # also when the connection breaks, or somebody pauses it: what came is kept
                append()
        await settle(0)

    def _there(self, file: PlannedFile) -> Upload | None:
        try:
            upload = self._uploads.get(file.upload_id)
        except (NotFoundError, UploadExpiredError):
            return None
        file.received = upload.offset
        return upload

    def _new_upload(self, file: PlannedFile, size: int, owner: str) -> Upload:
        return self._uploads.create(size, file.name, upload_id=file.upload_id, told=file.told, owner=owner)

    async def _start_again(self, file: PlannedFile, changed: Callable[[], None]) -> None:
        await self._call(self._uploads.discard, file.upload_id)
        file.received, file.etag = 0, None
        await self._call(changed)

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.shield(self._begun(function, *arguments))

    def _begun(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _open(self, upload: Upload, offset: int) -> Writing:
        opening = self._begun(self._uploads.write, upload.id, offset)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])  # nobody else would close it
            if opening.exception() is None:
                await asyncio.wrap_future(opening.result().close())
            raise


def _git_sha1(path: Path, size: int) -> str:
    """What Git calls a file's content: the id of its blob."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_BATCH_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _refuse_page(batch: list[bytes], file: PlannedFile) -> None:
    """Raise `WebPageError` for what begins like a web page."""
    if _PAGE.match(b"".join(batch)):
        raise WebPageError(
            say(
                "web_page_came",
                "A web page came in place of {path}; a log-in page, perhaps. Open its page in the browser, and set a "
                "token in the settings if it asks who you are.",
                path=file.path,
            )
        )


def _understood(response: httpx.Response, file: PlannedFile, offset: int) -> _Body:
    """What the head of an answer says. Raises what `Fetching.fetch` raises."""
    raise_for_status(response)
    host, headers = response.request.url.host, response.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise WebPageError(
            say(
                "web_page_sent",
                "{host} sent a web page in place of {path}; a log-in page, perhaps. Open its page in the browser, "
                "and set a token in the settings if it asks who you are.",
                host=host,
                path=file.path,
            )
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BadAnswerError(host, "the file comes in a form that was not asked for")
    length = headers.get("content-length", "")
    start, total = 0, int(length) if _LENGTH.fullmatch(length) else None
    if response.status_code == 206:
        said = _RANGE.fullmatch(headers.get("content-range", ""))
        if said is None or not offset or int(said[1]) != offset:
            raise BadAnswerError(host, "it sends another part of the file than was asked for")
        start, total = offset, None if said[3] == "*" else int(said[3])
    elif response.status_code != 200:
        raise BadAnswerError(host, f"it has HTTP status {response.status_code} and no file")
    if total is None:
        if file.size is None or not (file.exact or start):
            raise BadAnswerError(host, "it does not say how large the file is")
        total = file.size
    if file.size is not None and abs(total - file.size) > (0 if file.exact else _ROUNDED_BYTES):
        raise SizeMismatchError(
            say(
                "size_mismatch",
                "{path} has {length} bytes at {host}, but {published} are published. Nothing was downloaded; look at "
                "its page whether it was replaced.",
                path=file.path,
                length=total,
                host=host,
                published=file.size,
            )
        )
    etag = headers.get("etag", "")
    return _Body(start, total, etag if _STRONG.fullmatch(etag) else None)
