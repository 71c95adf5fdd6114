from __future__ import annotations

from typing import Literal, NamedTuple

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


class Tensor(NamedTuple):
    """A tensor as the header names it. ``dtype`` is the format's own word, such as ``F16`` or ``Q4_K``."""

    dtype: str
    shape: tuple[int, ...]


class FileFacts(BaseModel):
    """What a file's header says.

    ``metadata`` holds the header's own key-values as text. ``tensors`` is empty where the format tells
    them only by running code (pickles) or not cheaply (ONNX).
    """

    format: FileFormat
    security_tier: SecurityTier
    size: int
    metadata: dict[str, str] = Field(default_factory=dict)
    tensors: dict[str, Tensor] = Field(default_factory=dict)
