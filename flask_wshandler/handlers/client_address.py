"""Addresses of clients, as a server or a proxy's header spells them, made comparable.

Some proxies send a port along, one IPv6 address has many spellings, and an IPv4 client of a server
that listens on both is written as an IPv6 address. Nothing here changes what Flask shows.
"""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: 203.0.113.5:50000, [2001:db8::1]:443, [2001:db8::1]; RFC 7239 (6.2) has ports that are names.
_WITH_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]]+\.[^:\[\]]+))(?::[\w.-]*)?", re.ASCII)

_SUBSCRIBER_BITS = 64
"""Of an IPv6 address: what a provider gives to one subscriber at least (RFC 6177, RFC 4862)."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 clients of a server that has IPv6 only (RFC 6052)."""

_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""The same by a translator of one's own (RFC 8215): each address is one IPv4 client."""

UNKNOWN = "unknown"
"""All clients of whom no address is known."""


def parse_address(text: str | None) -> Address | None:
    """The IP address that `text` begins with, without port and zone; None if there is none."""
    text = (text or "").strip()
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match[1] or match[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address if address.version == 4 else _as_ipv4(address) or address


def _as_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped


def subscriber_of(text: str | None) -> str:
    """What counts as one client: an IPv4 address, a /64 of IPv6, or `UNKNOWN` for all others.

    Of a header's list it is the last one: what stands before may be the client's own invention.
    """
    address = parse_address(_last_node(text or ""))
    if address is None:
        return UNKNOWN
    if address.version == 6 and address.sixtofour is not None:
        address = address.sixtofour  # who has one IPv4 address has 65,536 times a /64 (RFC 3056)
    if address.version == 4 or address in _LOCAL_NAT64:
        return str(address)
    return str(ipaddress.IPv6Network((address, _SUBSCRIBER_BITS), strict=False))


def _last_node(text: str) -> str:
    """Of a list as in X-Forwarded-For or Forwarded, with its quotes and parameters taken off."""
    last = text.rpartition(",")[2]
    parameters = [each.strip() for each in last.split(";")]
    node = next((each[4:] for each in parameters if each[:4].lower() == "for="), parameters[0])
    return node.strip().strip('"')


def is_loopback(text: str | None) -> bool:
    """Whether a client at this address is on this machine."""
    address = parse_address(text)
    return address is not None and address.is_loopback
