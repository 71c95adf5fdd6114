"""Hosts' answers, made harmless: publishers' words are shown to people and written into files."""

from __future__ import annotations

import unicodedata
from typing import Any

from ..network import Answer

LONGEST_WORD = 200
LONGEST_TEXT = 1000
_LONGEST_PATH = 1024
_LARGEST_COUNT = 2**53


def plain_text(value: Any, longest: int = LONGEST_WORD) -> str:
    """One line of text of at most ``longest`` characters; anything but a string is empty.

    Control characters and invisible formatting (such as those that turn the reading direction round)
    are left out, white space is one space. It stays text: markup in it is not removed, but must not be
    read as such.
    """
    if not isinstance(value, str):
        return ""
    kept = (" " if char.isspace() else char for char in value[: longest * 4] if _is_visible(char))
    return " ".join("".join(kept).split())[:longest].strip()


def _is_visible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def safe_path(value: Any) -> str | None:
    """A path inside a repository as the publisher wrote it, or None when it could lead elsewhere."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_PATH:
        return None
    parts = value.split("/")
    strange = "\\" in value or ":" in value or not all(_is_visible(char) and char != "\n" for char in value)
    if strange or any(part in ("", ".", "..") or part != part.strip() for part in parts):
        return None
    return value


def listed(value: Any) -> list[Any]:
    """A list, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []


def counted(value: Any) -> int:
    """A whole number, or 0 in place of anything else."""
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else 0


def how(*answers: Answer) -> dict[str, Any]:
    """How answers came about, all together, as the fields of ``HubSearch`` and ``HubFiles``."""
    return {
        "cached": all(answer.cached for answer in answers),
        "stale": any(answer.stale for answer in answers),
        "offline": any(answer.offline for answer in answers),
        "fetched_at": min((answer.fetched_at for answer in answers), default=None),
        "calls": sum(answer.calls for answer in answers),
    }
