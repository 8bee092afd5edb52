"""What the app tells the doctor about a request of his: how it looks when it has come here.

A request with the operator's proof is answered before the app's own code sees it, whatever its
path: as a WebSocket that gets the report and is closed, if it can be one; as a stream or a poll
over HTTP that says hello, if it asks for that; else with the report as JSON and what is in the way.
A request without the proof is an ordinary request.

A report is a JSON object; see `Report`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from ..protocol import opening_handshake
from ..protocol.carrier import Transport
from ..protocol.errors import SocketUnreachable
from ..protocol.origins import is_origin_allowed
from ..runtime.counter import KeyedCounter
from ..settings import is_chosen, keys_set_late
from ..transports.handoff import find_server_socket
from ..upgrade.accept import accept_probe
from ..upgrade.admission import asks_for_websocket, requested_transport
from ..upgrade.app_state import AppState, state_of
from . import operator_proof
from .process_report import ProcessFacts, process_facts

if TYPE_CHECKING:
    from ..protocol.connection import Connection
    from ..protocol.frames import Message
    from ..transports.capacity import RefusalReason
    from ..upgrade.stream_probe import StreamProbe

MEDIA_TYPE = "application/vnd.flask-wshandler.report+json"

_ENVIRON_KEY = "HTTP_" + operator_proof.HEADER.upper().replace("-", "_")

_BUS_ANSWER_S = 1.0
"""For Redis, while the request of an operator waits."""


class Setup(TypedDict):
    """How an app is set up, as far as the doctor judges it."""

    #: "same-origin", "*", or a list of origins.
    allowed_origins: str | list[str]
    #: Whether there are cookies to act by, and in which requests of other sites' pages they come.
    has_sessions: bool
    same_site: str | None
    compression: bool
    max_message_size: int
    ping_interval: float | None
    #: Whether clients are served over HTTP where no WebSocket gets through.
    fallback: bool
    max_connections: int
    is_max_connections_chosen: bool
    history_size: int
    #: The beginning of `WSHANDLER_BUS`: local, none, redis, rediss.
    bus: str
    #: Keys of `app.config` that were set after the settings had been read.
    keys_set_late: list[str]


class Report(TypedDict):
    """A request as the app sees it."""

    #: The server's name, and the protocol that it has spoken.
    server: str
    protocol: str
    #: As the app takes them, after any ProxyFix.
    scheme: str
    host: str
    is_origin_allowed: bool
    #: The address that the server has seen, before any ProxyFix; port None where it tells none.
    peer_address: str
    peer_port: int | None
    has_proxy_fix: bool
    #: The client's, as the app takes it, after any ProxyFix; empty where it has none.
    client_address: str
    #: What proxies have added: X-Forwarded-For, -Proto.
    forwarded_for: str | None
    forwarded_proto: str | None
    #: The headers of a handshake, None where they are missing.
    upgrade: str | None
    connection: str | None
    asks_for_upgrade: bool
    #: Why the server's socket can't be taken over; empty if it can.
    socket_obstacle: str
    #: Why a valid handshake was refused, in words and as a `RefusalReason`; empty otherwise.
    refusal: str
    refusal_reason: str
    setup: Setup
    #: Why the bus does not work; empty if it does, as far as is known, or there is none.
    bus_trouble: str
    process: ProcessFacts


def answer_operators(app: Flask) -> None:
    """Have `app` answer requests that carry the operator's proof, before anything of its own."""
    app.before_request_funcs.setdefault(None, []).insert(0, _answer)


def _answer() -> Response | None:
    proof = request.environ.get(_ENVIRON_KEY)
    if proof is None:
        return None
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if not operator_proof.is_proven(app, proof):
        return None
    state = state_of(app)
    report = _report(app, state)
    if asks_for_websocket(state.settings) and not report["socket_obstacle"]:
        refusals: KeyedCounter[RefusalReason] = KeyedCounter()
        is_upgrade = requested_transport(state.settings) is None
        try:
            return accept_probe(_Reporting(report) if is_upgrade else _Hello(), refusals)
        except HTTPException as refusal:
            report["refusal"] = f"{refusal.code}: {refusal.description}"
            [reason] = refusals.counts()
            report["refusal_reason"] = reason.value
    response = jsonify(report)
    response.mimetype = MEDIA_TYPE
    response.headers["Cache-Control"] = "no-store"
    return response


