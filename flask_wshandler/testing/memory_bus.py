"""A bus without sockets, for several apps in one process that stand for processes: in tests.

Invariant: what a member is sent is received by one thread at a time, in the order of the sending.
That thread lives as long as there is something to receive, and none is left at rest.
"""

from __future__ import annotations

import collections
import weakref

from ..bus.base import CLOSE_TIMEOUT_S, Bus
from ..runtime import locks, logs, threads

logger = logs.logger(__package__)

DEFAULT_QUEUE_BYTES = 16 * 2**20


class MemoryNetwork:
    """Where the members of a memory bus find each other. Any thread."""

    def __init__(self) -> None:
        self._lock = locks.Lock()
        # Guarded by _lock. A member that is forgotten has left.
        self._members: weakref.WeakSet[MemoryBus] = weakref.WeakSet()

    def others(self, member: MemoryBus) -> list[MemoryBus]:
        """Everybody who receives, but `member`."""
        with self._lock:
            return [each for each in self._members if each is not member]

    def join(self, member: MemoryBus) -> None:
        """Have `member` receive from now on."""
        with self._lock:
            self._members.add(member)

    def leave(self, member: MemoryBus) -> None:
        """Have `member` receive no more."""
        with self._lock:
            self._members.discard(member)


class MemoryBus(Bus):
    """One member of a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, max_queue_bytes: int = DEFAULT_QUEUE_BYTES) -> None:
        self._network = network
        super().__init__(max_queue_bytes)

    def _begin(self) -> None:
        super()._begin()
        self._changed = locks.new_condition()
        # Guarded by _changed.
        self._queue: collections.deque[bytes] = collections.deque()
        self._queued_bytes = 0
        self._is_receiving = False
        #: How many envelopes have been sent to this member.
        self.sent_here = 0

    def __str__(self) -> str:
        return "the bus in memory"

    @property
    def is_idle(self) -> bool:
        """Whether all that was sent to this member has been received."""
        with self._changed:
            return not self._is_receiving

    def send(self, topic: str, data: bytes) -> None:
        """Put an envelope into the queue of each member that has subscribed to `topic`."""
        for other in self._network.others(self):
            if topic in other._topics:
                self._count_dropped(other._put(data))

    def subscribe(self, topic: str) -> None:
        """Receive what is published to `topic`; the first one joins the network."""
        self._topics[topic] = None
        self._network.join(self)

    def unsubscribe(self, topic: str) -> None:
        """Receive it no more."""
        self._topics.pop(topic, None)

    def wait_until_subscribed(self, timeout_s: float = 1.0) -> bool:
        """At once."""
        return True

    def peer_count(self) -> int:
        """How many other members receive."""
        return len(self._network.others(self))

    def leave(self) -> None:
        """Be gone at once, as a process that is killed: what is queued here is lost."""
        self._network.leave(self)
        with self._changed:
            self._queue.clear()
            self._queued_bytes = 0

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Leave, and wait for the receiving that is under way."""
        self.leave()
        with self._changed:
            self._changed.wait_for(lambda: not self._is_receiving, timeout_s)

    def _put(self, data: bytes) -> int:
        """Queue an envelope; how many others had to go for it."""
        dropped = 0
        with self._changed:
            self.sent_here += 1
            self._queue.append(data)
            self._queued_bytes += len(data)
            while self._queued_bytes > self.max_queue_bytes and len(self._queue) > 1:
                self._queued_bytes -= len(self._queue.popleft())
                dropped += 1
            if not self._is_receiving:
                self._is_receiving = True
                threads.BackgroundThread("bus", self._run, logger).start()
        return dropped

    def _run(self) -> None:
        while True:
            with self._changed:
                came = list(self._queue)
                self._queue.clear()
                self._queued_bytes = 0
                if not came:
                    self._is_receiving = False
                    self._changed.notify_all()
                    return
            self._deliver(came)
