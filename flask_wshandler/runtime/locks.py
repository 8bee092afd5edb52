"""Locks that code of others never waits for, and never runs under.

Code of others can come at any moment: a log handler wherever this package logs, a `__del__`
wherever a reference is dropped or the garbage collector runs, a signal handler between two
instructions of the main thread. If it broadcasts, it comes back here, perhaps in the very thread
that it has interrupted. So what this package calls of others, and what others want of this package,
is put off while the thread holds one of these locks, until it has let go of the last one: see
`put_off`.

Invariant: a thread that holds a `Lock` never waits for itself. It is reentrant; what is guarded by
it is changed in steps, each of which may be followed by another call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from . import faults, first_use

_Call = tuple[Callable[..., object], tuple[Any, ...]]


class _Here(threading.local):
    """What this thread holds, and what waits for it."""

    held = 0
    waiting: list[_Call] | None = None


class _OfThisProcess:
    here = first_use.MadeOnFirstUse["_Here"](lambda _: _Here())


_process = _OfThisProcess()


class Lock:
    """A reentrant lock, also for a `threading.Condition`."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # Any: what a condition needs of it is not in the types.
        self._lock: Any = threading.RLock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As the lock of `threading`."""
        _process.here.held += 1
        if self._lock.acquire(blocking, timeout):
            return True
        _let_go(1)
        return False

    def release(self) -> None:
        """Let go of it, and do what was put off if it was the last one."""
        self._lock.release()
        _let_go(1)

    def __enter__(self) -> None:
        _process.here.held += 1
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()
        _let_go(1)

    # For `threading.Condition.wait`, which lets go of all levels at once.

    def _is_owned(self) -> bool:
        return bool(self._lock._is_owned())

    def _release_save(self) -> tuple[int, object]:
        state: tuple[int, object] = self._lock._release_save()
        _let_go(state[0])
        return state

    def _acquire_restore(self, state: tuple[int, object]) -> None:
        _process.here.held += state[0]
        self._lock._acquire_restore(state)


def new_condition() -> threading.Condition:
    """A condition on a `Lock` of its own."""
    return condition_on(Lock())


def condition_on(lock: Lock) -> threading.Condition:
    """A condition on `lock`."""
    return threading.Condition(lock)  # type: ignore[arg-type]  # any lock will do


def put_off(call: Callable[..., object], *args: Any) -> bool:
    """Have `call(*args)` done later if this thread holds a `Lock`; else False, and nothing is done.

    It is done by this thread when it has let go of the last one.
    """
    here = _process.here
    if not here.held:
        return False
    if here.waiting is None:
        here.waiting = []
    here.waiting.append((call, args))
    return True


def _let_go(count: int) -> None:
    here = _process.here
    here.held -= count
    if not here.held and here.waiting is not None:
        waiting, here.waiting = here.waiting, None
        for call, args in waiting:
            try:
                call(*args)
            except BaseException:  # whose it is has gone on
                faults.note("put off")
