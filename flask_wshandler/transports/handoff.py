"""How a socket leaves the WSGI server. The only module that knows servers by their names.

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
import functools
import math
import os
import select
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import CloseCode, SocketUnreachable

SOCKET_KEY = "werkzeug.socket"
"""Under which a WSGI environ has a socket that the response's head is to be written to by us."""


@dataclasses.dataclass(frozen=True, slots=True)
class ServerSocket:
    """A server's connection to the client of the current request."""

    sock: socket.socket
    #: False where the server's own response head would break the handshake.
    server_writes_head: bool
    #: Why epoll can't have the socket; empty if it can.
    epoll_obstacle: str
    #: What the server holds of the request's body, behind which early frames may stand.
    _input: Any

    def take(self, decoy: socket.socket) -> tuple[socket.socket, bytes]:
        """Take the socket from the server, and what the server had read too much.

        After the server has sent the response's head. The socket is ours to close. Raises OSError
        when the decoy is closed.
        """
        taken = self.sock.dup()
        try:
            os.dup2(decoy.fileno(), self.sock.fileno(), inheritable=False)
        except BaseException:
            taken.close()
            raise
        return taken, self.early_bytes()

    def early_bytes(self) -> bytes:
        """What the client sent behind its handshake request and the server has read."""
        unreader = getattr(getattr(self._input, "reader", None), "unreader", None)
        if unreader is not None:  # gunicorn
            buffered: bytes = unreader.buf.getvalue()
            unreader.buf.seek(0)
            unreader.buf.truncate()
            return buffered
        peek = getattr(self._input, "peek", None)
        if peek is not None:  # Werkzeug: a BufferedReader, which reads if it has nothing
            self.sock.settimeout(0)
            with contextlib.suppress(ssl.SSLWantReadError):
                peeked: bytes = peek()
                return peeked
        return b""


def make_decoy() -> socket.socket:
    """What is left in the place of sockets that are taken, one for any number of them.

    What a server does to its copy changes nothing for others: there is no other end any more.
    """
    decoy, other_end = socket.socketpair()
    other_end.close()
    return decoy


def expect_no_other_request(start_response: object) -> None:
    """Have the server be done with its connection after this response.

    After a 101 gunicorn's gthread waits for the next request, as after a 304: it finds the end of
    the decoy in its poller and then in another thread, which is a twelfth of a connection's cost.
    Its response is known by its `start_response` only; where a middleware has put its own around
    that, gunicorn goes this way round.
    """
    response = getattr(start_response, "__self__", None)
    if _is_gunicorn(type(response)):  # type: ignore[arg-type]  # a class is hashable
        response.force_close()  # type: ignore[union-attr]  # of a package that need not be there


def find_server_socket(environ: Mapping[str, Any]) -> ServerSocket:
    """The socket of the request `environ`; raise `SocketUnreachable` if there is none to have."""
    sock = environ.get("gunicorn.socket")
    is_gunicorn = sock is not None
    if sock is None:
        sock = environ.get(SOCKET_KEY)
    if sock is None:
        raise SocketUnreachable(
            f"{_server_of(environ)} does not give its socket to the application; WebSockets need "
            "gunicorn (sync, gthread or gevent workers) or `flask run`"
        )
    return ServerSocket(sock, is_gunicorn, _epoll_obstacle(sock), environ.get("wsgi.input"))


def _server_of(environ: Mapping[str, Any]) -> str:
    software = environ.get("SERVER_SOFTWARE")
    return f"the server {software!r}" if software else "the server of this request"


def _epoll_obstacle(sock: socket.socket) -> str:
    if isinstance(sock, ssl.SSLSocket) or hasattr(sock, "pending"):
        return "TLS ends in the server, so the socket can't leave it"
    if type(sock).__module__.partition(".")[0] == "gevent":
        return "the worker is a gevent worker"
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
    worker = _gunicorn_worker()
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


def is_worker_stopping() -> bool:
    """Whether the gunicorn worker of this process has been told to stop.

    gunicorn's signal handlers are methods of its worker.
    """
    worker = _gunicorn_worker()
    return worker is not None and not getattr(worker, "alive", True)


def time_to_stop_s() -> float:
    """How long the server lets a worker take for its end."""
    worker = _gunicorn_worker()
    seconds = getattr(getattr(worker, "cfg", None), "graceful_timeout", math.inf)
    return float(seconds)


def stop_close_code() -> int:
    """What clients are told when this process ends: come back at once, or it is over."""
    is_reloaded = os.environ.get("WERKZEUG_RUN_MAIN") == "true"  # `flask run --debug`
    if is_reloaded or _gunicorn_worker() is not None:
        return CloseCode.SERVICE_RESTART
    return CloseCode.GOING_AWAY


def server_name() -> str:
    """What the processes that serve one address have in common, and no others on this machine.

    The sockets that they listen on: gunicorn's stay the same over reloads, and when another master
    takes over. Any other server is one process.
    """
    listeners = getattr(_gunicorn_worker(), "sockets", None) or ()
    inodes = sorted(os.fstat(listener.fileno()).st_ino for listener in listeners)
    if not inodes:
        return f"process {os.getpid()}"
    return f"sockets {inodes} since {_boot_id()}"


def _boot_id() -> str:
    """Numbers of sockets begin anew when the machine does."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


@functools.cache
def _is_gunicorn(kind: type) -> bool:
    # Somebody's own worker class is derived from one of gunicorn's.
    return any(base.__module__.startswith("gunicorn.") for base in kind.__mro__)


_seen: tuple[int, Any] | None = None


def _gunicorn_worker() -> Any:  # of a package that need not be there
    """The gunicorn worker that this process is, found by its signal handler; or None.

    Once found it is remembered: at the very end the signals have other handlers, and asking for
    them takes 5 µs.
    """
    global _seen
    if _seen is not None and _seen[0] == os.getpid():
        return _seen[1]
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if _is_gunicorn(type(worker)):  # type: ignore[arg-type]  # a class is hashable
        _seen = os.getpid(), worker
        return worker
    return None
