"""The thread that publishes on a Redis what is queued, in batches of what has come meanwhile.

Invariants:
- What may have been carried is never published again: a batch whose answer is lost is dropped.
  Commands of others, which go with it, are for these to send again.
- An envelope above `PART_BYTES` is published in parts, one behind the other. Only what is urgent
  comes between them, which keeps its own order.
- `_changed` guards what is said below; no call to Redis is made and nothing logged with it held.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as Unreachable

from ..runtime import lifecycle, locks, logs, threads
from .outage import Backoff, Silence
from .parts import PART_BYTES, split
from .publish_queue import PublishQueue, Queued
from .redis_address import LOST, RedisAddress, reason_of
from .redis_commands import NOTHING, Command, Commands

logger = logs.logger(__package__)

# Redis cuts off who has more than 32 MB waiting, or 8 MB for a minute, unless its administrator
# says otherwise (client-output-buffer-limit).
_PARTS_AT_ONCE_BYTES = 8 * 2**20
_PARTS_BYTES_PER_S = 16 * 2**20
_QUIET_S = 1.0
"""A connection that was closed after such a silence is replaced without a word: proxies do that,
and Redis by its setting `timeout`."""
_MASTER = b"master"
_LOOK_FOR_MASTER_S = 30.0
"""How long a connection to a replica is kept: the address may be a master's by now."""
_PROBE_TOPIC = b"?probe"
"""Nobody's: a collection's begins with a letter, and that of every process is empty."""


class Owner(Protocol):
    """The bus, as far as it concerns the publisher."""

    def publisher_works(self) -> None: ...

    def publisher_fails(self, reason: str) -> None: ...

    def master_has_changed(self) -> None: ...

    def count_dropped(self, count: int) -> None: ...

    def warn_of_overflow(self) -> None: ...


class _Replaceable(Unreachable):
    """Another connection is to be made; with this one nothing is lost."""


class Refused(RedisError):
    """Redis does not do what it is asked for, and says why."""


