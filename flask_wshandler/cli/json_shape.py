"""Whether what came from elsewhere is what it should be: JSON, held against a TypedDict."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

_MOST = 2**63
"""A figure that is larger, or no number at all, is none of ours."""


def has_shape(value: object, shape: Any) -> bool:
    """Whether `value` is of the type `shape`: a TypedDict, a list, a union, str, bool or None.

    An int or float is a figure here: not below 0, not endless, and no bool. An object may have
    more than its TypedDict: another version may have told it.
    """
    if is_typeddict(shape):
        fields = _fields(shape)
        return (
            isinstance(value, dict)
            and fields.keys() <= value.keys()
            and all(has_shape(value[name], wanted) for name, wanted in fields.items())
        )
    if get_origin(shape) in (Union, types.UnionType):
        return any(has_shape(value, each) for each in get_args(shape))
    if get_origin(shape) is list:
        [wanted] = get_args(shape)
        return isinstance(value, list) and all(has_shape(each, wanted) for each in value)
    if shape in (int, float):
        return type(value) in (int, shape) and 0 <= value <= _MOST  # type: ignore[operator]
    return type(value) is shape


@cache
def _fields(shape: Any) -> dict[str, Any]:
    return get_type_hints(shape)
