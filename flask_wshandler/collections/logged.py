"""The collections of one app that have a history, in one process: their log, and their feeds.

Invariant: a message is in the log before anybody is told of it, or in none and told without a
number. Which of the two is decided once, by whoever broadcasts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ..bus import Bus, Envelope, Kind, Malformed
from ..bus.envelope import check_size
from ..handlers.member import Member
from ..history.log import (
    NOBODY,
    Draft,
    Log,
    LogBusy,
    LogSilent,
    LogSize,
    LogUnavailable,
    Position,
)
from ..history.stream import decode, encode, key_of
from ..protocol.frames import OutgoingMessage
from ..runtime import locks
from .feed import Feed
from .history import History, LoggedMessage
from .history_stats import FeedCounts, HistoryStats
from .late_broadcasts import Late, LateBroadcasts
from .log_health import LogHealth
from .log_reader import LogReader
from .mismatches import Mismatches
from .ordering import Arrival

_TIDY_S = 10.0
_END_S = 2.0


class LoggedTopics:
    """Any thread."""

    def __init__(
        self,
        bus: Bus,
        make_log: Callable[[], Log],
        send_plainly: Callable[[str, OutgoingMessage, Member | None], None],
        deliver_unfed: Callable[[str, Draft], None],
    ) -> None:
        """`send_plainly` broadcasts a message of a topic without a number, but to one member;
        `deliver_unfed` gives one to members here that no feed has."""
        self._bus = bus
        self._make_log = make_log
        self._send_plainly = send_plainly
        self._deliver_unfed = deliver_unfed
        self._log: Log | None = None
        self._begin()

    def _begin(self) -> None:
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._declared: dict[str, History] = {}
        #: Of collections that were declared, and of topics that have members here. Read by any
        #: thread, at each broadcast.
        self.histories: dict[str, History] = {}
        self._feeds: dict[str, Feed] = {}
        self._size = LogSize(0, 0)
        self._tidy_due_s = 0.0
        self._counts = FeedCounts()
        self._health = LogHealth()
        #: With other processes, over what has a history.
        self.mismatches = Mismatches()
        self._late = LateBroadcasts(self._append, self._give_up)
        self._reader = LogReader(self._look)

    @property
    def log(self) -> Log:
        """Made at the first use."""
        if self._log is None:
            with self._lock:
                if self._log is None:
                    self._log = self._make_log()
        return self._log

    def declare(self, topic: str, history: History) -> None:
        """The collection of `topic` has a history. Raises ValueError if it has another."""
        if self._declared.get(topic) is history:
            return
        with self._lock:
            known = self._declared.setdefault(topic, history)
            self.histories.setdefault(topic, history)
        if known != history:
            raise ValueError(
                f"a collection has one history in a process: {topic!r} has {known}, not {history}"
            )

    def history_of(self, topic: str) -> History | None:
        """What is kept of `topic`; None if nothing is, as far as is known here."""
        return self.histories.get(topic)

    # Members.

    def feed_for(self, topic: str, history: History) -> Feed:
        """The feed of a topic that has members here."""
        with self._lock:
            feed = self._feeds.get(topic)
            if feed is None:
                feed = Feed(topic, history, self.log, self._counts, self._reader.repair)
                self._feeds[topic] = feed
                self.histories.setdefault(topic, history)
            return feed

    def drop_feed(self, feed: Feed) -> None:
        """It has no members any more."""
        with self._lock:
            if self._feeds.get(feed.topic) is feed:
                del self._feeds[feed.topic]
                if feed.topic not in self._declared:
                    del self.histories[feed.topic]

    # Broadcasts.

    def broadcast(
        self, topic: str, history: History, message: OutgoingMessage, exclude: Member | None
    ) -> None:
        """Number a message, and send it to all; without a number if the log can't take it.

        Raises ValueError for one that is too large for the bus.
        """
        check_size(topic, len(message.payload))
        excluded = NOBODY if exclude is None else key_of(exclude.connection_id)
        late = Late(topic, history, Draft(message.is_text, message.payload, excluded))
        if self._late.count:
            self._late.put(late)
            return
        try:
            self._append(late)
        except LogBusy:
            self._late.put(late)
        except LogUnavailable as error:
            self._give_up(late, error)

    def hand_over(self) -> None:
        """Wait until what was broadcast does not get lost with this process."""
        if self._late.count and not self._bus.is_serving_clients:
            self._late.wait_until_done()

    def _append(self, late: Late) -> None:
        topic, history, draft = late
        began_s = time.perf_counter()
        is_owed = self._health.is_owed(topic)
        position = self.log.append(topic, draft, history.bounds, after_gap=is_owed)
        self._health.note_logged(topic, time.perf_counter() - began_s, was_owed=is_owed)
        if position is not None:
            self._bus.publish(Kind.LOGGED, topic, encode(position, draft))
            feed = self._feeds.get(topic)
            if feed is not None:
                feed.arrived((Arrival(position, draft),))
            else:
                self._deliver_unfed(topic, draft)

    def _give_up(self, late: Late, error: LogUnavailable) -> None:
        topic, _, draft = late
        self._health.note_unlogged(topic, str(error), is_to_be_said=not self.log.carries)
        message = OutgoingMessage.of_payload(draft.payload, draft.is_text)
        feed = self._feeds.get(topic)
        if isinstance(error, LogSilent):
            if feed is not None:
                feed.give_unnumbered(message, draft.excluded)
            return
        excluded = None if feed is None else feed.member_of(draft.excluded)
        self._send_plainly(topic, message, excluded)

    # What comes from other processes. In the bus's thread.

    def take(self, envelopes: Iterable[Envelope]) -> None:
        """Take logged messages that came together."""
        by_topic: dict[str, list[Arrival]] = {}
        for envelope in envelopes:
            try:
                arrival = Arrival(*decode(envelope.body))
            except Malformed as fault:
                self._bus.refuse(str(fault))
                continue
            by_topic.setdefault(envelope.topic, []).append(arrival)
        for topic, arrivals in by_topic.items():
            feed = self._feeds.get(topic)
            if feed is not None:
                feed.arrived(arrivals)
                continue
            for _, draft in arrivals:
                self._deliver_unfed(topic, draft)

    # Time.

    def on_time(self, now_s: float) -> None:
        """Compare what members were given with the log. Waits for nobody if that is at hand."""
        if self._log is None:
            return
        if self._log.is_at_hand:
            self._look(now_s)
            return
        self._reader.look()

    def _look(self, now_s: float) -> None:
        try:
            feeds = list(self._feeds.values())
            last = self.log.last_of([feed.topic for feed in feeds]) if feeds else {}
            for feed in feeds:
                feed.compare(last[feed.topic])
            is_tidy_due = now_s >= self._tidy_due_s
            if is_tidy_due:
                self._tidy_due_s = now_s + _TIDY_S
                self.log.tidy()
            if is_tidy_due or self.log.is_at_hand:
                self._size = self.log.size()
        except LogUnavailable as error:
            # One that carries finds out by itself, and has said so.
            self._health.note_failed(str(error), is_to_be_said=not self.log.carries)
        else:
            self._health.note_read()

    # Reading.

    def newest(self, topic: str, count: int) -> list[LoggedMessage]:
        """The last messages, the oldest of them first. Raises `LogUnavailable`."""
        return [
            LoggedMessage(
                entry.number,
                entry.payload.decode() if entry.is_text else entry.payload,
                entry.at_s,
            )
            for entry in self.log.newest(topic, count).entries
        ]

    def last_number(self, topic: str) -> Position:
        """Of the last message. Raises `LogUnavailable`."""
        return self.log.last_of([topic])[topic]

    def topics(self) -> list[str]:
        """Those of which messages are kept. Raises `LogUnavailable`."""
        return self.log.topics()

    def stats(self) -> HistoryStats:
        """Count everything."""
        return HistoryStats(
            self._health.logged_count,
            self._health.unlogged_count,
            self.mismatches.unnumbered_count,
            self._health.slow_count,
            self._health.waited_s,
            self._counts.repairs,
            self._counts.gaps,
            self._counts.replayed,
            self._size.messages,
            self._size.bytes,
            self._health.trouble,
        )

    # The end.

    def stop(self) -> None:
        """The process ends."""
        self._late.end(_END_S)
        self._reader.end(_END_S)
        if self._log is not None:
            self._log.close()

    def reset_after_fork(self) -> None:
        """In a forked child: another process, without members."""
        if self._log is not None:
            self._log.reset_after_fork()
        self._begin()
