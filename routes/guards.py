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
    host = _host_name(request.host)
    local_peer = _is_loopback(request.remote or "") and not _is_forwarded(request)
    if local_peer and _is_loopback(host):
        return
    if not settings.allow_remote and (local_peer or not _is_own_name(host)):
        # A page of anywhere can be given a name that leads here (DNS rebinding), but not an address.
        raise ForbiddenError(
            f"This server was asked for as {request.host!r}, which is not a name of this machine. "
            "Open it as 127.0.0.1, localhost or by its address, or allow remote use in Librarian's settings."
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
    token = settings.remote_token.get_secret_value()
    if not hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode()):
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


def _is_forwarded(request: web.Request) -> bool:
    """Whether a proxy on this machine speaks for somebody else."""
    return any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"))


def _is_own_name(host: str) -> bool:
    """Whether only the network that this machine is in can lead to it by this name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(".local"))
    return True


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)
