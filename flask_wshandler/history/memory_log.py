"""A log in this process's memory: for collections of one process, and for tests.

Invariant: `_lock` guards everything; nothing is waited for with it held.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterable

from ..runtime import locks
from .log import (
    DEFAULT_SIZE_BYTES,
    ENTRY_COST_BYTES,
    LOG_ID_BYTES,
    MOST_READ,
    MOST_READ_BYTES,
    Bounds,
    Draft,
    Entry,
    Log,
    LogSize,
    Page,
    Position,
    check_fits,
)


@dataclasses.dataclass(slots=True)
class _Topic:
    bounds: Bounds
    generation: int = 0
    last_number: int = 0
    entries: collections.deque[Entry] = dataclasses.field(default_factory=collections.deque)


class MemoryLog(Log):
    """Holds at most `size_bytes`; `wall_clock` gives the seconds since 1970."""

    def __init__(
        self, size_bytes: int = DEFAULT_SIZE_BYTES, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._size_bytes = size_bytes
        self._wall_clock = wall_clock
        self._begin()

    def _begin(self) -> None:
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._log_id = os.urandom(LOG_ID_BYTES)
        self._topics: dict[str, _Topic] = {}
        self._bytes = 0
        self._messages = 0

    def append(
        self, topic: str, draft: Draft, bounds: Bounds, *, after_gap: bool = False
    ) -> Position:
        """Append a message. `LogUnavailable` if it is larger than the log."""
        check_fits(draft, self._size_bytes)
        with self._lock:
            found = self._trimmed(topic)
            if found is None:
                found = self._topics[topic] = _Topic(bounds)
            found.bounds = bounds
            found.generation += after_gap
            found.last_number += 1
            found.entries.append(Entry(found.last_number, *draft, self._wall_clock()))
            self._count(1, draft.payload)
            while len(found.entries) > bounds.count:
                self._drop(found)
            self._fit()
            return self._last(found)

    def read(self, topic: str, after: int, most: int = MOST_READ) -> Page:
        """The messages with numbers above `after`."""
        with self._lock:
            found = self._trimmed(topic)
            if found is None:
                return Page(Position(self._log_id, 0, 0), 1, [])
            behind = (entry for entry in found.entries if entry.number > after)
            return self._page(found, _some_of(itertools.islice(behind, most)))

    def newest(self, topic: str, count: int) -> Page:
        """The last `count` messages."""
        with self._lock:
            found = self._trimmed(topic)
            if found is None:
                return Page(Position(self._log_id, 0, 0), 1, [])
            newest = _some_of(itertools.islice(reversed(found.entries), count))
            return self._page(found, newest[::-1])

    def last_of(self, topics: list[str]) -> dict[str, Position]:
        """The position of the last message of each."""
        with self._lock:
            known = [self._topics.get(topic) for topic in topics]
            nothing = Position(self._log_id, 0, 0)
            return {
                topic: nothing if found is None else self._last(found)
                for topic, found in zip(topics, known, strict=True)
            }

    def topics(self) -> list[str]:
        """All topics of which messages are kept."""
        with self._lock:
            return [topic for topic, found in self._topics.items() if found.entries]

    def tidy(self) -> None:
        """Forget what is older than its bounds."""
        with self._lock:
            for topic in list(self._topics):
                self._trimmed(topic)

    def size(self) -> LogSize:
        """How much it holds."""
        with self._lock:
            return LogSize(self._messages, self._bytes)

    def reset_after_fork(self) -> None:
        """In a forked child: another process's memory."""
        self._begin()

    # With _lock held.

    def _last(self, found: _Topic) -> Position:
        return Position(self._log_id, found.generation, found.last_number)

    def _page(self, found: _Topic, entries: list[Entry]) -> Page:
        first_number = found.entries[0].number if found.entries else found.last_number + 1
        return Page(self._last(found), first_number, entries)

    def _trimmed(self, topic: str) -> _Topic | None:
        found = self._topics.get(topic)
        if found is not None:
            oldest_s = self._wall_clock() - found.bounds.age_s
            while found.entries and found.entries[0].at_s < oldest_s:
                self._drop(found)
        return found

    def _fit(self) -> None:
        while self._bytes > self._size_bytes:
            kept = [found for found in self._topics.values() if found.entries]
            self._drop(min(kept, key=lambda found: found.entries[0].at_s))

    def _drop(self, found: _Topic) -> None:
        self._count(-1, found.entries.popleft().payload)

    def _count(self, step: int, payload: bytes) -> None:
        self._messages += step
        self._bytes += step * (len(payload) + ENTRY_COST_BYTES)


def _some_of(entries: Iterable[Entry]) -> list[Entry]:
    """As many as a page may have."""
    some: list[Entry] = []
    size = 0
    for entry in entries:
        size += len(entry.payload)
        if size > MOST_READ_BYTES and some:
            break
        some.append(entry)
    return some
