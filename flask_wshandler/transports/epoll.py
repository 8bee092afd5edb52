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

from .channel import RECHECK, Channel
from .handoff import make_decoy
from .pollers import Pollable, Pollers

if TYPE_CHECKING:
    import socket
    from typing import Protocol

    from ..protocol.connection import Connection
    from ..runtime.timer import Timer
    from .channel import Owner

    class _Socket(Protocol):
        def fileno(self) -> int: ...

        def close(self) -> None: ...

    class OnSocket(Pollable, Protocol):
        """A channel, or the other socket of a gateway."""

        @property
        def socket(self) -> _Socket: ...


_BATCH = 128
"""Sockets taken from the set at once. What waits in a batch is open to all pollers."""
_WAKE_AGAIN_S = 0.1
_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class EpollServer:
    """Serves connections on few threads. Linux; not where TLS or gevent hold the socket."""

    def __init__(self, timer: Timer, max_threads: int) -> None:
        """Raises OSError if it can't have its descriptors; then it has none of them."""
        self.timer = timer
        #: The timer's.
        self.due_tick: int | None = None
        with contextlib.ExitStack() as opened:
            self._epoll = select.epoll()
            opened.callback(self._epoll.close)
            #: For the servers that sockets are taken from.
            self.decoy = make_decoy()
            opened.callback(self.decoy.close)
            self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
            opened.callback(os.close, self._wake_fd)
            self._epoll.register(self._wake_fd, select.EPOLLIN)
            opened.pop_all()
        # Guards the writing to _wake_fd against its closing: its number may be another file's then.
        # Reentrant: garbage may be collected meanwhile, and its `__del__` may send something.
        self._wake_lock = threading.RLock()
        self._is_closed = False
        self._pollers = Pollers(self, max_threads)
        # Guarded by its own atomic operations: a key is added when the socket is adopted and
        # removed by the turn that releases it, before the descriptor can be used again.
        self._channels: dict[int, OnSocket] = {}

    @property
    def thread_count(self) -> int:
        """Threads for callbacks."""
        return self._pollers.thread_count

    def start(self) -> None:
        """Have a thread that serves. Raises RuntimeError if the system has none at this moment."""
        self._pollers.start()

    def adopt(
        self,
        sock: socket.socket,
        connection: Connection,
        received: bytes,
        owner: Owner,
    ) -> Channel:
        """Serve `connection` on `sock`, which is ours, from now on. Returns at once.

        `received` is what the peer had sent behind its handshake request. Raises OSError or
        RuntimeError for lack of something; then no callback is called, and `sock` is to be closed.
        """
        self.start()
        sock.setblocking(False)
        channel = Channel(self, connection, sock, owner, received)
        connection.attach(channel)
        # The socket may not be released before it is in the set: a poller may just bring an event
        # of the one that has had this number before.
        channel.hold_turn()
        self._channels[sock.fileno()] = channel
        owner.started(channel)
        try:
            self._epoll.register(sock.fileno(), _EVENTS)
        except BaseException:
            owner.finished(channel)
            channel.release()
            raise
        if channel.let_go_of_turn() or received:
            self._pollers.put(channel, RECHECK)
        return channel

    def watch(self, pollable: OnSocket) -> None:
        """Serve a socket beside that of its client. It is in its turn, or has not begun.

        Raises OSError or RuntimeError for lack of something.
        """
        self.start()
        fd = pollable.socket.fileno()
        self._channels[fd] = pollable
        try:
            self._epoll.register(fd, _EVENTS)
        except BaseException:
            self._channels.pop(fd, None)
            raise

    def wants_changed(self, pollable: Pollable) -> None:
        """Do nothing: all sockets are watched for everything."""

    def request_turn(self, pollable: Pollable, events: int) -> None:
        """Have a poller take the turn of a channel, or of what is like one."""
        self._pollers.put(pollable, events)

    def release(self, channel: OnSocket) -> None:
        """Take the channel's socket out of the set."""
        fd = channel.socket.fileno()
        if self._channels.pop(fd, None) is not None:
            with contextlib.suppress(OSError):  # the kernel forgets it when it is closed
                self._epoll.unregister(fd)

    def poll(self, seconds: float | None) -> list[tuple[OnSocket, int]]:
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
            if self._is_closed:
                return
            try:
                os.eventfd_write(self._wake_fd, count)
            except OSError:
                self.timer.wake(self, _WAKE_AGAIN_S)

    def on_time(self, now_s: float) -> None:
        """The timer: what could not be woken is woken now."""
        del now_s
        self.wake(1)

    def _take_wake(self) -> None:
        # Another poller was faster; or it is there at the next poll, as are the events behind it.
        with contextlib.suppress(OSError):
            os.eventfd_read(self._wake_fd)

    def stop(self) -> None:
        """End the threads. The connections have been closed before."""
        if self._pollers.stop():
            self._close()

    def reset_after_fork(self) -> None:
        """Close a forked child's copies, without a word to the peers, which are the parent's."""
        for channel in list(self._channels.values()):
            channel.socket.close()
        self._wake_lock = threading.RLock()  # a thread of the parent may have had it
        self._close()

    def _close(self) -> None:
        with self._wake_lock:
            if not self._is_closed:
                self._is_closed = True
                self._epoll.close()
                self.decoy.close()
                os.close(self._wake_fd)
