"""The other socket of a gateway: to a service, beside the client's.

Invariants: one thread at a time is in a link's turn, which connects, reads and ends; whoever comes
meanwhile leaves its events behind. `write` may come from the client's turn at any time. Of what the
client has sent no more waits than `max_buffer_size` and one message, of what the service has sent
nothing: it is read when the client has taken all.

After the client's end what it has sent is still written, then our end of the stream is closed, and
what comes is thrown away until the service ends it, too: closing at once would answer it with a
reset, by which the service may lose what it has not read yet.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ..runtime import faults, logs
from .channel import PEER_ENDED, RECHECK, WOULD_BLOCK
from .readiness import FAILED, HUNG_UP, INVALID, READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..runtime.timer import Timer

logger = logs.logger(__package__)


class _NoSocket:
    """In the place of a socket that there is not yet."""

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


Address = tuple[socket.AddressFamily, Any]
"""A family, and an address of it as `connect` takes it."""

_MOST_READ_BYTES = 64 * 1024
"""What is asked for at once, and so the largest message to the client."""
_READS_PER_TURN = 3
"""Then it is the others' turn."""
_LINGER_S = 5.0
"""How long a service is waited for that takes nothing, or does not end its stream."""
_MOST_DISCARDED_BYTES = 4 * 2**20
"""What a service may send after its client's end."""
_RETRY_S = 0.1
"""When the kernel had no memory, or a Unix service no room for one more that waits for it."""

_PASSING = (errno.ENOBUFS, errno.ENOMEM, errno.EINTR)
_CONNECTING = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
_MAY_READ = READABLE | PEER_ENDED | FAILED | HUNG_UP | INVALID


class Client(Protocol):
    """The other side of a gateway. In the link's turn, but for `pause` and `resume`."""

    def received(self, data: bytes) -> None:
        """Send what the service has sent."""

    def is_drained(self, link: Link) -> bool:
        """Whether it takes more; else `link.set` is called when it may."""

    def has_all_been_taken(self, link: Link) -> bool:
        """Whether it has all; else `link.set` is called when it may have."""

    def pause(self) -> None:
        """Read nothing more from it. With the link's lock held."""

    def resume(self) -> None:
        """Read on. With the link's lock held."""

    def not_connected(self, error: Exception) -> None:
        """The service can't be reached. Last."""

    def ended(self, error: OSError | None) -> None:
        """The service has ended the stream, or it is broken; the client has all. Last."""


class Host(Protocol):
    """What serves the link's socket."""

    timer: Timer

    def watch(self, link: Link, /) -> None:
        """Call `link.serve` when something is ready. Raises OSError or RuntimeError."""

    def wants_changed(self, link: Link, /) -> None:
        """Look at `link.wanted_events` again. Any thread."""

    def request_turn(self, link: Link, events: int, /) -> None:
        """Call `link.serve(events)` soon. Any thread."""

    def release(self, link: Link, /) -> None:
        """The link is done with its socket, which is about to be closed."""


class Owner(Protocol):
    """Keeps account of the links."""

    def link_released(self, link: Link) -> None:
        """The link is over."""


