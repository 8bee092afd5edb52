"""What a WSGI server knows of the request that it serves, found in the server's own objects.

The environ and `start_response` that come to an app may be a middleware's. Whether the head of the
response has left, what the client has sent behind its request, and which worker this process is
must be known all the same. The server's functions have called the app, so their frames are on the
call stack, and have what is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import ssl
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from ..runtime.first_use import MadeOnFirstUse

if TYPE_CHECKING:
    import socket


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
    """One of gunicorn's."""

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
    """One of Werkzeug's development server."""

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
        """Nothing: what it still writes goes into the decoy, or to a socket that is shut down."""

    def trailing_data(self) -> bytes:
        self._handler.connection.settimeout(0)  # `peek` reads if it has nothing
        with contextlib.suppress(ssl.SSLWantReadError):
            data: bytes = self._handler.rfile.peek()
            return data
        return b""


class NoExchange:
    """Of a socket that has come with the environ, and that no server writes to."""

    reads_to_end = False

    def head(self) -> Head | None:
        return None

    def end(self) -> None:
        """Nothing: there is no server."""

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
            if _is_of_gunicorn(response) and getattr(response, "sock", None) is sock:
                _note_worker(frame.f_locals.get("self"))
                return GunicornExchange(response)
        elif code.co_name == "run_wsgi" and "status_sent" in code.co_cellvars:
            handler, write = frame.f_locals["self"], frame.f_locals.get("write")
            if handler.connection is sock and write is not None:
                cells = zip(write.__code__.co_freevars, write.__closure__, strict=True)
                return WerkzeugExchange(handler, dict(cells))
    return None


def _frames() -> Iterator[FrameType]:
    """Those below this one, and then those of the other threads and of greenlets that wait."""
    yield from _below(sys._getframe())
    greenlet = sys.modules.get("greenlet")
    current = None if greenlet is None else greenlet.getcurrent()
    while current is not None:
        # gevent's greenlets know by a weak reference where they were made.
        current = getattr(current, "spawning_greenlet", _nobody)()
        yield from _below(getattr(current, "gr_frame", None))
    frames = sys._current_frames()
    yield from _below(frames.pop(getattr(_threads.local, "calling", 0), None))
    for frame in frames.values():
        yield from _below(frame)


class _Threads:
    """What each thread knows of itself."""

    local = MadeOnFirstUse(lambda _: threading.local())


_threads = _Threads()


def note_calling_thread(ident: int) -> None:
    """The server's thread `ident` waits for this one, which is in its request.

    It would be found without that, but one after thousands of others.
    """
    _threads.local.calling = ident


def _nobody() -> None: ...


def _below(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_of_gunicorn(found: object) -> bool:
    """Whether the class of an object is one of gunicorn's, or derived from one."""
    return any(base.__module__.startswith("gunicorn.") for base in type(found).__mro__)


_WORKER_SIGNALS = ("SIGTERM", "SIGQUIT", "SIGINT", "SIGABRT", "SIGUSR1", "SIGWINCH")
"""Those that gunicorn's workers handle by methods of theirs. An app may have put a handler of its
own in the place of some."""

_worker: tuple[int, Any] | None = None
"""The worker that was found, and the process that it was found in."""


def gunicorn_worker() -> Any:  # of a package that need not be there
    """The gunicorn worker that this process is; None in another server, or in none.

    Once found it is remembered: at the very end the signals have other handlers, and asking for
    them takes 5 µs each. Where the app has taken all signals for itself, it is known from the first
    handshake on.
    """
    if _worker is not None and _worker[0] == os.getpid():
        return _worker[1]
    for name in _WORKER_SIGNALS:
        number = getattr(signal, name, None)
        handler = None if number is None else signal.getsignal(number)
        if _note_worker(getattr(handler, "__self__", None)):
            return handler.__self__  # type: ignore[union-attr]  # it has one
    return None


def _note_worker(found: object) -> bool:
    global _worker
    if not _is_of_gunicorn(found) or not hasattr(found, "alive"):
        return False
    _worker = os.getpid(), found
    return True


def is_stopping() -> bool:
    """Whether the gunicorn worker of this process has been told to stop.

    Its own signal handler says so by `alive`. An app's handler in its place may keep the signal to
    itself: then the master has closed the sockets that it listens on, and waits for its workers.
    """
    worker = gunicorn_worker()
    return worker is not None and (not worker.alive or _is_left_by_master(worker))


def _is_left_by_master(worker: Any) -> bool:
    handler = signal.getsignal(signal.SIGTERM)
    if getattr(handler, "__self__", None) is worker or worker.cfg.reuse_port:
        return False  # it knows by itself; its listening sockets are none of the master's
    directory = f"/proc/{worker.ppid}/fd"
    try:
        listeners = {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in worker.sockets}
        held = {os.readlink(f"{directory}/{number}") for number in os.listdir(directory)}
    except OSError:  # of another user, or not on Linux, or a file has just been closed
        return False
    return bool(listeners) and not listeners & held
