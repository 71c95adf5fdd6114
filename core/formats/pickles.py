"""Files that hold a Python pickle: raw ones and the ZIPs that torch has written since version 1.6.

Nothing here ever loads one. What tensors a file names is read from the text of its pickle by
`pickle_text`, which knows no code to run.
"""

from __future__ import annotations

import pickletools
import zipfile
import zlib
from contextlib import suppress
from typing import IO, BinaryIO, cast

from ..errors import NotAModelError
from ..turns import in_turns, short_switches
from .facts import FileFacts, facts_of
from .pickle_text import tensors_of_pickle

_OPERATIONS = frozenset(operation.code.encode("latin-1") for operation in pickletools.opcodes)

ZIP_MAGIC = b"PK\x03\x04"
MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
"""Of a ZIP's list of entries: room for 40,000 tensors, and ten times what real files need."""


def looks_like_pickle(start: bytes) -> bool:
    """Whether the bytes begin like a pickle of protocol 2 to 5 (Python, ``pickletools``: opcode PROTO)."""
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def goes_on_as_pickle(start: bytes) -> bool:
    """Whether an operation follows the protocol, and not the rest of a safetensors header's length with its brace."""
    return start[2:3] in _OPERATIONS and not (start[3:8] == bytes(5) and start[8:9] == b"{")


def read_pickle(file: BinaryIO, size: int) -> FileFacts:
    """A raw pickle, as torch wrote before version 1.6: magic, protocol, machine, then the object itself."""
    return facts_of("pickle", size, tensors=tensors_of_pickle(file))


def read_torch_zip(file: BinaryIO, size: int) -> FileFacts:
    """A ZIP with ``data.pkl`` in it. Raises `NotAModelError` for any other or a damaged ZIP."""
    try:
        with open_zip(file) as archive:
            named = (entry for entry in pickles_in(archive) if _last_part(entry) == "data.pkl")
            entry = next(named, None)
            if entry is None:
                raise NotAModelError("This is a ZIP archive without a torch model in it. Unpack it first.")
            tensors = {}
            if entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not entry.flag_bits & 1:
                # Torch does not compare the names in the two lists of contents, as `zipfile` does.
                with suppress(zipfile.BadZipFile), archive.open(entry) as data:
                    tensors = tensors_of_pickle(data)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError, OSError) as error:
        raise NotAModelError(
            "The file begins like a torch file but its end is missing: download it again."
        ) from error
    return facts_of("torch", size, tensors=tensors)


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """The ZIP with its list of contents, which Python reads in one go, some 10 µs for each entry."""
    with short_switches():
        return zipfile.ZipFile(cast("IO[bytes]", SmallReads(file)))


def pickles_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The pickles in a ZIP, by their names. Case does not matter: it does not to torch, either."""
    return [
        entry for entry in in_turns(archive.infolist()) if _last_part(entry).endswith((".pkl", ".pickle"))
    ]


def _last_part(entry: zipfile.ZipInfo) -> str:
    return entry.filename.replace("\\", "/").rsplit("/", 1)[-1].casefold()


class SmallReads:
    """A file of which nobody reads more than `MAX_DIRECTORY_BYTES` at once.

    `zipfile` reads a list of entries of any length in one go and makes an object of each entry.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable
        self.close = lambda: None

    def read(self, count: int = -1) -> bytes:
        """As a file's. Raises `NotAModelError` for more than the bound."""
        data = self._file.read(count if 0 <= count <= MAX_DIRECTORY_BYTES else MAX_DIRECTORY_BYTES + 1)
        if len(data) > MAX_DIRECTORY_BYTES:
            raise NotAModelError("This ZIP archive has more entries than any torch model. Unpack it first.")
        return data
