from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pydantic import BaseModel

logger = logging.getLogger(__name__)

Listener = Callable[[str, BaseModel], None]


class Events:
    """What happened, for whoever listens.

    Events are named ``librarian.…`` and carry a typed record. Listeners are called on the publishing
    thread and must return at once (hand over to a queue or a loop); one that raises is logged and
    does not disturb the others.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(name, record)`` for every event; the returned function ends that."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def publish(self, name: str, record: BaseModel) -> None:
        """Tell every listener. Never raises."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            try:
                listener(name, record)
            except Exception:
                logger.exception("an event listener failed on %s", name)
