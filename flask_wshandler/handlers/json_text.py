"""Objects as the JSON of a text message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def written_by(dumps: Callable[[Any], str], obj: Any) -> str:
    """`obj` as `dumps` writes it. Raises TypeError; for bytes, with what sends them as they are."""
    try:
        return dumps(obj)
    except TypeError:
        if not isinstance(obj, bytes | bytearray | memoryview):
            raise
        kind = type(obj).__name__
        raise TypeError(
            f"{kind} can't be JSON: send() and broadcast() send them as they are"
        ) from None
