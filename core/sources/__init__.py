"""Where models come from, and what is known of them there."""

from .huggingface import HuggingFace
from .lookup import Lookup
from .records import HubFile, HubFiles, HubModel, HubSearch, LookupCandidate, LookupResult

__all__ = [
    "HubFile",
    "HubFiles",
    "HubModel",
    "HubSearch",
    "HuggingFace",
    "Lookup",
    "LookupCandidate",
    "LookupResult",
]
