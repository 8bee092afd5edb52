"""A connection that outlives the network: the handler's, over any number of legs.

It is the handler's connection: what is sent goes to the leg that there is, and is kept until the
client has said that it has it. It has no socket and no thread. What has to be done while there is
no leg is done in a turn that its `Home` gives it.

Invariants:
- The handler's callbacks run in the turn of the leg that is `_leg`, or in the home's when there is
  none. A leg becomes that only when the one before has done its last act.
- `_lock` is taken before a leg's own, never the other way round.

What it sends and keeps is in `keeping`.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from typing import TYPE_CHECKING, Protocol

from ..protocol.connection import Callbacks, NoCallbacks, Place
from ..protocol.errors import CloseCode, check_close
from ..runtime import faults, logs
from .endpoint import Hello
from .keeping import KeepingHalf
from .leg import Leg
from .releasing import Released

if TYPE_CHECKING:
    import socket

    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from ..protocol.connection import Connection
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget
    from ..runtime.timer import Timer
    from .endpoint import Endpoint, Return

logger = logs.logger(__package__)


class ResumableCallbacks(Callbacks, Protocol):
    """What a resumable connection calls besides. Neither of them raises."""

    def went_away(self) -> int | None:
        """The client is lost, and may come back. Returns a close code to end it, or None."""

    def came_back(self) -> int | None:
        """The client is back. Returns a close code to close it with, or None."""


class _NoCallbacks(NoCallbacks):
    def went_away(self) -> int | None:
        return None

    def came_back(self) -> int | None:
        return None


_NO_CALLBACKS = _NoCallbacks()


class Home(Protocol):
    """Where resumable connections live: keeps account of those that have no leg."""

    @property
    def timer(self) -> Timer: ...

    @property
    def is_stopping(self) -> bool:
        """Whether this process ends, so that nobody can come back to it."""

    def went_away(self, connection: ResumableConnection) -> None:
        """It has no leg."""

    def is_away_no_more(self, connection: ResumableConnection) -> None:
        """It has one again, or has ended. Any number of times."""

    def count_end(self, code: int) -> None:
        """The client of one is gone, with that close code."""

    def adopt_taken(self, sock: socket.socket, connection: Connection, early: bytes) -> None:
        """Serve a socket that is here; returns at once. It is closed if that fails."""

    def request_turn_of(self, connection: ResumableConnection) -> None:
        """Have its `serve` called in a thread for callbacks."""


class Phase(enum.Enum):
    """Of a resumable connection."""

    HERE = enum.auto()
    """There is a leg, from the handshake on."""
    AWAY = enum.auto()
    ENDING = enum.auto()
    """The home has been asked for the turn of the last callback."""
    ENDED = enum.auto()


_LASTING = (Phase.HERE, Phase.AWAY)


class ResumableConnection(KeepingHalf):
    """One client, however often it comes back. Any thread, except where noted."""

    __slots__ = (
        "__weakref__",
        "_away_since_s",
        "_callbacks",
        "_changed",
        "_close",
        "_home",
        "_is_paused",
        "_is_told_away",
        "_leg",
        "_next",
        "_opened_at_s",
        "_past_bytes",
        "_phase",
        "_slot",
        "_tries",
        "_was_lost",
        "due_tick",
        "is_corked",
        "session",
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
        super().__init__(settings, budget, endpoint)
        self._callbacks: ResumableCallbacks = callbacks
        self._home = home
        self._slot = slot
        #: What a client says when it comes back.
        self.session = ""
        #: The application's subprotocol.
        self.subprotocol: str | None = None
        # The timer's and the pollers'.
        self.due_tick: int | None = None
        self.slow_turns = 0
        self.is_corked = False

        # Guarded by _lock.
        self._phase = Phase.HERE
        self._leg: Leg | None = None
        #: The leg that begins when `_leg` is over.
        self._next: Leg | None = None
        #: Those of the client's last return.
        self._tries = 0
        #: Whether the client had another one, whose handler is gone.
        self._was_lost = False
        self._is_paused = False
        #: Whether `went_away` was called since the client was here. Its turns'.
        self._is_told_away = False
        self._away_since_s = 0.0
        #: What it was told to close with when there was no leg to do it.
        self._close: tuple[int, str] | None = None
        self._changed: threading.Condition | None = None
        #: Received and sent by legs that were followed.
        self._past_bytes = (0, 0)
        self._opened_at_s = 0.0

    # What the handler needs: see `handlers.handler.Peer`.

    @property
    def is_open(self) -> bool:
        """Whether messages are sent, or kept for the client's return."""
        with self._lock:
            return self._lasts and (self._speaking is None or self._speaking.may_be_followed)

    @property
    def _lasts(self) -> bool:
        return self._close is None and self._phase in _LASTING

    @property
    def is_connected(self) -> bool:
        """Whether the client is there at this moment."""
        speaking = self._speaking
        return speaking is not None and speaking.is_open

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
        speaking = self._speaking
        return self._unwritten_bytes if speaking is None else speaking.queued_bytes

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
        leg = self._leg
        return self._dropped + (0 if leg is None else leg.dropped_messages)

    @property
    def received_bytes(self) -> int:
        """Of frames and their heads."""
        leg = self._leg
        return self._past_bytes[0] + (0 if leg is None else leg.received_bytes)

    @property
    def sent_bytes(self) -> int:
        """Of frames and their heads."""
        leg = self._leg
        return self._past_bytes[1] + (0 if leg is None else leg.sent_bytes)

    @property
    def age_s(self) -> float:
        """How long it has been open."""
        return self._home.timer.clock.now_s() - self._opened_at_s

    @property
    def close_code(self) -> int | None:
        """Of the first close frame; None until then."""
        if self._close is not None:
            return self._close[0]
        leg = self._leg
        return None if leg is None or leg.may_be_followed else leg.close_code

    @property
    def close_reason(self) -> str:
        """What stood in it."""
        if self._close is not None:
            return self._close[1]
        leg = self._leg
        return "" if leg is None else leg.close_reason

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close for good. Raises TypeError or ValueError for what may not be sent."""
        check_close(code, reason)
        with self._lock:
            if not self._lasts:
                return
            if self._speaking is not None and self._speaking.is_open:
                self._speaking.close(code, reason)
            elif self._phase is Phase.AWAY:
                self._end_apart(code, reason)
            elif self._speaking is None or self._speaking.may_be_followed:
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
            self._is_paused = True
            if self._leg is not None:
                self._leg.pause()

    def resume(self) -> None:
        """Read on after `pause`."""
        with self._lock:
            self._is_paused = False
            if self._leg is not None:
                self._leg.resume()

    def wait_until_writable(self, size: int) -> bool:
        """Wait until `size` more bytes fit. False once it is over.

        Only for threads that nobody else waits for.
        """
        while self.is_open:
            speaking = self._speaking
            if speaking is None:
                if not self._is_over_buffer(size):
                    return True
            elif speaking.wait_until_writable(size):
                return True
            self._wait_for_other_leg(speaking)
        return False

    def _wait_for_other_leg(self, leg: Leg | None) -> None:
        with self._lock:
            if self._changed is None:
                self._changed = threading.Condition(self._lock)
            while self._speaking is leg and self.is_open:
                self._changed.wait()

    def _has_changed(self) -> None:
        if self._changed is not None:
            self._changed.notify_all()

    # What legs need: see `leg.LastingConnection`.

    def first_leg(self, returns: Return | None, deflate: PerMessageDeflate | None) -> Leg:
        """The leg of the handshake, of a client that returns if its last handler is gone. Once."""
        if returns is not None:
            self._was_lost = not returns.is_anew
            self._tries = returns.tries
        self._opened_at_s = self._home.timer.clock.now_s()
        self._leg = self._new_leg(deflate, is_first=True)
        return self._leg

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
            if returns.tries <= self._tries:
                leg.supersede()  # the client has given it up, and tried again
                return leg
            self._tries = returns.tries
            before, self._next = self._next, None
            for each in (before, self._leg):
                if each is not None:
                    each.supersede()
            if not self.endpoint.can_go_on_from(returns.received):
                self._end_with(CloseCode.ABNORMAL_CLOSURE)
                return None
            self.endpoint.acknowledge(returns.received)
            if self._leg is not None:
                self._next = leg
                return leg
            self._leg = leg
            self._phase = Phase.HERE
            self._home.timer.cancel(self)
            self._home.is_away_no_more(self)
        return leg

    def release(self, returns: Return) -> Released | None:
        """End the handler with 1001, whose client has come back where it can't go on with it.

        None if this has ended, or the client has been here since, or what it lacks is not kept.
        """
        with self._lock:
            if self._phase not in _LASTING or returns.tries <= self._tries:
                return None
            for leg in (self._next, self._leg):
                if leg is not None:
                    leg.supersede()
            if not self.endpoint.can_go_on_from(returns.received):
                self._end_with(CloseCode.ABNORMAL_CLOSURE)
                return None
            self.endpoint.acknowledge(returns.received)
            released = Released(self.endpoint.received, self.endpoint.sent, tuple(self.endpoint))
            self._end_with(CloseCode.GOING_AWAY)
            self._speaking = None
            return released

    def go_on_with(self, endpoint: Endpoint[bytes]) -> None:
        """Take the numbers of one that was released, and what it kept. Before the first turn."""
        with self._lock:
            self.endpoint = endpoint
            self._was_lost = False
            self._unwritten = len(endpoint)
            self._unwritten_bytes = endpoint.kept_bytes
            self._charge()

    def acknowledged(self, leg: Leg, number: int) -> bool:
        """The client has taken so many messages. False if that was known.

        Raises `ResumeProtocolError` if it can't be.
        """
        with self._lock:
            if leg is not self._speaking:
                return True  # it has come back already, and has said so there
            if number == self.endpoint.acknowledged:
                return False
            self._forget_taken(number)
            return True

    def leg_opened(self, leg: Leg) -> None:
        """Start `leg` if it is its time. In its turn."""
        with self._lock:
            if leg is not self._leg or self._speaking is leg:
                return
            is_return_told, self._is_told_away = self._is_told_away, False
            self._start(leg)
        code = None
        if leg.begins_client:
            code = self._callbacks.opened(self)
        elif is_return_told:
            code = self._callbacks.came_back()
        if code is not None:
            leg.close(code)

    def leg_ended(self, leg: Leg) -> None:
        """Go on without `leg`, or end with it. In its last turn."""
        with self._lock:
            if self._next is leg:
                self._next = None
            if leg is not self._leg or self._phase is Phase.ENDED:
                return
            self._speaking = None
            self._charge()
            self._note_end(leg)
            self._has_changed()
            is_lost = self._close is None and self._next is None
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
                self._uncharge()
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
            following, self._next = self._next, None
            assert self._close is not None
            code, reason = self._close
            self._uncharge()
            self._has_changed()
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

    def _start(self, leg: Leg) -> None:
        hello = Hello(
            self.session,
            self.endpoint.received,
            resumed=not leg.begins_client,
            lost=leg.begins_client and self._was_lost,
            ping=self._settings.ping_interval,
            protocol=self.subprotocol,
        )
        self.endpoint.tell()  # the hello does
        if leg.start(hello.text(), self.endpoint, self._unwritten):
            self._unwritten = self._unwritten_bytes = 0
        self._speaking = leg
        if self._is_paused:
            leg.pause()
        if self._close is not None and leg.is_open:
            close, self._close = self._close, None
            leg.close(*close)
        self._has_changed()

    def _note_end(self, leg: Leg) -> None:
        """Decide whether the end of `leg` is that of the client."""
        is_over = not leg.may_be_followed or (self._next is None and self._home.is_stopping)
        if is_over and self._close is None:
            code = CloseCode.ABNORMAL_CLOSURE if leg.close_code is None else leg.close_code
            self._close = code, leg.close_reason

    def _replace(self, leg: Leg) -> None:
        """Go on with the leg that waits, or without one."""
        received, sent = self._past_bytes
        self._past_bytes = received + leg.received_bytes, sent + leg.sent_bytes
        self._dropped += leg.dropped_messages
        self._leg, self._next = self._next, None
        if self._leg is None:
            self._phase = Phase.AWAY
            self._away_since_s = self._home.timer.clock.now_s()
            self._home.timer.wake(self, self._settings.resume_s)
            self._home.went_away(self)
        elif self._leg.has_opened:
            self._leg.run_in_turn()

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
