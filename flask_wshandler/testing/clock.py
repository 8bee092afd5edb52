"""Time that a test moves.

Invariant: timers of this clock have no thread. What is due is done by the call that moves the
time, or that waits for everything to come to rest, in its thread and in the order of the time.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Collection
from typing import Any, Protocol

from ..runtime.timer import Clock as AnyClock
from ..runtime.timer import Timer
from .patience import DEFAULT_TIMEOUT_S

_START_S = 1000.0


class Machine(Protocol):
    """All whose time it is. What it calls stuck is its own matter, and only given back to it."""

    def stuck(self) -> Collection[Any]: ...

    def settle(self, but: Collection[Any] = (), timeout: float = ...) -> None: ...


class SteppedTimer(Timer):
    """A timer whose targets are woken by `fire_due`."""

    def _see_to(self, tick: int) -> None:
        """Nothing: nobody waits."""

    def next_due_s(self) -> float | None:
        """When the next target is due, in the time of the clock; None if there is none."""
        with self._condition:
            return self._next_due_s()

    def fire_due(self) -> None:
        """Wake what is due, in this thread."""
        while True:
            with self._condition:
                due_s = self._next_due_s()
                if due_s is None or due_s > self.clock.now_s():
                    return
                due = self._pop_due()
            self._fire_all(due)


class Clock:
    """The time of an app under test: it stands, and `advance` moves it.

    All of the package goes by it: pings, time-outs, rates, the checks of sessions, the leases of
    presence. What does not is the real time that a call here waits for the app's threads, and
    that a flask-sock function waits in `receive(timeout)`.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # Written by the test's thread, but for a wait that is in vain.
        self._now_s = _START_S
        self._timers: weakref.WeakSet[SteppedTimer] = weakref.WeakSet()

    def new_timer(self, clock: AnyClock) -> Timer:
        """A timer that this clock moves."""
        timer = SteppedTimer(clock)
        self._timers.add(timer)
        return timer

    def now_s(self) -> float:
        """The time, in seconds."""
        return self._now_s

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait for another process of the app; for `seconds` of real time at most.

        If it is in vain, so much time has passed here, too.
        """
        if not condition.wait(seconds) and seconds is not None:
            self._now_s += seconds

    def advance(self, seconds: float, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Let `seconds` pass; return when everything that was due in them has been done.

        It is done in its order, with clients answering pings as they come. Deadlines are rounded
        up to a tenth of a second. A client whose callback is stuck before, for one second of real
        time, is not waited for. One thread at a time.

        Raises ValueError for a negative number or none that is finite, and `TimedOut` if a
        callback that was due has not come to its end in `timeout` seconds of real time.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time goes forward, and by finite steps: not by {seconds!r} seconds")
        target_s = self._now_s + seconds
        stuck = self._machine.stuck()
        while (due_s := self._next_due_s()) is not None and due_s <= target_s:
            self._now_s = max(self._now_s, due_s)
            self._machine.settle(stuck, timeout)
        self._now_s = max(self._now_s, target_s)

    def fire_due(self) -> None:
        """Wake what is due at this time."""
        for timer in list(self._timers):
            timer.fire_due()

    def _next_due_s(self) -> float | None:
        dues_s = [timer.next_due_s() for timer in list(self._timers)]
        return min((due_s for due_s in dues_s if due_s is not None), default=None)
