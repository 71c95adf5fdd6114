from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import Parameter, signature
from types import FunctionType
from typing import Any


class _PathsByIdentity:
    """ComfyUI's ``folder_paths``, for which a model's name is its path, and whose folders are not listed."""

    def __init__(self, folder_paths: Any) -> None:
        self._folder_paths = folder_paths

    def get_full_path(self, _folder: str, name: str) -> str:
        return name

    get_full_path_or_raise = get_full_path

    def get_filename_list(self, _folder: str) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder_paths, name)


def core_nodes() -> Mapping[str, Any]:
    """ComfyUI's own nodes by id."""
    nodes: Mapping[str, Any] = import_module("nodes").NODE_CLASS_MAPPINGS
    return nodes


def core_options(node: str, name: str) -> list[str]:
    """What an input of one of ComfyUI's own nodes can be, in this version of ComfyUI."""
    owner = core_nodes().get(node)
    if owner is None:
        return []
    inputs = _by_identity(owner.INPUT_TYPES)(owner)
    found = {**inputs.get("required", {}), **inputs.get("optional", {})}[name][0]
    return list(found)


def core_loader(node: str) -> Callable[..., Any]:
    """The loading method of one of ComfyUI's own nodes, made to take paths where it takes models' names.

    The core's loaders take names below their folders only, and what they do with a file changes from
    version to version. So their own code runs, with other eyes for ``folder_paths``; nothing of ComfyUI
    is changed by that. It takes keywords only; what it needs and does not get is ``None``.
    """
    owner = core_nodes()[node]
    is_v3 = hasattr(owner, "define_schema")
    load = _by_identity(getattr(owner, "execute" if is_v3 else owner.FUNCTION))
    _, *needed = [name for name, one in signature(load).parameters.items() if one.default is Parameter.empty]

    def call(**inputs: Any) -> Any:
        return load(owner if is_v3 else owner(), **{**dict.fromkeys(needed), **inputs})

    return call


def _by_identity(method: Any) -> FunctionType:
    """The function behind a method, unbound, with `_PathsByIdentity` for its ``folder_paths``."""
    function = getattr(method, "__func__", method)
    seeing = {**function.__globals__}
    seeing["folder_paths"] = _PathsByIdentity(seeing.get("folder_paths"))
    changed = FunctionType(
        function.__code__, seeing, function.__name__, function.__defaults__, function.__closure__
    )
    changed.__kwdefaults__ = function.__kwdefaults__
    return changed
