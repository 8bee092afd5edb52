"""Objects that know whether somebody has changed them, at no cost for those who only look.

What Werkzeug computes goes past them, straight into the request's `__dict__`; so they tell what the
app has set from what was computed.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from flask import Request

from .request_attributes import is_computed_by_framework

if TYPE_CHECKING:
    from werkzeug.utils import cached_property

Key = TypeVar("Key")
Value = TypeVar("Value")


class Changes:
    """Whether there were any, in one or more objects that belong together."""

    __slots__ = ("any",)

    def __init__(self) -> None:
        self.any = False


class TrackedDict(dict[Key, Value], Generic[Key, Value]):
    """A dict that has noticed each change; its values may have changed by themselves."""

    __slots__ = ("changes",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.changes = Changes()

    def __setitem__(self, key: Key, value: Value) -> None:
        self.changes.any = True
        super().__setitem__(key, value)

    def __delitem__(self, key: Key) -> None:
        self.changes.any = True
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]  # dict has overloads
        self.changes.any = True
        return super().__ior__(other)

    def clear(self) -> None:
        self.changes.any = True
        super().clear()

    def pop(self, *args: Any) -> Any:
        self.changes.any = True
        return super().pop(*args)

    def popitem(self) -> tuple[Key, Value]:
        self.changes.any = True
        return super().popitem()

    def setdefault(self, *args: Any) -> Any:
        self.changes.any = True
        return super().setdefault(*args)

    def update(self, *args: Any, **values: Any) -> None:
        self.changes.any = True
        super().update(*args, **values)


class Tracked(Protocol):
    """What `tracked` adds to a class of requests."""

    changes: Changes


class _Tracked:
    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        new = super().__new__
        request = new(cls) if new is object.__new__ else new(cls, *args, **kwargs)
        object.__setattr__(request, "changes", Changes())
        return request

    def __setattr__(self: Tracked, name: str, value: object) -> None:
        self.changes.any = True
        object.__setattr__(self, name, value)

    def __delattr__(self: Tracked, name: str) -> None:
        self.changes.any = True
        object.__delattr__(self, name)


class _Computed:
    """Like a `cached_property`, but nothing is called to look at what it has computed.

    Python prefers what stands in an object's `__dict__` to a descriptor without `__set__`.
    """

    def __init__(self, computed: cached_property[Any]) -> None:
        self._computed = computed

    def __get__(self, request: object, cls: type) -> Any:
        return self if request is None else self._computed.__get__(request, cls)


def tracked(cls: type[Request]) -> type[Request]:
    """A class like `cls`, whose instances have `changes`. Without a `__setattr__` of its own."""
    return _tracked(cls)  # type: ignore[arg-type]  # a class is hashable


@functools.lru_cache(64)
def _tracked(cls: type[Request]) -> type[Request]:
    names = {"__slots__": ("changes",), "__module__": cls.__module__}
    computed = {
        name: _Computed(getattr(cls, name))
        for name in dir(cls)
        if is_computed_by_framework(cls, name)
    }
    return type(cls.__name__, (_Tracked, cls), names | computed)
