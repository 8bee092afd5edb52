"""What a process makes when it needs it first, and a forked child anew."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")

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
    """A lock for what a module has of its own. Reentrant: see `locks`."""

    _lock = MadeOnFirstUse(lambda _: threading.RLock())

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()


def forget_all() -> None:
    """In a forked child: have nothing of what the parent has made."""
    for instance in list(_made):
        forget(instance)


def forget(instance: object) -> None:
    """Have nothing of what was made for one object."""
    for name in _made.get(instance, ()):
        vars(instance).pop(name, None)
