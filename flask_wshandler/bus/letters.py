"""Letters from one process to another that it knows by name, and the short reply to each.

A process has a name that it has chosen, and subscribes to a topic of that name once. Whoever writes
to it has a topic for replies, subscribed to at the first letter. So a letter is one envelope there
and one back:

    number    size of address   address of the sender     what is handed over      a letter
    number    size of address   address of the receiver   what is answered         a reply
    8 bytes   1 byte            ASCII                     the rest

The first letter to a name follows a search, which looks like a letter without a body and is
answered by a reply. So what is large goes to no name that a client has made up. Addresses are the
bus's own (`Bus.own_address`): where envelopes go to all processes, which throw away what they don't
listen to, a letter goes to the one whose address its reply has told.

Invariants: the bus's thread, which takes letters, waits for nothing; nothing is kept of a letter
when `hand_over` has returned, and a reply that comes later is thrown away; what is under way is at
most `_MOST_LETTERS` of `_MOST_BYTES`, so it does not displace what else waits for the bus; what is
no letter, search or reply is `Malformed`.
"""

from __future__ import annotations

import itertools
import re
import struct
import threading
import time
from collections.abc import Callable

from ..runtime import locks
from . import Bus, Envelope, Kind, Malformed

DEFAULT_TIMEOUT_S = 2.0

MAX_LETTER_BYTES = 3 * 2**20
MAX_REPLY_BYTES = 1024

_MOST_LETTERS = 64
_MOST_BYTES = 8 * 2**20
"""What Redis is given of large envelopes at once; and half of what waits for a process at most."""
_MOST_SEARCHES = 256
_MOST_ADDRESSES = 1000

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HEAD = struct.Struct("!QB")

TakeLetter = Callable[[bytes], bytes]
"""Takes what another process hands over, and answers with `MAX_REPLY_BYTES` at most. Called in the
bus's thread; must not wait; may raise `Malformed`, which leaves the letter without a reply."""


class _Letter:
    """A letter or a search that is under way."""

    __slots__ = ("address", "has_reply", "reply", "size")

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.has_reply = threading.Event()
        # Written once, before `has_reply` is set.
        self.reply: bytes | None = None
        #: Of the process that has answered.
        self.address: str | None = None


