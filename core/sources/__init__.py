"""Where models come from, and what is known of them there."""

from .civitai import Civitai
from .huggingface import HuggingFace
from .lookup import Lookup
from .records import (
    HubFile,
    HubFiles,
    HubModel,
    HubSearch,
    LookupCandidate,
    LookupResult,
    Provider,
    RemoteChange,
    RemoteResult,
    SourceProblem,
)
from .remote import Remote

__all__ = [
    "Civitai",
    "HubFile",
    "HubFiles",
    "HubModel",
    "HubSearch",
    "HuggingFace",
    "Lookup",
    "LookupCandidate",
    "LookupResult",
    "Provider",
    "Remote",
    "RemoteChange",
    "RemoteResult",
    "SourceProblem",
]
