"""Names of hosts and origins of pages, as HTTP gives them and as `--conf` names them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from lib.errors import InputError

LOCALHOST = "localhost"
ANY = "*"
_PORTS = {"http": 80, "https": 443}
_NAME = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"
_HOST = re.compile(rf"(?:\[([0-9a-f:.]+)\]|({_NAME})\.?)(?::([0-9]{{0,5}}))?")
_LONGEST = 300
_LAST_PORT = 65535


@dataclass(frozen=True)
class Host:
    """Where a request goes, or a page comes from.

    Attributes:
        name: of the host in lower case, or its address; IPv6 without brackets.
        port: None where none is given.
    """

    name: str
    port: int | None

    @property
    def is_address(self) -> bool:
        """Whether it is an IP address: nobody can make that lead to another machine later."""
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            return False
        return True


@dataclass(frozen=True)
class Origin:
    """What a browser tells pages apart by; the port of `host` is never None."""

    scheme: str
    host: Host

    def is_at(self, host: Host, scheme: str) -> bool:
        """Tell whether pages of this origin come from a host.

        Args:
            scheme: of the request; behind a web server that does TLS it may be http for a page that
                came by https, but not the other way round.
        """
        if scheme == "https" and self.scheme != "https":
            return False
        return self.host == Host(host.name, host.port or _PORTS[self.scheme])


def read_host(text: str) -> Host:
    """Read what a Host header holds.

    Raises:
        InputError: it is neither a name nor an address, with a port or without.
    """
    found = _HOST.fullmatch(text.lower()) if len(text) <= _LONGEST else None
    if found is None or int(found[3] or 0) > _LAST_PORT:
        raise InputError(f"'{text[:80]}' is no name or address of a host, such as server.example")
    address, name, digits = found.groups()
    port = int(digits) if digits else None
    try:
        return Host(str(ipaddress.IPv6Address(address)) if address else name, port)
    except ValueError:
        raise InputError(f"'[{address[:80]}]' is no IPv6 address") from None


def read_origin(text: str) -> Origin:
    """Read an origin such as "https://viewer.example".

    Raises:
        InputError: it is none, or "null", as which a browser names pages without an origin.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() not in _PORTS:
        raise InputError(f"'{text[:80]}' is no origin, such as https://viewer.example:8443")
    host = read_host(rest)
    return Origin(scheme.lower(), Host(host.name, host.port or _PORTS[scheme.lower()]))


def read_hosts(value: str) -> frozenset[str]:
    """Read names of hosts, separated by commas; "*" is any.

    Raises:
        InputError: one of them is no name.
    """
    names = _words(value)
    return frozenset(name if name == ANY else read_host(name).name for name in names)


def read_origins(value: str) -> frozenset[Origin]:
    """Read origins, separated by commas.

    Raises:
        InputError: one of them is none.
    """
    return frozenset(read_origin(word.rstrip("/")) for word in _words(value))


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]
