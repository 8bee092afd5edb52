"""ASP.NET's WebSocket model for Flask: one handler object per client, no thread per client."""

from .accept import UpgradeRequired, accept_websocket_request, is_websocket_request
from .bus import BusStats
from .collection import WebSocketCollection
from .context import WebSocketContext
from .errors import CloseCode, SettingError, SocketUnreachable, WebSocketError
from .extension import WebSockets
from .groups import WebSocketGroups
from .handler import WebSocketHandler
from .http_handler import HttpContext, HttpHandler
from .presence import Presence
from .signals import message_received, websocket_connected, websocket_disconnected
from .transports.engine import Stats

__version__ = "0.1.0"

__all__ = [
    "BusStats",
    "CloseCode",
    "HttpContext",
    "HttpHandler",
    "Presence",
    "SettingError",
    "SocketUnreachable",
    "Stats",
    "UpgradeRequired",
    "WebSocketCollection",
    "WebSocketContext",
    "WebSocketError",
    "WebSocketGroups",
    "WebSocketHandler",
    "WebSockets",
    "accept_websocket_request",
    "is_websocket_request",
    "message_received",
    "websocket_connected",
    "websocket_disconnected",
]
