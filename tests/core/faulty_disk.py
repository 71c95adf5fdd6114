"""A filesystem over a folder that cannot read one of its files to the end, as a dying disk cannot.

    python faulty_disk.py MOUNT_POINT FOLDER NAME OFFSET

It speaks the kernel's FUSE protocol (``include/uapi/linux/fuse.h``, 7.31) itself and needs root. What lies in FOLDER
is there to be read; from OFFSET bytes on, reading NAME ends with EIO. It says "ready" once it is mounted and ends
when it is unmounted.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, DESTROY, BATCH_FORGET = 26, 27, 28, 29, 34, 36, 38, 42
ROOT = 1
DIRECT_IO = 1


class FaultyDisk:
    """Answers the kernel's requests, one after another. Node 1 is the folder, the others are its files."""

    def __init__(self, folder: Path, broken: str, offset: int) -> None:
        self.files = sorted(path for path in folder.iterdir() if path.is_file())
        self.folder, self.broken, self.offset = folder, broken, offset

    def serve(self, device: int) -> None:
        """Answer until somebody unmounts."""
        while True:
            try:
                request = os.read(device, 1 << 18)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                if error.errno in (errno.EINTR, errno.ENOENT):  # taken back
                    continue
                raise
            _, code, unique, node = struct.unpack_from("<IIQQ", request)
            if code in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                body, error_number = self.answer(code, node, request[40:]), 0
            except OSError as error:
                body, error_number = b"", error.errno or errno.EIO
            os.write(device, struct.pack("<IiQ", 16 + len(body), -error_number, unique) + body)
            if code == DESTROY:
                return

    def answer(self, code: int, node: int, body: bytes) -> bytes:
        """The answer to one request, without its header. Raises `OSError`."""
        if code == INIT:
            major, minor, readahead = struct.unpack_from("<III", body)
            return struct.pack(
                "<IIIIHHIIHHI28x", major, min(minor, 31), readahead, 0, 0, 0, 1 << 17, 1, 0, 0, 0
            )
        if code == LOOKUP:
            name = os.fsdecode(body.rstrip(b"\0"))
            number = next((n for n, path in enumerate(self.files, ROOT + 1) if path.name == name), None)
            if number is None:
                raise OSError(errno.ENOENT, "")
            return struct.pack("<QQQQII", number, 0, 1, 1, 0, 0) + self.attributes(number)
        if code == GETATTR:
            return struct.pack("<QII", 1, 0, 0) + self.attributes(node)
        if code in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if code == READ:
            return self.read(self.path(node), *struct.unpack_from("<8xQI", body))
        if code == READDIR:
            return self.names(*struct.unpack_from("<8xQI", body))
        if code == STATFS:
            return struct.pack("<QQQQQIII28x", 1 << 20, 1 << 19, 1 << 19, 1 << 10, 1 << 9, 4096, 255, 4096)
        if code in (RELEASE, RELEASEDIR, FLUSH, ACCESS, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "")

    def path(self, node: int) -> Path:
        """What a node stands for."""
        return self.folder if node == ROOT else self.files[node - ROOT - 1]

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Bytes of a file, as long as the disk can."""
        if path.name == self.broken and offset + size > self.offset:
            if offset >= self.offset:
                raise OSError(errno.EIO, "")
            size = self.offset - offset
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def attributes(self, node: int) -> bytes:
        """A ``struct fuse_attr``."""
        status = self.path(node).stat()
        seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
        kind = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
        times = (seconds,) * 3 + (nanoseconds,) * 3
        return struct.pack("<QQQQQQIIIIIIIIII", node, status.st_size, 0, *times, kind, 1, 0, 0, 0, 4096, 0)

    def names(self, offset: int, size: int) -> bytes:
        """Entries of the folder from one on."""
        listing = b""
        for number, path in enumerate(self.files[offset:], offset + 1):
            name = os.fsencode(path.name)
            entry = struct.pack("<QQII", ROOT + number, number, len(name), stat.S_IFREG >> 12) + name
            entry += bytes(-len(entry) % 8)
            if len(listing) + len(entry) > size:
                break
            listing += entry
        return listing


def main(point: str, folder: str, broken: str, offset: str) -> None:
    """Mount and serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"faulty", os.fsencode(point), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    print("ready", flush=True)
    FaultyDisk(Path(folder), broken, int(offset)).serve(device)


if __name__ == "__main__":
    main(*sys.argv[1:])
