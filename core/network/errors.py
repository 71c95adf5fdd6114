"""What can go wrong on the way out, each with what to do about it."""

from __future__ import annotations

from ..errors import ForbiddenError, UnavailableError


class NetworkError(UnavailableError):
    """Base of everything that can go wrong with another computer's answer."""

    code = "network_error"


class OfflineError(NetworkError):
    """The person switched the network off; nothing is sent."""

    code = "offline"

    def __init__(self) -> None:
        super().__init__("Network access is switched off in Librarian's settings.")


class HostNotAllowedError(NetworkError, ForbiddenError):
    """The address is not on the list of hosts that Librarian may talk to, or is a private one."""

    code = "host_not_allowed"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host or 'This address'} was not contacted: {why}")
        self.host = host


class NetworkUnavailableError(NetworkError):
    """The host did not answer, or answered that it cannot (HTTP 502, 503, 504)."""

    code = "network_unavailable"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host} cannot be reached: {why}.")
        self.host = host


class CircuitBreakerOpen(NetworkError):
    """The host failed several times in a row and is left alone for a while.

    Attributes:
        host: The host that is left alone.
        retry_after_s: Seconds until it may be asked again, 0 or more.
    """

    code = "circuit_open"

    def __init__(self, host: str, retry_after_s: float) -> None:
        super().__init__(
            f"{host} failed several times in a row and is left alone; next try in {retry_after_s:.0f} s."
        )
        self.host = host
        self.retry_after_s = retry_after_s


class RateLimitedError(NetworkError):
    """The host's limit (or Librarian's own for it) is used up, and waiting would take too long.

    Attributes:
        host: The host whose limit is used up.
        retry_after_s: Seconds until a call may go out again, above 0.
    """

    code = "rate_limited"

    def __init__(self, host: str, retry_after_s: float) -> None:
        super().__init__(f"The limit of calls to {host} is used up; try again in {retry_after_s:.0f} s.")
        self.host = host
        self.retry_after_s = retry_after_s


class BadAnswerError(NetworkError):
    """The host answered, but not with what was asked for: broken, too large, a redirect loop."""

    code = "bad_answer"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"The answer of {host} cannot be used: {why}.")
        self.host = host


#: These say nothing about what was asked for; asking again later makes sense.
UNREACHABLE = (OfflineError, CircuitBreakerOpen, NetworkUnavailableError, RateLimitedError)

_EXPLAINED = {
    401: ("remote_unauthorized", "wants to know who asks. Set an access token for it in the settings."),
    403: (
        "remote_forbidden",
        "refuses access. Accept the model's licence on its page, and set the token of the account"
        " that accepted it.",
    ),
    404: ("remote_not_found", "has no such model or file; it may be private, renamed or deleted."),
    451: ("remote_legally_blocked", "may not give this out for legal reasons, at least not where you are."),
}


class HttpStatusError(NetworkError):
    """The host answered with an HTTP error.

    Attributes:
        host: Who answered.
        status: The HTTP status, 300 to 599. 401, 403, 404 and 451 have a ``code`` and advice of their own.
    """

    code = "remote_refused"

    def __init__(self, host: str, status: int) -> None:
        code, advice = _EXPLAINED.get(status, (self.code, f"answered with HTTP status {status}."))
        super().__init__(f"{host} {advice}")
        self.code = code
        self.host = host
        self.status = status
