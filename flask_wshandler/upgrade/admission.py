"""Whether the current request may become a WebSocket, and why not: checks and refusals.

What is refused is counted, logged where an operator has to do something, and raised as an ordinary
HTTP error, for Flask's error handlers.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, current_app, request
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    ServiceUnavailable,
    TooManyRequests,
)

from ..handlers.client_address import UNKNOWN, subscriber_of
from ..handlers.instrumentation import instrumentations_of
from ..protocol import opening_handshake
from ..protocol.carrier import Carrier, Transport, requested_over_http
from ..protocol.errors import SocketUnreachable
from ..protocol.origins import ANY, SAME_ORIGIN, is_origin_allowed
from ..resume.endpoint import SUBPROTOCOL, Offer
from ..runtime import logs
from ..runtime.counter import KeyedCounter
from ..runtime.redaction import one_line, shown
from ..settings import Settings, TransportChoice
from ..transports.capacity import RefusalReason, Slot
from ..transports.handoff import ServerSocket, find_server_socket
from .answer import EventStream, SwitchingProtocols, is_chunked
from .app_state import AppState, state_of

if TYPE_CHECKING:
    from .answer import Answer

_RETRY_AFTER_S = 5
_OWN_PAGES = ("same-origin", "none")
"""What a browser says of a page of the very origin, and of what no page has asked for."""

Refusals = KeyedCounter[RefusalReason]
"""Counts what is refused, by why."""


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


@dataclasses.dataclass(frozen=True, slots=True)
class Admission:
    """What a request was granted that may become a WebSocket."""

    answer: Answer
    carrier: Carrier
    server_socket: ServerSocket
    #: Its place among the connections of the process; None for a client that has one already.
    slot: Slot | None


def is_websocket_request() -> bool:
    """Whether the current request asks to become a WebSocket, and can.

    False for plain HTTP, and on a server whose socket can't be taken over; that is logged once,
    with the reason. Raises RuntimeError, also for plain HTTP, if the app was given to no
    `WebSockets` object.
    """
    # First: without the extension Flask refuses WebSocket requests before any view is called, so
    # a plain one is the only occasion to say so.
    state = state_of(current_app)
    if not asks_for_websocket(state.settings):
        return False
    try:
        _find_socket(state.settings)
    except SocketUnreachable as error:
        reason = one_line(str(error))
        if reason not in state.reasons_logged:
            state.reasons_logged.add(reason)
            _logger().warning("No WebSockets here: %s", reason)
        return False
    return True


def asks_for_websocket(settings: Settings) -> bool:
    """Whether the current request asks to become a WebSocket, or what stands for one over HTTP."""
    if opening_handshake.asks_for_upgrade(request.environ):
        return True
    return requested_transport(settings) is not None


def requested_transport(settings: Settings) -> Transport | None:
    """What the current request asks for in the place of a WebSocket, if that may be."""
    return requested_over_http(request.environ) if settings.fallback else None


def _find_socket(settings: Settings) -> ServerSocket:
    server_socket = find_server_socket(request.environ)
    if settings.transport is TransportChoice.EPOLL and server_socket.epoll_obstacle:
        raise SocketUnreachable(
            f"WSHANDLER_TRANSPORT is 'epoll', but {server_socket.epoll_obstacle}; 'auto' serves "
            "it in the request's own thread"
        )
    return server_socket


def admit(
    app: Flask,
    state: AppState,
    subprotocol: str | None,
    require_same_origin: bool | None,
    offer: Offer | None = None,
) -> Admission:
    """Let the current request become a WebSocket of `app`; `offer` is that of `wshandler.1`.

    Raises ValueError for a subprotocol that was not offered, and the HTTP errors of
    `accept_websocket_request`.
    """
    for instrumentation in instrumentations_of(app):
        instrumentation.request_came()
    refusals = state.engine.refusals
    transport = requested_transport(state.settings)
    answer: Answer
    if transport is None:
        agreement, server_socket = _agree(state, refusals)
        carrier = agreement.carrier
    else:
        server_socket = _agree_over_http(state, offer, refusals)
        carrier = Carrier(transport, is_chunked=is_chunked(request.environ))
    _check_origin(state, require_same_origin)
    if subprotocol is not None:
        _check_subprotocol(subprotocol)
    if transport is None:
        headers = agreement.headers
        spoken = subprotocol if offer is None else SUBPROTOCOL
        if spoken is not None:
            headers.append(("Sec-WebSocket-Protocol", spoken))
        answer = SwitchingProtocols(headers)
    else:
        answer = _event_stream(carrier)
    if offer is None or not state.resumables.expects(offer.returns):
        _check_running(state, refusals)
    has_slot = offer is not None and state.resumables.has(offer.returns)
    slot = None if has_slot else _take_slot(state, refusals)
    _prepare(state, server_socket, slot, refusals)
    return Admission(answer, carrier, server_socket, slot)


def admit_probe(state: AppState, refusals: Refusals) -> Admission:
    """Let the current request become the WebSocket of a client that only looks at the app.

    Or what stands for one over HTTP. From any origin, and untold to instrumentations. Raises the
    HTTP errors of `admit`.
    """
    transport = requested_transport(state.settings)
    answer: Answer
    if transport is None:
        agreement, server_socket = _agree(state, refusals)
        carrier = agreement.carrier
        answer = SwitchingProtocols(agreement.headers)
    else:
        server_socket = _reach_socket(state, refusals)
        carrier = Carrier(transport, is_chunked=is_chunked(request.environ))
        answer = _event_stream(carrier)
    _check_running(state, refusals)
    slot = _take_slot(state, refusals)
    _prepare(state, server_socket, slot, refusals)
    return Admission(answer, carrier, server_socket, slot)


def _agree(state: AppState, refusals: Refusals) -> tuple[opening_handshake.Agreement, ServerSocket]:
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


def _agree_over_http(state: AppState, offer: Offer | None, refusals: Refusals) -> ServerSocket:
    try:
        if offer is None:
            raise BadRequest(f"Over HTTP a client has to offer {SUBPROTOCOL}.")
        if is_of_foreign_page(request):
            raise Forbidden("Over HTTP this address serves pages of its own origin only.")
    except HTTPException as error:
        is_foreign = isinstance(error, Forbidden)
        refusals.add(RefusalReason.ORIGIN if is_foreign else RefusalReason.INVALID)
        raise
    return _reach_socket(state, refusals)


def _reach_socket(state: AppState, refusals: Refusals) -> ServerSocket:
    try:
        return _find_socket(state.settings)
    except SocketUnreachable as error:
        refusals.add(RefusalReason.SERVER)
        raise BadRequest(one_line(str(error))) from None


def _event_stream(carrier: Carrier) -> EventStream:
    script_name = request.environ.get("SCRIPT_NAME", "")
    return EventStream(carrier.transport, script_name, is_chunked=carrier.is_chunked)


def is_of_foreign_page(request: Request) -> bool:
    """Whether a browser says that a page of another origin has made the request."""
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in _OWN_PAGES


def _check_origin(state: AppState, require_same_origin: bool | None) -> None:
    allowed: str | tuple[str, ...] = state.settings.allowed_origins
    if require_same_origin is not None:
        allowed = SAME_ORIGIN if require_same_origin else ANY
    origin = request.headers.get("Origin")
    if origin is None or is_origin_allowed(origin, allowed, request.scheme, request.host):
        return
    state.engine.refusals.add(RefusalReason.ORIGIN)
    if state.log_throttle.admits(shown(origin)):
        _logger().warning(
            "A WebSocket from %s was refused, because %s",
            shown(origin),
            _why_refused(origin, allowed),
        )
    raise Forbidden(f"WebSockets from the origin {shown(origin)} are not allowed.")


def _why_refused(origin: str, allowed: str | tuple[str, ...]) -> str:
    own = shown(f"{request.scheme}://{request.host}")
    entries = (allowed,) if isinstance(allowed, str) else allowed
    if SAME_ORIGIN not in entries:
        return (
            f"WSHANDLER_ALLOWED_ORIGINS has only {one_line(', '.join(entries))}. If these pages "
            f"are to connect, put {shown(origin)} into it."
        )
    takes = f"this app takes its own address for {own}"
    if not is_origin_allowed(origin, SAME_ORIGIN, "https", request.host):
        return (
            f"{takes}. If {shown(origin)} is this app itself, its proxy has to pass Host on; if it "
            "is another site whose pages are to connect, put it into the list "
            "WSHANDLER_ALLOWED_ORIGINS."
        )
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


def _check_running(state: AppState, refusals: Refusals) -> None:
    if state.engine.is_stopping:
        refusals.add(RefusalReason.STOPPING)
        raise ServiceUnavailable("This server is restarting.", retry_after=_RETRY_AFTER_S)


def _take_slot(state: AppState, refusals: Refusals) -> Slot:
    capacity = state.engine.capacity
    client = None if capacity.max_per_client is None else subscriber_of(request.remote_addr)
    if capacity.has_too_many(client):
        refusals.add(RefusalReason.ADDRESS)
        if state.log_throttle.admits(client):
            _logger().warning(
                "A WebSocket from %s was refused: there are %d of %s already",
                shown(request.remote_addr),
                capacity.max_per_client,
                "clients without an IP address" if client == UNKNOWN else client,
            )
        raise TooManyRequests(
            f"There are {capacity.max_per_client} connections from your address already.",
            retry_after=_RETRY_AFTER_S,
        )
    slot = capacity.take(client)
    if slot is None:
        refusals.add(RefusalReason.FULL)
        if state.log_throttle.admits(RefusalReason.FULL):
            _logger().warning(
                "A WebSocket was refused: there are %d already, of %d (WSHANDLER_MAX_CONNECTIONS, "
                "or fewer if the limit of open files, `ulimit -n`, is lower)",
                capacity.taken,
                capacity.max_slots,
            )
        raise ServiceUnavailable(
            f"There are {capacity.taken} connections already.", retry_after=_RETRY_AFTER_S
        )
    return slot


def _prepare(
    state: AppState, server_socket: ServerSocket, slot: Slot | None, refusals: Refusals
) -> None:
    """Have what serves the socket, before the handshake is answered."""
    try:
        state.engine.prepare(server_socket)
    except (OSError, RuntimeError) as error:
        if slot is not None:
            slot.release()
        refusals.add(RefusalReason.FULL)
        _logger().warning("A WebSocket was refused: %s", error)
        raise ServiceUnavailable(
            "There is no room for a WebSocket at this moment.", retry_after=_RETRY_AFTER_S
        ) from None


def _logger() -> logs.Logger:
    """The current app's."""
    return logs.of_app(current_app._get_current_object())  # type: ignore[attr-defined]
