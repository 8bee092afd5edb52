"""What has gone wrong inside of this package, or in a log handler that it called: counted.

Each of these was survived: where it came, the work goes on. A fault of a callback is not among
them; it is counted with its app (`Stats.failures`).
"""

from __future__ import annotations

from collections.abc import Mapping

from . import first_use
from .counter import KeyedCounter


class _OfThisProcess:
    counter = first_use.MadeOnFirstUse["KeyedCounter[str]"](lambda _: KeyedCounter())


_here = _OfThisProcess()


def note(where: str) -> None:
    """Count one. `where` is a thread of this package, or what it was doing: one of few names."""
    _here.counter.add(where)


def counts() -> Mapping[str, int]:
    """How many there have been in this process since its start, by where."""
    return _here.counter.counts()


def reset_after_fork() -> None:
    """In a forked child: nothing has gone wrong yet."""
    first_use.forget(_here)
