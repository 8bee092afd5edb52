"""When a client that has lost its server tries again: later and later, at a random time.

All clients lose a server in the same moment; the random times keep them from being back in one.
"""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 0.5
LONGEST_S = 30.0
GOOD_AFTER_S = 5.0
"""A network connection that has lasted so long begins the delays anew."""
LONGEST_RETRY_AFTER_S = 60.0


def uniform(limit_s: float) -> float:
    """A time from 0 to `limit_s`."""
    return random.uniform(0, limit_s)


class Backoff:
    """Of one connection."""

    def __init__(self, jitter: Callable[[float], float] = uniform) -> None:
        self._jitter = jitter
        self._tries = 0

    def next_delay_s(self, retry_after_s: float | None = None) -> float:
        """Seconds until the next try; not before the server wants it, unless it wants too much."""
        limit_s = min(LONGEST_S, FIRST_S * 2 ** min(self._tries, 16))
        self._tries += 1
        delay_s = self._jitter(limit_s)
        if retry_after_s is None:
            return delay_s
        return delay_s + min(max(0.0, retry_after_s), LONGEST_RETRY_AFTER_S)

    def ended(self, seconds: float, *, was_cut: bool) -> None:
        """A network connection is over that was open for so long.

        Where the network has cut it, after messages have gone through, the server is well.
        """
        if was_cut or seconds >= GOOD_AFTER_S:
            self._tries = 0
