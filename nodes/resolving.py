from __future__ import annotations

from pathlib import Path

from ..core.errors import LibrarianError
from ..core.host import Host


def _host() -> Host:
    from server import PromptServer

    host: Host = PromptServer.instance.librarian
    return host


def model_path(model_id: str) -> Path:
    """The file behind a model's id, hash or name, linked or not.

    Raises `NotFoundError` with the nearest names, `PickleNotAcknowledgedError`.
    """
    return _host().wait().models.find(model_id)


async def check_model(model_id: str) -> str | None:
    """Why the model cannot be loaded, if so; does not hold the event loop."""
    if not model_id.strip():
        return "choose a model from the Librarian panel."
    try:
        host = _host()
        librarian = await host.librarian()
        await host.run(librarian.models.find, model_id)
    except LibrarianError as error:
        return error.message
    return None


def model_fingerprint(model_id: str) -> str:
    """The file's SHA-256: a replaced file runs again, a moved one does not."""
    return _host().wait().models.fingerprint(model_id)
