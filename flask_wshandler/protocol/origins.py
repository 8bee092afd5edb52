"""Whose pages may connect (RFC 6455 section 10.2): what an Origin header says, and the rule for it.

An origin is a scheme, a host and a port (RFC 6454). Libraries outside of browsers name the address
that they connect to, so `ws:` and `wss:` are `http:` and `https:` here.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
from collections.abc import Iterable

SAME_ORIGIN = "same-origin"
ANY = "*"

_PAGE_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_DEFAULT_PORTS = {"http": 80, "https": 443}

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:*\\\[\]]*)(?::(\d{0,5}))?")
_HOST = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_WILDCARD = "://*."

_NOT_IN_OLD_IDNA = re.compile("[ßς\u200c\u200d]")
"""Browsers keep these (UTS 46), and Python's codec replaces them (IDNA 2003)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """One origin, comparable. That of a sandboxed page is `NULL`; apps may have no host."""

    scheme: str
    host: str
    port: int | None


NULL = Origin("null", "", None)


@functools.lru_cache(maxsize=256)
def parse_origin(text: str) -> Origin | None:
    """The origin that `text` names, in whatever spelling; None for what names none."""
    text = text.strip(" \t").lower()
    if text == NULL.scheme:
        return NULL
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme = _PAGE_SCHEMES.get(match[1], match[1])
    host = _comparable_host(match[2])
    port = int(match[3]) if match[3] else _DEFAULT_PORTS.get(scheme)
    if host is None or (port is not None and port > 65535):
        return None
    if not host and scheme in _DEFAULT_PORTS:
        return None
    return Origin(scheme, host, port)


def _comparable_host(text: str) -> str | None:
    if not text.startswith("["):
        return text.removesuffix(".")
    try:
        return ipaddress.IPv6Address(text[1:-1]).compressed
    except ValueError:
        return None


def is_origin_allowed(origin: str, allowed: str | Iterable[str], scheme: str, host: str) -> bool:
    """Whether a page from `origin` may connect.

    `allowed` is `WSHANDLER_ALLOWED_ORIGINS`; `scheme` and `host` are the request's own.
    """
    if allowed == ANY:
        return True
    page = parse_origin(origin)
    if page is None:
        return False
    entries = (allowed,) if isinstance(allowed, str) else allowed
    return any(_matches(page, entry, f"{scheme}://{host}") for entry in entries)


def _matches(page: Origin, entry: str, own: str) -> bool:
    if entry == SAME_ORIGIN:
        return page == parse_origin(own)
    wanted = parse_origin(entry.replace(_WILDCARD, "://", 1))
    if wanted is None or (page.scheme, page.port) != (wanted.scheme, wanted.port):
        return False
    if _WILDCARD in entry:
        return page.host.endswith(f".{wanted.host}")
    return page.host == wanted.host


def checked_entry(entry: object) -> str:
    """An entry of `WSHANDLER_ALLOWED_ORIGINS`, as `is_origin_allowed` takes it.

    Raises ValueError for one that no page can match, with what to write instead.
    """
    if not isinstance(entry, str):
        raise ValueError(f"{entry!r} is no str")
    text = entry.lower()
    if text in (SAME_ORIGIN, NULL.scheme):
        return text
    reason = _why_it_never_matches(text)
    if reason:
        raise ValueError(f"{entry!r} {reason}")
    return text


def _why_it_never_matches(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if text == ANY:
        return 'admits everybody: write "*" instead of the list'
    if re.search(r"\s", text):
        return "has spaces in it: " + _write("".join(text.split()))
    if not separator:
        is_near = re.match(r"/*(localhost|127\.|\[::1\])", text)
        return "has no scheme: " + _write(f"{'http' if is_near else 'https'}://{text.lstrip('/')}")
    netloc = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if netloc != rest:
        return "has a path, which origins have not: " + _write(f"{scheme}://{netloc}")
    if "@" in netloc:
        return "has a user: " + _write(f"{scheme}://{netloc.rpartition('@')[2]}")
    plain = netloc.removeprefix("*.")
    if "*" in scheme + plain:
        return (
            'has a "*" in the wrong place: it stands for subdomains ("https://*.example.org"), '
            "and for no scheme, port or part of a name; list each"
        )
    if not netloc.isascii():
        return f"is not written as browsers send it: {_write_in_ascii(scheme, netloc)}"
    host, port = _host_and_port(plain)
    if port is not None and not 1 <= int(port or 1) <= 65535:
        return "has a port that there is not: from 1 to 65535 are possible"
    if scheme in _PAGE_SCHEMES and not (_HOST.fullmatch(host) and _is_address_right(host)):
        return "has no host that can be: " + _EXAMPLES
    if plain != netloc and (scheme not in _PAGE_SCHEMES or _is_address(host)):
        return 'has a "*" where there are no subdomains: list each'
    return "" if parse_origin(f"{scheme}://{plain}") else "is no origin: " + _EXAMPLES


_EXAMPLES = 'write it as in "https://example.org", "http://[::1]:8000" or "capacitor://localhost"'


def _write(text: str) -> str:
    """The advice to write `text`, if that is an entry that can match."""
    return _EXAMPLES if _why_it_never_matches(text) else f'write "{text}"'


def _write_in_ascii(scheme: str, netloc: str) -> str:
    host, port = _host_and_port(netloc)
    try:
        if _NOT_IN_OLD_IDNA.search(host):
            raise UnicodeError
        host = host.encode("idna").decode()
    except UnicodeError:
        return "write its host in ASCII, as xn--…"
    return _write(f"{scheme}://{host}" + ("" if port is None else f":{port}"))


def _host_and_port(netloc: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"(.*?)(?::(\d*))?", netloc)
    assert match is not None  # it takes anything on one line
    return match[1], match[2]


def _is_address(host: str) -> bool:
    """Whether it is one, or browsers take it for one: the last part of IPv4 is a number."""
    return host.startswith("[") or re.search(r"(^|\.)(\d+|0x[0-9a-f]*)\.?$", host) is not None


def _is_address_right(host: str) -> bool:
    if not _is_address(host):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
