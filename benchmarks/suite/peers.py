"""What is compared: a server program and the app it runs.

Every app echoes on /echo, sends what it is sent on /broadcast to all who are there, sleeps 10 ms
before it echoes on /slow (where it has that), and has a page at /. Those in `returning` send and
receive numbers instead.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CLIENT_JS = Path(__file__).resolve().parents[2] / "flask_wshandler" / "browser" / "client.js"


class Dialect(enum.Enum):
    """What is spoken inside of the WebSocket."""

    PLAIN = enum.auto()
    SOCKETIO = enum.auto()
    """Engine.IO's and Socket.IO's handshakes, pings and packets, as text messages."""
    RESUMABLE = enum.auto()
    """wshandler.1, by which a client of this package comes back after a loss."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them. `{port}`, `{workers}` and `{threads}` in its command are filled in."""

    key: str
    title: str
    command: tuple[str, ...]
    packages: tuple[str, ...] = ()
    """Whose versions the report states."""
    dialect: Dialect = Dialect.PLAIN
    environment: Mapping[str, str] = field(default_factory=dict)
    is_quick: bool = False
    most_clients: int | None = None
    """Where a client takes a thread, or two."""
    has_slow: bool = False
    has_pages: bool = True
    can_compress: bool = True
    can_fork: bool = False
    """Whether it serves with several processes by an option."""
    client: tuple[str, ...] = ()
    """A program that comes back when its connection is lost, which is all that is measured then. It
    is given a port, a number of messages, and a rate."""

    @property
    def is_ours(self) -> bool:
        """Whether it is this package."""
        return self.key.partition("-")[0] == "ours"

    def path(self, name: str) -> str:
        """The address of `/echo`, `/broadcast` or `/slow`."""
        if self.dialect is Dialect.SOCKETIO:
            return "/socket.io/?EIO=4&transport=websocket"
        return name


_GUNICORN = (
    "gunicorn",
    "--bind=127.0.0.1:{port}",
    "--workers={workers}",
    "--log-level=warning",
)
# The default lets 1,000 clients in.
_MANY = "--worker-connections=20000"
_A_THREAD_EACH = ("--worker-class=gthread", "--threads={threads}", _MANY)
_UVICORN = (
    "uvicorn",
    "--port={port}",
    "--workers={workers}",
    "--log-level=warning",
    "--no-access-log",
    "--loop=uvloop",
    "--ws=websockets-sansio",
)

OURS = Peer(
    "ours",
    "flask-wshandler, gunicorn gthread",
    (*_GUNICORN, "--worker-class=gthread", "--threads=4", "ours:app"),
    ("flask-wshandler", "flask", "gunicorn"),
    is_quick=True,
    has_slow=True,
    can_fork=True,
)
OURS_RESUMABLE = dataclasses.replace(
    OURS,
    key="ours-resumable",
    title="flask-wshandler, resumable clients",
    dialect=Dialect.RESUMABLE,
    is_quick=False,
    has_slow=False,
    has_pages=False,
    can_compress=False,
    can_fork=False,
)
LIMIT = Peer(
    "limit",
    "bare C epoll echo",
    ("echo_server", "{port}"),
    is_quick=True,
    can_compress=False,
)

