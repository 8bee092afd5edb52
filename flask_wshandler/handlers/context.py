"""What a handler can know of its handshake, by the names of ASP.NET's `WebSocketContext`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from flask import Flask, Request, current_app, g
from werkzeug.datastructures import Headers, ImmutableMultiDict, MultiDict

from ..protocol import opening_handshake
from ..runtime import lifecycle
from .callback_context import ContextApart, is_current
from .client_address import is_loopback
from .flask_internals import entered

if TYPE_CHECKING:
    from .request_snapshot import RequestSnapshot


ITEMS_KEY = "flask_wshandler.items"
"""Under which the WSGI environ has what a view has put into `HttpContext.items`."""


@runtime_checkable
class _HasConnections(Protocol):
    @property
    def connection_count(self) -> int: ...


class WebSocketContext:
    """A frozen view of the handshake. Any thread, any time, also after the connection's end.

    Values are made when they are asked for, from a snapshot of the request; keep what is needed
    often.
    """

    __slots__ = ("_items", "_snapshot")

    def __init__(self, snapshot: RequestSnapshot) -> None:
        object.__setattr__(self, "_snapshot", snapshot)
        object.__setattr__(self, "_items", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a WebSocketContext can't be changed: {name}")

    _snapshot: RequestSnapshot
    _items: dict[Any, Any] | None

    # The URL.

    @property
    def path(self) -> str:
        """The URL's path, without the query string."""
        return self._request.path

    @property
    def request_uri(self) -> str:
        """The whole URL, as `request.url`."""
        return self._request.url

    @property
    def query_string(self) -> MultiDict[str, str]:
        """The query's parameters, as `request.args`."""
        return self._request.args

    # The headers.

    @property
    def headers(self) -> Headers:
        """The request's headers; names in any case."""
        return self._request.headers

    @property
    def cookies(self) -> ImmutableMultiDict[str, str]:
        """The request's cookies."""
        return self._request.cookies

    @property
    def origin(self) -> str | None:
        """The Origin header: scheme and host of the page, None for other clients."""
        return self._request.origin

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return self._request.user_agent.string

    @property
    def user_languages(self) -> list[str]:
        """The languages of Accept-Language, the preferred first."""
        return list(self._request.accept_languages.values())

    @property
    def url_referrer(self) -> str | None:
        """The Referer header."""
        return self._request.referrer

    # The WebSocket.

    @property
    def secwebsocket_key(self) -> str:
        """The Sec-WebSocket-Key header."""
        value: str = self._snapshot.get("HTTP_SEC_WEBSOCKET_KEY", "")
        return value

    @property
    def secwebsocket_version(self) -> str:
        """The Sec-WebSocket-Version header: "13"."""
        value: str = self._snapshot.get("HTTP_SEC_WEBSOCKET_VERSION", "")
        return value

    @property
    def secwebsocket_protocols(self) -> list[str]:
        """The subprotocols that the client offered, in its order."""
        return opening_handshake.requested_subprotocols(
            {"HTTP_SEC_WEBSOCKET_PROTOCOL": self._snapshot.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "")}
        )

    requested_subprotocols = secwebsocket_protocols

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._snapshot.subprotocol

    @property
    def connection_id(self) -> str:
        """A name for this connection, made at random: no other in any process has it."""
        return self._snapshot.connection_id

    @property
    def application(self) -> Flask:
        """Flask's app."""
        return self._snapshot.app

    # Who and where.

    @property
    def user(self) -> Any:
        """The user: Flask-Login's where the app has a login manager, else REMOTE_USER or None.

        In this client's view and callbacks it is `current_user`; anywhere else the app loads it
        in a context for that, whose teardown functions run afterwards.
        """
        snapshot = self._snapshot
        if not hasattr(snapshot.app, "login_manager"):
            return snapshot.get("REMOTE_USER")
        if is_current(snapshot):
            return _current_user(snapshot.app)
        context = entered(ContextApart, snapshot)
        try:
            return _current_user(snapshot.app)
        finally:
            context.pop(None)

    @property
    def is_authenticated(self) -> bool:
        """Whether `user` is somebody."""
        user = self.user
        return bool(getattr(user, "is_authenticated", user))

    def is_user_unchanged(self) -> bool:
        """Whether `user` is still who it was at the handshake."""
        return user_id_of(self.user) == self._snapshot.user_id

    @property
    def user_host_address(self) -> str | None:
        """The client's IP address; behind a proxy with ProxyFix, the real one."""
        return self._request.remote_addr

    @property
    def is_local(self) -> bool:
        """Whether the client's address is one of this machine's own, such as 127.0.0.1.

        False where there is none, as behind a Unix socket without ProxyFix: the client of the
        proxy at its other end can be anybody.
        """
        return is_loopback(self.user_host_address)

    @property
    def is_secure_connection(self) -> bool:
        """Whether the client came by TLS (wss); behind a proxy, with ProxyFix."""
        return self._request.is_secure

    # The rest.

    @property
    def is_client_connected(self) -> bool:
        """Whether the connection is open at this moment."""
        return self._snapshot.is_connected

    @property
    def transport(self) -> str:
        """What the client speaks at this moment, or has spoken last.

        "websocket"; or, where none gets through, "stream" or "poll" over HTTP.
        """
        return self._snapshot.transport.value

    @property
    def server_variables(self) -> dict[str, Any]:
        """The WSGI environ; a copy."""
        return self._snapshot.environ()

    @property
    def items(self) -> dict[Any, Any]:
        """A dict for whatever goes with this connection.

        It begins with what an `HttpHandler` has put into `HttpContext.items`.
        """
        if self._items is None:
            object.__setattr__(self, "_items", self._snapshot.get(ITEMS_KEY, {}))
        assert self._items is not None
        return self._items

    @property
    def timestamp(self) -> datetime.datetime:
        """When the handshake was accepted; aware, in UTC."""
        return datetime.datetime.fromtimestamp(self._snapshot.taken_at_s, datetime.timezone.utc)

    @staticmethod
    def connection_count() -> int:
        """Open connections of all apps in this process."""
        return sum(
            each.connection_count
            for each in lifecycle.registered(lifecycle.Stage.CONNECTIONS)
            if isinstance(each, _HasConnections)
        )

    @property
    def _request(self) -> Request:
        return self._snapshot.shown_request


def request_user(environ: Mapping[str, Any]) -> Any:
    """The user of the request that is current here."""
    if hasattr(current_app, "login_manager"):
        return _current_user(current_app)
    return environ.get("REMOTE_USER")


def _current_user(app: Any) -> Any:
    if not hasattr(g, "_login_user"):
        app.login_manager._load_user()
    return g._login_user


def user_id_of(user: Any) -> object:
    """What tells a user from others: Flask-Login's id, else the user itself."""
    get_id = getattr(user, "get_id", None)
    return user if get_id is None else get_id()
