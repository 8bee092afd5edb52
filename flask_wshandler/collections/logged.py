"""The collections of one app that have a history, in one process: their log, and their feeds.

Invariant: a message is in the log before anybody is told of it, or in none and told without a
number. Which of the two is decided once, by whoever broadcasts it.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterable

from ..bus import Bus, Envelope, Kind, Malformed
from ..bus.envelope import check_size
from ..handlers.member import Member
from ..history.log import NOBODY, Draft, Log, LogBusy, LogSize, LogUnavailable, Position
from ..history.stream import decode, encode, key_of
from ..protocol.frames import OutgoingMessage
from ..runtime import locks, logs, threads
from .feed import Feed
from .history import History, LoggedMessage
from .history_stats import FeedCounts, HistoryStats
from .late_broadcasts import Late, LateBroadcasts
from .ordering import Arrival
from .topics import named_by

logger = logs.logger(__package__)

_TIDY_S = 10.0
_END_S = 2.0
_SLOW_S = 0.001
_MOST_OWED = 10_000
_SAY_AGAIN_S = 60.0


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
        #: Topics of which something went out without a number, the oldest first.
        self._owed: dict[str, None] = {}
        self._trouble = ""
        #: Whether the log has a line of it.
        self._is_said = False
        self._say_again_s = 0.0
        self._logged = self._unlogged = self._unnumbered = self._slow = 0
        self._waited_s = 0.0
        self._tell_ignorance_s = 0.0
        self._size = LogSize(0, 0)
        self._counts = FeedCounts()
        self._late = LateBroadcasts(self._append, self._give_up)
        self._tidy_due_s = 0.0
        # Of a log that is not at hand: what its thread is to do.
        self._changed = locks.new_condition()
        self._to_repair: collections.deque[Feed] = collections.deque()
        self._is_look_due = False
        self._is_ended = False
        self._thread = threads.BackgroundThread("history", self._run, logger)

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
                feed = Feed(topic, history, self.log, self._counts, self._have_repaired)
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
        is_owed = topic in self._owed
        position = self.log.append(topic, draft, history.bounds, after_gap=is_owed)
        self._note_logged(topic, time.perf_counter() - began_s, is_owed=is_owed)
        if position is not None:
            self._bus.publish(Kind.LOGGED, topic, encode(position, draft))
            feed = self._feeds.get(topic)
            if feed is not None:
                feed.arrived((Arrival(position, draft),))
            else:
                self._deliver_unfed(topic, draft)

    def _give_up(self, late: Late, error: LogUnavailable) -> None:
        topic, _, draft = late
        self._note_unlogged(topic, str(error))
        message = OutgoingMessage.of_payload(draft.payload, draft.is_text)
        feed = self._feeds.get(topic)
        excluded = None if feed is None else feed.member_of(draft.excluded)
        self._send_plainly(topic, message, excluded)

    def _note_logged(self, topic: str, waited_s: float, *, is_owed: bool) -> None:
        with self._lock:
            self._logged += 1
            self._waited_s += waited_s
            self._slow += waited_s > _SLOW_S
            if is_owed:
                self._owed.pop(topic, None)
        if self._trouble:
            self._works()

    def _note_unlogged(self, topic: str, reason: str) -> None:
        with self._lock:
            self._unlogged += 1
            self._owed[topic] = None
            while len(self._owed) > _MOST_OWED:
                del self._owed[next(iter(self._owed))]
        self._fails(reason)

    def _works(self) -> None:
        with self._lock:
            self._trouble = ""
            was_said, self._is_said = self._is_said, False
        if was_said:
            logger.warning("the history of collections is kept again")

    def _fails(self, reason: str) -> None:
        now_s = time.monotonic()
        with self._lock:
            self._trouble = reason
            # One that carries finds out by itself, and has said so.
            is_to_be_said = not (self.log.carries or self._is_said or now_s < self._say_again_s)
            if is_to_be_said:
                self._is_said = True
                self._say_again_s = now_s + _SAY_AGAIN_S  # it may come and go
        if is_to_be_said:
            logger.error(
                "the history of collections is not kept: %s. Broadcasts go out, without a number; "
                "whoever misses one is told of a gap.",
                reason,
            )

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

    def note_unnumbered(self, feed: Feed) -> None:
        """A process has broadcast to a logged topic as if it were none."""
        with self._lock:
            self._unnumbered += 1
        if self._may_tell_of_ignorance():
            logger.warning(
                "another process broadcasts to %s without a number, so whoever is away misses it: "
                "make the collection there, too, with %s",
                named_by(feed.topic),
                feed.history,
            )

    def note_unfed(self, topic: str) -> None:
        """Members here were given what is logged as if it were not."""
        if self._may_tell_of_ignorance():
            logger.warning(
                "%s has a history in another process and none here, so its members here miss what "
                "comes while they are away: make the collection here, too, with history=…",
                named_by(topic),
            )

    def _may_tell_of_ignorance(self) -> bool:
        now_s = time.monotonic()
        with self._lock:
            may_tell = now_s >= self._tell_ignorance_s
            if may_tell:
                self._tell_ignorance_s = now_s + _SAY_AGAIN_S
        return may_tell

    # Time.

    def on_time(self, now_s: float) -> None:
        """Compare what members were given with the log. Waits for nobody if that is at hand."""
        if self._log is None:
            return
        if self._log.is_at_hand:
            self._look(now_s)
            return
        with self._changed:
            self._is_look_due = True
            self._wake()

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
            self._fails(str(error))
        else:
            if self._trouble and not self._owed:
                self._works()

    # The thread, for a log that is not at hand.

    def _have_repaired(self, feed: Feed) -> None:
        with self._changed:
            self._to_repair.append(feed)
            self._wake()

    def _wake(self) -> None:
        if not self._is_ended:
            self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._to_repair or self._is_look_due or self._is_ended
                )
                if self._is_ended:
                    return
                feed = self._to_repair.popleft() if self._to_repair else None
                if feed is None:
                    self._is_look_due = False
            if feed is None:
                self._look(time.monotonic())
            else:
                feed.repair()

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
            self._logged,
            self._unlogged,
            self._unnumbered,
            self._slow,
            self._waited_s,
            self._counts.repairs,
            self._counts.gaps,
            self._counts.replayed,
            self._size.messages,
            self._size.bytes,
            self._trouble,
        )

    # The end.

    def stop(self) -> None:
        """The process ends."""
        self._late.end(_END_S)
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
            self._thread.end()
        self._thread.join(_END_S)
        if self._log is not None:
            self._log.close()

    def reset_after_fork(self) -> None:
        """In a forked child: another process, without members."""
        if self._log is not None:
            self._log.reset_after_fork()
        self._begin()
