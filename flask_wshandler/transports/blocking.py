"""One socket, served by the thread or greenlet of its own request.

For sockets that epoll can't have: TLS that ends in the server (the state is in the SSLSocket),
gevent (where a greenlet costs little, and epoll would block the hub), systems without epoll.
The socket stays the server's: it is shut down at the end, and the server closes it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from .channel import RECHECK, Channel, at_end
from .readiness import FAILED, HUNG_UP, INVALID, READABLE, WRITABLE, WakeUp, new_watch

if TYPE_CHECKING:
    from ..protocol.connection import Connection
    from ..runtime.timer import Timer
    from .channel import Owner

_HANG_UP = FAILED | HUNG_UP | INVALID


class BlockingServer:
    """Serves a connection until it is over."""

    thread_count = 0
    """Callbacks run in the server's threads."""

    def __init__(self, timer: Timer) -> None:
        self.timer = timer

    def serve(
        self,
        sock: socket.socket,
        connection: Connection,
        received: bytes,
        owner: Owner,
    ) -> None:
        """Serve `connection` on `sock`; returns when the socket has been shut down."""
        sock.settimeout(0)
        channel = _BlockingChannel(self, connection, sock, owner, received)
        connection.attach(channel)
        owner.started(channel)
        channel.run()

    def request_turn(self, channel: Channel, events: int) -> None:
        """Have the channel's own thread take its turn."""
        assert isinstance(channel, _BlockingChannel)
        channel.add_events(events)

    def release(self, channel: Channel) -> None:
        """Do nothing: the channel's thread sees that it is released."""

    def stop(self) -> None:
        """Do nothing: the threads are the server's and end with their connections."""

    def reset_after_fork(self) -> None:
        """Do nothing: a forked child does not run the parent's threads."""


class _BlockingChannel(Channel):
    __slots__ = ("_io_lock", "_wake_lock", "_wake_up")

    ends_with_thread = True

    def __init__(
        self,
        host: BlockingServer,
        connection: Connection,
        sock: socket.socket,
        owner: Owner,
        early: bytes,
    ) -> None:
        super().__init__(host, connection, sock, owner)
        # An SSLSocket must not be read and written by two threads at the same time. Reentrant, as
        # the next: a `__del__` or a signal handler may send something amid a read.
        self._io_lock = threading.RLock()
        self._receive = self._receive_locked
        if early:
            self._receive = self._first_receive(early)
        # Guards the setting of _wake_up against its closing.
        self._wake_lock = threading.RLock()
        self._wake_up = WakeUp()

    def add_events(self, events: int) -> None:
        """Have the channel's thread look at `events`. Any thread."""
        self._add_events(events)
        self._wake()

    def run(self) -> None:
        """Take turns until the socket is released."""
        watch = new_watch()
        watch.register(self._wake_up, READABLE)
        watched = None
        try:
            self.serve(RECHECK)
            while not self.is_released:
                wanted = self._wanted_events()
                if wanted != watched:
                    watched = wanted
                    watch.register(self.socket, wanted)
                self.serve(self._ready_events(watch.wait(None)))
        except BaseException:
            self._give_up()
            raise
        finally:
            self._close_wake_up()

    def _give_up(self) -> None:
        """Run the last callback: this thread ends by what is no error of the connection's.

        A greenlet that is killed, a KeyboardInterrupt, a signal handler's SystemExit; perhaps in
        the middle of a turn.
        """
        self.connection.abort()
        if not self._free:
            self._free.append(None)
        self.serve(RECHECK)

    def _serve_events(self, events: int) -> None:
        super()._serve_events(events)
        # A peer that sends without end leaves nothing to wait for, and greenlets change only where
        # one waits.
        time.sleep(0)

    def write(self, data: bytes | memoryview) -> int:
        with self._io_lock:
            taken = super().write(data)
        if taken < len(data):
            self._wake()  # to wait until more can be written
        return taken

    def _receive_locked(self, size: int) -> bytes:
        with self._io_lock:
            try:
                return self.socket.recv(size)
            except ssl.SSLEOFError:
                return b""  # the peer ended the stream without TLS's own goodbye

    def release(self) -> None:
        if self.is_released:
            return
        with self._wake_lock:
            self.is_released = True
        self._host.timer.cancel(self)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._receive = at_end  # and no reference to ourselves
        self.connection.detach()
        self._owner.released(self)

    def _wake(self) -> None:
        """Get the channel's thread out of its wait."""
        with self._wake_lock:
            if self._free and not self.is_released:
                self._wake_up.set()

    def _wanted_events(self) -> int:
        events = 0
        if self._is_starved:
            return events
        if self.connection.wants_data or (self.has_finished and not self.has_peer_ended):
            events |= READABLE
        if self.connection.send_queue.queued_bytes:
            events |= WRITABLE
        return events

    def _ready_events(self, ready: list[tuple[int, int]]) -> int:
        events = 0
        for descriptor, found in ready:
            if descriptor == self._wake_up.fileno():
                self._wake_up.clear()
            else:
                # RECHECK: read to the end, because TLS holds back what can't be seen from outside.
                events |= found | RECHECK
                if found & _HANG_UP and not self.connection.wants_data and not self.has_finished:
                    self.connection.abort()
        return events

    def _close_wake_up(self) -> None:
        with self._wake_lock:
            self.is_released = True
            self._wake_up.close()
