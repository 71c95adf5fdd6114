"""What a pickle would look up and call if it were loaded, told without loading it.

The operations are read one by one from their bytes and never carried out: of all values only texts are kept, since
they may become names. Memory and time are bounded, whatever a file claims.

``picklescan`` does much of this, too, but keeps every operation of a file in memory (8 MB of pickle take 830 MB),
passes over what follows a text that is not ASCII, and needs a newer Python than ComfyUI does.

Sources: Python's ``pickletools`` (the table of operations) and ``Modules/_pickle.c``; ``torch/serialization.py`` and
``caffe2/serialize/inline_container.cc`` for which pickles of a file are loaded.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ..errors import NotAModelError, SourceChangedError
from ..storage.disk import storage_error
from ..turns import give_way, uncollected
from .pickle_names import Severity, severity_of
from .pickles import ZIP_MAGIC, looks_like_pickle, open_zip, pickles_in

SCANNER = "librarian"
SCANNER_VERSION = 1
"""Counted up when what is found or how it is judged changes. A migration of ``models.db`` then empties
``pickle_state``, so that all findings are made anew."""

MAX_OPERATIONS = 20_000_000
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
"""Of all pickles in a ZIP together."""

MAX_DEPTH = 500_000
"""Of the stack and of the memo."""

MAX_TEXT = 250
"""Bytes of a text that may become a name; longer ones are passed over."""

_AT_ONCE = 64
"""Operations, of some 1 µs each, between two looks at the time."""

MAX_GLOBALS = 1000
MAX_PICKLES = 1000

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
_LEGACY_PICKLES = 5
"""A torch file of before version 1.6: this magic number, its protocol, the machine, the object, its storages' keys."""

ScanState = Literal["clean", "suspicious", "dangerous", "error", "not_scanned"]

_SEVERITIES: tuple[Severity, ...] = ("dangerous", "unknown", "harmless")


class GlobalFound(BaseModel):
    """A class or function that a pickle names. ``?`` stands for what is put together only when it is loaded."""

    module: str
    name: str
    severity: Severity


class PickleScan(BaseModel):
    """What was found in a model's pickles, and in which version of its file.

    ``state`` is ``clean`` (only what model files hold), ``suspicious`` (names code of somebody's own),
    ``dangerous`` (names what runs commands or code), ``error`` (could not be followed to its end, and nothing
    dangerous up to there) or ``not_scanned``. ``issues`` counts the dangerous names; ``globals`` has the worst
    first, at most 1,000. ``files`` tells which sizes and times the model's files had (see `fingerprint`).
    """

    model_config = ConfigDict(extra="allow")

    state: ScanState = "not_scanned"
    scanner: str = SCANNER
    scanner_version: int = SCANNER_VERSION
    scanned_at: datetime | None = None
    issues: int = 0
    globals: list[GlobalFound] = Field(default_factory=list)
    message: str | None = None
    files: str = ""

    def is_of(self, files: str) -> bool:
        """Whether this is what today's scanner says of a model's files as they are."""
        now = (self.scanner, self.scanner_version, self.files) == (SCANNER, SCANNER_VERSION, files)
        return now and self.state != "not_scanned"

    @property
    def refused(self) -> bool:
        """Whether a person has to see the findings before the file is loaded."""
        return self.state in ("dangerous", "error")

    def says_as(self, other: PickleScan) -> bool:
        """Whether both found the same, whenever that was."""
        return (self.state, self.globals) == (other.state, other.globals)


def fingerprint(files: Iterable[tuple[int, int]]) -> str:
    """What changes when one of a model's files does: from the size in bytes and the time in nanoseconds of each."""
    text = " ".join(f"{size}:{mtime_ns}" for size, mtime_ns in files)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def scan_pickles(*paths: Path, check: Callable[[], object] = lambda: None) -> PickleScan:
    """Read all pickles in a model's files that loading them would load, and say what they name.

    Args:
        paths: Raw pickles, or torch ZIPs.
        check: Called now and then; may raise to end the scan.

    Raises `SourceChangedError` if a file is not there or changes meanwhile, `StorageError` if it cannot be read.
    """
    found = _Findings(check)
    for path in paths:
        _scan_file(path, found)
    return found.told()


