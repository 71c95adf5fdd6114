from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from ..downloading import Download, DownloadExistsError, DownloadRequest, Origins, Reason
from ..downloading.bringing import Bringing
from ..downloading.errors import explained
from ..downloading.fetching import Fetching, Pace
from ..downloading.listed import Listed
from ..downloading.queue import Run, Turns
from ..downloading.records import Entry, Plan
from ..downloading.sets import require_acknowledged
from ..downloading.store import Store
from ..errors import CancelledError, ConflictError, LibrarianError, NotFoundError, PausedError
from ..importing.journal import require_library
from ..importing.uploads import Uploads
from ..jobs import Job, JobContext, JobItem, JobRunner
from ..library import Library
from ..loop import LoopThread
from ..network import NetworkError, NetworkManager
from ..sentences import say
from ..sources.lookup import is_outage
from ..storage.disk import require_space, require_writable, storage_error
from .arrivals import Arrivals
from .imports import Imports
from .places import Places
from .reports import Warning

logger = logging.getLogger(__name__)

MAX_DOWNLOADS = 500
"""How many may be listed at once, those that are done aside."""

_KEPT_DONE = 50
_JOBS_AT_ONCE = 32
_WOKEN = frozenset({"offline", "circuit_open", "network_unavailable"})


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
        places: Where files may be that are here already.
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
        places: Places,
        limit: Callable[[], int | None],
    ) -> None:
        self._origins = origins
        self._uploads = uploads
        self._library = library
        self._network = network
        self._loop = loop
        self._jobs = jobs
        self._places = places
        self._store = Store(library.root)
        self._threads = ThreadPoolExecutor(4, "librarian-download-disk")
        self._turns = Turns()
        fetching = Fetching(network, uploads, self._threads, Pace(limit))
        self._bringing = Bringing(origins, fetching, uploads, library, self._turns, loop, self._accept)
        self._arrivals = Arrivals(imports, uploads, library, network, jobs, self._bringing)
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
            self._arrivals.cancel(listed)
        for listed in everything:
            with listed.running:
                if listed.kept is not None:
                    listed.kept.release()
        self._threads.shutdown()

    def add(self, request: DownloadRequest) -> DownloadAccepted:
        """Queue a download. Where the host cannot be reached now, it waits for it.

        Raises:
            NotFoundError: There is no such file.
            OutsideRootsError: What is said to lie here is where Librarian may not look.
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
                raise explained(error, self._origins.page_url(request)) from error
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
        listed = self._find(download_id)
        with listed.lock:
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
        listed = self._find(download_id)
        with listed.lock:
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
        self._arrivals.cancel(listed)
        with suppress(NotFoundError):
            self._jobs.cancel(listed.job_id or "")
        with listed.running:
            if listed.kept is not None:
                for file in listed.entry.plan.files if listed.entry.plan is not None else ():
                    self._uploads.discard(file.upload_id)
                listed.kept.remove()
        return last

    def remove_aside(self, download_id: str) -> Download:
        """Throw away what came with other bytes than published and is kept aside.

        Raises `NotFoundError`, `StorageError`.
        """
        listed = self._find(download_id)
        with listed.lock:
            if listed.kept is not None:
                listed.kept.remove_aside()
            return listed.shown()

    def warnings(self) -> list[Warning]:
        """What a person should know of downloads that came wrong."""
        return [
            Warning(
                code="download_kept_aside",
                message=say(
                    "download_kept_aside",
                    "{path} came with other bytes than published and is kept aside as {aside}.",
                    path=file.path,
                    aside=file.aside.path,
                ),
            )
            for download in self.all()
            for file in download.files
            if file.aside is not None
        ]

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
        with listed.lock:
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

    def _work(self, listed: Listed, run: Run, job: JobContext) -> dict[str, Any]:
        with listed.running:
            try:
                run.check()
                self._bringing.bring(listed, run, job)
                result = self._arrivals.take_in(listed, run, job)
                self._done(listed)
                return result
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

    def _done(self, listed: Listed) -> None:
        """Nothing of it is to come any more; the last ones are still listed."""
        with self._lock:
            if listed.kept is not None:
                listed.kept.remove()
                listed.kept = None
            listed.state = "done"
            done = [key for key, one in self._listed.items() if one.state == "done"]
            for key in done[: max(0, len(done) - _KEPT_DONE)]:
                del self._listed[key]

    def _accept(self, entry: Entry, plan: Plan) -> None:
        """Take a plan for a download. Raises what `add` raises."""
        require_acknowledged(entry.request, [file.path for file in plan.files])
        for file in plan.files:
            file.upload_id = uuid.uuid4().hex
        self._find_here(entry.request, plan)
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

    def _find_here(self, request: DownloadRequest, plan: Plan) -> None:
        """Note which files lie here already, by their names and sizes; their bytes are compared when they are copied.

        Raises `OutsideRootsError`, `NotFoundError`, `InvalidRequestError`, `ConflictError`.
        """
        roots = self._places.allowed()
        found = {path.name: path for path in map(roots.confine, request.here)}
        for staged in self._uploads.staged(request.uploads):
            found[staged.name.rpartition("/")[2]] = staged.path
        for file in plan.files:
            path = found.get(file.path.rpartition("/")[2])
            with suppress(OSError):
                if path is not None and file.sha256 and path.is_file() and path.stat().st_size == file.size:
                    file.here = str(path)

    def _fail(self, listed: Listed, run: Run, error: LibrarianError) -> None:
        with listed.lock:
            if self._closing or run.stopped is not None:
                return
            reason = Reason(code=error.code, message=error.message)
            listed.state, listed.reason = "failed", reason
            listed.entry.state, listed.entry.reason = "failed", reason
            listed.speed.stop()
            with suppress(LibrarianError):
                listed.write()
