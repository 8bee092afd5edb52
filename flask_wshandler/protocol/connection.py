"""One WebSocket after its handshake: its state, its queue, and the order of its callbacks.

No socket, no poller, no Flask: a transport brings bytes and turns, `Callbacks` is the user's
handler with whatever it runs in.

Invariants:
- `opened` comes first, `message_received` one at a time and in order, `closed` last; each of
  `opened` and `closed` exactly once. They run only in the transport's turn, of which there is
  never more than one at a time.
- `send`, `close` and `abort` may be called by any thread and never wait for the peer.
- `_lock` guards what the comments below say. It is held while a non-blocking write runs, never
  while a callback runs. What a thread wants that has it already, by a `__del__` or a signal handler
  that came amid such a write, is done in the next turn.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import functools
import math
import threading
from typing import TYPE_CHECKING, Protocol

from .errors import CloseCode, check_close
from .frames import OutgoingMessage, close_frame, message_frame, ping_frame
from .keepalive import STOOD_STILL_S, has_kept_pace, time_to_take_s
from .limits import ClientSettings, QueuePolicy, RatePolicy
from .message_reader import Event, Failed, Flooded, LeftoverReader, MessageReader, PeerClosed, Reply
from .send_queue import Budget, Outbox
from .token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from .frames import Message, Sendable


class State(enum.Enum):
    """Where the closing handshake of RFC 6455 section 7 stands."""

    OPEN = enum.auto()
    CLOSING = enum.auto()
    """Our close frame is sent or queued, the peer's has not come."""
    CLOSED = enum.auto()
    """Nothing more is read; what is queued may still be written."""


_OPEN = State.OPEN

# Who has stopped the reading: bits, because both can have.
_PAUSED_BY_HANDLER = 1
_PAUSED_BY_RATE = 2

_CONTROLS_PER_S = 100
_CONTROLS_AT_ONCE = 1000
"""Pings and pongs that nobody asked for. A client needs one in some seconds."""
_LONGEST_HOLD_S = 1.0
"""Nothing waits while it holds a connection's lock. So whoever can't have it for so long waits for
itself, or will do so in a chain of others."""
_MOST_PENDING = 1000
_MESSAGE = (str, bytes)  # as a tuple: `str | bytes` would be made anew for every message


class Callbacks(Protocol):
    """What a connection calls, in its transport's turn. None of them raises."""

    def opened(self, connection: Connection) -> int | None:
        """The connection is open. Returns a close code to close it, or None."""

    def message_received(self, message: Message) -> int | None:
        """A message came. Returns a close code to close the connection, or None."""

    def session_check_came(self) -> int | None:
        """It is time to check the session. Returns a close code to close with, or None."""

    def closed(self, code: int, reason: str) -> None:
        """The connection is over, with the first close frame's code; 1006 if there was none."""


class Place(Protocol):
    """What a connection gives back at its end."""

    def leave(self) -> None: ...


class Transport(Protocol):
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


_NO_TRANSPORT = _NoTransport()


class _NoCallbacks:
    """After the last one; also lets the handler go without the garbage collector."""

    def opened(self, connection: Connection) -> int | None:
        return None

    def message_received(self, message: Message) -> int | None:
        return None

    def session_check_came(self) -> int | None:
        return None

    def closed(self, code: int, reason: str) -> None:
        pass


_NO_CALLBACKS = _NoCallbacks()


