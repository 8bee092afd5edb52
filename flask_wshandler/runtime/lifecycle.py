"""The end of a process, and its forks: what is told of them, and in which order.

Invariant: nothing is registered with the interpreter before something runs in this very process,
so a server's master that only imports an app stops nothing, and a forked child stops only what
it has started itself.
"""

from __future__ import annotations

import atexit
import contextlib
import enum
import os
import signal
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

from . import faults, first_use, logs
from .first_use import MadeOnFirstUse as MadeOnFirstUse
from .first_use import ModuleLock as ModuleLock

logger = logs.logger(__package__)

_LAST_LINES_S = 1.0
"""For a slow log handler, at the very end."""


class Stage(enum.IntEnum):
    """The order of stopping."""

    CONNECTIONS = 0
    DOOR = 1
    """After the connections: a client that was lost a moment ago may come back to be told."""
    COLLECTIONS = 2
    """After the last callbacks, which broadcast that clients have gone."""
    BUS = 3
    FIGURES = 4
    """When there is nothing more to count."""


class Managed(Protocol):
    """Something with threads or descriptors, which end with the process and are not inherited."""

    def stop(self) -> None:
        """End everything in bounded time, because the process ends."""

    def stop_now(self) -> None:
        """Give up waiting: the process was told to end once more. In a signal handler."""

    def reset_after_fork(self) -> None:
        """Let go of what the parent has, in a forked child."""


class ForkGuard(Protocol):
    """Something that no child may have inherited."""

    def before_fork(self) -> None:
        """Let go of it, and have nobody take it again. Waits a moment at most."""

    def after_fork_in_parent(self) -> None:
        """It may be taken again. Also called where `before_fork` was not."""

    def reset_after_fork(self) -> None:
        """The same in the child."""


_guards: weakref.WeakSet[ForkGuard] = weakref.WeakSet()
_managed: dict[Stage, weakref.WeakSet[Managed]] = {stage: weakref.WeakSet() for stage in Stage}
_exit_pid: int | None = None
_ending_pid: int | None = None


def register(managed: Managed, stage: Stage) -> None:
    """Have `managed` told of forks, and of the end once `stop_at_exit` has been called."""
    _managed[stage].add(managed)


def guard_forks(guard: ForkGuard) -> None:
    """Have `guard` told of forks: those by `os.fork`, before and after."""
    _guards.add(guard)


def registered(stage: Stage) -> list[Managed]:
    """What is to be stopped at `stage`, and still exists."""
    return list(_managed[stage])


def stop_at_exit() -> None:
    """Something runs: have all that is registered stopped when this process ends."""
    global _exit_pid
    if _exit_pid != os.getpid():
        _exit_pid = os.getpid()
        atexit.register(_stop_all)
        # `atexit` comes when the threads of executors have ended, and in them a server may have
        # requests that take long. Not documented, but what `concurrent.futures` uses itself.
        register_early: Callable[[Callable[[], None]], None] | None
        register_early = getattr(threading, "_register_atexit", None)
        if register_early is not None:
            with contextlib.suppress(RuntimeError):  # the end has come already
                register_early(_note_end)


def is_ending() -> bool:
    """Whether the main thread is done, and the interpreter waits for others to end."""
    return _ending_pid == os.getpid()


def _note_end() -> None:
    global _ending_pid
    _ending_pid = os.getpid()


def _stop_all() -> None:
    if _exit_pid != os.getpid():
        return  # a forked child that inherited the registration
    _hear_of_signals()
    for stage in Stage:
        for managed in list(_managed[stage]):
            try:
                managed.stop()
            except Exception as error:
                faults.note("stop")
                logger.error("%r did not stop", managed, error=error)
    logs.flush(_LAST_LINES_S)


def _hear_of_signals() -> None:
    """Have a signal during the stop hurry it up, rather than count for nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None:  # Windows has no SIGQUIT
            signal.signal(number, _stop_now)


def _stop_now(number: int, frame: object) -> None:
    del number, frame
    for stage in Stage:
        for managed in list(_managed[stage]):
            managed.stop_now()


def _reset_all_after_fork() -> None:
    faults.reset_after_fork()
    logs.reset_after_fork()
    for stage in Stage:
        for managed in list(_managed[stage]):
            managed.reset_after_fork()
    first_use.forget_all()
    for guard in list(_guards):
        guard.reset_after_fork()


def _before_fork() -> None:
    for guard in list(_guards):
        guard.before_fork()


def _after_fork_in_parent() -> None:
    for guard in list(_guards):
        guard.after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_reset_all_after_fork,
    )
