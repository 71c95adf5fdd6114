"""Safetensors: 8 bytes of little-endian header length, JSON, tensor data.

Source: the format's description in the ``huggingface/safetensors`` README. The bound of 100 MB on the
header is that of the reference implementation.
"""

from __future__ import annotations

import json
from math import prod
from typing import BinaryIO

from ..errors import NotAModelError
from .facts import FileFacts, Tensor
from .reading import BoundedReader

MAX_HEADER_BYTES = 100_000_000

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


def looks_like_safetensors(start: bytes, size: int) -> bool:
    """Whether the first bytes are a plausible header length followed by a JSON object."""
    length = int.from_bytes(start[:8], "little")
    return len(start) > 8 and 2 <= length <= size - 8 and start[8:9] == b"{"


def read_safetensors(file: BinaryIO, size: int) -> FileFacts:
    """Read the header of a file that starts at ``file``'s position and has ``size`` bytes.

    Raises `NotAModelError` where the header is damaged or the data is shorter or longer than it says.
    """
    reader = BoundedReader(file, size, "safetensors")
    length = reader.number("<Q")
    if length > MAX_HEADER_BYTES:
        raise NotAModelError(
            f"The safetensors header claims {length} bytes; more than 100 MB is never right."
        )
    try:
        header = json.loads(reader.bytes(length))
    except (ValueError, RecursionError) as error:
        raise NotAModelError("The safetensors header is not valid JSON: the file is damaged.") from error
    if not isinstance(header, dict):
        raise NotAModelError("The safetensors header is not a JSON object: the file is damaged.")
    metadata = header.pop("__metadata__", None)
    tensors: dict[str, Tensor] = {}
    end = 0
    try:
        for name, entry in header.items():
            shape = tuple(int(extent) for extent in entry["shape"])
            begin, stop = (int(offset) for offset in entry["data_offsets"])
            bits = _BITS.get(entry["dtype"])
            if begin < 0 or (bits and (prod(shape) * bits + 7) // 8 != stop - begin):
                raise NotAModelError(f"Tensor {name[:80]!r} does not have the size that its shape asks for.")
            tensors[name] = Tensor(str(entry["dtype"]), shape)
            end = max(end, stop)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAModelError(
            "The safetensors header describes its tensors wrongly: the file is damaged."
        ) from error
    if 8 + length + end != size:
        raise NotAModelError(
            f"The file has {size} bytes but its header describes {8 + length + end}: "
            "the download was cut short or the file is damaged. Download it again."
        )
    return FileFacts(
        format="safetensors",
        security_tier="safe",
        size=size,
        metadata={str(key): str(value) for key, value in metadata.items()}
        if isinstance(metadata, dict)
        else {},
        tensors=tensors,
    )
