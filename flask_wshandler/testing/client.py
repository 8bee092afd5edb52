"""Flask's test client, with WebSockets.

The handshake is a request of the test client like any other, but that its environ has a socket,
as a server's has: the server's end of a socket pair.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import html
import re
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from flask import Flask, request, request_started
from flask.testing import EnvironBuilder, FlaskClient
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.typing import Subprotocol
from websockets.uri import parse_uri
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wsgi import get_host

from ..client.post_queue import Body
from ..client.session import ClientSession
from ..collections import current
from ..extension import app_initialized
from ..handlers.callbacks import FAILURES_KEY
from ..runtime.redaction import one_line
from ..transports.handoff import SOCKET_KEY
from ..upgrade.app_state import find_state
from .app_under_test import Worker, worker_on
from .errors import HandshakeRefused
from .failures import Failures
from .http_protocol import HttpProtocol
from .patience import DEFAULT_TIMEOUT_S, Patience
from .resumable_wire import ResumableWire
from .websocket import Arrival, ClientWebSocket
from .wire import AnyProtocol, Wire

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from .served import Served

_SWITCHING_PROTOCOLS = 101
_OK = 200
_ACCEPTED = (_SWITCHING_PROTOCOLS, _OK)
_ANSWERS_TO_POSTS = (204, 404, 413)
"""Taken; too late, since the handler has closed; and too large, which is a close with 1009."""
SAME_ORIGIN = "same-origin"
_SCHEMES = {"ws": "http", "wss": "https"}
_MOST_SEARCHED_BYTES = 10_000
_MOST_SAID_CHARS = 300
_NOT_OF_A_REQUEST = ("buffered", "follow_redirects")
"""Options of the call that makes a request."""


def websocket_connect(
    client: FlaskClient,
    path: str,
    *,
    subprotocols: list[str] | tuple[str, ...] = (),
    origin: str | None = SAME_ORIGIN,
    compression: bool = True,
    headers: Any = None,
    resumable: bool = False,
    transport: str = "websocket",
    propagate_exceptions: bool | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    **options: Any,
) -> ClientWebSocket:
    """Connect to a WebSocket of the app that `client` is a test client of.

    The handshake is a request of `client`: with its cookies, its session and its login, and kept
    are the cookies that the answer sets. `headers` and all other `options` are those of
    `client.get`: `base_url`, `subdomain`, `url_scheme`, `query_string`, `auth`,
    `environ_overrides`, `environ_base`. No redirect is followed, as browsers follow none. Where
    other apps are mounted in the client's, the WebSocket is that of the app that accepts it.

    By default the client is a page of the app's own: its Origin header is that of the request.
    Another `origin` stands for another site's page, None for what is no browser. `compression`
    offers permessage-deflate, which an app without WSHANDLER_COMPRESSION does not take. A
    `resumable` client is one that can lose the network, by `cut`, and `come_back`.

    With `transport="stream"` it is a client that no WebSocket gets through to: the handshake's
    answer is a response that goes on, and what is sent is posted by `client`. It is resumable
    anyway. Where a POST is refused, `send` raises `HandshakeRefused`.

    Returns when `on_open` has run. `propagate_exceptions` says whether what the client's
    callbacks raise is raised in the test; by default as Flask does for views: if
    PROPAGATE_EXCEPTIONS is set, else if the app is in testing or debug mode. `timeout` is for
    `on_open`, and for the end of a `with` block, in seconds of real time.

    Raises `HandshakeRefused` with the response if that is not a handshake's, what the view raises
    where Flask propagates it, `TimedOut`, TypeError for a client that is none of a Flask app,
    RuntimeError for an app without `WebSockets`, and ValueError for `follow_redirects=True`.
    """
    app = client.application
    if not isinstance(app, Flask):
        raise TypeError(f"a test client of a Flask app is needed, not of {app!r}")
    if options.get("follow_redirects"):
        raise ValueError("follow_redirects=True: no redirect of a handshake is followed")
    Patience(timeout)  # what is no number is to be heard of before there is a client
    for name in ("base_url", "url_scheme"):
        if options.get(name):
            options[name] = _as_http(options[name])
    failures = Failures(are_raised=bool(propagate_exceptions))
    options["headers"] = headers
    if transport not in ("websocket", "stream"):
        raise ValueError(f'transport is "websocket" or "stream", not {transport!r}')
    is_stream = transport == "stream"
    way = _Way(
        client,
        _as_http(path),
        options,
        origin,
        compression,
        propagate_exceptions,
        failures,
        is_stream,
    )
    session = ClientSession(subprotocols) if resumable or is_stream else None
    arrival = way.go(list(subprotocols) if session is None else session.offer())
    wire = _wire(arrival, session)
    websocket = ClientWebSocket(wire, arrival, way, failures)
    _open(websocket, Patience(timeout))
    return websocket


def _wire(arrival: Arrival, session: ClientSession | None) -> Wire:
    """What a client reads and writes; one that can come back if it has a `session`."""
    if session is None:
        return Wire(arrival.sock, arrival.protocol)
    return ResumableWire(arrival.sock, arrival.protocol, session)


def worker_of(app: Flask) -> Worker:
    """What an app under test runs on; it is made at the first call, and at the first connection.

    From then on its time stands, and its bus is one in memory, whatever `WSHANDLER_BUS` says.
    Raises RuntimeError for an app without `WebSockets`.
    """
    return worker_on(app, websocket_connect)


class WebSocketClientMixin:
    """For a test client class of one's own: `class MyClient(WebSocketClientMixin, FlaskClient)`."""

    websocket_connect = websocket_connect


