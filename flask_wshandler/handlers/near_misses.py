"""What a class has that looks like its base class's and is not: a name as `OnMessage` or
`on_mesage`, a callback with other parameters or one that is no plain function.

It would never be called, or fail at every call, and nothing else would say so when it is written.
"""

from __future__ import annotations

import difflib
import inspect
import types
import warnings
from collections.abc import Iterable
from typing import Any

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


def check_callbacks(cls: type, names: Iterable[str]) -> None:
    """Look at those of `names` that the body of `cls` defines.

    Raises TypeError for what would not run when it is called: `async def`, and a function with
    `yield`. Warns of parameters that are not those of the base class's method. To be called by
    `__init_subclass__`; the warning names the class statement's line.
    """
    for name in names:
        callback = getattr(cls, name)
        if inspect.iscoroutinefunction(callback) or inspect.isasyncgenfunction(callback):
            raise TypeError(
                f"{cls.__name__}.{name} is async; callbacks are plain functions, which may block: "
                f"write `{_line_of(cls, name)}:`"
            )
        if inspect.isgeneratorfunction(callback):
            raise TypeError(
                f"{cls.__name__}.{name} has a yield, so a call of it would do nothing; callbacks "
                "send by self.send(…)"
            )
        own = vars(cls).get(name)
        if isinstance(own, types.FunctionType) and not _takes_as_much(own, _original(cls, name)):
            warnings.warn(
                f"{cls.__qualname__}.{name}{inspect.signature(own)} can't be called; write "
                f"`{_line_of(cls, name)}:`{_INSTEAD.get(name, '')}",
                stacklevel=3,
            )


_INSTEAD = {
    "on_open": ", where self is the client",
    "on_error": ", where self.error is the exception",
    "on_close": ", where self.close_code and self.close_reason say how",
}
"""Where a callback finds what other frameworks give it."""


def _original(cls: type, name: str) -> Any:
    """The method that the first of the base classes defines."""
    return next(vars(base)[name] for base in reversed(cls.__mro__) if name in vars(base))


def _line_of(cls: type, name: str) -> str:
    parameters = inspect.signature(_original(cls, name)).parameters
    return f"def {name}({', '.join(parameters)})"


def _takes_as_much(function: types.FunctionType, original: Any) -> bool:
    """Whether `function` can be called with as many arguments as `original`."""
    count = len(inspect.signature(original).parameters)
    try:
        inspect.signature(function, follow_wrapped=False).bind(*(None for _ in range(count)))
    except TypeError:
        return False
    return True


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
