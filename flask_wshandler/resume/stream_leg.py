"""A network connection without a WebSocket: a response of HTTP that goes on, or one poll.

What the handler sends is written as events; what the client says comes by other requests, and is
taken out of the postbox of the resumable connection in this leg's turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.carrier import Transport
from ..protocol.closing_handshake import Cause, State
from ..protocol.errors import CloseCode
from ..protocol.event_stream import LAST_CHUNK, chunk, close_event, message_event
from ..protocol.frames import OutgoingMessage
from ..protocol.message_reader import PeerClosed
from .endpoint import ResumeProtocolError, parse_acknowledgement
from .leg import Leg, ResumeCode, unframed
from .postbox import is_message
from .posts import CLOSE, parse_close

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.carrier import Carrier
    from ..protocol.frames import Message

_OPEN = State.OPEN

_MOST_PER_TURN = 64
"""Then it is the others' turn."""
_MOST_STRAY_BYTES = 64 * 1024
"""What a client may send behind its request, which means nothing."""
_LONGEST_POLL_S = 25.0
"""Where no pings are sent: proxies end what is silent for longer than half a minute."""


class StreamLeg(Leg):
    """One client's response of HTTP, until it is lost."""

    transport = Transport.STREAM

    __slots__ = ("_is_chunked", "_stray_bytes")

    def _begin(self, carrier: Carrier) -> None:
        self._is_chunked = carrier.is_chunked
        self._stray_bytes = 0  # the turn's

    # Any thread.

    def give(self, frame: bytes, message: OutgoingMessage | None) -> bool:
        """Send or queue a message that has been given its number. False if it is not sent."""
        return super().give(self._event(message or unframed(frame)), None)

    def start(self, hello: str, kept: Iterable[bytes], new: int) -> bool:
        """Say hello, send what the client lacks, and take what it posts. In its turn, once."""
        return super().start(hello, [self._event(unframed(frame)) for frame in kept], new)

    def _event(self, message: OutgoingMessage) -> bytes:
        """What is sent of a message: made once for all whose responses are in chunks."""
        if not self._is_chunked:
            return message_event(message.payload, is_text=message.is_text)
        if message.as_chunk is None:
            message.as_chunk = chunk(message_event(message.payload, is_text=message.is_text))
        return message.as_chunk

    def _note_frame(self, text: str) -> memoryview:
        return memoryview(self._encoded(message_event(text.encode(), is_text=True)))

    def _close_frame(self, code: int, reason: str) -> bytes:
        return self._encoded(close_event(code, reason)) + self._last_chunk

    def _encoded(self, event: bytes) -> bytes:
        return chunk(event) if self._is_chunked else event

    @property
    def _last_chunk(self) -> bytes:
        return LAST_CHUNK if self._is_chunked else b""

    # The transport's turn.

    @property
    def has_posted(self) -> bool:
        """Whether something that was posted waits for a turn."""
        return self._lasting.first_posted() is not None

    def open(self) -> None:
        """Take the first turn."""
        super().open()
        self._take_posted()

    def do_pending(self) -> None:
        """Do what was put off, and take what was posted."""
        self._take_posted()
        super().do_pending()

    def receive_data(self, data: bytes) -> None:
        """Throw away what no client sends that waits for a response to end."""
        self._stray_bytes += len(data)
        if self._stray_bytes > _MOST_STRAY_BYTES:
            self.abort()

    def _take_posted(self) -> None:
        # What the callbacks send goes out in one write.
        was_corked, self.is_corked = self.is_corked, True
        try:
            for _ in range(_MOST_PER_TURN):
                if not self._take_first_posted():
                    return
        finally:
            if not was_corked:
                self.uncork()
        self._transport.request_turn()

    def _take_first_posted(self) -> bool:
        """Take one entry of the postbox. False if there is none, or it has to wait."""
        if not self.wants_data or self._state is not _OPEN or not self._is_started:
            return False
        entry = self._lasting.first_posted()
        if entry is None:
            return False
        self._awaited_pongs = 0
        self.received_bytes += len(entry)
        if not is_message(entry):
            self._take_note(entry)
            if self.close_code == ResumeCode.TAKEN_OVER:
                return False  # meanwhile: the next leg takes it
            self._lasting.remove_first_posted()
            return True
        before = self._endpoint.received
        try:
            self._take_message(entry)
        finally:
            is_taken = self._endpoint.received != before
            if is_taken:
                self._lasting.remove_first_posted()
        return is_taken  # else this leg has just ended, and the next one takes it

    def _take_note(self, message: Message) -> None:
        """Take what is no message of the application's."""
        assert isinstance(message, str)
        if message[:1] == CLOSE:
            self._take_close(message)
        elif not self._is_outdated(message):
            super()._take_note(message)

    def _is_outdated(self, note: str) -> bool:
        """Whether it is an acknowledgement that a later one, or a return, has overtaken."""
        try:
            return parse_acknowledgement(note) < self._endpoint.acknowledged
        except ResumeProtocolError:
            return False

    def _take_close(self, note: str) -> None:
        try:
            self._answer_close(PeerClosed(*parse_close(note)))
        except ResumeProtocolError as error:
            self.close(CloseCode.PROTOCOL_ERROR, str(error)[:100])

    # With _lock held.

    def _start_close(self, code: int, reason: str) -> None:
        # Nobody answers: what the client has closed is its connection.
        if self._is_started and self._lasting.endpoint.owes_acknowledgement:
            self._put_acknowledgement()
        self._note_close(code, reason)
        self._put_last(self._close_frame(code, reason))
        self._end_at_once()

    def _end_at_once(self) -> None:
        self._move(Cause.FAILED)
        self._wake_waiting()
        self._transport.request_turn()


