"""What a client has posted that can't speak on its network connection, until a turn takes it.

With the lock of the resumable connection held.

Invariant: the messages in the box are those behind what the endpoint has taken, in order and
without a gap. So one may be posted twice, and none that was taken over is waited for in vain.
"""

from __future__ import annotations

import collections
import enum
from typing import TYPE_CHECKING, TypeGuard

from .endpoint import MESSAGE
from .posts import CLOSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.frames import Message

_ENTRY_COST_BYTES = 64
"""About what an entry takes beside its bytes."""

_EMPTY: collections.deque[Message] = collections.deque(maxlen=0)
"""In all boxes that are empty, as most are: one of its own takes 760 bytes. Takes nothing."""


class Posted(enum.Enum):
    """What has become of what a client has posted."""

    TAKEN = "taken"
    UNKNOWN = "unknown"
    """There is no such client here, or it has another way to speak."""
    GAP = "gap"
    """Messages are missing before these."""
    FULL = "full"
    """It has posted more than its handler keeps up with."""
    TOO_LARGE = "too_large"
    """One of the messages is larger than the handler takes."""
    INVALID = "invalid"
    """It is no list of messages."""
    UNREACHABLE = "unreachable"
    """The process that has the connection has not answered."""


class Postbox:
    """The box of one client."""

    __slots__ = ("_entries", "_last", "_max_bytes", "_size")

    def __init__(self, received: int, max_bytes: int) -> None:
        """`received` messages are taken already. `max_bytes` is exceeded by one post at most."""
        self._entries = _EMPTY
        self._last = received
        self._max_bytes = max_bytes
        self._size = 0

    def put(self, first: int, entries: Sequence[Message]) -> Posted:
        """Add what is new of `entries`, of whose messages the first has the number `first`."""
        new = list(entries)
        messages = [each for each in entries if is_message(each)]
        if messages and first < 1:
            return Posted.INVALID
        if messages:
            known = self._last + 1 - first
            if known < 0:
                return Posted.GAP
            new = _without_first(new, known)
        size = sum(map(len, new)) + _ENTRY_COST_BYTES * len(new)
        if self._entries and self._size + size > self._max_bytes:
            return Posted.FULL
        if new and not self._entries:
            self._entries = collections.deque()
        self._entries.extend(new)
        self._size += size
        self._last = max(self._last, first + len(messages) - 1) if messages else self._last
        return Posted.TAKEN

    @property
    def first(self) -> Message | None:
        """The oldest entry; None if there is none."""
        return self._entries[0] if self._entries else None

    @property
    def is_last(self) -> bool:
        """Whether the client has closed with the last entry."""
        return bool(self._entries) and is_close_note(self._entries[-1])

    def remove_first(self) -> None:
        """The oldest entry has been taken."""
        self._size -= len(self._entries.popleft()) + _ENTRY_COST_BYTES
        if not self._entries:
            self._entries = _EMPTY


def is_message(entry: Message) -> bool:
    """Whether it has a number; the rest are notes."""
    return isinstance(entry, bytes) or entry[:1] == MESSAGE


def is_close_note(entry: Message) -> TypeGuard[str]:
    """Whether the client closes with it."""
    return isinstance(entry, str) and entry[:1] == CLOSE


def _without_first(entries: list[Message], count: int) -> list[Message]:
    """The entries without so many of their messages."""
    kept = []
    for entry in entries:
        if count > 0 and is_message(entry):
            count -= 1
        else:
            kept.append(entry)
    return kept


def size_of(message: Message) -> int:
    """Bytes of the application's message in an entry."""
    body = len(message) - 1
    return body if isinstance(message, bytes) or message.isascii() else len(message.encode()) - 1
