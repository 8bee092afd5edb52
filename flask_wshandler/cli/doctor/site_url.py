"""Where the doctor goes: an address as people write it, and as a request needs it."""

from __future__ import annotations

import base64
import dataclasses
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ...runtime.redaction import without_password

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where to go."""

    is_secure: bool
    #: In ASCII, as it is looked up.
    host: str
    port: int
    #: As in a request. A browser copies a site's address with a slash for a path.
    path: str
    #: With its question mark; empty if there is none.
    query: str
    #: The header's value for a proxy that asks who comes; empty without a name. Never shown.
    authorization: str = dataclasses.field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError for what is no http, https, ws or wss address."""
        try:
            parts: SplitResult = urlsplit(url)
            is_secure = _SECURE[parts.scheme]
            host = (parts.hostname or "").encode("idna").decode()
            port = parts.port
            path, query = _quoted(parts.path), _quoted(parts.query)
        except (KeyError, ValueError):
            host, port = "", None
        if not host or port == 0:
            shown = without_password(url)
            raise ValueError(f"{shown!r} is no address such as http://127.0.0.1:8000")
        if port is None:
            port = _DEFAULT_PORTS["https" if is_secure else "http"]
        query = f"?{query}" if query else ""
        return cls(is_secure, host, port, path or "/", query, _authorization(parts))

    def at(self, path: str) -> Address:
        """Another path of it, with the same query string."""
        return dataclasses.replace(self, path=_quoted(path))

    @property
    def scheme(self) -> str:
        """As of a page."""
        return "https" if self.is_secure else "http"

    @property
    def target(self) -> str:
        """As in a request's first line."""
        return self.path + self.query

    @property
    def netloc(self) -> str:
        """As in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Of the pages of this very site."""
        return f"{self.scheme}://{self.netloc}"

    def __str__(self) -> str:
        return self.origin + self.target


def _authorization(parts: SplitResult) -> str:
    """Of the name and the password in an address (RFC 7617)."""
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _quoted(text: str) -> str:
    """As a browser sends a path or a query: what is no ASCII, and spaces, by their bytes."""
    return quote(text, safe="%/:?@!$&'()*+,;=[]~")
