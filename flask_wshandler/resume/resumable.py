"""A connection that outlives the network: the handler's, over any number of legs.

It is the handler's connection, and decides whether a leg's end is the client's: it runs the
callbacks of both, and waits for the client in between. What it sends and keeps is in `outbox`,
which leg there is in `succession`. It has no socket and no thread. What has to be done while there
is no leg is done in a turn that its `Home` gives it.

Invariants:
- The handler's callbacks run in the turn of the current leg, or in the home's when there is none.
- `_lock` is taken before a leg's own, never the other way round.

It is long for two reasons. The handler needs one object, so a third of this are one-line answers of
others. And each step from phase to phase is decided under one lock, by what a leg, the timer, the
client's next return and the handler have done: two objects would have to tell each other all of it.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from typing import TYPE_CHECKING

from ..protocol.errors import CloseCode, check_close
from ..protocol.frames import message_frame
from ..runtime import faults, logs
from .endpoint import MESSAGE, Hello
from .home import NoResumableCallbacks
from .leg import Leg, gap_frame, numbered_frame, numbered_message, place_frame, place_of
from .outbox import Outbox
from .places import Places
from .releasing import Released
from .succession import Succession

if TYPE_CHECKING:
    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from ..protocol.connection import Place
    from ..protocol.frames import OutgoingMessage, Sendable
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget
    from .endpoint import Endpoint, Offer, Return
    from .home import Home, ResumableCallbacks

logger = logs.logger(__package__)

_NO_CALLBACKS = NoResumableCallbacks()


class Phase(enum.Enum):
    """Of a resumable connection."""

    HERE = enum.auto()
    """There is a leg, from the handshake on."""
    AWAY = enum.auto()
    ENDING = enum.auto()
    """The home has been asked for the turn of the last callback."""
    ENDED = enum.auto()


_LASTING = (Phase.HERE, Phase.AWAY)


class ResumableConnection:
    """One client, however often it comes back. Any thread, except where noted."""

    __slots__ = (
        "__weakref__",
        "_away_since_s",
        "_budget",
        "_callbacks",
        "_close",
        "_home",
        "_is_told_away",
        "_legs",
        "_lock",
        "_opened_at_s",
        "_outbox",
        "_phase",
        "_places",
        "_settings",
        "_slot",
        "_was_lost",
        "due_tick",
        "former_id",
        "is_corked",
        "slow_turns",
        "subprotocol",
    )

    def __init__(
        self,
        callbacks: ResumableCallbacks,
        settings: ClientSettings,
        home: Home,
        budget: QueueBudget | None,
        slot: Place | None,
        endpoint: Endpoint[bytes],
    ) -> None:
        self._callbacks: ResumableCallbacks = callbacks
        self._settings = settings
        self._home = home
        self._budget = budget
        self._slot = slot
        #: The application's subprotocol.
        self.subprotocol: str | None = None
        #: The connection id of the client's last handler, if that is gone; it says so itself.
        self.former_id: str | None = None
        # The timer's and the pollers'.
        self.due_tick: int | None = None
        self.slow_turns = 0
        self.is_corked = False

        # Reentrant: see `outbox`.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._outbox = Outbox(self, self._lock, settings, budget, endpoint)
        self._legs = Succession()
        self._phase = Phase.HERE
        #: Whether the client had another one, whose handler is gone.
        self._was_lost = False
        #: Whether `went_away` was called since the client was here. Its turns'.
        self._is_told_away = False
        self._away_since_s = 0.0
        #: What it was told to close with when there was no leg to do it.
        self._close: tuple[int, str] | None = None
        self._opened_at_s = 0.0
        #: Where the client was in logs of collections, as far as it is not in these yet.
        self._places: Places | None = None

    # What the handler sends.

    def send(self, message: Sendable) -> bool:
        """Send a message, or keep it for the client's return. False if it will not get it."""
        # As numbered_frame does, which would cost another 0.1 µs.
        if type(message) is str:
            frame = message_frame(MESSAGE + message)
        else:
            frame = numbered_frame(message)
        with self._lock:
            return self._outbox.send(frame, None)

    def deliver(self, message: OutgoingMessage) -> bool:
        """Send or keep a message that others are sent, too."""
        numbered = numbered_message(message)
        frame = numbered.plain_frame or numbered.frame(None)
        with self._lock:
            return self._outbox.send(frame, numbered)

    def deliver_all(self, messages: list[OutgoingMessage]) -> None:
        """Send or keep messages that came together."""
        for message in messages:
            self.deliver(message)

    @property
    def session(self) -> str:
        """What the client says when it comes back. Of the derived class."""
        raise NotImplementedError

    # What the handler needs: see `handlers.handler.Peer`.

    @property
    def is_open(self) -> bool:
        """Whether messages are sent, or kept for the client's return."""
        with self._lock:
            leg = self._outbox.leg
            return self.lasts and (leg is None or leg.may_be_followed)

    @property
    def lasts(self) -> bool:
        """Whether the client may still come back, and nobody has closed. With _lock held."""
        return self._close is None and self._phase in _LASTING

    @property
    def is_connected(self) -> bool:
        """Whether the client is there at this moment."""
        leg = self._outbox.leg
        return leg is not None and leg.is_open

    @property
    def callbacks(self) -> ResumableCallbacks:
        """What it calls."""
        return self._callbacks

    @property
    def is_away(self) -> bool:
        """Whether the client is lost, and waited for."""
        return self._phase is Phase.AWAY

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not taken yet, or that wait for its return."""
        return self._outbox.queued_bytes

    @property
    def received_messages(self) -> int:
        """The number of the client's last message."""
        return self.endpoint.received

    @property
    def sent_messages(self) -> int:
        """The number of the last message to it."""
        return self.endpoint.sent

    @property
    def dropped_messages(self) -> int:
        """Messages that the full queue has dropped."""
        return self._outbox.dropped_messages + self._legs.dropped_messages

    @property
    def received_bytes(self) -> int:
        """Of frames and their heads."""
        return self._legs.received_bytes

    @property
    def sent_bytes(self) -> int:
        """Of frames and their heads."""
        return self._legs.sent_bytes

    @property
    def age_s(self) -> float:
        """How long it has been open."""
        return self._home.timer.clock.now_s() - self._opened_at_s

    @property
    def close_code(self) -> int | None:
        """Of the first close frame; None until then."""
        if self._close is not None:
            return self._close[0]
        leg = self._legs.current
        return None if leg is None or leg.may_be_followed else leg.close_code

    @property
    def close_reason(self) -> str:
        """What stood in it."""
        if self._close is not None:
            return self._close[1]
        leg = self._legs.current
        return "" if leg is None else leg.close_reason

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close for good. Raises TypeError or ValueError for what may not be sent."""
        check_close(code, reason)
        with self._lock:
            if not self.lasts:
                return
            leg = self._outbox.leg
            if leg is not None and leg.is_open:
                leg.close(code, reason)
            elif self._phase is Phase.AWAY:
                self._end_apart(code, reason)
            elif leg is None or leg.may_be_followed:
                self._close = code, reason  # for the leg that begins, or the one that ends

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

    def pause(self) -> None:
        """Stop reading until `resume`."""
        with self._lock:
            self._legs.pause()

    def resume(self) -> None:
        """Read on after `pause`."""
        with self._lock:
            self._legs.resume()

    def wait_until_writable(self, size: int) -> bool:
        """Wait until `size` more bytes fit. False once it is over.

        Only for threads that nobody else waits for.
        """
        return self._outbox.wait_until_writable(size)

    # What collections need: see `handlers.member.Positions`.

    @property
    def positions(self) -> ResumableConnection:
        """Where the client is in logs: it can tell, and be told."""
        return self

    def take_place(self, stream: str) -> str | None:
        """Where the client was in a log; once."""
        with self._lock:
            place = None if self._places is None else self._places.pop(stream)
            self._places = self._places or None
            return place

    def tell_place(self, place: str) -> None:
        """Send the client that it is at `place` in a log."""
        with self._lock:
            self._outbox.send(place_frame(place), None)

    def tell_gap(self, place: str) -> None:
        """Send the client that messages up to `place` in a log can't be had."""
        with self._lock:
            self._outbox.send(gap_frame(place), None)

    # What legs need: see `leg.LastingConnection`.

    @property
    def endpoint(self) -> Endpoint[bytes]:
        """The numbers of both directions, and what is kept."""
        return self._outbox.endpoint

    def first_leg(self, offer: Offer, deflate: PerMessageDeflate | None) -> Leg:
        """The leg of the handshake, of a client that returns if its last handler is gone. Once."""
        returns = offer.returns
        self._was_lost = returns is not None and not returns.is_anew
        self._places = Places(offer.places.items()) or None
        self._opened_at_s = self._home.timer.clock.now_s()
        leg = self._new_leg(deflate, is_first=True)
        self._legs.begin(leg, 0 if returns is None else returns.tries)
        return leg

    def _new_leg(self, deflate: PerMessageDeflate | None, *, is_first: bool) -> Leg:
        return Leg(self, self._callbacks, self._settings, deflate, self._budget, is_first=is_first)

    def leg_of_return(self, returns: Return, deflate: PerMessageDeflate | None) -> Leg | None:
        """Take the client back; what serves it from now on.

        None if it can't go on: because this has ended, or does for the lack of what the client
        lacks.
        """
        leg = self._new_leg(deflate, is_first=False)
        with self._lock:
            if self._phase not in _LASTING:
                return None
            if self._legs.is_overtaken(returns.tries):
                leg.supersede()  # the client has given it up, and tried again
                return leg
            if not self._takes_back(returns):
                return None
            if self._legs.add(leg):
                self._phase = Phase.HERE
                self._home.timer.cancel(self)
                self._home.is_away_no_more(self)
        return leg

    def release(self, returns: Return) -> Released | None:
        """End the handler with 1001, whose client has come back where it can't go on with it.

        None if this has ended, or the client has been here since, or what it lacks is not kept.
        """
        with self._lock:
            if self._phase not in _LASTING or self._legs.is_overtaken(returns.tries):
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

    def acknowledged(self, leg: Leg, number: int) -> bool:
        """The client has taken so many messages. False if that was known.

        Raises `ResumeProtocolError` if it can't be.
        """
        with self._lock:
            return self._outbox.acknowledged(leg, number)

    def give_late(self, leg: Leg) -> None:
        """Have `leg` send what it could not. In its turn."""
        with self._lock:
            leg.give_late()

    def leg_opened(self, leg: Leg) -> None:
        """Start `leg` if it is its time. In its turn."""
        with self._lock:
            if leg is not self._legs.current or leg is self._outbox.leg:
                return
            is_return_told, self._is_told_away = self._is_told_away, False
            self._start(leg)
        code = None
        if leg.begins_client:
            code = self._callbacks.opened(self)
        elif is_return_told:
            code = self._callbacks.came_back()
        if code is not None:
            self.close(code)

    def leg_ended(self, leg: Leg) -> None:
        """Go on without `leg`, or end with it. In its last turn."""
        with self._lock:
            self._legs.forget_next(leg)
            if leg is not self._legs.current or self._phase is Phase.ENDED:
                return
            self._outbox.wait_for_leg()
            self._note_end(leg)
            is_lost = self._close is None and self._legs.next is None
        if is_lost:
            self._tell_away()
        with self._lock:
            if self._close is None:
                self._replace(leg)
                return
        leg.ends_client = True
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
        """Run the last callback. Never raises."""
        del events
        with self._lock:
            if self._phase is not Phase.ENDING:
                return
        try:
            self._finish()
        except BaseException as error:
            faults.note("turn")
            logger.error("a resumable connection has not ended well", error=error)

    @property
    def connection(self) -> ResumableConnection:
        """Where its turn writes: nowhere."""
        return self

    def uncork(self) -> None:
        """Do nothing: its turn holds nothing back."""

    def on_time(self, now_s: float) -> float | None:
        """End it if the client has not come back in time."""
        with self._lock:
            if self._phase is not Phase.AWAY:
                return None
            rest_s = self._away_since_s + self._settings.resume_s - now_s
            if rest_s > 0:
                return rest_s
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
        self._outbox.start(leg, hello.text())
        self._legs.started(leg)
        if self._close is not None and leg.is_open:
            close, self._close = self._close, None
            leg.close(*close)

    def _note_end(self, leg: Leg) -> None:
        """Decide whether the end of `leg` is that of the client."""
        is_last = self._legs.next is None and self._home.is_stopping
        if self._close is None and (is_last or not leg.may_be_followed):
            code = CloseCode.ABNORMAL_CLOSURE if leg.close_code is None else leg.close_code
            self._close = code, leg.close_reason

    def _replace(self, leg: Leg) -> None:
        """Go on with the leg that waits, or without one."""
        following = self._legs.move_on(leg)
        if following is None:
            self._phase = Phase.AWAY
            self._away_since_s = self._home.timer.clock.now_s()
            self._home.timer.wake(self, self._settings.resume_s)
            self._home.went_away(self)
        elif following.has_opened:
            following.run_in_turn()

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
