"""Links from apps' folders to models: registry, mapping rules, plans and their execution."""

from .linker import Linker
from .records import Conflict, Link, LinkChoice, LinkState, Plan, PlannedLink, Resolution, SyncResult

__all__ = [
    "Conflict",
    "Link",
    "LinkChoice",
    "LinkState",
    "Linker",
    "Plan",
    "PlannedLink",
    "Resolution",
    "SyncResult",
]
