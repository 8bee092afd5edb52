"""Collections that have a history in one process and none in another: what the app's log says."""

from __future__ import annotations

import time

from ..runtime import locks, logs
from .history import History
from .topics import named_by

logger = logs.logger(__package__)

_SAY_AGAIN_S = 60.0


class Mismatches:
    """One line a minute, whatever it is about. Any thread."""

    def __init__(self) -> None:
        self._lock = locks.Lock()
        # Guarded by _lock.
        #: Broadcasts that have come without a number to a collection that has a history here.
        self.unnumbered_count = 0
        self._say_again_s = 0.0

    def note_unnumbered(self, topic: str, history: History) -> None:
        """A process has broadcast to a logged topic as if it were none."""
        with self._lock:
            self.unnumbered_count += 1
        if self._may_say():
            logger.warning(
                "another process broadcasts to %s without a number, so whoever is away misses it: "
                "make the collection there, too, with %s",
                named_by(topic),
                history,
            )

    def note_unfed(self, topic: str) -> None:
        """Members here were given what is logged as if it were not."""
        if self._may_say():
            logger.warning(
                "%s has a history in another process and none here, so its members here miss what "
                "comes while they are away: make the collection here, too, with history=…",
                named_by(topic),
            )

    def _may_say(self) -> bool:
        now_s = time.monotonic()
        with self._lock:
            may_say = now_s >= self._say_again_s
            if may_say:
                self._say_again_s = now_s + _SAY_AGAIN_S
        return may_say
