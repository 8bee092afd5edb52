"""The thread that waits for a log which is not at hand: it repairs feeds, and looks at the log."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable

from ..runtime import locks, logs, threads
from .feed import Feed

logger = logs.logger(__package__)


class LogReader:
    """Has no thread before it is asked for something. Any thread may ask; nobody waits."""

    def __init__(self, look: Callable[[float], None]) -> None:
        """`look(now_s)` looks at the log."""
        self._look = look
        self._changed = locks.new_condition()
        # Guarded by _changed.
        self._to_repair: collections.deque[Feed] = collections.deque()
        self._is_look_due = False
        self._is_ended = False
        self._thread = threads.BackgroundThread("history", self._run, logger)

    def repair(self, feed: Feed) -> None:
        """Have a feed repaired."""
        with self._changed:
            self._to_repair.append(feed)
            self._wake()

    def look(self) -> None:
        """Have the log looked at when nothing is to be repaired."""
        with self._changed:
            self._is_look_due = True
            self._wake()

    def end(self, timeout_s: float) -> None:
        """End the thread after what it is at, and wait for that so long at most."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
            self._thread.end()
        self._thread.join(timeout_s)

    def _wake(self) -> None:
        if not self._is_ended:
            self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._to_repair or self._is_look_due or self._is_ended
                )
                if self._is_ended:
                    return
                feed = self._to_repair.popleft() if self._to_repair else None
                if feed is None:
                    self._is_look_due = False
            if feed is None:
                self._look(time.monotonic())
            else:
                feed.repair()
