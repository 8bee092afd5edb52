"""One WebSocket after its handshake: what it receives, and the order of its callbacks.

No socket, no poller, no Flask: a transport brings bytes and turns, `Callbacks` is the user's
handler with whatever it runs in. What it sends is in `sending`, its pings and time limits are in
`listening`.

Invariant: `opened` comes first, `message_received` one at a time and in order, `closed` last; each
of `opened` and `closed` exactly once. They run only in the transport's turn, of which there is
never more than one at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .carrier import Transport
from .closing_handshake import Cause, State
from .errors import CloseCode
from .limits import ClientSettings, RatePolicy
from .listening import PAUSED_BY_RATE, Listening
from .message_reader import (
    Event,
    Failed,
    Flooded,
    LeftoverReader,
    MessageReader,
    PeerClosed,
    Reply,
)
from .send_queue import QueueBudget
from .token_bucket import TokenBucket

if TYPE_CHECKING:
    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from .frames import Message

_OPEN = State.OPEN

_CONTROLS_PER_S = 100
_CONTROLS_AT_ONCE = 1000
"""Pings and pongs that nobody asked for. A client needs one in some seconds."""
_MESSAGE = (str, bytes)  # as a tuple: `str | bytes` would be made anew for every message


class Callbacks(Protocol):
    """What a connection calls, in its transport's turn. None of them raises."""

    def opened(self, connection: Any) -> int | None:
        """The connection is open: this one, or one that outlives it.

        Returns a close code to close it, or None.
        """

    def message_received(self, message: Message) -> int | None:
        """A message came. Returns a close code to close the connection, or None."""

    def session_check_came(self) -> int | None:
        """It is time to check the session. Returns a close code to close with, or None."""

    def closed(self, code: int, reason: str) -> None:
        """The connection is over, with the first close frame's code; 1006 if there was none."""


class Place(Protocol):
    """What a connection gives back at its end."""

    def release(self) -> None: ...


class NoCallbacks:
    """After the last one; also lets the handler go without the garbage collector."""

    def opened(self, connection: Any) -> int | None:
        return None

    def message_received(self, message: Message) -> int | None:
        return None

    def session_check_came(self) -> int | None:
        return None

    def closed(self, code: int, reason: str) -> None:
        pass


_NO_CALLBACKS = NoCallbacks()


class Connection(Listening):
    """One client's WebSocket."""

    begins_client = True
    """Whether its client has not been here before, by another connection of the same handler."""
    ends_client = True
    """Whether its client is gone with it."""
    prefix_size = 0
    """Bytes that a subprotocol of this package's adds to each message of the application."""
    counts_end = True
    """Whether its end is counted as a client's; else whoever outlives it does that."""
    positions = None
    """Where its client is in logs: an ordinary one can't tell."""
    transport = Transport.WEBSOCKET

    __slots__ = (
        "_callbacks",
        "_controls",
        "_reader",
        "is_probe",
        "rate_bucket",
        "received_bytes",
        "received_messages",
        "slot",
    )

    def __init__(
        self,
        callbacks: Callbacks,
        settings: ClientSettings,
        deflate: PerMessageDeflate | None = None,
        *,
        budget: QueueBudget | None = None,
        slot: Place | None = None,
        is_probe: bool = False,
    ) -> None:
        """`budget` bounds the queues of many connections; `slot` is released at the end."""
        super().__init__(settings, deflate, budget)
        self._callbacks: Callbacks = callbacks
        self._reader: MessageReader | LeftoverReader
        self._reader = MessageReader(settings.max_message_size + self.prefix_size, deflate)
        #: Its place among the connections of the process.
        self.slot = slot
        #: Whether it only looks at the app: it is in no figures.
        self.is_probe = is_probe
        # Written by the turn alone.
        #: Of the client's messages; whoever follows this connection goes on with it.
        self.rate_bucket: TokenBucket | None = None
        self._controls: TokenBucket | None = None
        self.received_messages = 0
        #: Of frames and their heads, as they were on the way; the transport counts them.
        self.received_bytes = 0

    @property
    def callbacks(self) -> Callbacks:
        """What it calls; nobody's after the last one."""
        return self._callbacks

    def close_at_stop(self, code: int) -> None:
        """Close as the process ends. Any thread."""
        self.close(code)

    # The transport's turn.

    def open(self) -> None:
        """Run the first callback, in the first turn."""
        self._close_if_told(self._callbacks.opened(self))

    def check_session(self) -> None:
        """Run the callback that says whether the client may stay."""
        self.check_is_due = False
        if self._state is _OPEN:
            self._close_if_told(self._callbacks.session_check_came())

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
            count, reader.control_frames = reader.control_frames, 0
            self._count_controls(count - self._awaited_pongs)
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
                    self._queue_corked_frame()
                    self.is_corked = False
            self._take(event)
        if self.send_queue.queued_bytes:
            self.flush()

    def _may_send_so_much(self) -> bool:
        """Count a message of the peer. False if it is closed because of it."""
        rate = self._settings.message_rate
        if rate is None:
            return True
        now_s = self._transport.now_s()
        if self.rate_bucket is None:
            self.rate_bucket = TokenBucket(rate.per_second, rate.burst, now_s)
        wait_s = self.rate_bucket.take(1, now_s)
        if wait_s <= 0:
            return True
        if self._settings.message_rate_policy is RatePolicy.CLOSE:
            reason = f"over {rate.per_second:g} messages a second"
            self.close(CloseCode.POLICY_VIOLATION, reason)
            return False
        with self._lock:
            self._paused_until_s = now_s + wait_s
            self._stop_reading(PAUSED_BY_RATE)
        self._transport.request_wake(wait_s)
        return True

    def _count_controls(self, count: int) -> None:
        """Close a peer that sends nothing but pings or pongs, and those by the thousand."""
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
            if self.send_queue.queued_bytes:
                self._move(Cause.ENDED_BY_PEER)
                self._await_end()
            else:
                self._lose()

    def finish(self) -> None:
        """Run the last callback, after the connection `is_closed`. The last turn's last act."""
        with self._lock:
            self._wake_waiting()
        code = CloseCode.ABNORMAL_CLOSURE if self.close_code is None else self.close_code
        self.close_code = code
        try:
            self._tell_end(code)
        finally:
            self._callbacks = _NO_CALLBACKS
            self.release_slot()

    def _tell_end(self, code: int) -> None:
        """Run the last callback."""
        callbacks, self._callbacks = self._callbacks, _NO_CALLBACKS
        callbacks.closed(code, self.close_reason)

    def never_opens(self) -> None:
        """Let go of what waits for a socket: it will be on none."""
        self.release_slot()

    def release_slot(self) -> None:
        """Give its place to another: it has ended, or will never begin."""
        if self.slot is not None:
            self.slot.release()

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
                if self._state is _OPEN and not self.send_queue.is_over(len(event.data)):
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
                self._put_last(self._close_frame(event.code, ""))
            self._move(Cause.CLOSED_BY_PEER)

    def _fail(self, event: Failed) -> None:
        with self._lock:
            if self._state is _OPEN:
                self._note_close(event.code, event.reason)
                self._put_last(self._close_frame(event.code, event.reason))
            self._move(Cause.FAILED)

    # With _lock held.

    def _take_no_more_messages(self) -> None:
        if isinstance(self._reader, MessageReader):
            self._reader = LeftoverReader(self._reader, self._settings.max_message_size)
