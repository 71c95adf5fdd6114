"""The only door to the outside."""

from .cache import Answer, Answers
from .errors import (
    UNREACHABLE,
    BadAnswerError,
    CircuitBreakerOpen,
    HostNotAllowedError,
    HttpStatusError,
    NetworkError,
    NetworkUnavailableError,
    OfflineError,
    RateLimitedError,
)
from .hosts import is_host_entry
from .manager import NetworkManager, raise_for_status, read_json
from .records import HostStatus, NetworkSettings, NetworkStatus, RateLimitStatus

__all__ = [
    "UNREACHABLE",
    "Answer",
    "Answers",
    "BadAnswerError",
    "CircuitBreakerOpen",
    "HostNotAllowedError",
    "HostStatus",
    "HttpStatusError",
    "NetworkError",
    "NetworkManager",
    "NetworkSettings",
    "NetworkStatus",
    "NetworkUnavailableError",
    "OfflineError",
    "RateLimitStatus",
    "RateLimitedError",
    "is_host_entry",
    "raise_for_status",
    "read_json",
]
