from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

from .queue import Run
from .records import Aside, Download, DownloadFile, DownloadState, Entry, PlannedFile, Reason
from .store import Kept

_SPEED_S = 5.0


class Listed:
    """A download in this process.

    ``page_url`` is the page of what is asked for, as far as the request tells. ``lock`` is for its state,
    ``running`` is held by the run that works on it.
    """

    def __init__(self, entry: Entry, kept: Kept, page_url: str | None) -> None:
        self._asked_page = page_url
        self.entry = entry
        self.kept: Kept | None = kept
        self.run = Run()
        self.lock = threading.RLock()
        self.running = threading.Lock()
        self.state: DownloadState = "queued"
        self.reason: Reason | None = None
        self.retry_at: float | None = None
        self.job_id: str | None = None
        self.import_job: str | None = None
        self.models: list[str] = []
        self.speed = Speed()

    @property
    def page_url(self) -> str | None:
        """The page on which its terms can be read, as far as it is known."""
        return self.entry.plan.page_url if self.entry.plan is not None else self._asked_page

    @property
    def name(self) -> str:
        """What people call it."""
        if self.entry.plan is not None:
            return self.entry.plan.name
        request = self.entry.request
        return (
            request.name
            or request.url
            or " ".join([request.repo_id, *request.files]).strip()
            or request.revision
            or ""
        )

    @property
    def size(self) -> int | None:
        """Bytes of all that is to come; None as long as that is not known."""
        sizes = [file.size for file in self._coming]
        known = [size for size in sizes if size is not None]
        return sum(known) if self.entry.plan is not None and len(known) == len(sizes) else None

    @property
    def received(self) -> int:
        """Bytes that have come."""
        return sum(file.received for file in self._coming)

    @property
    def rate(self) -> float | None:
        """Bytes a second at the moment, where bytes come."""
        return self.speed.rate

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left at this rate."""
        rate, size = self.speed.rate, self.size
        return (size - self.received) / rate if rate and size is not None else None

    @property
    def _coming(self) -> list[PlannedFile]:
        files = self.entry.plan.files if self.entry.plan is not None else []
        return [file for file in files if file.state != "present"]

    def shown(self) -> Download:
        """The download as it stands."""
        entry, plan = self.entry, self.entry.plan
        files = [
            DownloadFile.model_validate({**file.model_dump(), "aside": self._aside(file)})
            for file in (plan.files if plan is not None else ())
        ]
        waits = self.retry_at if self.state == "waiting" else None
        moving = self.state == "downloading"
        return Download(
            id=entry.id,
            job_id=self.job_id,
            provider=entry.request.provider,
            repo_id=plan.repo_id if plan is not None else entry.request.repo_id,
            revision=plan.revision if plan is not None else entry.request.revision or "",
            name=self.name,
            page_url=self.page_url,
            state=self.state,
            reason=self.reason,
            retry_after_s=max(0.0, waits - time.monotonic()) if waits is not None else None,
            files=files,
            size=self.size,
            received=self.received,
            aside_size=sum(file.aside.size for file in files if file.aside is not None),
            rate=self.rate if moving else None,
            eta_s=self.eta_s if moving else None,
            link=entry.request.link,
            models=self.models,
            related=plan.related if plan is not None else [],
            created_at=entry.created_at,
        )

    def enter(self, run: Run, state: DownloadState, reason: Reason | None = None) -> None:
        """Say what happens with it, unless the run is to stop. Raises `PausedError`, `CancelledError`."""
        with self.lock:
            run.check()
            self.state, self.reason = state, reason
            self.retry_at = None

    def _aside(self, file: PlannedFile) -> Aside | None:
        """What is kept aside of a file, as long as nobody took it away; the library may have moved since."""
        if file.aside is None or self.kept is None:
            return None
        path = self.kept.aside_at(Path(file.aside.path).name)
        return file.aside.model_copy(update={"path": str(path)}) if path.is_file() else None

    def write(self) -> None:
        """Write down what is to be remembered. Raises `StorageError`."""
        if self.kept is not None:
            self.kept.write(self.entry)


class Speed:
    """Bytes a second, of the last few seconds."""

    def __init__(self) -> None:
        self._came: deque[tuple[float, int]] = deque()

    def add(self, count: int) -> None:
        """So many bytes have come just now."""
        now = time.monotonic()
        self._came.append((now, count))
        while self._came[0][0] < now - _SPEED_S:
            self._came.popleft()

    def stop(self) -> None:
        """Nothing comes any more."""
        self._came.clear()

    @property
    def rate(self) -> float | None:
        """None where too little came to tell."""
        came = list(self._came)
        if len(came) < 2:
            return None
        seconds = came[-1][0] - came[0][0]
        return sum(count for _, count in came[1:]) / seconds if seconds > 0 else None
