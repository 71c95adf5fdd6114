"""Import: inspect → plan → transfer → describe → index."""

from .importer import Importer
from .journal import has_library, library_unreachable
from .records import ImportGroup, ImportItem, ImportMode, ImportRequest, Inspection

__all__ = [
    "ImportGroup",
    "ImportItem",
    "ImportMode",
    "ImportRequest",
    "Importer",
    "Inspection",
    "has_library",
    "library_unreachable",
]
