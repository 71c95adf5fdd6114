"""Import: inspect → plan → transfer → describe → index."""

from .importer import Importer
from .journal import require_library
from .records import ImportGroup, ImportItem, ImportMode, ImportRequest, Inspection

__all__ = [
    "ImportGroup",
    "ImportItem",
    "ImportMode",
    "ImportRequest",
    "Importer",
    "Inspection",
    "require_library",
]
