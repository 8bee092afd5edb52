"""A warning, with its stack, about every callback that takes too long."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..runtime.logs import Logger

from ..runtime.redaction import shown_path
from .named_callback import name_of

_LOOKS = 4
"""In the time that is too long: a callback is reported a quarter of it late at most."""


Running = dict[int, Callable[..., Any]]
"""Callbacks by the threads that they run in."""


class SlowCallbackWatch:
    """The callbacks of one app that run at this moment, and the timer's look at them."""

    def __init__(self, slow_s: float | None, logger: Logger) -> None:
        self.slow_s = slow_s
        self._logger = logger
        self.due_tick: int | None = None  # the timer's
        #: What runs, by thread. Written by that thread, with one operation on the dict each; the
        #: callbacks themselves ask no clock.
        self.running: Running = {}
        # The timer's own: when each was seen first, and whether it is reported.
        self._seen: dict[int, tuple[Callable[..., Any], float, bool]] = {}

    @property
    def interval_s(self) -> float:
        """How often to look."""
        assert self.slow_s is not None  # else nobody looks
        return self.slow_s / _LOOKS

    def on_time(self, now_s: float) -> float:
        """Report what has been seen for too long."""
        assert self.slow_s is not None
        before, self._seen = self._seen, {}
        for ident, callback in list(self.running.items()):
            # A bound method is made anew for each call, and this one is still held by `before`.
            seen, since_s, is_reported = before.get(ident, (None, now_s, False))
            if seen is not callback:
                since_s, is_reported = now_s, False
            elif not is_reported and now_s - since_s >= self.slow_s:
                is_reported = True
                self._report(ident, callback)
            self._seen[ident] = callback, since_s, is_reported
        return self.interval_s

    def _report(self, ident: int, callback: Callable[..., Any]) -> None:
        handler = getattr(callback, "__self__", None)
        frame = sys._current_frames().get(ident)
        stack = "its stack can't be seen"  # of a greenlet
        if frame is not None:
            stack = "".join(traceback.format_stack(frame))
        self._logger.warning(
            "%s on %s has been running for over %g seconds (a loop without an end belongs in a "
            "thread or a program of its own); its client waits for it:\n%s",
            _shown(handler, name_of(callback)),
            _path_of(handler),
            self.slow_s,
            stack,
        )


def _shown(handler: Any, name: str) -> str:
    shown_callback: Callable[[str], str] | None = getattr(handler, "_shown_callback", None)
    return name if shown_callback is None else shown_callback(name)


def _path_of(handler: Any) -> str:
    # Not by its request, whose class may be the app's.
    snapshot = getattr(getattr(handler, "context", None), "_snapshot", None)
    return "?" if snapshot is None else shown_path(snapshot.get("PATH_INFO", ""))
