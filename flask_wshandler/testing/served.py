"""The engine of an app under test: the real one, which says when it is done, and can rest.

A socket reaches it as a server's does: in the WSGI environ.
"""

from __future__ import annotations

import dataclasses
import threading
import weakref
from typing import TYPE_CHECKING

from ..handlers.flask_sock import FunctionHandler
from ..resume.leg import Leg
from ..resume.resumable import ResumableConnection
from ..resume.stream_leg import StreamLeg
from ..transports.engine import Engine
from ..transports.readiness import READABLE, WRITABLE, new_watch

if TYPE_CHECKING:
    import socket

    from ..protocol.connection import Connection
    from ..settings import Settings
    from ..transports.channel import Channel
    from ..transports.engine import Away
    from ..transports.handoff import ServerSocket
    from .clock import Clock


_LAST_TURN_S = 1.0


class Lifetime:
    """That of a handler, over all network connections of its client."""

    #: For whoever waits for the turn in which a handler ends whose client is away.
    taken_bytes = None

    def __init__(self, lasting: object = None) -> None:
        """`lasting` is what the client could come back to."""
        #: Whether the last callback has run. Written once, by the engine.
        self.has_ended = False
        #: Whether the client will not come back.
        self.is_left = False
        # Weak: it has the handler, and that the app.
        self._lasting = (
            weakref.ref(lasting) if isinstance(lasting, ResumableConnection) else _nothing
        )

    def leave(self) -> None:
        """Have the client not waited for, if it is away, or as soon as it is."""
        self.is_left = True
        self.expire()

    def expire(self) -> None:
        """End the handler, if its client is away."""
        lasting = self._lasting()
        if lasting is not None:
            lasting.expire()


class Served:
    """The server's side of one network connection of a client."""

    def __init__(self) -> None:
        # Each written by the engine.
        self._channel: Channel | None = None
        self._function: FunctionHandler | None = None
        self._thread: threading.Thread | None = None
        #: Whether the app has accepted the client.
        self.is_accepted = False
        #: Whether the last callback that this network connection can bring has run.
        self.has_finished = False
        self._lifetime = Lifetime()
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
        if self._is_released.is_set():
            return True
        if channel is None:
            return False
        connection = channel.connection
        if not (channel.is_serving or channel.has_finished) or connection.check_is_due:
            return False
        if connection.is_closed and not channel.has_finished:
            return False
        if connection.wants_data and (connection.is_overdue or _is_ready(channel.socket, READABLE)):
            return False
        if isinstance(connection, StreamLeg) and not connection.is_closed and connection.has_posted:
            return False
        return channel.is_idle and not connection.is_corked

    @property
    def has_ended(self) -> bool:
        """Whether the last callback has run: the client is not there, and not waited for."""
        return self._lifetime.has_ended

    def leave(self) -> None:
        """Have the client not waited for: it will not come back."""
        self._lifetime.leave()

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

    def is_of(self, lifetime: Lifetime) -> None:
        """It is known which handler the client has."""
        self._lifetime = lifetime

    def started(self, channel: Channel) -> None:
        """A channel serves the client."""
        self._channel = channel
        # Kept, as the connection has nobody's callbacks after the last one.
        handler = getattr(channel.connection.callbacks, "handler", None)
        self._function = handler if isinstance(handler, FunctionHandler) else None

    def served_by(self, thread: threading.Thread) -> None:
        """The client has a thread of its own."""
        self._thread = thread

    def finished(self, *, ends_client: bool) -> None:
        """The last callback has run that comes by this network connection, or at all."""
        if ends_client:
            self._lifetime.has_ended = True
        self.has_finished = True

    def released(self) -> None:
        """The socket is closed."""
        self._is_released.set()
        self._channel = None  # which has the handler


