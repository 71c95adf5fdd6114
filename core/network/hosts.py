"""Which hosts may be asked, and which addresses they may have."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import HostNotAllowedError

if TYPE_CHECKING:
    import httpx

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_.*:-]+")
_LONGEST_NAME = 253
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def host_key(url: httpx.URL) -> str:
    """``host``, or ``host:port`` where the port is not the scheme's own; lower case, ASCII."""
    host = _host(url)
    if ":" in host:
        host = f"[{host}]"
    return host if url.port is None or url.port == _PORTS.get(url.scheme) else f"{host}:{url.port}"


def host_key_of(address: str) -> str:
    """The same of an address that is not taken apart yet; does without httpx, which is slow to load."""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return ""
    if ":" in host:
        host = f"[{host}]"
    return host if port is None or port == _PORTS.get(parts.scheme) else f"{host}:{port}"


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii", "replace").lower().rstrip(".")


@dataclass(frozen=True)
class AllowedHost:
    """One entry of the allow-list.

    Attributes:
        pattern: A host name, lower case, ``*`` for any run of characters.
        port: The port, or None for the scheme's own.
        scheme: Given only by a full origin, which is then trusted as it stands.
    """

    pattern: str
    port: int | None = None
    scheme: str | None = None

    @classmethod
    def parse(cls, entry: str) -> AllowedHost:
        """Read an entry.

        Raises:
            ValueError: It is neither a host, a pattern nor an http or https origin.
        """
        text = entry.strip().lower()
        full = "://" in text
        parts = urlsplit(text if full else f"//{text}")
        host, port = parts.hostname or "", parts.port
        strange = parts.username or parts.query or parts.fragment or parts.path.strip("/")
        too_long = len(host) > _LONGEST_NAME
        scheme_fits = parts.scheme in _PORTS if full else True
        if not host or strange or too_long or not scheme_fits or not _NAME.fullmatch(host):
            raise ValueError(f"{entry!r} is not a host, a pattern or an origin such as https://example.org")
        if full:
            if "*" in host:
                raise ValueError(f"{entry!r}: an origin is trusted as it stands and may have no *")
            return cls(host, port or _PORTS[parts.scheme], parts.scheme)
        return cls(host.rstrip("."), port)

    def matches(self, scheme: str, host: str, port: int) -> bool:
        """Whether this entry covers the address."""
        if self.scheme is not None:
            return (scheme, host, port) == (self.scheme, self.pattern, self.port)
        return port == (self.port or _PORTS[scheme]) and fnmatchcase(host, self.pattern)

    def trusts(self, host: str, port: int) -> bool:
        """Whether this is an origin there, so that it may have any address."""
        return self.scheme is not None and (self.pattern, self.port) == (host, port)


def is_host_entry(text: str) -> bool:
    """Whether a text can stand in the allow-list."""
    try:
        AllowedHost.parse(text)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether a numeric address is one of the open Internet's.

    Loopback, private, link-local, shared, multicast and reserved ranges are not (IANA special-purpose
    registries, as ``ipaddress`` has them), nor is an IPv6 form that carries such an IPv4 address.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    if ip in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if ip.ipv4_mapped is not None:
        return is_public(str(ip.ipv4_mapped))
    # 6to4 and Teredo carry an IPv4 address too, and nobody serves models from there.
    tunnelled = ip.sixtofour is not None or ip.teredo is not None
    return ip in _GLOBAL_UNICAST and ip.is_global and not tunnelled


class HostRules:
    """The allow-list, read once."""

    def __init__(
        self, allowed: Iterable[str], *, allow_private: bool = False, allow_http: bool = False
    ) -> None:
        self._allowed = tuple(AllowedHost.parse(entry) for entry in allowed)
        self._allow_private = allow_private
        self._allow_http = allow_http

    def check(self, url: httpx.URL) -> None:
        """Let a URL pass that may be asked.

        Raises:
            HostNotAllowedError: Not http(s), with a user name in it, not on the list, unencrypted, or a
                private address written as a number.
        """
        host, shown = _host(url), host_key(url)
        if url.scheme not in _PORTS or not host:
            raise HostNotAllowedError(shown, "only http and https addresses can be asked.")
        if url.userinfo:
            raise HostNotAllowedError(shown, "an address may not carry a user name or password.")
        port = url.port or _PORTS[url.scheme]
        entries = [entry for entry in self._allowed if entry.matches(url.scheme, host, port)]
        if not entries:
            raise HostNotAllowedError(shown, "it is not on the list of allowed hosts in the settings.")
        if any(entry.scheme for entry in entries):
            return
        if url.scheme == "http" and not self._allow_http:
            raise HostNotAllowedError(shown, "the connection would not be encrypted.")
        if _is_address(host):
            self.check_address(host, port, host)

    def keeps_secrets(self, url: httpx.URL) -> bool:
        """Whether a token may be sent there: encrypted, or to an origin that is trusted as it stands."""
        if url.scheme == "https":
            return True
        port = url.port or _PORTS["http"]
        return any(entry.scheme and entry.matches(url.scheme, _host(url), port) for entry in self._allowed)

    def check_address(self, host: str, port: int, address: str) -> None:
        """Let a numeric address pass that ``host`` may have.

        Raises:
            HostNotAllowedError: It is a private one, and the person did not allow that.
        """
        if self._allow_private or is_public(address):
            return
        if any(entry.trusts(host, port) for entry in self._allowed):
            return
        raise HostNotAllowedError(
            host,
            f"it has the private address {address}. If a VPN or proxy of yours answers for it, allow private"
            " addresses in the settings.",
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