class Letters:
    """What one process writes to others, and what it is written. Any thread."""

    def __init__(self, bus: Bus, take: TakeLetter | None) -> None:
        """Nobody can write to a process without `take`."""
        self._bus = bus
        self._take = take
        self._numbers = itertools.count(1)
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._topic: str | None = None
        self._replies_topic: str | None = None
        #: Letters and searches by number.
        self._under_way: dict[int, _Letter] = {}
        self._under_way_bytes = 0
        self._searches: dict[str, _Letter] = {}
        #: By name; a name is one process's, and so is an address. The oldest goes first. Read
        #: without the lock.
        self._addresses: dict[str, str] = {}

    def receive_as(self, name: str) -> None:
        """Subscribe to what is handed over to `name`. Once, and never waits."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"a process can't be called {name!r}")
        topic = _topic_of(name)
        with self._lock:
            if self._topic == topic:
                return
            if self._take is None or self._topic is not None:
                raise RuntimeError(f"this process takes no letters as {name!r}")
            self._topic = topic
            self._bus.subscribe(topic)

    def knows(self, owner: str) -> bool:
        """Whether a letter to `owner` needs no search before."""
        return owner in self._addresses

    def hand_over(self, owner: str, body: bytes, timeout_s: float) -> bytes | None:
        """Hand `body` to the process whose name is `owner`; return what it answers.

        None if it has not answered in time, and at once if it can't: no other process is there, the
        bus is down, or too much is under way. A process does not write to itself. Raises ValueError
        for more than `MAX_LETTER_BYTES`. The bus's own thread must not call it.
        """
        if len(body) > MAX_LETTER_BYTES:
            raise ValueError(f"{len(body)} bytes to hand over; {MAX_LETTER_BYTES} are taken")
        if not _NAME.fullmatch(owner) or _topic_of(owner) == self._topic:
            return None
        if owner not in self._addresses and self._bus.peer_count() == 0:
            return None
        until_s = time.monotonic() + timeout_s
        if not self._can_be_replied_to(timeout_s / 2) or not self._bus.is_up:
            return None
        address = self._addresses.get(owner)
        if address is None:
            address = self._search(owner, until_s - timeout_s / 4)
        return None if address is None else self._write(owner, address, body, until_s)

    def _can_be_replied_to(self, timeout_s: float) -> bool:
        if self._replies_topic is None:
            with self._lock:
                if self._replies_topic is None:
                    topic = _replies_topic_of(self._bus.sender)
                    self._bus.subscribe(topic)
                    self._replies_topic = topic
        return self._bus.wait_until_subscribed(timeout_s)

    def _search(self, owner: str, until_s: float) -> str | None:
        """Where a process is; None if it does not say so. Threads that want the same ask once."""
        number = next(self._numbers)
        with self._lock:
            search = self._searches.get(owner)
            is_asked = search is not None
            if search is None:
                if len(self._searches) >= _MOST_SEARCHES:
                    return None
                search = self._searches[owner] = self._under_way[number] = _Letter()
        try:
            if not is_asked:
                self._publish(Kind.SEARCH, "", owner, number, b"")
            search.has_reply.wait(max(0.0, until_s - time.monotonic()))
        finally:
            if not is_asked:
                with self._lock:
                    del self._searches[owner], self._under_way[number]
                    self._remember(owner, search.address)
        return search.address

    def _remember(self, owner: str, address: str | None) -> None:
        """With _lock held."""
        if address is not None:
            self._addresses[owner] = address
            if len(self._addresses) > _MOST_ADDRESSES:
                del self._addresses[next(iter(self._addresses))]

    def _write(self, owner: str, address: str, body: bytes, until_s: float) -> bytes | None:
        letter = _Letter(len(body))
        number = next(self._numbers)
        if not self._begin(number, letter):
            return None
        try:
            # Whoever is gone has left an address by which that is seen at once, the next time too.
            if self._publish(Kind.LETTER, address, owner, number, body):
                letter.has_reply.wait(max(0.0, until_s - time.monotonic()))
                if letter.reply is None:
                    with self._lock:
                        self._addresses.pop(owner, None)
        finally:
            self._end(number)
        return letter.reply

    def _publish(self, kind: Kind, address: str, owner: str, number: int, body: bytes) -> bool:
        encoded = _encoded(number, self._bus.own_address, body)
        return self._bus.publish_to(address, kind, _topic_of(owner), encoded)

    def _begin(self, number: int, letter: _Letter) -> bool:
        most_bytes = min(_MOST_BYTES, self._bus.max_queue_bytes // 2)
        with self._lock:
            letter_count = len(self._under_way) - len(self._searches)
            is_too_much = letter_count >= _MOST_LETTERS or (
                letter_count and self._under_way_bytes + letter.size > most_bytes
            )
            if is_too_much:
                return False
            self._under_way[number] = letter
            self._under_way_bytes += letter.size
            return True

    def _end(self, number: int) -> None:
        with self._lock:
            self._under_way_bytes -= self._under_way.pop(number).size

    # In the bus's thread.

    def take_letter(self, envelope: Envelope) -> None:
        """Another process has written. Raises `Malformed`."""
        number, address, body = _decoded(envelope.body)
        if len(body) > MAX_LETTER_BYTES:
            raise Malformed(f"a letter of {len(body)} bytes; {MAX_LETTER_BYTES} are taken")
        if self._take is None or envelope.topic != self._topic:
            raise Malformed("a letter to nobody")
        self._answer(envelope, number, address, self._take(body))

    def take_search(self, envelope: Envelope) -> None:
        """Another process wants to know where this one is. Raises `Malformed`."""
        number, address, _ = _decoded(envelope.body)
        if envelope.topic != self._topic:
            raise Malformed("a search for nobody")
        self._answer(envelope, number, address, b"")

    def _answer(self, envelope: Envelope, number: int, address: str, reply: bytes) -> None:
        if len(reply) > MAX_REPLY_BYTES:
            raise Malformed(f"a reply of {len(reply)} bytes; {MAX_REPLY_BYTES} are taken")
        encoded = _encoded(number, self._bus.own_address, reply)
        self._bus.publish_to(address, Kind.REPLY, _replies_topic_of(envelope.sender), encoded)

    def take_reply(self, envelope: Envelope) -> None:
        """Another process has answered. Raises `Malformed`."""
        number, address, reply = _decoded(envelope.body)
        if len(reply) > MAX_REPLY_BYTES:
            raise Malformed(f"a reply of {len(reply)} bytes; {MAX_REPLY_BYTES} are taken")
        if envelope.topic != self._replies_topic:
            raise Malformed("a reply to nobody")
        with self._lock:
            letter = self._under_way.get(number)
            if letter is None or letter.reply is not None:
                return
            letter.address = address
            letter.reply = reply
        letter.has_reply.set()


# A collection's topic begins with a letter or "#", a question's with "?".


def _topic_of(name: str) -> str:
    return f"!{name}"


def _replies_topic_of(sender: bytes) -> str:
    return f"!!{sender.hex()}"


def _encoded(number: int, address: str, body: bytes) -> bytes:
    return b"".join((_HEAD.pack(number, len(address)), address.encode("ascii"), body))


def _decoded(data: bytes) -> tuple[int, str, bytes]:
    if len(data) < _HEAD.size:
        raise Malformed(f"{len(data)} bytes are no letter, whose head has {_HEAD.size}")
    number, address_size = _HEAD.unpack_from(data)
    body_at = _HEAD.size + address_size
    if len(data) < body_at:
        raise Malformed(f"an address of {address_size} bytes in a letter of {len(data)}")
    try:
        address = str(data[_HEAD.size : body_at], "ascii")
    except UnicodeDecodeError:
        raise Malformed("an address that is no ASCII") from None
    return number, address, data[body_at:]
