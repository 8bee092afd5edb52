"""The collections of one app in one process: their members here, and the bus to the others.

Every `WebSocketCollection` is a name; what it stands for in this process are its `LocalMembers`,
made with the first one and dropped with the last. Two collections with one name are one.

Invariants: `lock` guards all `LocalMembers`; neither the bus nor the account of members
waits for anything when it is called under it. Nothing starts before the first use, and a forked
child begins with nothing.
"""

from __future__ import annotations

import collections
import os
import socket
import struct
from collections.abc import Callable, Collection
from typing import Any

from ..bus import Bus, Envelope, Kind, Malformed, NoBus
from ..bus.rpc import DEFAULT_TIMEOUT_S, Answer, Queries, Replies, Respond
from ..handlers.handler import WebSocketHandler, find_member, member_of
from ..handlers.member import Member, Receiver, close_each, deliver_to_each, deliver_together
from ..protocol.errors import check_close
from ..protocol.frames import OutgoingMessage, Sendable
from ..runtime import lifecycle, locks, logs
from ..runtime.timer import Clock, MonotonicClock, Timer
from .local_members import LocalMembers, Unopened
from .presence import Account, Presence, checked_metadata
from .presence_watchers import Watcher, Watchers

logger = logs.logger(__package__)

DEFAULT_LEASE_S = 5.0

_EVERY_PROCESS = ""
"""The topic of what concerns no single collection."""

_LOOK_S = 0.5
"""How soon a process that listens idly notices that it is asked."""

_MOST_EMPTY_WATCHED = 1000
"""Groups without members whose assigned callbacks are remembered."""

_CODE = struct.Struct("!H")
_FIRST_ANSWER_S = 1.0
"""For the processes to tell of their members, when somebody asks for the first time."""


