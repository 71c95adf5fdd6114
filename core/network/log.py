from __future__ import annotations

import logging
import queue
import threading
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

_LARGEST_BYTES = 1_000_000


class NetworkLog:
    """``network.log``: what became of hosts and limits; no addresses beyond the host, no secrets.

    A full file (1 MB) becomes ``network_prev.log``. Lines are written on a thread of its own, which
    starts with the first line. Without a folder, nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._listener: QueueListener | None = None
        self._logger = logging.Logger("network", logging.INFO)

    def write(self, message: str) -> None:
        """Add a line. Returns at once and never raises."""
        if self._folder is None:
            return
        with self._lock:
            if self._listener is None:
                self._start(self._folder)
        self._logger.info(message)

    def close(self) -> None:
        """Write what is waiting and let go of the file."""
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is None:
                return
            listener.stop()
            for handler in (*self._logger.handlers, *listener.handlers):
                handler.close()
            self._logger.handlers.clear()

    def _start(self, folder: Path) -> None:
        lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._listener = QueueListener(lines, _File(folder))
        self._listener.start()
        self._logger.addHandler(QueueHandler(lines))


class _File(RotatingFileHandler):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder / "network.log", maxBytes=_LARGEST_BYTES, backupCount=1, encoding="utf-8", delay=True
        )
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._folder = folder

    def rotation_filename(self, default_name: str) -> str:
        return str(self._folder / "network_prev.log")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written is no reason to fill the console."""
