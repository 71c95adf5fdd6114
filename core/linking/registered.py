"""Library folders that ComfyUI looks into itself, where no link to them can be made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from ..settings import TargetFolder
from ..storage.atomic import write_atomic

logger = logging.getLogger(__name__)

Tell = Callable[[str, Path], None]
"""Tells the running ComfyUI of a folder: its kind, as ComfyUI calls it, and where it is."""


class _File(BaseModel):
    folders: list[TargetFolder] = Field(default_factory=list)


class RegisteredFolders:
    """``comfyui_folders.json`` in the data folder: models' folders that ComfyUI is told of at each start.

    This is for Windows without the right to make symlinks and a library on another drive. Only inside
    ComfyUI somebody can be told; anywhere else nothing is registered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._tell: Tell | None = None

    @property
    def possible(self) -> bool:
        """Whether there is a ComfyUI to tell."""
        return self._tell is not None

    def attach(self, tell: Tell) -> None:
        """Tell ComfyUI of every folder that is still there, and from now on of new ones."""
        with self._lock:
            self._tell = tell
            known = self._read()
            there = [folder for folder in known if folder.path.is_dir()]
            for folder in there:
                tell(folder.subtype, folder.path)
            if there != known:
                self._write(there)

    def add(self, folder: TargetFolder) -> bool:
        """Tell ComfyUI of a folder, now and at each start; ``False`` if nobody can be told. Raises `OSError`."""
        with self._lock:
            if self._tell is None:
                return False
            known = self._read()
            if folder not in known:
                self._write([*known, folder])
                self._tell(folder.subtype, folder.path)
            return True

    def all(self) -> frozenset[TargetFolder]:
        """Every registered folder."""
        return frozenset(self._read())

    def clear(self) -> int:
        """Forget all; answers how many. A ComfyUI that runs looks into them until it ends. Raises `OSError`."""
        with self._lock:
            known = self._read()
            if known:
                self._path.unlink(missing_ok=True)
            return len(known)

    def _read(self) -> list[TargetFolder]:
        try:
            return _File.model_validate_json(self._path.read_bytes()).folders
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            logger.warning("%s cannot be read, so ComfyUI is not told of any folder: %s", self._path, error)
            return []

    def _write(self, folders: list[TargetFolder]) -> None:
        write_atomic(self._path, _File(folders=folders).model_dump_json(indent=2).encode())
