"""Who may call: this machine's own pages, and others only where the person allowed it.

ComfyUI has a guard of its own, but ``--enable-cors-header`` replaces it, so nothing here relies on it.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from ..core.errors import ForbiddenError

if TYPE_CHECKING:
    from ..core.settings import Settings


def check_caller(request: web.Request, settings: Settings, *, changes_things: bool) -> None:
    """Raise `ForbiddenError` for pages of other origins and for peers that may not do this."""
    origin = request.headers.get("Origin")
    if origin is not None and not _same_origin(origin, request.host):
        raise ForbiddenError(f"Pages of {origin} may not use Librarian.")
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise ForbiddenError("Other sites may not use Librarian.")
    local_peer, local_name = _is_loopback(request.remote or ""), _is_loopback(_host_name(request.host))
    if local_peer and local_name:
        return
    if local_peer and not settings.allow_remote:
        raise ForbiddenError(
            f"This server was asked for as {request.host!r}, which is not a name of this machine. "
            "Open it as 127.0.0.1 or localhost, or allow remote use in Librarian's settings."
        )
    if changes_things:
        _check_remote(request, settings)


def _check_remote(request: web.Request, settings: Settings) -> None:
    if not settings.allow_remote or settings.remote_token is None:
        raise ForbiddenError(
            "Only this machine may change things. To allow others, turn on remote use in Librarian's settings "
            "and set a token."
        )
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), settings.remote_token.get_secret_value().encode()):
        raise ForbiddenError("Remote use needs the token of Librarian's settings (Authorization: Bearer …).")


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.casefold() == host.casefold()
    except ValueError:
        return False


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)
