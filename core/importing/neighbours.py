"""What lies beside a model's file and comes along when it is imported."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..formats.sidecars import (
    MAX_BYTES,
    MAX_PREVIEW_BYTES,
    MOVING_ENDINGS,
    PICTURE_ENDINGS,
    RECORD_ENDINGS,
    UNREAD_ENDINGS,
    Listing,
    Told,
    told_beside,
)
from ..library.metadata import METADATA_NAME
from ..storage.names import collision_key, safe_name

_LARGEST = dict.fromkeys((*RECORD_ENDINGS, *UNREAD_ENDINGS), MAX_BYTES) | dict.fromkeys(
    (*PICTURE_ENDINGS, *MOVING_ENDINGS), MAX_PREVIEW_BYTES
)


class Neighbours(NamedTuple):
    """What belongs to a model's file and lies beside it under its name.

    ``preview`` is the picture (or else the film) that shows it; ``files`` are all that come along, the preview
    among them: plain files, none a link, none larger than 4 MB, or 64 MB for pictures and films. ``facts`` are
    fields of a model that a tool wrote down there (see `sidecars.Told`), ``source`` is that tool.
    """

    preview: Path | None
    files: tuple[Path, ...]
    facts: dict[str, Any]
    source: str

    @property
    def told(self) -> Told:
        """What `sidecars.with_told` lays over a guess."""
        return Told(self.facts, self.source)

    def placed(self, model_name: str, old_name: str) -> Iterator[tuple[Path, str]]:
        """Each file with the name that it gets beside the model's file, which may itself have a new name.

        The preview is called ``preview.<extension>``, as the library wants it; no name is one that means
        something there.
        """
        old, new = Path(old_name).stem, Path(model_name).stem
        taken = {collision_key(name) for name in (METADATA_NAME, "overrides.json", "metadata.removed.json")}
        taken.add(collision_key(model_name))
        for file in self.files:  # the preview is the first of them
            shown = file == self.preview
            name = f"preview{file.suffix.lower()}" if shown else safe_name(new + file.name[len(old) :])
            if collision_key(name) in taken:
                name = f"_{name}"
            taken.add(collision_key(name))
            yield file, name


def neighbours_of(path: Path, sha256: str | None = None) -> Neighbours:
    """What lies beside ``path`` and belongs to it. Reads small files; raises for nothing that it finds.

    Args:
        path: The model's file.
        sha256: Its hash as lower-case hexadecimal, where it is known: a record of other bytes comes along, but
            is not believed.
    """
    listing = Listing.of(path.parent)
    shown = _plain(path, (*PICTURE_ENDINGS, *MOVING_ENDINGS), listing, MAX_PREVIEW_BYTES)
    others = _plain(path, (*RECORD_ENDINGS, *UNREAD_ENDINGS), listing, MAX_BYTES)
    told = told_beside(path, sha256=sha256, size=_size(path), listing=listing)
    return Neighbours(shown[0] if shown else None, (*shown, *others), told.facts, told.source)


def ending_beside(model_name: str, name: str, size: int) -> str | None:
    """What follows the stem of a model's file name in that of a neighbour of ``size`` bytes; nothing if it is none."""
    stem = Path(model_name).stem
    ending = name[len(stem) :]
    if not name.startswith(stem) or not 0 < size <= _LARGEST.get(ending.lower(), 0):
        return None
    return ending


def _plain(path: Path, endings: tuple[str, ...], listing: Listing, largest: int) -> list[Path]:
    names = (listing.beside(path.stem, ending) for ending in endings)
    files = [path.parent / name for name in dict.fromkeys(names) if name is not None]
    return [file for file in files if file != path and 0 < (_size(file) or 0) <= largest]


def _size(file: Path) -> int | None:
    """The size in bytes of a plain file; nothing of a link, a folder, or what cannot be looked at."""
    try:
        status = file.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
