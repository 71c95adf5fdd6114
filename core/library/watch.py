from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from ..settings import MODEL_EXTENSIONS
from .metadata import INCOMING, METADATA_NAME

logger = logging.getLogger(__name__)

SETTLE_MS = 500
"""A change is told when nothing more has changed for this long: a copy is one change, not thousands."""


class Watcher:
    """Tells which files came, went or changed in some folders, where the filesystem can notify.

    Network shares and full watch tables cannot; there the quick scan at start and on demand does it.
    """

    def __init__(self, folders: Iterable[Path], changed: Callable[[set[Path]], object]) -> None:
        self._folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
        self._changed = changed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch in a thread of its own."""
        if self._folders:
            self._thread = threading.Thread(target=self._watch, name="librarian-watch", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        from watchfiles import Change, watch

        def matters(_change: Change, path: str) -> bool:
            found = Path(path)
            if INCOMING in found.parts:
                return False
            return found.suffix.lower() in MODEL_EXTENSIONS or found.name == METADATA_NAME or found.is_dir()

        try:
            for changes in watch(
                *self._folders,
                watch_filter=matters,
                step=SETTLE_MS // 5,
                debounce=SETTLE_MS * 4,
                stop_event=self._stop,
                rust_timeout=500,
                yield_on_timeout=False,
                raise_interrupt=False,
            ):
                try:
                    self._changed({Path(path) for _, path in changes})
                except Exception:  # the next change is told all the same
                    logger.exception("a change in the models folders was not looked at")
        except (OSError, RuntimeError) as error:
            logger.info("changes in the models folders are not noticed by themselves here: %s", error)
