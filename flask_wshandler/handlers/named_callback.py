"""What callbacks are called in logs and metrics, with something around them or not methods at all.

An instance may have a lambda, a `functools.partial` or another object's method for one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any


class NamedCallback:
    """Calls `call`, and looks like the method `name` of `owner`."""

    __slots__ = ("__name__", "__self__", "_call")

    def __init__(self, owner: object, name: str, call: Callable[..., None]) -> None:
        self.__name__ = name
        self.__self__ = owner
        self._call = call

    def __call__(self, *args: Any) -> None:
        self._call(*args)


def around(callback: Callable[..., Any], call: Callable[..., None]) -> NamedCallback:
    """`call`, which looks like `callback`."""
    return NamedCallback(getattr(callback, "__self__", None), name_of(callback), call)


def named(callback: Callable[..., Any], owner: object, name: str) -> Callable[..., Any]:
    """`callback`, which looks like the method `name` of `owner` if it is not a method of that."""
    if type(callback) is MethodType and callback.__self__ is owner:
        return callback
    return NamedCallback(owner, name, callback)


def name_of(callback: Callable[..., Any]) -> str:
    """What `callback` is called: also where it is a method that is none of Python's functions."""
    return str(getattr(callback, "__name__", "callback"))
