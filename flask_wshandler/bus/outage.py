"""When a service that was lost is tried again, and which changes are worth a line in the log.

No clock and no lock: the caller brings the time, and is one thread or holds its own lock.
"""

from __future__ import annotations

import random

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 5.0
"""Also how long a service must have worked to be taken for steady."""


class Backoff:
    """The time between two attempts: longer with each that did not last."""

    def __init__(self) -> None:
        self._delay_s = FIRST_DELAY_S

    def failed(self, worked_s: float) -> float:
        """An attempt has ended that worked for so long; returns the seconds until the next."""
        if worked_s >= LONGEST_DELAY_S:
            self._delay_s = FIRST_DELAY_S
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, LONGEST_DELAY_S)
        # Half of it is chance: not all processes shall come at once.
        return delay_s * (0.5 + random.random() / 2)


class Silence:
    """How long a connection may be silent before it is asked whether it lives.

    That is less where proxies and firewalls on the way forget silent connections sooner: they
    close them, or drop what comes afterwards without a word. Any thread.
    """

    def __init__(self, longest_s: float) -> None:
        self.allowed_s = longest_s

    def was_too_long(self, silent_s: float) -> None:
        """A connection was gone after so long a silence, and at once there was another one."""
        if silent_s >= _SHORTEST_CUT_S:
            # A third: it need not have been cut at the end of its silence, and a question may be
            # late.
            self.allowed_s = max(_SHORTEST_SILENCE_S, min(self.allowed_s, silent_s / 3))


_SHORTEST_CUT_S = 1.0
"""A connection that is lost earlier was hardly lost because it was silent."""
_SHORTEST_SILENCE_S = 0.5


class OutageLog:
    """One line for a loss and one for the return, however often a service comes and goes."""

    def __init__(self) -> None:
        self._is_up = True
        self._up_since_s = float("-inf")
        self._is_flapping = False
        #: Whether the last line said that the service is up.
        self.has_said_up = True
        #: Why it does not work, as far as lines have said so; and when the last one did.
        self._reasons: list[str] = []
        self._said_s = float("-inf")

    def lost(self, now_s: float) -> bool:
        """The service does not work; returns whether to log that."""
        if self._is_up:
            self._is_up = False
            self._is_flapping = now_s - self._up_since_s < LONGEST_DELAY_S
        is_new, self.has_said_up = self.has_said_up, False
        if is_new:
            self._reasons.clear()
        return is_new

    def explains(self, reason: str, now_s: float) -> bool:
        """It does not work, for this reason; returns whether that is worth a line besides.

        A connection that was closed says nothing yet of a password that has changed, which the
        next attempts find out.
        """
        if self._reasons and now_s - self._said_s < LONGEST_DELAY_S:
            return False
        if reason in self._reasons or len(self._reasons) == _MOST_REASONS:
            return False
        self._reasons.append(reason)
        self._said_s = now_s
        return True

    def works(self, now_s: float) -> bool:
        """The service works; returns whether to log that. To be called again while it does."""
        if not self._is_up:
            self._is_up = True
            self._up_since_s = now_s
        if self.has_said_up or (self._is_flapping and now_s - self._up_since_s < LONGEST_DELAY_S):
            return False
        self.has_said_up = True
        return True


_MOST_REASONS = 5
"""Of one outage, in the log."""
