"""The sending half of a connection: what is sent, queued and held back, and the close frame.

No socket: a `SocketWriter` writes.

Invariants:
- `send`, `close` and `abort` may be called by any thread and never wait for the peer.
- `_lock` guards what the comments below say. It is held while a non-blocking write runs, never
  while a callback runs. What a thread wants that has it already, by a `__del__` or a signal handler
  that came amid such a write, is done in the next turn.
- Nothing is sent behind a close frame.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Protocol

from .closing_handshake import TRANSITIONS, Cause, State
from .errors import CloseCode, check_close
from .frames import OutgoingMessage, close_frame, message_frame
from .limits import ClientSettings, QueuePolicy
from .send_queue import QueueBudget, SendQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from .frames import Sendable

_OPEN = State.OPEN
_CLOSED = State.CLOSED

_LONGEST_HOLD_S = 1.0
"""Nothing waits while it holds a connection's lock. So whoever can't have it for so long waits for
itself, or will do so in a chain of others."""
_MOST_PENDING = 1000


class SocketWriter(Protocol):
    """What a connection needs of the socket it is on."""

    def write(self, data: bytes | memoryview) -> int:
        """Write without waiting; return how many bytes were taken. Raises OSError when lost."""

    def request_turn(self) -> None:
        """See to it that a turn of this connection runs soon. Any thread."""

    def request_wake(self, seconds: float) -> None:
        """See to it that `on_time` of this connection is called in `seconds`. Any thread."""

    def now_s(self) -> float:
        """The time that `on_time` is given."""

    def unacknowledged_bytes(self) -> int:
        """Of what was taken by `write`: what the peer's system has not; 0 where nobody knows."""

    def report(self, fault: Exception) -> None:
        """Tell operators of a fault of this package's, for which the connection was closed."""


class Drained(Protocol):
    """Who waits for the peer to take what is queued."""

    def set(self) -> None:
        """It has, or is not waited for any more. With a lock of the connection held: only quick."""


class _NoTransport:
    """Before `attach` and after `detach`: takes everything, for nobody."""

    def write(self, data: bytes | memoryview) -> int:
        return len(data)

    def request_turn(self) -> None:
        pass

    def request_wake(self, seconds: float) -> None:
        pass

    def now_s(self) -> float:
        return 0.0

    def unacknowledged_bytes(self) -> int:
        return 0

    def report(self, fault: Exception) -> None:
        pass


NO_TRANSPORT = _NoTransport()


