"""A thread that ticks while it is wanted."""

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Ticker:
    """Calls a function every so often, from a thread of its own, between `start` and `stop`.

    Any thread may call both, as often as it likes. There is no thread before the first `start`,
    so none at import, and none that a fork would lose.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._changed = threading.Condition()
        # Both guarded by `_changed`.
        self._is_wanted = False
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        with self._changed:
            return self._thread is not None

    def start(self, begin: Callable[[], Callable[[], None]]) -> None:
        """Tick until `stop`. A new thread calls `begin`, and what that returned at each tick."""
        with self._changed:
            self._is_wanted = True
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, args=(begin,), name="ticker", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Tick no more, after the tick that may be going on."""
        with self._changed:
            self._is_wanted = False
            self._changed.notify()

    def _run(self, begin: Callable[[], Callable[[], None]]) -> None:
        try:
            tick = begin()
            while not self._has_ended():
                tick()
        except Exception:
            _log.exception("The ticker has failed; the next start begins again.")
            with self._changed:
                self._thread = None

    def _has_ended(self) -> bool:
        """Wait for one interval; give the thread up at once when it is wanted no more."""
        with self._changed:
            if self._changed.wait_for(lambda: not self._is_wanted, self._interval_s):
                self._thread = None
            return self._thread is None
