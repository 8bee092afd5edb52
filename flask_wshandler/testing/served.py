"""The engine of an app under test: the real one, which says when it is done, and can rest.

A socket reaches it as a server's does: in the WSGI environ.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

from ..handlers.flask_sock import FunctionHandler
from ..transports.engine import Engine
from ..transports.readiness import READABLE, WRITABLE, new_watch

if TYPE_CHECKING:
    import socket

    from ..protocol.connection import Connection
    from ..settings import Settings
    from ..transports.channel import Channel
    from ..transports.handoff import ServerSocket
    from .clock import Clock


class Served:
    """The server's side of one client."""

    def __init__(self) -> None:
        # Each written once, by the engine.
        self._channel: Channel | None = None
        self._function: FunctionHandler | None = None
        self._thread: threading.Thread | None = None
        #: Whether the app has accepted the client.
        self.is_accepted = False
        #: Whether the last callback has run.
        self.has_finished = False
        self._is_released = threading.Event()

    @property
    def is_idle(self) -> bool:
        """Whether all is handled, and no turn is due to write what is queued.

        What the client has no room for is not waited for: it may be silent, or slow. What it has
        made room for is, after a close, too.
        """
        channel = self._channel
        if (
            channel is not None
            and channel.connection.send_queue.queued_bytes
            and _is_ready(channel.socket, WRITABLE)
        ):
            return False
        return self.has_handled_all

    @property
    def has_handled_all(self) -> bool:
        """Whether all that the client has sent, and all that time has brought, has been handled.

        Each of these is unmade in a turn only, so looking for a turn last misses nothing but what
        a turn has left to be written, together with that of others.
        """
        channel = self._channel
        if channel is None or self._is_released.is_set():
            return channel is not None
        connection = channel.connection
        if not (channel.is_serving or channel.has_finished) or connection.check_is_due:
            return False
        if connection.is_closed and not channel.has_finished:
            return False
        if connection.wants_data and (connection.is_overdue or _is_ready(channel.socket, READABLE)):
            return False
        return channel.is_idle and not connection.is_corked

    @property
    def runs_a_function(self) -> bool:
        """Whether a flask-sock function has not returned."""
        return self._function is not None and self._function.is_running

    @property
    def taken_bytes(self) -> int | None:
        """How much the client has taken, while there is more for it; else None."""
        connection = None if self._channel is None else self._channel.connection
        if connection is None or not connection.send_queue.queued_bytes:
            return None
        return connection.sent_bytes

    def wait_until_released(self, seconds: float) -> bool:
        """Wait until the socket is closed. False if it is not after so much real time."""
        if not self._is_released.wait(min(seconds, threading.TIMEOUT_MAX)):
            return False
        if self._thread is not None:
            self._thread.join()
        return True

    # What the engine tells.

    def accepted(self) -> None:
        """The client's socket has been taken."""
        self.is_accepted = True

    def started(self, channel: Channel) -> None:
        """A channel serves the client."""
        self._channel = channel
        # Kept, as the connection has nobody's callbacks after the last one.
        handler = getattr(channel.connection.callbacks, "handler", None)
        self._function = handler if isinstance(handler, FunctionHandler) else None

    def served_by(self, thread: threading.Thread) -> None:
        """The client has a thread of its own."""
        self._thread = thread

    def finished(self) -> None:
        """The last callback has run."""
        self.has_finished = True

    def released(self) -> None:
        """The socket is closed."""
        self._is_released.set()


class EngineUnderTest(Engine):
    """Serves the server's ends of socket pairs."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings, clock, clock.new_timer)
        # Each key is written and taken by one handshake.
        self._expected: dict[socket.socket, Served] = {}
        # Each is written by its handshake, and taken when its socket is closed.
        self._served: dict[Connection, Served] = {}

    def expect(self, sock: socket.socket) -> Served:
        """The account of the client whose handshake will bring `sock`, the server's end."""
        served = self._expected[sock] = Served()
        return served

    def forget_expected(self, sock: socket.socket) -> None:
        """The handshake is over."""
        self._expected.pop(sock, None)

    def adopt(self, server_socket: ServerSocket, connection: Connection, head: bytes) -> None:
        """Serve the socket on the pollers."""
        served = self._served[connection] = self._expected[server_socket.sock]
        try:
            super().adopt(server_socket, connection, head)
        except BaseException:
            self._served.pop(connection, None)
            raise
        served.accepted()

    def serve(self, server_socket: ServerSocket, connection: Connection, head: bytes) -> None:
        """Serve the socket as a request's own thread would, which the test's is not."""
        served = self._served[connection] = self._expected[server_socket.sock]
        # The test closes the end that it has given.
        kept = dataclasses.replace(server_socket, sock=server_socket.sock.dup())
        serve = super().serve

        def run() -> None:
            with kept.sock:
                serve(kept, connection, head)

        thread = threading.Thread(target=run, name="wshandler-blocking", daemon=True)
        served.served_by(thread)
        thread.start()
        served.accepted()

    def started(self, channel: Channel) -> None:
        """A channel is served."""
        super().started(channel)
        self._served[channel.connection].started(channel)

    def finished(self, channel: Channel) -> None:
        """A channel has run its last callback."""
        super().finished(channel)
        self._served[channel.connection].finished()

    def released(self, channel: Channel) -> None:
        """A channel has closed its socket."""
        super().released(channel)
        self._served.pop(channel.connection).released()

    def busy(self) -> list[Served]:
        """The clients that are not idle."""
        return [served for served in list(self._served.values()) if not served.is_idle]

    def traces(self) -> list[tuple[object, ...]]:
        """What a turn of one client may have changed for another, in so far as it gives it work."""
        return [
            (
                connection.sent_messages,
                connection.sent_bytes,
                connection.received_bytes,
                connection.wants_data,
                connection.is_closed,
                connection.close_code,
            )
            for connection in list(self._served)
        ]

    def rest(self) -> None:
        """End the threads until the next connection, if there is none."""
        with self._lock:
            if self._open or self._lingering:
                return
            epoll, self._epoll = self._epoll, None
        if epoll is not None:
            epoll.stop()

    def stop(self) -> None:
        """End everything without waiting for clients, who have been closed before."""
        self.stop_now()
        super().stop()

    def _watch_for_stop(self) -> None:
        """Nothing: the process is the test's."""


def _is_ready(sock: socket.socket, events: int) -> bool:
    watch = new_watch()
    try:
        watch.register(sock, events)
    except ValueError:  # it has been closed in this moment
        return False
    return bool(watch.wait(0))
