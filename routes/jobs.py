"""``/jobs``, ``/scan``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..core.jobs import Job
from ..core.librarian import Librarian
from .endpoints import JobAccepted


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]


class ScanRequest(BaseModel):
    """A quick scan looks at what changed, a deep one reads all metadata again."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["quick", "deep"] = "quick"


class Empty(BaseModel):
    """Nothing."""


def jobs(librarian: Librarian) -> JobList:
    """List the jobs."""
    return JobList(jobs=librarian.jobs.all())


def job(librarian: Librarian, job_id: str) -> Job:
    """One job."""
    return librarian.jobs.get(job_id)


def cancel(librarian: Librarian, job_id: str, body: Empty) -> Job:
    """Ask a job to stop."""
    return librarian.jobs.cancel(job_id)


def scan(librarian: Librarian, body: ScanRequest) -> JobAccepted:
    """Bring the index in step with the disk."""
    return JobAccepted(job=librarian.scans.start(body.kind))