LOADED = (
    OURS,
    OURS_RESUMABLE,
    Peer(
        "flask-sock-gthread",
        "flask-sock, gunicorn gthread",
        (*_GUNICORN, *_A_THREAD_EACH, "flask_sock_app:app"),
        ("flask-sock", "simple-websocket", "gunicorn"),
        is_quick=True,
        most_clients=1000,
        has_slow=True,
    ),
    Peer(
        "flask-sock-gevent",
        "flask-sock, gunicorn gevent",
        (*_GUNICORN, "--worker-class=gevent", _MANY, "flask_sock_app:app"),
        ("flask-sock", "simple-websocket", "gevent"),
        has_slow=True,
        can_fork=True,
    ),
    Peer(
        "flask-socketio-threading",
        "Flask-SocketIO, gunicorn gthread",
        (*_GUNICORN, *_A_THREAD_EACH, "flask_socketio_app:app"),
        ("flask-socketio", "python-socketio", "simple-websocket"),
        Dialect.SOCKETIO,
        {"ASYNC_MODE": "threading"},
        most_clients=1000,
        can_compress=False,
    ),
    Peer(
        "flask-socketio-gevent",
        "Flask-SocketIO, gunicorn gevent",
        (*_GUNICORN, "--worker-class=gevent", _MANY, "flask_socketio_app:app"),
        ("flask-socketio", "python-socketio", "gevent"),
        Dialect.SOCKETIO,
        {"ASYNC_MODE": "gevent"},
        can_compress=False,
    ),
    Peer(
        "tornado",
        "Tornado",
        ("python", "tornado_app.py", "{port}"),
        ("tornado",),
    ),
    Peer(
        "aiohttp",
        "aiohttp",
        ("python", "aiohttp_app.py", "{port}"),
        ("aiohttp",),
    ),
    Peer(
        "uvicorn",
        "uvicorn and Starlette",
        (*_UVICORN, "starlette_app:app"),
        ("uvicorn", "starlette", "websockets", "uvloop"),
        is_quick=True,
        has_slow=True,
        can_fork=True,
    ),
    Peer(
        "gunicorn-asgi",
        "gunicorn's ASGI worker",
        (*_GUNICORN, "--worker-class=asgi", _MANY, "asgi_app:app"),
        ("gunicorn", "uvloop"),
        can_compress=False,
        can_fork=True,
    ),
    Peer(
        "channels",
        "Django Channels, uvicorn",
        (*_UVICORN, "channels_app:app"),
        ("channels", "django", "uvicorn"),
    ),
    Peer(
        "websockets",
        "`websockets` on uvloop",
        ("python", "websockets_app.py", "{port}"),
        ("websockets", "uvloop"),
    ),
    Peer(
        "picows",
        "picows on uvloop",
        ("python", "picows_app.py", "{port}"),
        ("picows", "uvloop"),
        has_pages=False,
        can_compress=False,
    ),
    Peer(
        "node-ws",
        "Node.js, `ws`",
        ("node", "node_ws.js", "{port}"),
        ("node", "ws"),
        is_quick=True,
    ),
    LIMIT,
)
"""Servers for the load generator, in the order of the report."""

RETURNING = (
    Peer(
        "ours-python",
        "flask-wshandler, its Python client",
        (*_GUNICORN, "--worker-class=gthread", "--threads=4", "returning.ours_app:app"),
        ("flask-wshandler", "flask", "gunicorn"),
        client=("python", "returning/ours_client.py"),
    ),
    Peer(
        "ours-js",
        "flask-wshandler, its `client.js`",
        (*_GUNICORN, "--worker-class=gthread", "--threads=4", "returning.ours_app:app"),
        ("flask-wshandler", "node", "ws"),
        client=("node", "returning/ours_client.js", str(CLIENT_JS)),
    ),
    Peer(
        "flask-socketio-client",
        "Flask-SocketIO, python-socketio's client",
        (*_GUNICORN, *_A_THREAD_EACH, "returning.flask_socketio_app:app"),
        ("flask-socketio", "python-socketio", "websocket-client"),
        client=("python", "returning/flask_socketio_client.py"),
    ),
    Peer(
        "socketio-recovery",
        "Socket.IO, connection state recovery",
        ("node", "returning/socket_io_server.js", "{port}"),
        ("node", "socket.io", "socket.io-client"),
        client=("node", "returning/socket_io_client.js", "plain"),
    ),
    Peer(
        "socketio-retries",
        "Socket.IO, the same and `retries`",
        ("node", "returning/socket_io_server.js", "{port}"),
        ("node", "socket.io", "socket.io-client"),
        client=("node", "returning/socket_io_client.js", "retries"),
    ),
)
"""Servers with a client that comes back."""

PEERS = (*LOADED, *RETURNING)
BY_KEY = {peer.key: peer for peer in PEERS}
