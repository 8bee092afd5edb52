"""The opening handshake of a WebSocket, within a time.

It blocks. What comes of it does not: a `WebSocketConnection`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.extensions.permessage_deflate import enable_client_permessage_deflate
from websockets.typing import Origin, Subprotocol
from websockets.uri import WebSocketURI

from .errors import HandshakeFailed, HandshakeRefused
from .network import OWN_BYTES
from .reaching import Deadline
from .target import Target
from .websocket import WebSocketConnection

_READ_BYTES = 16 * 1024

_quiet = logging.Logger("flask_wshandler.client", logging.CRITICAL)
"""The headers have the session, which is a secret: no line has them, whatever the app logs."""


def open_websocket(
    channel: socket.socket,
    target: Target,
    address: WebSocketURI,
    offer: Sequence[str],
    deadline: Deadline,
) -> WebSocketConnection:
    """Open a WebSocket on a socket, and take that over if it has succeeded.

    Raises OSError for what the network does, `HandshakeFailed` for an answer.
    """
    protocol = _protocol(target, address, offer)
    _shake_hands(channel, protocol, target, deadline)
    return WebSocketConnection(channel, protocol, target.max_size)


def _protocol(target: Target, address: WebSocketURI, subprotocols: Sequence[str]) -> ClientProtocol:
    return ClientProtocol(
        address,
        origin=None if target.origin is None else Origin(target.origin),
        extensions=enable_client_permessage_deflate(None) if target.compression else None,
        subprotocols=[Subprotocol(name) for name in subprotocols],
        max_size=None if target.max_size is None else target.max_size + OWN_BYTES,
        logger=_quiet,
    )


def _shake_hands(
    channel: socket.socket, protocol: ClientProtocol, target: Target, deadline: Deadline
) -> None:
    request = protocol.connect()
    if target.additional_headers is not None:
        request.headers.update(target.additional_headers)
    if target.user_agent_header is not None:
        request.headers.setdefault("User-Agent", target.user_agent_header)
    protocol.send_request(request)
    channel.settimeout(deadline.left_s())
    channel.sendall(b"".join(protocol.data_to_send()))
    while protocol.state.name == "CONNECTING" and protocol.handshake_exc is None:
        channel.settimeout(deadline.left_s())
        data = channel.recv(_READ_BYTES)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
    if protocol.handshake_exc is not None:
        raise _failure(protocol.handshake_exc)


def _failure(error: Exception) -> Exception:
    """What a user is told."""
    if isinstance(error, InvalidStatus):
        response = error.response
        return HandshakeRefused(
            "the server", response.status_code, response.headers, bytes(response.body or b"")
        )
    if isinstance(error.__cause__, EOFError):
        return ConnectionResetError("the server has closed without an answer")
    if not isinstance(error, InvalidHandshake):
        return error
    failure = HandshakeFailed(f"the server does not open a WebSocket: {error}")
    failure.__cause__ = error.__cause__
    return failure
