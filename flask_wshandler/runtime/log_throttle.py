"""How often the log says the same, when a client can have it said as often as it likes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .timer import Clock

_PERIOD_S = 60.0
_MAX_LINES = 20
"""In a period, about whatever: a client can invent origins and addresses."""


class LogThrottle:
    """Admits a line about one thing once a minute, and 20 lines a minute at most.

    Any thread; there is no lock, so two that ask at the same moment may both be admitted.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._admitted_s: dict[Hashable, float] = {}

    def admits(self, thing: Hashable) -> bool:
        """Whether to write a line about `thing`."""
        now_s = self._clock.now_s()
        for known, admitted_s in list(self._admitted_s.items()):
            if now_s - admitted_s >= _PERIOD_S:
                self._admitted_s.pop(known, None)
        if thing in self._admitted_s or len(self._admitted_s) >= _MAX_LINES:
            return False
        self._admitted_s[thing] = now_s
        return True
