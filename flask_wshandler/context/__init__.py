"""The request of the handshake, kept for as long as its WebSocket is open.

`snapshot` keeps it small, `callback` makes it Flask's current request again, `websocket` shows
it to the handler.
"""

from .callback import (
    ACCEPTED_KEY,
    FLASKS_VARIABLES,
    CallbackContext,
    context_of,
    copied_variables,
    entered,
    kept_globals,
    request_variables,
    tell_teardown,
)
from .snapshot import RequestSnapshot
from .websocket import WebSocketContext

__all__ = [
    "ACCEPTED_KEY",
    "FLASKS_VARIABLES",
    "CallbackContext",
    "RequestSnapshot",
    "WebSocketContext",
    "context_of",
    "copied_variables",
    "entered",
    "kept_globals",
    "request_variables",
    "tell_teardown",
]
