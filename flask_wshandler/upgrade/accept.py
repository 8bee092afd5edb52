"""Making the current request a WebSocket."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

from flask import Flask, Response, current_app, request

from ..handlers.callback_context import ACCEPTED_KEY
from ..handlers.handler import WebSocketHandler, is_accepted
from ..protocol.carrier import Transport, requested_over_http
from ..protocol.connection import Connection
from ..settings import limits_of
from .accepted_handler import AcceptedHandler
from .admission import Admission, admit, admit_probe
from .app_state import AppState, state_of
from .response import upgrade_response
from .resumption import Resumption, offer_of
from .stream_probe import StreamProbe
from .takeover import Accepted, Upgrade

if TYPE_CHECKING:
    from ..protocol.connection import Callbacks
    from .admission import Refusals


def is_websocket_request_upgrading() -> bool:
    """Whether the current request has been accepted as a WebSocket."""
    return ACCEPTED_KEY in request.environ


def accept_websocket_request(
    handler: WebSocketHandler,
    *,
    subprotocol: str | None = None,
    require_same_origin: bool | None = None,
) -> Response:
    """Accept the current request as a WebSocket of `handler`; return the response from the view.

    The callbacks start when that response has left, after all of Flask's `after_request` work.

    `subprotocol` is one of those that the client offers. `require_same_origin` overrides
    `WSHANDLER_ALLOWED_ORIGINS` for this call: True admits only pages of this very host, False
    any; clients without an Origin header are no browsers and pass.

    Raises TypeError if `handler` is no `WebSocketHandler`, RuntimeError if this request or this
    handler has been accepted already, ValueError for a subprotocol that was not offered, and as
    ordinary HTTP errors for Flask's error handlers: 400 for what is no valid WebSocket request,
    426 for an unknown version, 403 for a foreign origin, 503 with Retry-After when there are
    `WSHANDLER_MAX_CONNECTIONS`, 429 when `WSHANDLER_MAX_CONNECTIONS_PER_IP` are from this address.
    """
    if not isinstance(handler, WebSocketHandler):
        raise TypeError(f"accept_websocket_request() needs {_needed_instead_of(handler)}")
    if is_websocket_request_upgrading():
        raise RuntimeError("this request has been accepted already")
    if is_accepted(handler):
        name = type(handler).__name__
        raise RuntimeError(
            f"this {name} serves another client already: make one for each, by {name}(…) in the "
            "view"
        )
    app = _current_app()
    state = state_of(app)
    state.compare_config(app)
    limits = limits_of(handler, state.settings)
    offer = offer_of(request.environ)
    if not limits.resume_s and requested_over_http(request.environ) is None:
        offer = None
    admission = admit(app, state, subprotocol, require_same_origin, offer)
    accepted = AcceptedHandler(handler, app, subprotocol, state.settings.keep_in_g)
    callbacks = accepted.callbacks(state.slow_callbacks.running)
    accepted.take_request()
    connection: Connection
    resumption = None
    if offer is None:
        connection = Connection(
            callbacks,
            limits,
            admission.carrier.deflate,
            budget=state.engine.budget,
            slot=admission.slot,
        )
    else:
        resumption = Resumption(state, offer, accepted.client, admission.carrier)
        connection = resumption.first_leg(callbacks, limits, admission.slot)
    return _response(app, state, accepted, admission, connection, resumption)


def _needed_instead_of(given: object) -> str:
    if isinstance(given, type) and issubclass(given, WebSocketHandler):
        return f"an instance: {given.__name__}(…), not the class {given.__name__}"
    needed = f"an instance of a WebSocketHandler subclass, not {given!r}"
    if isinstance(given, types.FunctionType):
        return f"{needed}; a function that talks to one client belongs below sockets.route(…)"
    return needed


def accept_probe(callbacks: Callbacks, refusals: Refusals) -> Response:
    """Accept the current request of a client that is none of the app's, but looks at it.

    `callbacks` are given a `Connection`, or a `StreamProbe` where the request asks for a stream or
    a poll. No signal is sent, no instrumentation told, nothing logged at its end, and no figure
    has it. Raises the HTTP errors of `accept_websocket_request`, but for 403; why is counted in
    `refusals` only.
    """
    app = _current_app()
    state = state_of(app)
    admission = admit_probe(state, refusals)
    carrier, budget, slot = admission.carrier, state.engine.budget, admission.slot
    limits = limits_of(callbacks, state.settings)
    connection: Connection
    if carrier.transport is Transport.WEBSOCKET:
        connection = Connection(
            callbacks, limits, carrier.deflate, budget=budget, slot=slot, is_probe=True
        )
    else:
        connection = StreamProbe(callbacks, limits, carrier, budget, slot)
    request.environ[ACCEPTED_KEY] = None
    return _response(app, state, _NoHandler(), admission, connection)


class _NoHandler:
    """In the place of a handler where there is none."""

    def about_to_leave(self) -> None: ...

    def stay(self, upgrade: Upgrade) -> None: ...

    def never_opens(self) -> None: ...


def _response(
    app: Flask,
    state: AppState,
    accepted: Accepted,
    admission: Admission,
    connection: Connection,
    resumption: Resumption | None = None,
) -> Response:
    upgrade = Upgrade(
        accepted,
        request.path,
        admission.answer,
        state.engine,
        admission.server_socket,
        connection,
        resumption,
    )
    return upgrade_response(app, request.environ, upgrade)


def _current_app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
