"""The end of a process as its connections see it: noticing it, and closing them spread over time.

What is called `must_hurry` says whether the process has been told to end a second time.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..runtime import lifecycle, logs, threads
from . import wsgi_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..protocol.connection import Connection

logger = logs.logger(__package__)

_CLOSES_PER_SECOND = 200
"""A stop is spread only as far as there are clients: one client is closed at once."""

ANSWERS_AT_STOP_S = 1.0
"""For callbacks that run, to answer what their clients are told to have been taken."""

LOOK_FOR_STOP_S = 0.5
"""How soon the end is noticed while the worker still serves its last requests."""

_LOOK_FOR_HURRY_S = 0.05
_HURRIED_S = 0.5
"""For the last callbacks, when a second signal has come."""


def is_told_to_stop() -> bool:
    """Whether the process is about to end."""
    return lifecycle.is_ending() or wsgi_server.is_stopping()


class StopWatch:
    """Looks whether the process is about to end, and calls `stop` once. A target of the timer."""

    def __init__(self, stop: Callable[[], None]) -> None:
        """`stop` may wait: it is called in a thread of its own, if one can be started."""
        self.due_tick: int | None = None
        self._stop = stop
        self._thread = threads.BackgroundThread(
            "stop", stop, logger, may_wait_for_logs=True, is_repeated=False
        )

    def on_time(self, now_s: float) -> float | None:
        """Look, in the timer's thread; seconds until the next look, or None after the last."""
        del now_s
        if not is_told_to_stop():
            return LOOK_FOR_STOP_S
        if not self._thread.start():  # in Python 3.12 none can at the interpreter's end
            self._thread.end()
            self._stop()
        return None


def close_spread(
    connections: Sequence[Connection], code: int, most_s: float, must_hurry: Callable[[], bool]
) -> None:
    """Close `connections` with `code`, one after the other, in `most_s` at most."""
    if not connections:
        return
    spread_s = min(most_s, len(connections) / _CLOSES_PER_SECOND)
    started_s = time.monotonic()
    for index, connection in enumerate(connections):
        _pause_until(started_s + spread_s * index / len(connections), must_hurry)
        try:
            connection.close_at_stop(code)
        except Exception as fault:
            connection.give_up(fault)


def _pause_until(until_s: float, must_hurry: Callable[[], bool]) -> None:
    while not must_hurry():
        rest_s = until_s - time.monotonic()
        if rest_s <= 0:
            return
        time.sleep(min(rest_s, _LOOK_FOR_HURRY_S))


def wait_until(
    is_done: Callable[[], bool],
    changed: threading.Condition,
    most_s: float,
    must_hurry: Callable[[], bool],
) -> None:
    """Wait until `is_done()`, for `most_s` at most; `changed` is held by the caller."""
    until_s = time.monotonic() + most_s
    while not is_done():
        rest_s = until_s - time.monotonic()
        if rest_s <= 0 or (must_hurry() and rest_s < most_s - _HURRIED_S):
            return
        changed.wait(min(rest_s, _LOOK_FOR_HURRY_S))
