"""What carries a client's messages until it is lost: a WebSocket, or HTTP.

It never waits, apart from `wait`. All of it is its thread's.
"""

from __future__ import annotations

import socket
from typing import Protocol

from ..protocol.carrier import Transport
from ..protocol.frames import Message

OWN_BYTES = 1024
"""More than there is in a message beside the application's, and in a hello."""


class NetworkConnection(Protocol):
    """One of those that a connection goes through."""

    @property
    def transport(self) -> Transport:
        """What it speaks."""

    @property
    def subprotocol(self) -> str | None:
        """What the server has answered to the offer."""

    @property
    def unwritten_bytes(self) -> int:
        """Bytes that wait for the network."""

    @property
    def is_open(self) -> bool:
        """Whether neither end has closed it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""

    @property
    def is_closed_by_server(self) -> bool:
        """Whether the server has closed it, and not only gone."""

    @property
    def close_code(self) -> int:
        """The server's, or else ours; 1006 if there is none."""

    @property
    def close_reason(self) -> str:
        """What is said besides."""

    @property
    def was_cut(self) -> bool:
        """Whether the network has ended it; not a server that does not take what is sent."""

    def wake_on(self, waker: socket.socket) -> None:
        """Have `wait` end when there is something to read from `waker`."""

    def wait(self, seconds: float | None, *, reads: bool) -> bool:
        """Wait until there is something to do; whether there is something to read."""

    def read(self) -> list[Message] | None:
        """The messages that have come; None if nothing has."""

    def send(self, message: Message) -> None:
        """Put a message behind what is not written."""

    def ping(self) -> None:
        """Have the server answer."""

    def close(self, code: int, reason: str) -> None:
        """Close it behind what is not written, unless it is closed."""

    def flush(self) -> bool:
        """Write what the network takes; whether it has taken something."""

    def abort(self) -> None:
        """Let go of the network at once."""
