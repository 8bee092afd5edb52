"""The bus of many machines: publish and subscribe of Redis or Valkey, by redis-py.

Two connections: one thread publishes what is queued, in batches of what has come together
meanwhile; the other listens. Every topic is a channel, of which only those are subscribed to that
have members in this process. Sharded channels are not used, so one node of a cluster will do;
the braces in the names keep an app's channels in one slot for those who move them there.

Invariants:
- One thread reads each connection. Others write to the listening one under `_write_lock`, and only
  while `_is_listening`.
- What may have been carried is never published again: a batch whose answer is lost is dropped.
- `_lock` guards what is said below; no call to Redis is made under it.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import random
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooSlow

from .. import process
from .contract import CLOSE_TIMEOUT_S, Bus

logger = logging.getLogger(__name__)

_BATCH = 512
_BATCH_BYTES = 256 * 1024
_ENVELOPE_COST_BYTES = 128
"""About what a queued envelope takes beside its bytes."""
_MAX_AGE_S = 10.0
"""What Redis could not take for so long is no news any more."""
_ANSWER_S = 5.0
"""For an answer of Redis, and for a connection."""
_SILENCE_S = 10.0
"""After which the listening connection is asked whether it lives."""
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 5.0
_LOST = (RedisError, OSError)


class RedisBus(Bus):
    """Carries envelopes by Redis."""

    def __init__(self, url: str, app_name: str, max_queue_bytes: int) -> None:
        """Connects to nothing yet. Raises ValueError if `url` is none that redis-py takes."""
        self._url = url
        pool = redis.ConnectionPool.from_url(
            url,
            protocol=2,
            decode_responses=False,
            socket_connect_timeout=_ANSWER_S,
            socket_keepalive=True,
        )
        self._pool = pool
        database = pool.connection_kwargs.get("db") or 0
        # Publish and subscribe know no databases; whoever keeps apps apart by them means it.
        self._prefix = f"wshandler:{{{app_name}/{database}}}:".encode()
        super().__init__(max_queue_bytes)

    def __str__(self) -> str:
        parts = urlsplit(self._url)
        return f"the bus on {parts.scheme}://{parts.hostname or ''}:{parts.port or 6379}"

    def _begin(self) -> None:
        super()._begin()
        self._write_lock = threading.Lock()
        # Guarded by _write_lock.
        self._listening = self._connection(_SILENCE_S)
        self._is_listening = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        # Guarded by _lock.
        self._queue: collections.deque[tuple[bytes, bytes, float]] = collections.deque()
        self._queued_bytes = 0
        self._is_overflowing = False
        self._commands: list[tuple[str, bytes]] = []
        self._requested = 0
        self._confirmed = 0
        self._has_waited_in_vain = False
        self._expected: collections.deque[int] = collections.deque()
        self._failed: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def _connection(self, timeout_s: float) -> Any:  # redis-py's classes have no common type
        connection: Any = self._pool.connection_class(
            **{**self._pool.connection_kwargs, "socket_timeout": timeout_s}
        )
        return connection

    # Publishing.

    def send(self, topic: str, data: bytes) -> None:
        """Queue for the thread that publishes."""
        channel = self._prefix + topic.encode()
        dropped = 0
        with self._lock:
            if self._is_closed:
                return
            self._start("publish", self._publish_all)
            self._queue.append((channel, data, time.monotonic()))
            self._queued_bytes += len(data) + _ENVELOPE_COST_BYTES
            while self._queued_bytes > self.max_queue_bytes and len(self._queue) > 1:
                self._take()
                dropped += 1
            is_new = dropped > 0 and not self._is_overflowing
            self._is_overflowing = self._is_overflowing or dropped > 0
            if len(self._queue) == 1:
                self._changed.notify_all()
        if dropped:
            self._count_dropped(dropped)
        if is_new:
            logger.warning(
                "%s: more than %d bytes wait to be published; the oldest envelopes are dropped",
                self,
                self.max_queue_bytes,
            )

    def _take(self) -> tuple[bytes, bytes, float]:
        taken = self._queue.popleft()
        self._queued_bytes -= len(taken[1]) + _ENVELOPE_COST_BYTES
        return taken

    def _publish_all(self) -> None:
        connection = self._connection(_ANSWER_S)
        delay_s = _FIRST_DELAY_S
        while not self._is_closed:
            try:
                connection.connect()
                self._works("publish")
                delay_s = _FIRST_DELAY_S
                while self._wait_for_news():
                    # Readable without a question is the end of the stream. To find that out only
                    # by publishing would lose a batch.
                    if connection.can_read(0):
                        raise Unreachable("Redis has closed the connection")
                    self._publish(connection, self._next_batch())
            except _LOST as error:
                connection.disconnect()
                self._fails("publish", error)
                self._pause(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        connection.disconnect()

    def _wait_for_news(self) -> bool:
        """Wait until something is queued. False at the end."""
        with self._lock:
            while not self._queue and not self._is_closed:
                self._changed.notify_all()  # for who waits until all is published
                self._changed.wait()
            return bool(self._queue)

    def _next_batch(self) -> list[tuple[bytes, bytes]]:
        """Channels and data of what is queued, as far as it is still news."""
        batch: list[tuple[bytes, bytes]] = []
        size = dropped = 0
        oldest_s = time.monotonic() - _MAX_AGE_S
        with self._lock:
            while self._queue and len(batch) < _BATCH and size < _BATCH_BYTES:
                channel, data, queued_s = self._take()
                if queued_s < oldest_s:
                    dropped += 1
                else:
                    batch.append((channel, data))
                    size += len(data)
            if not self._queue:
                self._is_overflowing = False
        if dropped:
            self._count_dropped(dropped)
        return batch

    def _publish(self, connection: Any, batch: list[tuple[bytes, bytes]]) -> None:
        """Publish once. Raises `_LOST`; then some of it may have been carried, or none."""
        answered = 0
        try:
            commands = [("PUBLISH", channel, data) for channel, data in batch]
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in batch:
                try:
                    connection.read_response()
                except ResponseError as error:
                    self._count_dropped(1)
                    self.refuse(f"Redis refuses what is published: {error}")
                answered += 1
        except _LOST:
            self._count_dropped(len(batch) - answered)
            raise

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, or for the end."""
        # Half of it is chance: not all processes shall come at once.
        until_s = time.monotonic() + seconds * (0.5 + random.random() / 2)
        with self._lock:
            while not self._is_closed:
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    return
                self._changed.wait(rest_s)

    # Subscribing.

    def subscribe(self, topic: str) -> None:
        """Have it subscribed to; `wait_until_subscribed` does it."""
        self._command("SUBSCRIBE", topic)

    def unsubscribe(self, topic: str) -> None:
        """Have it unsubscribed from, with the next `wait_until_subscribed` at the latest."""
        self._command("UNSUBSCRIBE", topic)

    def _command(self, name: str, topic: str) -> None:
        with self._lock:
            if name == "SUBSCRIBE":
                self._topics[topic] = None
            else:
                self._topics.pop(topic, None)
            if self._is_closed:
                return
            self._start("listen", self._listen)
            self._commands.append((name, self._prefix + topic.encode()))
            self._requested += 1

    def wait_until_subscribed(self, timeout_s: float = 1.0) -> bool:
        """Send what is to be subscribed to, and wait for Redis's word."""
        if self._confirmed >= self._requested:
            return True
        with self._lock:
            requested = self._requested
        with self._write_lock:
            if self._is_listening:
                self._send_commands()
        until_s = time.monotonic() + timeout_s
        with self._lock:
            while self._confirmed < requested:
                if "listen" in self._failed or self._has_waited_in_vain or self._is_closed:
                    return False
                rest_s = until_s - time.monotonic()
                if rest_s <= 0:
                    # Nobody else shall wait, until Redis is heard of again.
                    self._has_waited_in_vain = timeout_s > 0
                    return False
                self._changed.wait(rest_s)
        return True

    def _send_commands(self) -> None:
        with self._lock:
            commands, self._commands = self._commands, []
            last = self._requested
            self._expected.extend(range(last - len(commands) + 1, last + 1))
        try:
            for name, channel in commands:
                self._listening.send_command(name, channel)
        except _LOST:
            pass  # the thread that reads will find out, and subscribe to everything again

    def _listen(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._is_closed:
            error = None
            try:
                self._start_listening()
                delay_s = _FIRST_DELAY_S
                while not self._is_closed:
                    self._read()
            except _LOST as raised:
                error = raised
            with self._write_lock:
                self._is_listening = False
                self._listening.disconnect()
            if error is not None and not self._is_closed:
                self._fails("listen", error)
                self._pause(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    def _start_listening(self) -> None:
        self._has_asked = False
        self._listening.connect()
        with self._write_lock:
            with self._lock:
                self._commands.clear()
                channels = [self._prefix + topic.encode() for topic in list(self._topics)]
                last = self._requested
                self._expected.clear()
                if channels:
                    self._expected.extend([0] * (len(channels) - 1))
                    self._expected.append(last)
                else:
                    self._confirmed = last
            if channels:
                self._listening.send_command("SUBSCRIBE", *channels)
            self._is_listening = True
        self._works("listen")

    def _read(self) -> None:
        """Wait for something, and take what has come with it."""
        came: list[bytes] = []
        try:
            self._take_response(self._listening.read_response(disconnect_on_error=False), came)
            while len(came) < _BATCH and self._listening.can_read(0):
                self._take_response(self._listening.read_response(disconnect_on_error=False), came)
        except TooSlow:
            if self._has_asked:
                raise Unreachable(f"nothing came for {2 * _SILENCE_S:g} seconds") from None
            self._has_asked = True
            with self._write_lock:
                self._listening.send_command("PING")
            return
        finally:
            self._deliver(came)
        self._has_asked = False

    def _take_response(self, response: object, came: list[bytes]) -> None:
        if not isinstance(response, list):
            return
        what = response[0]
        if what == b"message":
            came.append(response[2])
        elif what in (b"subscribe", b"unsubscribe"):
            with self._lock:
                if self._expected:
                    self._confirmed = max(self._confirmed, self._expected.popleft())
                    self._has_waited_in_vain = False
                    self._changed.notify_all()

    def peer_count(self) -> None:
        """Redis does not tell, in a cluster least of all."""
        return

    # Both threads.

    def _start(self, name: str, run: Any) -> None:
        if any(thread.name == f"wshandler-{name}" for thread in self._threads):
            return
        process.stop_at_exit()
        thread = threading.Thread(target=run, name=f"wshandler-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    # What one thread says must not come between the other's finding and its note of it. Log lines
    # are written without the lock: a handler of the app's may broadcast them.

    def _works(self, what: str) -> None:
        reason = "Redis answers"
        with self._lock:
            self._failed.discard(what)
            is_new = not self._failed and self._note_up(True, reason)
        if is_new:
            self._log_up(True, reason)

    def _fails(self, what: str, error: Exception) -> None:
        reason = str(error)
        with self._lock:
            self._failed.add(what)
            self._changed.notify_all()
            is_new = self._note_up(False, reason)
        if is_new:
            self._log_up(False, reason)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Publish what is queued, and end both threads."""
        until_s = time.monotonic() + timeout_s
        with self._lock:
            if self._is_closed:
                return
            while self._queue and not self._failed and until_s > time.monotonic():
                self._changed.wait(until_s - time.monotonic())
            self._is_closed = True
            lost = len(self._queue)
            self._queue.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        if lost:
            self._count_dropped(lost)
        with self._write_lock:
            if self._is_listening:
                with contextlib.suppress(*_LOST):
                    self._listening.send_command("PING")  # for the thread that reads to wake up
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until_s - time.monotonic()))
