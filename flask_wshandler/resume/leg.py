"""One network connection of a resumable connection: a `Connection` that speaks `wshandler.1`.

Invariant: no callback of the handler runs before `start`, and none after the turn in which the leg
has told the resumable connection of its end.
"""

from __future__ import annotations

import collections
import enum
import functools
from typing import TYPE_CHECKING, Protocol

from websockets.frames import Opcode

from ..protocol.closing_handshake import Cause, State
from ..protocol.connection import Callbacks, Connection
from ..protocol.errors import CloseCode
from ..protocol.frames import OutgoingMessage, message_frame
from ..protocol.listening import PAUSED_UNTIL_STARTED
from .endpoint import (
    ACKNOWLEDGE_AFTER_S,
    BINARY_MESSAGE,
    MESSAGE,
    PROBE,
    Endpoint,
    ResumeProtocolError,
    parse_acknowledgement,
)
from .places import gap_note, logged_head, place_after, place_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.carrier import Carrier
    from ..protocol.frames import Message, Sendable
    from ..protocol.limits import ClientSettings
    from ..protocol.message_reader import PeerClosed
    from ..protocol.send_queue import QueueBudget

_OPEN = State.OPEN
_WHOLE = 0b1000_0000


class ResumeCode(enum.IntEnum):
    """The close codes of `wshandler.1`, of the range for applications."""

    AWAY = 4000
    """The client closes this network connection only, and will be back."""
    TAKEN_OVER = 4409
    """The client has come back by another one; after HTTP's 409."""


class LastingConnection(Protocol):
    """What a leg belongs to."""

    @property
    def endpoint(self) -> Endpoint[bytes]:
        """The numbers of both directions, and what is kept."""

    def leg_opened(self, leg: Leg) -> None:
        """The leg has its first turn, which this is."""

    def leg_ended(self, leg: Leg) -> None:
        """The leg has its last turn, of which this is the last act."""

    def leg_never_opens(self, leg: Leg) -> None:
        """The leg will have no turn."""

    def close(self, code: int = ..., reason: str = ...) -> None:
        """Close for good, whatever has become of the leg."""

    def give_late(self, leg: Leg) -> None:
        """The leg's lock can be had, which could not be."""

    def go_on_with(self, endpoint: Endpoint[bytes]) -> None:
        """Take the numbers of another connection, and what it had kept."""

    def acknowledged(self, leg: Leg, number: int) -> bool:
        """The client has taken so many messages. False if that was known.

        Raises `ResumeProtocolError` if it can't be.
        """

    def take_steps(self, leg: Leg) -> None:
        """Do what waits for a turn of the client's. In that of `leg`."""

    def first_posted(self) -> Message | None:
        """The oldest of what the client has posted that is not taken yet."""

    def remove_first_posted(self) -> None:
        """That has been taken."""


