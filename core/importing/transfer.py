from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from ..errors import SourceChangedError, StorageError
from ..sentences import say
from ..storage.disk import begin_writing_back, bypass_cache, is_disk_full, storage_error, use_cache
from ..storage.reflink import clone

BLOCK_BYTES = 2 * 1024 * 1024
"""What is read at once: so much that handing it from thread to thread costs nothing beside it."""

BLOCKS = 8

Progress = Callable[[int], None]
"""Called with the bytes done so far, after every block; may raise `CancelledError`."""

Sinks = dict[str, Callable[[memoryview], object]]
"""What takes in each block, by the name of its thread."""

Check = Callable[[os.stat_result], None]
"""Called with what was opened, before anything is read; raises if that is not what was meant."""


class Transferred(NamedTuple):
    """A file's size in bytes and its hashes as lower-case hexadecimal."""

    size: int
    sha256: str
    blake3: str


def hash_file(source: Path, progress: Progress, check: Check) -> Transferred:
    """SHA-256 and BLAKE3 of a file in one pass.

    Raises `SourceChangedError` if the file changes or vanishes meanwhile, `StorageError` if it cannot be
    read.
    """
    return _stream(source, None, progress, check)


def copy_file(source: Path, target: Path, progress: Progress, check: Check) -> Transferred:
    """Copy a file and hash it in the same pass; ``target`` must not exist and is durable afterwards.

    Raises as `hash_file`, and `OSError` if the disk becomes full, of which the caller knows a better name than
    ``target``. Whatever was written is left for the caller to clean up.
    """
    with _making(target), open(target, "xb", buffering=0) as file:
        result = _stream(source, file, progress, check)
        os.fsync(file.fileno())
        written = os.fstat(file.fileno()).st_size
    if written != result.size:
        raise StorageError(f"{target} has {written} bytes instead of {result.size}. Check the drive.")
    return result


def clone_file(source: Path, target: Path, progress: Progress, check: Check) -> Transferred | None:
    """Like `copy_file`, but both share their bytes on disk; nothing, with nothing made, where that cannot be.

    What is hashed is the clone.
    """
    with _open_source(source) as original:
        before = os.fstat(original.fileno())
        check(before)
        with _making(target):
            with open(target, "xb", buffering=0) as file:
                cloned = clone(original, file)
            if not cloned:
                target.unlink()
                return None
            descriptor = os.open(target, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        result = hash_file(target, progress, lambda _: None)
        _require_unchanged(source, before, os.fstat(original.fileno()), result.size)
    return result


@contextmanager
def _making(target: Path) -> Iterator[None]:
    """Errors while ``target`` is made name it, but for that of a full disk."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise
        raise storage_error(error, target) from error


def verify_copy(target: Path, transferred: Transferred, progress: Progress) -> None:
    """Read a copy back from its disk and compare, before the original goes.

    Raises `StorageError` if the bytes are not those that were read there.
    """
    digest, size = blake3(), 0
    buffer = memoryview(bytearray(max(1, min(BLOCK_BYTES, transferred.size))))
    try:
        with open(target, "rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):  # what is durable need not come from memory
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                size += count
                progress(transferred.size)
    except OSError as error:
        raise storage_error(error, target) from error
    if (size, digest.hexdigest()) != (transferred.size, transferred.blake3):
        raise StorageError(
            say(
                "written_wrong",
                "{path} does not hold what it should. The original was kept. Check the drive and its cable.",
                path=target,
            )
        )


def _stream(source: Path, target: BinaryIO | None, progress: Progress, check: Check) -> Transferred:
    """Read a file once, hash it and write it."""
    sha, b3 = hashlib.sha256(), blake3()
    sinks: Sinks = {"sha256": sha.update, "blake3": b3.update}
    if target is not None:
        sinks["write"] = partial(_write, target)
    with _open_source(source) as file:
        before = os.fstat(file.fileno())
        check(before)
        if before.st_size <= BLOCK_BYTES:  # such as one of a folder's many; threads would take longer
            done = _one_after_another(file, source, before.st_size, sinks, progress)
        else:
            if target is not None:
                bypass_cache(target)
            done = _side_by_side(file, source, before.st_size, sinks, progress)
        _require_unchanged(source, before, os.fstat(file.fileno()), done)
    return Transferred(done, sha.hexdigest(), b3.hexdigest())


def _one_after_another(file: BinaryIO, source: Path, size: int, sinks: Sinks, progress: Progress) -> int:
    """Give a small file to each of the sinks; answers how many bytes there were, growing files not to their end."""
    buffer, done = memoryview(bytearray(size + 1)), 0
    while done <= size and (count := _read(file, buffer, source)):
        for sink in sinks.values():
            sink(buffer[:count])
        done += count
        progress(done)
    return done


def _side_by_side(file: BinaryIO, source: Path, size: int, sinks: Sinks, progress: Progress) -> int:
    """The same, block by block: while one is read, each sink takes in the ones before in a thread of its own."""
    free = deque(memoryview(mmap(-1, BLOCK_BYTES)) for _ in range(BLOCKS))
    busy: deque[tuple[memoryview, list[Future[object]]]] = deque()
    done = 0
    with ExitStack() as stack:
        threads = {name: stack.enter_context(ThreadPoolExecutor(1, f"librarian-{name}")) for name in sinks}
        try:
            while done <= size:
                if not free:
                    buffer, work = busy.popleft()
                    _finish(work)
                    free.append(buffer)
                buffer = free.popleft()
                count = _read(file, buffer, source)
                if not count:
                    break
                busy.append(
                    (buffer, [threads[name].submit(sink, buffer[:count]) for name, sink in sinks.items()])
                )
                done += count
                progress(done)
        finally:
            for _, work in busy:
                wait(work)
        for _, work in busy:
            _finish(work)
    return done


def _require_unchanged(source: Path, before: os.stat_result, after: os.stat_result, done: int) -> None:
    if done != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SourceChangedError(
            say(
                "changed_while_read",
                "{path} changed while it was read. Try again when nothing writes to it any more.",
                path=source,
            )
        )


def _open_source(source: Path) -> BinaryIO:
    try:
        return open(source, "rb", buffering=0)
    except FileNotFoundError as error:
        raise SourceChangedError(
            say("no_longer_there", "{path} is not there any more.", path=source)
        ) from error
    except OSError as error:
        raise storage_error(error, source) from error


def _read(file: BinaryIO, buffer: memoryview, source: Path) -> int:
    try:
        return file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
    except OSError as error:
        raise StorageError(
            say(
                "unreadable",
                "{path} cannot be read to its end: {error}. Check its drive.",
                path=source,
                error=error.strerror or error,
            )
        ) from error


def _write(file: BinaryIO, block: memoryview) -> None:
    start, length = file.tell(), len(block)
    while block:
        try:
            written = file.write(block)
        except OSError as error:
            # Such as a file's end, which is no whole block of the disk.
            if error.errno != errno.EINVAL or not use_cache(file):
                raise
        else:
            block = block[written:]
    begin_writing_back(file.fileno(), start, length)  # so that little is left for fsync


def _finish(work: list[Future[object]]) -> None:
    for future in work:
        future.result()
