"""Lets the test server's CPU-only torch, torchvision and missing torchaudio be imported.

On the PYTHONPATH of the ComfyUI that the tests start, nowhere else. Depending on where they come from,
torchvision's C++ operators do not load beside a CPU build of torch; its Python code then asks for two
operators that nobody declared. torchaudio is not installed at all: ComfyUI's audio nodes import it,
and no test here needs sound.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class _Stub(ModuleType):
    """A module that has every submodule and attribute, all of them empty."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Stub(f"{self.__name__}.{name}")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stubs torchaudio, and declares torchvision's operators just before it is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] == "torchaudio":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if name == "torchvision":
            _declare_operators()
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


_libraries: list[object] = []


def _declare_operators() -> None:
    if _libraries:
        return
    import torch

    schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library = torch.library.Library("torchvision", "FRAGMENT")
    _libraries.append(library)  # the declarations live as long as this object
    for name in ("nms", "qnms"):
        library.define(name + schema)


sys.meta_path.insert(0, _Finder())
