"""The messages of one logged topic on their way to its members in this process.

The bus is a doorbell, the log is the truth: what comes is given to the members in the order of the
numbers; what is missing before it is read from the log. `ordering` says what is next, `catch_up`
what a new member lacks of the past, `audience` has the members.

Invariants:
- Each member gets the messages behind the one that it has begun with once, and in their order,
  whoever brings them.
- `_lock` guards everything, and is held while messages are given to members, so that their order is
  one for all. It is not held while a log is read that is not at hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ..handlers.member import Member, PendingMessages
from ..history.log import Log, LogUnavailable, Position
from ..history.stream import parse_place, stream_of
from ..runtime import locks
from .audience import Audience
from .catch_up import CatchUp
from .history import History
from .history_stats import FeedCounts
from .ordering import Arrival, Due, Ordering

if TYPE_CHECKING:
    from ..protocol.frames import OutgoingMessage

_MOST_AHEAD = 1000
"""Messages that wait for those before them; the log has them all."""


class _Joining(NamedTuple):
    """A member that has not got what was there before it."""

    pending: PendingMessages
    #: The last message before it; None if nobody knows.
    begins_behind: Position | None


class Feed:
    """A logged topic in this process. Any thread."""

    def __init__(
        self,
        topic: str,
        history: History,
        log: Log,
        counts: FeedCounts,
        have_repaired: Callable[[Feed], None],
    ) -> None:
        """`have_repaired` has `repair` called soon, in a thread that may wait for the log."""
        self.topic = topic
        self.history = history
        self.stream = stream_of(topic)
        self._log = log
        self._have_repaired = have_repaired
        self._catch_up = CatchUp(topic, self.stream, history, log, counts)
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._ordering = Ordering(self.stream, counts)
        self._audience = Audience(self.stream)
        self._joining: dict[Member, _Joining] = {}
        self._is_repairing = False
        self._ahead: list[Arrival] = []

    @property
    def position(self) -> Position | None:
        """Of the last message that was given to members."""
        return self._ordering.position

    # Members.

    def expect(self, member: Member) -> None:
        """Keep for `member` what comes from now on; `opened` gives it what was before."""
        last = self._last_in_log() if self.position is None else None
        with self._lock:
            self._ordering.begin_behind(last)
            joining = _Joining(PendingMessages(), self.position)
            self._joining[member] = joining
            self._audience.put(member, joining.pending)

    def opened(self, member: Member) -> None:
        """Give `member` what it lacks of the past, then what has come, then what comes."""
        if member not in self._joining:
            return
        positions = member.receiver.positions
        said = None if positions is None else positions.take_place(self.stream)
        place = None if said is None else parse_place(said)
        if place is not None and self._ordering.is_behind(place):
            # Where the client was before, more had come than here. That it shall not get again.
            self._read_up()
            self.expect(member)
        with self._lock:
            joining = self._joining.pop(member, None)
        if joining is None:
            return
        is_back = said is not None
        try:
            self._catch_up.bring(member, place, joining.begins_behind, is_back=is_back)
        finally:
            self._begin_live(member, joining.pending, is_back=is_back)

    def _begin_live(self, member: Member, pending: PendingMessages, *, is_back: bool) -> None:
        """Give a member what has come meanwhile, and from now on what comes at once."""
        receiver = member.receiver
        with self._lock:
            if is_back and member in self._audience:
                self._ordering.note_return(member)
        pending.hand_on_to(receiver)
        with self._lock:
            if self._audience.receiver_of(member) is pending:
                self._audience.put(member, receiver)

    def include(self, member: Member) -> None:
        """Take in one that has been a member before this was known to be logged."""
        with self._lock:
            self._audience.put(member, member.receiver)

    def discard(self, member: Member) -> None:
        """Give `member` nothing more."""
        with self._lock:
            self._joining.pop(member, None)
            self._ordering.forget_return(member)
            self._audience.discard(member)

    def member_of(self, key: bytes) -> Member | None:
        """The member here that has a key."""
        return self._audience.member_of(key)

    def _last_in_log(self) -> Position | None:
        try:
            return self._log.last_of([self.topic])[self.topic]
        except LogUnavailable:
            return None

    # What comes.

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Give messages to the members, after those before them."""
        ordering = self._ordering
        with self._lock:
            due: list[Due] = []
            for arrival in arrivals:
                if self._is_repairing:
                    self._put_off(arrival)
                elif not ordering.lacks_what_is_before(arrival.position):
                    ordering.take(arrival, due)
                elif self._log.is_at_hand:
                    self._read_on(due)
                    ordering.take(arrival, due)
                else:
                    self._put_off(arrival)
                    self._start_repair()
            self._audience.give(due)

    def give_unnumbered(self, message: OutgoingMessage, excluded: bytes) -> None:
        """Give the members here what is in no log, and nobody elsewhere is given."""
        with self._lock:
            self._audience.give_one(message, excluded)

    def compare(self, last: Position) -> None:
        """Read the log on if it has more than the members were given."""
        if self._ordering.is_behind(last):
            if self._log.is_at_hand:
                self._read_up()
                return
            with self._lock:
                if not self._is_repairing:
                    self._start_repair()

    def repair(self) -> None:
        """Read what is missing from a log that is not at hand. In a thread that may wait."""
        is_more = True
        while is_more:
            here = self.position
            page = None
            with contextlib.suppress(LogUnavailable):
                page = self._log.read(self.topic, 0 if here is None else here.number)
            with self._lock:
                due: list[Due] = []
                is_more = page is not None and self._ordering.take_page(page, due)
                if not is_more:
                    self._is_repairing = False
                    ahead, self._ahead = self._ahead, []
                    for arrival in ahead:
                        self._ordering.take(arrival, due)
                self._audience.give(due)

    def _read_up(self) -> None:
        """Give the members all that is in the log. May wait for it."""
        if not self._log.is_at_hand:
            self.repair()
            return
        with self._lock:
            due: list[Due] = []
            self._read_on(due)
            self._audience.give(due)

    # With _lock held.

    def _put_off(self, arrival: Arrival) -> None:
        if len(self._ahead) < _MOST_AHEAD:  # else the log has it
            self._ahead.append(arrival)

    def _start_repair(self) -> None:
        self._is_repairing = True
        self._have_repaired(self)

    def _read_on(self, due: list[Due]) -> None:
        """Read from a log at hand what is behind the last message."""
        with contextlib.suppress(LogUnavailable):
            is_more = True
            while is_more:
                assert self.position is not None
                page = self._log.read(self.topic, self.position.number)
                is_more = self._ordering.take_page(page, due)