class WebSocketClient(WebSocketClientMixin, FlaskClient):
    """Flask's test client, with `websocket_connect`."""


def enable(app: Flask) -> None:
    """Have `app.test_client()` return clients that have `websocket_connect`.

    Of the app's own `test_client_class`, if it has one. Changes nothing else, and nothing when
    called again. Raises TypeError if it is no class, but a function that makes clients.
    """
    base = app.test_client_class or FlaskClient
    if not isinstance(base, type):
        raise TypeError(f"a test_client_class that is a class is needed, not {base!r}")
    app.test_client_class = _client_class(base)  # type: ignore[arg-type]  # a class is hashable


def enable_all() -> None:
    """Call `enable` for all apps with `WebSockets`, those that there are and those to come."""
    app_initialized.connect(_enable_if_class)
    for app in list(current.known_apps):
        _enable_if_class(app)


def _enable_if_class(app: Flask, **_: object) -> None:
    """Nobody has asked to have this app's clients changed, so what can't be is no error."""
    if isinstance(app.test_client_class, type | None):
        enable(app)


@functools.cache
def _client_class(base: type[FlaskClient]) -> type[FlaskClient]:
    if hasattr(base, "websocket_connect"):
        return base
    if base is FlaskClient:
        return WebSocketClient
    return type(base.__name__, (WebSocketClientMixin, base), {"__module__": base.__module__})


@dataclasses.dataclass(frozen=True, slots=True)
class _Way:
    """How a client comes to its WebSocket, the first time and again."""

    client: FlaskClient
    path: str
    #: Of each request: those of `client.get`.
    options: dict[str, Any]
    origin: str | None
    compression: bool
    #: None is for each app's own rule.
    propagates: bool | None
    failures: Failures
    is_stream: bool

    def go(self, subprotocols: list[str], client: FlaskClient | None = None) -> Arrival:
        """Make the handshake, by `client` if that is given. Raises what a refused one does."""
        client = client or self.client
        asked: list[tuple[str, str]]
        if self.is_stream:
            protocol: AnyProtocol = HttpProtocol(functools.partial(self._post, client))
            asked = [
                ("Accept", "text/event-stream"),
                ("X-WSHandler", "stream"),
                ("X-WSHandler-Offer", ", ".join(subprotocols)),
            ]
        else:
            protocol = _protocol(subprotocols, self.compression)
            asked = [*protocol.connect().headers.raw_items()]
        options = {**self.options, "headers": self._headers(asked, client)}
        handshake = functools.partial(_Handshake, client.application, self)
        return _handshake(client, self.path, options, protocol, handshake)

    def _post(self, client: FlaskClient, path: str, session: str, body: Body) -> int:
        """Post what a client says that has no WebSocket."""
        asked = [("X-WSHandler-Session", session), ("Content-Type", "application/json")]
        if body.first is not None:
            asked.append(("X-WSHandler-First", str(body.first)))
        of_request = ("base_url", "url_scheme", "environ_base", "environ_overrides", "auth")
        options = {name: self.options[name] for name in of_request if name in self.options}
        headers = self._headers(asked, client)
        response = client.post(path, headers=headers, data=body.data, **options)
        if response.status_code not in _ANSWERS_TO_POSTS:
            reason = f"what was sent was answered with {response.status}"
            raise HandshakeRefused(response, reason + _said_by(response))
        response.close()
        return response.status_code

    def _headers(self, asked: Iterable[tuple[str, str]], client: FlaskClient) -> Headers:
        wanted = Headers(self.options["headers"])
        for name, value in asked:
            if name != "Host":  # the test client's matter, as is the rest of the address
                wanted.set(name, value)
        if self.origin == SAME_ORIGIN:
            options = {**self.options, "headers": wanted}
            wanted.setdefault("Origin", _own_origin(client, self.path, options))
        elif self.origin is not None:
            wanted.set("Origin", self.origin)
        return wanted


