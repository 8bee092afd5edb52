"""How a socket leaves the WSGI server. Only this module and `wsgi_server` know servers by name.

gunicorn and Werkzeug give their socket in the WSGI environ. To keep it beyond the request, it is
duplicated, and the server's own descriptor is replaced by a decoy: one end of a socket pair whose
other end is closed. The server then shuts down and closes the decoy, and its counters of
connections stay right. Duplicating alone is not enough (since gunicorn 26 the server calls
`shutdown`, which acts on the connection and not on the descriptor), and detaching the socket makes
gunicorn 27 count the connection down twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import select
import socket
import ssl
import sys
from collections.abc import Mapping
from typing import Any

from ..protocol.errors import CloseCode, SocketUnreachable
from .wsgi_server import Exchange, NoExchange, find_exchange, gunicorn_worker

SOCKET_KEY = "werkzeug.socket"
"""Under which a WSGI environ has a socket that the response's head is to be written to by us."""


@dataclasses.dataclass(frozen=True, slots=True)
class ServerSocket:
    """A server's connection to the client of the current request."""

    sock: socket.socket
    #: What the server has on the request besides.
    exchange: Exchange
    #: Why epoll can't have the socket; empty if it can.
    epoll_obstacle: str

    def take(self, decoy: socket.socket) -> tuple[socket.socket, bytes]:
        """Take the socket from the server, and what the server had read too much.

        The socket is ours to close. Raises OSError when the decoy is closed.
        """
        taken = self.sock.dup()
        try:
            os.dup2(decoy.fileno(), self.sock.fileno(), inheritable=False)
        except BaseException:
            taken.close()
            raise
        self.exchange.end()
        return taken, self.exchange.trailing_data()


def make_decoy() -> socket.socket:
    """What is left in the place of sockets that are taken, one for any number of them.

    What a server does to its copy changes nothing for others: there is no other end any more.
    """
    decoy, other_end = socket.socketpair()
    other_end.close()
    return decoy


def find_server_socket(environ: Mapping[str, Any]) -> ServerSocket:
    """The socket of the request `environ`; raise `SocketUnreachable` if there is none to have."""
    sock = environ.get("gunicorn.socket") or environ.get(SOCKET_KEY)
    if sock is None:
        raise SocketUnreachable(
            f"{_server_of(environ)} does not give its socket to the application; {_WHAT_CAN}"
        )
    library = type(sock).__module__.partition(".")[0]
    if library not in _LIBRARIES:
        raise SocketUnreachable(
            f"{_server_of(environ)} has a socket of the package {library!r}, which can't be "
            f"served; {_WHAT_CAN}"
        )
    exchange = find_exchange(sock)
    if exchange is None and _server_software(environ):
        raise SocketUnreachable(
            f"{_server_of(environ)} can't be asked about its response, because something runs the "
            "app in a greenlet of its own; call the app in the one that the server calls"
        )
    return ServerSocket(sock, exchange or NoExchange(), _epoll_obstacle(environ, sock))


_LIBRARIES = ("socket", "ssl", "gevent")
"""Where the sockets come from that are known to work."""

_WHAT_CAN = "WebSockets need gunicorn (sync, gthread or gevent workers) or `flask run`"


def _server_of(environ: Mapping[str, Any]) -> str:
    software = _server_software(environ)
    worker_class = server_process().worker_class
    if worker_class:
        return f"the server {software!r} with the worker class {worker_class!r}"
    return f"the server {software!r}" if software else "the server of this request"


def _server_software(environ: Mapping[str, Any]) -> str:
    """What the server calls itself; some do so by a key of their own only."""
    versions = (key for key in environ if key.endswith(".version") and key != "wsgi.version")
    return environ.get("SERVER_SOFTWARE") or next(versions, "").removesuffix(".version")


def _epoll_obstacle(environ: Mapping[str, Any], sock: socket.socket) -> str:
    if isinstance(sock, ssl.SSLSocket) or hasattr(sock, "pending"):
        return "TLS ends in the server, so the socket can't leave it"
    if type(sock).__module__.partition(".")[0] == "gevent":
        return "the worker is a gevent worker"
    if environ.get("wsgi.multiprocess") and gunicorn_worker() is None:
        return "the server's process ends with the request"
    return "" if _has_epoll() else "this system has no epoll"


def _has_epoll() -> bool:
    return hasattr(select, "epoll") and hasattr(os, "eventfd")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerProcess:
    """What this process knows of the server that it belongs to."""

    #: gunicorn's worker class; empty in another server or none.
    worker_class: str
    #: How many workers it was started with; None where that is not known.
    worker_count: int | None
    #: Threads for requests, of a worker that has so many and no more; None: any number, as
    #: greenlets are, or not known.
    request_threads: int | None
    #: Whether a socket can't leave it, so that each WebSocket keeps the thread of its request.
    keeps_sockets: bool
    #: In a gevent worker: the modules of the standard library that still block all of it.
    unpatched_modules: tuple[str, ...]


def server_process() -> ServerProcess:
    """Look at the server of this process. Any thread."""
    worker = gunicorn_worker()
    config = getattr(worker, "cfg", None)
    is_gevent = any("gevent" in base.__module__ for base in type(worker).__mro__)
    return ServerProcess(
        worker_class=str(getattr(config, "worker_class_str", "")),
        worker_count=getattr(config, "workers", None),
        request_threads=_request_threads(worker, config),
        keeps_sockets=bool(getattr(config, "is_ssl", False)) or not _has_epoll(),
        unpatched_modules=_unpatched_modules() if is_gevent else (),
    )


def _request_threads(worker: object, config: Any) -> int | None:
    modules = {base.__module__ for base in type(worker).__mro__}
    if "gunicorn.workers.gthread" in modules:
        return int(config.threads)
    return 1 if "gunicorn.workers.sync" in modules else None


_MUST_BE_PATCHED = ("select", "socket", "threading", "time")


def _unpatched_modules() -> tuple[str, ...]:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return _MUST_BE_PATCHED
    return tuple(name for name in _MUST_BE_PATCHED if not monkey.is_module_patched(name))


def time_to_stop_s() -> float:
    """How long the server lets a worker take for its end."""
    worker = gunicorn_worker()
    seconds = getattr(getattr(worker, "cfg", None), "graceful_timeout", math.inf)
    return float(seconds)


def stop_close_code() -> int:
    """What clients are told when this process ends: come back at once, or it is over."""
    is_reloaded = os.environ.get("WERKZEUG_RUN_MAIN") == "true"  # `flask run --debug`
    if is_reloaded or gunicorn_worker() is not None:
        return CloseCode.SERVICE_RESTART
    return CloseCode.GOING_AWAY


def server_name() -> str:
    """What the processes that serve one address have in common, and no others on this machine.

    The sockets that they listen on: gunicorn's stay the same over reloads, and when another master
    takes over. Any other server is one process.
    """
    listeners = getattr(gunicorn_worker(), "sockets", None) or ()
    inodes = sorted(os.fstat(listener.fileno()).st_ino for listener in listeners)
    if not inodes:
        return f"process {os.getpid()}"
    return f"sockets {inodes} since {_boot_id()}"


def _boot_id() -> str:
    """Numbers of sockets begin anew when the machine does."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""
