"""How long a test waits for the app's threads, in real time.

Invariant: what passes between two looks counts as a moment at most. While the whole process stands
still, as on a busy machine it may for seconds, the threads that are waited for do so, too.
"""

from __future__ import annotations

import math
import time

DEFAULT_TIMEOUT_S = 5.0

_MOMENT_S = 0.1
"""More than lies between two looks of a process that runs."""


class Patience:
    """One wait. One thread."""

    def __init__(self, seconds: float) -> None:
        """Raises TypeError or ValueError unless `seconds` is a number of seconds."""
        if not isinstance(seconds, int | float):
            raise TypeError(f"a timeout is a number of seconds, not {seconds!r}")
        if math.isnan(seconds):
            raise ValueError(f"a timeout is a number of seconds, not {seconds!r}")
        #: All of it.
        self.seconds = seconds
        self._left_s = seconds
        self._looked_s = time.monotonic()

    def look(self) -> float:
        """Count the time since the last look; how many seconds are left, 0 or less at the end."""
        now_s = time.monotonic()
        self._left_s -= min(now_s - self._looked_s, _MOMENT_S)
        self._looked_s = now_s
        return self._left_s
