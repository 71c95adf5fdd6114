from __future__ import annotations

import struct
from os import SEEK_CUR
from typing import Any, BinaryIO

from ..errors import NotAModelError


class BoundedReader:
    """Reads numbers and bytes from a header, never past the end of the file.

    Whatever a header claims, no more is read than the file holds: a false count ends in
    `NotAModelError`, not in a huge allocation.
    """

    def __init__(self, file: BinaryIO, size: int, what: str) -> None:
        self._file = file
        self._size = size
        self._what = what

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        self._require(count)
        data = self._file.read(count)
        if len(data) != count:
            raise NotAModelError(f"The {self._what} file ended inside its header.")
        return data

    def number(self, layout: str) -> Any:
        """One number in the layout of `struct`, such as ``<Q``."""
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))[0]

    def skip(self, count: int) -> None:
        """Go past the next ``count`` bytes."""
        self._require(count)
        self._file.seek(count, SEEK_CUR)

    def _require(self, count: int) -> None:
        if count < 0 or self._file.tell() + count > self._size:
            raise NotAModelError(
                f"The {self._what} header claims more than the file holds: it is damaged or cut short."
            )
