"""Safetensors: 8 bytes of little-endian header length, JSON, tensor data.

Source: the format's description in the ``huggingface/safetensors`` README. The header is read entry by
entry rather than by one call of `json.loads`: that would hold up every other thread of ComfyUI for as
long as it takes, and need some twenty times the header's size in memory. The reference implementation
allows 100 MB of header; the largest of real models have a few MB.
"""

from __future__ import annotations

import json
import re
from math import prod
from typing import Any, BinaryIO

from ..errors import NotAModelError
from ..sentences import say
from ..turns import give_way, in_turns
from .facts import FileFacts, Tensors, facts_of
from .reading import BoundedReader, keep, value_limit

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_TENSORS = 200_000
MAX_ENTRY_BYTES = 64 * 1024
MAX_SLASHES = 512
"""Each level of JSON inside JSON doubles the backslashes before a quote."""

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip

_ENTRY = re.compile(
    rb'\s*"([^"\\\x00-\x1f]{0,512})"\s*:\s*\{\s*"dtype"\s*:\s*"(\w{1,16})"\s*,\s*"shape"\s*:\s*\[([\d\s,]{0,160})\]'
    rb'\s*,\s*"data_offsets"\s*:\s*\[\s*(\d{1,19})\s*,\s*(\d{1,19})\s*\]\s*\}\s*,'
)
"""A tensor's entry as the reference implementation writes it, with the comma to the next one; the last one, and any
other spelling, takes the long way."""

