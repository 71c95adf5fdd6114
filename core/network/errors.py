"""What can go wrong on the way out, each with what to do about it."""

from __future__ import annotations

from ..errors import ForbiddenError, UnavailableError
from ..sentences import say


class NetworkError(UnavailableError):
    """Base of everything that can go wrong with another computer's answer."""

    code = "network_error"


class OfflineError(NetworkError):
    """The person switched the network off; nothing is sent."""

    code = "offline"

    def __init__(self) -> None:
        super().__init__(say("offline", "Network access is switched off in Librarian's settings."))


class HostNotAllowedError(NetworkError, ForbiddenError):
    """The address is not on the list of hosts that Librarian may talk to, or is a private one."""

    code = "host_not_allowed"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(
            say("host_not_allowed", "{host} was not contacted: {why}", host=host or "This address", why=why)
        )
        self.host = host


class NetworkUnavailableError(NetworkError):
    """The host did not answer, or answered that it cannot (HTTP 502, 503, 504)."""

    code = "network_unavailable"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(say("network_unavailable", "{host} cannot be reached: {why}.", host=host, why=why))
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
            say(
                "circuit_open",
                "{host} failed several times in a row and is left alone; next try in {seconds} s.",
                host=host,
                seconds=round(retry_after_s),
            )
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
        super().__init__(
            say(
                "rate_limited",
                "The limit of calls to {host} is used up; try again in {seconds} s.",
                host=host,
                seconds=round(retry_after_s),
            )
        )
        self.host = host
        self.retry_after_s = retry_after_s


class BadAnswerError(NetworkError):
    """The host answered, but not with what was asked for: broken, too large, a redirect loop."""

    code = "bad_answer"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(say("bad_answer", "The answer of {host} cannot be used: {why}.", host=host, why=why))
        self.host = host


#: These say nothing about what was asked for; asking again later makes sense.
UNREACHABLE = (OfflineError, CircuitBreakerOpen, NetworkUnavailableError, RateLimitedError)

_EXPLAINED = {
    401: say(
        "remote_unauthorized",
        "{host} wants to know who asks. Set an access token for it in the settings.",
        host="",
    ),
    403: say(
        "remote_forbidden",
        "{host} refuses access. Accept the model's licence on its page, and set the token of the account that "
        "accepted it.",
        host="",
    ),
    404: say(
        "remote_not_found",
        "{host} has no such model or file; it may be private, renamed or deleted.",
        host="",
    ),
    451: say(
        "remote_legally_blocked",
        "{host} may not give this out for legal reasons, at least not where you are.",
        host="",
    ),
}


class HttpStatusError(NetworkError):
    """The host answered with an HTTP error.

    Attributes:
        host: Who answered.
        status: The HTTP status, 300 to 599. 401, 403, 404 and 451 have a ``code`` and advice of their own.
    """

    code = "remote_refused"

    def __init__(self, host: str, status: int) -> None:
        told = _EXPLAINED.get(status) or say(
            "remote_refused", "{host} answered with HTTP status {status}.", host="", status=status
        )
        super().__init__(told.again(host=host))
        self.code = told.said.code
        self.host = host
        self.status = status
