"""The messages of one logged topic on their way to its members in this process.

The bus is a doorbell, the log is the truth: what comes is given to the members in the order of the
numbers; what is missing before it is read from the log.

Invariants:
- Each member gets the messages behind the one that it has begun with once, and in their order,
  whoever brings them.
- `_lock` guards everything, and is held while messages are given to members, so that their order is
  one for all. It is not held while a log is read that is not at hand.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..handlers.member import (
    Member,
    PendingMessages,
    Receiver,
    deliver_to_each,
    deliver_together,
)
from ..history.log import (
    LOG_ID_BYTES,
    NO_LOG,
    NOBODY,
    Draft,
    Entry,
    Log,
    LogUnavailable,
    Page,
    Position,
)
from ..history.stream import key_of, parse_place, place_text, stream_of
from ..protocol.frames import OutgoingMessage
from ..runtime import locks
from .history import History

_NOWHERE = place_text(Position(b"\xff" * LOG_ID_BYTES, 0, 0))
"""A place that is in no log."""

_MOST_LOST = 8
"""Logs whose ends are remembered."""

_MOST_AHEAD = 1000
"""Messages that wait for those before them; the log has them all."""


@dataclasses.dataclass(slots=True)
class FeedCounts:
    """What the feeds of a process have had to do. Written without a lock: it is rare."""

    #: How often messages that had not come were read from the log.
    repairs: int = 0
    #: How often some were not in the log any more, so that members have not got them.
    gaps: int = 0
    #: Messages from the log that were sent to members which have joined, or come back.
    replayed: int = 0


class Arrival(NamedTuple):
    """A message that comes with its place in the log."""

    position: Position
    draft: Draft


class _Joining(NamedTuple):
    """A member that has not got what was there before it."""

    pending: PendingMessages
    #: The last message before it; None if nobody knows.
    begins_behind: Position | None


class _Due(NamedTuple):
    """What the members are to be given next."""

    #: None: to be told that messages up to `place` are missing.
    message: OutgoingMessage | None
    excluded: bytes
    place: str = ""
    #: Who is told; None: everybody.
    members: tuple[Member, ...] | None = None


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
        self._counts = counts
        self._have_repaired = have_repaired
        self._lock = locks.Lock()
        # Guarded by _lock.
        #: Of the last message that was given to members. None: nobody knows; the next one begins.
        self._position: Position | None = None
        #: The number of the same in logs that were lost, for what still comes of these.
        self._lost: dict[bytes, int] = {}
        self._live: dict[Member, Receiver] = {}
        self._receivers: tuple[Receiver, ...] | None = ()
        self._keys: dict[bytes, Member] = {}
        self._joining: dict[Member, _Joining] = {}
        #: Those that have come back since the generation has risen last. What went out without a
        #: number before they came will only be known by its next rise.
        self._returned: set[Member] = set()
        self._is_repairing = False
        self._ahead: list[Arrival] = []

    @property
    def position(self) -> Position | None:
        """Of the last message that was given to members."""
        return self._position

    # Members.

    def expect(self, member: Member) -> None:
        """Keep for `member` what comes from now on; `opened` gives it what was before."""
        last = self._last_in_log() if self._position is None else None
        with self._lock:
            if self._position is None:
                self._position = last
            joining = _Joining(PendingMessages(), self._position)
            self._joining[member] = joining
            self._put(member, joining.pending)

    def opened(self, member: Member) -> None:
        """Give `member` what it lacks of the past, then what has come, then what comes."""
        if member not in self._joining:
            return
        positions = member.receiver.positions
        said = None if positions is None else positions.take_place(self.stream)
        place = None if said is None else parse_place(said)
        if place is not None and self._is_behind(place):
            # Where the client was before, more had come than here. That it shall not get again.
            self._read_up()
            self.expect(member)
        with self._lock:
            joining = self._joining.pop(member, None)
        if joining is None:
            return
        receiver = member.receiver
        upto = joining.begins_behind
        try:
            if said is None:
                self._send_newest(member, upto)
            else:
                self._send_missed(member, place, upto)
            if upto is not None and place != upto:
                # So it is not without a place if it hears nothing more before it comes back.
                self._tell_place(receiver, place_text(upto))
        except LogUnavailable:
            if said is not None:
                self._tell_gap(receiver, _NOWHERE)
        finally:
            with self._lock:
                if said is not None and member in self._live:
                    self._returned.add(member)
            joining.pending.hand_on_to(receiver)
            with self._lock:
                if self._live.get(member) is joining.pending:
                    self._put(member, receiver)

    def include(self, member: Member) -> None:
        """Take in one that has been a member before this was known to be logged."""
        with self._lock:
            self._put(member, member.receiver)

    def discard(self, member: Member) -> None:
        """Give `member` nothing more."""
        with self._lock:
            self._joining.pop(member, None)
            self._returned.discard(member)
            if self._live.pop(member, None) is not None:
                self._keys.pop(key_of(member.connection_id), None)
                self._receivers = None

    def _put(self, member: Member, receiver: Receiver) -> None:
        self._live[member] = receiver
        self._keys[key_of(member.connection_id)] = member
        self._receivers = None

    def _last_in_log(self) -> Position | None:
        try:
            return self._log.last_of([self.topic])[self.topic]
        except LogUnavailable:
            return None

    # What was before.

    def _is_behind(self, place: Position) -> bool:
        here = self._position
        if here is None:
            return False
        return place.log_id != here.log_id or place.number > here.number

    def _read_up(self) -> None:
        """Give the members all that is in the log. May wait for it."""
        if not self._log.is_at_hand:
            self.repair()
            return
        with self._lock:
            due: list[_Due] = []
            self._read_on(due)
            self._give(due)

    def _send_newest(self, member: Member, upto: Position | None) -> None:
        count = self.history.replay
        if upto is None or not count:
            return
        page = self._log.newest(self.topic, count)
        if page.last.number > upto.number:
            # Some of the newest have come meanwhile, and come by themselves.
            page = self._log.read(self.topic, max(0, upto.number - count), count)
        self._send_page(member, page, upto)

    def _send_missed(self, member: Member, place: Position | None, upto: Position | None) -> None:
        if place is None or upto is None:
            self._tell_gap(member.receiver, _NOWHERE if upto is None else place_text(upto))
            return
        if place == upto:
            return
        # Where nothing had been appended yet, nothing is before the first message of the log.
        is_same_log = place.log_id in (upto.log_id, NO_LOG)
        is_gap = place.generation != upto.generation or not is_same_log
        after = min(place.number, upto.number) if is_same_log else 0
        is_more = True
        while is_more:
            page = self._log.read(self.topic, after)
            first = self._first_to_send(page, after, upto)
            if is_gap or first > after:
                self._tell_gap(member.receiver, place_text(upto._replace(number=first)))
            is_more = self._send_page(member, page, upto)
            # What is dropped from the log while the member gets what was before is a gap, too.
            is_gap, after = False, page.entries[-1].number if is_more else after

    @staticmethod
    def _first_to_send(page: Page, after: int, upto: Position) -> int:
        """Behind which number there is something for who lacks all from `after` to `upto`."""
        if page.last.log_id != upto.log_id:
            return upto.number  # it was lost at this moment
        return min(max(after, page.first_number - 1), upto.number)

    def _send_page(self, member: Member, page: Page, upto: Position) -> bool:
        """Send what there is up to `upto`; whether there may be more."""
        if page.last.log_id != upto.log_id:
            return False
        own_keys = _keys_of(member)
        entries = [entry for entry in page.entries if entry.number <= upto.number]
        messages = [
            self._message(entry, upto._replace(number=entry.number))
            for entry in entries
            if entry.excluded not in own_keys
        ]
        if messages:
            self._counts.replayed += len(messages)
            deliver_together(member.receiver, messages)
        return bool(entries) and entries[-1].number < upto.number

    def _tell_place(self, receiver: Receiver, place: str) -> None:
        """Tell a member that can be told where it is."""
        try:
            if receiver.positions is not None:
                receiver.positions.tell_place(f"{self.stream}.{place}")
        except Exception as fault:
            receiver.give_up(fault)

    def _tell_gap(self, receiver: Receiver, place: str) -> None:
        """Tell a member that can be told that messages up to `place` are missing."""
        try:
            if receiver.positions is not None:
                receiver.positions.tell_gap(f"{self.stream}.{place}")
        except Exception as fault:
            receiver.give_up(fault)

    def member_of(self, key: bytes) -> Member | None:
        """The member here that has a key."""
        return self._keys.get(key)

    # What comes.

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Give messages to the members, after those before them."""
        with self._lock:
            due: list[_Due] = []
            for arrival in arrivals:
                if self._is_repairing:
                    self._put_off(arrival)
                elif not self._lacks_what_is_before(arrival.position):
                    self._take(arrival, due)
                elif self._log.is_at_hand:
                    self._read_on(due)
                    self._take(arrival, due)
                else:
                    self._put_off(arrival)
                    self._start_repair()
            self._give(due)

    def compare(self, last: Position) -> None:
        """Read the log on if it has more than the members were given."""
        if self._is_behind(last):
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
            here = self._position
            page = None
            with contextlib.suppress(LogUnavailable):
                page = self._log.read(self.topic, 0 if here is None else here.number)
            with self._lock:
                due: list[_Due] = []
                is_more = page is not None and self._apply(page, due)
                if not is_more:
                    self._is_repairing = False
                    ahead, self._ahead = self._ahead, []
                    for arrival in ahead:
                        self._take(arrival, due)
                self._give(due)

    # With _lock held.

    def _lacks_what_is_before(self, position: Position) -> bool:
        here = self._position
        if here is None:
            return False
        if position.log_id == here.log_id:
            return position.number > here.number + 1
        return position.log_id not in self._lost

    def _put_off(self, arrival: Arrival) -> None:
        if len(self._ahead) < _MOST_AHEAD:  # else the log has it
            self._ahead.append(arrival)

    def _start_repair(self) -> None:
        self._is_repairing = True
        self._have_repaired(self)

    def _read_on(self, due: list[_Due]) -> None:
        """Read from a log at hand what is behind the last message."""
        with contextlib.suppress(LogUnavailable):
            is_more = True
            while is_more:
                assert self._position is not None
                is_more = self._apply(self._log.read(self.topic, self._position.number), due)

    def _apply(self, page: Page, due: list[_Due]) -> bool:
        """Take what was read behind the last message; whether to read on."""
        here, last = self._position, page.last
        if here is None:
            return False
        if last.log_id != here.log_id:
            return self._go_over_to(last).number < last.number
        entries = [entry for entry in page.entries if entry.number > here.number]
        for entry in entries:
            # Which of them a rise of the generation is before, the log does not say: the last.
            is_last = entry.number == last.number
            position = last if is_last else here._replace(number=entry.number)
            self._take(Arrival(position, Draft(*entry[1:4])), due)
        self._counts.repairs += bool(entries)
        if not entries and last.number > here.number:
            self._miss(last, due)
        return bool(entries) and entries[-1].number < last.number

    def _take(self, arrival: Arrival, due: list[_Due]) -> None:
        """Take a message, before which nothing is that could still be had."""
        position, draft = arrival
        here = self._position
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
        self._position = position
        due.append(_Due(self._message(draft, position), draft.excluded))

    def _go_over_to(self, there: Position) -> Position:
        """Begin with a log that stands in the place of one that was lost.

        All of the new one has come after all of the old one.
        """
        here = self._position
        assert here is not None
        number = self._lost.pop(there.log_id, 0)  # perhaps the old one has come back
        self._lost[here.log_id] = here.number
        if len(self._lost) > _MOST_LOST:
            del self._lost[next(iter(self._lost))]
        self._position = there._replace(number=min(number, there.number))
        return self._position

    def _take_of_lost_log(self, arrival: Arrival, due: list[_Due]) -> None:
        """Take a message that is in no log any more: without a place in it."""
        position, draft = arrival
        if position.number > self._lost[position.log_id]:
            self._lost[position.log_id] = position.number
            message = OutgoingMessage.of_payload(draft.payload, draft.is_text)
            due.append(_Due(message, draft.excluded))

    def _miss(self, upto: Position, due: list[_Due]) -> None:
        """Messages can't be had any more."""
        self._counts.gaps += 1
        self._position = upto
        due.append(_Due(None, NOBODY, place_text(upto)))
        self._returned.clear()

    def _miss_before_return(self, position: Position, due: list[_Due]) -> None:
        """Something went out without a number; who has come back since may not have got it."""
        if self._returned:
            here = place_text(position._replace(number=position.number - 1))
            due.append(_Due(None, NOBODY, here, tuple(self._returned)))
            self._returned.clear()

    def _message(self, draft: Draft | Entry, position: Position) -> OutgoingMessage:
        message = OutgoingMessage.of_payload(draft.payload, draft.is_text)
        message.place = f"{self.stream}.{place_text(position)}"
        return message

    def _give(self, due: list[_Due]) -> None:
        if len(due) == 1 and due[0].message is not None:
            deliver_to_each(self._receivers_but(due[0].excluded), due[0].message)
        elif due:
            self._give_together(due)

    def _give_together(self, due: list[_Due]) -> None:
        # What a client gets of all that has come together goes out in one write.
        waiting: dict[Receiver, list[OutgoingMessage]] = {}
        for message, excluded, place, members in due:
            for receiver in self._receivers_but(excluded) if members is None else self._of(members):
                if message is not None:
                    waiting.setdefault(receiver, []).append(message)
                    continue
                deliver_together(receiver, waiting.pop(receiver, []))
                self._tell_gap(receiver, place)
        for receiver, messages in waiting.items():
            deliver_together(receiver, messages)

    def _of(self, members: Iterable[Member]) -> list[Receiver]:
        return [self._live[member] for member in members if member in self._live]

    def _receivers_but(self, excluded: bytes) -> Iterable[Receiver]:
        receivers = self._receivers
        if receivers is None:
            receivers = self._receivers = tuple(self._live.values())
        member = None if excluded == NOBODY else self._keys.get(excluded)
        if member is None:
            return receivers
        receiver = self._live[member]
        return [each for each in receivers if each is not receiver]


def _keys_of(member: Member) -> set[bytes]:
    """What stands in the log for a member, and for the one that its client had been before."""
    names = [member.connection_id]
    positions = member.receiver.positions
    if positions is not None and positions.former_id is not None:
        names.append(positions.former_id)
    return {key_of(name) for name in names}
