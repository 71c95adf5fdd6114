from __future__ import annotations

import logging
from typing import Any

from ..errors import CancelledError, LibrarianError
from ..importing.sharing import LeftFile, SharedFile, SharePlan, ShareRequest, Sharing
from ..jobs import Job, JobContext, JobItem, JobRunner

logger = logging.getLogger(__name__)


class Shares:
    """Storing once what several models of the library have."""

    def __init__(self, sharing: Sharing, jobs: JobRunner) -> None:
        self._sharing = sharing
        self._jobs = jobs

    def preview(self, request: ShareRequest) -> SharePlan:
        """What sharing would do, and what stays as it is. Changes nothing. Raises `StorageError`."""
        return self._sharing.plan(request.sha256)

    def start(self, request: ShareRequest) -> Job:
        """Queue it, one item for each file; every item says what became of it. Raises `StorageError`.

        Cancelled, what is done stays and the others are as they were.
        """
        plan = self._sharing.plan(request.sha256)
        files, left = [], plan.left
        for file in plan.files:
            if file.way == "clone" or request.hard_links:
                files.append(file)
            else:
                left.append(_not_agreed(file))

        def work(job: JobContext) -> dict[str, Any]:
            job.stage("share", total=sum(2 * file.size_bytes for file in files), unit="bytes")
            result: dict[str, Any] = {"shared": 0, "failed": 0, "bytes_freed": 0}
            result["left"] = [file.model_dump() for file in left]
            job.job.result = result  # told as it grows: a job that is cancelled has one, too
            done = 0
            for file, item in zip(files, job.job.items, strict=True):
                if self._share(file, item, job, done):
                    result["shared"] += 1
                    result["bytes_freed"] += file.bytes_to_win
                else:
                    result["failed"] += 1
                done += 2 * file.size_bytes
                job.advance(done)
            return result

        items = [JobItem(name=file.path, model_id=file.model_id, total=2 * file.size_bytes) for file in files]
        return self._jobs.submit("share", work, lane="share", items=items)

    def _share(self, file: SharedFile, item: JobItem, job: JobContext, before: int) -> bool:
        """Share one file, and show on its item what became of it. Raises `CancelledError`."""

        def progress(done: int) -> None:
            job.check_cancelled()
            item.current = done
            job.advance(before + done)

        job.check_cancelled()
        item.state = "running"
        job.changed()
        try:
            self._sharing.share(file, progress)
        except CancelledError:
            item.state = "cancelled"
            raise
        except LibrarianError as error:
            item.state, item.code, item.message = "failed", error.code, error.message
            return False
        except Exception as error:
            logger.exception("sharing the bytes of %s failed", file.path)
            item.state, item.code = "failed", "internal_error"
            item.message = f"Librarian met an error of its own ({error}). See its log."
            return False
        item.state = "done"
        item.message = f"It is a {_WORDS[file.way]} of {file.keeper} now."
        return True


_WORDS = {"clone": "clone", "hardlink": "second name (hard link)"}


def _not_agreed(file: SharedFile) -> LeftFile:
    return LeftFile(
        model_id=file.model_id,
        path=file.path,
        code="hard_links_not_agreed",
        reason="It could only become a hard link, which was not agreed to (hard_links).",
    )
