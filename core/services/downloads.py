from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from ..downloading import (
    Download,
    DownloadExistsError,
    DownloadRequest,
    DownloadState,
    Origins,
    Reason,
)
from ..downloading.fetching import Fetching, Pace
from ..downloading.known import mark_known
from ..downloading.listed import Listed
from ..downloading.queue import Run, Turns
from ..downloading.records import Entry, Plan, PlannedFile
from ..downloading.sets import groups_of, require_acknowledged
from ..downloading.store import Store
from ..errors import (
    CancelledError,
    ConflictError,
    LibrarianError,
    NotFoundError,
    PausedError,
)
from ..importing import ImportItem, ImportRequest
from ..importing.grouping import FileGroup
from ..importing.journal import require_library
from ..importing.uploads import Uploads
from ..jobs import Job, JobContext, JobItem, JobRunner
from ..library import Library
from ..loop import LoopThread
from ..network import BadAnswerError, HostNotAllowedError, HttpStatusError, NetworkError, NetworkManager
from ..sources.lookup import is_outage
from ..storage.atomic import write_atomic
from ..storage.disk import require_space, require_writable, storage_error
from .imports import Imports

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_DOWNLOADS = 500
"""How many may be listed at once, those that are done aside."""

_KEPT_DONE = 50
_JOBS_AT_ONCE = 32
_PICKLES = frozenset({".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"})
_FIRST_WAIT_S, _LONGEST_WAIT_S, _OFFLINE_WAIT_S = 1.0, 300.0, 60.0
_WOKEN = frozenset({"offline", "circuit_open", "network_unavailable"})
_MAX_PREVIEW_BYTES = 8 * 1024 * 1024
_PICTURES = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
_SPEED_S = 5.0


