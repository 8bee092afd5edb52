"""Many sockets on one epoll set, served by the pollers.

Every socket is registered once, edge-triggered for reading and writing, so a write needs no
further system call, and adding it gives the connection its first turn: a fresh socket is writable.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import TYPE_CHECKING

from .channel import LOOK, Channel
from .handoff import make_decoy
from .pollers import Pollers

if TYPE_CHECKING:
    import socket

    from ..connection import Connection
    from ..timer import Timer
    from .channel import Owner

_BATCH = 128
"""Sockets taken from the set at once. What waits in a batch is open to all pollers."""


class EpollTransport:
    """Serves connections on few threads. Linux; not where TLS or gevent hold the socket."""

    def __init__(self, timer: Timer, max_threads: int) -> None:
        self.timer = timer
        self._epoll = select.epoll()
        #: For the servers that sockets are taken from.
        self.decoy = make_decoy()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        # Guards the writing to _wake_fd against its closing: its number may be another file's then.
        self._wake_lock = threading.Lock()
        self._is_closed = False
        self._pollers = Pollers(self, max_threads)
        # Guarded by its own atomic operations: a key is added by who adopts the socket and
        # removed by the turn that releases it, before the descriptor can be used again.
        self._channels: dict[int, Channel] = {}

    @property
    def thread_count(self) -> int:
        """Threads for callbacks."""
        return self._pollers.thread_count

    def adopt(
        self,
        sock: socket.socket,
        connection: Connection,
        received: bytes,
        owner: Owner,
    ) -> Channel:
        """Serve `connection` on `sock`, which is ours, from now on. Returns at once.

        `received` is what the peer had sent behind its handshake request.
        """
        sock.setblocking(False)
        channel = Channel(self, connection, sock, owner, received)
        connection.attach(channel)
        self._pollers.start()
        # Nobody may release the socket before it is in the set: a poller may just bring an event
        # of the one that has had this number before.
        channel.hold_turn()
        self._channels[sock.fileno()] = channel
        owner.started(channel)
        try:
            self._epoll.register(
                sock.fileno(),
                select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET,
            )
        except BaseException:
            del self._channels[sock.fileno()]
            owner.finished(channel)
            owner.released(channel)
            raise
        if channel.let_go_of_turn() or received:
            self._pollers.put(channel, LOOK)
        return channel

    def request_turn(self, channel: Channel, events: int) -> None:
        """Have a poller take the channel's turn."""
        self._pollers.put(channel, events)

    def release(self, channel: Channel) -> None:
        """Take the channel's socket out of the set."""
        fd = channel.socket.fileno()
        if self._channels.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def poll(self, seconds: float | None) -> list[tuple[Channel, int]]:
        """Wait for sockets that are ready."""
        get = self._channels.get
        polled = self._epoll.poll(seconds, _BATCH)
        found = [(channel, events) for fd, events in polled if (channel := get(fd)) is not None]
        if len(found) < len(polled):
            self._take_wake()  # or a channel that another poller has just released
        return found

    def wake(self, count: int) -> None:
        """Make so many calls of `poll` return."""
        with self._wake_lock:
            if not self._is_closed:
                os.eventfd_write(self._wake_fd, count)

    def _take_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # another poller was faster
            os.eventfd_read(self._wake_fd)

    def stop(self) -> None:
        """End the threads. The connections have been closed before."""
        if self._pollers.stop():
            self._close()

    def forget(self) -> None:
        """In a forked child: close our copies, without a word to the peers, who are not ours."""
        for channel in list(self._channels.values()):
            channel.socket.close()
        self._wake_lock = threading.Lock()  # a thread of the parent may have had it
        self._close()

    def _close(self) -> None:
        with self._wake_lock:
            if not self._is_closed:
                self._is_closed = True
                self._epoll.close()
                self.decoy.close()
                os.close(self._wake_fd)
