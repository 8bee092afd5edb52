"""Names in a class that look like those of its base class and are not: `OnMessage`, `on_mesage`.

They would never be called, and nothing else would say so.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable

_SIMILARITY = 0.87
"""Of two names, by difflib. "onmesage" and "onmessages" are as near to "onmessage", and "onmove" is
not to "onopen"."""

_ELSEWHERE = {
    "onconnect": "on_open",
    "onconnected": "on_open",
    "ondata": "on_message",
    "ondisconnect": "on_close",
    "ondisconnected": "on_close",
    "onreceive": "on_message",
    "maxincomingmessagesize": "max_message_size",
}
"""What other frameworks call it."""


def warn_of_near_misses(cls: type, known: Iterable[str]) -> None:
    """Warn of each name in the body of `cls` that stands for one of `known`, as it seems.

    To be called by `__init_subclass__`; the warning names the class statement's line.
    """
    folded = {_folded(name): name for name in known}
    for name in vars(cls):
        meant = _meant(name, folded)
        if meant is not None:
            warnings.warn(
                f"{cls.__qualname__}.{name} is never used; is {meant} meant?", stacklevel=3
            )


def _meant(name: str, folded: dict[str, str]) -> str | None:
    """Which name is meant by `name`; None if none, or if it is right."""
    if name.startswith("_") or name in folded.values():
        return None
    key = _folded(name)
    elsewhere = _ELSEWHERE.get(key)
    if elsewhere in folded.values():
        return elsewhere
    close = difflib.get_close_matches(key, folded, 1, _SIMILARITY)
    return folded[close[0]] if close else None


def _folded(name: str) -> str:
    return name.replace("_", "").lower()