class _Reporting:
    """Callbacks that send the report, and what comes back; who has it closes.

    No handler, and not in the contexts of one: nothing of the app's hears of it.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._connection: Connection | None = None

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        connection.send(json.dumps(self._report))

    def message_received(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(message)

    def session_check_came(self) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        pass


class _Hello:
    """Callbacks that say hello over HTTP, and end a poll. What more there is, a report has said.

    It is short, as that of a client is: a proxy that holds little back is to hold it.
    """

    def opened(self, connection: StreamProbe) -> None:
        connection.say("hello")
        if connection.transport is Transport.POLL:
            connection.close()

    def message_received(self, message: Message) -> None:
        pass

    def session_check_came(self) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        pass


def setup_of(app: Flask) -> Setup:
    """Look at an app."""
    state = state_of(app)
    settings = state.settings
    origins, same_site = settings.allowed_origins, app.config.get("SESSION_COOKIE_SAMESITE")
    return Setup(
        allowed_origins=origins if isinstance(origins, str) else [*origins],
        has_sessions=app.secret_key is not None or hasattr(app, "login_manager"),
        same_site=None if same_site is None else str(same_site),
        compression=settings.compression,
        max_message_size=settings.max_message_size,
        ping_interval=settings.ping_interval,
        fallback=settings.fallback,
        max_connections=settings.max_connections,
        is_max_connections_chosen=is_chosen(app.config, "max_connections"),
        history_size=settings.history_size,
        bus=settings.bus.partition(":")[0],
        keys_set_late=keys_set_late(app.config, settings),
    )


def _report(app: Flask, state: AppState) -> Report:
    environ = request.environ
    original = environ.get("werkzeug.proxy_fix.orig")
    seen = environ if original is None else original
    port = str(environ.get("REMOTE_PORT", ""))
    origin = request.headers.get("Origin")
    return Report(
        server=str(environ.get("SERVER_SOFTWARE", "")),
        protocol=str(environ.get("SERVER_PROTOCOL", "")),
        scheme=request.scheme,
        host=request.host,
        is_origin_allowed=origin is None
        or is_origin_allowed(origin, state.settings.allowed_origins, request.scheme, request.host),
        peer_address=seen.get("REMOTE_ADDR") or "",
        peer_port=int(port) if port.isdecimal() else None,
        has_proxy_fix=original is not None,
        client_address=request.remote_addr or "",
        forwarded_for=environ.get("HTTP_X_FORWARDED_FOR"),
        forwarded_proto=environ.get("HTTP_X_FORWARDED_PROTO"),
        upgrade=environ.get("HTTP_UPGRADE"),
        connection=environ.get("HTTP_CONNECTION"),
        asks_for_upgrade=opening_handshake.asks_for_upgrade(environ),
        socket_obstacle=_socket_obstacle(environ),
        refusal="",
        refusal_reason="",
        setup=setup_of(app),
        bus_trouble=_bus_trouble(state),
        process=process_facts(state.engine, state.resumables, state.collections.logged.stats()),
    )


def _bus_trouble(state: AppState) -> str:
    bus = state.collections.bus
    if state.settings.bus in ("local", "none"):
        return bus.trouble
    state.collections.be_reachable()  # else nobody has asked Redis before the first WebSocket
    if bus.wait_until_subscribed(_BUS_ANSWER_S):
        return ""
    return bus.trouble or "it does not answer"


def _socket_obstacle(environ: dict[str, Any]) -> str:
    try:
        find_server_socket(environ)
    except SocketUnreachable as error:
        return str(error)
    return ""
