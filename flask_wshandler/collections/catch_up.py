"""What a member that joins a logged topic, or has come back, is given of what was before.

A client that says where it was gets what it has missed since, or is told of the gap; any other gets
as many of the newest messages as the history says.
"""

from __future__ import annotations

from ..handlers.member import Member, deliver_together
from ..history.log import LOG_ID_BYTES, NO_LOG, Log, LogUnavailable, Page, Position
from ..history.stream import key_of, place_text
from .history import History
from .history_stats import FeedCounts
from .places import message_at, tell_gap, tell_place

_NOWHERE = place_text(Position(b"\xff" * LOG_ID_BYTES, 0, 0))
"""A place that is in no log."""


class CatchUp:
    """Reads the log of a topic for one member. Any thread; may wait for the log."""

    def __init__(
        self, topic: str, stream: str, history: History, log: Log, counts: FeedCounts
    ) -> None:
        self._topic = topic
        self._stream = stream
        self._history = history
        self._log = log
        self._counts = counts

    def bring(
        self, member: Member, place: Position | None, upto: Position | None, *, is_back: bool
    ) -> None:
        """Give `member` what it lacks up to `upto`, behind which others give it what comes.

        `is_back` says that its client has been a member before: at `place`, which is None if that
        can't be made out. `upto` is None if nobody knows what is there.
        """
        try:
            if is_back:
                self._send_missed(member, place, upto)
            else:
                self._send_newest(member, upto)
            if upto is not None and place != upto:
                # So it is not without a place if it hears nothing more before it comes back.
                tell_place(member.receiver, self._stream, place_text(upto))
        except LogUnavailable:
            if is_back:
                tell_gap(member.receiver, self._stream, _NOWHERE)

    def _send_newest(self, member: Member, upto: Position | None) -> None:
        count = self._history.replay
        if upto is None or not count:
            return
        page = self._log.newest(self._topic, count)
        if page.last.number > upto.number:
            # Some of the newest have come meanwhile, and come by themselves.
            page = self._log.read(self._topic, max(0, upto.number - count), count)
        self._send_page(member, page, upto)

    def _send_missed(self, member: Member, place: Position | None, upto: Position | None) -> None:
        if place is None or upto is None:
            here = _NOWHERE if upto is None else place_text(upto)
            tell_gap(member.receiver, self._stream, here)
            return
        if place == upto:
            return
        # Where nothing had been appended yet, nothing is before the first message of the log.
        is_same_log = place.log_id in (upto.log_id, NO_LOG)
        is_gap = place.generation != upto.generation or not is_same_log
        after = min(place.number, upto.number) if is_same_log else 0
        is_more = True
        while is_more:
            page = self._log.read(self._topic, after)
            first = _first_to_send(page, after, upto)
            if is_gap or first > after:
                here = place_text(upto._replace(number=first))
                tell_gap(member.receiver, self._stream, here)
            is_more = self._send_page(member, page, upto)
            # What is dropped from the log while the member gets what was before is a gap, too.
            is_gap, after = False, page.entries[-1].number if is_more else after

    def _send_page(self, member: Member, page: Page, upto: Position) -> bool:
        """Send what there is up to `upto`; whether there may be more."""
        if page.last.log_id != upto.log_id:
            return False
        own_keys = _keys_of(member)
        entries = [entry for entry in page.entries if entry.number <= upto.number]
        messages = [
            message_at(self._stream, upto._replace(number=entry.number), entry)
            for entry in entries
            if entry.excluded not in own_keys
        ]
        if messages:
            self._counts.replayed += len(messages)
            deliver_together(member.receiver, messages)
        return bool(entries) and entries[-1].number < upto.number


def _first_to_send(page: Page, after: int, upto: Position) -> int:
    """Behind which number there is something for who lacks all from `after` to `upto`."""
    if page.last.log_id != upto.log_id:
        return upto.number  # it was lost at this moment
    return min(max(after, page.first_number - 1), upto.number)


def _keys_of(member: Member) -> set[bytes]:
    """What stands in the log for a member, and for the one that its client had been before."""
    names = [member.connection_id]
    positions = member.receiver.positions
    if positions is not None and positions.former_id is not None:
        names.append(positions.former_id)
    return {key_of(name) for name in names}
