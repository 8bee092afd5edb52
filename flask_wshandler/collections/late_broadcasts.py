"""Broadcasts whose log was busy for longer than anybody waits: they follow, in their order.

Invariant: what a thread broadcasts to a topic is appended in the order of its calls; so nothing is
appended at once while something waits.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import NamedTuple

from ..history.log import Draft, LogBusy, LogUnavailable
from ..runtime import lifecycle, locks, logs, threads
from .history import History

logger = logs.logger(__package__)

_MOST_BYTES = 16 * 2**20
_MESSAGE_COST_BYTES = 128
_LONGEST_S = 10.0


class Late(NamedTuple):
    """A broadcast that waits."""

    topic: str
    history: History
    draft: Draft


Append = Callable[[Late], None]
"""Numbers a broadcast, and sends it. Raises `LogUnavailable`."""

GiveUp = Callable[[Late, LogUnavailable], None]
"""Sends it without a number."""


class LateBroadcasts:
    """A queue, and the thread that works at it while there is something in it. Any thread."""

    def __init__(self, append: Append, give_up: GiveUp) -> None:
        self._append = append
        self._give_up = give_up
        self._changed = locks.new_condition()
        # Guarded by _changed.
        self._queue: collections.deque[tuple[Late, float]] = collections.deque()
        self._bytes = 0
        #: How many are not done with, the one included that the thread is at.
        self.count = 0
        self._is_ended = False
        self._thread = threads.BackgroundThread("late", self._run, logger)

    def put(self, late: Late) -> None:
        """Have it broadcast as soon as can be; without a number if too much waits. Never waits."""
        with self._changed:
            is_over = self._bytes > _MOST_BYTES or self._is_ended
            if not is_over:
                self._queue.append((late, time.monotonic()))
                self._bytes += len(late.draft.payload) + _MESSAGE_COST_BYTES
                self.count += 1
                lifecycle.stop_at_exit()
                self._thread.start()
                self._changed.notify_all()
        if is_over:
            self._give_up(late, LogBusy(f"over {_MOST_BYTES} bytes wait for the log"))

    def wait_until_done(self, timeout_s: float = _LONGEST_S) -> None:
        """Wait until nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self.count, timeout_s)

    def end(self, timeout_s: float) -> None:
        """Broadcast what waits, for so long at most, and end the thread."""
        self.wait_until_done(timeout_s)
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
            self._thread.end()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_ended)
                if not self._queue:
                    return
                late, queued_s = self._queue.popleft()
                self._bytes -= len(late.draft.payload) + _MESSAGE_COST_BYTES
            try:
                self._broadcast(late, queued_s + _LONGEST_S)
            finally:
                with self._changed:
                    self.count -= 1
                    self._changed.notify_all()

    def _broadcast(self, late: Late, until_s: float) -> None:
        while True:
            try:
                self._append(late)
            except LogBusy as error:
                if time.monotonic() < until_s and not self._is_ended:
                    continue  # each try waits
                self._give_up(late, error)
            except LogUnavailable as error:
                self._give_up(late, error)
            return