class EngineUnderTest(Engine):
    """Serves the server's ends of socket pairs."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings, clock, clock.new_timer)
        # Each key is written and taken by one handshake.
        self._expected: dict[socket.socket, Served] = {}
        # Each is written by its handshake, and taken when its socket is closed.
        self._served: dict[Connection, Served] = {}
        # Of clients that can come back.
        self._lifetimes: weakref.WeakKeyDictionary[object, Lifetime] = weakref.WeakKeyDictionary()
        #: Those whose last callback is due, and no network connection brings it.
        self._ending: set[Lifetime] = set()

    def expect(self, sock: socket.socket) -> Served:
        """The account of the client whose handshake will bring `sock`, the server's end."""
        served = self._expected[sock] = Served()
        return served

    def expect_in_place_of(
        self, sock: socket.socket, other: EngineUnderTest, known: socket.socket
    ) -> None:
        """The client whom `other` knows by the socket `known` will be served here, on `sock`."""
        self._expected[sock] = other._expected[known]

    def forget_expected(self, sock: socket.socket) -> None:
        """The handshake is over."""
        served = self._expected.pop(sock, None)
        for each, known in list(self._expected.items()):
            if known is served:
                self._expected.pop(each, None)

    def take(self, server_socket: ServerSocket, head: bytes) -> tuple[socket.socket, bytes]:
        """Take the socket out of its request."""
        sock, early = super().take(server_socket, head)
        self._expected[sock] = self._expected[server_socket.sock]
        return sock, early

    def adopt_taken(self, sock: socket.socket, connection: Connection, early: bytes) -> None:
        """Serve the socket on the pollers."""
        served = self._expect_to_serve(connection, sock)
        try:
            super().adopt_taken(sock, connection, early)
        except BaseException:
            self._served.pop(connection, None)
            raise
        served.accepted()

    def _expect_to_serve(self, connection: Connection, sock: socket.socket) -> Served:
        served = self._served[connection] = self._expected[sock]
        if isinstance(connection, Leg):
            lasting = connection.lasting
            served.is_of(self._lifetimes.setdefault(lasting, Lifetime(lasting)))
        return served

    def serve(self, server_socket: ServerSocket, connection: Connection, head: bytes) -> None:
        """Serve the socket as a request's own thread would, which the test's is not."""
        served = self._expect_to_serve(connection, server_socket.sock)
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
        connection = channel.connection
        self._served[connection].finished(ends_client=connection.ends_client)

    def released(self, channel: Channel) -> None:
        """A channel has closed its socket."""
        super().released(channel)
        self._served.pop(channel.connection).released()

    def request_turn_of(self, away: Away) -> None:
        """A handler is to end whose client is away."""
        self._ending.add(self._lifetimes[away])
        super().request_turn_of(away)

    def went_away(self, away: Away) -> None:
        """A client is lost."""
        super().went_away(away)
        lifetime = self._lifetimes[away]
        if lifetime.is_left:
            lifetime.expire()

    def is_away_no_more(self, away: Away) -> None:
        """A client is back, or its handler has ended."""
        super().is_away_no_more(away)
        lifetime = self._lifetimes[away]
        if lifetime in self._ending:
            lifetime.has_ended = True
            self._ending.discard(lifetime)

    def busy(self) -> list[Served | Lifetime]:
        """The clients that are not idle."""
        served = [served for served in list(self._served.values()) if not served.is_idle]
        return [*served, *self._ending]

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
            if not self._is_empty():
                return
            epoll, self._epoll = self._epoll, None
        if epoll is not None:
            epoll.stop()
        self._turns.join(_LAST_TURN_S)

    def stop(self) -> None:
        """End everything without waiting for clients, who have been closed before."""
        self.stop_now()
        super().stop()

    def _watch_for_stop(self) -> None:
        """Nothing: the process is the test's."""


def _nothing() -> None: ...


def _is_ready(sock: socket.socket, events: int) -> bool:
    watch = new_watch()
    try:
        watch.register(sock, events)
    except ValueError:  # it has been closed in this moment
        return False
    return bool(watch.wait(0))
