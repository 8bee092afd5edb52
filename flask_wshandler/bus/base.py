"""The contract of a bus: what carries envelopes between the processes of an app.

`tests/bus` holds every bus to it, with real processes.
"""

from __future__ import annotations

import abc
import dataclasses
import os
import threading
from collections.abc import Callable

from ..runtime import faults, lifecycle, logs
from ..runtime.redaction import one_line
from .envelope import Envelope, Kind, Malformed, decode, encode

logger = logs.logger(__package__)

Receive = Callable[[list[Envelope]], None]
"""Takes envelopes of other processes that came together, in their order. Called in the bus's
thread; must not wait."""

CLOSE_TIMEOUT_S = 2.0
"""What a process waits at its end for others to take what it has published."""


@dataclasses.dataclass(frozen=True, slots=True)
class BusStats:
    """What a bus has done in this process."""

    #: Envelopes that were published.
    published: int
    #: Envelopes that came from other processes, and from a log.
    received: int
    #: Envelopes that were published and not carried: because of a full queue, a process or a
    #: server that was gone, an age. Counted once for each process that misses one.
    dropped: int
    #: What came and was no envelope.
    malformed: int
    #: Whether what carries the envelopes works.
    is_up: bool


class Bus(abc.ABC):
    """Carries envelopes between the processes of an app.

    - `publish` reaches every other process that has subscribed to the topic; never the sender.
      What a log carries comes by it as well, from `SENT_BY_A_LOG`, and reaches all of them.
    - At most once, and in the order of one sender's calls.
    - Nothing waits for another process or a server: what one does not take is queued up to
      `max_queue_bytes`, past which the oldest goes and is counted. Only `wait_until_subscribed`,
      `hand_over` and `close` wait, within a bound.
    - When what it runs on is lost, and when it is back, there is one line in the log. It comes
      back by itself, with back-off.
    - Threads start with the first use, after any fork; a forked child begins anew, as a process
      of its own.

    Any thread may call any method.
    """

    def __init__(self, max_queue_bytes: int) -> None:
        self.max_queue_bytes = max_queue_bytes
        self._receive: Receive | None = None
        self._begin()
        lifecycle.register(self, lifecycle.Stage.BUS)

    def _begin(self) -> None:
        """Begin as a process that has done nothing yet. For subclasses to extend."""
        #: This process, to the others.
        self.sender = os.urandom(8)
        #: What is subscribed to. Written by subclasses; read by the bus's thread without a lock.
        self._topics: dict[str, None] = {}
        self._serves_clients = False
        # Reentrant: garbage may be collected amid a count, and its `__del__` may broadcast.
        self._count_lock = threading.RLock()
        #: Written by the bus's thread alone.
        self._received = 0
        # Guarded by _count_lock.
        self._published = 0
        self._dropped = 0
        self._malformed = 0
        #: What does not work, and why; the first that stopped working is the first.
        self._troubles: dict[str, str] = {}
        self._reasons: set[str] = set()

    def attach(self, receive: Receive) -> None:
        """Give what comes to `receive`. Once, before `subscribe`."""
        self._receive = receive

    # For subclasses to write.

    @abc.abstractmethod
    def send(self, topic: str, data: bytes) -> None:
        """Carry an encoded envelope to whoever has subscribed to `topic`. Never waits."""

    @abc.abstractmethod
    def subscribe(self, topic: str) -> None:
        """Receive what is published to `topic` from now on. Never waits."""

    @abc.abstractmethod
    def unsubscribe(self, topic: str) -> None:
        """Receive it no more. Never waits."""

    @abc.abstractmethod
    def wait_until_subscribed(self, timeout_s: float = 1.0) -> bool:
        """Wait until every `subscribe` before this call is in effect.

        At once False if that can't be because the bus is down; it will be when it is up again.
        """

    @abc.abstractmethod
    def peer_count(self) -> int | None:
        """How many other processes receive at this moment; None if the bus can't tell."""

    @abc.abstractmethod
    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Send what is queued, for `timeout_s` at most, and end."""

    # The same for all, unless there is something to save.

    def _wait_until_handed_over(self, timeout_s: float) -> None:  # noqa: B027  # often all has gone
        """Wait until what was published needs this process no more."""

    def listen_idly(self) -> bool:
        """Have what is subscribed to come, with as little as that takes. Never waits.

        Returns whether `look` must be called from time to time until it returns False.
        """
        self.wait_until_subscribed(0)
        return False

    def look(self) -> bool:
        """See whether anything has come; returns whether to look again. Never waits."""
        return False

    @property
    def own_address(self) -> str:
        """Where `publish_to` finds this process: ASCII, at most 255. Empty if it needs none."""
        return ""

    def send_to(self, address: str, topic: str, data: bytes) -> bool:
        """Carry an encoded envelope to one process; False if it is gone. Never waits.

        Here to whoever has subscribed to `topic`, which may be no other.
        """
        del address
        self.send(topic, data)
        return True

    # The same for all.

    def publish_to(self, address: str, kind: Kind, topic: str, body: bytes) -> bool:
        """Carry a message to the process that has that `address` and has subscribed to `topic`.

        To all that have, if the address is empty. False if the process is known to be gone. Never
        waits; ValueError if the message is too large.
        """
        data = encode(kind, self.sender, topic, body)
        with self._count_lock:
            self._published += 1
        if address:
            return self.send_to(address, topic, data)
        self.send(topic, data)
        return True

    def publish(self, kind: Kind, topic: str, body: bytes) -> None:
        """Carry a message to the other processes. Never waits; ValueError if it is too large."""
        self.publish_to("", kind, topic, body)

    def serve_clients(self) -> None:
        """This process is a server's, and has its time to end: `hand_over` need not wait."""
        self._serves_clients = True

    def hand_over(self) -> None:
        """Wait until what was published does not get lost with this process; with no lock held.

        A process that serves no clients may be gone in the next moment without a word: a child
        of a pool ends by `os._exit`, which runs nothing that was to be run at the end. At once
        in a process that serves clients, and where the bus is down.
        """
        if not self._serves_clients:
            self._wait_until_handed_over(CLOSE_TIMEOUT_S)

    @property
    def is_serving_clients(self) -> bool:
        """Whether this process is a server's."""
        return self._serves_clients

    @property
    def is_up(self) -> bool:
        """Whether what carries the envelopes works, as far as is known."""
        return not self._troubles

    @property
    def trouble(self) -> str:
        """Why it does not work; empty when it does, as far as is known."""
        with self._count_lock:
            return next(iter(self._troubles.values()), "")

    def whereabouts(self) -> list[str]:
        """Where this process looks for others, and where they may be instead: sentences.

        For an operator who has found no process. Slow.
        """
        return [f"Looked on {self}."]

    def stats(self) -> BusStats:
        """Count everything."""
        with self._count_lock:
            return BusStats(
                self._published, self._received, self._dropped, self._malformed, self.is_up
            )

    def stop(self) -> None:
        """The process ends."""
        self.close()

    def stop_now(self) -> None:  # noqa: B027  # to be overridden only where there is something to do
        """Wait for nothing more. Does nothing here: what `stop` waits for is short."""

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, as another process."""
        self._begin()

    def refuse(self, reason: str) -> None:
        """Count something that came as malformed, and log each reason once."""
        reason = one_line(reason)
        with self._count_lock:
            self._malformed += 1
            is_new = reason not in self._reasons and len(self._reasons) < _MOST_REASONS
            if is_new:
                self._reasons.add(reason)
        if is_new:
            logger.warning("%s: dropped what is no envelope: %s", self, reason)

    # For subclasses to call.

    def _deliver(self, came: list[bytes]) -> None:
        """Envelopes came."""
        envelopes = []
        for data in came:
            try:
                envelope = decode(data)
            except Malformed as fault:
                self.refuse(str(fault))
                continue
            if envelope.sender != self.sender and envelope.topic in self._topics:
                envelopes.append(envelope)
        if not envelopes or self._receive is None:
            return
        self._received += len(envelopes)
        try:
            self._receive(envelopes)
        except Exception as error:
            faults.note("bus")
            logger.error("envelopes were not delivered", error=error)

    def _count_dropped(self, count: int) -> None:
        with self._count_lock:
            self._dropped += count

    def _set_up(self, is_up: bool, reason: str, what: str = "") -> None:
        """Note whether a part of what it needs works; log it if the bus goes or comes by that."""
        if self._note_up(is_up, reason, what):
            self._log_up(is_up, reason)

    def _note_up(self, is_up: bool, reason: str, what: str = "") -> bool:
        """Note whether a part works; return whether the bus works or not by that.

        It works when all of its parts do.
        """
        with self._count_lock:
            was_up = not self._troubles
            if is_up:
                self._troubles.pop(what, None)
            else:
                self._troubles[what] = one_line(reason)
            return was_up != (not self._troubles)

    def _log_up(self, is_up: bool, reason: str) -> None:
        reason = one_line(reason)
        if is_up:
            logger.warning("%s is back: %s", self, reason)
        else:
            logger.error(
                "%s is down: %s. Broadcasts reach the clients of this process only.", self, reason
            )

    def _log_still_down(self, reason: str) -> None:
        logger.error("%s is still down: %s", self, one_line(reason))


_MOST_REASONS = 100
"""Each reason is logged once, so that a flood of faults is none of log lines."""
