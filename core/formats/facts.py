from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

FileFormat = Literal["safetensors", "gguf", "torch", "pickle", "onnx"]
ModelFormat = Literal["single-file", "sharded-set", "diffusion-folder"]
SecurityTier = Literal["safe", "pickle", "unknown"]

TIER_OF_FORMAT: dict[FileFormat, SecurityTier] = {
    "safetensors": "safe",
    "gguf": "safe",
    "onnx": "safe",
    "torch": "pickle",
    "pickle": "pickle",
}


Tensor = tuple[str, tuple[int, ...]]
"""A tensor as the header names it: its type and its shape.

The type is the format's own word, such as ``F16`` or ``Q4_K``, or empty where it is not known; the shape is in torch's
order, outermost first, or empty where it is not known.
"""


class Tensors(dict[str, Tensor]):
    """Tensors by their names; equal ones are one object.

    A file has thousands of some dozen kinds. A tuple for each would soon bring on a full collection of garbage, which
    halts all threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[Tensor, Tensor] = {}

    def add(self, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        """Add a tensor, or replace the one of this name."""
        tensor = dtype, shape
        self[name] = self._kinds.setdefault(tensor, tensor)


class FileFacts(BaseModel):
    """What a file's header says.

    ``metadata`` holds the header's own key-values as text, cut to a sane length. ``tensors`` is empty
    where the format does not tell them cheaply (ONNX).
    """

    format: FileFormat
    security_tier: SecurityTier
    size: int
    metadata: dict[str, str] = Field(default_factory=dict)
    tensors: dict[str, Tensor] = Field(default_factory=dict)


def facts_of(
    file_format: FileFormat,
    size: int,
    metadata: dict[str, str] | None = None,
    tensors: dict[str, Tensor] | None = None,
) -> FileFacts:
    """Facts from a reader of this package.

    Not validated again: that would copy every tensor in one go, and hold up all other threads while it does.
    """
    return FileFacts.model_construct(
        format=file_format,
        security_tier=TIER_OF_FORMAT[file_format],
        size=size,
        metadata=metadata or {},
        tensors=tensors or {},
    )
