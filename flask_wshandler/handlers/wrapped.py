"""A callback with something around it, which the logs still know by its own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Wrapped:
    """Calls `call`, and looks like the bound method `callback`."""

    __slots__ = ("__name__", "__self__", "_call")

    def __init__(self, callback: Callable[..., Any], call: Callable[..., None]) -> None:
        self.__name__ = getattr(callback, "__name__", "callback")
        self.__self__ = getattr(callback, "__self__", None)
        self._call = call

    def __call__(self, *args: Any) -> None:
        self._call(*args)
