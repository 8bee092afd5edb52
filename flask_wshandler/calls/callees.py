"""What a class of handlers offers, ready to be called."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping

from ..runtime import first_use
from .signatures import Signature, calls_of
from .validation import ArgumentsDecoder, ResultChecker


@dataclasses.dataclass(frozen=True, slots=True)
class Callee:
    """One call of a class."""

    signature: Signature
    arguments: ArgumentsDecoder
    result: ResultChecker


def callees_of(cls: type) -> Mapping[str, Callee]:
    """What clients can call, by name. Raises TypeError for what can't be called or not so.

    NameError for types that are not there yet.
    """
    found: Mapping[str, Callee] | None = cls.__dict__.get("_callees")
    if found is None:
        found = {
            name: Callee(signature, ArgumentsDecoder(signature), ResultChecker(signature))
            for name, signature in calls_of(cls).items()
        }
        cls._callees = found  # type: ignore[attr-defined]  # kept with the class
    return found


MOST_THREADS = 32
"""Calls of a process that run in threads of their own at the same time."""


class _OfThisProcess:
    seats = first_use.MadeOnFirstUse["threading.Semaphore"](
        lambda _: threading.Semaphore(MOST_THREADS)
    )


_process = _OfThisProcess()


def take_seat() -> threading.Semaphore | None:
    """A place for a thread, to be released. None if there is none."""
    seats = _process.seats
    return seats if seats.acquire(blocking=False) else None
