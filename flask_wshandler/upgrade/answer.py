"""What is answered to an accepted request, and by what that is known on its way out.

A WebSocket's is a 101. Where no WebSocket gets through it is a 200 whose body goes on: `carrier`.
"""

from __future__ import annotations

import email.utils
import http
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..protocol.carrier import Transport
from ..protocol.event_stream import CONTENT_TYPE

MARK = "X-WSHandler"
"""The header by which a client tells a stream from another page."""
SEND_ADDRESS = "X-WSHandler-Send"
SEND_PATH = "/wshandler/send"
"""Where clients post what they say, below the app's own address."""

Headers = list[tuple[str, str]]

_SWITCHING_PROTOCOLS = f"{http.HTTPStatus.SWITCHING_PROTOCOLS:d} "
_OK = f"{http.HTTPStatus.OK:d} "

_OF_A_BODY = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "keep-alive",
        "sec-websocket-extensions",
        "trailer",
        "transfer-encoding",
    }
)
"""Headers that a client may take offence at, or take for granted, whoever has set them."""


class Answer(Protocol):
    """Of one request."""

    @property
    def status(self) -> str:
        """Such as "101 Switching Protocols"."""

    def is_in(self, status: str, headers: Sequence[tuple[str, str]]) -> bool:
        """Whether a response with that head is this answer."""

    def completed(self, headers: Headers) -> Headers:
        """`headers`, with those of the answer in the place of what stands for them."""

    def without_own(self, headers: Headers) -> Headers:
        """`headers` of an ordinary response, which the answer's are not to be in."""

    def head(self, headers: Headers) -> bytes:
        """What is written to the socket, where the server has not."""


class SwitchingProtocols:
    """The 101 of a WebSocket."""

    status = _SWITCHING_PROTOCOLS + http.HTTPStatus.SWITCHING_PROTOCOLS.phrase

    def __init__(self, headers: Headers) -> None:
        """`headers` are those that the handshake's response must have."""
        self.headers = headers

    def is_in(self, status: str, headers: Sequence[tuple[str, str]]) -> bool:
        """Whether a response with that head is this answer."""
        del headers
        return is_switching(status)

    def completed(self, headers: Headers) -> Headers:
        """`headers`, with those of the handshake in the place of what stands for them."""
        return _completed(self.headers, headers)

    def without_own(self, headers: Headers) -> Headers:
        """`headers` of an ordinary response."""
        return [each for each in headers if tuple(each) not in self.headers]

    def head(self, headers: Headers) -> bytes:
        """The handshake's answer."""
        return _encoded(self.status, headers)


class EventStream:
    """The 200 of a client that is served over HTTP."""

    status = _OK + http.HTTPStatus.OK.phrase

    def __init__(self, transport: Transport, script_name: str, *, is_chunked: bool) -> None:
        """`script_name` is WSGI's SCRIPT_NAME."""
        path = urllib.parse.quote(script_name.encode("latin-1")) + SEND_PATH
        self.headers = [
            ("Content-Type", CONTENT_TYPE),
            # No proxy is to keep it, change it, or hold it back: nginx is told by the third.
            ("Cache-Control", "no-store, no-transform"),
            ("X-Accel-Buffering", "no"),
            (MARK, transport.value),
            (SEND_ADDRESS, path),
        ]
        self._is_chunked = is_chunked

    def is_in(self, status: str, headers: Sequence[tuple[str, str]]) -> bool:
        """Whether a response with that head is this answer."""
        return is_event_stream(status, headers)

    def completed(self, headers: Headers) -> Headers:
        """`headers`, with those of the stream in the place of what stands for them."""
        return _completed(self.headers, headers)

    def without_own(self, headers: Headers) -> Headers:
        """`headers` of an ordinary response."""
        own = {MARK, SEND_ADDRESS}
        return [each for each in headers if each[0] not in own]

    def head(self, headers: Headers) -> bytes:
        """The response's head, with what concerns this connection of HTTP only."""
        hops = [("Connection", "close")]
        if self._is_chunked:
            hops.append(("Transfer-Encoding", "chunked"))
        names = {name.lower() for name, _ in headers}
        if "date" not in names:
            hops.append(("Date", email.utils.formatdate(usegmt=True)))
        return _encoded(self.status, [*headers, *hops])


def is_switching(status: str) -> bool:
    """Whether a response's status is 101."""
    return status.startswith(_SWITCHING_PROTOCOLS.rstrip())


def is_event_stream(status: str, headers: Sequence[tuple[str, str]]) -> bool:
    """Whether a response is a stream of this package's."""
    return status.startswith(_OK.rstrip()) and any(name == MARK for name, _ in headers)


def is_chunked(environ: Mapping[str, Any]) -> bool:
    """Whether a response to a request can be sent in chunks."""
    return environ.get("SERVER_PROTOCOL") == "HTTP/1.1"


def _completed(own: Headers, headers: Headers) -> Headers:
    names = {name.lower() for name, _ in own}
    others = [
        (name, value)
        for name, value in headers
        if name.lower() not in names and name.lower() not in _OF_A_BODY
    ]
    return [*own, *others]


def _encoded(status: str, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
