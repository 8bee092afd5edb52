"""A connection that outlives the network: the handler's, over any number of legs.

It is the handler's connection, and decides whether a leg's end is the client's: it runs the
callbacks of both, and waits for the client in between. What it sends and keeps is in `outbox`,
which leg there is in `succession`. It has no socket and no thread. What has to be done while there
is no leg is done in a turn that its `Home` gives it.

Invariants:
- The handler's callbacks run in the turn of the current leg, or in the home's when there is none.
- `_lock` is taken before a leg's own, never the other way round.

What others ask of it is in `lasting`. This is long because each step from phase to phase is decided
under one lock, by what a leg, the timer, the client's next return and the handler have done: two
objects would have to tell each other all of it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..protocol.carrier import Transport
from ..protocol.errors import CloseCode, check_close
from ..runtime import faults, logs
from .endpoint import Hello
from .home import NoResumableCallbacks
from .lasting import LASTING, Lasting, Phase
from .leg import Leg, place_of
from .places import Places
from .postbox import Postbox, Posted, is_close_note, is_message, size_of
from .posts import parse_close
from .releasing import Released
from .stream_leg import PollLeg, StreamLeg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.carrier import Carrier
    from ..protocol.frames import Message
    from .endpoint import Endpoint, Offer, Return

logger = logs.logger(__package__)

_NO_CALLBACKS = NoResumableCallbacks()


_ENDS_IN_ORDER = ((CloseCode.GOING_AWAY, ""), (CloseCode.SERVICE_RESTART, ""))
"""After these a client knows that it has everything, if its last leg has said hello."""

_COMES_BACK_IN_S = 2.0
"""A client that has noticed that it was lost tries again in half a second at first."""

_BETWEEN_POLLS_S = 20.0
"""How long a client is waited for, where nothing says how long it may be silent."""

_LEGS: dict[Transport, type[Leg]] = {
    Transport.WEBSOCKET: Leg,
    Transport.STREAM: StreamLeg,
    Transport.POLL: PollLeg,
}


class ResumableConnection(Lasting):
    """One client, however often it comes back. Any thread, except where noted."""

    __slots__ = ()

    # Ends, and what the client says by other requests.

    @property
    def is_expected(self) -> bool:
        """Whether the client is here, between two polls, or was lost just now."""
        if self._phase is not Phase.AWAY or self._is_due_back:
            return self._phase in LASTING
        return self._home.timer.clock.now_s() - self._away_since_s < _COMES_BACK_IN_S

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close for good. Raises TypeError or ValueError for what may not be sent."""
        check_close(code, reason)
        with self._lock:
            if not self.lasts:
                return
            leg = self._outbox.leg
            if leg is not None and leg.is_open:
                leg.close(code, reason)
            elif self._phase is Phase.AWAY and not self._is_due_back:
                self._end_apart(code, reason)
            elif leg is None or leg.may_be_followed:
                # For the leg that begins, or the one that ends, or the next poll.
                self._close = code, reason

    def close_at_stop(self, code: int) -> None:
        """Close as the process ends; one without a leg that comes back at once is told so."""
        with self._lock:
            if self._phase is Phase.AWAY and self._close is None and self.is_expected:
                self._close = code, ""
                return
        self.close(code)

    def end_away(self, code: int) -> None:
        """Wait no longer for a client without a leg, as the process ends."""
        with self._lock:
            if self._phase is Phase.AWAY:
                self._end_apart(*(self._close or (code, "")))

    def expire(self) -> None:
        """Wait no longer for a client that is away, as when its time is over."""
        with self._lock:
            if self._phase is Phase.AWAY:
                self._end_apart(CloseCode.ABNORMAL_CLOSURE, "")

    def give_up(self, fault: Exception) -> None:
        """Close with 1011 after a fault of this package's. Never raises."""
        faults.note("turn")
        logger.error("a resumable connection is given up", error=fault)
        with contextlib.suppress(Exception):
            self.close(CloseCode.INTERNAL_ERROR)

    def post(self, first: int, entries: Sequence[Message]) -> Posted:
        """Take what the client says by another request than its leg's.

        `first` is the number of the first message among the entries. Of a client that is away only
        what it closes with is taken: its page has gone, with its leg a moment before.
        """
        is_close = bool(entries) and is_close_note(entries[-1])
        with self._lock:
            if self._postbox is None or not self.lasts or (self.is_away and not is_close):
                return Posted.UNKNOWN
            most = self._settings.max_message_size
            if any(size_of(entry) > most for entry in entries if is_message(entry)):
                return Posted.TOO_LARGE
            posted = self._postbox.put(first, entries)
            leg = self._outbox.leg
            if posted is Posted.TAKEN and is_close and self._phase is Phase.AWAY:
                if self._is_due_back:
                    self._home.timer.wake(self, self._patience_s)
                else:
                    self._home.request_turn_of(self)
        if posted is Posted.TAKEN and leg is not None:
            leg.take_posted()
        return posted

    # What legs need: see `leg.LastingConnection`.

    def first_leg(self, offer: Offer, carrier: Carrier) -> Leg:
        """The leg of the handshake, of a client that returns if its last handler is gone. Once."""
        returns = offer.returns
        self._was_lost = returns is not None and not returns.is_anew
        self._places = Places(offer.places.items()) or None
        self._opened_at_s = self._home.timer.clock.now_s()
        leg = self._new_leg(carrier, is_first=True)
        self._legs.begin(leg, 0 if returns is None else returns.tries)
        return leg

    def _new_leg(self, carrier: Carrier, *, is_first: bool) -> Leg:
        kind = _LEGS[carrier.transport]
        return kind(self, self._callbacks, self._settings, carrier, self._budget, is_first=is_first)

    def leg_of_return(self, returns: Return, carrier: Carrier) -> Leg | None:
        """Take the client back; what serves it from now on.

        None if it can't go on: because this has ended, or does for the lack of what the client
        lacks.
        """
        leg = self._new_leg(carrier, is_first=False)
        with self._lock:
            if self._phase not in LASTING:
                return None
            if self._legs.is_overtaken(returns.tries):
                leg.supersede()  # the client has given it up, and tried again
                return leg
            last = self._outbox.leg
            if self._is_due_back or (last is not None and last.is_answered):
                leg.expect_silence()
            if not self._takes_back(returns):
                return None
            if self._legs.add(leg):
                self._phase = Phase.HERE
                self._is_due_back = False
                self._home.timer.cancel(self)
                self._home.is_coming_back(self)
        return leg

    def release(self, returns: Return) -> Released | None:
        """End the handler with 1001, whose client has come back where it can't go on with it.

        None if this has ended, or the client has been here since, or what it lacks is not kept.
        """
        with self._lock:
            if self._phase not in LASTING or self._legs.is_overtaken(returns.tries):
                return None
            if not self._takes_back(returns):
                return None
            endpoint = self._outbox.endpoint
            released = Released(endpoint.received, endpoint.sent, tuple(endpoint))
            self._end_with(CloseCode.GOING_AWAY)
            self._outbox.wait_for_leg()
            return released

    def go_on_with(self, endpoint: Endpoint[bytes]) -> None:
        """Take the numbers of one that was released, and what it kept. Before the first turn."""
        with self._lock:
            self._was_lost = False
            self._outbox.go_on_with(endpoint)
            told = [] if self._places is None else self._places.items()
            on_their_way = filter(None, map(place_of, endpoint))
            self._places = Places([*told, *on_their_way]) or None

    def leg_opened(self, leg: Leg) -> None:
        """Start `leg` if it is its time. In its turn."""
        with self._lock:
            if leg is not self._legs.current or leg is self._outbox.leg or self._in_turn:
                return
            is_return_told, self._is_told_away = self._is_told_away, False
            self._start(leg)
            self._home.is_away_no_more(self)
        code = None
        if leg.begins_client:
            code = self._callbacks.opened(self)
        elif is_return_told:
            code = self._callbacks.came_back()
        if code is not None:
            self.close(code)
        if self._steps:
            leg.when_ready(leg.take_steps)

    def leg_ended(self, leg: Leg) -> None:
        """Go on without `leg`, or end with it. In its last turn."""
        with self._lock:
            self._legs.forget_next(leg)
            if leg is not self._legs.current or self._phase is Phase.ENDED:
                return
            self._outbox.wait_for_leg()
            self._note_end(leg)
            is_lost = self._close is None and self._legs.next is None
        if is_lost and not leg.is_answered:
            self._tell_away()
        with self._lock:
            if self._close is None or self._can_tell_end(leg):
                self._replace(leg)
                return
            leg.ends_client = True
            if self._in_turn:
                self._phase = Phase.ENDING  # which that turn does
                return
        self._finish()

    def leg_never_opens(self, leg: Leg) -> None:
        """Go on without `leg`, if it has had no turn: it will have none."""
        if leg.has_opened:
            return
        if leg.begins_client:
            with self._lock:
                self._phase = Phase.ENDED
                self._outbox.clear()
            self._release_slot()
        else:
            leg.abort()
            leg.finish()

    def _tell_away(self) -> None:
        if self._is_told_away:
            return
        self._is_told_away = True
        code = self._callbacks.went_away()
        with self._lock:
            if code is not None and self._close is None:
                self._close = code, ""

    # Turns that the home gives, and its timer.

    def serve(self, events: int) -> None:
        """Tell the handler that its client is away, or run the last callback. Never raises."""
        del events
        with self._lock:
            if self._in_turn:
                return  # which does this, too
            self._in_turn = True
        try:
            self._take_turn()
        except BaseException as error:
            faults.note("turn")
            logger.error("a resumable connection has not ended well", error=error)
        finally:
            with self._lock:
                self._in_turn = False
                leg = self._legs.current
                if self._phase is Phase.ENDING:
                    self._home.request_turn_of(self)  # it was too late for this one
            if leg is not None and leg.has_opened:
                leg.run_in_turn()  # it has come meanwhile

    def _take_turn(self) -> None:
        self._take_last_post()
        if self.is_away and self._close is None:
            self._tell_away()
        with self._lock:
            if self.is_away and self._close is not None:
                self._home.timer.cancel(self)
            elif self._phase is not Phase.ENDING:
                return
        self._finish()

    def _take_last_post(self) -> None:
        """Take what the client has posted before it has closed without a leg."""
        while True:
            with self._lock:
                box = self._postbox
                if not self.is_away or box is None or not box.is_last:
                    return
                entry = box.first
                if entry is None:
                    return
                box.remove_first()
                if is_close_note(entry):
                    self._close = self._close or parse_close(entry)
                    return
                if not is_message(entry):
                    continue
                self.endpoint.take(len(entry))
            code = self._callbacks.message_received(entry[1:])
            if code is not None:
                self.close(code)

    @property
    def connection(self) -> ResumableConnection:
        """Where its turn writes: nowhere."""
        return self

    @property
    def positions(self) -> ResumableConnection:
        """Where the client is in logs: it can tell, and be told."""
        return self

    def on_time(self, now_s: float) -> float | None:
        """End it if the client has not come back in time."""
        with self._lock:
            if self._phase is not Phase.AWAY:
                return None
            rest_s = self._away_since_s + self._patience_s - now_s
            if rest_s > 0:
                return rest_s
            if self._is_due_back:
                self._is_due_back = False
                self._away_since_s = now_s
                self._home.request_turn_of(self)
                return self._settings.resume_s
            self._end_apart(CloseCode.ABNORMAL_CLOSURE, "")
        return None

    def _finish(self) -> None:
        """Run the last callback. In the turn of the last leg, or in the home's."""
        with self._lock:
            self._phase = Phase.ENDED
            following = self._legs.take_next()
            assert self._close is not None
            code, reason = self._close
            self._outbox.clear()
            self._postbox = self._steps = None
        if following is not None:
            is_lost = code in (CloseCode.ABNORMAL_CLOSURE, CloseCode.NO_STATUS_RECEIVED)
            following.close(CloseCode.TRY_AGAIN_LATER if is_lost else code, reason)
        callbacks, self._callbacks = self._callbacks, _NO_CALLBACKS
        try:
            callbacks.closed(code, reason)
        finally:
            self._home.count_end(code)
            self._home.is_away_no_more(self)
            self._release_slot()

    def _release_slot(self) -> None:
        if self._slot is not None:
            self._slot.release()

    # With _lock held.

    def _takes_back(self, returns: Return) -> bool:
        """End the legs that there are; whether what the client lacks is kept. If not, end it."""
        self._legs.supersede(returns.tries)
        if not self._outbox.take_back_from(returns.received):
            self._end_with(CloseCode.ABNORMAL_CLOSURE)
            return False
        return True

    def _start(self, leg: Leg) -> None:
        hello = Hello(
            self.session,
            self.endpoint.received,
            resumed=not leg.begins_client,
            lost=leg.begins_client and self._was_lost,
            ping=self._settings.ping_interval,
            protocol=self.subprotocol,
        )
        if leg.transport is Transport.WEBSOCKET:
            self._postbox = None
        elif self._postbox is None:
            self._postbox = Postbox(self.endpoint.received, self._settings.max_message_size)
        self._outbox.start(leg, hello.text())
        self._legs.started(leg)
        if self._close is not None and leg.is_open:
            close, self._close = self._close, None
            leg.close(*close)

    def _note_end(self, leg: Leg) -> None:
        """Decide whether the end of `leg` is that of the client."""
        is_last = self._legs.next is None and self._home.has_stopped_waiting
        if self._close is None and (is_last or not leg.may_be_followed):
            code = CloseCode.ABNORMAL_CLOSURE if leg.close_code is None else leg.close_code
            self._close = code, leg.close_reason

    def _can_tell_end(self, leg: Leg) -> bool:
        """Whether the client can hear of the end by the leg behind `leg`, after a hello."""
        if leg.is_answered and leg.close_code is None:
            return True  # by the next poll
        return self._legs.next is not None and self._close in _ENDS_IN_ORDER

    def _replace(self, leg: Leg) -> None:
        """Go on with the leg that waits, or without one."""
        following = self._legs.move_on(leg)
        if following is None:
            self._phase = Phase.AWAY
            self._is_due_back = leg.is_answered
            self._away_since_s = self._home.timer.clock.now_s()
            self._home.timer.wake(self, self._patience_s)
            self._home.went_away(self)
        elif following.has_opened:
            following.run_in_turn()

    @property
    def _patience_s(self) -> float:
        """How long the client is waited for."""
        if not self._is_due_back:
            return self._settings.resume_s
        if self._postbox is not None and self._postbox.is_last:
            return _COMES_BACK_IN_S  # it has closed: it polls for the answer, or not at all
        return self._settings.ping_timeout or _BETWEEN_POLLS_S

    def _end_apart(self, code: int, reason: str) -> None:
        """End it in a turn of the home's."""
        self._close = code, reason
        self._phase = Phase.ENDING
        self._home.timer.cancel(self)
        self._home.request_turn_of(self)

    def _end_with(self, code: int) -> None:
        """End it, without a word to the client, which is elsewhere."""
        if self._phase is Phase.AWAY:
            self._end_apart(code, "")
        elif self._close is None:
            self._close = code, ""
