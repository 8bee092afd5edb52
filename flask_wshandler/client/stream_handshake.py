"""The request for a stream, and the head of what is answered, within a time.

It blocks. What comes of it does not: a `StreamConnection`.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Sequence

import h11

from .errors import HandshakeFailed, HandshakeRefused
from .patience import Patience
from .post_line import PostLine, decoded
from .reaching import Deadline, Way
from .stream import StreamConnection
from .target import Target

_MARK = "x-wshandler"
_STREAM = "stream"
_SEND_ADDRESS = "x-wshandler-send"
_PATH = re.compile(r"/(?!/)[!-~]*")
_OK = 200

_READ_BYTES = 16 * 1024
_MOST_BODY_BYTES = 64 * 1024
"""Of a page that is no stream, for the exception."""


def open_stream(
    channel: socket.socket,
    target: Target,
    way: Way,
    offer: Sequence[str],
    deadline: Deadline,
    patience: Patience,
) -> StreamConnection:
    """Ask for a stream on a socket, and take that over if there is one.

    Raises OSError for what the network does, `HandshakeFailed` for an answer.
    """
    headers = target.http_headers()
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="GET",
        target=way.address.resource_name,
        headers=[
            *headers,
            ("Accept", "text/event-stream"),
            ("Accept-Encoding", "identity"),
            ("X-WSHandler", _STREAM),
            ("X-WSHandler-Offer", ", ".join(offer)),
        ],
    )
    channel.settimeout(deadline.left_s())
    channel.sendall((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    response = _read_head(channel, http, deadline)
    answered = decoded(response.headers)
    if response.status_code != _OK:
        body = _read_body(channel, http, deadline)
        raise HandshakeRefused("the server", response.status_code, answered, body)
    if answered.get(_MARK) != _STREAM:
        raise HandshakeFailed("the server has answered a page in the place of a stream")
    path = answered.get(_SEND_ADDRESS, "")
    if not _PATH.fullmatch(path):
        raise HandshakeFailed("the server does not say where to post to")
    line = PostLine(way, channel, h11.Request(method="POST", target=path, headers=headers))
    return StreamConnection(channel, http, line, target.max_size, patience)


def _read_head(channel: socket.socket, http: h11.Connection, deadline: Deadline) -> h11.Response:
    try:
        while not isinstance(event := http.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                channel.settimeout(deadline.left_s())
                http.receive_data(channel.recv(_READ_BYTES))
            else:
                deadline.left_s()
    except h11.RemoteProtocolError as error:
        if http.trailing_data[1]:
            raise ConnectionResetError("the server has closed without an answer") from None
        raise HandshakeFailed(f"the server's answer is no HTTP: {error}") from error
    return event


def _read_body(channel: socket.socket, http: h11.Connection, deadline: Deadline) -> bytes:
    body = b""
    # What it says is of less interest than that it refuses.
    with contextlib.suppress(OSError, h11.RemoteProtocolError):
        while len(body) < _MOST_BODY_BYTES:
            event = http.next_event()
            if event is h11.NEED_DATA:
                channel.settimeout(deadline.left_s())
                http.receive_data(channel.recv(_READ_BYTES))
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
    return body
