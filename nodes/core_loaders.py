from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any


class _PathsByIdentity:
    """ComfyUI's ``folder_paths``, for which every model that is asked for lies at one path."""

    def __init__(self, folder_paths: Any, path: Path) -> None:
        self._folder_paths = folder_paths
        self._path = str(path)

    def get_full_path(self, _folder: str, _name: str) -> str:
        return self._path

    get_full_path_or_raise = get_full_path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder_paths, name)


def core_loader(node: str, method: str, path: Path) -> Callable[..., Any]:
    """The loading method of one of ComfyUI's own nodes, made to load the file at ``path``.

    The core's loaders take names below their folders only, and what they do with a file changes from
    version to version. So their own code runs, with other eyes for ``folder_paths``; nothing of ComfyUI
    is changed by that. The method's first argument after ``self`` or ``cls`` is bound already.
    """
    owner = import_module("nodes").NODE_CLASS_MAPPINGS[node]
    bound = getattr(owner, method)
    function = getattr(bound, "__func__", bound)
    seeing = {**function.__globals__}
    seeing["folder_paths"] = _PathsByIdentity(seeing.get("folder_paths"), path)
    loader = FunctionType(
        function.__code__, seeing, function.__name__, function.__defaults__, function.__closure__
    )
    return loader.__get__(owner if bound is not function else owner())
