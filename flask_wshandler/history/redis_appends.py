"""What waits to be appended to the logs on a Redis, and how often that is tried.

A connection that is lost leaves open whether what was sent was appended. That is sent again, and
the script knows by the process and the sequence number whether it was; unless the log may be
another one meanwhile, after a restart of Redis. Then it is dropped.

Invariants:
- Nothing is appended twice, and everything of one topic in the order of `put`, across all retries.
- Whatever is dropped is counted, and leaves out a number of its topic: by the next message, or
  without one if there is none when Redis takes something again.
- `_lock` guards what is said below; nothing is logged, and no other lock taken, with it held.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import time
from collections.abc import Iterator
from typing import Protocol

from redis.exceptions import NoScriptError, ResponseError

from ..bus.outage import Backoff
from ..bus.parts import PART_BYTES
from ..bus.redis_address import reason_of
from ..bus.redis_bus import RedisBus
from ..bus.redis_commands import Command
from ..runtime import locks
from . import redis_scripts as scripts
from .log import LOG_ID_BYTES, Bounds, Draft, LogSilent, LogUnavailable
from .redis_keys import Keys
from .redis_reader import run_id_of

MAX_AGE_S = 10.0
"""What could not be appended for so long is no news any more."""
_BATCH = 512
_BATCH_BYTES = PART_BYTES
_COST_BYTES = 256
"""About what a waiting message takes beside its payload."""
# As in the bus: Redis cuts off who has more waiting than 32 MB, or 8 MB for a minute.
_AT_ONCE_BYTES = 8 * 2**20
_BYTES_PER_S = 16 * 2**20
_CLOCKS_MS = 1000
"""By so much Redis's clock and this process's may differ over some seconds."""
_PROBE_TOPIC = "?probe"
"""Nobody's. It is appended to in order to see whether anything can be."""
_PROBE = bytes(scripts.TAIL_BYTES)
_PROBE_BOUNDS = Bounds(1, 10.0)


class Owner(Protocol):
    """The log, as far as it concerns what waits."""

    def log_works(self) -> None: ...

    def log_fails(self, reason: str) -> None: ...


@dataclasses.dataclass(slots=True)
class _Append:
    """A message that waits, or was sent."""

    topic: str
    #: The end of the envelope's body.
    tail: bytes
    bounds: Bounds
    gap: int
    sequence: int
    queued_s: float
    #: Which Redis may have appended it already, and since when.
    doubted_run: bytes | None = None
    doubted_s: float = 0.0

    @property
    def cost_bytes(self) -> int:
        return len(self.tail) + _COST_BYTES

    def goes_with(self, before: _Append) -> bool:
        """Whether one script can append it, behind the one before."""
        if self.gap or self.topic != before.topic or self.bounds != before.bounds:
            return False
        return self.doubted_run == before.doubted_run and self.doubted_s == before.doubted_s


