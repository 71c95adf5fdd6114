"""The catalogue: the library on disk, its index, search and scans."""

from .library import Library
from .records import (
    Facets,
    LibraryChange,
    LibraryTotals,
    Model,
    ModelFile,
    ModelFilter,
    ModelQuery,
    ModelSummary,
    SearchResult,
)

__all__ = [
    "Facets",
    "Library",
    "LibraryChange",
    "LibraryTotals",
    "Model",
    "ModelFile",
    "ModelFilter",
    "ModelQuery",
    "ModelSummary",
    "SearchResult",
]