class _Handshake:
    """A request with a socket, on its way to the app that accepts it.

    That may be one that is mounted in the client's: whichever app the request comes to expects
    the socket from then on.
    """

    def __init__(self, app: Flask, way: _Way, sock: socket.socket) -> None:
        """`sock` is the server's end."""
        self._app = app
        self._propagates = way.propagates
        self._socket = sock
        self._failures = way.failures
        #: What is in the request's environ.
        self.environ = {SOCKET_KEY: sock, FAILURES_KEY: way.failures}
        self._expected: dict[Worker, Served] = {}
        self._end = contextlib.ExitStack()

    def __enter__(self) -> _Handshake:
        self._end.enter_context(request_started.connected_to(self._request_started))
        self._come_to(self._app)
        return self

    def __exit__(self, *error: object) -> None:
        self._end.close()

    def accepted_by(self) -> tuple[Worker, Served] | None:
        """The app's process that has taken the socket, and its account of it.

        Raises RuntimeError if the request has come to no app with `WebSockets`.
        """
        if not self._expected:
            worker_of(self._app)
        found = (each for each in self._expected.items() if each[1].is_accepted)
        return next(found, None)

    def _request_started(self, app: Flask, **_: object) -> None:
        # Other threads make requests, too.
        if request.environ.get(SOCKET_KEY) is self._socket:
            self._come_to(app)

    def _come_to(self, app: Flask) -> None:
        if find_state(app) is None:
            return
        if self._propagates is None:
            self._failures.are_raised = _propagates(app)
        worker = worker_of(app)
        if worker not in self._expected:
            expecting = worker.expecting(self._socket, self._failures)
            self._expected[worker] = self._end.enter_context(expecting)


def _handshake(
    client: FlaskClient,
    path: str,
    options: dict[str, Any],
    protocol: AnyProtocol,
    expecting: Callable[[socket.socket], _Handshake],
) -> Arrival:
    """Make the request; what is at the client's end then, if it was accepted."""
    ours, servers = socket.socketpair()
    try:
        with servers, expecting(servers) as handshake:
            overrides = {**(options.get("environ_overrides") or {}), **handshake.environ}
            options["environ_overrides"] = overrides
            response = client.open(path, method="GET", **options)
            accepted = handshake.accepted_by()
            if response.status_code not in _ACCEPTED or accepted is None:
                raise _refusal(response, servers)
            response.close()
            worker, served = accepted
            return Arrival(ours, protocol, response, served, worker)
    except BaseException:
        ours.close()
        raise


def _refusal(response: TestResponse, servers: socket.socket) -> HandshakeRefused:
    """What is wrong with the response to a request that has had a socket."""
    reason = f"the handshake was answered with {response.status}"
    if response.request.environ.get(SOCKET_KEY) is not servers:
        reason += ": the test client's open() has replaced environ_overrides, which had the socket"
    elif response.status_code == _SWITCHING_PROTOCOLS:
        reason += ", but no app has accepted it"
    else:
        reason += _said_by(response)
    return HandshakeRefused(response, reason)


def _said_by(response: TestResponse) -> str:
    """What the page of an HTTP error says of its own, as Werkzeug writes it; empty if nothing."""
    if not 0 < (response.content_length or 0) <= _MOST_SEARCHED_BYTES:
        return ""  # or a stream, which may not end
    found = re.search(r"</h1>\s*<p>(.*?)</p>", response.get_data(as_text=True), re.DOTALL)
    said = "" if found is None else html.unescape(found[1])
    usual = default_exceptions.get(response.status_code, HTTPException).description
    return "" if said in ("", usual) else f": {one_line(said, _MOST_SAID_CHARS)}"


def _open(websocket: ClientWebSocket, patience: Patience) -> None:
    try:
        websocket.open(patience)
    except BaseException:
        websocket.drop()
        raise


def _protocol(subprotocols: list[str] | tuple[str, ...], compression: bool) -> ClientProtocol:
    """A protocol whose request is on its way."""
    protocol = ClientProtocol(
        parse_uri("ws://localhost/"),
        extensions=[ClientPerMessageDeflateFactory()] if compression else None,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        max_size=None,
    )
    protocol.send_request(protocol.connect())
    protocol.data_to_send()  # the test client sends it
    return protocol


def _as_http(url: str) -> str:
    """`url` with Flask's names of the schemes."""
    if url in _SCHEMES:
        return _SCHEMES[url]
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme=_SCHEMES.get(parts.scheme, parts.scheme)))


def _own_origin(client: FlaskClient, path: str, options: dict[str, Any]) -> str:
    """The origin of the app's pages, as the request that these make has it."""
    base = {**client.environ_base, **(options.get("environ_base") or {})}
    of_request = {name: options[name] for name in options if name not in _NOT_OF_A_REQUEST}
    builder = EnvironBuilder(client.application, path, **{**of_request, "environ_base": base})
    try:
        environ = builder.get_environ()
    finally:
        builder.close()
    return f"{environ['wsgi.url_scheme']}://{get_host(environ)}"


def _propagates(app: Flask) -> bool:
    """Flask's own rule for exceptions of views."""
    propagates: bool | None = app.config["PROPAGATE_EXCEPTIONS"]
    return app.testing or app.debug if propagates is None else propagates
