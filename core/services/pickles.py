from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from ..errors import CancelledError, ConflictError, LibrarianError, NotFoundError, PickleNotAcknowledgedError
from ..events import Events
from ..formats import identify
from ..jobs import Job, JobContext, JobRunner
from ..library import Library, Model
from ..storage.disk import lower_disk_priority

logger = logging.getLogger(__name__)

SAFE_SUFFIXES = frozenset({".safetensors", ".sft", ".gguf", ".onnx"})
"""Of these ComfyUI never loads a pickle, whatever is in the file."""

_TRUST = "open it in the Librarian panel and choose «I trust this file»."


class Pickles:
    """Looking into pickles before anybody loads them: in the background, and when one is asked for.

    A look that was cut off goes on with what is left: whatever has no findings yet waits for them.
    """

    def __init__(self, library: Library, jobs: JobRunner, events: Events) -> None:
        self._library = library
        self._jobs = jobs
        self._lock = threading.Lock()
        self._job: Job | None = None
        events.subscribe(self._look_after)

    def _look_after(self, _name: str, record: BaseModel) -> None:
        """Look into what came with a scan or an import."""
        if isinstance(record, Job) and record.kind in ("scan", "import") and record.ended:
            self.scan_in_background()

    def scan_in_background(self) -> Job | None:
        """Queue a look into every pickle that has no findings yet, unless one is queued or there is none.

        Answers the job after which none is left, if there is one.
        """
        with self._lock, suppress(ConflictError):  # shutting down
            if not self._is_queued() and self._library.pickles.waiting():
                self._job = self._jobs.submit("pickles", self._scan, lane="pickles")
            return self._job
        return None

    def _is_queued(self) -> bool:
        with suppress(NotFoundError):
            return self._job is not None and self._jobs.get(self._job.id).state == "queued"
        return False

    def _scan(self, job: JobContext) -> dict[str, Any]:
        lower_disk_priority()
        waiting = self._library.pickles.waiting()
        job.stage("pickles", total=len(waiting), unit="models")
        found = {"clean": 0, "suspicious": 0, "dangerous": 0, "error": 0, "not_scanned": 0}
        for number, model_id in enumerate(waiting, 1):
            job.check_cancelled()
            try:
                found[self._library.pickles.of(model_id, job.check_cancelled).state] += 1
            except CancelledError:
                raise
            except LibrarianError as error:  # gone, changing or not to be read: another time
                logger.info("%s was not looked into: %s", model_id, error.message)
                found["not_scanned"] += 1
            job.advance(number)
        return found

    def require_trusted(self, model: Model) -> None:
        """Refuse what can run code and was not vouched for, or not since it was found out what it would do.

        A pickle that waits for its findings is looked into now. Raises `PickleNotAcknowledgedError`, and what
        `PickleFindings.of` raises.
        """
        if not self._may_be_pickle(model):
            return
        if model.security_tier == "pickle":
            self._library.pickles.of(model.model_id)
            model = self._library.model(model.model_id)
        if model.pickle_acknowledged:
            return
        name, scan = model.official_name, model.pickle_scan
        why = f"{name} is a pickle: it can run code when it is loaded. If you trust where it comes from,"
        if scan is not None and scan.state == "dangerous":
            names = [f"{item.module}.{item.name}" for item in scan.globals if item.severity == "dangerous"]
            why = (
                f"{name} is a pickle that would use {', '.join(names[:3])}: it can run commands on this machine "
                "when it is loaded. Only if you know why it does that,"
            )
        elif scan is not None and scan.state == "error":
            why = (
                f"{name} is a pickle that could not be looked into to its end ({scan.message}). "
                "If you trust where it comes from,"
            )
        raise PickleNotAcknowledgedError(f"{why} {_TRUST}")

    def _may_be_pickle(self, model: Model) -> bool:
        """Whether ComfyUI might load a pickle; also of a file that was not looked at yet, or is of no known kind."""
        if model.security_tier != "unknown":
            return model.security_tier == "pickle"
        path = self._library.main_path(model.model_id)
        try:
            return identify(path).security_tier == "pickle"
        except LibrarianError:
            return path.suffix.lower() not in SAFE_SUFFIXES
