"""What an app has made of its request: the attributes that differ from those of a new one.

Whatever the app sets is kept, whether or not the class knows the name. What Werkzeug and Flask have
computed from the environ is not: it would be kept for every idle connection, and can be computed
again. The two are told apart by computing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import EnvironHeaders
from werkzeug.utils import cached_property

from .flask_internals import COMPUTED_FROM_BODY

if TYPE_CHECKING:
    from flask import Request

OF_BODY = COMPUTED_FROM_BODY | {
    "data", "files", "form", "input_stream", "json", "stream", "values",
}  # fmt: skip
"""What Werkzeug computes from a request's body, which is not kept."""

_NOT_KEPT = COMPUTED_FROM_BODY | {
    # Kept otherwise.
    "environ", "url_rule", "view_args",
    # Of the request that ends with the handshake.
    "input_stream", "routing_exception", "stream",
}  # fmt: skip

_MISSING: Any = object()


def changed_attributes(request: Request, new: Request) -> dict[str, Any] | None:
    """What `request` has and `new`, made from the same environ, has not; None if nothing."""
    changed = {
        name: value
        for name, value in _attributes(request)
        if name not in _NOT_KEPT and not _is_unchanged(request, new, name, value)
    }
    return changed or None


def set_attributes(request: Request, attributes: dict[str, Any]) -> None:
    """Give `request` what `changed_attributes` has found in another."""
    slots = set(_slots(type(request)))
    for name, value in attributes.items():
        if name in slots:
            object.__setattr__(request, name, value)
        else:  # not by the property of this name, if there is one
            vars(request)[name] = value


def _attributes(request: Request) -> Iterator[tuple[str, Any]]:
    yield from list(vars(request).items())
    for name in _slots(type(request)):
        value = getattr(request, name, _MISSING)
        if value is not _MISSING:
            yield name, value


def _slots(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        names = vars(base).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name.startswith("__"):
                if not name.endswith("__"):
                    yield f"_{base.__name__.lstrip('_')}{name}"
            else:
                yield name


def _is_unchanged(request: Request, new: Request, name: str, value: Any) -> bool:
    if name == "headers" and type(value) is EnvironHeaders:
        return value.environ is request.environ
    made = vars(new).get(name, _MISSING)
    if made is _MISSING:
        if is_computed_by_framework(type(request), name):
            try:
                made = getattr(new, name)
            except Exception:
                return False  # so it can't have been computed
        elif name in vars(request):
            return False
        else:
            made = getattr(new, name, _MISSING)
    return is_same(made, value)


def is_same(one: Any, other: Any) -> bool:
    """Whether both are of one type and equal; those that can't be compared are not."""
    if one is other:
        return True
    cls = type(one)
    if cls is not type(other):
        return False
    if getattr(cls, "__eq__") is object.__eq__:  # noqa: B009 - mypy takes them for two types
        return hasattr(one, "__dict__") and vars(one) == vars(other)
    try:
        return bool(one == other)
    except Exception:  # of the app's own class
        return False


def is_computed_by_framework(cls: type[Request], name: str) -> bool:
    """Whether `name` is a property of Flask's or Werkzeug's own that keeps what it has computed."""
    for base in cls.__mro__:
        if name in vars(base):
            is_own = base.__module__.partition(".")[0] in ("flask", "werkzeug")
            return is_own and isinstance(vars(base)[name], cached_property)
    return False
