"""A client for Python programs that loses nothing when the network or a worker comes and goes.

with connect("wss://chat.example.org/ws.ashx?name=Ada") as chat:
    chat.send("hello")
    for message in chat:
        print(message)
"""

from __future__ import annotations

from .calls import calls
from .connection import Connection, connect
from .errors import ConnectionClosed, ConnectTimeout, HandshakeFailed, HandshakeRefused
from .patience import State
from .session import Gap

__all__ = [
    "ConnectTimeout",
    "Connection",
    "ConnectionClosed",
    "Gap",
    "HandshakeFailed",
    "HandshakeRefused",
    "State",
    "calls",
    "connect",
]
