"""Which URLs of an app speak WebSocket, by whose hands, and what guards them.

What `sockets.route` was given is known. Whether an ordinary view accepts WebSockets only its code
can say, so that is looked through for the accepting call; a view that has it done by some other
function is not found.
"""

from __future__ import annotations

import dataclasses
import dis
import types
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask
from flask.views import View
from werkzeug.routing import Rule

from ..handlers.handler import WebSocketHandler
from ..protocol.errors import SettingError
from ..protocol.limits import ClientSettings, Rate
from ..settings import Settings, limits_of
from ..upgrade.app_state import state_of
from ..upgrade.guards import decorator_name, layers_of
from ..upgrade.http_handler import HttpHandler

_ACCEPTING = "accept_websocket_request"


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """A URL that speaks WebSocket, or may."""

    url: str
    endpoint: str
    #: Classes or functions by name; empty where a view makes its handler out of sight.
    handler: str
    #: Whether the handler is certain, rather than seen in a view's code.
    is_certain: bool
    #: "same-origin", "*" or origins; None where the view decides by what can't be seen.
    allowed_origins: str | list[str] | None
    #: The bounds of a client; None where there is no telling, or no bound.
    max_message_size: int | None
    message_rate: tuple[float, int] | None
    recheck_session_s: float | None
    #: Decorators around the view, then functions that run before it, by name.
    decorators: list[str]
    before_request: list[str]


def routes_of(app: Flask) -> list[Route]:
    """All of them, in the order of their URLs."""
    found = [_route(app, rule.rule, rule.endpoint, view) for rule, view in _views_of(app)]
    return sorted(found, key=lambda route: (route.url, route.endpoint))


def handlers_by_rule(app: Flask) -> list[tuple[Rule, list[Any]]]:
    """The classes and functions that speak WebSocket, in the order of their URLs."""
    found = [(rule, view.handlers) for rule, view in _views_of(app)]
    return sorted(found, key=lambda each: (each[0].rule, each[0].endpoint))


def _views_of(app: Flask) -> Iterator[tuple[Rule, _View]]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if view is not None:
            looked_at = _look_at(view, is_websocket=bool(rule.websocket))
            if looked_at is not None:
                yield rule, looked_at


@dataclasses.dataclass(frozen=True, slots=True)
class _View:
    """What a view's code shows."""

    handlers: list[Any]
    is_certain: bool
    #: What its calls pass for `require_same_origin`; None is anything but True or False.
    require_same_origin: list[bool | None]
    decorators: list[str]


def _look_at(view: Callable[..., Any], *, is_websocket: bool) -> _View | None:
    layers = list(layers_of(view))
    # functools.wraps copies the mark to what is outside: the innermost is the view that has it.
    marked = [index for index, each in enumerate(layers) if hasattr(each, "wshandler_routed")]
    if marked:
        outer = layers[: marked[-1]]
        inner = list(layers_of(layers[marked[-1]].wshandler_routed))
        return _View([inner[-1]], True, [], _decorators([*outer, *inner[:-1]]))
    if is_websocket:  # flask-sock's own
        return _View([layers[-1]], True, [], _decorators(layers[:-1]))
    codes = list(_codes_of(layers[-1]))
    if not any(_ACCEPTING in code.co_names for _, code in codes):
        return None
    return _View(
        handlers=_handlers_named(codes),
        is_certain=False,
        require_same_origin=[
            value for _, code in codes for value in _passed(code, "require_same_origin")
        ],
        decorators=_decorators(layers[:-1]),
    )


def _codes_of(view: Any) -> Iterator[tuple[dict[str, Any], types.CodeType]]:
    """The code of a view, of a view class's methods, and of what is defined in them."""
    view_class = getattr(view, "view_class", None)
    functions = [view]
    if isinstance(view_class, type):
        functions = [
            method
            for each in view_class.__mro__
            if each not in (View, HttpHandler)
            for method in vars(each).values()
        ]
    for function in functions:
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if isinstance(function, types.FunctionType):
            for code in _nested(function.__code__):
                yield function.__globals__, code


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _handlers_named(codes: list[tuple[dict[str, Any], types.CodeType]]) -> list[type]:
    found: dict[type, None] = {}
    for names, code in codes:
        for name in code.co_names:
            value = names.get(name)
            if isinstance(value, type) and issubclass(value, WebSocketHandler):
                found[value] = None
    found.pop(WebSocketHandler, None)
    return list(found)


def _passed(code: types.CodeType, name: str) -> Iterator[bool | None]:
    """What is passed as `name=`, for each call that has it: True, False, or None for all else.

    The names of a call's arguments are a constant of the code, before which their values are
    loaded. In between there is nothing if they are constants, too.
    """
    loaded: list[object] = []
    for instruction in dis.get_instructions(code):
        is_constant = instruction.opname in ("LOAD_CONST", "KW_NAMES")
        constant = code.co_consts[instruction.arg or 0] if is_constant else None
        if isinstance(constant, tuple) and name in constant:
            behind = len(constant) - constant.index(name)
            value = loaded[-behind] if behind <= len(loaded) else None
            yield value if isinstance(value, bool) else None
        # What is no constant keeps its place, in case it takes no more than one instruction.
        loaded.append(constant)


def _decorators(layers: list[Any]) -> list[str]:
    """What has wrapped a view, by the name of the function that the wrapper was made in."""
    return [name for name in map(decorator_name, layers) if name is not None]


def _route(app: Flask, url: str, endpoint: str, view: _View) -> Route:
    state = state_of(app)
    client = _client_settings(view.handlers, state.settings)
    return Route(
        url=url,
        endpoint=endpoint,
        handler=", ".join(getattr(each, "__qualname__", repr(each)) for each in view.handlers),
        is_certain=view.is_certain,
        allowed_origins=_allowed_origins(view, state.settings),
        max_message_size=None if client is None else client.max_message_size,
        message_rate=None if client is None else _pair(client.message_rate),
        recheck_session_s=None if client is None else client.recheck_session_s,
        decorators=view.decorators,
        before_request=_before(app, endpoint),
    )


def _allowed_origins(view: _View, settings: Settings) -> str | list[str] | None:
    match set(view.require_same_origin):
        case passed if not passed:
            origins = settings.allowed_origins
            return origins if isinstance(origins, str) else [*origins]
        case passed if passed == {True}:
            return "same-origin"
        case passed if passed == {False}:
            return "*"
    return None


def _client_settings(handlers: list[Any], settings: Settings) -> ClientSettings | None:
    """Of the one handler that a view has; None if there are several, with bounds of their own."""
    if len(handlers) > 1:
        return None
    handler = handlers[0] if handlers and isinstance(handlers[0], type) else WebSocketHandler
    try:
        return limits_of(handler, settings)
    except SettingError:
        return None  # each handshake will say so


def _pair(rate: Rate | None) -> tuple[float, int] | None:
    return None if rate is None else (rate.per_second, rate.burst)


def _before(app: Flask, endpoint: str) -> list[str]:
    """The app's own functions that a request passes before its view."""
    blueprint = app.blueprints.get(endpoint.rpartition(".")[0])
    scopes = [None, *([blueprint.name] if blueprint is not None else [])]
    return [
        str(getattr(function, "__qualname__", function))
        for scope in scopes
        for function in app.before_request_funcs.get(scope, [])
        if not getattr(function, "__module__", "").startswith("flask_wshandler.")
    ]
