"""The two calls: is the current request a WebSocket, and make it one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from flask import Flask, Request, Response, current_app, request
from flask.globals import request_ctx
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    ServiceUnavailable,
    TooManyRequests,
)

from ..handlers.callback_context import ACCEPTED_KEY, copied_variables, kept_globals
from ..handlers.callbacks import HandlerCallbacks
from ..handlers.client_address import UNKNOWN, subscriber_of
from ..handlers.context import WebSocketContext, user_id_of
from ..handlers.flask_sock import FunctionCallbacks, FunctionHandler, ObservedFunctionCallbacks
from ..handlers.handler import WebSocketHandler, leave_all
from ..handlers.observers import ObservedCallbacks, Observer, observers_of
from ..handlers.request_snapshot import RequestSnapshot
from ..protocol import opening_handshake
from ..protocol.connection import Callbacks, Connection
from ..protocol.errors import SocketUnreachable
from ..protocol.origins import ANY, SAME_ORIGIN, is_origin_allowed
from ..runtime import logs
from ..runtime.counter import Tally
from ..runtime.redaction import one_line, shown
from ..settings import Settings, Transport, keys_set_late, limits_of
from ..transports.capacity import RefusalReason, Seat
from ..transports.handoff import ServerSocket, find_server_socket
from .app_state import AppState, state_of
from .response import Upgrade, upgrade_response

_RETRY_AFTER_S = 5


class UpgradeRequired(HTTPException):
    """426: this address speaks WebSocket, version 13, and the request does not.

    `accept_websocket_request` raises it for another version. A view that has no page raises it
    itself when `is_websocket_request()` is False.
    """

    code = 426
    description = "This address speaks WebSocket, version 13."

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Name what is spoken, as RFC 6455 section 4.4 asks."""
        return [
            *super().get_headers(*args, **kwargs),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", opening_handshake.VERSION),
        ]


def is_websocket_request() -> bool:
    """Whether the current request asks to become a WebSocket, and can.

    False for plain HTTP, and on a server whose socket can't be taken over; that is logged once,
    with the reason. Raises RuntimeError, also for plain HTTP, if the app was given to no
    `WebSockets` object.
    """
    # First: without the extension Flask refuses WebSocket requests before any view is called, so
    # a plain one is the only occasion to say so.
    state = state_of(_current_app())
    if not opening_handshake.asks_for_upgrade(request.environ):
        return False
    try:
        _find_socket(state.settings)
    except SocketUnreachable as error:
        reason = one_line(str(error))
        if reason not in state.reasons_logged:
            state.reasons_logged.add(reason)
            logs.of_app(_current_app()).warning("No WebSockets here: %s", reason)
        return False
    return True


def _find_socket(settings: Settings) -> ServerSocket:
    server_socket = find_server_socket(request.environ)
    if settings.transport is Transport.EPOLL and server_socket.epoll_obstacle:
        raise SocketUnreachable(
            f"WSHANDLER_TRANSPORT is 'epoll', but {server_socket.epoll_obstacle}; 'auto' serves "
            "it in the request's own thread"
        )
    return server_socket


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
    if handler._is_accepted:
        raise RuntimeError(f"this {type(handler).__name__} serves another client already")
    app = _current_app()
    state = state_of(app)
    if not state.has_compared_config:
        _compare_config(app, state)
    observers = observers_of(app)
    for observer in observers:
        observer.handshake_came()
    agreement, server_socket = _agree(state, state.engine.refusals)
    _check_origin(state, require_same_origin)
    headers = agreement.headers
    if subprotocol is not None:
        _check_subprotocol(subprotocol)
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    seat = _take_seat(state, server_socket, state.engine.refusals)

    snapshot = RequestSnapshot(
        app, _current_request(), request_ctx.session, subprotocol, handler._early_id
    )
    snapshot.variables = copied_variables()
    connection = Connection(
        _callbacks_of(handler, snapshot, state, observers),
        limits_of(handler, state.settings),
        agreement.deflate,
        budget=state.engine.budget,
        seat=seat,
    )
    handler._is_accepted = True
    handler.context = WebSocketContext(snapshot)
    request.environ[ACCEPTED_KEY] = snapshot
    _note_user(handler, snapshot)
    about_to_leave = functools.partial(_note_changes, handler, snapshot)
    never_opens = functools.partial(_never_opens, handler)
    upgrade = Upgrade(
        request.path,
        headers,
        about_to_leave,
        never_opens,
        state.engine,
        server_socket,
        connection,
        handler.stay if isinstance(handler, FunctionHandler) else None,
    )
    return upgrade_response(app, request.environ, upgrade)


