"""What an app, or a class of handlers, wants around each callback of its clients.

A middleware is called with the handler, with what calls the callback, and with the message if there
is one: `def audited(handler, call, message=None): return call(message)`. It runs in the client's
contexts, as the callback does. Measuring and tracing stand in the same chain, outside of all: see
`instrumentation`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .named_callback import name_of

if TYPE_CHECKING:
    from flask import Flask

    from ..protocol.frames import Message

Middleware = Callable[..., object]

_KEY = "wshandler.middlewares"


class Call:
    """What a middleware calls, or does not: the callback, or the next middleware."""

    __slots__ = ("__name__", "_callback", "_message")

    def __init__(self, callback: Callable[..., object], message: Message | None) -> None:
        #: The callback's: "on_message", or the name of what the client has called.
        self.__name__ = name_of(callback)
        self._callback = callback
        self._message = message

    def __call__(self, message: Message | None = None) -> object:
        """Call it, with another message if one is given. Raises what it raises."""
        if message is None:
            message = self._message
        return self._callback() if message is None else self._callback(message)

    def __repr__(self) -> str:
        return f"<Call of {self.__name__}>"


def checked_middleware(middleware: object) -> Middleware:
    """`middleware`, if it can be one. Raises TypeError."""
    name = getattr(middleware, "__qualname__", repr(middleware))
    if not callable(middleware) or isinstance(middleware, type):
        raise TypeError(f"a middleware is a function, not {middleware!r}")
    called = middleware if inspect.isroutine(middleware) else type(middleware).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError(f"the middleware {name} is async; it is a plain function, which may block")
    if inspect.isgeneratorfunction(called):
        raise TypeError(
            f"the middleware {name} has a yield, so a call of it would do nothing; it calls what "
            "it is given"
        )
    try:
        inspect.signature(middleware).bind(None, None, None)
    except TypeError:
        signature = inspect.signature(middleware)
        raise TypeError(
            f"the middleware {name}{signature} can't be called; write "
            f"`def {getattr(middleware, '__name__', 'middleware')}(handler, call, message=None):`"
        ) from None
    except ValueError:  # of C, whose parameters nobody knows
        pass
    return middleware


def checked_middlewares(cls: type, middlewares: object) -> None:
    """Raise TypeError unless that can be a class's `middleware`."""
    if not isinstance(middlewares, list | tuple):
        raise TypeError(f"{cls.__qualname__}.middleware is a list of functions")
    for each in middlewares:
        checked_middleware(each)


def add_middleware(app: Flask, middleware: Middleware) -> None:
    """Have it around the callbacks of all connections of `app` that are accepted from now on."""
    app.extensions.setdefault(_KEY, []).append(middleware)


def middlewares_of(app: Flask, cls: type) -> Sequence[Middleware]:
    """Those of an app and of a class of handlers, the outermost first."""
    of_classes = [vars(base).get("middleware", ()) for base in reversed(cls.__mro__)]
    return [*app.extensions.get(_KEY, ()), *(each for some in of_classes for each in some)]


def around_callback(
    middleware: Middleware, handler: object, callback: Callable[..., object], *args: Any
) -> None:
    """Call `callback` with its arguments through a middleware."""
    message = args[0] if args else None
    middleware(handler, Call(callback, message), message)


def wrapped(
    function: Callable[[], object], handler: object, middlewares: Sequence[Middleware]
) -> Callable[[], object]:
    """`function`, which is given nothing, through middlewares, of which the first is outermost."""
    for middleware in reversed(middlewares):
        inner, name = function, name_of(function)
        function = functools.partial(around_callback, middleware, handler, inner)
        function.__name__ = name  # type: ignore[attr-defined]  # a partial has a dict
    return function
