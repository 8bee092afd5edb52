"""What can go wrong at the client. `flask_wshandler.client` exports it."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Mapping

from ..protocol.errors import WebSocketError

_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})


class ConnectionClosed(WebSocketError):
    """The connection has ended, and does not come back."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the connection is closed: {code} {_printable(reason)}".rstrip())
        #: The close code; 1006 if there was none, since a handshake was refused for good.
        self.code = code
        self.reason = reason


class ConnectTimeout(WebSocketError, TimeoutError):
    """There was no connection within `open_timeout`. Its cause says why the last try has failed."""


class HandshakeFailed(WebSocketError):
    """The server's answer is none that opens a WebSocket; or a proxy's is none that leads to it."""

    @property
    def may_pass(self) -> bool:
        """Whether to try again."""
        return False

    @property
    def retry_after_s(self) -> float | None:
        """When the server wants the next try, in seconds."""
        return None


class HandshakeRefused(HandshakeFailed):
    """The server, or a proxy, has answered with another status than 101."""

    def __init__(self, whose: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        text = _printable(body[:200].decode("utf-8", "replace"))
        super().__init__(f"{whose} has answered {status}: {text}".rstrip(": "))
        #: The HTTP status.
        self.status = status
        #: The response's headers; case does not matter.
        self.headers = headers
        #: The response's body.
        self.body = body

    @property
    def may_pass(self) -> bool:
        """Whether to try again: it is the server's trouble, and no answer to this client."""
        return self.status in _MAY_PASS

    @property
    def retry_after_s(self) -> float | None:
        """The header Retry-After, be it seconds or a date."""
        try:
            value = self.headers.get("Retry-After", "").strip()
        except LookupError:  # websockets has one for a header that comes twice
            return None
        if value.isascii() and value.isdigit():
            return float(value[:9])
        return _seconds_until(value)


def _printable(text: str) -> str:
    """For one line of a log, whoever has written it."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _seconds_until(date: str) -> float | None:
    try:
        then = email.utils.parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.timezone.utc)
    return (then - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
