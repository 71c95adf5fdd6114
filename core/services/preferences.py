from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import InvalidRequestError
from ..network import is_host_entry
from ..settings import Settings, SettingsFile, Surroundings
from .reports import SettingsChange, SettingsReport

SLOWEST_DOWNLOAD = 10_000
"""Bytes a second that downloads are held to at the least."""

SECRETS = frozenset({"remote_token", "huggingface_token", "civitai_token"})


class Preferences:
    """The person's settings: ``current`` is what holds now; ``changed`` is called when they change."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._file = SettingsFile(surroundings.data_dir)
        self._lock = threading.Lock()
        self.current: Settings = self._file.load()
        self.changed: Callable[[], None] = lambda: None

    @property
    def library_root(self) -> Path:
        """The library that the person wants."""
        return self.current.library_root or self._surroundings.library_root

    def report(self, *, restart_required: bool = False) -> SettingsReport:
        """The settings without their secrets."""
        settings = self.current
        return SettingsReport(
            library_root=str(self.library_root),
            allowed_roots=[str(root) for root in settings.allowed_roots],
            online=settings.online,
            remote_search=settings.remote_search,
            index_in_place=settings.index_in_place,
            transfers_at_once=settings.transfers_at_once,
            download_limit=settings.download_limit,
            allowed_hosts=settings.allowed_hosts,
            allow_private_addresses=settings.allow_private_addresses,
            allow_remote=settings.allow_remote,
            remote_token_set=settings.remote_token is not None,
            huggingface_token_set=settings.huggingface_token is not None,
            civitai_token_set=settings.civitai_token is not None,
            restart_required=restart_required,
        )

    def change(self, change: SettingsChange) -> SettingsReport:
        """Keep what the person chose. Another library is opened at the next start.

        Raises `InvalidRequestError` for a folder that is not there or no full path, and for what is no host.
        """
        for host in change.allowed_hosts or []:
            if not is_host_entry(host):
                raise InvalidRequestError(
                    f"{host[:100]!r} is neither a host such as example.org nor an address such as "
                    "https://example.org:8443."
                )
        for root in [*(change.allowed_roots or []), *([change.library_root] if change.library_root else [])]:
            if (
                not root.is_absolute()
                or not (root if root in (change.allowed_roots or []) else root.parent).is_dir()
            ):
                raise InvalidRequestError(f"{root} is not a full path of a folder that exists.")
        with self._lock:
            values = {
                name: value
                for name, value in change.model_dump(exclude_unset=True).items()
                if value is not None or name in SECRETS
            }
            for name in SECRETS & values.keys():
                secret = values[name]
                values[name] = secret if secret is not None and secret.get_secret_value() else None
            for name in ("transfers_at_once", "download_limit"):
                if values.get(name) == 0:
                    values[name] = None
            limit = values.get("download_limit")
            if limit is not None:
                values["download_limit"] = max(limit, SLOWEST_DOWNLOAD)
            before = self.current.library_root
            self.current = self.current.model_copy(update=values)
            self._file.save(self.current)
        self.changed()
        return self.report(restart_required=self.current.library_root != before)
