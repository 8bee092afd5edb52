"""How long a peer is listened to: pings, its time for an answer, pauses of the reading.

What is due is done in the timer's thread; whether a silent peer is dead says the turn that has read
all there is. The rules are in `keepalive`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .closing_handshake import Cause, State
from .frames import ping_frame
from .keepalive import STOOD_STILL_S, has_kept_pace, time_to_take_s
from .limits import ClientSettings
from .send_queue import QueueBudget
from .sending import NO_TRANSPORT, SendingHalf, SocketWriter

if TYPE_CHECKING:
    from websockets.extensions.permessage_deflate import PerMessageDeflate

_OPEN = State.OPEN

# Who has stopped the reading: bits, because several can have.
PAUSED_BY_HANDLER = 1
PAUSED_BY_RATE = 2
PAUSED_UNTIL_STARTED = 4


class Listening(SendingHalf):
    """A connection's clock: when to ping, to read on, to check the session, to give up."""

    __slots__ = (
        "_ahead_bytes",
        "_asked_position",
        "_awaited_pongs",
        "_checked_at_s",
        "_paused_until_s",
        "_pauses",
        "_pinged_at_s",
        "_taken_position",
        "_waits_since_s",
        "check_is_due",
        "is_overdue",
        "opened_at_s",
        "wants_data",
    )

    def __init__(
        self,
        settings: ClientSettings,
        deflate: PerMessageDeflate | None,
        budget: QueueBudget | None,
    ) -> None:
        super().__init__(settings, deflate, budget)
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
        self._pauses = 0
        self._paused_until_s = 0.0
        #: Whether the transport is to read; False holds up the peer, by TCP.
        self.wants_data = True

    def attach(self, transport: SocketWriter) -> None:
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
            self._corked_frame = None
            self.send_queue.clear()
            self._transport = NO_TRANSPORT

    @property
    def age_s(self) -> float:
        """How long it has been open; 0 once its socket is gone."""
        transport = self._transport
        return 0.0 if transport is NO_TRANSPORT else transport.now_s() - self.opened_at_s

    @property
    def close_timeout_s(self) -> float:
        """How long the peer has for its part of a close."""
        return self._settings.close_timeout

    # Any thread.

    def pause(self) -> None:
        """Stop reading until `resume`: the peer is held up by TCP."""
        with self._lock:
            self._stop_reading(PAUSED_BY_HANDLER)

    def resume(self) -> None:
        """Read on after `pause`."""
        with self._lock:
            self._read_on(PAUSED_BY_HANDLER)

    # The transport's turn.

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

    # The timer's thread.

    def on_time(self, now_s: float) -> float | None:
        """Do what is due; return in how many seconds to look again, or None."""
        if self._state is _OPEN:
            waits_s = (
                self._resume_after_rate_pause(now_s),
                self._keep_alive(now_s),
                self._have_checked(now_s),
            )
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

    def _resume_after_rate_pause(self, now_s: float) -> float | None:
        """Read on when the peer's time is over; else in how many seconds, or None."""
        if not self._paused_until_s:
            return None
        with self._lock:
            rest_s = self._paused_until_s - now_s
            if rest_s > 0:
                return rest_s
            self._paused_until_s = 0.0
            self._read_on(PAUSED_BY_RATE)
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
        elif self.send_queue.queued_bytes:
            return  # the last one may not have left yet
        self._awaited_pongs += 1  # before the ping: a quick peer answers before the next line
        with self._lock:
            if self._state is not _OPEN:
                return
            self._put_ping()
            if self._awaited_pongs == 1:
                before = self._asked_position
                self._note_asked()
                self._ahead_bytes = self._asked_position - before

    # With _lock held.

    def _put_ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._put(ping_frame())

    def _note_asked(self) -> None:
        """What was sent last is to be answered."""
        self._asked_position = self.sent_bytes + self.send_queue.queued_bytes
        self._taken_position, _ = self._taken()

    def _taken(self) -> tuple[int, int]:
        """Bytes that the peer has taken of what was sent, and those that it has not."""
        unacknowledged = self._transport.unacknowledged_bytes()
        return self.sent_bytes - unacknowledged, self.send_queue.queued_bytes + unacknowledged

    def _await_end(self) -> None:
        self._waits_since_s = self._transport.now_s()
        self._note_asked()
        self._transport.request_wake(0)

    def _move(self, cause: Cause) -> None:
        super()._move(cause)
        if self.is_closed:
            self.wants_data = False

    def _read_to_the_end(self) -> None:
        self._read_on(~0)

    def _stop_reading(self, by: int) -> None:
        if self._state is _OPEN:
            self._pauses |= by
            self.wants_data = False

    def _read_on(self, by: int) -> None:
        self._pauses &= ~by
        if not self._pauses and not self.wants_data and not self.is_closed:
            self.wants_data = True
            self._transport.request_turn()
