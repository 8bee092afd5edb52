"""Objects that know whether somebody has changed them, at no cost for those who only look.

What Werkzeug computes goes past them, straight into the request's `__dict__`; so they tell what the
app has set from what was computed.
"""

from __future__ import annotations

import functools
from typing import Any, Generic, Protocol, TypeVar

from flask import Request

Key = TypeVar("Key")
Value = TypeVar("Value")


class TrackedDict(dict[Key, Value], Generic[Key, Value]):
    """A dict that has noticed each change; its values may have changed by themselves."""

    __slots__ = ("is_changed",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.is_changed = False

    def __setitem__(self, key: Key, value: Value) -> None:
        self.is_changed = True
        super().__setitem__(key, value)

    def __delitem__(self, key: Key) -> None:
        self.is_changed = True
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]  # dict has overloads
        self.is_changed = True
        return super().__ior__(other)

    def clear(self) -> None:
        self.is_changed = True
        super().clear()

    def pop(self, *args: Any) -> Any:
        self.is_changed = True
        return super().pop(*args)

    def popitem(self) -> tuple[Key, Value]:
        self.is_changed = True
        return super().popitem()

    def setdefault(self, *args: Any) -> Any:
        self.is_changed = True
        return super().setdefault(*args)

    def update(self, *args: Any, **values: Any) -> None:
        self.is_changed = True
        super().update(*args, **values)


class Tracked(Protocol):
    """What `tracked` adds to a class of requests."""

    is_changed_by_app: bool


class _Tracked:
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        _set(self, True)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _set(self, True)
        super().__delattr__(name)


def _set(request: object, is_changed: bool) -> None:
    object.__setattr__(request, "is_changed_by_app", is_changed)


def set_unchanged(request: Request) -> None:
    """Have it count as one that nobody has changed."""
    _set(request, False)


def tracked(cls: type[Request]) -> type[Request]:
    """A class like `cls`, whose instances have `is_changed_by_app`."""
    return _tracked(cls)  # type: ignore[arg-type]  # a class is hashable


@functools.lru_cache(64)
def _tracked(cls: type[Request]) -> type[Request]:
    names = {"__slots__": ("is_changed_by_app",), "__module__": cls.__module__}
    return type(cls.__name__, (_Tracked, cls), names)