_INTEGERS = re.compile(rb"\d{1,19}")
_SPACE = re.compile(rb"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def looks_like_safetensors(start: bytes, size: int) -> bool:
    """Whether the first bytes are a plausible header length followed by a JSON object."""
    length = int.from_bytes(start[:8], "little")
    return len(start) > 8 and 2 <= length <= size - 8 and start[8:9] == b"{"


def read_safetensors(file: BinaryIO, size: int) -> FileFacts:
    """Read the header of a file that starts at ``file``'s position and has ``size`` bytes.

    Raises `NotAModelError` where the header is damaged, over 16 MB long, or the data is not what it describes.
    """
    reader = BoundedReader(file, size, "safetensors")
    length = reader.number("<Q")
    if length > MAX_HEADER_BYTES:
        raise NotAModelError(
            say(
                "header_too_long",
                "The safetensors header claims {length} bytes; more than {limit} is never right.",
                length=length,
                limit=MAX_HEADER_BYTES,
            )
        )
    header = _Header(reader.bytes(length))
    header.read()
    end = header.check_offsets()
    if 8 + length + end != size:
        raise NotAModelError(
            say(
                "cut_short",
                "The file has {size} bytes but its header describes {described}: the download was cut short or the "
                "file is damaged. Download it again.",
                size=size,
                described=8 + length + end,
            )
        )
    return facts_of("safetensors", size, header.metadata, header.tensors)


class _Header:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._spans: list[tuple[int, int]] = []
        self.metadata: dict[str, str] = {}
        self.tensors = Tensors()

    def read(self) -> None:
        """Read the whole object, in steps that are short whatever it holds."""
        self._expect(b"{")
        if not self._next_is(b"}"):
            while self._plain_entry() or self._any_entry():
                give_way()
        if _SPACE.fullmatch(self._data, self._position) is None:
            raise _not_json()

    def check_offsets(self) -> int:
        """Where the data ends, if the tensors lie side by side as the format demands."""
        end = 0
        for begin, stop in in_turns(sorted(self._spans)):
            if begin != end:
                what = "overlap" if begin < end else "leave a gap between them"
                raise NotAModelError(f"The header's tensors {what}: the file is damaged.")
            end = stop
        return end

    def _plain_entry(self) -> bool:
        match = _ENTRY.match(self._data, self._position)
        if match is None:
            return False
        name, dtype, shape, begin, stop = match.groups()
        if name == b"__metadata__":
            return False
        self._position = match.end()
        extents = tuple(map(int, _INTEGERS.findall(shape)))
        self._add(name.decode(errors="replace"), dtype.decode(), extents, int(begin), int(stop))
        return True

    def _any_entry(self) -> bool:
        """Read an entry however it is written; false if it is the last."""
        key = self._string()
        self._expect(b":")
        if key == "__metadata__":
            self._metadata()
        else:
            self._tensor(key)
        if self._next_is(b"}"):
            return False
        self._expect(b",")
        return True

    def _tensor(self, key: str) -> None:
        entry = self._value()
        try:
            shape = tuple(int(extent) for extent in entry["shape"])
            begin, stop = (int(offset) for offset in entry["data_offsets"])
            self._add(key, str(entry["dtype"])[:16], shape, begin, stop)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise NotAModelError(
                say(
                    "tensors_wrong",
                    "The safetensors header describes its tensors wrongly: the file is damaged.",
                )
            ) from error

    def _add(self, name: str, dtype: str, shape: tuple[int, ...], begin: int, stop: int) -> None:
        if name in self.tensors:
            raise NotAModelError(f"The header names tensor {name[:80]!r} twice: the file is damaged.")
        if len(self.tensors) >= MAX_TENSORS:
            raise NotAModelError(f"The header names more than {MAX_TENSORS} tensors, which is never right.")
        bits = _BITS.get(dtype)
        if (
            not 0 <= begin <= stop
            or min(shape, default=0) < 0
            or len(shape) > 64
            or (bits and (prod(shape) * bits + 7) // 8 != stop - begin)
        ):
            raise NotAModelError(f"Tensor {name[:80]!r} does not have the size that its shape asks for.")
        self._spans.append((begin, stop))
        self.tensors.add(name, dtype, shape)

    def _metadata(self) -> None:
        if not self._next_is(b"{", peek=True):
            self._value()
            return
        self._expect(b"{")
        if self._next_is(b"}"):
            return
        while True:
            key = self._string()
            self._expect(b":")
            if self._next_is(b'"', peek=True):
                keep(self.metadata, key, self._string(value_limit(key)))
            else:
                keep(self.metadata, key, str(self._value()))
            if self._next_is(b"}"):
                return
            self._expect(b",")

    def _string(self, limit: int = 1024) -> str:
        """A JSON string, of which at most ``limit`` bytes are decoded; the rest is only passed."""
        self._expect(b'"')
        start = end = self._position
        while True:
            end = self._data.find(b'"', end)
            if end < 0:
                raise _not_json()
            before = self._data[max(start, end - MAX_SLASHES) : end]
            slashes = len(before) - len(before.rstrip(b"\\"))
            if slashes >= MAX_SLASHES:
                raise _not_json()
            if slashes % 2 == 0:
                break
            end += 1
        self._position = end + 1
        raw = self._data[start : min(end, start + limit)]
        if len(raw) < end - start:
            raw = re.sub(rb"\\(u[0-9a-fA-F]{0,3})?$", b"", raw)
        try:
            return str(_DECODER.decode(f'"{raw.decode(errors="replace")}"'))
        except ValueError:
            return raw.decode(errors="replace")

    def _value(self) -> Any:
        """Any JSON value of at most `MAX_ENTRY_BYTES`."""
        self._skip_space()
        text = self._data[self._position : self._position + MAX_ENTRY_BYTES].decode(errors="surrogateescape")
        try:
            value, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError) as error:
            raise _not_json() from error
        self._position += len(text[:end].encode(errors="surrogateescape"))
        return value

    def _skip_space(self) -> None:
        match = _SPACE.match(self._data, self._position)
        assert match is not None
        self._position = match.end()

    def _next_is(self, character: bytes, *, peek: bool = False) -> bool:
        self._skip_space()
        found = self._data[self._position : self._position + 1] == character
        if found and not peek:
            self._position += 1
        return found

    def _expect(self, character: bytes) -> None:
        if not self._next_is(character):
            raise _not_json()


def _not_json() -> NotAModelError:
    return NotAModelError(
        say("header_no_json", "The safetensors header is not valid JSON: the file is damaged.")
    )
