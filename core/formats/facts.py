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
    """A tensor as the header names it.

    ``dtype`` is the format's own word, such as ``F16`` or ``Q4_K``, or empty where it is not known;
    ``shape`` is in torch's order, outermost first, or empty where it is not known.
    """

    dtype: str
    shape: tuple[int, ...]


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
