"""How long callbacks take: a histogram for each kind of handler and callback."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from typing import Any

from ..handlers.instrumentation import Interceptor
from ..runtime.first_use import MadeOnFirstUse

BOUNDS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Upper ends of the ranges, in seconds; what takes longer is in one more. From a callback that does
nothing to one that `WSHANDLER_SLOW_CALLBACK_S` would report."""

MOST_HANDLERS = 50
"""Names of handlers that are told apart; classes that are made as the app runs are not to fill the
memory, nor the database of whoever collects the figures."""

OTHERS = "others"


class Names:
    """The names of handlers that are told apart. Any thread."""

    _lock = MadeOnFirstUse(lambda _: threading.Lock())

    def __init__(self) -> None:
        # Guarded by _lock.
        self._names: set[str] = set()

    def known(self, name: str) -> str:
        """`name`, if it is one of the first, else `OTHERS`."""
        if name not in self._names:
            with self._lock:
                if len(self._names) >= MOST_HANDLERS:
                    return OTHERS
                self._names.add(name)
        return name


class Times:
    """The durations of one callback. Any thread."""

    __slots__ = ("_counts", "_lock", "_sum_s")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        index = bisect.bisect_left(BOUNDS_S, seconds)
        with self._lock:
            self._counts[index] += 1
            self._sum_s += seconds

    def read(self) -> tuple[list[int], float]:
        """How many there were in each range, and their sum in seconds."""
        with self._lock:
            return list(self._counts), self._sum_s


class CallbackTimes:
    """The durations of all callbacks of an app in this process. Any thread."""

    _lock = MadeOnFirstUse(lambda _: threading.Lock())

    def __init__(self) -> None:
        self._names = Names()
        # Guarded by _lock.
        self._interceptors: dict[str, Interceptor] = {}
        self._times: dict[tuple[str, str], Times] = {}

    def interceptor(self, handler_name: str) -> Interceptor:
        """What calls a callback of such a handler, and counts how long it takes."""
        handler_name = self._names.known(handler_name)
        with self._lock:
            found = self._interceptors.get(handler_name)
            if found is None:
                found = self._interceptors[handler_name] = self._new_interceptor(handler_name)
            return found

    def read(self) -> dict[tuple[str, str], tuple[list[int], float]]:
        """What has been counted, by handler and callback."""
        with self._lock:
            times = dict(self._times)
        return {key: each.read() for key, each in times.items()}

    def _new_interceptor(self, handler_name: str) -> Interceptor:
        now_s, by_callback = time.perf_counter, dict[str, Times]()

        def interceptor(callback: Callable[..., None], *args: Any) -> None:
            started_s = now_s()
            try:
                callback(*args)
            finally:
                seconds = now_s() - started_s
                times = by_callback.get(callback.__name__)
                if times is None:
                    name = callback.__name__
                    times = by_callback[name] = self._times_of(handler_name, name)
                times.add(seconds)

        return interceptor

    def _times_of(self, handler_name: str, callback_name: str) -> Times:
        with self._lock:
            return self._times.setdefault((handler_name, callback_name), Times())
