from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import NotAModelError, SourceChangedError
from ..sentences import say
from ..storage.disk import storage_error
from ..turns import uncollected
from .facts import FileFacts
from .gguf import MAGIC as GGUF_MAGIC
from .gguf import read_gguf
from .onnx import read_onnx
from .pickles import ZIP_MAGIC, goes_on_as_pickle, looks_like_pickle, read_pickle, read_torch_zip
from .safetensors import looks_like_safetensors, read_safetensors

_FIRST_BYTES = 16_384


def identify(path: str | Path, *, whole_size: int | None = None) -> FileFacts:
    """What a file is, by its content; its name has no say. Reads at most headers.

    Args:
        path: The file.
        whole_size: Bytes of the whole file, where ``path`` is only its first piece.

    Raises `NotAModelError` for anything but a whole safetensors, GGUF, ONNX or torch file,
    `SourceChangedError` if it is not there, `StorageError` if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise NotAModelError(say("not_a_file", "{name} is not a file.", name=Path(path).name))
            size = max(status.st_size, whole_size or 0)
            start = file.read(_FIRST_BYTES)
            file.seek(0)
            if start.startswith(GGUF_MAGIC):
                return read_gguf(file, size)
            if start.startswith(ZIP_MAGIC):
                with uncollected():
                    return read_torch_zip(file, size)
            if looks_like_safetensors(start, size):
                return read_safetensors(file, size)
            if looks_like_pickle(start) and goes_on_as_pickle(start):
                with uncollected():
                    return read_pickle(file, size)
            facts = read_onnx(file, size)
            if facts is not None:
                return facts
    except FileNotFoundError as error:
        raise SourceChangedError(say("gone", "{path} is not there (any more).", path=Path(path))) from error
    except IsADirectoryError as error:
        raise NotAModelError(say("is_a_folder", "{name} is a folder.", name=Path(path).name)) from error
    except OSError as error:
        raise storage_error(error, Path(path)) from error
    raise NotAModelError(_what_it_is_instead(Path(path), start))


def _what_it_is_instead(path: Path, start: bytes) -> str:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if not start:
        return say("file_empty", "{name} is empty: the download failed. Download it again.", name=path.name)
    if text.startswith(b"version https://git-lfs"):
        return say(
            "git_lfs_pointer",
            "{name} is a Git LFS pointer, not the model itself. Fetch it with «git lfs pull» or download it.",
            name=path.name,
        )
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<!--")):
        return say(
            "file_is_web_page",
            "{name} is a web page, not a model: the download failed or needed a login. Download it again.",
            name=path.name,
        )
    if text.startswith(
        (b'{"error', b'{"message', b"{'error", b"access to", b"invalid username", b"entry not found")
    ):
        return say(
            "file_is_server_error",
            "{name} is an error message of a server, not a model. Download it again.",
            name=path.name,
        )
    if not start.strip(b"\0"):
        return say(
            "only_zeros",
            "{name} holds only zeros: the download never finished. Download it again.",
            name=path.name,
        )
    if b"\0" not in start and _is_text(start):
        return say("file_is_text", "{name} is a text file, not a model.", name=path.name)
    return say(
        "file_unknown",
        "{name} is not a safetensors, GGUF, ONNX or torch file, or it is damaged.",
        name=path.name,
    )


def _is_text(data: bytes) -> bool:
    try:
        data[:1024].decode()
    except UnicodeDecodeError as error:
        return error.start > 1000
    return True