def _never_opens(handler: WebSocketHandler) -> None:
    leave_all(handler)
    if isinstance(handler, FunctionHandler):
        handler.abandon()


def _compare_config(app: Flask, state: AppState) -> None:
    """Say once what was set too late to have an effect."""
    state.has_compared_config = True
    late = keys_set_late(app.config, state.settings)
    if late:
        logs.of_app(app).warning(
            "%s: changed after WebSockets(app) had read the settings, and without effect. Set it "
            "before, or call init_app(app) when all is set.",
            ", ".join(late),
        )


def _needed_instead_of(given: object) -> str:
    if isinstance(given, type) and issubclass(given, WebSocketHandler):
        return f"an instance: {given.__name__}(…), not the class {given.__name__}"
    return f"an instance of a WebSocketHandler subclass, not {given!r}"


def _note_changes(handler: WebSocketHandler, snapshot: RequestSnapshot) -> None:
    """The response is on its way: what the view has done after the accepting counts, too."""
    if request_ctx:
        snapshot.note_changes(request_ctx.request, request_ctx.session)
        snapshot.kept_globals = kept_globals(state_of(snapshot.app).settings.keep_in_g)
        _note_user(handler, snapshot)


def _note_user(handler: WebSocketHandler, snapshot: RequestSnapshot) -> None:
    if handler.recheck_session_s is not None:
        snapshot.user_id = user_id_of(handler.context.user)


def accept_uncounted(callbacks: Callbacks, refusals: Tally[RefusalReason]) -> Response:
    """Accept the current request for who is no client of the app, but looks at it.

    No signal is sent, no observer told, nothing logged at its end, and no figure is of it. Raises
    the HTTP errors of `accept_websocket_request`, but for 403; why is counted in `refusals` only.
    """
    app = _current_app()
    state = state_of(app)
    agreement, server_socket = _agree(state, refusals)
    connection = Connection(
        callbacks,
        limits_of(callbacks, state.settings),
        agreement.deflate,
        budget=state.engine.budget,
        seat=_take_seat(state, server_socket, refusals),
        is_counted=False,
    )
    request.environ[ACCEPTED_KEY] = None
    upgrade = Upgrade(
        request.path,
        agreement.headers,
        lambda: None,
        lambda: None,
        state.engine,
        server_socket,
        connection,
    )
    return upgrade_response(app, request.environ, upgrade)


def _agree(
    state: AppState, refusals: Tally[RefusalReason]
) -> tuple[opening_handshake.Agreement, ServerSocket]:
    try:
        agreement = opening_handshake.agree(request.environ, state.settings.compression)
        return agreement, _find_socket(state.settings)
    except SocketUnreachable as error:
        refusals.add(RefusalReason.SERVER)
        raise BadRequest(one_line(str(error))) from None
    except opening_handshake.Refusal as refusal:
        is_version = refusal.status == UpgradeRequired.code
        refusals.add(RefusalReason.VERSION if is_version else RefusalReason.INVALID)
        raise (UpgradeRequired if is_version else BadRequest)(one_line(refusal.reason)) from None


def _callbacks_of(
    handler: WebSocketHandler,
    snapshot: RequestSnapshot,
    state: AppState,
    observers: Sequence[Observer],
) -> HandlerCallbacks:
    running = state.slow_callbacks.running
    is_function = isinstance(handler, FunctionHandler)
    if not observers:
        return (FunctionCallbacks if is_function else HandlerCallbacks)(handler, snapshot, running)
    arounds = [observer.accepted(handler, snapshot) for observer in observers]
    observed = ObservedFunctionCallbacks if is_function else ObservedCallbacks
    return observed(handler, snapshot, running, arounds)


def _current_app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]


