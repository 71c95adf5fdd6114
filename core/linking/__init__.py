"""Links from apps' folders to models: registry, mapping rules, plans and their execution."""

from .apps import AddedApps
from .linker import Linker
from .mappings import Mapping, MappingReport, Mappings, NamedMapping
from .records import (
    CleanChoice,
    CleanResult,
    Conflict,
    HealthReport,
    Link,
    LinkChoice,
    LinkState,
    NewApp,
    Plan,
    PlannedLink,
    RelocateRequest,
    RelocateResult,
    RepairResult,
    Resolution,
    SyncResult,
)
from .registered import RegisteredFolders

__all__ = [
    "AddedApps",
    "CleanChoice",
    "CleanResult",
    "Conflict",
    "HealthReport",
    "Link",
    "LinkChoice",
    "LinkState",
    "Linker",
    "Mapping",
    "MappingReport",
    "Mappings",
    "NamedMapping",
    "NewApp",
    "Plan",
    "PlannedLink",
    "RegisteredFolders",
    "RelocateRequest",
    "RelocateResult",
    "RepairResult",
    "Resolution",
    "SyncResult",
]