class Appends:
    """The queue of one process: `bus.redis_commands.Commands`. Any thread may call `put`."""

    def __init__(self, bus: RedisBus, keys: Keys, owner: Owner, size_bytes: int) -> None:
        self._bus = bus
        self._keys = keys
        self._owner = owner
        self._size_bytes = size_bytes
        self.begin()

    def begin(self) -> None:
        """Begin as a process that has appended nothing yet."""
        self._lock = locks.Lock()
        # Guarded by _lock.
        self._waiting: collections.deque[_Append] = collections.deque()
        self._waiting_bytes = 0
        self._sequence = 0
        #: Topics of which something was dropped, and no number was left out yet; no more than this
        #: process appends to.
        self._gaps: set[str] = set()
        #: Why nothing is appended; what is put meanwhile is refused.
        self._trouble = ""
        #: Whether it is that nothing was heard from Redis.
        self._is_silent = False
        self._is_overflowing = False
        self.put_count = 0
        self.done_count = 0
        # The bus's thread's own.
        self._sent: list[list[_Append]] = []
        self._sent_s = 0.0
        self._is_asking_run = False
        self._is_probing = False
        #: Topics of which a number is to be left out.
        self._sent_holes: list[str] = []
        self._run: bytes | None = None
        self._is_loaded = False
        self._backoff = Backoff()
        self._paced_s = 0.0
        #: Nothing is sent before this moment. Written by the bus's thread alone.
        self._not_before_s = 0.0

    def put(self, topic: str, draft: Draft, bounds: Bounds, *, is_after_gap: bool) -> None:
        """Queue a message, which past the bus's limit costs the oldest. Never waits.

        Raises `LogUnavailable`.
        """
        tail = draft.excluded + bytes([draft.is_text]) + draft.payload
        now_s = time.monotonic()
        past_limit, is_new = 0, False
        with self._lock:
            dropped = self._drop_old(now_s)
            trouble, is_silent = self._trouble, self._is_silent
            if is_silent:
                self._gaps.add(topic)
            if not trouble:
                self._sequence += 1
                gap = scripts.GENERATION if is_after_gap else scripts.NO_GAP
                self._queue(_Append(topic, tail, bounds, gap, self._sequence, now_s))
                past_limit = self._drop_past_limit()
                is_new = past_limit > 0 and not self._is_overflowing
                self._is_overflowing = self._is_overflowing or past_limit > 0
        self._count(dropped + past_limit + is_silent)
        if is_new:
            self._bus.warn_of_overflow()
        if trouble:
            raise LogSilent(trouble) if is_silent else LogUnavailable(trouble)
        self._bus.count_published()
        if not self._bus.wake_publisher():
            self.end()
            raise LogUnavailable("the bus is closed")

    # For the bus.

    @property
    def due_s(self) -> float:
        """When there is something to send."""
        has_some = self._waiting or self._trouble or self._gaps
        return self._not_before_s if has_some else math.inf

    @property
    def is_stuck(self) -> bool:
        """Whether there is no use in waiting for what is left."""
        return bool(self._trouble)

    def connected(self) -> None:
        """It may be another Redis now."""
        self._run = None
        self._is_loaded = False
        self._not_before_s = 0.0

    def take(self) -> list[Command]:
        """The next messages; or a question which Redis this is, or whether anything can be done."""
        self._is_asking_run = self._run is None
        if self._run is None:
            return [("INFO", "server")]
        now_s = time.monotonic()
        with self._lock:
            dropped = self._drop_old(now_s)
            is_in_trouble = bool(self._trouble)
            batch, doubtful = self._next_batch(self._run, 1 if is_in_trouble else _BATCH)
            self._is_probing = is_in_trouble and not batch
            self._sequence += self._is_probing
            sequence = self._sequence
            if not batch and not is_in_trouble:
                self._sent_holes = list(self._gaps)[:_BATCH]
                self._gaps.difference_update(self._sent_holes)
        self._count(dropped + doubtful)
        self._sent_s = now_s
        if self._is_probing:
            probe = _Append(_PROBE_TOPIC, _PROBE, _PROBE_BOUNDS, scripts.NO_GAP, sequence, now_s)
            return [self._command([probe], self._run, 0)]
        if self._sent_holes:
            return [self._hole(topic, self._run) for topic in self._sent_holes]
        self._pace(sum(len(each.tail) for each in batch))
        self._sent = list(_runs(batch))
        return self._commands(self._sent, self._run)

    def answered(self, answers: list[object]) -> None:
        """What became of what was taken."""
        sent, self._sent = self._sent, []
        holes, self._sent_holes = self._sent_holes, []
        if self._is_asking_run:
            self._note_run(answers)
        elif self._is_probing:
            self._note_outcome(self._refusal_of(answers[0]) if answers else None, bool(answers))
        elif holes:
            self._sort_out_holes(holes, answers)
        else:
            self._sort_out(sent, answers)

    def end(self) -> None:
        """Drop what waits."""
        with self._lock:
            dropped = len(self._waiting)
            while self._waiting:
                self._drop(self._waiting.popleft())
        self._count(dropped)

    # With _lock held.

    def _queue(self, new: _Append) -> None:
        self._waiting.append(new)
        self._waiting_bytes += new.cost_bytes
        self.put_count += 1

    def _drop(self, dropped: _Append) -> None:
        self._forget(dropped)
        self._gaps.add(dropped.topic)

    def _forget(self, done: _Append) -> None:
        self._waiting_bytes -= done.cost_bytes
        self.done_count += 1

    def _drop_old(self, now_s: float) -> int:
        dropped = 0
        while self._waiting and self._waiting[0].queued_s < now_s - MAX_AGE_S:
            self._drop(self._waiting.popleft())
            dropped += 1
        if dropped and not self._trouble:
            self._trouble = f"Redis has taken nothing for {MAX_AGE_S:g} seconds"
            self._is_silent = True
        return dropped

    def _drop_past_limit(self) -> int:
        dropped = 0
        while len(self._waiting) > 1 and self._waiting_bytes > self._bus.max_queue_bytes:
            self._drop(self._waiting.popleft())
            dropped += 1
        return dropped

    def _next_batch(self, run: bytes, most: int) -> tuple[list[_Append], int]:
        batch: list[_Append] = []
        size = doubtful = 0
        while self._waiting and len(batch) < most:
            first = self._waiting[0]
            if first.doubted_run not in (None, run):
                self._drop(self._waiting.popleft())
                doubtful += 1
                continue
            if batch and size + len(first.tail) > _BATCH_BYTES:
                break
            size += len(first.tail)
            if first.topic in self._gaps:
                self._gaps.discard(first.topic)
                first.gap = scripts.HOLE
            batch.append(self._waiting.popleft())
        self._is_overflowing = self._is_overflowing and bool(self._waiting)
        return batch, doubtful

    # The bus's thread.

    def _pace(self, size: int) -> None:
        if size > PART_BYTES:
            earliest_s = self._sent_s - _AT_ONCE_BYTES / _BYTES_PER_S
            self._paced_s = max(self._paced_s, earliest_s) + size / _BYTES_PER_S
            self._not_before_s = self._paced_s

    def _commands(self, batch: list[list[_Append]], run: bytes) -> list[Command]:
        last: dict[str, int] = {}
        commands = []
        for some in batch:
            topic = some[0].topic
            commands.append(self._command(some, run, last.get(topic, 0)))
            last[topic] = some[-1].sequence
        return commands

    def _command(self, some: list[_Append], run: bytes, before: int) -> Command:
        """Append some of one topic, unless the one `before`, of the same pipeline, is not there."""
        name: tuple[str | bytes, ...] = ("EVALSHA", scripts.APPEND.digest)
        if not self._is_loaded:
            name = ("EVAL", scripts.APPEND.text)
            self._is_loaded = True
        first = some[0]
        names = self._keys.of(first.topic)
        tried_ms = -1
        if first.doubted_run is not None:
            tried_ms = int((self._sent_s - first.doubted_s) * 1000) + _CLOCKS_MS
        age_ms = max(1, math.ceil(first.bounds.age_s * 1000))
        command: list[str | bytes | int] = [
            *name, 3, names.hash, names.stream, self._keys.index,
            run, os.urandom(LOG_ID_BYTES), self._bus.sender, before, tried_ms,
            first.gap, first.bounds.count, age_ms, self._size_bytes,
            names.channel, names.envelope_head, names.topic,
        ]  # fmt: skip
        for each in some:
            command += (each.sequence, each.tail)
        return tuple(command)

    def _hole(self, topic: str, run: bytes) -> Command:
        names = self._keys.of(topic)
        fresh = os.urandom(LOG_ID_BYTES)
        return ("EVAL", scripts.LEAVE_OUT.text, 2, names.hash, names.stream, run, fresh)

    def _sort_out_holes(self, holes: list[str], answers: list[object]) -> None:
        refusals = [self._refusal_of(answer) for answer in answers]
        done = sum(refusal is None for refusal in refusals)
        with self._lock:
            # One too many does no harm.
            self._gaps.update(holes if done < len(holes) else ())
        refusal = next((each for each in refusals if each is not None), None)
        self._note_outcome(refusal, done > 0)

    def _note_run(self, answers: list[object]) -> None:
        if not answers:
            return
        try:
            self._run = run_id_of(answers[0])
        except ResponseError as error:
            self._fail(f"INFO: {error}")
            return
        if self._is_silent:
            self._note_no_trouble()

    def _sort_out(self, sent: list[list[_Append]], answers: list[object]) -> None:
        """Have done with what was appended; what can be tried again comes first again."""
        done: list[_Append] = []
        again: list[_Append] = []
        lost: list[_Append] = []
        refusal = None
        for some, answer in zip(sent, answers, strict=False):
            if answer == scripts.DOUBTFUL:
                lost += some
            elif answer == scripts.EARLY or isinstance(answer, Exception):
                again += some
            else:
                done += some
            refusal = refusal or self._refusal_of(answer)
        for some in sent[len(answers) :]:
            for each in some:
                if each.doubted_run is None:
                    each.doubted_run, each.doubted_s = self._run, self._sent_s
            again += some
        with self._lock:
            for each in done:
                self._forget(each)
            for each in lost:
                self._drop(each)
            self._waiting.extendleft(reversed(again))
        self._count(len(lost))
        self._note_outcome(refusal, bool(done))

    def _refusal_of(self, answer: object) -> str | None:
        """Why Redis has not done all of it. None if it has, or is to be asked in another way."""
        if isinstance(answer, NoScriptError):
            self._is_loaded = False
            return None
        if isinstance(answer, list):  # appended; but not published, for this reason
            return f"PUBLISH: {_text(answer[1])}"
        return reason_of(answer) if isinstance(answer, Exception) else None

    def _note_outcome(self, refusal: str | None, has_worked: bool) -> None:
        if refusal is not None:
            self._fail(refusal)
        elif has_worked:
            self._succeed()

    def _succeed(self) -> None:
        if self._trouble:
            self._backoff = Backoff()
            self._note_no_trouble()
        self._owner.log_works()

    def _note_no_trouble(self) -> None:
        with self._lock:
            self._trouble = ""
            self._is_silent = False

    def _fail(self, reason: str) -> None:
        self._run = None  # the reason may be that it is another Redis's address now
        self._not_before_s = time.monotonic() + self._backoff.failed(0)
        with self._lock:
            self._trouble = reason
            self._is_silent = False
        self._owner.log_fails(reason)

    def _count(self, dropped: int) -> None:
        if dropped:
            self._bus.count_dropped(dropped)


def _runs(batch: list[_Append]) -> Iterator[list[_Append]]:
    """Those that one script can append: one behind the other, and of one kind."""
    some: list[_Append] = []
    for each in batch:
        if some and not each.goes_with(some[-1]):
            yield some
            some = []
        some.append(each)
    if some:
        yield some


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
