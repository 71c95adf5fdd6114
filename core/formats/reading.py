from __future__ import annotations

import struct
from os import SEEK_CUR
from typing import Any, BinaryIO

from ..errors import NotAModelError
from ..sentences import say

MAX_ENTRIES = 1024
MAX_KEY = 256
MAX_VALUE = 8192
LONG_VALUES = {"ss_tag_frequency": 256 * 1024}
"""Header keys whose values are kept beyond `MAX_VALUE` characters, and up to how many."""


class BoundedReader:
    """Reads numbers and bytes from a header, never past the end of the file.

    Whatever a header claims, no more is read than the file holds: a false count ends in
    `NotAModelError`, not in a huge allocation.
    """

    def __init__(self, file: BinaryIO, size: int, what: str) -> None:
        self._file = file
        self._size = size
        self._what = what
        self.position = file.tell()

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes. The caller has seen to it that the count is a sane one."""
        self._require(count)
        data = self._file.read(count)
        if len(data) != count:
            raise NotAModelError(
                say("ended_in_header", "The {format} file ended inside its header.", format=self._what)
            )
        self.position += count
        return data

    def number(self, layout: str) -> Any:
        """One number in the layout of `struct`, such as ``<Q``."""
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))[0]

    def skip(self, count: int) -> None:
        """Go past the next ``count`` bytes."""
        self._require(count)
        self._file.seek(count, SEEK_CUR)
        self.position += count

    def text(self, length: int, limit: int) -> str:
        """The next ``length`` bytes as text, of which at most ``limit`` bytes are kept."""
        kept = self.bytes(min(length, limit))
        self.skip(length - len(kept))
        return kept.decode(errors="replace")

    def _require(self, count: int) -> None:
        if count < 0 or self.position + count > self._size:
            raise NotAModelError(
                say(
                    "header_claims_more",
                    "The {format} header claims more than the file holds: it is damaged or cut short.",
                    format=self._what,
                )
            )


def value_limit(key: str) -> int:
    """How many characters of the header value called ``key`` are kept."""
    return LONG_VALUES.get(key, MAX_VALUE)


def keep(metadata: dict[str, str], key: str, value: str) -> None:
    """Put a header's key-value into ``metadata``, cut to a sane length.

    Publishers put whole workflows, images and training sets into headers; what is not kept here is
    never parsed, shown or stored.
    """
    if len(metadata) < MAX_ENTRIES:
        metadata[key[:MAX_KEY]] = value[: value_limit(key)]
