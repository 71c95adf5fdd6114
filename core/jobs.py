from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, Field, computed_field

from .errors import CancelledError, ConflictError, LibrarianError, NotFoundError, PausedError
from .events import Events
from .sentences import Said, said_of
from .told import Text, Told
from .turns import begin, give_way

logger = logging.getLogger(__name__)

JobKind = Literal[
    "import", "scan", "hash", "edit", "sync", "lookup", "pickles", "health", "repair", "download", "share"
]
JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ItemState = Literal["queued", "running", "done", "skipped", "failed", "cancelled"]

EVENT_INTERVAL = 0.1
"""Seconds between two ``librarian.job`` events of one job, so at most ten a second."""

EVENT_SHARE = 0.1
"""The most of its time that a job spends on telling how far it is; one of 10,000 items tells it less often."""

KEPT_JOBS = 200
"""How many ended jobs are remembered."""


def utc_now() -> datetime:
    """The present moment, with its time zone."""
    return datetime.now(timezone.utc)


class JobProgress(BaseModel):
    """How far a job is. ``rate`` is in units a second, ``eta_s`` in seconds; both may be unknown."""

    current: int = 0
    total: int | None = None
    unit: Literal["bytes", "models", "files", "links", "items"] = "items"
    rate: float | None = None
    eta_s: float | None = None


class JobItem(BaseModel):
    """One thing that a job works on, such as one model of an import."""

    name: str
    state: ItemState = "queued"
    code: str | None = None
    message: Text | None = None
    model_id: str | None = None
    current: int = 0
    total: int | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def said(self) -> Said | None:
        """What ``message`` says, as code and parameters, where it has them."""
        return said_of(self.message)


class JobFailure(Told):
    """Why a job failed."""

    code: str


class Job(BaseModel):
    """Work that outlives a request."""

    id: str
    kind: JobKind
    state: JobState = "queued"
    stage: str | None = None
    progress: JobProgress = Field(default_factory=JobProgress)
    items: list[JobItem] = Field(default_factory=list)
    result: dict[str, Any] | None = None
    error: JobFailure | None = None
    created_at: datetime = Field(default_factory=utc_now)
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ("queued", "running")

    def as_now(self) -> Job:
        """A copy that what still happens to the job does not change; a result is never changed once it is there."""
        return self.model_copy(
            update={
                "progress": self.progress.model_copy(),
                "items": [item.model_copy() for item in self.items],
            }
        )


class JobContext:
    """What running work uses to tell how far it is and to learn that it was cancelled."""

    def __init__(
        self, job: Job, publish: Callable[[Job], None], on_cancel: Callable[[], None] | None = None
    ) -> None:
        self.job = job
        self._on_cancel = on_cancel
        self._publish = publish
        self._cancelled = threading.Event()
        self._next_event = 0.0
        self._progress_since = time.monotonic()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the job to stop."""
        return self._cancelled.is_set()

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when the job should stop, and let others run. Call it between chunks of work."""
        give_way()
        if self.cancelled:
            raise CancelledError("The job was cancelled.")

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        """Begin a named stage; progress starts again at zero."""
        self.job.stage = name
        self.job.progress = JobProgress.model_validate({"total": total, "unit": unit})
        self._progress_since = time.monotonic()
        self.changed(now=True)

    def advance(self, current: int) -> None:
        """Set the progress of this stage, in its unit."""
        progress = self.job.progress
        progress.current = current if progress.total is None else min(current, progress.total)
        elapsed = time.monotonic() - self._progress_since
        if elapsed > 0.5 and current:
            progress.rate = current / elapsed
            if progress.total is not None:
                progress.eta_s = max(0.0, (progress.total - current) / progress.rate)
        self.changed()

    def changed(self, *, now: bool = False) -> None:
        """Publish the job, unless that was done less than `EVENT_INTERVAL` ago."""
        began = time.monotonic()
        if now or began >= self._next_event:
            self._publish(self.job)
            ended = time.monotonic()
            self._next_event = max(began + EVENT_INTERVAL, ended + (ended - began) / EVENT_SHARE)

    def request_cancel(self) -> None:
        """Ask the work to stop at its next check."""
        self._cancelled.set()
        if self._on_cancel is not None:
            self._on_cancel()


Work = Callable[[JobContext], dict[str, Any]]