class SendingHalf:
    """Of a connection, all that any thread may call. The rest of it is in derived classes."""

    __slots__ = (
        "_corked_frame",
        "_deflate",
        "_drained",
        "_is_lost",
        "_lock",
        "_pending",
        "_settings",
        "_state",
        "_transport",
        "_waiting",
        "close_code",
        "close_reason",
        "dropped_messages",
        "is_closed",
        "is_corked",
        "send_queue",
        "sent_bytes",
        "sent_messages",
    )

    def __init__(
        self,
        settings: ClientSettings,
        deflate: PerMessageDeflate | None,
        budget: QueueBudget | None,
    ) -> None:
        """`budget` bounds the queues of many connections."""
        self._settings = settings
        self._deflate = deflate
        self._transport: SocketWriter = NO_TRANSPORT
        self._lock = threading.Lock()
        #: What could not be done because the lock was not to be had. Its operations are atomic.
        self._pending: collections.deque[Callable[[], object]] | None = None

        # Guarded by _lock.
        self._state = State.OPEN
        self._is_lost = False
        #: Whether what is sent is held back until `uncork`. Set by the turn, without the lock.
        self.is_corked = False
        # A frame that is held back while nothing is queued. With another both are in the queue,
        # and are held until the end of the turn. None whenever it is not corked.
        self._corked_frame: bytes | None = None
        #: What the peer has not taken yet. For the transport: to look at.
        self.send_queue = SendQueue(settings.max_queue_size, budget)
        self._drained: Drained | None = None
        #: To be done in a turn when all that is queued is written. None for nothing.
        self._waiting: list[Callable[[], object]] | None = None
        self.sent_messages = 0
        #: What the system has taken of the frames; the transport counts it, in `write`.
        self.sent_bytes = 0
        self.dropped_messages = 0
        #: Whether nothing more is to be read. What is queued may still have to be written.
        self.is_closed = False
        #: Of the first close frame, whoever sent it; None until then.
        self.close_code: int | None = None
        self.close_reason = ""

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._state is _OPEN

    @property
    def is_connected(self) -> bool:
        """Whether the peer is there at this moment."""
        return self._state is _OPEN

    @property
    def queued_bytes(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self.send_queue.queued_bytes

    @property
    def is_lost(self) -> bool:
        """Whether the network is gone, so that nothing queued will ever be taken."""
        return self._is_lost

    # Any thread.

    def send(self, message: Sendable) -> bool:
        """Send or queue a message. False once the connection is closing or the peer too slow."""
        if self._deflate is not None:
            return self.deliver(OutgoingMessage(message))
        frame = message_frame(message)
        lock = self._lock
        if not lock.acquire(False) and not self._wait_for_lock():  # `with` takes half as long again
            return self._put_off(functools.partial(self.send, message))
        try:
            return self._send_or_queue(frame)
        finally:
            lock.release()

    def deliver(self, message: OutgoingMessage) -> bool:
        """Send or queue a message that others are sent, too."""
        deflate = self._deflate
        frame = message.plain_frame if deflate is None else None
        if frame is None:
            frame = message.frame(deflate)
        lock = self._lock
        if not lock.acquire(False) and not self._wait_for_lock():
            return self._put_off(functools.partial(self.deliver, message))
        try:
            return self._send_or_queue(frame)
        finally:
            lock.release()

    def deliver_all(self, messages: list[OutgoingMessage]) -> None:
        """Send or queue messages that came together, with one write."""
        frames = [message.frame(self._deflate) for message in messages]
        if not self._wait_for_lock():
            self._put_off(functools.partial(self.deliver_all, messages))
            return
        try:
            was_corked, self.is_corked = self.is_corked, True
            try:
                for frame in frames:
                    self._send_or_queue(frame)
            finally:
                self.is_corked = was_corked
            if not was_corked:
                self._flush()
        finally:
            self._lock.release()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Start the closing handshake, after what is queued. Nothing happens when it has begun.

        Raises TypeError or ValueError for a code or reason that may not be sent.
        """
        check_close(code, reason)
        if not self._wait_for_lock():
            self._put_off(functools.partial(self.close, code, reason))
            return
        try:
            if self._state is _OPEN:
                self._start_close(code, reason)
        finally:
            self._lock.release()

    def abort(self) -> None:
        """Give the connection up without a close frame; `closed` will run with 1006."""
        with self._lock:
            self._lose()

    def give_up(self, fault: Exception) -> None:
        """Close with 1011 after a fault of this package's. Never raises.

        So whoever was amid many connections goes on with the next.
        """
        if self._state is not _OPEN and not self.send_queue.queued_bytes:
            return  # it is closed already, perhaps for the same
        transport = self._transport
        try:
            if self._state is _OPEN:
                self.close(CloseCode.INTERNAL_ERROR)
            else:  # its close frame can't be written
                self.abort()
        except Exception:
            with contextlib.suppress(Exception):
                self.abort()
        transport.report(fault)

    def uncork(self) -> None:
        """Let go of what is held back. Any number of times. Never raises."""
        lock = self._lock
        lock.acquire()
        try:
            frame = self._corked_frame
            if frame is not None:
                self._corked_frame = None
                taken = self._write(frame)
                if taken < len(frame):
                    self.send_queue.put_rest(frame, taken, self._write)
            elif self.send_queue.queued_bytes:
                self._flush()
            # Last: who sees without the lock that it is not corked sees all of it written.
            self.is_corked = False
        except Exception as error:
            fault = error
        else:
            return
        finally:
            lock.release()
        self.give_up(fault)

    def flush(self) -> None:
        """Write what is queued, as far as the peer takes it."""
        with self._lock:
            self._flush()

    def wait_until_writable(self, size: int) -> bool:
        """Wait until `size` more bytes fit into the queue. False once the connection is closing.

        Only for threads that nobody else waits for. Bounded by the ping time-out, which a peer
        that takes anything puts off.
        """
        while True:
            with self._lock:
                if self._state is not _OPEN:
                    return False
                if not self.send_queue.is_over(size):
                    return True
                drained = self._drained
                if not isinstance(drained, threading.Event):
                    drained = self._drained = threading.Event()
                drained.clear()
            drained.wait()

    def in_turn(self, do: Callable[[], object]) -> None:
        """Have `do` called in a turn, unless the last one comes before. It must not raise."""
        self._put_off(do)

    def when_ready(self, do: Callable[[], object]) -> None:
        """Have `do` called in another turn, when all that is queued has been written.

        Also when it never will be, unless the last turn comes before. It must not raise.
        """
        with self._lock:
            if self.send_queue.queued_bytes and self._state is _OPEN:
                if self._waiting is None:
                    self._waiting = []
                self._waiting.append(do)
                return
        self._put_off(do)

    def is_drained(self, drained: Drained) -> bool:
        """Whether it is open and nothing is queued. Else `drained` is told when that may be so."""
        with self._lock:
            if self._state is _OPEN and not self.send_queue.queued_bytes:
                return True
            self._drained = drained
            return False

    def has_all_been_taken(self, drained: Drained) -> bool:
        """Whether a close loses nothing that was sent. Else `drained` is told when to ask again."""
        del drained  # a close comes behind all of it
        return True

    # For want of _lock.

    def _wait_for_lock(self) -> bool:
        """Take _lock. False if this thread seems to have it already."""
        return self._lock.acquire(timeout=_LONGEST_HOLD_S)

    def _put_off(self, do: Callable[[], object]) -> bool:
        """Have it done in the next turn. True, as for a message that is queued."""
        if self._pending is None:
            self._pending = collections.deque(maxlen=_MOST_PENDING)
        self._pending.append(do)
        self._transport.request_turn()
        return True

    def do_pending(self) -> None:
        """Do what was put off. In the turn that was asked for then.

        What puts itself off again waits for the next one: others' turns, and the peer's messages,
        come in between.
        """
        for _ in range(len(self._pending or ())):
            if self._pending:
                self._pending.popleft()()

    # With _lock held: of derived classes.

    def _await_end(self) -> None:
        """Begin to wait for the peer: nothing more will be sent after what is queued."""
        raise NotImplementedError

    def _read_to_the_end(self) -> None:
        """Read on, whoever has paused it, for the peer's close frame."""
        raise NotImplementedError

    def _take_no_more_messages(self) -> None:
        """Our close frame is queued, or the peer is gone: its messages do not count any more."""
        raise NotImplementedError

    # With _lock held.

    def _send_or_queue(self, frame: bytes) -> bool:
        if self._state is not _OPEN:
            return False
        send_queue = self.send_queue
        if not self.is_corked and not send_queue.queued_bytes:
            # As _put does, which would cost another 0.1 µs.
            try:
                taken = self._transport.write(frame)
            except OSError:
                self._lose()
            else:
                if taken < len(frame):
                    send_queue.put_rest(frame, taken, self._write)
        elif self._corked_frame is None and not send_queue.queued_bytes:
            self._corked_frame = frame
        else:
            if self._corked_frame is not None:
                self._queue_corked_frame()
            if send_queue.is_over(len(frame)) and not self._apply_queue_policy(len(frame)):
                return False
            self._put(frame)
        if self._is_lost:
            return False
        self.sent_messages += 1
        return True

    def _put(self, frame: bytes | memoryview) -> None:
        if self.is_corked:
            if self._corked_frame is not None:
                self._queue_corked_frame()
            self.send_queue.append(frame)
        else:
            self.send_queue.put(frame, self._write)

    def _queue_corked_frame(self) -> None:
        if self._corked_frame is not None:
            self.send_queue.append(self._corked_frame)
            self._corked_frame = None

    def _put_last(self, frame: bytes) -> None:
        self.is_corked = False
        self._queue_corked_frame()
        self.send_queue.append(frame)
        self._flush()
        self._take_no_more_messages()
        self._await_end()

    def _start_close(self, code: int, reason: str) -> None:
        self._note_close(code, reason)
        self._move(Cause.CLOSED_HERE)
        self._read_to_the_end()
        self._put_last(self._close_frame(code, reason))
        self._wake_waiting()

    def _close_frame(self, code: int, reason: str) -> bytes:
        return close_frame(code, reason)

    def _note_close(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code = code
            self.close_reason = reason

    def _apply_queue_policy(self, size: int) -> bool:
        """Make room for a message by the queue's policy. False when it is not to be sent."""
        if self.is_corked:
            self._flush()
            if not self.send_queue.is_over(size):
                return self._state is _OPEN
        if self._settings.queue_policy is QueuePolicy.DROP_OLDEST:
            self.dropped_messages += self.send_queue.drop_oldest(size)
            return True
        if self._settings.queue_policy is QueuePolicy.DROP_NEWEST:
            self.dropped_messages += 1
            return False
        self.dropped_messages += 1 + self.send_queue.drop_all()
        self._start_close(
            CloseCode.TRY_AGAIN_LATER,
            f"over {self._settings.max_queue_size} bytes were not taken",
        )
        return False

    def _flush(self) -> None:
        self._queue_corked_frame()
        self.send_queue.flush(self._write)
        if not self.send_queue.queued_bytes:
            self._wake_waiting()

    def _move(self, cause: Cause) -> None:
        """Take a step of the closing handshake."""
        self._state = TRANSITIONS[self._state][cause]
        if self._state is _CLOSED:
            self._take_no_more_messages()
            self.is_closed = True

    def _wake_waiting(self) -> None:
        if self._drained is not None:
            self._drained.set()
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            for do in waiting:
                self._put_off(do)

    def _write(self, data: bytes | memoryview) -> int:
        if self._is_lost:
            return len(data)  # nobody will take it: nothing is to be queued
        try:
            return self._transport.write(data)
        except OSError:
            self._lose()
            return len(data)

    def _lose(self) -> None:
        self._is_lost = True
        self._move(Cause.LOST)
        self._corked_frame = None
        self.send_queue.clear()
        self._wake_waiting()
        self._transport.request_turn()
