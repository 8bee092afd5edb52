"""Routing: ordinary views get WebSocket requests, and what `sockets.route` is given becomes a view.

A guard that is put around a view has to answer before the upgrade. One that stands below `route`
is around the handler class or the function, one in `decorators` around the view; one above `route`
would be called by nobody, so its route is refused.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Request, current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound
from werkzeug.routing import MapAdapter, WebsocketMismatch

from . import handshake
from .accept import UpgradeRequired, accept_websocket_request
from .function import FunctionHandler
from .handler import WebSocketHandler

View = Callable[..., ResponseReturnValue]

_MOST_LAYERS = 50
"""Of decorators around each other."""


class _UpgradeAdapter(MapAdapter):
    """Matches a WebSocket request to ordinary rules, too, after those with `websocket=True`."""

    def match(self, *args: Any, **kwargs: Any) -> Any:
        match: Callable[..., Any] = super().match  # has overloads, which can't be passed through
        try:
            return match(*args, **kwargs)
        except (WebsocketMismatch, NotFound) as error:
            if not self.websocket:
                if isinstance(error, WebsocketMismatch):
                    raise UpgradeRequired from None
                raise
            # Not found, too: an ordinary rule may have a redirect to its own slash for it.
            return match(*args, **{**kwargs, "websocket": False})


def admit_upgrades(app: Flask) -> None:
    """Have `app` match WebSocket requests to ordinary views, and answer 426 to other requests of
    what speaks WebSocket only.
    """
    create = app.create_url_adapter

    def create_url_adapter(request: Request | None) -> MapAdapter | None:
        adapter = create(request)
        if adapter is not None and request is not None:
            # Not a new one, which would read the URL again: it is this app's own, and has no
            # other state.
            adapter.__class__ = _UpgradeAdapter
        return adapter

    app.create_url_adapter = create_url_adapter  # type: ignore[method-assign]  # Flask has no hook


def view_of(routed: Callable[..., Any], decorators: Iterable[Callable[..., Any]]) -> View:
    """The view that serves a handler class or a flask-sock function, behind `decorators`.

    These are applied as Flask's `View.decorators` are: the first is the innermost. Raises
    TypeError for what is neither, or is wrapped so that nobody can tell what it is.
    """
    view = _bare_view_of(routed)
    view.wshandler_routed = routed  # type: ignore[attr-defined]  # for who lists routes
    for decorate in decorators:
        if not callable(decorate):
            raise TypeError(f"decorators are functions, not {decorate!r}")
        view = decorate(view)
    return view


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


def _bare_view_of(routed: Callable[..., Any]) -> View:
    *wrappers, innermost = layers_of(routed)
    for layer in (*wrappers, innermost):
        if inspect.iscoroutinefunction(layer):
            raise TypeError(f"{_name_of(layer)} is async; handlers and functions are plain ones")
    if isinstance(innermost, type):
        if not issubclass(innermost, WebSocketHandler):
            raise TypeError(f"{innermost.__name__} is no WebSocketHandler and no function")
        return functools.update_wrapper(_handler_view(routed), routed, updated=())
    hidden = _hidden_handler(innermost)
    if hidden is not None:
        raise TypeError(
            f"a decorator that does not use functools.wraps hides {hidden.__name__}: give it to "
            "sockets.route(…, decorators=[…])"
        )
    return functools.update_wrapper(_function_view(routed), routed)


def _handler_view(routed: Callable[..., Any]) -> View:
    check = _check_of(routed)

    def handler_view(**view_args: Any) -> ResponseReturnValue:
        check()
        made: WebSocketHandler | ResponseReturnValue = routed(**view_args)
        if isinstance(made, WebSocketHandler):
            return accept_websocket_request(made)
        return made  # a guard's answer

    return handler_view


def _function_view(routed: Callable[..., Any]) -> View:
    check = _check_of(routed)

    def function_view(**view_args: Any) -> ResponseReturnValue:
        check()
        options = current_app.config.get("SOCK_SERVER_OPTIONS", {})
        handler = FunctionHandler(routed, view_args, options, g._get_current_object())
        return accept_websocket_request(
            handler, subprotocol=_first_supported(options.get("subprotocols"))
        )

    return function_view


def _first_supported(supported: str | list[str] | None) -> str | None:
    """Of the subprotocols that the client offers, the first that is supported."""
    names = [supported] if isinstance(supported, str) else supported or []
    offered = handshake.requested_subprotocols(request.environ)
    return next((name for name in offered if name in names), None)


def _hidden_handler(function: Callable[..., Any]) -> type | None:
    """The handler class that is behind a wrapper that does not say what it wraps."""
    code = getattr(function, "__code__", None)
    takes_anything = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    if code is None or code.co_argcount or code.co_flags & takes_anything != takes_anything:
        return None
    for cell in function.__closure__ or ():
        held = cell.cell_contents
        if isinstance(held, type) and issubclass(held, WebSocketHandler):
            return held
    return None


def _check_of(routed: Callable[..., Any]) -> Callable[[], None]:
    """What raises RuntimeError when a decorator stands above `route`.

    That can be seen once the module is whole, so it is looked for at the first request.
    """
    find = functools.cache(functools.partial(_wrapper_above, routed))

    def check() -> None:
        above = find()
        if above is not None:
            name = decorator_name(above) or "a decorator"
            raise RuntimeError(
                f"{name} stands above sockets.route on {_name_of(routed)}, where it guards "
                f"nothing: put it below, or give decorators=[{name}] to sockets.route"
            )

    return check


def _wrapper_above(routed: Callable[..., Any]) -> Any:
    """What has been put around `routed` since, and has its name in its module; None if nothing."""
    found: Any = sys.modules.get(routed.__module__)
    for name in getattr(routed, "__qualname__", "").split("."):
        found = getattr(found, "__dict__", {}).get(name)
    if found is routed or not any(layer is routed for layer in layers_of(found)):
        return None
    return found


def _name_of(routed: Any) -> str:
    return str(getattr(routed, "__qualname__", routed))
