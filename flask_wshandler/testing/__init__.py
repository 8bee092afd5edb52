"""A test client for WebSockets: in the test's process, without a port, by the real protocol.

    enable(app)
    with app.test_client().websocket_connect("/chat?name=ann") as ws:
        ws.send("hi")
        assert ws.receive(timeout=1) == "ann said: hi"

With pytest nothing needs to be enabled: see docs/howto/testing.md. Importing the package does not
import this module.
"""

from .app_under_test import Worker
from .client import (
    WebSocketClient,
    WebSocketClientMixin,
    enable,
    websocket_connect,
    worker_of,
)
from .clock import Clock
from .errors import ConnectionClosed, HandshakeRefused, TimedOut
from .websocket import ClientWebSocket

__all__ = [
    "ClientWebSocket",
    "Clock",
    "ConnectionClosed",
    "HandshakeRefused",
    "TimedOut",
    "WebSocketClient",
    "WebSocketClientMixin",
    "Worker",
    "enable",
    "websocket_connect",
    "worker_of",
]
