"""GGUF: magic, version, counts, key-values, tensor infos.

Source: ``ggml-org/ggml``, ``docs/gguf.md``; the bounds are far above what real files hold (a vocabulary of
262,144 tokens with its merges is the most that is seen).
"""

from __future__ import annotations

from struct import Struct, calcsize
from typing import Any, BinaryIO

from ..errors import NotAModelError
from ..turns import give_way
from .facts import FileFacts, Tensors, facts_of
from .reading import BoundedReader, keep, value_limit

MAGIC = b"GGUF"
MAX_ENTRIES = 100_000
MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_NAME_BYTES = 256
MAX_ARRAY_ITEMS = 4_000_000

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_CHUNK = 32 * 1024

_TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip


class _GGUFReader(BoundedReader):
    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, size, "GGUF")
        self._order = "<"
        self._items = 0

    def choose_byte_order(self, version: int) -> int:
        """Version 3 knows big-endian files: there the version itself reads wrongly the other way round."""
        if version & 0xFFFF == 0:
            self._order = ">"
            return int.from_bytes(version.to_bytes(4, "little"), "big")
        return version

    def value(self, layout: str) -> Any:
        return self.number(self._order + layout)

    def count(self) -> int:
        count = int(self.value("Q"))
        if count > MAX_ENTRIES:
            raise NotAModelError(f"The GGUF header claims {count} entries: the file is damaged.")
        return count

    def word(self, limit: int = MAX_NAME_BYTES) -> str:
        length = self.value("Q")
        if length > MAX_TEXT_BYTES:
            raise NotAModelError("The GGUF header claims a text of over 64 MB: the file is damaged.")
        return self.text(length, limit)

    def skip_array(self, depth: int = 0) -> None:
        """Token lists of language models are long and tell nothing here."""
        kind, count = self.value("I"), self.value("Q")
        if kind in _NUMBERS:
            self.skip(count * calcsize("<" + _NUMBERS[kind]))
            return
        self._items += count
        if self._items > MAX_ARRAY_ITEMS:
            raise NotAModelError("The GGUF header claims too many texts: the file is damaged.")
        if kind == _STRING:
            self._skip_texts(count)
        elif kind == _ARRAY and depth < 4:
            for _ in range(count):
                give_way()
                self.skip_array(depth + 1)
        else:
            raise NotAModelError(f"The GGUF header uses the unknown type {kind}: the file is damaged.")

    def _skip_texts(self, count: int) -> None:
        """Pass ``count`` texts, reading some thousand at once: there are hundreds of thousands of them."""
        length_at = Struct(self._order + "Q").unpack_from
        while count:
            data = self._file.read(_CHUNK)
            place = 0
            while count and place + 8 <= len(data):
                place += 8 + length_at(data, place)[0]
                count -= 1
            if place == 0:
                raise NotAModelError("The GGUF file ended inside its header.")
            self._file.seek(self.position)
            self.skip(place)
            give_way()


def read_gguf(file: BinaryIO, size: int) -> FileFacts:
    """Read key-values and tensor infos. Raises `NotAModelError` for a damaged or unknown file."""
    reader = _GGUFReader(file, size)
    if reader.bytes(4) != MAGIC:
        raise NotAModelError("This is not a GGUF file.")
    version = reader.choose_byte_order(int(reader.value("I")))
    if version not in (2, 3):
        raise NotAModelError(f"GGUF version {version} is not known; versions 2 and 3 are.")
    tensor_count, entry_count = reader.count(), reader.count()
    metadata: dict[str, str] = {}
    for _ in range(entry_count):
        give_way()
        key, kind = reader.word(), reader.value("I")
        if kind == _STRING:
            keep(metadata, key, reader.word(value_limit(key)))
        elif kind in _NUMBERS:
            keep(metadata, key, str(reader.value(_NUMBERS[kind])))
        elif kind == _ARRAY:
            reader.skip_array()
        else:
            raise NotAModelError(f"The GGUF header uses the unknown type {kind}: the file is damaged.")
    tensors = Tensors()
    for _ in range(tensor_count):
        give_way()
        name, dimensions = reader.word(), reader.value("I")
        if dimensions > 8:
            raise NotAModelError(
                "The GGUF header describes a tensor of over 8 dimensions: the file is damaged."
            )
        innermost_first = [int(reader.value("Q")) for _ in range(dimensions)]
        kind = reader.value("I")
        reader.value("Q")
        dtype = _TENSOR_TYPES.get(kind) or f"type {kind}"
        tensors.add(name, dtype, tuple(reversed(innermost_first)))
    return facts_of("gguf", size, metadata, tensors)
