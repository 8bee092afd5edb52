"""The end of a process, and its forks: who is told, in which order, and what each makes for itself.

Invariant: nothing is registered with the interpreter before something runs in this very process,
so a server's master that only imports an app stops nothing, and a forked child stops only what
it has started itself.
"""

from __future__ import annotations

import atexit
import contextlib
import enum
import logging
import os
import signal
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

Made = TypeVar("Made")

logger = logging.getLogger(__name__)


class Stage(enum.IntEnum):
    """The order of stopping."""

    CONNECTIONS = 0
    COLLECTIONS = 1
    """After the last callbacks, which broadcast that somebody has gone."""
    BUS = 2
    FIGURES = 3
    """When there is nothing more to count."""


class Lived(Protocol):
    """What has threads or descriptors."""

    def stop(self) -> None:
        """The process ends: end everything, in bounded time."""

    def hurry(self) -> None:
        """The process was told to end once more: give up waiting. In a signal handler."""

    def forget(self) -> None:
        """In a forked child: have nothing of the parent's."""


_lived: dict[Stage, weakref.WeakSet[Lived]] = {stage: weakref.WeakSet() for stage in Stage}
_exit_pid: int | None = None
_ending_pid: int | None = None


def register(lived: Lived, stage: Stage) -> None:
    """Have `lived` told of forks, and of the end once `stop_at_exit` has been called."""
    _lived[stage].add(lived)


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
        for lived in list(_lived[stage]):
            try:
                lived.stop()
            except Exception:
                logger.exception("%r did not stop", lived)


def _hear_of_signals() -> None:
    """Have a signal during the stop hurry it up, rather than count for nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None:  # Windows has no SIGQUIT
            signal.signal(number, _hurry)


def _hurry(number: int, frame: object) -> None:
    del number, frame
    for stage in Stage:
        for lived in list(_lived[stage]):
            lived.hurry()


def _forget_all() -> None:
    for stage in Stage:
        for lived in list(_lived[stage]):
            lived.forget()
    for instance, names in list(_made.items()):
        for name in names:
            vars(instance).pop(name, None)


_made: weakref.WeakKeyDictionary[object, set[str]] = weakref.WeakKeyDictionary()
"""What is to be made anew in a forked child: the names of these objects' attributes."""


class MadeOnFirstUse(Generic[Made]):
    """An attribute that is made when a process asks for it first, once for all its threads.

    For what lives as long as a module or an app, and is a lock or has some: gevent may patch the
    standard library later than these are made, with `--preload` after the fork, and a lock from
    before stops all of a worker's greenlets at once. From the first use on it is an ordinary
    attribute, and as quick as one. A forked child makes its own.

    Two threads may both call `make`; what one of them has made is then thrown away.
    """

    def __init__(self, make: Callable[[Any], Made]) -> None:
        """`make` is given the object whose attribute it is."""
        self._make = make
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Made:
        made: Made = vars(instance).setdefault(self._name, self._make(instance))
        _made.setdefault(instance, set()).add(self._name)
        return made


class ModuleLock:
    """A lock for what a module has of its own."""

    _lock = MadeOnFirstUse(lambda _: threading.Lock())

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
