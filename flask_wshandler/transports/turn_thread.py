"""Turns of what has no socket, in a process where all sockets are served by their own threads.

Invariant: what waits is served one after the other, and the thread ends when nothing does.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING

from ..runtime import logs, threads

if TYPE_CHECKING:
    from .pollers import Pollable

logger = logs.logger(__package__)

_LAST_TURN_S = 1.0


class TurnThread:
    """One thread for callbacks, while it is needed. Any thread may call its methods."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._waiting: collections.deque[Pollable] = collections.deque()
        self._thread: threads.BackgroundThread | None = None

    def put(self, pollable: Pollable) -> None:
        """Have `pollable.serve` called."""
        with self._lock:
            self._waiting.append(pollable)
            if self._thread is None:
                self._thread = threads.BackgroundThread("turns", self._run, logger)
            self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until nothing waits and the thread has ended; so long at most."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def stop(self) -> None:
        """Let the thread end."""
        with self._lock:
            self._waiting.clear()
            thread = self._thread
        if thread is not None:
            thread.end()
            thread.join(_LAST_TURN_S)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                pollable = self._waiting.popleft()
            pollable.serve(0)
