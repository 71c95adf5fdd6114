"""Names that every filesystem accepts.

The rules are those of NTFS, the strictest one in use (Microsoft, «Naming Files, Paths, and
Namespaces»), with ext4's limit of 255 bytes, which is never more than NTFS's 255 UTF-16 units, and
without code points that Unicode has not assigned, which APFS refuses. In Unicode NFC.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME_BYTES = 255

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)", re.IGNORECASE)


_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's «default ignorable» code points, which filesystems that fold case leave out of comparisons."""


def safe_name(text: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Turn any text into one file or folder name that NTFS, ext4 and APFS accept.

    Characters that some filesystem forbids become ``_``. A long name is shortened in front of its
    extension. Different texts may give the same name: whoever places it must look for collisions.
    """
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    if not name.isascii():
        name = "".join("_" if unicodedata.category(character) == "Cn" else character for character in name)
    name = name.strip(" ").rstrip(". ")
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or len(extension) > 16:
        stem, extension = name, ""
    else:
        extension = "." + extension
    if _RESERVED.fullmatch(stem.split(".")[0].rstrip(" ")):
        stem = "_" + stem
    stem = _shorten(stem, max_bytes - len(extension.encode()))
    name = (stem + extension).rstrip(". ")
    return name if _IGNORABLE.sub("", name) else "model"


def visible_name(text: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """As `safe_name`, and not hidden: the name starts with no dot."""
    return safe_name(text.lstrip(". "), max_bytes=max_bytes)


def is_text(text: str) -> bool:
    """Whether a name or path is valid Unicode; one that was made in another encoding need not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str) -> str:
    """A name or path as it can be shown, whatever bytes it is made of."""
    return text.encode(errors="replace").decode()


def name_with_suffix(name: str, suffix: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """``name-suffix``, within ``max_bytes``; for a second model that would get the same name."""
    return _shorten(name, max_bytes - len(suffix.encode()) - 1) + "-" + suffix


def collision_key(name: str) -> str:
    """Names with the same key may be the same name on a filesystem that folds case.

    Coarser than any one of them: ext4 and APFS compare folded, decomposed names, NTFS names in upper case.
    """
    plain = unicodedata.normalize("NFD", _IGNORABLE.sub("", name))
    return unicodedata.normalize("NFD", plain.upper().casefold())


def _shorten(text: str, max_bytes: int) -> str:
    data = text.encode()
    return text if len(data) <= max_bytes else data[:max_bytes].decode(errors="ignore").rstrip(". ")
