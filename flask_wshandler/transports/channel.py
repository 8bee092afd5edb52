"""One socket and its turn: what is done with a connection when something is ready for it.

Invariant: one thread at a time is in a channel's turn. Another one that comes while it runs leaves
its events behind, and the turn goes on with them.

After the last callback the socket lingers: our end of the stream is closed, what the peer still
sends is thrown away, until it ends the stream too, has sent too much, or `close_timeout` is over
and it takes nothing more. Closing at once would answer unread bytes with a reset, and a reset takes
our close frame from the peer again.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Protocol

from ..runtime import faults, logs
from ..runtime.first_use import ModuleLock
from .readiness import FAILED, HUNG_UP, READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.connection import Connection
    from ..runtime.timer import Timer

try:
    import fcntl
    import termios
except ImportError:  # pragma: no cover - not a Unix
    fcntl = termios = None  # type: ignore[assignment]

logger = logs.logger(__package__)

#: EPOLLRDHUP.
PEER_ENDED = 0x2000
_TROUBLE = FAILED | HUNG_UP
#: Not from the kernel: look at the connection again, its state has changed.
RECHECK = 1 << 20
#: Not from the kernel: the time for lingering is over.
EXPIRED = 1 << 21
_READ_TO_END = PEER_ENDED | _TROUBLE | RECHECK

_FEW_BYTES = 4096
_READ_BYTES = 65536
"""What is asked for at once: a few bytes, and more of a peer whose last turn brought more. Python
makes room for all of them and gives back what it did not need, in which the allocator then puts
other things: with 32 answers held back that would be 2 MB."""
_READS_PER_TURN = range(3)
"""Then it is the others' turn: 128 kB can be 3,000 small messages, or 30 ms."""

_pending_events_lock = ModuleLock()
"""Guards the events that are left to the turn that is running, of all channels: that is rare."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_INT = struct.Struct("i")

_PASSING = (errno.ENOBUFS, errno.ENOMEM, errno.EINTR)
_RETRY_S = 0.1
"""How long the kernel gets to find memory for a socket. It does not tell when it has."""

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Owner(Protocol):
    """Keeps account of the channels."""

    def started(self, channel: Channel) -> None:
        """The channel is served from now on."""

    def finished(self, channel: Channel) -> None:
        """The last callback has run; the socket lingers. From the channel's turn."""

    def released(self, channel: Channel) -> None:
        """The socket is closed, or the server's again."""


class Host(Protocol):
    """The way of serving that a channel belongs to."""

    timer: Timer

    def request_turn(self, channel: Channel, events: int, /) -> None:
        """Call `channel.serve(events)` soon. Any thread."""

    def release(self, channel: Channel) -> None:
        """The channel is done with its socket, which is about to be closed."""


def at_end(size: int) -> bytes:
    del size
    return b""


