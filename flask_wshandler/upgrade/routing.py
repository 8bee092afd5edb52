"""Routing: ordinary views get WebSocket requests, and what `sockets.route` is given becomes a view.

Guards have to answer before the upgrade. Those in `decorators` are around the view; one above
`route` would be called by nobody, so its route is refused. One below `route` is around the handler
class, of which it lets an instance be made, or around the function: then a copy of it is made that
is around the accepting in the function's place (`guards`).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask, Request, Response, current_app, request
from flask.typing import ResponseReturnValue
from flask.views import View
from werkzeug.exceptions import NotFound
from werkzeug.routing import BuildError, MapAdapter, WebsocketMismatch

from ..handlers.flask_sock import FunctionHandler
from ..handlers.handler import WebSocketHandler
from ..protocol import opening_handshake
from ..protocol.carrier import requested_over_http
from .accept import accept_websocket_request
from .admission import UpgradeRequired
from .guards import SOCKET, behind_its_guards, check_says_what_it_wraps, decorator_name, layers_of
from .request_thread import request_thread_of

ViewFunction = Callable[..., ResponseReturnValue]

_MOST_BUILT = 64

_PLAIN = frozenset({str, int})


class _UpgradeAdapter(MapAdapter):
    """Matches a WebSocket request to ordinary rules, too, after those with `websocket=True`.

    Remembers some of the URLs that it has built: it serves a connection's callbacks, and to build
    one takes half as long as all else that a message needs.
    """

    _built: dict[Any, str] | None = None

    def match(self, *args: Any, **kwargs: Any) -> Any:
        match: Callable[..., Any] = super().match  # has overloads, which can't be passed through
        try:
            return match(*args, **kwargs)
        except WebsocketMismatch:
            if not self.websocket:
                raise UpgradeRequired from None
        except NotFound:
            if not self.websocket:
                raise
            # An ordinary rule may have a redirect to its own slash for it.
        return match(*args, **{**kwargs, "websocket": False})

    def build(
        self, endpoint: str, values: Mapping[str, Any] | None = None, *args: Any, **options: Any
    ) -> str:
        build: Callable[..., str] = super().build
        if args or values is None or not _PLAIN.issuperset(map(type, values.values())):
            return build(endpoint, values, *args, **options)
        if self._built is None:
            # What an app's own converter makes of a value may depend on more than the value.
            known = self.map.default_converters.values()
            if not set(self.map.converters.values()).issubset(known):
                return build(endpoint, values, **options)
            self._built = {}
        key = (endpoint, *values.items(), *options.items())
        url = self._built.get(key)
        if url is None:
            if len(self._built) >= _MOST_BUILT:
                self._built.clear()
            url = self._built[key] = build(endpoint, values, **options)
        return url


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
            if requested_over_http(request.environ) is not None:
                adapter.websocket = True
        return adapter

    app.create_url_adapter = create_url_adapter  # type: ignore[method-assign]  # Flask has no hook


def url_of_route(
    blueprint: str, error: BuildError, endpoint: str, values: dict[str, Any]
) -> str | None:
    """The URL of a route that `blueprint` has, asked for by its own name; None if it has none.

    For Flask's `url_build_error_handlers`. A route that was made before there was an app is in a
    blueprint, of which the user knows nothing: its name is the class's all the same.
    """
    del error
    full_name = f"{blueprint}.{endpoint}"
    if full_name not in current_app.view_functions:
        return None
    return current_app.url_for(full_name, **values)


def view_of(routed: Callable[..., Any], decorators: Iterable[Callable[..., Any]]) -> ViewFunction:
    """The view that serves a handler class or a flask-sock function, behind `decorators`.

    These are applied as Flask's `View.decorators` are: the first is the innermost. Raises
    TypeError for what is neither, or is wrapped so that it can't be told what it is.
    """
    view = _bare_view_of(routed)
    view.wshandler_routed = routed  # type: ignore[attr-defined]  # for who lists routes
    for decorate in decorators:
        if not callable(decorate):
            raise TypeError(f"decorators are functions, not {decorate!r}")
        view = decorate(view)
    view.wshandler_routed = routed  # type: ignore[attr-defined]  # whatever the decorators keep
    return view


def is_function_view(view: Callable[..., Any]) -> bool:
    """Whether a view has been made of a flask-sock function."""
    routed = getattr(view, "wshandler_routed", None)
    return routed is not None and not isinstance([*layers_of(routed)][-1], type)


def _bare_view_of(routed: Callable[..., Any]) -> ViewFunction:
    *wrappers, innermost = layers_of(routed)
    for layer in (*wrappers, innermost):
        if inspect.iscoroutinefunction(layer):
            raise TypeError(
                f"{_name_of(layer)} is async; handlers and functions are plain ones, which may "
                f"block: write `def {getattr(layer, '__name__', 'function')}`"
            )
    if isinstance(innermost, type):
        if not issubclass(innermost, WebSocketHandler):
            raise TypeError(_why_no_handler(innermost))
        return functools.update_wrapper(_handler_view(routed), routed, updated=())
    if isinstance(innermost, WebSocketHandler) or not callable(innermost):
        raise TypeError(
            "sockets.route takes a WebSocketHandler class, of which it makes one object for each "
            f"client, or a function, not {innermost!r}"
        )
    check_says_what_it_wraps(innermost)
    return functools.update_wrapper(_function_view(routed), routed)


def _why_no_handler(cls: type) -> str:
    name = cls.__name__
    if issubclass(cls, View):
        view_func = f'{name}.as_view("{name.lower()}")'
        return f"{name} is a view, no WebSocketHandler: app.add_url_rule(…, view_func={view_func})"
    return f"{name} is no WebSocketHandler: write `class {name}(WebSocketHandler):`"


def _handler_view(routed: Callable[..., Any]) -> ViewFunction:
    check = _check_of(routed)

    def handler_view(**view_args: Any) -> ResponseReturnValue:
        check()
        made: WebSocketHandler | ResponseReturnValue = routed(**view_args)
        if isinstance(made, WebSocketHandler):
            return accept_websocket_request(made)
        return made  # a guard's answer

    return handler_view


def _function_view(routed: Callable[..., Any]) -> ViewFunction:
    check = _check_of(routed)
    guarded = behind_its_guards(routed, _accept_function)

    def function_view(**view_args: Any) -> ResponseReturnValue:
        check()
        answer: ResponseReturnValue = guarded(SOCKET, **view_args)
        return answer

    return function_view


def _accept_function(function: Callable[..., Any]) -> Response:
    options = current_app.config.get("SOCK_SERVER_OPTIONS", {})
    handler = FunctionHandler(function, options, request_thread_of(request.environ))
    return accept_websocket_request(
        handler, subprotocol=_first_supported(options.get("subprotocols"))
    )


def _first_supported(supported: str | list[str] | None) -> str | None:
    """Of the subprotocols that the client offers, the first that is supported."""
    names = [supported] if isinstance(supported, str) else supported or []
    offered = opening_handshake.requested_subprotocols(request.environ)
    return next((name for name in offered if name in names), None)


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
