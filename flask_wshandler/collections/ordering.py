"""The order in which the members of a logged topic are given its messages: that of the numbers.

Nothing here waits, reads or sends: what comes goes in, and what the members are to be given next
comes out. The lock of the topic's feed guards it.
"""

from __future__ import annotations

from typing import NamedTuple

from ..handlers.member import Member
from ..history.log import NOBODY, Draft, Page, Position
from ..history.stream import place_text
from ..protocol.frames import OutgoingMessage
from .history_stats import FeedCounts
from .places import message_at

_MOST_LOST = 8
"""Logs whose ends are remembered."""


class Arrival(NamedTuple):
    """A message that comes with its place in the log."""

    position: Position
    draft: Draft


class Due(NamedTuple):
    """What the members are to be given next."""

    #: None: to be told that messages up to `place` are missing.
    message: OutgoingMessage | None
    excluded: bytes
    place: str = ""
    #: Who is told; None: everybody.
    members: tuple[Member, ...] | None = None


class Ordering:
    """How far the members have got in the log, and in those that were lost before it."""

    def __init__(self, stream: str, counts: FeedCounts) -> None:
        self._stream = stream
        self._counts = counts
        #: Of the last message that was given to members. None: nobody knows; the next one begins.
        self.position: Position | None = None
        #: The number of the same in logs that were lost, for what still comes of these.
        self._lost: dict[bytes, int] = {}
        #: Members that have come back since the generation has risen last. What went out without a
        #: number before they came will only be known by its next rise.
        self._returned: set[Member] = set()

    def begin_behind(self, last: Position | None) -> None:
        """The members have what is before `last`, if nothing is known of that yet."""
        if self.position is None:
            self.position = last

    def note_return(self, member: Member) -> None:
        """A member has come back, and been given what it has missed and is in the log."""
        self._returned.add(member)

    def forget_return(self, member: Member) -> None:
        """It is a member no more."""
        self._returned.discard(member)

    def is_behind(self, place: Position) -> bool:
        """Whether there is more up to `place` than the members were given. Any thread."""
        here = self.position
        if here is None:
            return False
        return place.log_id != here.log_id or place.number > here.number

    def lacks_what_is_before(self, position: Position) -> bool:
        """Whether the members were not given the message before it, nor one of a later log."""
        here = self.position
        if here is None:
            return False
        if position.log_id == here.log_id:
            return position.number > here.number + 1
        return position.log_id not in self._lost

    def take_page(self, page: Page, due: list[Due]) -> bool:
        """Take what was read behind the last message; whether to read on."""
        here, last = self.position, page.last
        if here is None:
            return False
        if last.log_id != here.log_id:
            return self._go_over_to(last).number < last.number
        entries = [entry for entry in page.entries if entry.number > here.number]
        for entry in entries:
            # Which of them a rise of the generation is before, the log does not say: the last.
            is_last = entry.number == last.number
            position = last if is_last else here._replace(number=entry.number)
            self.take(Arrival(position, Draft(*entry[1:4])), due)
        self._counts.repairs += bool(entries)
        if not entries and last.number > here.number:
            self._miss(last, due)
        return bool(entries) and entries[-1].number < last.number

    def take(self, arrival: Arrival, due: list[Due]) -> None:
        """Take a message, before which nothing is that could still be had."""
        position, draft = arrival
        here = self.position
        if here is not None:
            if position.log_id in self._lost:
                self._take_of_lost_log(arrival, due)
                return
            if position.log_id != here.log_id:
                here = self._go_over_to(position)
            if position.number <= here.number:
                return
            if position.number > here.number + 1:
                self._miss(position._replace(number=position.number - 1), due)
            elif position.generation != here.generation:
                self._miss_before_return(position, due)
        self.position = position
        due.append(Due(message_at(self._stream, position, draft), draft.excluded))

    def _go_over_to(self, there: Position) -> Position:
        """Begin with a log that stands in the place of one that was lost.

        All of the new one has come after all of the old one.
        """
        here = self.position
        assert here is not None
        number = self._lost.pop(there.log_id, 0)  # perhaps the old one has come back
        self._lost[here.log_id] = here.number
        if len(self._lost) > _MOST_LOST:
            del self._lost[next(iter(self._lost))]
        self.position = there._replace(number=min(number, there.number))
        return self.position

    def _take_of_lost_log(self, arrival: Arrival, due: list[Due]) -> None:
        """Take a message that is in no log any more: without a place in it."""
        position, draft = arrival
        if position.number > self._lost[position.log_id]:
            self._lost[position.log_id] = position.number
            message = OutgoingMessage.of_payload(draft.payload, draft.is_text)
            due.append(Due(message, draft.excluded))

    def _miss(self, upto: Position, due: list[Due]) -> None:
        """Messages can't be had any more."""
        self._counts.gaps += 1
        self.position = upto
        due.append(Due(None, NOBODY, place_text(upto)))
        self._returned.clear()

    def _miss_before_return(self, position: Position, due: list[Due]) -> None:
        """Something went out without a number; who has come back since may not have got it."""
        if self._returned:
            here = place_text(position._replace(number=position.number - 1))
            due.append(Due(None, NOBODY, here, tuple(self._returned)))
            self._returned.clear()