class PollLeg(StreamLeg):
    """A response that ends when it has said something."""

    transport = Transport.POLL

    __slots__ = ("_ends_at_s", "_is_ending", "_may_be_silent", "is_answered")

    def _begin(self, carrier: Carrier) -> None:
        super()._begin(carrier)
        self.is_answered = False
        # Guarded by _lock.
        self._is_ending = False
        self._ends_at_s: float | None = None
        # Before the first turn.
        self._may_be_silent = False

    def expect_silence(self) -> None:
        """The client has asked again after an answer, and is in no hurry. Before the first turn."""
        self._may_be_silent = True

    def start(self, hello: str, kept: Iterable[bytes], new: int) -> bool:
        """Say hello, and what the client lacks."""
        kept = list(kept)
        is_started = super().start(hello, kept, new)
        # Who comes back from a loss waits for the hello, which may be held back until the end.
        if is_started and (kept or not self._may_be_silent):
            self._end_soon()
        elif self._settings.ping_interval is None:
            self._ends_at_s = self._transport.now_s() + _LONGEST_POLL_S
            self._transport.request_wake(_LONGEST_POLL_S)
        return is_started

    def on_time(self, now_s: float) -> float | None:
        """Do what is due; return in how many seconds to look again, or None."""
        rest_s = super().on_time(now_s)
        ends_at_s = self._ends_at_s
        if ends_at_s is None or self._state is not _OPEN:
            return rest_s
        if now_s >= ends_at_s:
            self._ends_at_s = None
            self._end_soon()
            return rest_s
        return ends_at_s - now_s if rest_s is None else min(rest_s, ends_at_s - now_s)

    def _end_soon(self) -> None:
        """End in the next turn, with all that is said until then."""
        if not self._is_ending:
            self._is_ending = True
            self._put_off(self._end)

    def _end(self) -> None:
        with self._lock:
            if self._state is not _OPEN:
                return
            self.is_answered = True
            self.is_corked = False
            self._queue_corked_frame()
            if self._is_chunked:
                self.send_queue.append(memoryview(LAST_CHUNK))
            self._flush()
            self._take_no_more_messages()
            self._await_end()
            self._end_at_once()

    # With _lock held.

    def _send_or_queue(self, frame: bytes) -> bool:
        is_sent = super()._send_or_queue(frame)
        if is_sent:
            self._end_soon()
        return is_sent

    def _put(self, frame: bytes | memoryview) -> None:
        super()._put(frame)
        self._end_soon()