class Channel:
    """A connection on a non-blocking socket."""

    ends_with_thread = False
    """Whether what ends a thread, as a KeyboardInterrupt, ends the connection, too. Pollers
    have other connections to serve."""

    __slots__ = (
        "_events",
        "_free",
        "_has_ended_stream",
        "_host",
        "_is_starved",
        "_linger_until_s",
        "_owner",
        "_read_bytes",
        "_receive",
        "connection",
        "due_tick",
        "has_finished",
        "has_peer_ended",
        "is_released",
        "is_serving",
        "slow_turns",
        "socket",
    )

    def __init__(
        self,
        host: Host,
        connection: Connection,
        sock: socket.socket,
        owner: Owner,
        early: bytes = b"",
    ) -> None:
        """`early` is what the peer had sent behind its handshake request."""
        self._host = host
        self._owner = owner
        self.connection = connection
        self.socket = sock
        #: Reads once, without waiting.
        self._receive: Callable[[int], bytes] = sock.recv
        if early:
            self._receive = self._first_receive(early)
        #: The timer's.
        self.due_tick: int | None = None
        #: The pollers'.
        self.slow_turns = 0

        #: Holds the one token of the turn: the thread that pops it has the turn until it puts it
        #: back. A
        #: list's `pop` and `append` are atomic, and take a third of the time of a lock's methods.
        self._free = [None]
        #: Left to the turn that runs. Guarded by _pending_events_lock, but for a first look.
        self._events = 0

        # Written by the turn alone.
        #: Whether `open` has been called and `finish` has not.
        self.is_serving = False
        self.has_finished = False
        #: Whether the peer has ended its stream, so that there is nothing to wait for from it.
        self.has_peer_ended = False
        self.is_released = False
        self._read_bytes = _FEW_BYTES
        self._has_ended_stream = False
        self._linger_until_s = 0.0
        #: Whether the kernel had no memory. Set when reading or writing, cleared by the timer.
        self._is_starved = False

    def _first_receive(self, early: bytes) -> Callable[[int], bytes]:
        receive = self._receive

        def receive_early(size: int) -> bytes:
            del size  # at most what a server reads of a request's head at once
            self._receive = receive
            return early

        return receive_early

    # What the connection needs.

    def write(self, data: bytes | memoryview) -> int:
        """Write without waiting; how many bytes were taken."""
        try:
            taken = self.socket.send(data)
        except WOULD_BLOCK:
            return 0
        except OSError as error:
            if not self._passes_soon(error):
                raise
            return 0
        self.connection.sent_bytes += taken
        return taken

    def request_turn(self) -> None:
        """Have the connection looked at."""
        self._host.request_turn(self, RECHECK)

    def request_wake(self, seconds: float) -> None:
        """Have `on_time` called."""
        self._host.timer.wake(self, seconds)

    def now_s(self) -> float:
        """The time, by the timer's clock."""
        return self._host.timer.clock.now_s()

    def unacknowledged_bytes(self) -> int:
        """Of what was taken by `write`: what the peer's system has not; 0 where that is unknown.

        With TLS they are those of its records, which are a little more.
        """
        # A Unix socket counts memory, not bytes, and keeps little.
        if fcntl is None or self.socket.family not in _INTERNET:
            return 0
        try:
            found: bytes = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, _INT.pack(0))
        except (OSError, ValueError):  # not on this system, or it has just been closed
            return 0
        return int(_INT.unpack(found)[0])

    def report(self, fault: BaseException) -> None:
        """Count and log a fault of this package's, for which the connection was closed."""
        faults.note("turn")
        logger.error("a connection is given up", error=fault)

    def _passes_soon(self, error: OSError) -> bool:
        """Whether the kernel can do nothing at this moment; then there is another try soon."""
        if error.errno not in _PASSING:
            return False
        self._is_starved = True
        self.request_wake(_RETRY_S)
        return True

    # What the pollers need.

    def serve(self, events: int) -> None:
        """Do what `events` call for, here or in the turn that is running."""
        free = self._free
        while True:
            try:
                token = free.pop()
            except IndexError:
                self._add_events(events)
                if not free:
                    return  # the turn looks at what is left after it, and finds this
                events = 0  # it is with the others' now
            else:
                try:
                    if self._events:
                        events |= self._take_events()
                    self._serve_events(events)
                except BaseException as error:
                    if self.ends_with_thread and not isinstance(error, Exception):
                        raise
                    self._note_fault(error)
                free.append(token)
                if not self._events:
                    return
                events = 0

    def _note_fault(self, error: BaseException) -> None:
        """A fault of this package: the connection goes, the thread and the others stay."""
        self.report(error)
        self.connection.abort()  # which asks for another turn, the last one

    def hold_turn(self) -> None:
        """Keep all threads out of the turn until `let_go_of_turn`. At the very beginning."""
        self._free.pop()

    def let_go_of_turn(self) -> bool:
        """Open the turn; whether events have come meanwhile, for which it is to be taken."""
        self._free.append(None)
        return self._events != 0

    def _add_events(self, events: int) -> None:
        with _pending_events_lock:
            self._events |= events

    def _take_events(self) -> int:
        with _pending_events_lock:
            events, self._events = self._events, 0
        return events

    @property
    def is_idle(self) -> bool:
        """Whether no thread is in the turn, and no events are left for one."""
        return bool(self._free) and not self._events

    # What the timer needs.

    def on_time(self, now_s: float) -> float | None:
        """Pings, the time limits of both closes, and another try with a starved socket."""
        if self._is_starved:
            self._is_starved = False
            self._host.request_turn(self, READABLE | WRITABLE)
        if not self.has_finished:
            return self.connection.on_time(now_s)
        if not self._linger_until_s:
            self._linger_until_s = now_s + self.connection.close_timeout_s
        rest_s = self._linger_until_s - now_s
        if rest_s > 0:
            return rest_s
        self._host.request_turn(self, EXPIRED)
        return None

    # The turn.

    def _serve_events(self, events: int) -> None:
        connection = self.connection
        if not self.is_serving and not self._begin(events):
            return
        if events & RECHECK:
            connection.do_pending()
            if connection.check_is_due:
                connection.check_session()
        if events & ~WRITABLE and connection.wants_data:
            self._read(events)
        if connection.send_queue.queued_bytes:
            connection.flush()
        if connection.is_closed:
            self._finish()

    def _begin(self, events: int) -> bool:
        """Run the first callback. False if the last one has run."""
        if self.is_released:
            return False
        if self.has_finished:
            self._linger(events)
            return False
        self.is_serving = True
        self.connection.open()
        return True

    def _read(self, events: int) -> None:
        connection = self.connection
        most = self._read_bytes
        for count in _READS_PER_TURN:
            try:
                data = self._receive(most)
            except WOULD_BLOCK:
                if connection.is_overdue:
                    connection.judge()
                return
            except OSError as error:
                if not self._passes_soon(error):
                    connection.abort()
                return
            size = len(data)
            if not size:
                connection.receive_eof()
                return
            connection.received_bytes += size
            connection.receive_data(data)
            # A short read has emptied the socket, unless its end is behind it.
            if size < most and not events & _READ_TO_END:
                if most > _FEW_BYTES and size < _FEW_BYTES and not count:
                    self._read_bytes = _FEW_BYTES
                return
            if not connection.wants_data:
                return
            self._read_bytes = most = _READ_BYTES
        self._host.request_turn(self, READABLE | (events & PEER_ENDED))

    def _finish(self) -> None:
        self._end_stream()
        self.has_finished = True
        self.is_serving = False
        try:
            self.connection.finish()
        except BaseException as error:
            self._note_fault(error)
        self._owner.finished(self)
        if self.connection.is_lost:
            self.release()
        else:
            self.request_wake(0)
            self._linger(READABLE)

    def _end_stream(self) -> None:
        if not self._has_ended_stream and not self.connection.send_queue.queued_bytes:
            self._has_ended_stream = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def _linger(self, events: int) -> None:
        connection = self.connection
        if connection.is_lost:
            self.release()
            return
        if connection.send_queue.queued_bytes:
            connection.flush()
        self._end_stream()
        if not self._discard():
            self.release()
        elif events & EXPIRED:
            self._expire()

    def _discard(self) -> bool:
        """Throw away what has come. False when there is nothing to wait for any more."""
        for _ in _READS_PER_TURN:
            try:
                data = self._receive(_READ_BYTES)
            except WOULD_BLOCK:
                return True
            except OSError:
                return False
            if not data:
                self.has_peer_ended = True
                return self.connection.send_queue.queued_bytes > 0
            if not self.connection.discard(len(data)):
                return False
        self._host.request_turn(self, READABLE)
        return True

    def _expire(self) -> None:
        """The time for lingering is over, but not for a peer that still takes what is queued."""
        now_s = self.now_s()
        if not self.connection.is_keeping_pace(now_s):
            self.release()
            return
        timeout_s = self.connection.close_timeout_s
        self._linger_until_s = now_s + timeout_s
        self.request_wake(timeout_s)

    def release(self) -> None:
        """Release the socket. In the turn, or when no other thread can be in one."""
        if self.is_released:
            return
        self.is_released = True
        self._host.timer.cancel(self)
        self._host.release(self)
        with contextlib.suppress(OSError):
            self.socket.close()
        self._receive = at_end
        self.connection.detach()
        self._owner.released(self)
