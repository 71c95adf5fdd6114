"""The catalogue: the library on disk, its index, search and scans."""

from .edits import BulkEdit, BulkEditResult, EditOutcome
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
from .usage import DuplicateReport, StorageReport
from .watch import Watcher

__all__ = [
    "BulkEdit",
    "BulkEditResult",
    "DuplicateReport",
    "EditOutcome",
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
    "StorageReport",
    "Watcher",
]
