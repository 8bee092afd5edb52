"""The threads of this package: the one place that starts them, and keeps them going.

What a thread does is a function that returns when there is nothing more to do. If it raises, that
is logged and counted, and it is called again after a pause: nothing that goes wrong once ends it.
A system that has no thread at this moment may have one in the next: what could not start is tried
again, by whoever wants it the next time, and by the threads that run (`start_waiting`).

Invariant: `start` never raises, and no lock is held while a thread's function runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from . import faults, first_use

START_AGAIN_S = 0.5
"""How long after a failure a thread is tried to be started again."""

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
"""Between a fault and the next call: twice as long each time, until it runs as long as that."""

_NO_THREAD = (RuntimeError, MemoryError)
"""What `Thread.start` raises where there are too many, or no memory for a stack."""


class Log(Protocol):
    """Where faults are written to: `logs.Logger`."""

    def error(self, message: str, *args: object, error: BaseException | None = ...) -> None: ...

    def warning(self, message: str, *args: object) -> None: ...


class _Here(threading.local):
    thread: BackgroundThread | None = None


class _OfThisProcess:
    here = first_use.MadeOnFirstUse["_Here"](lambda _: _Here())


_process = _OfThisProcess()
_waiting: set[BackgroundThread] = set()
"""Those that are wanted and could not start. Its operations are atomic."""


class BackgroundThread:
    """A thread with a duty, which it does until that is done. Any thread may call its methods."""

    def __init__(
        self,
        name: str,
        run: Callable[[], object],
        log: Log | None,
        *,
        may_wait_for_logs: bool = False,
        is_repeated: bool = True,
        counted_as: str = "",
    ) -> None:
        """`name` is what it is called in lists of threads, behind "wshandler-", and its faults are
        `counted_as`, if that is another name.

        Where a slow log handler may hold it up, it `may_wait_for_logs`; else another thread writes
        its lines. Unless `is_repeated`, `run` is called once, whatever it raises.
        """
        self.name = name
        self._counted_as = counted_as or name
        self.may_wait_for_logs = may_wait_for_logs
        self._run = run
        self._log = log
        self._is_repeated = is_repeated
        self._pid = os.getpid()
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._thread: threading.Thread | None = None
        self._try_again_s = 0.0
        self._has_failed = False
        self._is_ended = threading.Event()

    def start(self) -> bool:
        """Have it run, unless it does, or has been ended. False if the system has no thread for it.

        Then it is tried again.
        """
        if self._thread is not None:
            return True
        with self._lock:
            if self._thread is not None or self._is_ended.is_set():
                return True
            if time.monotonic() < self._try_again_s:
                return False
            error = self._try_to_start()
            is_new = error is not None and not self._has_failed
            self._has_failed = error is not None
        # At the interpreter's end no thread can start any more, and none need.
        if is_new and self._log is not None and threading.main_thread().is_alive():
            faults.note(self._counted_as)
            self._log.warning(
                "the thread wshandler-%s can't start, and is tried again: %s", self.name, error
            )
        return error is None

    def _try_to_start(self) -> BaseException | None:
        thread = threading.Thread(
            target=self._keep_running, name=f"wshandler-{self.name}", daemon=True
        )
        self._thread = thread  # first: it may be over before `start` returns
        try:
            thread.start()
        except _NO_THREAD as error:
            self._thread = None
            self._try_again_s = time.monotonic() + START_AGAIN_S
            _waiting.add(self)
            return error
        _waiting.discard(self)
        return None

    @property
    def is_running(self) -> bool:
        """Whether it has started, and its duty is not done."""
        return self._thread is not None

    @property
    def is_current(self) -> bool:
        """Whether it is this very thread."""
        return _process.here.thread is self

    def end(self) -> None:
        """Have it not called again, nor started. What it waits for is to be ended besides."""
        self._is_ended.set()
        _waiting.discard(self)

    def join(self, seconds: float) -> bool:
        """Wait until its duty is done, for so long at most. False if it is not."""
        thread = self._thread
        if thread is None or self.is_current:
            return thread is None
        thread.join(max(0.0, seconds))
        return not thread.is_alive()

    def _keep_running(self) -> None:
        _process.here.thread = self
        pause_s = _FIRST_PAUSE_S
        while True:
            started_s = time.monotonic()
            try:
                self._run()
                break
            except BaseException as error:  # a SystemExit of a log handler's ends nothing, either
                self._report(error)
            if not self._is_repeated:
                break
            if time.monotonic() - started_s > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            if self._is_ended.wait(pause_s):
                break
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._thread = None

    def _report(self, error: BaseException) -> None:
        faults.note(self._counted_as)
        if self._log is not None:
            self._log.error("an exception in the thread wshandler-%s", self.name, error=error)


def current() -> BackgroundThread | None:
    """The one that this thread is."""
    return _process.here.thread


def are_waiting() -> bool:
    """Whether there are some that could not start: who waits may do so for `START_AGAIN_S`."""
    return bool(_waiting)


def start_waiting() -> None:
    """Try again to start those that could not. Quick when there are none."""
    for thread in list(_waiting):
        if thread._pid == os.getpid():
            thread.start()
        else:  # of the parent of this process
            _waiting.discard(thread)
