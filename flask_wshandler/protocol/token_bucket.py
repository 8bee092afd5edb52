"""How much of something may come in how much time.

No clock and no lock: who counts brings the time, and is one thread.
"""

from __future__ import annotations


class TokenBucket:
    """`burst` at once, and `per_second` in the long run."""

    __slots__ = ("_burst", "_filled_at_s", "_per_second", "_tokens")

    def __init__(self, per_second: float, burst: float, now_s: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._filled_at_s = now_s

    def take(self, count: int, now_s: float) -> float:
        """Take `count`, whether or not there are so many.

        Returns the seconds after which that would have been all right; 0 if it is so now.
        """
        gained = max(0.0, now_s - self._filled_at_s) * self._per_second
        self._filled_at_s = now_s
        self._tokens = min(self._burst, self._tokens + gained) - count
        return max(0.0, -self._tokens / self._per_second)
