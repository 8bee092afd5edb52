"""ASP.NET's WebSocket model for Flask: one handler object per client, no thread per client.

    from flask import Flask
    from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

    app = Flask(__name__)
    sockets = WebSockets(app)
    clients = WebSocketCollection("chat")       # one collection in every worker

    @sockets.route("/chat")
    class Chat(WebSocketHandler):
        def on_open(self):
            clients.add(self)
        def on_message(self, message):
            clients.broadcast(message)

Run it with `gunicorn --threads 4 chat:app`, and test it with
`app.test_client().websocket_connect("/chat")`.

- In a view: `is_websocket_request`, `accept_websocket_request`; as classes: `HttpHandler`,
  `HttpContext`.
- Of one client: `WebSocketHandler` and its `context`, a `WebSocketContext`.
- Of many: `WebSocketCollection`, `WebSocketGroups`, `Presence`; of their history `LoggedMessage`,
  `LogUnavailable`, `HistoryStats`.
- To a service behind a socket: `TcpGateway`.
- Outside of the app: `flask_wshandler.bus`. In tests: `flask_wshandler.testing`. Figures:
  `WebSockets.stats`, `flask_wshandler.prometheus`, `flask_wshandler.otel`. In a shell:
  `flask websockets --help`.

The documentation is in the folder `docs` of the source distribution; `docs/quickstart.md` takes
five minutes.
"""

from .bus import BusStats
from .collections.collection import WebSocketCollection
from .collections.groups import WebSocketGroups
from .collections.history import LoggedMessage
from .collections.history_stats import HistoryStats
from .collections.presence import Presence
from .extension import WebSockets
from .gateway.tcp_gateway import TcpGateway
from .handlers.context import WebSocketContext
from .handlers.handler import WebSocketHandler
from .handlers.signals import message_received, websocket_connected, websocket_disconnected
from .history.log import LogUnavailable
from .protocol.errors import CloseCode, SettingError, SocketUnreachable, WebSocketError
from .transports.stats import Stats
from .upgrade.accept import accept_websocket_request
from .upgrade.admission import UpgradeRequired, is_websocket_request
from .upgrade.http_handler import HttpContext, HttpHandler

__version__ = "0.1.0"

__all__ = [
    "BusStats",
    "CloseCode",
    "HistoryStats",
    "HttpContext",
    "HttpHandler",
    "LogUnavailable",
    "LoggedMessage",
    "Presence",
    "SettingError",
    "SocketUnreachable",
    "Stats",
    "TcpGateway",
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