class Publisher:
    """What waits to be published, and the thread that does it. Any thread may call it."""

    def __init__(
        self,
        address: RedisAddress,
        owner: Owner,
        silence: Silence,
        *,
        sender: bytes,
        prefix: bytes,
        max_bytes: int,
        commands: Commands = NOTHING,
    ) -> None:
        """`prefix` and a topic are the name of a channel."""
        self._address = address
        self._owner = owner
        self._silence = silence
        self._sender = sender
        self._prefix = prefix
        #: Has a lock of its own, which is never held where `_changed` is waited for.
        self._commands = commands
        self._changed = locks.new_condition()
        # Guarded by _changed.
        self._queue = PublishQueue(max_bytes)
        self._is_failing = False
        self._has_waited_in_vain = False
        self._is_check_due = False
        self._is_closed = False
        self._thread = threads.BackgroundThread("publish", self._run, logger)
        # The thread's own.
        self._connection: Any = None
        self._part_number = 0
        self._paced_s = 0.0
        #: When Redis was asked last, and when it has answered last.
        self._asked_s = self._heard_s = 0.0
        self._connected_s = 0.0
        self._role: bytes | None = None
        self._role_due_s = 0.0
        self._was_replica = False

    def put(self, topic: str, data: bytes, *, is_urgent: bool) -> None:
        """Queue an envelope, which past the limit costs the oldest. Never waits."""
        with self._changed:
            if self._is_closed:
                return
            trouble = self._start()
            was_overflowing = self._queue.is_overflowing
            dropped = self._queue.put(topic, data, is_urgent=is_urgent)
            if len(self._queue) == 1 or is_urgent:
                self._changed.notify_all()
        if dropped:
            self._owner.count_dropped(dropped)
        if dropped and not was_overflowing:
            self._owner.warn_of_overflow()
        if trouble:
            self._owner.publisher_fails(trouble)

    def send_commands_of(self, commands: Commands) -> None:
        """Send from now on what waits there."""
        with self._changed:
            self._commands = commands

    def wake(self) -> bool:
        """There are commands to send. Never waits; False if none are sent any more."""
        with self._changed:
            if self._is_closed:
                return False
            trouble = self._start()
            self._changed.notify_all()
        if trouble:
            self._owner.publisher_fails(trouble)
        return True

    def wait_until_done(self, timeout_s: float) -> None:
        """Wait until Redis has answered to what is queued and not urgent.

        At once if it does not work. After one wait in vain there is none until it works again.
        """
        with self._changed:
            wanted, wanted_commands = self._queue.put_count, self._commands.put_count
            until_s = time.monotonic() + timeout_s
            while self._queue.done_count < wanted or self._awaits_commands(wanted_commands):
                if self._is_failing or self._has_waited_in_vain or self._is_closed:
                    return
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    self._has_waited_in_vain = True
                    return
                self._changed.wait(rest_s)

    def check(self) -> None:
        """Have the thread find out whether its connection still works. Never waits."""
        with self._changed:
            self._is_check_due = True
            self._changed.notify_all()

    def close(self, until_s: float) -> None:
        """Publish what is queued, if Redis works, and end the thread."""
        with self._changed:
            while self._has_something_queued() and not self._is_failing:
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    break
                self._changed.wait(rest_s)
            self._is_closed = True
            lost = self._queue.clear()
            self._changed.notify_all()
            self._thread.end()
        if lost:
            self._owner.count_dropped(lost)
        self._thread.join(until_s - time.monotonic())
        self._commands.end()

    def abandon(self) -> None:
        """In a forked child: close its copy of the descriptor, and leave the connection be."""
        if self._connection is not None:
            self._connection.disconnect()  # which shuts down only what this process has opened

    # With _changed held.

    def _start(self) -> str:
        """Have the thread; returns why there is none."""
        lifecycle.stop_at_exit()
        return "" if self._thread.start() else "no thread can start to publish"

    def _awaits_commands(self, wanted: int) -> bool:
        return self._commands.done_count < wanted and not self._commands.is_stuck

    def _has_something_queued(self) -> bool:
        is_awaited = self._awaits_commands(self._commands.put_count)
        return bool(self._queue) or is_awaited

    # The thread.

    def _run(self) -> None:
        backoff = Backoff()
        silent_s = 0.0
        while not self._is_closed:
            works_since_s = None
            try:
                self._connect()
                works_since_s = time.monotonic()
                self._silence.was_too_long(silent_s)
                self._succeed()
                while self._wait_for_news():
                    self._check_connection()
                    self._check_role()
                    self._publish_next()
                reason = ""
            except LOST as error:
                silent_s = self._asked_s - self._heard_s if works_since_s is not None else 0.0
                reason = "" if isinstance(error, _Replaceable) else reason_of(error)
            finally:
                self._disconnect()
            if reason and not self._is_closed:
                now_s = time.monotonic()
                self._fail(reason)
                self._pause(backoff.failed(now_s - (works_since_s or now_s)))

    def _connect(self) -> None:
        self._connection = self._address.connect()
        self._asked_s = self._heard_s = self._connected_s = time.monotonic()
        self._role = None
        self._role_due_s = 0.0
        self._commands.connected()
        self._probe()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _succeed(self) -> None:
        with self._changed:
            self._is_failing = self._has_waited_in_vain = False
        self._owner.publisher_works()

    def _fail(self, reason: str) -> None:
        with self._changed:
            self._is_failing = True
            self._changed.notify_all()
        self._owner.publisher_fails(reason)

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, or for the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _wait_for_news(self) -> bool:
        """Wait until something is queued; ask meanwhile whether the connection lives.

        False at the end.
        """
        while True:
            with self._changed:
                if not (self._has_news() or self._is_closed):
                    self._changed.notify_all()  # for what waits until all is published
                    self._changed.wait_for(self._is_something_due, self._seconds_to_wait())
                is_asked, self._is_check_due = self._is_check_due, False
                if self._has_news():
                    return True
                if self._is_closed:
                    return False
            if time.monotonic() - self._asked_s >= self._silence.allowed_s or is_asked:
                self._probe()
                self._succeed()

    def _has_news(self) -> bool:
        has_commands = self._commands.due_s <= time.monotonic() and not self._is_closed
        return bool(self._queue) or has_commands

    def _is_something_due(self) -> bool:
        return self._has_news() or self._is_closed or self._is_check_due

    def _seconds_to_wait(self) -> float:
        rest_s = self._commands.due_s - time.monotonic()
        return max(0.0, min(self._silence.allowed_s, rest_s))

    def _probe(self) -> None:
        """Publish nothing to nobody: only that shows whether something can be published."""
        self._check_connection()
        self._publish([(self._prefix + _PROBE_TOPIC, b"")])
        self._check_role()

    def _check_connection(self) -> None:
        # Readable without a question is the end of the stream. To find that out only by
        # publishing would lose a batch.
        self._asked_s = time.monotonic()
        try:
            if self._connection.can_read(0):
                self._connection.read_response()
                raise Unreachable("Redis has said something without being asked")
        except (Unreachable, OSError) as error:
            if self._asked_s - self._heard_s < _QUIET_S:
                raise
            raise _Replaceable(reason_of(error)) from error

    def _check_role(self) -> None:
        """Have another connection made if this Redis was a master and is one no more.

        Its address may be the new master's now, where all come who connect anew. A replica carries
        what it is told to its own subscribers only, and nothing refuses that.
        """
        now_s = time.monotonic()
        if now_s < self._role_due_s:
            return
        self._role_due_s = now_s + self._address.silence_s
        before, self._role = self._role, self._ask_role()
        if before == _MASTER != self._role:
            self._owner.master_has_changed()
            raise Unreachable("it is the master no more")
        if before is None and self._role == _MASTER and self._was_replica:
            self._owner.master_has_changed()
        self._was_replica = self._role not in (_MASTER, None)
        if self._was_replica and now_s - self._connected_s > _LOOK_FOR_MASTER_S:
            raise _Replaceable("it is a replica")

    def _ask_role(self) -> bytes | None:
        self._connection.send_command("HELLO", 2)
        try:
            answer = self._connection.read_response()
        except ResponseError:  # Redis before 6, or a user who may not
            return None
        pairs = answer if isinstance(answer, list) else []
        return dict(zip(pairs[::2], pairs[1::2], strict=False)).get(b"role")

    def _publish_next(self) -> None:
        batch, patient_count = self._next_batch()
        large = batch[0] if batch and len(batch[0].data) > PART_BYTES else None
        try:
            if large is not None:
                self._publish_in_parts(large, is_urgent=not patient_count)
            else:
                self._publish_batch(batch)
        finally:
            with self._changed:
                self._queue.done_count += patient_count
                self._changed.notify_all()

    def _next_batch(self, *, is_urgent: bool = False) -> tuple[list[Queued], int]:
        """Small envelopes or one large one, as far as they are news; how many are not urgent."""
        with self._changed:
            batch, patient_count, dropped = self._queue.take(is_urgent=is_urgent)
        if dropped:
            self._owner.count_dropped(dropped)
        return batch, patient_count

    def _publish_batch(self, batch: list[Queued]) -> None:
        commands = self._commands.take() if self._commands.due_s <= time.monotonic() else []
        self._publish(
            [(self._channel(each), each.data) for each in batch], commands, is_counted=True
        )

    def _publish_in_parts(self, large: Queued, *, is_urgent: bool) -> None:
        channel = self._channel(large)
        self._part_number += 1
        try:
            for part in split(large.data, self._sender, large.topic, self._part_number):
                self._wait_for_pace(is_urgent=is_urgent)
                self._publish([(channel, part)])
                self._paced_s += len(part) / _PARTS_BYTES_PER_S
        except LOST:
            self._owner.count_dropped(1)
            raise

    def _wait_for_pace(self, *, is_urgent: bool) -> None:
        """Wait as long as parts would be too many; publish meanwhile what is urgent."""
        now_s = time.monotonic()
        self._paced_s = max(self._paced_s, now_s - _PARTS_AT_ONCE_BYTES / _PARTS_BYTES_PER_S)
        while True:
            if not is_urgent:
                batch, _ = self._next_batch(is_urgent=True)
                self._publish_batch(batch)
            rest_s = self._paced_s - time.monotonic()
            if rest_s <= 0:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._queue.has_urgent and not is_urgent, rest_s)

    def _channel(self, queued: Queued) -> bytes:
        return self._prefix + queued.topic.encode()

    def _publish(
        self,
        published: list[tuple[bytes, bytes]],
        commands: list[Command] | None = None,
        *,
        is_counted: bool = False,
    ) -> None:
        """Publish once, and send commands. Raises `LOST`; then some may have been carried."""
        commands = commands or []
        if not published and not commands:
            return
        connection = self._connection
        self._asked_s = time.monotonic()
        carried_count = 0
        refusal = None
        answers: list[object] = []
        try:
            publishing: list[Command] = [("PUBLISH", *each) for each in published]
            connection.send_packed_command(connection.pack_commands(publishing + commands))
            for _ in published:
                answer = self._read_answer()
                if isinstance(answer, Exception):
                    refusal = answer
                else:
                    carried_count += 1
            for _ in commands:
                answers.append(self._read_answer())
            self._heard_s = time.monotonic()
        finally:
            if is_counted and carried_count < len(published):
                self._owner.count_dropped(len(published) - carried_count)
            if commands:
                self._commands.answered(answers)
        if refusal is not None:
            raise Refused(f"Redis refuses PUBLISH: {refusal}")

    def _read_answer(self) -> object:
        """An answer, or the exception that is a refusal. Raises `LOST`."""
        try:
            # redis-py takes a Redis that loads its data for one that is lost.
            return self._connection.read_response(disconnect_on_error=False)
        except (ResponseError, BusyLoadingError) as error:
            return error