class Leg(Connection):
    """One client's WebSocket, until it is lost."""

    counts_end = False
    is_answered = False
    """Whether it has ended for having said something, so that the client asks again at once."""
    prefix_size = len(BINARY_MESSAGE)

    __slots__ = (
        "_acknowledges_at_s",
        "_endpoint",
        "_is_leaving",
        "_is_started",
        "_lasting",
        "_late",
        "begins_client",
        "ends_client",
        "has_opened",
    )

    def __init__(
        self,
        lasting: LastingConnection,
        callbacks: Callbacks,
        settings: ClientSettings,
        carrier: Carrier,
        budget: QueueBudget | None,
        *,
        is_first: bool,
    ) -> None:
        super().__init__(callbacks, settings, carrier.deflate, budget=budget)
        self._lasting = lasting
        self.begins_client = is_first
        self.ends_client = False
        #: Whether it has had a turn.
        self.has_opened = False
        # Written with _lock held.
        self._is_started = False
        self._is_leaving = False
        #: Frames that could not be sent for want of _lock, before those that come now.
        self._late: collections.deque[bytes] | None = None
        #: When what was taken is to be acknowledged at the latest; None if nothing is owed.
        self._acknowledges_at_s: float | None = None
        #: Of what it belongs to, from its start on.
        self._endpoint = lasting.endpoint
        self._stop_reading(PAUSED_UNTIL_STARTED)
        self._begin(carrier)

    def _begin(self, carrier: Carrier) -> None:
        """Set what a derived class has besides."""

    @property
    def lasting(self) -> LastingConnection:
        """What it belongs to."""
        return self._lasting

    @property
    def may_be_followed(self) -> bool:
        """Whether it has ended in a way after which the client may come back by another one."""
        if self._state is _OPEN:
            return True
        if self._is_leaving or self.close_code == ResumeCode.TAKEN_OVER:
            return True
        return self.close_code in (None, CloseCode.ABNORMAL_CLOSURE)

    # Any thread.

    def expect_silence(self) -> None:
        """The client has asked again after an answer, and is in no hurry. Before the first turn."""

    def give(self, frame: bytes, message: OutgoingMessage | None) -> bool:
        """Send or queue a message that has been given its number. False if it is not sent.

        With the lock of the resumable connection held.
        """
        if self._deflate is not None:
            frame = (message or unframed(frame)).frame(self._deflate)
        lock = self._lock
        if self._late or (not lock.acquire(False) and not self._wait_for_lock()):
            return self._give_later(frame)
        try:
            return self._send_or_queue(frame)
        finally:
            lock.release()

    def _give_later(self, frame: bytes) -> bool:
        """What this thread can't do now, nobody may do for a message behind it, either."""
        if self._late is None:
            self._late = collections.deque()
        self._late.append(frame)
        if len(self._late) == 1:
            self._put_off(functools.partial(self._lasting.give_late, self))
        return True

    def give_late(self) -> None:
        """Send or queue what could not be then; what is dropped of it gives its number back.

        With the lock of the resumable connection held.
        """
        with self._lock:
            while self._late:
                if not self._send_or_queue(self._late[0]) and self._state is _OPEN:
                    self._lasting.endpoint.forget(1, len(self._late) - 1)
                self._late.popleft()

    def ask(self) -> None:
        """Have the client say at once what it has taken."""
        with self._lock:
            if self._state is _OPEN:
                self._put_ping()

    def take_posted(self) -> None:
        """Have a turn take what the client has posted."""
        self._transport.request_turn()

    def close_at_stop(self, code: int) -> None:
        """Close when the callbacks have answered what the client is told to have been taken."""
        self._put_off(functools.partial(self._close_in_order, code))

    def _close_in_order(self, code: int) -> None:
        # A client is told nothing before its hello.
        (self if self._is_started else self._lasting).close(code)

    def start(self, hello: str, kept: Iterable[bytes], new: int) -> bool:
        """Say hello, send what the client lacks, and read on. In its turn, once.

        `new` of the kept messages have not been sent by another leg. False if it is over already.
        """
        with self._lock:
            if self._state is not _OPEN:
                return False
            self._is_started = True
            self._endpoint = self._lasting.endpoint
            self._awaited_pongs = 0
            self.send_queue.append(self._note_frame(hello))
            for frame in kept:
                self.send_queue.append(frame)
            self.sent_messages += new
            self._flush()
            self._read_on(PAUSED_UNTIL_STARTED)
            return True

    def go_on_with(self, endpoint: Endpoint[bytes]) -> None:
        """Go on where a connection has been let go that another process had. Before it starts."""
        self._lasting.go_on_with(endpoint)

    def take_steps(self) -> None:
        """Do what waits for a turn of the client's. In this one."""
        self._lasting.take_steps(self)

    def run_in_turn(self) -> None:
        """Have `leg_opened` called again, in a turn."""
        self._put_off(self.open)

    def never_opens(self) -> None:
        """Let go of what waits for a socket: it will be on none."""
        self._lasting.leg_never_opens(self)

    def supersede(self) -> None:
        """Let another leg take its place: end at once, whatever the client answers."""
        with self._lock:
            if self._state is _OPEN:
                self._note_close(ResumeCode.TAKEN_OVER, "")
                self._put_last(self._close_frame(ResumeCode.TAKEN_OVER, ""))
            elif self.close_code in (None, CloseCode.ABNORMAL_CLOSURE):
                self._note_close(ResumeCode.TAKEN_OVER, "")
            self._move(Cause.FAILED)
            self._transport.request_turn()

    # The transport's turn.

    def open(self) -> None:
        """Take the first turn."""
        self.has_opened = True
        self._lasting.leg_opened(self)

    def _tell_end(self, code: int) -> None:
        del code
        self._lasting.leg_ended(self)

    def _take_message(self, message: Message) -> None:
        if message[:1] != (MESSAGE if type(message) is str else BINARY_MESSAGE):
            if self._state is _OPEN and self._is_started:
                self._take_note(message)
            return
        if self._settings.message_rate is not None and (
            self._state is not _OPEN or not self._may_send_so_much()
        ):
            return
        lock = self._lock
        lock.acquire()  # `with` takes half as long again
        # Whoever closes says how many were taken: it is one more or not, with the lock.
        try:
            if self._state is not _OPEN:
                return
            is_due = self._endpoint.take(len(message))
        finally:
            lock.release()
        self.received_messages += 1
        if is_due:
            self._acknowledge()
        elif self._acknowledges_at_s is None:
            self._acknowledges_at_s = self._transport.now_s() + ACKNOWLEDGE_AFTER_S
            self._transport.request_wake(ACKNOWLEDGE_AFTER_S)
        self._close_if_told(self._callbacks.message_received(message[1:]))

    def _close_if_told(self, code: int | None) -> None:
        # Not this leg: a callback outlasts it, if the client is lost meanwhile, or comes back.
        if code is not None:
            self._lasting.close(code)

    def _take_note(self, message: Message) -> None:
        """Take what is no message of the application's."""
        try:
            if not isinstance(message, str):
                raise ResumeProtocolError("a binary message of an unknown kind")
            if message == PROBE:
                self._count_controls(1)
                self._acknowledge()
            elif not self._lasting.acknowledged(self, parse_acknowledgement(message)):
                self._count_controls(1)
        except ResumeProtocolError as error:
            self.close(CloseCode.PROTOCOL_ERROR, str(error)[:100])

    def _answer_close(self, event: PeerClosed) -> None:
        if event.code == ResumeCode.AWAY and self._state is _OPEN:
            self._is_leaving = True
        super()._answer_close(event)

    # The timer's thread.

    def on_time(self, now_s: float) -> float | None:
        """Do what is due; return in how many seconds to look again, or None."""
        rest_s = super().on_time(now_s)
        due_s = self._acknowledges_at_s
        if due_s is None or self._state is not _OPEN:
            return rest_s
        if now_s >= due_s:
            self._acknowledge()
            return rest_s
        return due_s - now_s if rest_s is None else min(rest_s, due_s - now_s)

    def _acknowledge(self) -> None:
        """Say what was taken. Any thread."""
        with self._lock:
            if self._state is _OPEN and self._is_started:
                self._put_acknowledgement()

    # With _lock held.

    def _put_acknowledgement(self) -> None:
        self._acknowledges_at_s = None
        self._put(self._note_frame(self._lasting.endpoint.tell()))

    def _put_ping(self) -> None:
        # One that a page can see.
        if self._is_started:
            self._put(self._note_frame(PROBE))

    def _note_frame(self, text: str) -> memoryview:
        """The frame of what has no number, and is not dropped."""
        return memoryview(message_frame(text))

    def _start_close(self, code: int, reason: str) -> None:
        if self._is_started and self._lasting.endpoint.owes_acknowledgement:
            self._put_acknowledgement()
        super()._start_close(code, reason)

    def _apply_queue_policy(self, size: int) -> bool:
        before = self.dropped_messages
        is_to_be_sent = super()._apply_queue_policy(size)
        if is_to_be_sent and self.dropped_messages != before:
            # The new one is kept already, and those that are late.
            behind = self.send_queue.message_count + (len(self._late) if self._late else 1)
            self._lasting.endpoint.forget(self.dropped_messages - before, behind)
        return is_to_be_sent


