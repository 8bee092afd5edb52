"""Where a server is, and how to speak to it: what `client.connect` is given."""

from __future__ import annotations

import dataclasses
import re
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

from websockets.headers import build_authorization_basic, build_host
from websockets.uri import WebSocketURI, parse_uri

USER_AGENT = "flask-wshandler"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

TRANSPORTS = ("auto", "websocket", "stream")


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The arguments of `client.connect` that each try to connect needs."""

    uri: str
    transport: str = "auto"
    ssl: ssl.SSLContext | None = None
    server_hostname: str | None = None
    origin: str | None = None
    additional_headers: Headers | None = None
    user_agent_header: str | None = USER_AGENT
    proxy: str | bool | None = True
    compression: str | None = "deflate"
    max_size: int | None = 2**20

    def check(self, subprotocols: Sequence[str]) -> None:
        """Raise ValueError for what can't be used, which would not pass by itself."""
        if isinstance(subprotocols, str) or not all(map(_TOKEN.fullmatch, subprotocols)):
            raise ValueError(f"subprotocols are a list of tokens, not {subprotocols!r}")
        if self.transport not in TRANSPORTS:
            raise ValueError(f"transport is one of {TRANSPORTS}, not {self.transport!r}")
        address = address_of(self.uri)
        if self.ssl is not None and not address.secure:
            raise ValueError("ssl is for wss:// only")
        if self.compression not in (None, "deflate"):
            raise ValueError(f"compression is 'deflate' or None, not {self.compression!r}")
        proxy = proxy_for(address, self.proxy)
        if proxy is not None and proxy.scheme != "http":
            raise ValueError(f"a proxy is reached by http://, not by {proxy.scheme}://")

    def http_headers(self) -> list[tuple[str, str]]:
        """What each request has that opens no WebSocket. Raises ValueError for what can't be."""
        address = address_of(self.uri)
        headers = {"Host": build_host(address.host, address.port, address.secure)}
        if address.username is not None and address.password is not None:
            headers["Authorization"] = build_authorization_basic(address.username, address.password)
        if self.origin is not None:
            headers["Origin"] = self.origin
        if self.user_agent_header is not None:
            headers["User-Agent"] = self.user_agent_header
        added = _pairs(self.additional_headers)
        names = {name.lower() for name, _ in added}
        return [*(pair for pair in headers.items() if pair[0].lower() not in names), *added]


def _pairs(headers: Headers | None) -> list[tuple[str, str]]:
    if headers is None:
        return []
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    for name, value in pairs:
        if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"no header of HTTP: {name!r}")  # the value may be a secret
    return pairs


def address_of(uri: str) -> WebSocketURI:
    """Its parts. Raises ValueError."""
    try:
        return parse_uri(uri)
    except Exception as error:  # InvalidURI, or what urllib raises
        # Not the URI itself: a password may be in it.
        raise ValueError(f"no URI of a WebSocket: {getattr(error, 'msg', error)}") from None


def proxy_for(address: WebSocketURI, proxy: str | bool | None) -> urllib.parse.SplitResult | None:
    """The one that is given, or with True that of the system."""
    if proxy is True:
        if urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
            return None
        known = urllib.request.getproxies()
        schemes = ("wss", "https") if address.secure else ("ws", "https", "http")
        proxy = next((known[scheme] for scheme in schemes if scheme in known), None)
    if not proxy:
        return None
    parts = urllib.parse.urlsplit(proxy)
    if not parts.hostname:
        raise ValueError("the proxy's address has no host: it is http://host:port")
    return parts
