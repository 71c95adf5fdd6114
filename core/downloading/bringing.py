"""How all files of a download arrive, however often the network fails."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..errors import CancelledError, LibrarianError, NotFoundError
from ..importing.uploads import Uploads
from ..jobs import JobContext, JobItem
from ..library import Library
from ..loop import LoopThread
from ..network import BadAnswerError, HostNotAllowedError, HttpStatusError, NetworkError
from ..sentences import say
from ..sources.lookup import is_outage
from .errors import HashMismatchError, explained
from .fetching import Fetching
from .known import mark_known
from .listed import Listed
from .origins import Origins
from .queue import Run, Turns
from .records import Aside, Entry, Plan, PlannedFile, Reason

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_WAIT_S, _LONGEST_WAIT_S, _OFFLINE_WAIT_S = 1.0, 300.0, 60.0
_FILE_ONLY = frozenset({"size_mismatch", "web_page"})
"""What is wrong with one file, so that the others are gone on with."""


class Bringing:
    """Has the files of downloads arrive in uploads. Methods block.

    Args:
        origins: Finds out what a request names.
        fetching: Brings one file.
        uploads: Where it arrives.
        library: What is there already.
        turns: Whose turn it is.
        loop: Where the network is waited for.
        accept: Takes a plan for a download, or raises why not.
    """

    def __init__(
        self,
        origins: Origins,
        fetching: Fetching,
        uploads: Uploads,
        library: Library,
        turns: Turns,
        loop: LoopThread,
        accept: Callable[[Entry, Plan], None],
    ) -> None:
        self._origins = origins
        self._fetching = fetching
        self._uploads = uploads
        self._library = library
        self._turns = turns
        self._loop = loop
        self._accept = accept

    def bring(self, listed: Listed, run: Run, job: JobContext) -> None:
        """Have every file arrive that can be had; what is wrong with one of the others is its reason.

        Raises `NetworkError` for what the host refuses of all of it, `StorageError`, `PausedError`,
        `CancelledError`, and what ``accept`` raises.
        """
        failures = 0
        while True:
            before = listed.received
            try:
                with self._turns.turn(run):
                    self._bring(listed, run, job)
                return
            except NetworkError as error:
                if not is_outage(error):
                    raise explained(error, listed.page_url) from error
                failures = 0 if listed.received > before else failures + 1
                self._wait(listed, run, job, error, failures)

    def waited_for(self, run: Run, work: Coroutine[Any, Any, T]) -> T:
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

    def _wait(self, listed: Listed, run: Run, job: JobContext, error: NetworkError, failures: int) -> None:
        pause = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(failures, 20)) * random.uniform(0.75, 1.0)
        if error.code == "offline":
            pause = _OFFLINE_WAIT_S
        pause = max(pause, min(float(getattr(error, "retry_after_s", 0.0)) + 0.05, _LONGEST_WAIT_S))
        listed.enter(run, "waiting", Reason(code=error.code, message=error.message))
        listed.retry_at = time.monotonic() + pause
        listed.speed.stop()
        job.job.stage = "waiting"
        job.job.progress.rate = job.job.progress.eta_s = None
        job.changed(now=True)
        self._turns.wait(run, pause)
        listed.enter(run, "queued")

    def _bring(self, listed: Listed, run: Run, job: JobContext) -> None:
        """Find out what is to come, and have it arrive. Raises what is in the way of all of it."""
        entry = listed.entry
        listed.enter(run, "downloading")
        if entry.plan is None:
            self._accept(entry, self.waited_for(run, self._origins.plan(entry.request)))
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
            upload = self.waited_for(run, self._fetching.fetch(file, owner, listed.write, came))
        except (HttpStatusError, BadAnswerError, HostNotAllowedError) as error:
            file.state = "queued"
            if is_outage(error):
                raise
            told = explained(error, listed.page_url)
            file.state, file.reason = "failed", Reason(code=told.code, message=told.message)
        except NetworkError:
            file.state = "queued"
            raise
        except HashMismatchError as error:
            run.check()
            file.state = "queued"
            self._set_aside(listed, file, error)
        except LibrarianError as error:
            run.check()
            if error.code not in _FILE_ONLY:
                file.state = "queued"
                raise
            file.state, file.reason = "failed", Reason(code=error.code, message=error.message)
        else:
            file.state, file.sha256 = "arrived", upload.sha256
            file.size = file.received = upload.size
            item.current, item.total = upload.size, upload.size
        listed.write()

    def _set_aside(self, listed: Listed, file: PlannedFile, error: HashMismatchError) -> None:
        """Move what came wrong to where a person finds it, and nobody takes it for a model or goes on with it.

        A kill in the middle leaves it there unsaid; the file then comes again, and takes its place or removes it.
        """
        kept = listed.kept
        assert kept is not None
        path = kept.aside(f"{file.upload_id[:8]}-{file.name.rpartition('/')[2]}")
        size = self._uploads.set_aside(file.upload_id, path)
        file.aside = Aside(path=str(path), size=size, sha256=error.sha256 or "")
        file.received, file.etag = 0, None
        message = say(
            "set_aside",
            "{problem} It was set aside and is no model. Try again; if the same comes once more, the file at its "
            "source is not the published one, so ask its publisher.",
            problem=error.message,
        )
        logger.warning("%s: %s It is kept as %s (%s bytes).", listed.name, message, path, size)
        file.state, file.reason = "failed", Reason(code=error.code, message=message)

    def _is_here(self, file: PlannedFile) -> bool:
        try:
            return self._uploads.get(file.upload_id).complete
        except NotFoundError:
            return False
