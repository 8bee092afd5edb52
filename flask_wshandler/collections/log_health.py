"""Whether the log takes what is broadcast: how much it has taken, and what the app's log is told.

A topic of which something went out without a number is owed a rise of its log's generation, by
which whoever was away knows of the gap: it comes with the next message that the log takes.
"""

from __future__ import annotations

import time

from ..runtime import locks, logs

logger = logs.logger(__package__)

_SLOW_S = 0.001
_MOST_OWED = 10_000
_SAY_AGAIN_S = 60.0


class LogHealth:
    """Any thread."""

    def __init__(self) -> None:
        self._lock = locks.Lock()
        # Guarded by _lock. Read by any thread.
        #: Broadcasts that were numbered here; those of them that have waited; for how long.
        self.logged_count = 0
        self.slow_count = 0
        self.waited_s = 0.0
        #: Those that went out without a number.
        self.unlogged_count = 0
        #: Why the log can't be used; empty if it can, as far as is known.
        self.trouble = ""
        #: Topics of which something went out without a number, the oldest first.
        self._owed: dict[str, None] = {}
        #: Whether the app's log has a line of the trouble.
        self._is_said = False
        self._say_again_s = 0.0

    def is_owed(self, topic: str) -> bool:
        """Whether the generation of the topic's log has to rise."""
        return topic in self._owed

    def note_logged(self, topic: str, waited_s: float, *, was_owed: bool) -> None:
        """The log has taken a message."""
        with self._lock:
            self.logged_count += 1
            self.waited_s += waited_s
            self.slow_count += waited_s > _SLOW_S
            if was_owed:
                self._owed.pop(topic, None)
        if self.trouble:
            self._works()

    def note_unlogged(self, topic: str, reason: str, *, is_to_be_said: bool) -> None:
        """It has not, and the message goes out without a number."""
        with self._lock:
            self.unlogged_count += 1
            self._owed[topic] = None
            while len(self._owed) > _MOST_OWED:
                del self._owed[next(iter(self._owed))]
        self.note_failed(reason, is_to_be_said=is_to_be_said)

    def note_read(self) -> None:
        """It could be read, which says nothing of writing where something has failed."""
        if self.trouble and not self._owed:
            self._works()

    def note_failed(self, reason: str, *, is_to_be_said: bool) -> None:
        """It can't be used. `is_to_be_said` is False of a log that says so itself."""
        now_s = time.monotonic()
        with self._lock:
            self.trouble = reason
            is_to_be_said &= not self._is_said and now_s >= self._say_again_s
            if is_to_be_said:
                self._is_said = True
                self._say_again_s = now_s + _SAY_AGAIN_S  # it may come and go
        if is_to_be_said:
            logger.error(
                "the history of collections is not kept: %s. Broadcasts go out, without a number; "
                "whoever misses one is told of a gap.",
                reason,
            )

    def _works(self) -> None:
        with self._lock:
            self.trouble = ""
            was_said, self._is_said = self._is_said, False
        if was_said:
            logger.warning("the history of collections is kept again")
