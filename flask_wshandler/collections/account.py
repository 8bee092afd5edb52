"""Who is in which collection, in all processes: an account of one's own, and the others'.

Every process counts the changes of its own account. It tells the others of each change while one
of them follows any collection, and of the count in a beat three times in a lease. A process that
follows a collection has every other one tell its members of it, applies the changes, and asks again
when a count shows that it has missed one. A process that was not heard of for a lease is gone, and
its members with it; one that ends says so. What is said is in `presence_messages`, and leaves by
the `presence_outbox`; what is known of one process is in `process_accounts`.

Invariants: an account of another process is as of one count, or is not known at all; `_lock` guards
everything, and the bus, which never waits, is called under it, so that counts leave in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..bus import Kind
from ..runtime import locks
from ..runtime.timer import Clock
from .presence import Presence, checked_metadata, presences
from .presence_messages import (
    AnswerPart,
    Beat,
    Change,
    End,
    PresenceMessage,
    Question,
    decode,
    encode,
)
from .presence_outbox import PAUSE_S, PresenceOutbox
from .process_accounts import Difference, OwnAccount, PeerAccount

_UNKNOWN = -1
_FORGET_S = 60.0
"""A collection that nobody has asked for so long is followed no more."""
_SETTLE_S = 0.25
"""In which every process answers, as far as is known of a bus that can't count them."""


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
        self._lock = locks.Lock()
        self._changed = locks.condition_on(self._lock)
        # Guarded by _lock.
        self._own = OwnAccount()
        self._outbox = PresenceOutbox(process, self._own, self._publish, wake)
        self._peers: dict[str, PeerAccount] = {}
        #: Followed topics, and when they were last asked for; None: always followed.
        self._followed: dict[str, float | None] = {}
        self._began_s = self._looked_s = clock.now_s()
        self._beat_due_s = self._began_s

    # This process's members.

    def joined(self, topic: str, connection_id: str, metadata: dict[str, Any]) -> None:
        """A member is in a collection here."""
        with self._lock:
            self._own.put(topic, connection_id, metadata)
            self._tell(topic, Difference([(connection_id, metadata)], [], []))

    def updated(self, topic: str, connection_id: str, changes: dict[str, Any]) -> bool:
        """A member's metadata changes; says whether there is such a member.

        Raises ValueError if it would be too large.
        """
        with self._lock:
            metadata = self._own.of(topic).get(connection_id)
            if metadata is None:
                return False
            # It is plain JSON already: no code of the user's runs under the lock.
            changed = checked_metadata({**metadata, **changes})
            if changed != metadata:
                self._own.put(topic, connection_id, changed)
                self._tell(topic, Difference([], [], [(connection_id, changed)]))
            return True

    def left(self, topic: str, connection_id: str) -> None:
        """A member is in it no more."""
        with self._lock:
            metadata = self._own.pop(topic, connection_id)
            if metadata is not None:
                self._tell(topic, Difference([], [(connection_id, metadata)], []))

    def _tell(self, topic: str, difference: Difference) -> None:
        if any(peer.follows for peer in self._peers.values()):
            joined = difference.joined + difference.updated
            gone = [connection_id for connection_id, _ in difference.left]
            self._publish(Change(self.process, self._own.count, topic, joined, gone))
        self._note(topic, self.process, difference)

    def _note(self, topic: str, process: str, difference: Difference) -> None:
        """Have watchers of a collection told what is new, if anything is."""
        if topic not in self._followed:
            return
        joined, left, updated = [presences(process, pairs) for pairs in difference]
        if joined or left:
            self._notify(topic, joined, left)
        if updated and self._notify_updated is not None:
            self._notify_updated(topic, updated)

    # Reading.

    def members(self, topic: str, timeout_s: float) -> list[Presence]:
        """All members of a collection.

        The first time, asks the other processes and waits for their answers, `timeout_s` at most;
        later what is known is there at once.
        """
        with self._lock:
            self._learn(topic, timeout_s)
            found = presences(self.process, self._own.of(topic).items())
            for process, peer in self._peers.items():
                found += presences(process, peer.of(topic).items())
            return found

    def count(self, topic: str, timeout_s: float) -> int:
        """How many `members` there are."""
        with self._lock:
            self._learn(topic, timeout_s)
            others = [peer.of(topic) for peer in self._peers.values()]
            return sum(map(len, [self._own.of(topic), *others]))

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
            return topic in self._own or any(peer.of(topic) for peer in self._peers.values())

    def _follow(self, topic: str, now_s: float | None) -> None:
        if topic not in self._followed:
            self._followed[topic] = now_s
            self._outbox.ask([topic])
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
            self._outbox.go_on()
            if now_s >= self._beat_due_s - PAUSE_S / 2:
                self._beat_due_s = now_s + self._lease_s / 3
                self._look_around(now_s)
            if self._outbox.has_rest:
                return PAUSE_S
            return max(0.0, self._beat_due_s - now_s)

    def _look_around(self, now_s: float) -> None:
        if now_s - self._looked_s > self._lease_s:
            # This process was stopped itself: what it was sent meanwhile is still unread.
            for peer in self._peers.values():
                peer.heard_s = now_s
        self._looked_s = now_s
        self._expire(now_s)
        self._beat(asks=False)
        self._outbox.ask(self._unknown())

    def _unknown(self) -> list[str]:
        """Followed topics for which an answer has not come."""
        peers = self._peers.values()
        return sorted(set().union(*[peer.unknown(self._followed) for peer in peers]))

    def _expire(self, now_s: float) -> None:
        for process, peer in list(self._peers.items()):
            if now_s - peer.heard_s > self._lease_s:
                self._forget(process)
        for topic, asked_s in list(self._followed.items()):
            if asked_s is not None and now_s - asked_s > _FORGET_S:
                self._drop(topic)

    def _drop(self, topic: str) -> None:
        del self._followed[topic]
        self._outbox.ask_no_more(topic)
        for peer in self._peers.values():
            peer.drop(topic)

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
                self._note(topic, process, Difference([], list(members.items()), []))
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

    def _heard(self, process: str, count: int) -> PeerAccount:
        """A process lives, and has made `count` changes."""
        now_s = self._clock.now_s()
        peer = self._peers.get(process)
        if peer is None:
            peer = self._peers[process] = PeerAccount(now_s, count)
            self._outbox.ask(sorted(self._followed))
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
        # One that is new tells its count with its next beat; until then what it says is not known.
        peer = self._heard(question.process, _UNKNOWN)
        peer.follows = True
        self._outbox.answer(question.topics)

    def _take_answer_part(self, part: AnswerPart) -> None:
        peer = self._heard(part.process, part.count)
        if peer.count != part.count:
            self._missed(peer, part.count)
        if part.topic in self._followed:
            self._note(part.topic, part.process, peer.take_part(part))

    def _take_change(self, change: Change) -> None:
        peer = self._heard(change.process, change.count)
        if change.count <= peer.count:
            return  # in an answer already
        if change.count > peer.count + 1:
            self._missed(peer, change.count)
            return
        self._note(change.topic, change.process, peer.take_change(change))

    def _missed(self, peer: PeerAccount, count: int) -> None:
        """Changes were lost on the way: what is followed has to be told anew."""
        peer.doubt_all(count)
        self._outbox.ask(sorted(self._followed))

    # Publishing.

    def _beat(self, asks: bool) -> None:
        self._publish(Beat(self.process, self._own.count, bool(self._followed), asks))

    def _publish(self, message: PresenceMessage) -> int:
        """Tell the others; returns the size of the message."""
        body = encode(message)
        self._publisher.publish(Kind.PRESENCE, "", body)
        return len(body)
