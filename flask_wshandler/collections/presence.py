"""Who is in which collection, in all processes: an account of one's own, and the others'.

Every process counts the changes of its own account. It tells the others of each change while one
of them follows any collection, and of the count in a beat three times in a lease. A process that
follows a collection has every other one tell its members of it, applies the changes, and asks again
when a count shows that it has missed one. A process that was not heard of for a lease is gone, and
its members with it; one that ends says so. What is said is in `presence_messages`.

However much there is to tell, no message is larger than some ten kilobytes, and no more of them
leave at once than a queue takes; the rest follows, a piece every tenth of a second. A part of an
answer is as of its own count: a change between two parts is told as such, and is made to what has
come of the answer, too.

Invariants: an account of another process is as of one count, or is not known at all; `_lock` guards
everything, and the bus, which never waits, is called under it, so that counts leave in order.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from ..bus import Kind
from ..runtime import locks
from ..runtime.timer import Clock
from .presence_messages import (
    AnswerPart,
    Beat,
    Change,
    End,
    Pairs,
    PresenceMessage,
    Question,
    decode,
    encode,
)

_MEMBERS_PER_MESSAGE = 200
_MESSAGE_BYTES = 64 * 1024
"""About as much metadata, or names of topics, as one message has."""
_TURN_BYTES = 512 * 1024
"""As much of questions or answers leaves at once."""
_PAUSE_S = 0.1
_FORGET_S = 60.0
"""A collection that nobody has asked for so long is followed no more."""

MAX_METADATA_BYTES = 4096


class Presence(NamedTuple):
    """One member of a collection, wherever it is connected."""

    #: The process that serves it: host, process id and a random number.
    process: str
    #: `handler.context.connection_id`.
    connection_id: str
    #: What was given to `add`, as JSON brings it here.
    metadata: dict[str, Any]


_UNCHANGEABLE = (str, int, float, bool, type(None))


def _copied(metadata: dict[str, Any]) -> dict[str, Any]:
    # By way of JSON, which it is: deeper than deepcopy() can go.
    return {
        key: value if isinstance(value, _UNCHANGEABLE) else json.loads(json.dumps(value))
        for key, value in metadata.items()
    }


class Publisher(Protocol):
    """The bus, as far as it concerns us."""

    @property
    def is_up(self) -> bool: ...

    def publish(self, kind: Kind, topic: str, body: bytes) -> None: ...

    def peer_count(self) -> int | None: ...


Notify = Callable[[str, list[Presence], list[Presence]], None]
"""Told of a topic, and which members joined and left. Must not block."""

NotifyUpdated = Callable[[str, list[Presence]], None]
"""Told of a topic, and which members have other metadata now. Must not block."""

Members = dict[str, dict[str, Any]]
"""Metadata by connection id."""


@dataclasses.dataclass(slots=True)
class _Peer:
    """What another process has told."""

    heard_s: float
    #: Of its changes, as of which `accounts` are.
    count: int
    follows: bool = False
    #: Its members of each topic that is followed here and known.
    accounts: dict[str, Members] = dataclasses.field(default_factory=dict)
    #: Of these, the ones that a lost change may have made wrong.
    doubted: set[str] = dataclasses.field(default_factory=set)
    #: Parts of an answer that is not complete: (topic, next index, members).
    partial: tuple[str, int, Members] | None = None
    #: The topic and index of `partial` at the last beat: without progress something was lost.
    awaited: tuple[str, int] | None = None


@dataclasses.dataclass(slots=True)
class _Telling:
    """An answer that is under way: the members as they were when it began."""

    connection_ids: list[str]
    position: int = 0
    index: int = 0
    #: Whether another process has asked since it began, and needs all of it.
    is_asked_again: bool = False


class Account:
    """The members of all collections, by process. Any thread."""

    def __init__(
        self,
        process: str,
        publisher: Publisher,
        clock: Clock,
        lease_s: float,
        notify: Notify,
        notify_updated: NotifyUpdated | None = None,
        wake: Callable[[float], None] | None = None,
    ) -> None:
        """`wake` has `on_time` called in so many seconds, if that is sooner than it would be."""
        self.process = process
        self._publisher = publisher
        self._clock = clock
        self._lease_s = lease_s
        self._notify = notify
        self._notify_updated = notify_updated
        self._wake = wake
        self._lock = locks.Lock()
        self._changed = locks.condition_on(self._lock)
        # Guarded by _lock.
        self._own: dict[str, Members] = {}
        self._count = 0
        self._peers: dict[str, _Peer] = {}
        #: Followed topics, and when they were last asked for; None: always followed.
        self._followed: dict[str, float | None] = {}
        self._began_s = self._looked_s = clock.now_s()
        self._beat_due_s = self._began_s
        #: Topics to ask for, and topics to answer with what has been told of them.
        self._asking: dict[str, None] = {}
        self._telling: dict[str, _Telling | None] = {}

    # This process's members.

    def joined(self, topic: str, connection_id: str, metadata: dict[str, Any]) -> None:
        """A member is in a collection here."""
        with self._lock:
            self._own.setdefault(topic, {})[connection_id] = metadata
            self._tell(topic, [(connection_id, metadata)], [])

    def updated(self, topic: str, connection_id: str, changes: dict[str, Any]) -> bool:
        """A member's metadata changes; says whether there is such a member.

        Raises ValueError if it would be too large.
        """
        with self._lock:
            members = self._own.get(topic, {})
            metadata = members.get(connection_id)
            if metadata is None:
                return False
            # It is plain JSON already: no code of the user's runs under the lock.
            changed = checked_metadata({**metadata, **changes})
            if changed != metadata:
                members[connection_id] = changed
                self._tell(topic, [(connection_id, changed)], [], is_update=True)
            return True

    def left(self, topic: str, connection_id: str) -> None:
        """A member is in it no more."""
        with self._lock:
            members = self._own.get(topic, {})
            metadata = members.pop(connection_id, None)
            if metadata is None:
                return
            if not members:
                del self._own[topic]
            self._tell(topic, [], [(connection_id, metadata)])

    def _tell(
        self,
        topic: str,
        joined: Pairs,
        left: Pairs,
        *,
        is_update: bool = False,
    ) -> None:
        self._count += 1
        if any(peer.follows for peer in self._peers.values()):
            gone = [connection_id for connection_id, _ in left]
            self._publish(Change(self.process, self._count, topic, joined, gone))
        if is_update:
            self._note(topic, self.process, [], [], joined)
        else:
            self._note(topic, self.process, joined, left, [])

    def _note(
        self,
        topic: str,
        process: str,
        joined: Pairs,
        left: Pairs,
        updated: Pairs,
    ) -> None:
        """Have watchers of a collection told what is new, if anything is."""
        if topic not in self._followed:
            return
        if joined or left:
            self._notify(topic, self._named(process, joined), self._named(process, left))
        if updated and self._notify_updated is not None:
            self._notify_updated(topic, self._named(process, updated))

    # Reading.

    def members(self, topic: str, timeout_s: float) -> list[Presence]:
        """All members of a collection.

        The first time, asks the other processes and waits for their answers, `timeout_s` at most;
        later what is known is there at once.
        """
        with self._lock:
            self._learn(topic, timeout_s)
            found = self._named(self.process, self._own.get(topic, {}).items())
            for process, peer in self._peers.items():
                found += self._named(process, peer.accounts.get(topic, {}).items())
            return found

    def count(self, topic: str, timeout_s: float) -> int:
        """How many `members` there are."""
        with self._lock:
            self._learn(topic, timeout_s)
            others = [peer.accounts.get(topic, {}) for peer in self._peers.values()]
            return sum(map(len, [self._own.get(topic, {}), *others]))

    def _learn(self, topic: str, timeout_s: float) -> None:
        self._follow(topic, self._clock.now_s())
        if not self._knows_all(topic):
            self._wait(topic, timeout_s)

    def follow(self, topic: str) -> None:
        """Be told of the changes of a collection from now on."""
        with self._lock:
            self._follow(topic, None)

    def unfollow(self, topic: str) -> None:
        """Be told no more, and know nothing of it; a later question is a first one."""
        with self._lock:
            if topic in self._followed:
                self._drop(topic)

    def has_members(self, topic: str) -> bool:
        """Whether anybody is in a followed collection, as far as is known."""
        with self._lock:
            return topic in self._own or any(
                peer.accounts.get(topic) for peer in self._peers.values()
            )

    def _follow(self, topic: str, now_s: float | None) -> None:
        if topic not in self._followed:
            self._followed[topic] = now_s
            self._ask([topic])
        elif now_s is None or self._followed[topic] is not None:
            self._followed[topic] = now_s

    def _knows_all(self, topic: str) -> bool:
        if not all(topic in peer.accounts for peer in self._peers.values()):
            return False
        if not self._publisher.is_up or self._clock.now_s() - self._began_s > self._lease_s:
            return True  # every process that lives has been heard of
        peer_count = self._publisher.peer_count()
        if peer_count is None:
            return self._clock.now_s() - self._began_s > _SETTLE_S
        return len(self._peers) >= peer_count

    def _wait(self, topic: str, timeout_s: float) -> None:
        until_s = self._clock.now_s() + timeout_s
        while not self._knows_all(topic):
            rest_s = until_s - self._clock.now_s()
            if rest_s <= 0:
                return
            self._clock.wait(self._changed, min(rest_s, _SETTLE_S))

    def _named(self, process: str, members: Iterable[tuple[str, dict[str, Any]]]) -> list[Presence]:
        # Copies: what somebody does to them is not told to others.
        return [
            Presence(process, connection_id, _copied(metadata))
            for connection_id, metadata in members
        ]

    # Time.

    def begin(self) -> None:
        """This process can be heard from now on: say so, and ask which others there are."""
        with self._lock:
            self._began_s = self._looked_s = self._clock.now_s()
            self._beat(asks=True)

    def on_time(self) -> float:
        """Beat, forget processes that were not heard of, and go on with what is under way.

        Returns the seconds to the next time.
        """
        with self._lock:
            now_s = self._clock.now_s()
            self._ask_some()
            self._tell_some()
            if now_s >= self._beat_due_s - _PAUSE_S / 2:
                self._beat_due_s = now_s + self._lease_s / 3
                self._look_around(now_s)
            if self._asking or self._telling:
                return _PAUSE_S
            return max(0.0, self._beat_due_s - now_s)

    def _look_around(self, now_s: float) -> None:
        if now_s - self._looked_s > self._lease_s:
            # This process was stopped itself: what it was sent meanwhile is still unread.
            for peer in self._peers.values():
                peer.heard_s = now_s
        self._looked_s = now_s
        self._expire(now_s)
        self._beat(asks=False)
        self._ask(self._unknown())

    def _unknown(self) -> list[str]:
        """Followed topics for which an answer has not come."""
        unknown: set[str] = set()
        for peer in self._peers.values():
            missing = self._followed.keys() - peer.accounts.keys() | peer.doubted
            awaited = None if peer.partial is None else peer.partial[:2]
            if awaited is not None and awaited != peer.awaited:
                missing.discard(awaited[0])  # it is under way
            peer.awaited = awaited
            unknown |= missing
        return sorted(unknown)

    def _expire(self, now_s: float) -> None:
        for process, peer in list(self._peers.items()):
            if now_s - peer.heard_s > self._lease_s:
                self._forget(process)
        for topic, asked_s in list(self._followed.items()):
            if asked_s is not None and now_s - asked_s > _FORGET_S:
                self._drop(topic)

    def _drop(self, topic: str) -> None:
        del self._followed[topic]
        self._asking.pop(topic, None)
        for peer in self._peers.values():
            peer.accounts.pop(topic, None)
            peer.doubted.discard(topic)

    def tidy(self) -> None:
        """Forget processes that were not heard of, where this one has nothing to say itself."""
        with self._lock:
            if self._peers:
                self._expire(self._clock.now_s())

    def end(self) -> None:
        """This process ends: its members are gone, at once."""
        with self._lock:
            self._own.clear()
            self._publish(End(self.process))

    def _forget(self, process: str) -> None:
        peer = self._peers.pop(process, None)
        if peer is not None:
            for topic, members in peer.accounts.items():
                self._tell_difference(topic, process, members, {})
            self._changed.notify_all()

    # What others tell.

    def receive(self, body: bytes) -> None:
        """Take a message of another process's account. Raises `Malformed`."""
        message = decode(body)
        with self._lock:
            self._take(message)
            self._changed.notify_all()

    def _take(self, message: PresenceMessage) -> None:
        if isinstance(message, Change):
            self._take_change(message)
        elif isinstance(message, Beat):
            self._take_beat(message)
        elif isinstance(message, AnswerPart):
            self._take_answer_part(message)
        elif isinstance(message, Question):
            self._take_question(message)
        else:
            self._forget(message.process)

    def _heard(self, process: str, count: int) -> _Peer:
        """A process lives, and has made `count` changes."""
        now_s = self._clock.now_s()
        peer = self._peers.get(process)
        if peer is None:
            peer = self._peers[process] = _Peer(now_s, count)
            self._ask(sorted(self._followed))
        peer.heard_s = now_s
        return peer

    def _take_beat(self, beat: Beat) -> None:
        peer = self._heard(beat.process, beat.count)
        peer.follows = beat.follows
        if peer.count != beat.count:
            self._missed(peer, beat.count)
        if beat.asks:
            self._beat(asks=False)

    def _take_question(self, question: Question) -> None:
        peer = self._peers.get(question.process)
        if peer is None:
            # It will tell its count with its next beat; until then what it says is not known.
            peer = self._peers[question.process] = _Peer(self._clock.now_s(), _UNKNOWN)
            self._ask(sorted(self._followed))
        peer.heard_s = self._clock.now_s()
        peer.follows = True
        for topic in question.topics:
            under_way = self._telling.setdefault(topic, None)
            if under_way is not None:
                under_way.is_asked_again = True
        self._tell_some()

    def _tell_some(self) -> None:
        """Answer what was asked, as much as may leave at once."""
        left_bytes = _TURN_BYTES
        while self._telling and left_bytes > 0:
            topic, telling = next(iter(self._telling.items()))
            if telling is None:
                telling = self._telling[topic] = _Telling(list(self._own.get(topic, ())))
            left_bytes -= self._tell_part(topic, telling)
            if telling.position == len(telling.connection_ids):
                del self._telling[topic]
                if telling.is_asked_again:
                    self._telling[topic] = None
        self._come_back_for(self._telling)

    def _tell_part(self, topic: str, telling: _Telling) -> int:
        """Publish the next part of an answer; returns its size."""
        own = self._own.get(topic, {})
        part: Pairs = []
        size = 0
        ids, position = telling.connection_ids, telling.position
        while position < len(ids) and len(part) < _MEMBERS_PER_MESSAGE and size < _MESSAGE_BYTES:
            metadata = own.get(ids[position])
            if metadata is not None:  # else it has left since, and that is told
                part.append((ids[position], metadata))
                size += len(ids[position]) + (len(json.dumps(metadata)) if metadata else 0)
            position += 1
        telling.position = position
        of = telling.index + (1 if position == len(ids) else 2)
        message = AnswerPart(self.process, self._count, topic, telling.index, of, part)
        size = self._publish(message)
        telling.index += 1
        return size

    def _come_back_for(self, rest: object) -> None:
        if rest and self._wake is not None:
            self._wake(_PAUSE_S)

    def _take_answer_part(self, part: AnswerPart) -> None:
        peer = self._heard(part.process, part.count)
        if peer.count != part.count:
            self._missed(peer, part.count)
        topic = part.topic
        if topic not in self._followed:
            return
        gathered: Members = {}
        if part.index:
            if peer.partial is None or peer.partial[:2] != (topic, part.index):
                peer.partial = None  # a part was lost; the next question is asked with the beat
                return
            gathered = peer.partial[2]
        gathered.update(part.members)
        if part.index + 1 < part.of:
            peer.partial = topic, part.index + 1, gathered
            return
        peer.partial = None
        known = peer.accounts.get(topic, {})
        peer.accounts[topic] = gathered
        peer.doubted.discard(topic)
        self._tell_difference(topic, part.process, known, gathered)

    def _take_change(self, change: Change) -> None:
        peer = self._heard(change.process, change.count)
        if change.count <= peer.count:
            return  # in an answer already
        if change.count > peer.count + 1:
            self._missed(peer, change.count)
            return
        peer.count = change.count
        if peer.partial is not None and peer.partial[0] == change.topic:
            _apply(peer.partial[2], change.joined, change.left)
        known = peer.accounts.get(change.topic)
        if known is not None:
            new, updated, old = _apply(known, change.joined, change.left)
            self._note(change.topic, change.process, new, old, updated)

    def _missed(self, peer: _Peer, count: int) -> None:
        """Changes were lost on the way: what is followed has to be told anew."""
        peer.count = count
        peer.partial = None
        peer.doubted.update(peer.accounts)
        self._ask(sorted(self._followed))

    def _tell_difference(self, topic: str, process: str, old: Members, new: Members) -> None:
        if topic not in self._followed or old == new:
            return
        joined = [(key, new[key]) for key in new if key not in old]
        left = [(key, old[key]) for key in old if key not in new]
        updated = [(key, new[key]) for key in new if key in old and new[key] != old[key]]
        self._note(topic, process, joined, left, updated)

    # Publishing.

    def _beat(self, asks: bool) -> None:
        self._publish(Beat(self.process, self._count, bool(self._followed), asks))

    def _ask(self, topics: list[str]) -> None:
        if topics:
            self._asking.update(dict.fromkeys(topics))
            self._ask_some()

    def _ask_some(self) -> None:
        """Ask for what is not known, as much as may leave at once."""
        left_bytes = _TURN_BYTES
        while self._asking and left_bytes > 0:
            topics: list[str] = []
            size = 0
            for topic in self._asking:
                topics.append(topic)
                size += len(topic)
                if size > _MESSAGE_BYTES:
                    break
            for topic in topics:
                del self._asking[topic]
            left_bytes -= self._publish(Question(self.process, topics))
        self._come_back_for(self._asking)

    def _publish(self, message: PresenceMessage) -> int:
        """Tell the others; returns the size of the message."""
        body = encode(message)
        self._publisher.publish(Kind.PRESENCE, "", body)
        return len(body)


_UNKNOWN = -1
_SETTLE_S = 0.25
"""In which every process answers, as far as is known of a bus that can't count them."""


def checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """`metadata` as other processes will see it.

    Raises TypeError for what is no JSON, and ValueError past `MAX_METADATA_BYTES`.
    """
    if not metadata:
        return metadata
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    size = len(text.encode())
    if size > MAX_METADATA_BYTES:
        raise ValueError(
            f"the metadata of a member is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are "
            "kept"
        )
    found: dict[str, Any] = json.loads(text)
    return found


def _apply(members: Members, joined: Pairs, left: list[str]) -> tuple[Pairs, Pairs, Pairs]:
    """Make a change; returns members that are new, have other metadata, and have gone."""
    gone = []
    for connection_id in left:
        metadata = members.pop(connection_id, None)
        if metadata is not None:
            gone.append((connection_id, metadata))
    new, updated = [], []
    for connection_id, metadata in joined:
        former = members.get(connection_id)
        if former is None:
            new.append((connection_id, metadata))
        elif former != metadata:
            updated.append((connection_id, metadata))
        members[connection_id] = metadata
    return new, updated, gone
