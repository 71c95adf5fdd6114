from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel

from ..errors import ConflictError, LibrarianError, NotFoundError, StorageError
from ..events import Events
from ..jobs import Job, JobContext, JobRunner, utc_now
from ..library import Library, Model
from ..loop import LoopThread
from ..network import NetworkError, NetworkManager, NetworkStatus
from ..sources import Lookup, LookupCandidate, LookupResult
from .matches import changes_of, name_for_lookup, proven

logger = logging.getLogger(__name__)

BATCH = 50
"""Models whose hashes are asked for in one call."""

PAUSE_S = 2.0
"""Seconds between two calls, so that half of a host's limit is left to the person."""

_FIRST_BACK_OFF_S = 60.0
_LONGEST_BACK_OFF_S = 86_400.0
_LONGEST_OUTAGE_S = 3600.0
_START_DELAY_S = 5.0
_DEADLINE_S = 30.0
_SLICE_S = 0.1

Outcome = Literal["matched", "nothing_found", "pending"]


class PendingLookups:
    """Finds out, in the background, what the models are that nobody has been asked about yet.

    A job in a lane of its own asks slowly, one model after another. It begins after an import, when a host
    can be reached again, and after growing pauses: for each model, and for the whole when the hub is out.
    What a person edited is left as it is. Nothing begins before `start`, and nothing while the network is
    switched off.
    """

    def __init__(
        self,
        lookup: Lookup,
        loop: LoopThread,
        library: Library,
        jobs: JobRunner,
        network: NetworkManager,
        events: Events,
        *,
        pause_s: float = PAUSE_S,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lookup = lookup
        self._loop = loop
        self._library = library
        self._jobs = jobs
        self._network = network
        self._pause_s = pause_s
        self._now = now
        self._lock = threading.Lock()
        self._beginning = threading.Lock()
        self._again = False
        self._open = False
        self._timer: threading.Timer | None = None
        self._timer_at = 0.0
        self._job: Job | None = None
        self._outages = 0
        self._came_back = False
        events.subscribe(self._after_job)
        network.on_change(self._network_changed)

    def start(self) -> None:
        """Look after pending lookups from now on."""
        self._open = True
        self._wake_in(_START_DELAY_S)

    def close(self) -> None:
        """Begin nothing any more, and let what is beginning end; a running job is the runner's to end.

        The database is closed next: whoever still reads it then takes the whole process down.
        """
        with self._lock:
            self._open = False
            timer = self._timer
        if timer is not None:
            timer.cancel()
        with self._beginning:
            pass

    def retry(self) -> Job:
        """Queue a job that asks about every pending model, however lately it was asked about.

        Hosts that are left alone get one trial at once.
        """
        self._network.try_now()
        return self._submit(every=True)

    def wake(self) -> None:
        """Ask soon about what is pending, such as when the network was switched on. Returns at once."""
        self._wake_in(0.0)

    def note_nothing_found(self, model_id: str) -> None:
        """Write down that a person asked about a model now, and nobody knows it.

        Raises `NotFoundError`, `StorageError`, and `ConflictError` if a person has edited it.
        """
        asked = self._asked(self._library.model(model_id))
        self._library.describe(model_id, {**asked, "pending_online_lookup": False})

    def _after_job(self, _name: str, record: BaseModel) -> None:
        if not isinstance(record, Job) or not record.ended:
            return
        if record.kind in ("import", "download") or (record.kind == "lookup" and self._again):
            self._wake_in(0.0)

    def _network_changed(self, _status: NetworkStatus) -> None:
        if self._outages and self._network.is_reachable(self._lookup.hub_url):
            self._outages = 0
            self._came_back = True
            self._wake_in(0.0)

    def _wake_in(self, seconds: float) -> None:
        at = time.monotonic() + seconds
        with self._lock:
            if not self._open:
                return
            if self._timer is not None:
                if self._timer_at <= at:
                    return
                self._timer.cancel()
            self._timer = threading.Timer(seconds, self._begin)
            self._timer.daemon = True
            self._timer_at = at
            self._timer.start()

    def _begin(self) -> None:
        """Queue a job, if there is anything to ask; while one is running, see to it that another follows.

        Whoever wakes it from here on gets a look of their own: what they mean may have come after this one.
        """
        with self._beginning:
            with self._lock:
                if self._timer is threading.current_thread():
                    self._timer = None
                if not self._open:
                    return
            self._again = True  # before it is looked whether a job runs, whose end would see it
            if self._is_active():
                return
            self._again = False
            with suppress(ConflictError, LibrarianError):
                if self._network.settings.online and self._library.awaiting_lookup():
                    every, self._came_back = self._came_back, False
                    self._submit(every=every)

    def _is_active(self) -> bool:
        with suppress(NotFoundError):
            return self._job is not None and not self._jobs.get(self._job.id).ended
        return False

    def _submit(self, *, every: bool) -> Job:
        def work(job: JobContext) -> dict[str, Any]:
            return self._run(job, every=every)

        self._job = self._jobs.submit("lookup", work, lane="lookup")
        return self._job

    def _run(self, job: JobContext, *, every: bool) -> dict[str, Any]:
        counts: dict[str, int] = {"matched": 0, "nothing_found": 0, "pending": 0}
        waiting = self._waiting()
        due_in = [(0.0 if every else self._due_in(model), model) for model in waiting]
        due = [model for seconds, model in due_in if seconds <= 0]
        later = [seconds for seconds, _ in due_in if seconds > 0]
        job.stage("lookup", total=len(due), unit="models")
        done, offline = 0, not self._network.settings.online
        for start in range(0, 0 if offline else len(due), BATCH):
            batch = due[start : start + BATCH]
            known = self._known(batch, job)
            for model in batch:
                job.check_cancelled()
                result = self._result(model, known, job)
                outcome = self._keep(model, result)
                counts[outcome] += 1
                done += 1
                job.advance(done)
                if outcome == "pending":
                    later.append(_back_off_s(model.lookup_attempts + 1))
                if _hub_is_out(result):
                    offline = True
                    break
                self._pause(self._pause_s * result.calls, job)
            if offline:
                self._outages += 1
                later = [max(result.retry_after_s or 0.0, min(_back_off_s(self._outages), _LONGEST_OUTAGE_S))]
                break
        else:
            self._outages = 0
        counts["pending"] += len(due) - done
        if later and self._network.settings.online:
            self._wake_in(min(later))
        return {"models": done, **counts, "offline": offline}

    def _waiting(self) -> list[Model]:
        found = []
        for model_id in self._library.awaiting_lookup():
            with suppress(NotFoundError):
                found.append(self._library.model(model_id))
        return found

    def _due_in(self, model: Model) -> float:
        """Seconds until a model may be asked about again; a time in the future is a clock that was wrong."""
        if model.last_lookup_attempt is None:
            return 0.0
        since = self._now() - model.last_lookup_attempt
        if since < timedelta():
            return 0.0
        return _back_off_s(model.lookup_attempts) - since.total_seconds()

    def _known(self, models: Sequence[Model], job: JobContext) -> Mapping[str, LookupCandidate] | None:
        """What Civitai knows of these models by their hash; None when it could not be asked."""
        digests = [model.hashes.sha256 for model in models if model.hashes.sha256]
        if not digests:
            return {}
        try:
            asked = self._lookup.known_hashes(digests, deadline_s=_DEADLINE_S)
            return self._loop.run(asked, job.check_cancelled)
        except NetworkError as error:
            logger.info("Civitai was not asked about %s models: %s", len(digests), error.message)
            return None
        finally:
            self._pause(self._pause_s, job)

    def _result(
        self, model: Model, known: Mapping[str, LookupCandidate] | None, job: JobContext
    ) -> LookupResult:
        digest = model.hashes.sha256
        candidate = known.get(digest) if known is not None and digest else None
        if candidate is not None:
            return LookupResult(found=True, candidates=[candidate])
        try:
            files = self._library.files(model.model_id)
            asked = self._lookup.find(
                name_for_lookup(model, files[0]),
                digest,
                files[0].size,
                by_hash=known is None,
                deadline_s=_DEADLINE_S,
            )
            return self._loop.run(asked, job.check_cancelled)
        except NetworkError as error:
            logger.info("nobody could tell what %s is: %s", model.model_id, error.message)
        except (NotFoundError, StorageError, IndexError):
            pass  # gone meanwhile
        return LookupResult()

    def _keep(self, model: Model, result: LookupResult) -> Outcome:
        """Write down what was found, or that the question is still open."""
        changes = self._asked(model)
        outcome: Outcome = "nothing_found"
        with suppress(LibrarianError):  # edited or gone meanwhile
            best = self._best(model, result)
            if best is not None and (best.match_method == "hash" or not result.offline):
                changes |= changes_of(model, best, self._lookup.download_url(best))
                outcome = "matched"
            elif result.offline:
                outcome = "pending"
            else:
                changes["pending_online_lookup"] = False
            self._library.describe(model.model_id, changes)
        return outcome

    def _asked(self, model: Model) -> dict[str, Any]:
        """What is written of a model whenever it was asked about."""
        return {"lookup_attempts": model.lookup_attempts + 1, "last_lookup_attempt": self._now()}

    def _best(self, model: Model, result: LookupResult) -> LookupCandidate | None:
        """The surest candidate, if it may be written down without asking a person.

        One of other bytes may, since that is what is then said of the model.
        """
        for candidate in result.candidates[:1]:
            best = proven(candidate, self._library.files(model.model_id))
            other_bytes = best.hash_mismatch and best.match_method == "filename_exact"
            if other_bytes or not best.requires_confirmation:
                return best
        return None

    def _pause(self, seconds: float, job: JobContext) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            job.check_cancelled()
            time.sleep(min(left, _SLICE_S))


def _back_off_s(attempts: int) -> float:
    return min(_FIRST_BACK_OFF_S * 2.0 ** min(max(attempts - 1, 0), 20), _LONGEST_BACK_OFF_S)


def _hub_is_out(result: LookupResult) -> bool:
    """Whether asking about another model makes no sense now. Civitai alone may be out: it is asked last."""
    return result.offline and any(problem.provider == "huggingface" for problem in result.problems)
