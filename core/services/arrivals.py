from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..downloading import DownloadFailedError, Reason
from ..downloading.bringing import Bringing
from ..downloading.listed import Listed
from ..downloading.queue import Run
from ..downloading.records import Plan, PlannedFile
from ..downloading.sets import configs_of, groups_of, sets_of
from ..errors import NotFoundError
from ..importing import ImportItem, ImportRequest
from ..importing.grouping import FileGroup
from ..importing.uploads import Uploads
from ..jobs import JobContext, JobRunner
from ..library import Library
from ..network import NetworkError, NetworkManager
from ..storage.atomic import write_atomic
from ..storage.disk import storage_error
from .imports import Imports

logger = logging.getLogger(__name__)

_MAX_PREVIEW_BYTES = 8 * 1024 * 1024
_PICTURES = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}


class Arrivals:
    """Makes models of what downloads have brought: imported like any other file, and linked where that is wanted."""

    def __init__(
        self,
        imports: Imports,
        uploads: Uploads,
        library: Library,
        network: NetworkManager,
        jobs: JobRunner,
        bringing: Bringing,
    ) -> None:
        self._imports = imports
        self._uploads = uploads
        self._library = library
        self._network = network
        self._jobs = jobs
        self._bringing = bringing

    def take_in(self, listed: Listed, run: Run, job: JobContext) -> dict[str, Any]:
        """Import what has arrived; what becomes of each file is on it. Answers the job's result.

        A model of which a file failed is not imported; the others of its files wait for it.

        Raises `DownloadFailedError` if a file could not be had, `PausedError`, `CancelledError`, `StorageError`.
        """
        plan = listed.entry.plan
        assert plan is not None
        listed.enter(run, "importing")
        self._keep_configs(plan)
        arrived = {file.upload_id: file for file in _whole(plan) if file.state == "arrived"}
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
        return {
            "imported": list(dict.fromkeys(imported)),
            "present": [model for model in models if model not in imported],
            "links": links,
        }

    def cancel(self, listed: Listed) -> None:
        """End the import that runs for a download, if one does."""
        if listed.import_job is not None:
            with suppress(NotFoundError):
                self._jobs.cancel(listed.import_job)

    def _import(self, listed: Listed, arrived: dict[str, PlannedFile], run: Run) -> None:
        configs = {path: of for path, of in configs_of(arrived.values()).items() if of}
        alone = {key: file for key, file in arrived.items() if file.path not in configs}
        staged = dict(zip(alone, self._uploads.staged(list(alone)), strict=True))
        items: list[ImportItem] = []
        parts: list[list[PlannedFile]] = []
        for group, ids in groups_of(staged):
            files = [arrived[upload_id] for upload_id in ids]
            paths = [file.path for file in files]
            beside = [file for file in arrived.values() if configs.get(file.path) in paths]
            if group.problem is not None:
                for file in files:
                    file.state, file.reason = "failed", Reason(code="incomplete_set", message=group.problem)
                continue
            self._put_beside(group, beside)
            self._fetch_preview(listed, group, run)
            yes = listed.entry.request.acknowledge_pickle
            items.append(ImportItem(uploads=ids, acknowledge_pickle=yes))
            parts.append([*files, *beside])
        if not items:
            listed.write()
            return
        job = self._imports.start(ImportRequest(items=items))
        listed.import_job = job.id
        if run.stopped is not None:
            self.cancel(listed)
        ended = self._jobs.wait(job.id)
        listed.import_job = None
        for files, item in zip(parts, ended.items, strict=True):
            for file in files:
                file.model_id = item.model_id
                if item.state == "skipped" and item.model_id and file.path in configs:
                    self._keep_config(file, item.model_id)
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

    def _keep_configs(self, plan: Plan) -> None:
        """Take in the configs of models that are here already. Raises `StorageError`."""
        files = {file.path: file for file in plan.files}
        for path, of in configs_of(plan.files).items():
            config, weights = files[path], files.get(of)
            if config.state == "arrived" and weights and weights.state == "present" and weights.model_id:
                self._keep_config(config, weights.model_id)
                config.state, config.model_id = "present", weights.model_id

    def _keep_config(self, config: PlannedFile, model_id: str) -> None:
        """Put a config beside the file of a model, where loaders look for it; one that is there stays."""
        named = self._library.main_path(model_id).with_suffix(Path(config.path).suffix.lower())
        [staged] = self._uploads.staged([config.upload_id])
        try:
            with suppress(FileExistsError):
                write_atomic(named, staged.path.read_bytes(), replace=False)
        except OSError as error:
            raise storage_error(error, named) from error

    def _put_beside(self, group: FileGroup, configs: Sequence[PlannedFile]) -> None:
        """Put configs beside the file that they are of, where an import finds them. Raises `StorageError`."""
        for config in configs:
            [staged] = self._uploads.staged([config.upload_id])
            named = group.main.path.with_suffix(Path(config.path).suffix)
            try:
                write_atomic(named, staged.path.read_bytes())
            except OSError as error:
                raise storage_error(error, named) from error

    def _fetch_preview(self, listed: Listed, group: FileGroup, run: Run) -> None:
        """Put the source's picture beside the file, where an import finds it; without it all is well, too."""
        plan = listed.entry.plan
        if plan is None or plan.preview_url is None or group.format == "diffusion-folder":
            return
        named = group.main.path if group.format == "single-file" else group.main.path.with_name(group.name)
        try:
            answer = self._bringing.waited_for(
                run, self._network.request("GET", plan.preview_url, max_bytes=_MAX_PREVIEW_BYTES)
            )
            ending = next((end for start, end in _PICTURES.items() if answer.content.startswith(start)), None)
            if answer.is_success and ending is not None:
                write_atomic(named.with_name(named.stem + ending), answer.content)
        except (NetworkError, OSError) as error:
            logger.info("no preview for %s: %s", listed.name, error)


def _whole(plan: Plan) -> Iterable[PlannedFile]:
    """The files of models of which no file failed."""
    for files in sets_of(plan.files):
        if not any(file.state == "failed" for file in files):
            yield from files
