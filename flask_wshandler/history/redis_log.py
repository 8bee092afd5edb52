"""A log on a Redis or Valkey, for the processes of many machines.

A message is numbered, kept and published by one script, so what is published comes in the order of
the numbers. It is sent by the bus's thread, and comes back by the bus to its own process, too.

What Redis guarantees is less than what a log must: it may come back with older data, or be replaced
by a replica that has not got the last messages. Then the numbers jump and the generation rises; and
where there is nothing left, it is another log. See `redis_scripts` and `redis_appends`.

Invariant: `append` never waits, and no lock is held while Redis is asked.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from ..bus.outage import OutageLog
from ..bus.redis_bus import RedisBus
from ..runtime import lifecycle, logs
from ..runtime.redaction import one_line
from . import redis_scripts as scripts
from .log import (
    DEFAULT_SIZE_BYTES,
    ENTRY_COST_BYTES,
    EXCLUDED_BYTES,
    LOG_ID_BYTES,
    MOST_READ,
    MOST_READ_BYTES,
    Bounds,
    Draft,
    Entry,
    Log,
    LogSize,
    LogUnavailable,
    Page,
    Position,
)
from .redis_appends import Appends
from .redis_keys import Keys
from .redis_reader import Reader

logger = logs.logger(__package__)

MOST_MESSAGE_BYTES = 8 * 2**20
"""Of one message. It is published whole; Redis has it once for each process that it is brought to,
and cuts off who has more than 32 MB waiting, or 8 MB for a minute, unless its administrator says
otherwise (client-output-buffer-limit)."""
_AT_ONCE = 100
"""Topics, of one command."""
_MOST_TOPICS = 20_000
"""Those whose streams expire last are counted and made to fit."""
_MOST_ROUNDS = 10
_NO_LIMIT = 2**53


class RedisLog(Log):
    """Keeps about `size_bytes` of all topics, and never more of one."""

    carries = True
    is_at_hand = False

    def __init__(self, bus: RedisBus, size_bytes: int = DEFAULT_SIZE_BYTES) -> None:
        """Connects to nothing yet. The only one on its bus."""
        self._bus = bus
        self._size_bytes = size_bytes
        self._keys = Keys(bus)
        self._reader = Reader(bus.url)
        self._appends = Appends(bus, self._keys, self, size_bytes)
        self._begin()
        bus.send_commands_of(self._appends)
        lifecycle.register(self, lifecycle.Stage.BUS)

    def _begin(self) -> None:
        # Reentrant: garbage may be collected meanwhile, and its `__del__` may broadcast.
        self._outage_lock = threading.RLock()
        # Guarded by _outage_lock.
        self._outage_log = OutageLog()

    def __str__(self) -> str:
        return f"the log on {self._bus.address}"

    def append(
        self, topic: str, draft: Draft, bounds: Bounds, *, after_gap: bool = False
    ) -> Position | None:
        """Queue a message, within the bus's limits; it comes by the bus.

        What Redis takes only when it is no news any more is dropped and counted. `LogUnavailable`
        if it refuses or the message is too large, `LogSilent` if it has been silent for that long.
        """
        most = min(MOST_MESSAGE_BYTES, self._size_bytes - ENTRY_COST_BYTES)
        if len(draft.payload) > most:
            raise LogUnavailable(
                f"a message of {len(draft.payload)} bytes; {self} takes {most} at most"
            )
        self._appends.put(topic, draft, bounds, is_after_gap=after_gap)
        return None

    def read(self, topic: str, after: int, most: int = MOST_READ) -> Page:
        """The messages with numbers above `after`."""
        return self._page(topic, after, most, is_newest=False)

    def newest(self, topic: str, count: int) -> Page:
        """The last `count` messages."""
        return self._page(topic, 0, count, is_newest=True)

    def _page(self, topic: str, after: int, most: int, *, is_newest: bool) -> Page:
        names = self._keys.of(topic)
        log_id, generation, number, first_number, found = self._reader.run(
            scripts.READ, [names.hash, names.stream], os.urandom(LOG_ID_BYTES), after,
            max(0, most), MOST_READ_BYTES, int(is_newest),
        )  # fmt: skip
        pairs = zip(found[::2], found[1::2], strict=True)
        entries = [_entry(entry_id, tail) for entry_id, tail in pairs]
        if is_newest:
            entries.reverse()
        return Page(Position(log_id, generation, number), first_number, entries)

    def last_of(self, topics: list[str]) -> dict[str, Position]:
        """The position of the last message of each."""
        found: dict[str, Position] = {}
        for some in _some(topics):
            keys = [key for topic in some for key in self._keys.of(topic)[2:4]]
            ids = [os.urandom(LOG_ID_BYTES) for _ in some]
            answer = self._reader.run(scripts.LAST, keys, *ids)
            places = zip(answer[::3], answer[1::3], answer[2::3], strict=True)
            found.update(zip(some, (Position(*place) for place in places), strict=True))
        return found

    def topics(self) -> list[str]:
        """All topics of which messages are kept."""
        return [topic for topic, (count, _) in self._survey().items() if count]

    def tidy(self) -> None:
        """Forget what is older than its bounds, and the oldest of the largest topics."""
        found = self._survey()
        for _ in range(_MOST_ROUNDS):
            level = _level([size for _, size in found.values()], self._size_bytes)
            large = {topic: level for topic, (_, size) in found.items() if size > level}
            if not large:
                return
            found.update(self._trim(large))

    def size(self) -> LogSize:
        """How much it holds. Slow."""
        found = self._survey().values()
        return LogSize(sum(count for count, _ in found), sum(size for _, size in found))

    def _survey(self) -> dict[str, tuple[int, int]]:
        """How many messages there are of each topic, and of how many bytes."""
        listed = self._reader.command("ZREVRANGE", self._keys.index, 0, _MOST_TOPICS - 1)
        topics = [topic.decode() for topic in listed if not topic.startswith(b"?")]
        return self._trim(dict.fromkeys(topics, _NO_LIMIT))

    def _trim(self, limits: dict[str, int]) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for some in _some(list(limits)):
            keys = [key for topic in some for key in self._keys.of(topic)[2:4]]
            arguments = [each for topic in some for each in (topic, limits[topic])]
            answer = self._reader.run(scripts.SURVEY, [self._keys.index, *keys], *arguments)
            sizes = zip(answer[::2], answer[1::2], strict=True)
            found.update(zip(some, sizes, strict=True))
        return found

    def close(self) -> None:
        """Close the connections that read. What is queued is the bus's, and goes out with it."""
        self._reader.close()

    def stop(self) -> None:
        """The process ends."""
        self.close()

    def stop_now(self) -> None:
        """Nothing is waited for."""

    def reset_after_fork(self) -> None:
        """In a forked child: what is queued is the parent's, and so are the connections."""
        self._reader.abandon()
        self._appends.begin()
        self._begin()

    # For the bus's thread. Lines are written without the lock: a handler may broadcast them.

    def log_works(self) -> None:
        """Something was appended."""
        if self._outage_log.has_said_up:
            return
        with self._outage_lock:
            is_new = self._outage_log.works(time.monotonic())
        if is_new:
            logger.warning("%s is back", self)

    def log_fails(self, reason: str) -> None:
        """Redis refuses to append."""
        now_s = time.monotonic()
        with self._outage_lock:
            is_new = self._outage_log.lost(now_s)
            is_worth_a_line = self._outage_log.explains(reason, now_s)
        if is_new:
            logger.error("%s is down: %s. Broadcasts are not kept.", self, one_line(reason))
        elif is_worth_a_line:
            logger.error("%s is still down: %s", self, one_line(reason))


def _entry(entry_id: bytes, tail: bytes) -> Entry:
    number, _, at_ms = entry_id.partition(b"-")
    payload = tail[scripts.TAIL_BYTES :]
    is_text = bool(tail[EXCLUDED_BYTES])
    return Entry(int(number), is_text, payload, tail[:EXCLUDED_BYTES], int(at_ms) / 1000)


def _some(topics: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(topics), _AT_ONCE):
        yield topics[begin : begin + _AT_ONCE]


def _level(sizes: list[int], most: int) -> int:
    """To how much the largest are to be cut, so that all are not more than `most`."""
    rest = most
    for index, size in enumerate(sorted(sizes)):
        share = rest // (len(sizes) - index)
        if size > share:
            return share
        rest -= size
    return most
