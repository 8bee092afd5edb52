"""The collections of one app in one process: their members here, and in all processes.

Every `WebSocketCollection` is a name; what it stands for in this process are its `LocalMembers`,
made with the first one and dropped with the last. Two collections with one name are one.

Invariants: `lock` guards all `LocalMembers`; neither the bus nor the account of members
waits for anything when it is called under it. Nothing starts before the first use, and a forked
child begins with nothing.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from ..bus import Bus, Envelope, Kind
from ..bus.letters import TakeLetter
from ..bus.node import BusNode
from ..bus.rpc import Respond
from ..handlers.handler import WebSocketHandler, find_member, member_of
from ..handlers.member import Member
from ..history.log import Log
from ..history.memory_log import MemoryLog
from ..protocol.errors import check_close
from ..protocol.frames import OutgoingMessage, Sendable
from ..runtime import lifecycle, locks
from ..runtime.timer import Clock, MonotonicClock, Timer
from .account import Account
from .deliveries import Deliveries
from .feed import Feed
from .history import History
from .local_members import LocalMembers, Unopened
from .presence import Presence, checked_metadata
from .presence_watchers import Watcher, Watchers

DEFAULT_LEASE_S = 5.0

_LOOK_S = 0.5
"""How soon a process that listens idly notices that it is asked."""

_FIRST_ANSWER_S = 1.0
"""For the processes to tell of their members, when somebody asks for the first time."""


class CollectionRegistry:
    """What the collections of one app share in this process. Any thread."""

    def __init__(
        self,
        bus: Bus,
        *,
        lease_s: float = DEFAULT_LEASE_S,
        clock: Clock | None = None,
        call: Callable[..., None] | None = None,
        make_timer: Callable[[Clock], Timer] = Timer,
        respond: Respond | None = None,
        take_letter: TakeLetter | None = None,
        make_log: Callable[[], Log] = MemoryLog,
    ) -> None:
        """`call(function, *args)` calls what is the user's, in the context that this needs;
        `respond` answers what other processes ask, `take_letter` what they hand over;
        `make_log` makes what remembers broadcasts."""
        self.bus = bus
        self._lease_s = lease_s
        self._clock = clock or MonotonicClock()
        self._call = call or _call
        self._make_timer = make_timer
        self._respond = respond
        self._take_letter = take_letter
        # Guarded by lock, and one dict throughout.
        self._members: dict[str, LocalMembers] = {}
        self._deliveries = Deliveries(bus, make_log, self._members.get)
        #: The collections that have a history.
        self.logged = self._deliveries.logged
        self._begin()
        lifecycle.register(self, lifecycle.Stage.COLLECTIONS)

    def _begin(self) -> None:
        self.lock = locks.Lock()
        self._members.clear()
        # Members that were gone before they were open. Its methods are atomic: the garbage
        # collector adds to it.
        self._gone: collections.deque[Unopened] = collections.deque()
        self._watchers = Watchers(self._call)
        #: This process, as the others know it.
        self.node = BusNode(
            self.bus,
            self._deliveries.take,
            {Kind.CLOSE: self._deliveries.take_close, Kind.PRESENCE: self._take_presence},
            self._started,
            self._respond,
            self._take_letter,
        )
        self._account = Account(
            self.node.process,
            self.bus,
            self._clock,
            self._lease_s,
            self._watchers.tell,
            self._watchers.tell_updated,
            self._come_back_in,
        )
        self._timer = self._make_timer(self._clock)
        self.due_tick: int | None = None  # the timer's

    # Members.

    def members_here(self, topic: str) -> LocalMembers | None:
        """The members in this process, None if there are none."""
        self._drop_gone()
        return self._members.get(topic)

    def topics(self) -> list[str]:
        """The topics that have members here."""
        self._drop_gone()
        with self.lock:
            return list(self._members)

    def add(
        self,
        topic: str,
        handler: WebSocketHandler,
        metadata: dict[str, Any],
        history: History | None = None,
    ) -> bool:
        """Add a member. False if it was in already, or has closed.

        When this returns, whatever any process publishes reaches the member, provided the bus is
        up. Raises TypeError or ValueError for metadata that can't be told to others.
        """
        metadata = checked_metadata(metadata)
        if locks.put_off(self.add, topic, handler, metadata, history):
            return True
        self.bus.serve_clients()
        self.node.start()
        member = member_of(handler)
        with self.lock:
            members = self._members.get(topic)
            if members is None:
                members = self._members[topic] = LocalMembers(self, topic)
                self.bus.subscribe(topic)
            elif member in members:
                return False
            # Before it is in: a member that comes at the same moment is not an earlier one.
            self._begin_feed(members, history)
            members.put(member, handler, self._gone.append)
            if history is not None or self.logged.history_of(topic) is not None:
                members.knows_history = True
            has_joined = member.join(members)
            if has_joined:
                self._account.joined(topic, member.connection_id, metadata)
            else:
                members.pop(member)
                self._drop_if_empty(members)
        self.bus.wait_until_subscribed()
        if has_joined:
            if members.feed is not None:
                self._feed(members, member, members.feed)
            if member.is_open:  # perhaps since a moment ago
                members.opened(member)
        return has_joined

    def _feed(self, members: LocalMembers, member: Member, feed: Feed) -> None:
        """Have a new member of a topic with history be given what is logged."""
        feed.expect(member)
        if member not in members:
            feed.discard(member)  # it has left meanwhile

    def remove(self, topic: str, handler: WebSocketHandler) -> bool:
        """Take a member out. Says whether it was in."""
        if locks.put_off(self.remove, topic, handler):
            return find_member(handler) in self._members.get(topic, ())
        member = find_member(handler)
        return member is not None and self.remove_member(topic, member)

    def remove_member(self, topic: str, member: Member) -> bool:
        """Take a member out. Says whether it was in."""
        if locks.put_off(self.remove_member, topic, member):
            return member in self._members.get(topic, ())
        members = self._members.get(topic)
        feed = None if members is None else members.feed
        if feed is not None:
            feed.discard(member)  # now: later it may be a member again
        with self.lock:
            members = self._members.get(topic)
            if members is None or not members.pop(member):
                return False
            member.leave(members)
            self._account.left(topic, member.connection_id)
            is_last = self._drop_if_empty(members)
        if members.feed is not None and members.feed is not feed:
            members.feed.discard(member)
        if is_last:
            self.bus.wait_until_subscribed(0)
        return True

    def update_metadata(
        self, topic: str, handler: WebSocketHandler, changes: dict[str, Any]
    ) -> bool:
        """Change what others are told of a member. Says whether it is in.

        Raises TypeError or ValueError for metadata that can't be told to others.
        """
        changes = checked_metadata(changes)
        member = find_member(handler)
        with self.lock:
            if member is None or member not in self._members.get(topic, ()):
                return False
            return self._account.updated(topic, member.connection_id, changes)

    def _drop_gone(self) -> None:
        """Take out the members that were gone before they were open."""
        while self._gone:
            try:
                unopened = self._gone.popleft()
            except IndexError:
                return  # another thread was quicker
            members = unopened.members
            with self.lock:
                if members.pop_gone(unopened):
                    self._account.left(members.topic, unopened.member.connection_id)
                if self._members.get(members.topic) is members:
                    self._drop_if_empty(members)
            if members.feed is not None:
                members.feed.discard(unopened.member)

    # With `lock` held.

    def _begin_feed(self, members: LocalMembers, history: History | None) -> None:
        """Have the members of a topic be given what is logged from now on, if it has a history."""
        history = history or self.logged.history_of(members.topic)
        if members.feed is None and history is not None:
            members.feed = self.logged.feed_for(members.topic, history)
            for earlier in members.members():
                members.feed.include(earlier)

    def _drop_if_empty(self, members: LocalMembers) -> bool:
        if members:
            return False
        del self._members[members.topic]
        self.bus.unsubscribe(members.topic)
        if members.feed is not None:
            self.logged.drop_feed(members.feed)
        return True

    # To all members, everywhere.

    def broadcast(
        self,
        topic: str,
        message: Sendable,
        exclude: WebSocketHandler | None,
        history: History | None = None,
    ) -> None:
        """Send a message to all members but one."""
        broadcast = self._deliveries.broadcast
        outgoing = OutgoingMessage(message)
        if not locks.put_off(broadcast, topic, outgoing, exclude, history):
            broadcast(topic, outgoing, exclude, history)

    def close_all(self, topic: str, code: int, reason: str) -> None:
        """Close all members. Raises what `check_close` does."""
        check_close(code, reason)
        if not locks.put_off(self._deliveries.close_all, topic, code, reason):
            self._deliveries.close_all(topic, code, reason)

    # Presence.

    def members(self, topic: str) -> list[Presence]:
        """All members of a collection, in all processes."""
        self._drop_gone()
        if self.node.is_alone:
            return []
        self.node.start()
        return self._account.members(topic, _FIRST_ANSWER_S)

    def count(self, topic: str) -> int:
        """How many `members` there are."""
        self._drop_gone()
        if self.node.is_alone:
            return 0
        self.node.start()
        return self._account.count(topic, _FIRST_ANSWER_S)

    def watch(self, topic: str, watcher: Watcher) -> bool:
        """Have `watcher` told from now on. False if that is so already."""
        self.node.start()
        if not self._watchers.add(topic, watcher):
            return False
        self._account.follow(topic)
        self._come_back_in(self._lease_s / 3)
        return True

    def unwatch(self, topic: str, watcher: Watcher) -> None:
        """Tell `watcher` no more."""
        if self._watchers.remove(topic, watcher):
            self._account.unfollow(topic)

    def _unfollow_unwatched(self) -> None:
        for topic in self._watchers.forget_unwatched():
            self._account.unfollow(topic)

    def _come_back_in(self, seconds: float) -> None:
        self._timer.wake(self, seconds)

    def watched(self) -> list[tuple[str, Watcher]]:
        """The topics that are watched, each with one that watches it."""
        return self._watchers.watched()

    @property
    def news_count(self) -> int:
        """How many news there have been for watchers."""
        return self._watchers.news_count

    @property
    def has_told_all(self) -> bool:
        """Whether every watcher has been told all that is known here."""
        return self._watchers.is_idle

    # The others.

    def _started(self) -> None:
        """The other processes hear of this one from now on."""
        self._account.begin()
        self._timer.wake(self, self._lease_s / 3)

    def be_reachable(self) -> float | None:
        """See to it that other processes can ask this one, though it uses no collection.

        Never waits. Returns in how many seconds to call it again; None: not any more.
        """
        is_soon = self.node.be_reachable()
        if is_soon is None:
            return None
        self._account.tidy()
        return _LOOK_S if is_soon else self._lease_s

    def on_time(self, now_s: float) -> float:
        """The timer: tell the others that this process lives."""
        self._drop_gone()
        self._watchers.release_empty(self._account.has_members)
        self._unfollow_unwatched()
        self.logged.on_time(now_s)
        return self._account.on_time()

    def _take_presence(self, envelope: Envelope) -> None:
        self._account.receive(envelope.body)

    # The end.

    def stop(self) -> None:
        """The process ends, and its members are gone."""
        self._timer.stop()
        if self.node.has_started:
            self._account.end()
        self._watchers.stop()
        self.logged.stop()

    def stop_now(self) -> None:
        """Nothing: `stop` waits for nobody."""

    def reset_after_fork(self) -> None:
        """In a forked child: another process, without members."""
        self.logged.reset_after_fork()
        self._begin()


def _call(function: Callable[..., None], *args: Any) -> None:
    function(*args)
