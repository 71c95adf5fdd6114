"""Files that hold a Python pickle: raw ones and the ZIPs that torch has written since version 1.6.

Nothing here ever loads one; only the shape of the file is looked at.
"""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from ..errors import NotAModelError
from .facts import FileFacts

ZIP_MAGIC = b"PK\x03\x04"
MAX_ZIP_ENTRIES = 200_000


def looks_like_pickle(start: bytes) -> bool:
    """Whether the bytes begin like a pickle of protocol 2 to 5 (Python, ``pickletools``: opcode PROTO)."""
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def read_pickle(size: int) -> FileFacts:
    """A raw pickle."""
    return FileFacts(format="pickle", security_tier="pickle", size=size)


def read_torch_zip(file: BinaryIO, size: int) -> FileFacts:
    """A ZIP with ``data.pkl`` in it. Raises `NotAModelError` for any other or a damaged ZIP."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise NotAModelError(
            "The file begins like a torch file but its end is missing: download it again."
        ) from error
    if len(names) > MAX_ZIP_ENTRIES or not any(name.rsplit("/", 1)[-1] == "data.pkl" for name in names):
        raise NotAModelError("This is a ZIP archive without a torch model in it. Unpack it first.")
    return FileFacts(format="torch", security_tier="pickle", size=size)
