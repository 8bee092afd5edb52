"""What others may ask of a resumable connection: its handler, collections, and its legs.

Invariant: nothing here takes it from one phase to another. That is in `resumable`.
"""

from __future__ import annotations

import collections
import enum
import threading
from typing import TYPE_CHECKING

from ..protocol.carrier import Transport
from ..protocol.frames import message_frame
from .endpoint import MESSAGE
from .leg import Leg, gap_frame, numbered_frame, numbered_message, place_frame
from .outbox import Outbox
from .places import Places
from .postbox import Postbox
from .succession import Succession

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.connection import Place
    from ..protocol.frames import Message, OutgoingMessage, Sendable
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget
    from ..protocol.sending import Drained
    from .endpoint import Endpoint
    from .home import Home, ResumableCallbacks


class Phase(enum.Enum):
    """Of a resumable connection."""

    HERE = enum.auto()
    """There is a leg, from the handshake on."""
    AWAY = enum.auto()
    ENDING = enum.auto()
    """The home has been asked for the turn of the last callback."""
    ENDED = enum.auto()


LASTING = (Phase.HERE, Phase.AWAY)

_MOST_UNDER_WAY_BYTES = 2**18
"""What the client may not have acknowledged when whoever sends without end sends on."""


class Lasting:
    """One client, however often it comes back. Any thread, except where noted."""

    __slots__ = (
        "__weakref__",
        "_away_since_s",
        "_budget",
        "_callbacks",
        "_close",
        "_home",
        "_in_turn",
        "_is_due_back",
        "_is_told_away",
        "_legs",
        "_lock",
        "_opened_at_s",
        "_outbox",
        "_phase",
        "_places",
        "_postbox",
        "_settings",
        "_slot",
        "_steps",
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
        #: Whether the client is between two polls, rather than away.
        self._is_due_back = False
        #: Whether a turn of the home's runs, beside which no leg may run callbacks.
        self._in_turn = False
        self._away_since_s = 0.0
        #: What it was told to close with when there was no leg to do it.
        self._close: tuple[int, str] | None = None
        self._opened_at_s = 0.0
        #: Where the client was in logs of collections, as far as it is not in these yet.
        self._places: Places | None = None
        #: Of a client whose leg is no WebSocket.
        self._postbox: Postbox | None = None
        #: To be done in a turn of the leg that the client is served by. None for nothing.
        self._steps: collections.deque[Callable[[], object]] | None = None

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

    def in_turn(self, do: Callable[[], object]) -> None:
        """Have `do` called in a turn, when the client is here. It must not raise."""
        with self._lock:
            self._add_step(do)
            leg = self._outbox.leg
        if leg is not None:
            leg.in_turn(leg.take_steps)

    def when_ready(self, do: Callable[[], object]) -> None:
        """Have `do` called in another turn, when the client is here and has taken most of it all.

        It must not raise.
        """
        with self._lock:
            self._add_step(do)
            leg = self._outbox.leg
            if leg is not None and self.endpoint.kept_bytes <= _MOST_UNDER_WAY_BYTES:
                leg.when_ready(leg.take_steps)

    def _add_step(self, do: Callable[[], object]) -> None:
        if self._steps is None:
            self._steps = collections.deque()
        self._steps.append(do)

    def take_steps(self, leg: Leg) -> None:
        """Do what waits for a turn of the client's. In that of `leg`."""
        for _ in range(len(self._steps or ())):
            with self._lock:
                if leg is not self._outbox.leg or self._in_turn or not self._steps:
                    return
                do = self._steps.popleft()
            do()

    @property
    def session(self) -> str:
        """What the client says when it comes back. Of the derived class."""
        raise NotImplementedError

    def close(self, code: int = ..., reason: str = ...) -> None:
        """Close for good. Of the derived class."""
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
        return self._close is None and self._phase in LASTING

    @property
    def is_connected(self) -> bool:
        """Whether the client is there at this moment, or between two polls."""
        leg = self._outbox.leg
        return self._is_due_back if leg is None else leg.is_open or leg.is_answered

    @property
    def callbacks(self) -> ResumableCallbacks:
        """What it calls."""
        return self._callbacks

    @property
    def is_away(self) -> bool:
        """Whether the client is lost, and waited for."""
        return self._phase is Phase.AWAY and not self._is_due_back

    @property
    def transport(self) -> Transport:
        """What the client speaks, or spoke last."""
        return self._legs.transport

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

    def is_drained(self, drained: Drained) -> bool:
        """Whether the client is here and nothing is queued. Else `drained` is told when to ask."""
        with self._lock:
            return self._outbox.is_drained(drained)

    def has_all_been_taken(self, drained: Drained) -> bool:
        """Whether a close loses nothing that was sent. Else `drained` is told when to ask again."""
        with self._lock:
            return self._outbox.has_all_been_taken(drained)

    # What collections need: see `handlers.member.Positions`.

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

    def acknowledged(self, leg: Leg, number: int) -> bool:
        """The client has taken so many messages. False if that was known.

        Raises `ResumeProtocolError` if it can't be.
        """
        with self._lock:
            is_new = self._outbox.acknowledged(leg, number)
            if self._steps and self.endpoint.kept_bytes <= _MOST_UNDER_WAY_BYTES:
                leg.when_ready(leg.take_steps)
            return is_new

    def first_posted(self) -> Message | None:
        """The oldest of what the client has posted that is not taken yet."""
        with self._lock:
            return None if self._postbox is None else self._postbox.first

    def remove_first_posted(self) -> None:
        """That has been taken."""
        with self._lock:
            if self._postbox is not None:
                self._postbox.remove_first()

    def give_late(self, leg: Leg) -> None:
        """Have `leg` send what it could not. In its turn."""
        with self._lock:
            leg.give_late()

    # What its turns and the timer need.

    def uncork(self) -> None:
        """Do nothing: its turn holds nothing back."""