class JobRunner:
    """Runs jobs in threads, one after another within a lane, and remembers how they ended.

    Lanes keep work apart that would fight for the same disk or database; different lanes run side by
    side. The runner is the only place that starts background work.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, JobContext] = OrderedDict()
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._closed = False

    def submit(
        self,
        kind: JobKind,
        work: Work,
        *,
        lane: str,
        items: list[JobItem] | None = None,
        width: int = 1,
        on_cancel: Callable[[], None] | None = None,
        afterwards: Callable[[], None] | None = None,
    ) -> Job:
        """Queue ``work``; it gets a `JobContext` and returns the job's result.

        Args:
            kind: What the work is.
            work: Raises `CancelledError` or `PausedError` where it stopped before its end.
            lane: Where it waits for its turn.
            items: What it works on.
            width: How many jobs may run at once in that lane; the first one says it.
            on_cancel: Called when somebody asks the job to stop, on their thread, for work that waits.
            afterwards: Tidying that nobody waits for, done once a job that began has ended, however it did.
        """
        job = Job(id=uuid.uuid4().hex, kind=kind, items=items or [])
        context = JobContext(job, self._publish, on_cancel)
        with self._lock:
            if self._closed:
                raise ConflictError("Librarian is shutting down.")
            self._remember(context)
            executor = self._lanes.get(lane)
            if executor is None:
                executor = ThreadPoolExecutor(max_workers=width, thread_name_prefix=f"librarian-{lane}")
                self._lanes[lane] = executor
            try:
                executor.submit(self._run, context, work, afterwards)
            except RuntimeError as error:  # Python itself is on its way out
                raise ConflictError("Librarian is shutting down.") from error
        self._publish(job)
        return job.as_now()

    def record(self, job: Job) -> None:
        """Remember a job that ended elsewhere, such as one that a crash interrupted."""
        with self._lock:
            self._remember(JobContext(job, self._publish))
        self._publish(job)

    def _remember(self, context: JobContext) -> None:
        self._jobs[context.job.id] = context
        ended = [key for key, known in self._jobs.items() if known.job.ended]
        for key in ended[: max(0, len(self._jobs) - KEPT_JOBS)]:
            del self._jobs[key]

    def get(self, job_id: str) -> Job:
        """The job as it is now. Raises `NotFoundError`."""
        return self._context(job_id).job.as_now()

    def all(self) -> list[Job]:
        """Every remembered job, newest first."""
        with self._lock:
            contexts = list(self._jobs.values())
        return [context.job.as_now() for context in reversed(contexts)]

    def counts(self) -> tuple[int, int]:
        """How many jobs are queued and how many are running."""
        with self._lock:
            states = [context.job.state for context in self._jobs.values()]
        return states.count("queued"), states.count("running")

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; one that has not begun ends at once. Raises `NotFoundError`."""
        context = self._context(job_id)
        context.request_cancel()
        with self._lock:
            waits = context.job.state == "queued"
            if waits:
                self._end(context.job, "cancelled")
        if waits:
            self._publish(context.job)
        return context.job.as_now()

    def wait(self, job_id: str, timeout: float | None = None) -> Job:
        """Block until a job has ended or ``timeout`` seconds have passed; the command line does this."""
        ended = threading.Event()

        def listen(_name: str, record: BaseModel) -> None:
            if isinstance(record, Job) and record.id == job_id and record.ended:
                ended.set()

        unsubscribe = self._events.subscribe(listen)
        try:
            if not self.get(job_id).ended:
                ended.wait(timeout)
        finally:
            unsubscribe()
        return self.get(job_id)

    def close(self) -> None:
        """Cancel what runs, and wait for it to stop between two chunks."""
        with self._lock:
            self._closed = True
            contexts = list(self._jobs.values())
            lanes = list(self._lanes.values())
        for context in contexts:
            if not context.job.ended:
                context.request_cancel()
        for lane in lanes:
            lane.shutdown(wait=True)

    def _context(self, job_id: str) -> JobContext:
        with self._lock:
            context = self._jobs.get(job_id)
        if context is None:
            raise NotFoundError(f"There is no job {job_id!r}.")
        return context

    def _publish(self, job: Job) -> None:
        self._events.publish("librarian.job", job.as_now())

    def _run(self, context: JobContext, work: Work, afterwards: Callable[[], None] | None) -> None:
        begin()
        job = context.job
        with self._lock:
            if job.ended:  # cancelled while it waited
                return
            job.started_at = utc_now()
            job.state = "running"
        state: JobState = "failed"
        try:
            context.check_cancelled()
            context.changed(now=True)
            job.result = work(context)
            state = "done"
        except CancelledError:
            state = "cancelled"
        except PausedError:
            state = "interrupted"
        except LibrarianError as error:
            job.error = JobFailure(code=error.code, message=error.message)
        except BaseException as error:  # also what would end this thread: nobody else could tell
            logger.exception("the %s job %s failed", job.kind, job.id)
            job.error = JobFailure(
                code="internal_error",
                message=f"Librarian met an error of its own ({type(error).__name__}: {error}). See its log.",
            )
        with self._lock:
            self._end(job, state)
        context.changed(now=True)
        if afterwards is not None:
            try:
                afterwards()
            except Exception:
                logger.exception("what follows the %s job %s failed", job.kind, job.id)

    @staticmethod
    def _end(job: Job, state: JobState) -> None:
        """End a job, with its state last: whoever sees it ended sees everything."""
        for item in job.items:
            if item.state in ("queued", "running"):
                item.state = "cancelled"
        job.finished_at = utc_now()
        job.state = state
