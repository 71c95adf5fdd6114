from __future__ import annotations

import logging
import time
from importlib import import_module
from pathlib import Path

from ..core.errors import CancelledError, LibrarianError
from ..core.host import Host

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 0.25


def _host() -> Host:
    from server import PromptServer

    host: Host = PromptServer.instance.librarian
    return host


def model_path(model_id: str, *, folder: bool = False) -> Path:
    """The file, or the Diffusers folder, behind a model's id, hash or name, linked or not.

    Raises `NotFoundError` with the nearest names, `InvalidRequestError`, `PickleNotAcknowledgedError`.
    """
    return _host().wait().models.find(model_id, folder=folder)


async def check_model(model_id: str, *, folder: bool = False) -> str | None:
    """Why the model cannot be loaded, if so; does not hold the event loop."""
    try:
        host = _host()
        librarian = await host.librarian()
        await host.run(lambda: librarian.models.check(model_id, folder=folder))
    except LibrarianError as error:
        return error.message
    return None


def model_fingerprint(model_id: str, node_id: str | None) -> str:
    """The file's SHA-256: a replaced file runs again, a moved one does not.

    A file that was never hashed is read once, which takes long for large ones: the node shows how far it is, and
    stopping the prompt stops the reading. Raises `LibrarianError`.
    """
    return _host().wait().models.fingerprint(model_id, _Reading(model_id, node_id))


class _Reading:
    """Shows in a node how far its file is read."""

    def __init__(self, model_id: str, node_id: str | None) -> None:
        self._model_id = model_id
        self._node_id = node_id
        self._next = time.monotonic() + PROGRESS_INTERVAL_S
        self._said = False

    def __call__(self, done: int, total: int) -> None:
        # ComfyUI itself ends a stopped prompt, before its next node.
        if import_module("comfy.model_management").processing_interrupted():
            raise CancelledError(f"{self._model_id} was not read to its end: the prompt was stopped.")
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PROGRESS_INTERVAL_S
        if not self._said:
            self._said = True
            logger.info(
                "Reading %s once, to notice when it is replaced (%.1f GB)", self._model_id, total / 1e9
            )
        if self._node_id is not None:
            progress = import_module("comfy_execution.progress").get_progress_state()
            progress.update_progress(self._node_id, done, total, None)
