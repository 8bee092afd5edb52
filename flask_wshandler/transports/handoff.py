"""How a socket leaves the WSGI server.

gunicorn and Werkzeug give their socket in the WSGI environ. To keep it beyond the request, it is
duplicated, and the server's own descriptor is replaced by a decoy: one end of a socket pair whose
other end is closed. The server then shuts down and closes the decoy, and its counters of
connections stay right. Duplicating alone is not enough (since gunicorn 26 the server calls
`shutdown`, which acts on the connection and not on the descriptor), and detaching the socket makes
gunicorn 27 count the connection down twice.

The environ and `start_response` that come to an app may be a middleware's. Whether the head of the
response has left, and what the client has sent behind its request, must be known all the same. The
server's functions have called the app, so their frames are on the call stack, and have what is
asked for.

Only this module and `wsgi_server` know servers by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from ..protocol.errors import SocketUnreachable
from ..runtime.first_use import MadeOnFirstUse
from .wsgi_server import gunicorn_worker, has_epoll, is_of_gunicorn, note_worker, server_process

SOCKET_KEY = "werkzeug.socket"
"""Under which a WSGI environ has a socket that the response's head is to be written to by us."""

_LIBRARIES = ("socket", "ssl", "gevent")
"""Where the sockets come from that are known to work."""

_WHAT_CAN = "WebSockets need gunicorn (sync, gthread or gevent workers) or `flask run`"


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """What a server has been told to answer, by the app and all middlewares."""

    #: "101 Switching Protocols".
    status: str
    headers: list[tuple[str, str]]
    #: Whether the server has written it to the socket.
    has_left: bool


class Exchange(Protocol):
    """A request and its response, as the server has them."""

    reads_to_end: bool
    """Whether the server throws away what the client sends once the response has been iterated."""

    def head(self) -> Head | None:
        """The response's head; None as long as `start_response` has not come to the server."""

    def end(self) -> None:
        """The head is written and the socket is taken: have the server do nothing more."""

    def trailing_data(self) -> bytes:
        """What the client has sent behind its request and the server has read."""


class GunicornExchange:
    """The exchange of a gunicorn worker."""

    reads_to_end = False

    def __init__(self, response: Any) -> None:  # of a package that need not be there
        self._response = response

    def head(self) -> Head | None:
        response = self._response
        if response.status is None:
            return None
        return Head(response.status, list(response.headers), response.headers_sent)

    def end(self) -> None:
        self._response.headers_sent = True
        self._response.chunked = False  # the body's end is ours to say
        # After a 101 gthread waits for the next request, as after a 304: it finds the end of the
        # decoy in its poller and then in another thread, a twelfth of a connection's cost.
        self._response.force_close()

    def trailing_data(self) -> bytes:
        buffer = self._response.req.unreader.buf
        data: bytes = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return data


class WerkzeugExchange:
    """The exchange of Werkzeug's development server."""

    reads_to_end = True

    def __init__(self, handler: Any, cells: dict[str, Any]) -> None:
        """`cells` are the variables of its function `write`."""
        self._handler = handler
        self._cells = cells

    def head(self) -> Head | None:
        status = self._cells["status_set"].cell_contents
        if status is None:
            return None
        headers = self._cells["headers_set"].cell_contents
        return Head(status, list(headers), self._cells["status_sent"].cell_contents is not None)

    def end(self) -> None:
        """Do nothing: what is still written goes into the decoy, or to a shut down socket."""

    def trailing_data(self) -> bytes:
        self._handler.connection.settimeout(0)  # `peek` reads if it has nothing
        with contextlib.suppress(ssl.SSLWantReadError):
            data: bytes = self._handler.rfile.peek()
            return data
        return b""


class NoExchange:
    """The exchange of a socket that has come with the environ, and that no server writes to."""

    reads_to_end = False

    def head(self) -> Head | None:
        return None

    def end(self) -> None:
        """Do nothing: there is no server."""

    def trailing_data(self) -> bytes:
        return b""


def find_exchange(sock: socket.socket) -> Exchange | None:
    """The exchange of the server that this call comes from, on `sock`; None if there is none.

    A middleware may have the app called in another thread or greenlet, while the server's waits.
    """
    for frame in _frames():
        code = frame.f_code
        if "resp" in code.co_varnames:
            response = frame.f_locals.get("resp")
            if is_of_gunicorn(response) and getattr(response, "sock", None) is sock:
                note_worker(frame.f_locals.get("self"))
                return GunicornExchange(response)
        elif code.co_name == "run_wsgi" and "status_sent" in code.co_cellvars:
            handler, write = frame.f_locals["self"], frame.f_locals.get("write")
            if handler.connection is sock and write is not None:
                cells = zip(write.__code__.co_freevars, write.__closure__, strict=True)
                return WerkzeugExchange(handler, dict(cells))
    return None


def _frames() -> Iterator[FrameType]:
    """The frames below this one, then those of greenlets and of other threads that wait.

    A thread waits in a function of `threading`: for a lock, a condition, an event, a future.
    """
    yield from _below(sys._getframe())
    greenlet = sys.modules.get("greenlet")
    current = None if greenlet is None else greenlet.getcurrent()
    while current is not None:
        # gevent's greenlets know by a weak reference where they were made.
        current = getattr(current, "spawning_greenlet", _nobody)()
        yield from _below(getattr(current, "gr_frame", None))
    yield from getattr(_threads.local, "frames", ())
    for frame in sys._current_frames().values():
        # One that runs does not wait for us, and Python does not bear a look at frames that go:
        # 3.11 was seen to crash by it.
        if frame.f_code.co_filename == threading.__file__:
            yield from _below(frame)


class _Threads:
    """The frames of a server's thread that waits for a thread, for that."""

    local = MadeOnFirstUse(lambda _: threading.local())


_threads = _Threads()


def frames_here() -> list[FrameType]:
    """The frames of this thread, in which a server's are, for a thread that takes over its request.

    Only a thread itself can look: another one's come and go meanwhile, and Python 3.11 was seen to
    take anything for a frame then.
    """
    return list(_below(sys._getframe()))


def note_frames(frames: Sequence[FrameType]) -> None:
    """The server's thread waits for this one, which is in its request, and has these frames."""
    _threads.local.frames = frames


def _nobody() -> None: ...


def _below(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


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
    """Make what is left in the place of sockets that are taken, one for any number of them.

    What a server does to its copy changes nothing for others: there is no other end any more.
    """
    decoy, other_end = socket.socketpair()
    other_end.close()
    return decoy


def find_socket(environ: Mapping[str, Any]) -> socket.socket | None:
    """The socket that the request `environ` has come by; None if the server does not give it."""
    sock: socket.socket | None = environ.get("gunicorn.socket") or environ.get(SOCKET_KEY)
    return sock


def find_server_socket(environ: Mapping[str, Any]) -> ServerSocket:
    """The socket of the request `environ`; raise `SocketUnreachable` if there is none to have."""
    sock = find_socket(environ)
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
    # Without a server nobody's frames are to be looked for: those of threads that run are not safe
    # to walk along.
    exchange = find_exchange(sock) if _server_software(environ) else None
    if exchange is None and _server_software(environ):
        raise SocketUnreachable(
            f"{_server_of(environ)} can't be asked about its response, because something runs the "
            "app in a greenlet of its own; call the app in the one that the server calls"
        )
    return ServerSocket(sock, exchange or NoExchange(), _epoll_obstacle(environ, sock))


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
    return "" if has_epoll() else "this system has no epoll"