def _scan_file(path: Path, found: _Findings) -> None:
    try:
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            start = file.read(4)
            file.seek(0)
            try:
                if start == ZIP_MAGIC:
                    _scan_zip(file, before.st_size, found)
                else:
                    _scan_in_a_row(file, found)
            except _UnreadableError as error:
                found.message = f"{path.name}: {error}"
            after = os.fstat(file.fileno())
    except FileNotFoundError as error:
        raise SourceChangedError(f"{path} is not there (any more).") from error
    except OSError as error:
        raise storage_error(error, path) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SourceChangedError(f"{path} changed while it was read. Try again when it is complete.")


class _UnreadableError(Exception):
    """The pickles cannot be followed to their end; says why."""


@dataclass
class _Findings:
    """What was named so far, and what may still be read."""

    check: Callable[[], object]
    names: dict[tuple[str, str], None] = field(default_factory=dict)
    operations: int = MAX_OPERATIONS
    message: str | None = None

    def add(self, module: str | None, name: str | None) -> None:
        """Note what would be looked up; None for what cannot be told."""
        if len(self.names) >= MAX_GLOBALS:
            raise _UnreadableError(f"It names more than {MAX_GLOBALS} classes and functions.")
        self.names[(_shown(module), _shown(name))] = None

    def told(self) -> PickleScan:
        """All that was found, judged."""
        judged = [
            GlobalFound(
                module=module,
                name=name,
                severity="dangerous" if "?" in (module, name) else severity_of(module, name),
            )
            for module, name in self.names
        ]
        judged.sort(key=lambda item: (_SEVERITIES.index(item.severity), item.module, item.name))
        severities = [item.severity for item in judged]
        state: ScanState = "clean"
        if "dangerous" in severities:
            state = "dangerous"
        elif self.message:
            state = "error"
        elif "unknown" in severities:
            state = "suspicious"
        return PickleScan(
            state=state,
            scanned_at=datetime.now().astimezone(),
            issues=severities.count("dangerous"),
            globals=judged,
            message=self.message,
        )


def _shown(text: str | None) -> str:
    """A name as it can be kept as text."""
    return "?" if text is None else text.encode(errors="backslashreplace").decode()


# Which pickles a file has


def _scan_in_a_row(file: BinaryIO, found: _Findings) -> None:
    """A raw pickle, and those that follow it; of an old torch file not what comes after its pickles."""
    legacy = _scan_one(file, found)
    for _ in range(1, _LEGACY_PICKLES if legacy else MAX_PICKLES):
        start = file.read(2)
        file.seek(-len(start), os.SEEK_CUR)
        if not legacy and not looks_like_pickle(start):
            return
        _scan_one(file, found)


def _scan_zip(file: BinaryIO, size: int, found: _Findings) -> None:
    left = MAX_UNPACKED_BYTES
    try:
        entries, directory = _contents(file)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        ValueError,
        EOFError,
        struct.error,
        NotAModelError,
    ) as error:
        raise _UnreadableError(f"Its list of contents cannot be read: {error}") from error
    if _directory_offset(file, size) != directory:
        raise _UnreadableError("It has two lists of contents, so that programs read it differently.")
    for entry in entries:
        packed = _Packed(file, entry, left)
        with io.BufferedReader(packed, 64 * 1024) as data:
            _scan_one(data, found)
        left = packed.left


def _contents(file: BinaryIO) -> tuple[list[zipfile.ZipInfo], int]:
    """The pickles in a ZIP, and where its list of contents begins."""
    with uncollected(), open_zip(file) as archive:
        return pickles_in(archive), archive.start_dir