def _current_request() -> Request:
    return request._get_current_object()  # type: ignore[attr-defined, no-any-return]


def _check_origin(state: AppState, require_same_origin: bool | None) -> None:
    allowed: str | tuple[str, ...] = state.settings.allowed_origins
    if require_same_origin is not None:
        allowed = SAME_ORIGIN if require_same_origin else ANY
    origin = request.headers.get("Origin")
    if origin is None or is_origin_allowed(origin, allowed, request.scheme, request.host):
        return
    state.engine.refusals.add(RefusalReason.ORIGIN)
    if state.log_throttle.admits(shown(origin)):
        logs.of_app(_current_app()).warning(
            "A WebSocket from %s was refused, because %s",
            shown(origin),
            _why_refused(origin, allowed),
        )
    raise Forbidden(f"WebSockets from the origin {shown(origin)} are not allowed.")


def _why_refused(origin: str, allowed: str | tuple[str, ...]) -> str:
    own = shown(f"{request.scheme}://{request.host}")
    entries = (allowed,) if isinstance(allowed, str) else allowed
    if SAME_ORIGIN not in entries:
        return f"WSHANDLER_ALLOWED_ORIGINS leaves it out; it has {one_line(', '.join(entries))}."
    takes = f"this app takes its own address for {own}"
    if not is_origin_allowed(origin, SAME_ORIGIN, "https", request.host):
        return f"{takes}, and WSHANDLER_ALLOWED_ORIGINS has no other of this page."
    if request.headers.get("X-Forwarded-Proto", "").lower() in ("https", "wss"):
        return f"{takes}. The proxy says that it ends TLS: the app needs werkzeug's ProxyFix."
    return (
        f"{takes}. Have the proxy that ends TLS add X-Forwarded-Proto, for werkzeug's ProxyFix. If "
        f"it can't, as stunnel can't, put {shown(origin)} into the list WSHANDLER_ALLOWED_ORIGINS."
    )


def _check_subprotocol(subprotocol: str) -> None:
    offered = opening_handshake.requested_subprotocols(request.environ)
    if subprotocol not in offered:
        raise ValueError(
            f"the client does not offer the subprotocol {one_line(repr(subprotocol), 200)}, only "
            + one_line(", ".join(map(repr, offered)) or "none", 400)
        )


def _take_seat(
    state: AppState, server_socket: ServerSocket, refusals: Tally[RefusalReason]
) -> Seat:
    if state.engine.is_stopping:
        refusals.add(RefusalReason.STOPPING)
        raise ServiceUnavailable("This server is restarting.", retry_after=_RETRY_AFTER_S)
    room = state.engine.room
    client = None if room.max_per_client is None else subscriber_of(request.remote_addr)
    if room.has_too_many(client):
        refusals.add(RefusalReason.ADDRESS)
        if state.log_throttle.admits(client):
            logs.of_app(_current_app()).warning(
                "A WebSocket from %s was refused: there are %d of %s already",
                shown(request.remote_addr),
                room.max_per_client,
                "clients without an IP address" if client == UNKNOWN else client,
            )
        raise TooManyRequests(
            f"There are {room.max_per_client} connections from your address already.",
            retry_after=_RETRY_AFTER_S,
        )
    seat = room.take(client)
    if seat is None:
        refusals.add(RefusalReason.FULL)
        if state.log_throttle.admits(RefusalReason.FULL):
            logs.of_app(_current_app()).warning(
                "A WebSocket was refused: there are %d already, of %d (WSHANDLER_MAX_CONNECTIONS, "
                "or fewer if the limit of open files, `ulimit -n`, is lower)",
                room.taken,
                room.max_seats,
            )
        raise ServiceUnavailable(
            f"There are {room.taken} connections already.", retry_after=_RETRY_AFTER_S
        )
    try:
        state.engine.prepare(server_socket)
    except (OSError, RuntimeError) as error:
        seat.leave()
        refusals.add(RefusalReason.FULL)
        logs.of_app(_current_app()).warning("A WebSocket was refused: %s", error)
        raise ServiceUnavailable(
            "There is no room for a WebSocket at this moment.", retry_after=_RETRY_AFTER_S
        ) from None
    return seat