class Link:
    """A stream to a service."""

    __slots__ = (
        "_addresses",
        "_client",
        "_connected_socket",
        "_deadline_s",
        "_discarded_bytes",
        "_end_error",
        "_events",
        "_has_ended",
        "_has_ended_stream",
        "_host",
        "_in_turn",
        "_is_aborted",
        "_is_client_paused",
        "_is_connected",
        "_is_end_told",
        "_is_lingering",
        "_is_readable",
        "_last_error",
        "_lock",
        "_max_buffer_size",
        "_max_read_size",
        "_owner",
        "_unsent",
        "_unsent_at_look",
        "_write_error",
        "due_tick",
        "is_corked",
        "is_released",
        "slow_turns",
        "socket",
    )

    def __init__(
        self,
        host: Host,
        owner: Owner,
        client: Client,
        addresses: Sequence[Address],
        connect_timeout_s: float,
        max_buffer_size: int,
        max_read_size: int,
    ) -> None:
        """The `addresses` are tried one after the other. Nothing happens before `start`."""
        self._host = host
        self._owner = owner
        self._addresses = collections.deque(addresses)
        self._max_buffer_size = max_buffer_size
        self._max_read_size = min(max_read_size, _MOST_READ_BYTES)
        #: The timer's and the pollers'.
        self.due_tick: int | None = None
        self.slow_turns = 0
        self.is_corked = False

        # Reentrant: a `__del__` or a signal handler may send something amid a write.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._in_turn = False
        self._events = 0
        self._unsent = bytearray()
        self._is_client_paused = False
        self._is_connected = False
        self._connected_socket: socket.socket
        #: Why nothing is written any more.
        self._write_error: OSError | None = None
        #: None once the client has ended.
        self._client: Client | None = client
        self._is_aborted = False

        # The turn's.
        #: The attempt that runs, or the connection. Closed before the first and after the last.
        self.socket: socket.socket | _NoSocket = _NoSocket()
        self.is_released = False
        self._deadline_s = self._now_s() + connect_timeout_s
        self._last_error: Exception = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        self._is_readable = False
        self._has_ended = False
        self._end_error: OSError | None = None
        self._is_end_told = False
        self._has_ended_stream = False
        self._is_lingering = False
        self._discarded_bytes = 0
        self._unsent_at_look = 0

    # Any thread.

    def start(self) -> None:
        """Begin to connect."""
        self._host.timer.wake(self, self._deadline_s - self._now_s())
        self.serve(RECHECK)

    def write(self, data: bytes) -> None:
        """Write what the client has sent, or keep it until the service takes it."""
        with self._lock:
            if self._write_error is not None or self._client is None:
                return
            taken = 0
            if self._is_connected and not self._unsent:
                taken = self._send(data)
            if taken < len(data):
                self._unsent += memoryview(data)[taken:]
                self._host.wants_changed(self)
                if len(self._unsent) >= self._max_buffer_size and not self._is_client_paused:
                    self._is_client_paused = True
                    self._client.pause()

    def finish(self) -> None:
        """The client has ended: write what it has sent, then end."""
        with self._lock:
            self._client = None
        self.serve(RECHECK)

    def abort(self) -> None:
        """End at once."""
        self._is_aborted = True
        self.serve(RECHECK)

    def set(self) -> None:
        """Have a turn look whether the client takes more."""
        self._host.request_turn(self, RECHECK)

    def close_after_fork(self) -> None:
        """Close a forked child's copy of the socket, which is the parent's."""
        self.socket.close()

    @property
    def wanted_events(self) -> int:
        """What its socket is to be watched for, where that has to be said."""
        events = 0
        if not self._is_connected or self._unsent:
            events |= WRITABLE
        if self._is_connected and not self._is_readable and not self._has_ended:
            events |= READABLE
        return events

    # What the pollers and the timer need.

    @property
    def connection(self) -> Link:
        """Where its turn writes: nothing of it is held back."""
        return self

    def uncork(self) -> None:
        """Do nothing."""

    def on_time(self, now_s: float) -> float | None:
        """Have a turn look at the time."""
        del now_s
        self._host.request_turn(self, RECHECK)
        return None

    def serve(self, events: int) -> None:
        """Do what is to be done, here or in the turn that runs. Never raises."""
        with self._lock:
            self._events |= events
            if self._in_turn:
                return
            self._in_turn = True
        while True:
            with self._lock:
                events, self._events = self._events, 0
                if not events:
                    self._in_turn = False
                    return
            try:
                self._take_turn(events)
            except BaseException as error:
                faults.note("turn")
                logger.error("a gateway's connection is given up", error=error)
                self._give_up(error)

    # The turn.

    def _take_turn(self, events: int) -> None:
        if self.is_released:
            return
        if self._is_aborted:
            self._release()
            return
        if events & _MAY_READ:
            self._is_readable = True
        if not self._is_connected:
            self._connect()
        if self._is_connected:
            self._flush()
            self._read()
        if not self.is_released:
            self._look_at_end()

    def _now_s(self) -> float:
        return self._host.timer.clock.now_s()

    def _give_up(self, error: BaseException) -> None:
        client = self._client
        with contextlib.suppress(Exception):
            if client is not None and not self._is_end_told:
                client.ended(OSError(str(error)))
        with contextlib.suppress(Exception):
            self._release()

    # Connecting.

    def _connect(self) -> None:
        if isinstance(self.socket, socket.socket) and self.socket.fileno() >= 0:
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._give_up_attempt(OSError(error, os.strerror(error)))
            elif _is_connected(self.socket):
                self._connected(self.socket)
                return
        rest_s = self._deadline_s - self._now_s()
        if rest_s <= 0:
            self._not_connected(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
            return
        if self.socket.fileno() < 0:
            self._try_next(rest_s)
        elif self._client is None and not self._unsent:
            self._release()
        else:
            self._host.timer.wake(self, rest_s)

    def _try_next(self, rest_s: float) -> None:
        while self._addresses:
            family, address = self._addresses.popleft()
            try:
                self.socket = sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                error = sock.connect_ex(address)
                if error == errno.EAGAIN and family == getattr(socket, "AF_UNIX", None):
                    self._addresses.appendleft((family, address))
                    self.socket.close()
                    self._host.timer.wake(self, min(_RETRY_S, rest_s))
                    return
                if error not in _CONNECTING:
                    raise OSError(error, os.strerror(error))
                self._host.watch(self)
            except (OSError, RuntimeError) as failure:
                self._give_up_attempt(failure)
                continue
            if not error:
                self._connected(sock)
            else:
                self._host.timer.wake(self, rest_s)
            return
        self._not_connected(self._last_error)

    def _connected(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a Unix socket has nothing like it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connected_socket = sock
            self._is_connected = True

    def _give_up_attempt(self, error: Exception) -> None:
        self._last_error = error
        self._host.release(self)
        self.socket.close()

    def _not_connected(self, error: Exception) -> None:
        client = self._client
        self._release()
        if client is not None:
            client.not_connected(error)

    # Both streams.

    def _send(self, data: bytes | bytearray) -> int:
        """Write without waiting; how many bytes were taken. With _lock held."""
        try:
            return self._connected_socket.send(data)
        except WOULD_BLOCK:
            return 0
        except OSError as error:
            if error.errno in _PASSING:
                self._host.timer.wake(self, _RETRY_S)
                return 0
            # What the service has sent before is still there to be read.
            self._write_error = error
            self._unsent.clear()
            self.set()
            return len(data)

    def _flush(self) -> None:
        with self._lock:
            if self._unsent:
                taken = self._send(self._unsent)
                del self._unsent[:taken]
            if self._is_client_paused and len(self._unsent) <= self._max_buffer_size // 2:
                self._is_client_paused = False
                if self._client is not None:
                    self._client.resume()

    def _read(self) -> None:
        for _ in range(_READS_PER_TURN):
            client = self._client
            if not self._is_readable or self._has_ended:
                return
            if client is not None and not client.is_drained(self):
                return
            try:
                data = self._connected_socket.recv(self._max_read_size)
            except WOULD_BLOCK:
                self._is_readable = False
                return
            except OSError as error:
                if error.errno in _PASSING:
                    self._host.timer.wake(self, _RETRY_S)
                    return
                self._note_end(error)
                return
            if not data:
                self._note_end(self._write_error)
            elif client is not None:
                client.received(data)
            else:
                self._discarded_bytes += len(data)
        self.set()

    def _note_end(self, error: OSError | None) -> None:
        self._has_ended = True
        self._end_error = error
        if error is not None:
            with self._lock:
                self._write_error = error
                self._unsent.clear()

    # The end.

    def _look_at_end(self) -> None:
        client = self._client
        if client is None:
            self._linger()
        elif self._has_ended and not self._is_end_told and client.has_all_been_taken(self):
            self._is_end_told = True
            client.ended(self._end_error)

    def _linger(self) -> None:
        if not self._is_connected:
            return  # the time for connecting is its time
        if self._write_error is not None or (self._has_ended and not self._unsent):
            self._release()
            return
        if not self._unsent and not self._has_ended_stream:
            self._has_ended_stream = True
            self._is_lingering = False
            with contextlib.suppress(OSError):
                self._connected_socket.shutdown(socket.SHUT_WR)
        now_s = self._now_s()
        if not self._is_lingering or (self._unsent and len(self._unsent) < self._unsent_at_look):
            self._is_lingering = True
            self._deadline_s = now_s + _LINGER_S
        self._unsent_at_look = len(self._unsent)
        if now_s >= self._deadline_s or (
            self._discarded_bytes > _MOST_DISCARDED_BYTES and not self._unsent
        ):
            self._release()
        else:
            self._host.timer.wake(self, self._deadline_s - now_s)

    def _release(self) -> None:
        if self.is_released:
            return
        with self._lock:
            self.is_released = True
            self._is_connected = False
            self._client = None
            self._unsent.clear()
            self._host.timer.cancel(self)
            self._host.release(self)
            self.socket.close()
        self._owner.link_released(self)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
