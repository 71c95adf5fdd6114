"""What a model and its files are called in the library."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import InvalidRequestError
from ..library.metadata import IN_PLACE, METADATA_NAME
from ..storage.names import collision_key, name_with_suffix, safe_name, shown, visible_name
from .grouping import FileGroup, Member

_RESERVED = {collision_key(name) for name in (METADATA_NAME, "overrides.json", "metadata.removed.json")}
"""Names in a model's folder that have a meaning, so that no model's file may have them."""


def file_names(group: FileGroup) -> dict[Member, str]:
    """Each file's name below the model's folder, with ``/``, safe on every filesystem.

    Raises `InvalidRequestError` if two files would get the same name.
    """
    names: dict[Member, str] = {}
    taken: dict[str, Member] = {}
    for member in group.members:
        name = file_name(member.name)
        other = taken.setdefault(collision_key(name), member)
        if other is not member:
            raise InvalidRequestError(
                f"{shown(other.name)} and {shown(member.name)} would be the same file on some drives. Rename one."
            )
        names[member] = name
    return names


def file_name(name: str) -> str:
    """The safe form of one file's name, which may have folders in front."""
    parts = [safe_name(part) for part in name.split("/")]
    if collision_key(parts[0]) in _RESERVED:
        parts[0] = f"_{parts[0]}"
    return "/".join(parts)


def folder_name(text: str) -> str:
    """One level of a model's id; it never gets a name that means something in the library."""
    name = visible_name(text, max_bytes=64)
    return f"_{name}" if collision_key(name) == IN_PLACE else name


def model_names(stem: str, sha256: str) -> Iterator[str]:
    """Names for a new model's folder, the plain one first, each with a longer piece of its hash."""
    name = visible_name(stem, max_bytes=200)
    yield name
    for length in (4, 8, 16, 64):
        yield name_with_suffix(name, sha256[:length])
