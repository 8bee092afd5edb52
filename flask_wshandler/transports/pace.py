"""When pollers are to come and to go, look by look of their monitor.

Some come as soon as none can do anything, and twice as many each time if that goes on. They go more
slowly, and more slowly still when they were missed the last time.
"""

from __future__ import annotations

_LOOKS_OF_ONE_JAM = 3
"""A jam that comes back within so many looks is still the same: its newcomers are stuck, too."""
_LEAVE_AFTER_LOOKS = 50
"""Some go after this many looks without a jam, 100 ms."""
_LEAVE_AT_LEAST_AFTER_LOOKS = 1600
"""When a jam follows at once, they were needed: the next time comes after twice as many looks, up
to these, 3.2 s."""


class Pace:
    """How many pollers are to come or to go, look by look. The monitor's."""

    def __init__(self) -> None:
        self._step = 1
        self._looks_since_jam = 0
        self._looks_since_leave = 0
        self._leave_after_looks = _LEAVE_AFTER_LOOKS
        self._has_jammed_since_leave = True  # nobody has left yet

    def jammed(self) -> int:
        """A look has found no poller that can do anything: how many are to come."""
        is_same_jam = self._looks_since_jam < _LOOKS_OF_ONE_JAM
        self._step = 2 * self._step if is_same_jam else 1
        if not self._has_jammed_since_leave and self._looks_since_leave < _LEAVE_AFTER_LOOKS:
            self._leave_after_looks = min(2 * self._leave_after_looks, _LEAVE_AT_LEAST_AFTER_LOOKS)
        self._has_jammed_since_leave = True
        self._looks_since_jam = 0
        self._looks_since_leave += 1
        return self._step

    def went_on(self) -> bool:
        """A look has found that they get on: whether some are to go."""
        self._looks_since_jam += 1
        self._looks_since_leave += 1
        if min(self._looks_since_jam, self._looks_since_leave) < self._leave_after_looks:
            return False
        if not self._has_jammed_since_leave:
            self._leave_after_looks = _LEAVE_AFTER_LOOKS
        self._has_jammed_since_leave = False
        self._looks_since_leave = 0
        return True
