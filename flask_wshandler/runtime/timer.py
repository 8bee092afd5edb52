"""Time for all connections of a process, in one thread.

Deadlines are rounded up to a tenth of a second and kept in a bucket each: setting, moving and
cancelling one costs a set operation, nothing stale is left behind when a connection ends, and an
idle process wakes up only when a bucket is due.

A target that raises is woken again, later each time, until it does not. The timer's thread also
starts those of this package's that could not start before.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from typing import Protocol

from . import faults, locks, logs, threads

logger = logs.logger(__package__)

_TICKS_PER_S = 10
"""Multiplied by and divided by, which is exact for times that are."""
_NEXT_TICK_S = 1e-6
"""What is left by rounding is not waited for within one tick: a clock may stand."""
_AGAIN_S = 1.0
_LONGEST_AGAIN_S = 64.0
"""When a target that has raised is woken again: twice as late each time, up to this."""
_STOP_S = 2.0
"""How long a stop waits for the target that is being told."""


class Clock(Protocol):
    """Where time comes from; tests give their own."""

    def now_s(self) -> float:
        """A time that never goes back, in seconds."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait for a notification of `condition`, which is held, or until the time is over."""


class MonotonicClock:
    """The machine's monotonic clock."""

    def now_s(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(seconds)


class Target(Protocol):
    """What can be woken. `due_tick` belongs to the timer; it is None at first."""

    due_tick: int | None

    def on_time(self, now_s: float) -> float | None:
        """It is time; returns in how many seconds from `now_s` to come back, or None.

        Must not block.
        """


class Timer:
    """Wakes its targets. Any thread; the thread of the timer itself starts with the first target
    and ends with `stop`.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._condition = locks.new_condition()
        # Guarded by _condition.
        self._buckets: dict[int, set[Target]] = {}
        self._ticks: list[int] = []
        self._is_stopping = False
        self._thread = threads.BackgroundThread("timer", self._run, logger)
        # The targets that have raised, and after how long each comes again. Its operations are
        # atomic.
        self._failing: dict[Target, float] = {}

    def wake(self, target: Target, seconds: float) -> None:
        """Call `target.on_time` in `seconds` at the latest; an earlier wake that is set stays."""
        self._wake_at(target, self.clock.now_s() + seconds)

    def _wake_at(self, target: Target, due_s: float) -> None:
        tick = math.ceil(due_s * _TICKS_PER_S)
        with self._condition:
            if self._is_stopping or (target.due_tick is not None and target.due_tick <= tick):
                return
            self._remove(target)
            self._add(target, tick)
            self._see_to(tick)

    def cancel(self, target: Target) -> None:
        """Forget `target`."""
        with self._condition:
            self._remove(target)
            self._failing.pop(target, None)

    def stop(self) -> None:
        """End the thread and forget all targets."""
        with self._condition:
            self._is_stopping = True
            buckets, self._buckets = self._buckets, {}
            self._ticks.clear()
            self._thread.end()
            self._condition.notify()
        # Not under the lock: a target may be all that has kept somebody's handler.
        buckets.clear()
        self._thread.join(_STOP_S)

    def _see_to(self, tick: int) -> None:
        """Have the thread wait for `tick`, which is new. With _condition held."""
        if self._thread.start() and self._ticks[0] == tick:
            self._condition.notify()

    def _add(self, target: Target, tick: int) -> None:
        new: set[Target] = set()
        bucket = self._buckets.setdefault(tick, new)
        if bucket is new:
            heapq.heappush(self._ticks, tick)
        bucket.add(target)
        target.due_tick = tick

    def _remove(self, target: Target) -> None:
        if target.due_tick is not None:
            bucket = self._buckets.get(target.due_tick)
            if bucket is not None:
                bucket.discard(target)
            target.due_tick = None

    def _run(self) -> None:
        while True:
            with self._condition:
                due = self._wait_for_due()
            if due is None:
                return
            self._fire_all(due)
            threads.start_waiting()

    def _wait_for_due(self) -> set[Target] | None:
        """Those who are due; none if there is only somebody to be started; None at the end."""
        while not self._is_stopping:
            due_s = self._next_due_s()
            rest_s = None if due_s is None else due_s - self.clock.now_s()
            if rest_s is not None and rest_s <= 0:
                return self._pop_due()
            if threads.are_waiting():
                self.clock.wait(self._condition, min(rest_s or _AGAIN_S, threads.START_AGAIN_S))
                return set()
            self.clock.wait(self._condition, rest_s)
        return None

    def _next_due_s(self) -> float | None:
        """When the next bucket is due; None if there is none. With _condition held."""
        return self._ticks[0] / _TICKS_PER_S if self._ticks else None

    def _pop_due(self) -> set[Target]:
        """Take the next bucket out. With _condition held."""
        due = self._buckets.pop(heapq.heappop(self._ticks), set())
        for target in due:
            target.due_tick = None
        return due

    def _fire_all(self, due: set[Target]) -> None:
        now_s = self.clock.now_s()
        for target in due:
            self._fire(target, now_s)

    def _fire(self, target: Target, now_s: float) -> None:
        try:
            seconds = target.on_time(now_s)
        except Exception as error:
            seconds = self._failing.get(target, _AGAIN_S)
            self._failing[target] = min(2 * seconds, _LONGEST_AGAIN_S)
            faults.note("timer")
            logger.error("%r is woken again in %g s", target, seconds, error=error)
        else:
            if self._failing:
                self._failing.pop(target, None)
        if seconds is not None:
            self._wake_at(target, now_s + max(seconds, _NEXT_TICK_S))