def _directory_offset(file: BinaryIO, size: int) -> int:
    """Where a ZIP says that its list of contents begins.

    `zipfile` looks for it where it would end instead. Where the two differ, what torch reads is not what was
    looked at here. (APPNOTE.TXT, 4.3.14 to 4.3.16.)
    """
    start = max(0, size - 22 - 65_535 - 20)
    file.seek(start)
    tail = file.read(size - start)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        return -1
    offset: int = struct.unpack_from("<L", tail, end + 16)[0]
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":
        record = start + end - 20 - 56
        file.seek(max(0, record))
        wide = file.read(56)
        if struct.unpack_from("<Q", tail, end - 12)[0] != record or wide[:4] != b"PK\x06\x06":
            return -1
        offset = struct.unpack_from("<Q", wide, 48)[0]
    return offset


class _Packed(io.RawIOBase):
    """The bytes of one entry of a ZIP, where its list of contents says they are; its own header has no say.

    Ends with `_UnreadableError` after ``left`` bytes.
    """

    def __init__(self, file: BinaryIO, entry: zipfile.ZipInfo, left: int) -> None:
        self.left = left
        self._file = file
        file.seek(entry.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != ZIP_MAGIC:
            raise _UnreadableError(f"{entry.filename} is not where the list of contents says.")
        if entry.flag_bits & 1:
            raise _UnreadableError(f"{entry.filename} is encrypted.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _UnreadableError(f"{entry.filename} is packed in a way that torch does not know.")
        self._position = entry.header_offset + 30 + sum(struct.unpack_from("<HH", header, 26))
        self._packed = entry.compress_size
        self._inflate = zlib.decompressobj(-15) if entry.compress_type == zipfile.ZIP_DEFLATED else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._next(len(view))
        self.left -= len(data)
        if self.left < 0:
            raise _UnreadableError(f"Its pickles unpack to more than {MAX_UNPACKED_BYTES >> 20} MB.")
        view[: len(data)] = data
        return len(data)

    def _next(self, count: int) -> bytes:
        if self._inflate is None:
            return self._raw(count)
        while not self._inflate.eof:
            source = self._inflate.unconsumed_tail or self._raw(count)
            try:
                data = self._inflate.decompress(source, count)
            except zlib.error as error:
                raise _UnreadableError("It is damaged: download it again.") from error
            if data or not source:
                return data
        return b""

    def _raw(self, count: int) -> bytes:
        self._file.seek(self._position)
        data = self._file.read(min(count, self._packed))
        self._position += len(data)
        self._packed -= len(data)
        return data


# The operations of one pickle


class _Operation(NamedTuple):
    """An operation's argument, as `pickletools` names it, and what it does to the stack."""

    name: str
    argument: str
    length: int
    takes: int
    to_mark: bool
    gives: int


def _table() -> dict[int, _Operation]:
    table = {}
    for code in pickletools.opcodes:
        before = code.stack_before
        to_mark = pickletools.markobject in before
        table[ord(code.code)] = _Operation(
            code.name,
            code.arg.name if code.arg else "",
            code.arg.n if code.arg else 0,
            before.index(pickletools.markobject) if to_mark else len(before),
            to_mark,
            len(code.stack_after),
        )
    return table


_OPERATIONS = _table()
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<l",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<L",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
_MARK = object()
_OTHER = object()
"""Stands for every value that is no text."""


def _scan_one(file: IO[bytes], found: _Findings) -> bool:
    """Note what one pickle names; answers whether it was the magic number of an old torch file."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    legacy = False
    read = file.read
    first = found.operations
    while code := read(1):
        operation = _OPERATIONS.get(code[0])
        if operation is None:
            raise _UnreadableError("It holds what is no pickle.")
        found.operations -= 1
        if found.operations % _AT_ONCE == 0:
            give_way()
        if found.operations % 100_000 == 0:
            found.check()
            if found.operations <= 0 or len(stack) > MAX_DEPTH or len(memo) > MAX_DEPTH:
                raise _UnreadableError("It is longer than any model's pickle.")
        name = operation.name
        value: Any = _argument(file, operation) if operation.argument else None
        if name == "STOP":
            return legacy and first - found.operations <= 3
        if name == "LONG1":
            legacy = value == _LEGACY_MAGIC
        if name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if value is None else value] = stack[-1] if stack else _OTHER
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(value, _OTHER))
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "DUP":
            stack.append(stack[-1] if stack else _OTHER)
        else:
            if name in ("GLOBAL", "INST"):
                found.add(*value)
            elif name == "STACK_GLOBAL":
                module, last = ([_OTHER, _OTHER, *stack[-2:]])[-2:]
                found.add(*_both_texts(module, last))
            elif name in ("EXT1", "EXT2", "EXT4"):
                number = int.from_bytes(value, "little", signed=name == "EXT4")
                found.add("copyreg", f"extension {number}")
            _take(stack, operation)
            if isinstance(value, str):
                stack.append(value)
            elif operation.gives:
                stack.extend((_OTHER,) * operation.gives)
    raise _UnreadableError("It ends in the middle: download it again.")


def _both_texts(module: Any, name: Any) -> tuple[str, str] | tuple[None, None]:
    return (module, name) if isinstance(module, str) and isinstance(name, str) else (None, None)


def _take(stack: list[Any], operation: _Operation) -> None:
    """Take off the stack what an operation uses; what a damaged pickle does not have there is not missed."""
    if operation.to_mark:
        while stack and stack.pop() is not _MARK:
            pass
    if operation.takes:
        del stack[-operation.takes :]


def _argument(file: IO[bytes], operation: _Operation) -> Any:
    """An operation's argument, if it is a text, a name, or a place in the memo; else it is passed over."""
    kind = operation.argument
    if kind == "stringnl_noescape_pair":
        return _name(_line(file)), _name(_line(file))
    if operation.length == pickletools.UP_TO_NEWLINE:
        line = _line(file)
        if kind == "decimalnl_short" and operation.name in ("GET", "PUT"):
            return _place(line)
        if line is None:
            return None
        if operation.name == "STRING":
            return _text(_unquoted(line))
        return _text(line, "raw-unicode-escape") if operation.name == "UNICODE" else None
    if operation.length >= 0:
        data = _exactly(file, operation.length)
        if operation.name in ("BINGET", "BINPUT", "LONG_BINGET", "LONG_BINPUT"):
            return int.from_bytes(data, "little")
        return data
    layout = _LENGTHS[operation.length]
    (count,) = struct.unpack(layout, _exactly(file, struct.calcsize(layout)))
    if count < 0:
        raise _UnreadableError("It holds what is no pickle.")
    if count > MAX_TEXT:
        _pass_over(file, count)
        return None
    data = _exactly(file, count)
    return _text(data) if "string" in kind or "unicode" in kind else data


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _UnreadableError("It ends in the middle: download it again.")
    return data


def _pass_over(file: IO[bytes], count: int) -> None:
    while count > 0:
        count -= len(_exactly(file, min(count, 1024 * 1024)))


def _line(file: IO[bytes]) -> bytes | None:
    """The bytes up to the next newline, which is passed over; None for more than `MAX_TEXT`."""
    line = file.readline(MAX_TEXT + 1)
    if line.endswith(b"\n"):
        return line[:-1]
    while len(line) > MAX_TEXT and not line.endswith(b"\n"):
        line = file.readline(1024 * 1024)
        if line.endswith(b"\n"):
            return None
        line = line and b" " * (MAX_TEXT + 1)
    raise _UnreadableError("It ends in the middle: download it again.")


def _place(line: bytes | None) -> int:
    try:
        return int(line or b"")
    except ValueError as error:
        raise _UnreadableError("It holds what is no pickle.") from error


def _name(line: bytes | None) -> str | None:
    return None if line is None else line.decode(errors="replace")


def _text(data: bytes, encoding: str = "utf-8") -> str | None:
    """A text that may become a name; None for one that no name is like."""
    try:
        return data.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    except ValueError:
        return None


def _unquoted(line: bytes) -> bytes:
    """What a STRING's line, a quoted text with escapes, means."""
    line = line.strip()
    try:
        return codecs.escape_decode(line[1:-1])[0]
    except ValueError:
        return line
