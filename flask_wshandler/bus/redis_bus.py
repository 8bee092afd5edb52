"""The bus of many machines: publish and subscribe of Redis or Valkey, by redis-py.

Two connections, each with a thread that alone uses it: one publishes, the other listens. Every
topic is a channel, of which only those are subscribed to that have members in this process. Sharded
channels are not used, so one node of a cluster will do; the braces in the names keep an app's
channels in one slot for those who move them there.

Invariant: the bus is up when neither thread has a reason why not.
"""

from __future__ import annotations

import threading
import time

from ..runtime import logs
from .base import CLOSE_TIMEOUT_S, Bus
from .envelope import Malformed
from .outage import OutageLog, Silence
from .parts import Assembler, is_part
from .redis_address import RedisAddress
from .redis_commands import NOTHING, Commands
from .redis_publisher import Publisher
from .redis_subscriber import Subscriber

logger = logs.logger(__package__)

_PUBLISH = "publish"
_LISTEN = "listen"


class RedisBus(Bus):
    """Carries envelopes by Redis."""

    def __init__(self, url: str, app_name: str, max_queue_bytes: int) -> None:
        """Connects to nothing yet. Raises ValueError if `url` is none that can be used."""
        #: The address with its options, and perhaps a password.
        self.url = url
        self.address = RedisAddress.parse(url)
        # Publish and subscribe know no databases; whoever keeps apps apart by them means it.
        self._prefix = f"wshandler:{{{app_name}/{self.address.database}}}:".encode()
        self._commands = NOTHING
        super().__init__(max_queue_bytes)

    def __str__(self) -> str:
        return f"the bus on {self.address}"

    def _begin(self) -> None:
        super()._begin()
        silence = Silence(self.address.silence_s)
        self._publisher = Publisher(
            self.address,
            self,
            silence,
            sender=self.sender,
            prefix=self._prefix,
            max_bytes=self.max_queue_bytes,
            commands=self._commands,
        )
        self._subscriber = Subscriber(self.address, self, silence)
        self._assembler = Assembler()  # the subscriber's thread's
        # Reentrant: garbage may be collected meanwhile, and its `__del__` may broadcast.
        self._health_lock = threading.RLock()
        # Guarded by _health_lock.
        self._outage_log = OutageLog()

    def reset_after_fork(self) -> None:
        """In a forked child: close what it has inherited, which is still its parent's."""
        self._publisher.abandon()
        self._subscriber.abandon()
        super().reset_after_fork()

    # Publishing.

    def send(self, topic: str, data: bytes) -> None:
        """Queue for the thread that publishes."""
        # What concerns every process tells that this one lives. It must not wait behind a large
        # message until the others take it for dead.
        self._publisher.put(topic, data, is_urgent=not topic)

    def send_commands_of(self, commands: Commands) -> None:
        """Have the thread that publishes send what waits there, too; also in forked children."""
        self._commands = commands
        self._publisher.send_commands_of(commands)

    def wake_publisher(self) -> bool:
        """There are commands to send. Never waits; False if the bus is closed."""
        return self._publisher.wake()

    def channel_of(self, topic: str) -> bytes:
        """What Redis calls a topic. What begins with the name of the topic "" is this app's."""
        return self._prefix + topic.encode()

    def count_published(self) -> None:
        """Something was given to be carried in another way than by `publish`."""
        with self._count_lock:
            self._published += 1

    def _wait_until_handed_over(self, timeout_s: float) -> None:
        self._publisher.wait_until_done(timeout_s)

    # Subscribing.

    def subscribe(self, topic: str) -> None:
        """Have it subscribed to; `wait_until_subscribed` does it."""
        self._topics[topic] = None
        self._subscriber.subscribe(self._prefix + topic.encode())

    def unsubscribe(self, topic: str) -> None:
        """Have it unsubscribed from, with the next `wait_until_subscribed` at the latest."""
        self._topics.pop(topic, None)
        self._subscriber.unsubscribe(self._prefix + topic.encode())

    def wait_until_subscribed(self, timeout_s: float = 1.0) -> bool:
        """Have sent what is to be subscribed to, and wait for Redis's word."""
        return self._subscriber.wait(timeout_s)

    def peer_count(self) -> None:
        """Redis does not tell, in a cluster least of all."""
        return

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Publish what is queued, and end both threads."""
        until_s = time.monotonic() + timeout_s
        self._publisher.close(until_s)
        self._subscriber.close(until_s)

    # For the two threads.

    def deliver(self, came: list[bytes]) -> None:
        """Envelopes and parts of envelopes came."""
        whole = []
        now_s = time.monotonic()
        for data in came:
            taken = self._take_part(data, now_s) if is_part(data) else data
            if taken is not None:
                whole.append(taken)
        if whole:
            self._deliver(whole)

    def _take_part(self, data: bytes, now_s: float) -> bytes | None:
        lost_count = self._assembler.lost_count
        try:
            return self._assembler.take(data, now_s)
        except Malformed as fault:
            self.refuse(str(fault))
            return None
        finally:
            if self._assembler.lost_count > lost_count:
                self._count_dropped(self._assembler.lost_count - lost_count)

    def count_dropped(self, count: int) -> None:
        """So many envelopes were not published."""
        self._count_dropped(count)

    def warn_of_overflow(self) -> None:
        """Envelopes begin to be dropped because of their number."""
        logger.warning(
            "%s: more than %d bytes wait to be published; the oldest envelopes are dropped",
            self,
            self.max_queue_bytes,
        )

    def publisher_works(self) -> None:
        """Redis has published something."""
        self._works(_PUBLISH)

    def publisher_fails(self, reason: str) -> None:
        """Redis can't be published on."""
        self._fails(_PUBLISH, reason)

    def master_has_changed(self) -> None:
        """What Redis was the master is one no more."""
        self._subscriber.connect_anew()

    def subscriber_works(self) -> None:
        """Redis has confirmed what was to be subscribed to."""
        self._works(_LISTEN)

    def subscriber_fails(self, reason: str) -> None:
        """Redis can't be listened to."""
        self._fails(_LISTEN, reason)
        # An idle connection's end is seen by nobody until it is used: one outage, not two.
        self._publisher.check()

    # What one thread says must not come between the other's finding and its note of it. Log lines
    # are written without the lock: a handler of the app's may broadcast them.

    def _works(self, what: str) -> None:
        if self._outage_log.has_said_up and what not in self._troubles:
            return  # as nearly always; it is asked with each batch
        reason = "Redis answers"
        with self._health_lock:
            self._note_up(True, reason, what)
            if self._troubles:
                return
            is_new = self._outage_log.works(time.monotonic())
        if is_new:
            self._log_up(True, reason)

    def _fails(self, what: str, reason: str) -> None:
        with self._health_lock:
            self._note_up(False, reason, what)
            now_s = time.monotonic()
            is_new = self._outage_log.lost(now_s)
            is_worth_a_line = self._outage_log.explains(reason, now_s)
        if is_new:
            self._log_up(False, reason)
        elif is_worth_a_line:
            self._log_still_down(reason)
