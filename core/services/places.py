from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..settings import DIFFUSERS_FOLDER, App, Settings, Surroundings, TargetFolder
from ..storage.roots import AllowedRoots


class Places:
    """The folders that Librarian may use, as they are now: apps and settings change while it runs."""

    def __init__(
        self,
        library_root: Path,
        surroundings: Surroundings,
        apps: Callable[[], list[App]],
        settings: Callable[[], Settings],
    ) -> None:
        self._library_root = library_root
        self._surroundings = surroundings
        self._apps = apps
        self._settings = settings

    def allowed(self) -> AllowedRoots:
        """Where files may be read and written for the person."""
        return AllowedRoots(
            [
                self._library_root,
                *(folder.path for app in self._apps() for folder in app.folders),
                *self._surroundings.allowed_roots,
                *self._settings().allowed_roots,
            ]
        )

    def indexed_in_place(self) -> list[TargetFolder]:
        """The apps' folders whose models are listed where they lie."""
        if not self._settings().index_in_place:
            return []
        apps = self._apps()
        whole = [
            TargetFolder(subtype=DIFFUSERS_FOLDER, path=path) for app in apps for path in app.directories
        ]
        return [folder for app in apps for folder in app.folders] + whole