def unframed(frame: bytes) -> OutgoingMessage:
    """The message of an uncompressed frame."""
    size = frame[1]
    head = 2 if size < 126 else 4 if size == 126 else 10
    return OutgoingMessage.of_payload(frame[head:], is_text=frame[0] & 15 == Opcode.TEXT)


def is_numbered_frame(frame: bytes) -> bool:
    """Whether it is one that has a number, and that this module could have made."""
    if len(frame) < 3 or frame[0] not in (_WHOLE | Opcode.TEXT, _WHOLE | Opcode.BINARY):
        return False
    message = unframed(frame)
    if frame != message.frame(None) or (message.is_text and not _is_utf8(message.payload)):
        return False
    try:
        place_of(frame)
    except ResumeProtocolError:
        return False
    return True


def place_of(frame: bytes) -> tuple[str, str] | None:
    """The stream and the place in it up to which an uncompressed frame brings its client.

    None for a message that is in no log.
    """
    message = unframed(frame)
    return place_after(message.payload, message.is_text)


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def numbered_frame(message: Sendable) -> bytes:
    """The frame of a message of the application, uncompressed. TypeError for what is none."""
    if type(message) is str:
        return message_frame(MESSAGE + message)
    return numbered_message(OutgoingMessage(message)).frame(None)


def numbered_message(message: OutgoingMessage) -> OutgoingMessage:
    """`message` as it goes over a leg; made once, however many clients it is for."""
    found = message.in_subprotocol
    if found is None:
        head = BINARY_MESSAGE if message.place is None else logged_head(message.place)
        payload = head + message.payload
        found = message.in_subprotocol = OutgoingMessage.of_payload(payload, message.is_text)
    return found


def place_frame(place: str) -> bytes:
    """The frame that says that the client is at a place in a log."""
    return message_frame(place_note(place))


def gap_frame(place: str) -> bytes:
    """The frame that says that messages up to a place in a log can't be had."""
    return message_frame(gap_note(place))
