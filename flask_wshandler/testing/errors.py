"""What a test is told by an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.errors import WebSocketError

if TYPE_CHECKING:
    from werkzeug.test import TestResponse


class HandshakeRefused(WebSocketError):
    """The answer to the handshake was an ordinary response, or no valid handshake."""

    def __init__(self, response: TestResponse, reason: str) -> None:
        super().__init__(reason)
        #: As every other request of Flask's test client returns it.
        self.response = response


class ConnectionClosed(WebSocketError):
    """There is nothing to receive any more, or nobody to send to."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection is closed: {code}{f' {reason}' if reason else ''}")
        #: Of the first close frame, whoever sent it; 1005 if it had none, 1006 without a frame.
        self.code = code
        #: Of the first close frame; empty if it had none.
        self.reason = reason


class TimedOut(WebSocketError, TimeoutError):
    """Something did not happen in the time given; says what did."""