class DownloadFailedError(LibrarianError):
    """Something of a download could not be had; the code is that of its first file that failed."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class DownloadAccepted(NamedTuple):
    """A new download and the job that works on it."""

    job: Job
    download: Download


class Downloads:
    """Bringing models from Hugging Face, Civitai and other allowed hosts into the library.

    What is asked for is written down in ``.incoming`` before anything is fetched, so a download outlives this
    process: `start` goes on with what an earlier one left. Two at a time; one that cannot reach its host waits,
    and goes on by itself. Methods block.

    Args:
        origins: Finds out what a request names.
        imports: Takes in what has come, and links it.
        uploads: Where it arrives.
        library: What is there already.
        network: The way there.
        loop: Where the network is waited for.
        jobs: Runs them.
        limit: Bytes a second for all together, as the person has it at the moment; None for all there is.
    """

    def __init__(
        self,
        origins: Origins,
        imports: Imports,
        uploads: Uploads,
        library: Library,
        network: NetworkManager,
        loop: LoopThread,
        jobs: JobRunner,
        limit: Callable[[], int | None],
    ) -> None:
        self._origins = origins
        self._imports = imports
        self._uploads = uploads
        self._library = library
        self._network = network
        self._loop = loop
        self._jobs = jobs
        self._store = Store(library.root)
        self._threads = ThreadPoolExecutor(4, "librarian-download-disk")
        self._fetching = Fetching(network, uploads, self._threads, Pace(limit))
        self._turns = Turns()
        self._lock = threading.RLock()
        self._listed: dict[str, Listed] = {}
        self._closing = False
        network.on_change(lambda _: self.network_changed())

    def start(self) -> None:
        """Go on with what an earlier process left, and list what is paused or failed. Call it once."""
        for entry, kept in self._store.load():
            listed = Listed(entry, kept, self._origins.page_url(entry.request))
            with self._lock:
                self._listed[entry.id] = listed
            if entry.state == "active":
                with suppress(ConflictError):  # shutting down
                    self._begin(listed)
            else:
                listed.state, listed.reason = entry.state, entry.reason

    def close(self) -> None:
        """Stop what runs; the next `start` goes on with it."""
        self._closing = True
        with self._lock:
            everything = list(self._listed.values())
        for listed in everything:
            self._turns.stop(listed.run, "pause")
            self._cancel_import(listed)
        for listed in everything:
            with listed.running:
                if listed.kept is not None:
                    listed.kept.release()
        self._threads.shutdown()

    def add(self, request: DownloadRequest) -> DownloadAccepted:
        """Queue a download. Where the host cannot be reached now, it waits for it.

        Raises:
            NotFoundError: There is no such file.
            PickleNotAcknowledgedError: A file's name is that of a pickle, and nobody said yes to it.
            HashMismatchError: It is published with another hash than the request names.
            DownloadExistsError: One of its files is being downloaded already.
            InsufficientSpaceError: It does not fit, with all that is on its way.
            NetworkError: The host refuses; 401, 403, 404 and 451 say what to do.
            InvalidRequestError, StorageError, ConflictError.
        """
        request = self._origins.understood(request)
        require_library(self._library.root)
        require_writable(self._library.root)
        require_acknowledged(request, request.files or [request.name or request.url or ""])
        plan: Plan | None = None
        try:
            plan = self._loop.run(self._origins.plan(request))
        except NetworkError as error:
            if not is_outage(error):
                raise self._explained(error, request, None) from error
        entry = Entry(id=uuid.uuid4().hex, request=request)
        if plan is not None:
            self._accept(entry, plan)
        with self._lock:
            open_ones = [one for one in self._listed.values() if one.state != "done"]
            if len(open_ones) >= MAX_DOWNLOADS:
                raise ConflictError(f"{len(open_ones)} downloads are listed already. Remove some of them.")
            listed = Listed(entry, self._store.create(entry), self._origins.page_url(request))
            self._listed[entry.id] = listed
        job = self._begin(listed)
        return DownloadAccepted(job, listed.shown())

    def all(self) -> list[Download]:
        """The downloads that are not removed, oldest first; the last ones that are done are among them."""
        with self._lock:
            return [listed.shown() for listed in self._listed.values()]

    def get(self, download_id: str) -> Download:
        """One download. Raises `NotFoundError`."""
        return self._find(download_id).shown()

    def pause(self, download_id: str) -> Download:
        """Stop a download and keep what has come; also over restarts.

        Raises `NotFoundError`, and `ConflictError` if nothing of it is to come any more.
        """
        with self._lock:
            listed = self._find(download_id)
            if listed.state in ("importing", "done", "failed"):
                raise ConflictError(f"This download is {listed.state}; there is nothing to pause.")
            if listed.state != "paused":
                listed.entry.state, listed.state, listed.reason = "paused", "paused", None
                listed.write()
                self._turns.stop(listed.run, "pause")
        return listed.shown()

    def resume(self, download_id: str, *, acknowledge_pickle: bool = False) -> DownloadAccepted:
        """Go on with a download that is paused or failed, where it was; one that waits tries at once.

        Raises `NotFoundError`, `ConflictError`, `StorageError`.
        """
        with self._lock:
            listed = self._find(download_id)
            entry = listed.entry
            if acknowledge_pickle:
                entry.request = entry.request.model_copy(update={"acknowledge_pickle": True})
            if listed.state == "waiting":
                listed.write()
                self._turns.wake(listed.run)
            elif listed.state in ("paused", "failed"):
                entry.state, entry.reason = "active", None
                for file in entry.plan.files if entry.plan is not None else ():
                    if file.state == "failed":
                        file.state, file.reason = "queued", None
                listed.write()
                self._begin(listed)
            elif listed.state == "done":
                raise ConflictError("This download is done.")
        return DownloadAccepted(self._jobs.get(listed.job_id or ""), listed.shown())

    def remove(self, download_id: str) -> Download:
        """Cancel a download and remove what has come; one that is done is only forgotten.

        Raises `NotFoundError`, `StorageError`.
        """
        with self._lock:
            listed = self._find(download_id)
            del self._listed[download_id]
        last = listed.shown()
        self._turns.stop(listed.run, "cancel")
        self._cancel_import(listed)
        with suppress(NotFoundError):
            self._jobs.cancel(listed.job_id or "")
        with listed.running:
            if listed.kept is not None:
                for file in listed.entry.plan.files if listed.entry.plan is not None else ():
                    self._uploads.discard(file.upload_id)
                listed.kept.remove()
        return last

    def network_changed(self) -> None:
        """Have those that wait for the network try again, if it is worth it. Returns at once."""
        with self._lock:
            waiting = [
                one for one in self._listed.values() if one.state == "waiting" and one.reason is not None
            ]
        for listed in waiting:
            address = self._origins.asked_url(listed.entry.request)
            if listed.reason and listed.reason.code in _WOKEN and self._network.is_reachable(address):
                self._turns.wake(listed.run)

    def _find(self, download_id: str) -> Listed:
        with self._lock:
            listed = self._listed.get(download_id)
        if listed is None:
            raise NotFoundError("There is no such download (any more).")
        return listed

    def _begin(self, listed: Listed) -> Job:
        run = Run()
        with self._lock:
            listed.run, listed.state, listed.reason = run, "queued", None
        plan = listed.entry.plan
        names = [file.path for file in plan.files] if plan is not None else [listed.name]
        job = self._jobs.submit(
            "download",
            lambda context: self._work(listed, run, context),
            lane="download",
            items=[JobItem(name=name) for name in names],
            width=_JOBS_AT_ONCE,
            on_cancel=lambda: self._job_cancelled(listed, run),
        )
        listed.job_id = job.id
        return job

    def _job_cancelled(self, listed: Listed, run: Run) -> None:
        """Somebody cancelled the job: to a person that is the download."""
        if self._closing or run.stopped is not None:
            return
        try:
            self.remove(listed.entry.id)
        except NotFoundError:
            pass
        except LibrarianError as error:
            logger.warning("a cancelled download could not be removed whole: %s", error.message)

    def _cancel_import(self, listed: Listed) -> None:
        if listed.import_job is not None:
            with suppress(NotFoundError):
                self._jobs.cancel(listed.import_job)

    def _work(self, listed: Listed, run: Run, job: JobContext) -> dict[str, Any]:
        with listed.running:
            try:
                run.check()
                self._bring_all(listed, run, job)
                return self._take_in(listed, run, job)
            except PausedError:
                raise
            except CancelledError:
                run.check()
                raise
            except LibrarianError as error:
                self._fail(listed, run, error)
                raise
            except OSError as error:
                problem = storage_error(error, self._library.root)
                self._fail(listed, run, problem)
                raise problem from error
            except Exception as error:
                self._fail(
                    listed, run, LibrarianError(f"Librarian met an error of its own ({error}). See its log.")
                )
                raise

    def _bring_all(self, listed: Listed, run: Run, job: JobContext) -> None:
        """Have every file that can be had arrive, however often the network fails."""
        failures = 0
        while True:
            before = listed.received
            try:
                with self._turns.turn(run):
                    self._bring(listed, run, job)
                return
            except NetworkError as error:
                if not is_outage(error):
                    raise self._explained(error, listed.entry.request, listed.entry.plan) from error
                failures = 0 if listed.received > before else failures + 1
                self._wait(listed, run, job, error, failures)

    def _wait(self, listed: Listed, run: Run, job: JobContext, error: NetworkError, failures: int) -> None:
        pause = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(failures, 20)) * random.uniform(0.75, 1.0)
        if error.code == "offline":
            pause = _OFFLINE_WAIT_S
        pause = max(pause, min(float(getattr(error, "retry_after_s", 0.0)) + 0.05, _LONGEST_WAIT_S))
        self._enter(listed, run, "waiting", Reason(code=error.code, message=error.message))
        listed.retry_at = time.monotonic() + pause
        listed.speed.stop()
        job.job.stage = "waiting"
        job.job.progress.rate = job.job.progress.eta_s = None
        job.changed(now=True)
        self._turns.wait(run, pause)
        self._enter(listed, run, "queued")

    def _bring(self, listed: Listed, run: Run, job: JobContext) -> None:
        """Find out what is to come, and have it arrive. Raises what is in the way of all of it."""
        entry = listed.entry
        self._enter(listed, run, "downloading")
        if entry.plan is None:
            self._accept(entry, self._await(run, self._origins.plan(entry.request)))
            listed.write()
        plan = entry.plan
        assert plan is not None
        for file in plan.files:
            if file.state == "arrived" and not self._is_here(file):
                file.state, file.received, file.etag = "queued", 0, None
        mark_known(self._library, plan)
        job.job.items = [
            JobItem(name=file.path, current=file.received, total=file.size) for file in plan.files
        ]
        job.stage("downloading", total=listed.size, unit="bytes")
        for file, item in zip(plan.files, job.job.items, strict=True):
            if file.state in ("queued", "downloading"):
                self._bring_one(listed, run, job, file, item)
            if file.state == "failed" and file.reason is not None:
                item.state, item.code, item.message = "failed", file.reason.code, file.reason.message
            elif file.state == "present":
                item.state, item.code, item.model_id = "skipped", "duplicate", file.model_id
        job.changed(now=True)

    def _bring_one(self, listed: Listed, run: Run, job: JobContext, file: PlannedFile, item: JobItem) -> None:
        def came(count: int) -> None:
            listed.speed.add(count)
            progress = job.job.progress
            progress.total, progress.current = listed.size, listed.received
            progress.rate, progress.eta_s = listed.rate, listed.eta_s
            item.current, item.total = file.received, file.size
            job.changed()

        file.state, item.state = "downloading", "running"
        owner = f"download-{listed.entry.id}"
        try:
            upload = self._await(run, self._fetching.fetch(file, owner, listed.write, came))
        except (HttpStatusError, BadAnswerError, HostNotAllowedError) as error:
            file.state = "queued"
            if is_outage(error):
                raise
            told = self._explained(error, listed.entry.request, listed.entry.plan)
            file.state, file.reason = "failed", Reason(code=told.code, message=told.message)
        except NetworkError:
            file.state = "queued"
            raise
        except LibrarianError as error:
            run.check()
            if error.code not in ("hash_mismatch", "size_mismatch", "web_page"):
                file.state = "queued"
                raise
            file.state, file.reason = "failed", Reason(code=error.code, message=error.message)
        else:
            file.state, file.sha256 = "arrived", upload.sha256
            file.size = file.received = upload.size
            item.current, item.total = upload.size, upload.size
        listed.write()

    def _take_in(self, listed: Listed, run: Run, job: JobContext) -> dict[str, Any]:
        """Import what has arrived, as the import of any other file; what becomes of each is on its file."""
        plan = listed.entry.plan
        assert plan is not None
        self._enter(listed, run, "importing")
        arrived = {file.upload_id: file for file in plan.files if file.state == "arrived"}
        if arrived:
            job.stage("importing", total=len(arrived), unit="files")
            self._import(listed, arrived, run)
        failed = [file for file in plan.files if file.state == "failed"]
        models = list(dict.fromkeys(file.model_id for file in plan.files if file.model_id))
        listed.models = models
        links: dict[str, Any] | None = None
        if listed.entry.request.link and models:
            links = self._imports.link(models, job).model_dump()
        if failed:
            reasons = [file.reason for file in failed if file.reason is not None]
            first = min(reasons, key=lambda reason: reason.code == "incomplete_set")
            raise DownloadFailedError(first.message, first.code)
        imported = [file.model_id for file in plan.files if file.state == "imported"]
        for file, item in zip(plan.files, job.job.items, strict=True):
            item.model_id = file.model_id
            item.state = "done" if file.state == "imported" else "skipped"
        for file in plan.files:
            self._uploads.discard(file.upload_id)  # of what turned out to be here
        with self._lock:
            if listed.kept is not None:
                listed.kept.remove()
                listed.kept = None
            listed.state = "done"
            done = [key for key, one in self._listed.items() if one.state == "done"]
            for key in done[: max(0, len(done) - _KEPT_DONE)]:
                del self._listed[key]
        return {
            "imported": list(dict.fromkeys(imported)),
            "present": [model for model in models if model not in imported],
            "links": links,
        }

    def _import(self, listed: Listed, arrived: dict[str, PlannedFile], run: Run) -> None:
        staged = dict(zip(arrived, self._uploads.staged(list(arrived)), strict=True))
        items: list[ImportItem] = []
        parts: list[list[PlannedFile]] = []
        for group, ids in groups_of(staged):
            files = [arrived[upload_id] for upload_id in ids]
            if group.problem is not None:
                for file in files:
                    file.state, file.reason = "failed", Reason(code="incomplete_set", message=group.problem)
                continue
            self._fetch_preview(listed, group, run)
            yes = listed.entry.request.acknowledge_pickle
            items.append(ImportItem(uploads=ids, acknowledge_pickle=yes))
            parts.append(files)
        if not items:
            listed.write()
            return
        job = self._imports.start(ImportRequest(items=items))
        listed.import_job = job.id
        if run.stopped is not None:
            self._cancel_import(listed)
        ended = self._jobs.wait(job.id)
        listed.import_job = None
        for files, item in zip(parts, ended.items, strict=True):
            for file in files:
                file.model_id = item.model_id
                if item.state in ("done", "skipped"):
                    file.state = "imported" if item.state == "done" else "present"
                elif item.state == "failed":
                    message = item.message or "It could not be imported."
                    file.state = "failed"
                    file.reason = Reason(code=item.code or "import_failed", message=message)
        run.check()
        if ended.state == "cancelled":
            raise DownloadFailedError("Its import was cancelled. What has come is kept.", "cancelled")
        for file in arrived.values():
            if file.state == "failed" and file.reason is not None and file.reason.code == "not_a_model":
                self._uploads.discard(file.upload_id)  # the same bytes would come again
                file.received, file.etag = 0, None
        listed.write()

    def _fetch_preview(self, listed: Listed, group: FileGroup, run: Run) -> None:
        """Put the source's picture beside the file, where an import finds it; without it all is well, too."""
        plan = listed.entry.plan
        if plan is None or plan.preview_url is None or group.format == "diffusion-folder":
            return
        named = group.main.path if group.format == "single-file" else group.main.path.with_name(group.name)
        try:
            answer = self._await(
                run, self._network.request("GET", plan.preview_url, max_bytes=_MAX_PREVIEW_BYTES)
            )
            ending = next((end for start, end in _PICTURES.items() if answer.content.startswith(start)), None)
            if answer.is_success and ending is not None:
                write_atomic(named.with_name(named.stem + ending), answer.content)
        except (NetworkError, OSError) as error:
            logger.info("no preview for %s: %s", listed.name, error)

    def _accept(self, entry: Entry, plan: Plan) -> None:
        """Take a plan for a download. Raises what `add` raises."""
        require_acknowledged(entry.request, [file.path for file in plan.files])
        for file in plan.files:
            file.upload_id = uuid.uuid4().hex
        urls = {file.url for file in plan.files}
        coming = sum(file.size or 0 for file in plan.files)
        with self._lock:
            for other in self._listed.values():
                if other.entry.id == entry.id or other.state == "done" or other.entry.plan is None:
                    continue
                same = [file.path for file in other.entry.plan.files if file.url in urls]
                if same:
                    raise DownloadExistsError(
                        f"{same[0]} is among the downloads already ({other.state}). Go on with that one, or "
                        "remove it."
                    )
                if other.state != "failed":
                    coming += max(0, (other.size or 0) - other.received)
        require_space(self._library.root, coming)
        entry.plan = plan

    def _is_here(self, file: PlannedFile) -> bool:
        try:
            return self._uploads.get(file.upload_id).complete
        except NotFoundError:
            return False

    def _explained(self, error: NetworkError, request: DownloadRequest, plan: Plan | None) -> NetworkError:
        """The error, with the page on which something can be done about it."""
        page = plan.page_url if plan is not None else self._origins.page_url(request)
        if isinstance(error, HttpStatusError) and error.status in (401, 403) and page:
            told = HttpStatusError(error.host, error.status)
            told.args = (f"{error.message} Its page is {page}",)
            return told
        return error

    def _await(self, run: Run, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the network's loop; it ends when the run is stopped. Raises what it raises."""

        async def stoppable() -> T:
            done = self._turns.stoppable(run)
            try:
                return await work
            finally:
                done()

        try:
            return self._loop.run(stoppable())
        except CancelledError:
            run.check()
            raise

    def _enter(self, listed: Listed, run: Run, state: DownloadState, reason: Reason | None = None) -> None:
        with self._lock:
            run.check()
            listed.state, listed.reason = state, reason
            listed.retry_at = None

    def _fail(self, listed: Listed, run: Run, error: LibrarianError) -> None:
        with self._lock:
            if self._closing or run.stopped is not None:
                return
            reason = Reason(code=error.code, message=error.message)
            listed.state, listed.reason = "failed", reason
            listed.entry.state, listed.entry.reason = "failed", reason
            listed.speed.stop()
            with suppress(LibrarianError):
                listed.write()