class Hub:
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
    ) -> None:
        """`call(function, *args)` calls what belongs to the user, in the context he expects;
        `respond` answers what other processes ask."""
        self.bus = bus
        self._lease_s = lease_s
        self._clock = clock or MonotonicClock()
        self._call = call or _call
        self._make_timer = make_timer
        self._respond = respond
        self._begin()
        lifecycle.register(self, lifecycle.Stage.COLLECTIONS)

    def _begin(self) -> None:
        self.lock = locks.Lock()
        # Guarded by lock.
        self._members: dict[str, LocalMembers] = {}
        # Members that were gone before they were open. Its methods are atomic: the garbage
        # collector adds to it.
        self._gone: collections.deque[Unopened] = collections.deque()
        self._start_lock = locks.Lock()
        # Guarded by _start_lock.
        self._has_started = False
        self._is_attached = False
        self._watchers = Watchers(self._call)
        #: Its name to the others: host, process id and a random number.
        self.process = _process_name()
        self._account = Account(
            self.process,
            self.bus,
            self._clock,
            self._lease_s,
            self._watchers.tell,
            self._watchers.tell_updated,
            self._come_back_in,
        )
        self._queries = Queries(self.process, self.bus, self._respond)
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

    def add(self, topic: str, handler: WebSocketHandler, metadata: dict[str, Any]) -> bool:
        """Add a member. False if it was in already, or has closed.

        When this returns, whatever any process publishes reaches the member, provided the bus is
        up. Raises TypeError or ValueError for metadata that can't be told to others.
        """
        metadata = checked_metadata(metadata)
        if locks.put_off(self.add, topic, handler, metadata):
            return True
        self.bus.serve_clients()
        self._start()
        member = member_of(handler)
        with self.lock:
            members = self._members.get(topic)
            if members is None:
                members = self._members[topic] = LocalMembers(self, topic)
                self.bus.subscribe(topic)
            elif member in members:
                return False
            members.put(member, handler, self._gone.append)
            has_joined = member.join(members)
            if has_joined:
                self._account.joined(topic, member.connection_id, metadata)
            else:
                members.pop(member)
                self._drop_if_empty(members)
        if has_joined and member.is_open:  # perhaps since a moment ago
            members.opened(member)
        self.bus.wait_until_subscribed()
        return has_joined

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
        with self.lock:
            members = self._members.get(topic)
            if members is None or not members.pop(member):
                return False
            member.leave(members)
            self._account.left(topic, member.connection_id)
            is_last = self._drop_if_empty(members)
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

    # With `lock` held.

    def _drop_if_empty(self, members: LocalMembers) -> bool:
        if members:
            return False
        del self._members[members.topic]
        self.bus.unsubscribe(members.topic)
        return True

    # To all members, everywhere.

    def broadcast(self, topic: str, message: Sendable, exclude: WebSocketHandler | None) -> None:
        """Send a message to all members but one."""
        outgoing = OutgoingMessage(message)
        if not locks.put_off(self._broadcast, topic, outgoing, exclude):
            self._broadcast(topic, outgoing, exclude)

    def _broadcast(
        self, topic: str, outgoing: OutgoingMessage, exclude: WebSocketHandler | None
    ) -> None:
        self.bus.publish(Kind.TEXT if outgoing.is_text else Kind.BINARY, topic, outgoing.payload)
        self._deliver(topic, outgoing, exclude)
        self.bus.hand_over()

    def close_all(self, topic: str, code: int, reason: str) -> None:
        """Close all members. Raises what `check_close` does."""
        check_close(code, reason)
        if locks.put_off(self.close_all, topic, code, reason):
            return
        self.bus.publish(Kind.CLOSE, topic, _CODE.pack(code) + reason.encode())
        self._close(topic, code, reason)
        self.bus.hand_over()

    def _deliver(
        self, topic: str, outgoing: OutgoingMessage, exclude: WebSocketHandler | None = None
    ) -> None:
        members = self._members.get(topic)
        if members is not None:
            deliver_to_each(members.receivers(find_member(exclude)), outgoing)

    def _close(self, topic: str, code: int, reason: str) -> None:
        members = self._members.get(topic)
        if members is not None:
            close_each(members.receivers(), code, reason)

    # Presence.

    def members(self, topic: str) -> list[Presence]:
        """Everybody who is in a collection, in all processes."""
        self._drop_gone()
        if self._is_alone:
            return []
        self._start()
        return self._account.members(topic, _FIRST_ANSWER_S)

    def count(self, topic: str) -> int:
        """How many they are."""
        self._drop_gone()
        if self._is_alone:
            return 0
        self._start()
        return self._account.count(topic, _FIRST_ANSWER_S)

    @property
    def _is_alone(self) -> bool:
        """Whether there is nobody to ask, nor a member here: so there is no need to be found."""
        return not self._has_started and self.bus.peer_count() == 0

    def watch(self, topic: str, watcher: Watcher) -> bool:
        """Have `watcher` told from now on. False if that is so already."""
        self._start()
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

    def _release_empty(self) -> None:
        """Of the watched collections without members let go what nobody else keeps.

        All but those that were watched last, for an app may watch a room before anybody is in it.
        """
        topics = self._watchers.topics()
        if len(topics) > _MOST_EMPTY_WATCHED:
            empty = [topic for topic in topics if not self._account.has_members(topic)]
            for topic in empty[:-_MOST_EMPTY_WATCHED]:
                for watcher in self._watchers.of(topic):
                    watcher._release()

    def _come_back_in(self, seconds: float) -> None:
        self._timer.wake(self, seconds)

    def watched(self) -> list[tuple[str, Watcher]]:
        """The topics with who watches each."""
        return self._watchers.watched()

    @property
    def news_count(self) -> int:
        """How many news there have been for those who watch."""
        return self._watchers.news_count

    @property
    def has_told_all(self) -> bool:
        """Whether every watcher has been told all that is known here."""
        return self._watchers.is_idle

    # The bus.

    def _start(self) -> None:
        """Be heard of by the other processes, and hear of them."""
        if self._has_started:
            return
        with self._start_lock:
            if self._has_started:
                return
            self._attach()
            self.bus.wait_until_subscribed()
            if not isinstance(self.bus, NoBus):
                lifecycle.stop_at_exit()
                self._account.begin()
                self._timer.wake(self, self._lease_s / 3)
            self._has_started = True

    def _attach(self) -> None:
        """With _start_lock held."""
        if not self._is_attached:
            self._is_attached = True
            self.bus.attach(self._receive)
            self.bus.subscribe(_EVERY_PROCESS)

    def be_reachable(self) -> float | None:
        """See to it that other processes can ask this one, though it uses no collection.

        Never waits. Returns in how many seconds to call it again; None: not any more.
        """
        self.bus.serve_clients()
        if self._has_started or isinstance(self.bus, NoBus):
            return None
        with self._start_lock:
            if not self._is_attached:
                self._attach()
                is_idle = self.bus.listen_idly()
            else:
                is_idle = self.bus.look()
        self._account.tidy()
        return _LOOK_S if is_idle else self._lease_s

    def listen(self, timeout_s: float) -> bool:
        """Have what others say come here, if there are any; False if the bus is not up in time."""
        if self._is_alone:
            return self.bus.is_up
        with self._start_lock:
            self._attach()
        return self.bus.wait_until_subscribed(timeout_s)

    def ask(
        self,
        verb: str,
        arguments: dict[str, Any],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        is_enough: Callable[[Answer], bool] | None = None,
        known: Collection[str] = (),
    ) -> Replies:
        """Ask every other process of the app; wait for all, or for an answer that `is_enough`.

        Waits for `timeout_s` at most. See `answers` for what can be asked, and `Queries.ask`
        for `known`.
        """
        with self._start_lock:
            self._attach()
        return self._queries.ask(verb, arguments, timeout_s, is_enough, known)

    def answer(self, verb: str, arguments: dict[str, Any]) -> Answer:
        """What this process answers if another one asks."""
        return self._queries.answer(verb, arguments)

    def on_time(self, now_s: float) -> float:
        """The timer: tell the others that this process lives."""
        del now_s
        self._drop_gone()
        self._release_empty()
        self._unfollow_unwatched()
        return self._account.on_time()

    def _receive(self, envelopes: list[Envelope]) -> None:
        # What a client gets of all that has come together goes out in one write.
        waiting: dict[Receiver, list[OutgoingMessage]] = {}
        for envelope in envelopes:
            try:
                if envelope.kind is Kind.TEXT or envelope.kind is Kind.BINARY:
                    self._gather(envelope, waiting)
                else:
                    _deliver_all(waiting)
                    self._take(envelope)
            except Malformed as fault:
                self.bus.refuse(str(fault))
        _deliver_all(waiting)

    def _gather(self, envelope: Envelope, waiting: dict[Receiver, list[OutgoingMessage]]) -> None:
        members = self._members.get(envelope.topic)
        if members is None:
            return
        is_text = envelope.kind is Kind.TEXT
        if is_text:
            _check_text(envelope.body)
        message = OutgoingMessage.of_payload(envelope.body, is_text)
        for receiver in members.receivers():
            found = waiting.get(receiver)
            if found is None:
                waiting[receiver] = [message]
            else:
                found.append(message)

    def _take(self, envelope: Envelope) -> None:
        if envelope.kind is Kind.PRESENCE:
            self._account.receive(envelope.body)
        elif envelope.kind is Kind.QUESTION:
            self._queries.take_question(envelope.body)
        elif envelope.kind is Kind.ANSWER:
            self._queries.take_answer(envelope.topic, envelope.body)
        else:
            self._close(envelope.topic, *_close_of(envelope.body))

    # The end.

    def stop(self) -> None:
        """The process ends, and its members are gone."""
        self._timer.stop()
        if self._has_started:
            self._account.end()
        self._watchers.stop()

    def stop_now(self) -> None:
        """Nothing: `stop` waits for nobody."""

    def reset_after_fork(self) -> None:
        """In a forked child: another process, without members."""
        self._begin()


def _deliver_all(waiting: dict[Receiver, list[OutgoingMessage]]) -> None:
    for receiver, messages in waiting.items():
        if len(messages) == 1:
            deliver_to_each((receiver,), messages[0])
        else:
            deliver_together(receiver, messages)
    waiting.clear()


def _call(function: Callable[..., None], *args: Any) -> None:
    function(*args)


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


def _check_text(body: bytes) -> None:
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"a text message that is no UTF-8: {error.reason}") from None


def _close_of(body: bytes) -> tuple[int, str]:
    try:
        (code,) = _CODE.unpack_from(body)
        reason = str(body[_CODE.size :], "utf-8")
        check_close(code, reason)
    except (struct.error, ValueError) as error:
        raise Malformed(f"a close that can't be sent: {error}") from None
    return code, reason
