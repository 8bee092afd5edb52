"""Decorators around what is routed: what they are, and how those of a function come before it.

A decorator of views knows a call and a response. Around a flask-sock function it would be called
after the upgrade, when its answer is nobody's. So the decorators that take anything, `*args` and
`**kwargs`, are taken for guards: they are copied with the accepting in the function's place, and
run in the handshake. One that names the WebSocket as its first parameter, as the function does, is
a part of the function, with all that is below it.
"""

from __future__ import annotations

import copy
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

from ..handlers.handler import WebSocketHandler

_MOST_LAYERS = 50
"""Of decorators around each other."""

_TAKES_ANYTHING = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


class _SocketToCome:
    """Given to guards in the place of the WebSocket, which is not open yet."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            f"the WebSocket has no {name!r} in the handshake: a decorator that needs it names it "
            "as its first parameter, as the function does"
        )


SOCKET: Any = _SocketToCome()


class _Bound:
    """A function with the arguments that its guards have given it, but for the WebSocket."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._args = args
        self._kwargs = kwargs

    def __call__(self, ws: object) -> Any:
        args = [ws if each is SOCKET else each for each in self._args]
        kwargs = {name: ws if each is SOCKET else each for name, each in self._kwargs.items()}
        return self._function(*args, **kwargs)


def layers_of(view: Any) -> Iterator[Any]:
    """A function or class, and what it wraps, to the innermost."""
    for _ in range(_MOST_LAYERS):
        yield view
        if not hasattr(view, "__wrapped__"):
            return
        view = view.__wrapped__


def decorator_name(layer: Any) -> str | None:
    """What has made a wrapper, by the name of the function that it was made in; None if untold."""
    code = getattr(layer, "__code__", None)
    if code is None:
        return None
    # functools.wraps has given the wrapper the view's names; its code has its own.
    qualified = getattr(code, "co_qualname", None)  # since Python 3.11
    module: str = getattr(layer, "__globals__", {}).get("__name__", "")
    return qualified.partition(".<locals>")[0] if qualified else _KNOWN.get(module, module)


_KNOWN = {"flask_login.utils": "login_required"}
"""For Python 3.10, where a wrapper's code does not say in which decorator it was made."""


def check_says_what_it_wraps(function: Callable[..., Any]) -> None:
    """Raise TypeError for a decorator's function that hides what it is around.

    It can't be told from a function of the user's otherwise, and would guard nothing.
    """
    if not _takes_anything(function):
        return
    for cell in getattr(function, "__closure__", None) or ():
        held = cell.cell_contents
        is_handler = isinstance(held, type) and issubclass(held, WebSocketHandler)
        if is_handler or isinstance(held, types.FunctionType):
            raise TypeError(
                f"a decorator that does not use functools.wraps hides {held.__qualname__}: give it "
                "to sockets.route(…, decorators=[…])"
            )


def behind_its_guards(
    routed: Callable[..., Any], accept: Callable[[Callable[..., Any]], Any]
) -> Callable[..., Any]:
    """What calls the guards of a function, and then `accept` with what is to be called later.

    It takes the function's arguments, with `SOCKET` for the WebSocket, and returns what `accept`
    or a guard returns. Raises TypeError for a guard that can't be put around another function.
    """
    layers = list(layers_of(routed))
    count = 0
    while count < len(layers) - 1 and _takes_anything(layers[count]):
        count += 1
    function = layers[count]
    _check_takes_a_socket(function)

    def gate(*args: Any, **kwargs: Any) -> Any:
        return accept(_Bound(function, args, kwargs))

    functools.update_wrapper(gate, function)
    guarded: Callable[..., Any] = gate
    for index in reversed(range(count)):
        guarded = _around(layers[index], layers[index + 1], guarded)
    return guarded


def _check_takes_a_socket(function: Any) -> None:
    """Raise TypeError for a function that can't be called with the WebSocket."""
    try:
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except ValueError:
        return  # of what is written in C
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    if not any(parameter.kind in positional for parameter in parameters):
        name = getattr(function, "__name__", "function")
        raise TypeError(
            f"{name} takes no WebSocket: write `def {name}(ws, …)`. A view that calls "
            "accept_websocket_request() belongs below app.route"
        )


def _takes_anything(layer: Any) -> bool:
    """Whether a call's arguments are nothing to it."""
    own = 0
    if not isinstance(layer, types.FunctionType):
        layer, own = inspect.getattr_static(type(layer), "__call__", None), 1  # its first is itself
    code = getattr(layer, "__code__", None)
    return (
        code is not None
        and code.co_argcount <= own
        and code.co_flags & _TAKES_ANYTHING == _TAKES_ANYTHING
    )


def _around(wrapper: Any, wrapped: Any, other: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of `wrapper` that is around `other` instead of `wrapped`."""
    if isinstance(wrapper, types.FunctionType):
        cells = [
            types.CellType(other) if cell.cell_contents is wrapped else cell
            for cell in wrapper.__closure__ or ()
        ]
        if any(a is not b for a, b in zip(cells, wrapper.__closure__ or (), strict=True)):
            made = types.FunctionType(
                wrapper.__code__,
                wrapper.__globals__,
                wrapper.__name__,
                wrapper.__defaults__,
                tuple(cells),
            )
            made.__kwdefaults__ = wrapper.__kwdefaults__
            return functools.update_wrapper(made, other)
    else:
        held = [name for name, value in vars(wrapper).items() if value is wrapped]
        if set(held) - {"__wrapped__"}:
            guard: Callable[..., Any] = copy.copy(wrapper)
            for name in held:
                setattr(guard, name, other)
            return guard
    name = decorator_name(wrapper) or type(wrapper).__qualname__
    raise TypeError(
        f"{name} below sockets.route can't be called before the upgrade: give it to "
        f"sockets.route(…, decorators=[{name}])"
    )