class Connection:
    """One client's WebSocket."""

    __slots__ = (
        "_ahead_bytes",
        "_asked_position",
        "_awaited_pongs",
        "_callbacks",
        "_checked_at_s",
        "_controls",
        "_deflate",
        "_held",
        "_held_until_s",
        "_is_lost",
        "_lock",
        "_messages",
        "_pauses",
        "_pending",
        "_pinged_at_s",
        "_reader",
        "_room_made",
        "_settings",
        "_state",
        "_taken_position",
        "_transport",
        "_waits_since_s",
        "check_is_due",
        "close_code",
        "close_reason",
        "dropped_messages",
        "is_closed",
        "is_corked",
        "is_counted",
        "is_overdue",
        "opened_at_s",
        "outbox",
        "received_bytes",
        "received_messages",
        "seat",
        "sent_bytes",
        "sent_messages",
        "wants_data",
    )

    def __init__(
        self,
        callbacks: Callbacks,
        settings: ClientSettings,
        deflate: PerMessageDeflate | None = None,
        *,
        budget: Budget | None = None,
        seat: Place | None = None,
        is_counted: bool = True,
    ) -> None:
        """`budget` bounds the queues of many connections; `seat` is left at the end."""
        self._callbacks: Callbacks = callbacks
        self._settings = settings
        self._deflate = deflate
        self._reader: MessageReader | LeftoverReader
        self._reader = MessageReader(settings.max_message_size, deflate)
        self._transport: Transport = _NO_TRANSPORT
        self._lock = threading.Lock()
        #: What could not be done because the lock was not to be had. Its operations are atomic.
        self._pending: collections.deque[Callable[[], object]] | None = None

        #: Its place among the connections of the process.
        self.seat = seat
        #: Whether it is in the figures: it is a client's.
        self.is_counted = is_counted
        # Written by the turn alone.
        self._messages: TokenBucket | None = None
        self._controls: TokenBucket | None = None
        self.received_messages = 0
        #: Of frames and their heads, as they were on the way; the transport counts them.
        self.received_bytes = 0
        #: By the transport's clock.
        self.opened_at_s = 0.0
        #: Whether it is time for `check_session`. Set by the timer, cleared by the turn.
        self.check_is_due = False
        self._checked_at_s = 0.0  # the timer's
        # Written by the turn and the timer; a lost write costs one ping at most. Whatever comes
        # from the peer sets the first to 0.
        self._awaited_pongs = 0
        self._pinged_at_s = 0.0
        #: Whether the time for a pong, or for a close, is over, so that who has read all there is
        #: calls `judge`. Set by the timer, after which a turn comes; cleared by that turn.
        self.is_overdue = False
        # Since when the peer is waited for: to answer a ping or a close, or to take what stands
        # before it.
        self._waits_since_s = 0.0
        # Places in the stream of what is sent, in bytes from its beginning: the end of the ping or
        # the close frame that is to be answered, and what the peer had taken at the last look.
        self._asked_position = 0
        self._taken_position = 0
        # What stood before that ping, since the one that was answered.
        self._ahead_bytes = 0

        # Guarded by _lock.
        self._state = State.OPEN
        self._is_lost = False
        #: Whether what is sent is held back until `uncork`. Set by the turn, without the lock.
        self.is_corked = False
        # A frame that is held back while nothing is queued. With another both are in the outbox,
        # and are held until the end of the turn. None whenever it is not corked.
        self._held: bytes | None = None
        #: What the peer has not taken yet. For the transport: to look at.
        self.outbox = Outbox(settings.max_queue_size, budget)
        self._room_made: threading.Event | None = None
        self.sent_messages = 0
        #: What the system has taken of the frames; the transport counts it, in `write`.
        self.sent_bytes = 0
        self.dropped_messages = 0
        self._pauses = 0
        self._held_until_s = 0.0
        #: Whether the transport is to read; False holds up the peer, by TCP.
        self.wants_data = True
        #: Whether nothing more is to be read. What is queued may still have to be written.
        self.is_closed = False
        #: Of the first close frame, whoever sent it; None until then.
        self.close_code: int | None = None
        self.close_reason = ""

    def attach(self, transport: Transport) -> None:
        """Connect to the socket. Once, before the first turn."""
        self._transport = transport
        self._pinged_at_s = self._checked_at_s = self.opened_at_s = transport.now_s()
        if self._settings.ping_interval is not None:
            transport.request_wake(self._settings.ping_interval)
        if self._settings.recheck_session_s is not None:
            transport.request_wake(self._settings.recheck_session_s)

    def detach(self) -> None:
        """The socket is gone. After the last turn."""
        with self._lock:
            self._is_lost = True
            self._held = None
            self.outbox.clear()
            self._transport = _NO_TRANSPORT

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._state is _OPEN

    @property
    def callbacks(self) -> Callbacks:
        """What it calls; nobody's after the last one."""
        return self._callbacks

    @property
    def queued_bytes(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self.outbox.queued_bytes

    @property
    def is_lost(self) -> bool:
        """Whether the network is gone, so that nothing queued will ever be taken."""
        return self._is_lost

    @property
    def age_s(self) -> float:
        """How long it has been open; 0 once its socket is gone."""
        transport = self._transport
        return 0.0 if transport is _NO_TRANSPORT else transport.now_s() - self.opened_at_s

    @property
    def close_timeout_s(self) -> float:
        """How long the peer has for its part of a close."""
        return self._settings.close_timeout

    # The transport's turn.

    def open(self) -> None:
        """Run the first callback, in the first turn."""
        self._close_if_told(self._callbacks.opened(self))

    def check_session(self) -> None:
        """Run the callback that says whether the client may stay."""
        self.check_is_due = False
        if self._state is _OPEN:
            self._close_if_told(self._callbacks.session_check_came())

    def judge(self) -> None:
        """Give up a peer whose time is over. In a turn that has read all there is."""
        self.is_overdue = False
        now_s = self._transport.now_s()
        timeout_s = self._settings.ping_timeout
        if self._state is State.CLOSING:
            rest_s = self._patience_for_close_s(now_s)
        elif self._state is _OPEN and self._awaited_pongs and timeout_s is not None:
            rest_s = self._patience_for_pong_s(now_s, timeout_s)
        else:
            return
        if rest_s > 0:
            self._transport.request_wake(rest_s)
        else:
            self.abort()

    def _patience_for_pong_s(self, now_s: float, timeout_s: float) -> float:
        """How much longer to wait for the answer to a ping; nothing has come."""
        with self._lock:
            taken, untaken = self._taken()
        before, self._taken_position = self._taken_position, taken
        if untaken and taken < self._asked_position:
            if taken > before:
                self._waits_since_s = now_s
        elif self._ahead_bytes:
            self._waits_since_s += time_to_take_s(self._ahead_bytes)
            self._ahead_bytes = 0
        return self._waits_since_s + timeout_s - now_s

    def _patience_for_close_s(self, now_s: float) -> float:
        """How much longer to wait for the answer to a close."""
        timeout_s = self._settings.close_timeout
        rest_s = self._waits_since_s + timeout_s - now_s
        if rest_s <= 0 and self.is_keeping_pace(now_s):
            return timeout_s
        return rest_s

    def is_keeping_pace(self, now_s: float) -> bool:
        """Whether the peer takes what it is sent before the end, so that it is worth waiting."""
        with self._lock:
            taken, untaken = self._taken()
        before, self._taken_position = self._taken_position, taken
        since_s, self._waits_since_s = self._waits_since_s, now_s
        return has_kept_pace(self._asked_position - before, untaken, now_s - since_s)

    def discard(self, size: int) -> bool:
        """Count what has come after the end. False when it is too much to go on reading."""
        reader = self._reader
        return isinstance(reader, LeftoverReader) and reader.discard(size)

    def receive_data(self, data: bytes) -> None:
        """Run the callbacks of what `data` completes."""
        text = self._reader.receive_whole_text(data)
        if text is not None:
            self._awaited_pongs = 0
            self._take_message(text)
            return
        reader = self._reader
        events = reader.receive_data(data)
        if reader.control_frames:
            self._count_control_frames(reader)
        self._awaited_pongs = 0
        if len(events) == 1:
            self._take(events[0])
        elif events:
            self._take_all(events)

    def _take_all(self, events: list[Event]) -> None:
        # What the callbacks of one read send goes out in one write. The last callback is not
        # corked, unless the whole turn is: nobody would wait for it. If one before it takes long,
        # the pollers' monitor uncorks.
        was_corked, self.is_corked = self.is_corked, True
        last = len(events) - 1
        for index, event in enumerate(events):
            if index == last and not was_corked:
                with self._lock:
                    self._queue_held()
                    self.is_corked = False
            self._take(event)
        if self.outbox.queued_bytes:
            self.flush()

    def _may_send_so_much(self) -> bool:
        """Count a message of the peer. False if it is closed because of it."""
        rate = self._settings.message_rate
        if rate is None:
            return True
        now_s = self._transport.now_s()
        if self._messages is None:
            self._messages = TokenBucket(rate.per_second, rate.burst, now_s)
        wait_s = self._messages.take(1, now_s)
        if wait_s <= 0:
            return True
        if self._settings.message_rate_policy is RatePolicy.CLOSE:
            reason = f"over {rate.per_second:g} messages a second"
            self.close(CloseCode.POLICY_VIOLATION, reason)
            return False
        with self._lock:
            self._held_until_s = now_s + wait_s
            self._stop_reading(_PAUSED_BY_RATE)
        self._transport.request_wake(wait_s)
        return True

    def _count_control_frames(self, reader: MessageReader | LeftoverReader) -> None:
        """Close a peer that sends nothing but pings or pongs, and those by the thousand."""
        count, reader.control_frames = reader.control_frames, 0
        count -= self._awaited_pongs
        if count <= 0:
            return
        now_s = self._transport.now_s()
        if self._controls is None:
            self._controls = TokenBucket(_CONTROLS_PER_S, _CONTROLS_AT_ONCE, now_s)
        if self._controls.take(count, now_s) > 0:
            reason = f"over {_CONTROLS_PER_S} pings and pongs a second"
            self.close(CloseCode.POLICY_VIOLATION, reason)

    def receive_eof(self) -> None:
        """The peer has ended the stream; without a close frame that is a loss.

        It may still read what was sent before, so that stays queued.
        """
        self.uncork()
        with self._lock:
            if self.outbox.queued_bytes:
                self._set_closed()
                self._await_end()
            else:
                self._lose()

    def finish(self) -> None:
        """Run the last callback, after the connection `is_closed`. The last turn's last act."""
        with self._lock:
            self._tell_waiting()
        code = CloseCode.ABNORMAL_CLOSURE if self.close_code is None else self.close_code
        self.close_code = code
        callbacks, self._callbacks = self._callbacks, _NO_CALLBACKS
        try:
            callbacks.closed(code, self.close_reason)
        finally:
            self.leave_seat()

    def leave_seat(self) -> None:
        """Give its place to another: it has ended, or will never begin."""
        if self.seat is not None:
            self.seat.leave()

    def flush(self) -> None:
        """Write what is queued, as far as the peer takes it."""
        with self._lock:
            self._flush()

    def _take_message(self, message: Message) -> None:
        if self._state is _OPEN and (
            self._settings.message_rate is None or self._may_send_so_much()
        ):
            self.received_messages += 1
            code = self._callbacks.message_received(message)
            if code is not None:
                self.close(code)

    def _take(self, event: Event) -> None:
        if isinstance(event, _MESSAGE):
            self._take_message(event)
        elif isinstance(event, Reply):
            with self._lock:
                # RFC 6455 section 5.5.3: not every ping has to be answered. Who sends pings and
                # reads nothing gets no more than fits.
                if self._state is _OPEN and not self.outbox.is_over(len(event.data)):
                    self._put(event.data)
        elif isinstance(event, PeerClosed):
            self._answer_close(event)
        elif isinstance(event, Flooded):
            self.abort()
        else:
            self._fail(event)

    def _close_if_told(self, code: int | None) -> None:
        if code is not None:
            self.close(code)

    def _answer_close(self, event: PeerClosed) -> None:
        with self._lock:
            if self._state is _OPEN:
                self._note_close(event.code, event.reason)
                # RFC 6455 section 5.5.1: the answer typically repeats the code, not the reason.
                self._put_last(close_frame(event.code, ""))
            self._set_closed()

    def _fail(self, event: Failed) -> None:
        with self._lock:
            if self._state is _OPEN:
                self._note_close(event.code, event.reason)
                self._put_last(close_frame(event.code, event.reason))
            self._set_closed()

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
        if self._state is not _OPEN and not self.outbox.queued_bytes:
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
            frame = self._held
            if frame is not None:
                self._held = None
                taken = self._write(frame)
                if taken < len(frame):
                    self.outbox.put_rest(frame, taken, self._write)
            elif self.outbox.queued_bytes:
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

    def pause(self) -> None:
        """Stop reading until `resume`: the peer is held up by TCP."""
        with self._lock:
            self._stop_reading(_PAUSED_BY_HANDLER)

    def resume(self) -> None:
        """Read on after `pause`."""
        with self._lock:
            self._read_on(_PAUSED_BY_HANDLER)

    def wait_for_room(self, size: int) -> bool:
        """Wait until `size` more bytes fit into the queue. False once the connection is closing.

        Only for threads that nobody else waits for. Bounded by the ping time-out, which a peer
        that takes anything puts off.
        """
        while True:
            with self._lock:
                if self._state is not _OPEN:
                    return False
                if not self.outbox.is_over(size):
                    return True
                if self._room_made is None:
                    self._room_made = threading.Event()
                self._room_made.clear()
                room_made = self._room_made
            room_made.wait()

    # The timer's thread.

    def on_time(self, now_s: float) -> float | None:
        """Do what is due; return in how many seconds to look again, or None."""
        if self._state is _OPEN:
            waits_s = (self._hold(now_s), self._keep_alive(now_s), self._have_checked(now_s))
            return min((seconds for seconds in waits_s if seconds is not None), default=None)
        if self._state is State.CLOSING:
            rest_s = self._waits_since_s + self._settings.close_timeout - now_s
            if rest_s > 0:
                return rest_s
            if not self.is_overdue:
                self._have_judged()
            return self._settings.close_timeout
        return None

    def _have_judged(self) -> None:
        """Have a turn read what there is, and judge if that was nothing."""
        self.is_overdue = True
        self._transport.request_turn()

    def _hold(self, now_s: float) -> float | None:
        """Read on when the peer's time is over; else in how many seconds, or None."""
        if not self._held_until_s:
            return None
        with self._lock:
            rest_s = self._held_until_s - now_s
            if rest_s > 0:
                return rest_s
            self._held_until_s = 0.0
            self._read_on(_PAUSED_BY_RATE)
        return None

    def _have_checked(self, now_s: float) -> float | None:
        interval_s = self._settings.recheck_session_s
        if interval_s is None:
            return None
        rest_s = self._checked_at_s + interval_s - now_s
        if rest_s > 0:
            return rest_s
        self._checked_at_s = now_s
        self.check_is_due = True
        self._transport.request_turn()
        return interval_s

    def _keep_alive(self, now_s: float) -> float | None:
        interval_s = self._settings.ping_interval
        if interval_s is None:
            return None
        if not self._awaited_pongs:
            self.is_overdue = False  # before the next ping is awaited
        rest_s = self._rest_of_silence_s(now_s)
        if rest_s <= 0:
            # Of whom nothing is read nothing can be heard.
            if self.wants_data and rest_s > -STOOD_STILL_S:
                self._have_judged()
                return interval_s
            self._waits_since_s = now_s
            self._ping(now_s)
        elif self._pinged_at_s + interval_s <= now_s:
            self._ping(now_s)
        return min(self._pinged_at_s + interval_s - now_s, self._rest_of_silence_s(now_s))

    def _rest_of_silence_s(self, now_s: float) -> float:
        """How much longer the peer may be silent; for ever if it is not waited for."""
        timeout_s = self._settings.ping_timeout
        if timeout_s is None or not self._awaited_pongs or self.is_overdue:
            return math.inf
        return self._waits_since_s + timeout_s - now_s

    def _ping(self, now_s: float) -> None:
        self._pinged_at_s = now_s
        if not self._awaited_pongs:
            self._waits_since_s = now_s
        elif self.outbox.queued_bytes:
            return  # the last one may not have left yet
        self._awaited_pongs += 1  # before the ping: a quick peer answers before the next line
        with self._lock:
            if self._state is not _OPEN:
                return
            self._put(ping_frame())
            if self._awaited_pongs == 1:
                before = self._asked_position
                self._note_asked()
                self._ahead_bytes = self._asked_position - before

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
        """Do what was put off. In the turn that was asked for then."""
        while self._pending:
            self._pending.popleft()()

    # With _lock held.

    def _send_or_queue(self, frame: bytes) -> bool:
        if self._state is not _OPEN:
            return False
        outbox = self.outbox
        if self.is_corked and self._held is None and not outbox.queued_bytes:
            self._held = frame
        elif outbox.queued_bytes or self.is_corked:
            if self._held is not None:
                self._queue_held()
            if outbox.is_over(len(frame)) and not self._make_room(len(frame)):
                return False
            self._put(frame)
        else:
            # As _put does, which would cost another 0.1 µs.
            try:
                taken = self._transport.write(frame)
            except OSError:
                self._lose()
            else:
                if taken < len(frame):
                    outbox.put_rest(frame, taken, self._write)
        if self._is_lost:
            return False
        self.sent_messages += 1
        return True

    def _put(self, frame: bytes) -> None:
        if self.is_corked:
            if self._held is not None:
                self._queue_held()
            self.outbox.append(frame)
        else:
            self.outbox.put(frame, self._write)

    def _note_asked(self) -> None:
        """What was sent last is to be answered."""
        self._asked_position = self.sent_bytes + self.outbox.queued_bytes
        self._taken_position, _ = self._taken()

    def _taken(self) -> tuple[int, int]:
        """Bytes that the peer has taken of what was sent, and those that it has not."""
        unacknowledged = self._transport.unacknowledged_bytes()
        return self.sent_bytes - unacknowledged, self.outbox.queued_bytes + unacknowledged

    def _queue_held(self) -> None:
        if self._held is not None:
            self.outbox.append(self._held)
            self._held = None

    def _put_last(self, frame: bytes) -> None:
        self.is_corked = False
        self._queue_held()
        self.outbox.append(frame)
        self._flush()
        self._take_no_more_messages()
        self._await_end()

    def _await_end(self) -> None:
        """Begin to wait for the peer: nothing more will be sent after what is queued."""
        self._waits_since_s = self._transport.now_s()
        self._note_asked()
        self._transport.request_wake(0)

    def _start_close(self, code: int, reason: str) -> None:
        self._note_close(code, reason)
        self._state = State.CLOSING
        self._read_on(~0)  # for the peer's close frame
        self._put_last(close_frame(code, reason))
        self._tell_waiting()

    def _note_close(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code = code
            self.close_reason = reason

    def _make_room(self, size: int) -> bool:
        """Make room for a message by the queue's policy. False when it is not to be sent."""
        if self.is_corked:
            self._flush()
            if not self.outbox.is_over(size):
                return self._state is _OPEN
        if self._settings.queue_policy is QueuePolicy.DROP_OLDEST:
            self.dropped_messages += self.outbox.drop_oldest(size)
            return True
        if self._settings.queue_policy is QueuePolicy.DROP_NEWEST:
            self.dropped_messages += 1
            return False
        self.dropped_messages += 1 + self.outbox.drop_all()
        self._start_close(
            CloseCode.TRY_AGAIN_LATER,
            f"over {self._settings.max_queue_size} bytes were not taken",
        )
        return False

    def _flush(self) -> None:
        self._queue_held()
        self.outbox.flush(self._write)
        if not self.outbox.queued_bytes:
            self._tell_waiting()

    def _stop_reading(self, by: int) -> None:
        if self._state is _OPEN:
            self._pauses |= by
            self.wants_data = False

    def _read_on(self, by: int) -> None:
        self._pauses &= ~by
        if not self._pauses and not self.wants_data and not self.is_closed:
            self.wants_data = True
            self._transport.request_turn()

    def _take_no_more_messages(self) -> None:
        if isinstance(self._reader, MessageReader):
            self._reader = LeftoverReader(self._reader, self._settings.max_message_size)

    def _set_closed(self) -> None:
        self._take_no_more_messages()
        self._state = State.CLOSED
        self.is_closed = True
        self.wants_data = False

    def _tell_waiting(self) -> None:
        if self._room_made is not None:
            self._room_made.set()

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
        self._set_closed()
        self._held = None
        self.outbox.clear()
        self._tell_waiting()
        self._transport.request_turn()
