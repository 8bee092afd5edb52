"""A request, kept small: an open connection may hold it for days.

A WSGI environ and its request object are 4 to 6 kB. What differs between two clients of one app
is little of that: names of headers, and most of their values, are the same objects for all here.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flask import Flask, Request
from flask.sessions import SecureCookieSessionInterface, SessionMixin

from ..protocol.carrier import Transport, requested_over_http
from ..runtime.identity import new_connection_id
from .recent_requests import (
    NOT_USED_LATELY,
    UNKEPT,
    NoRequest,
    RecentRequest,
    break_cycle,
    recent_requests,
)
from .request_attributes import changed_attributes, set_attributes
from .tracked import TrackedDict

if TYPE_CHECKING:
    from contextvars import Context

    from werkzeug.routing import MapAdapter, Rule

_LEFT_OUT = frozenset(
    {
        # Belong to the request that ends with the handshake.
        "gunicorn.socket",
        "werkzeug.socket",
        "werkzeug.request",
        "wsgi.early_hints",
        "wsgi.errors",
        "wsgi.file_wrapper",
        "wsgi.input",
        # This package's own, which know the whole request.
        "flask_wshandler.accepted",
        "flask_wshandler.offer",
        "flask_wshandler.request_thread",
        "wshandler.departure",
    }
)

_MOST_SHARED = 2048
_LONGEST_SHARED = 512

_shared: dict[Any, Any] = {}
"""Values that occurred before. Emptied when full: what is in use lives on where it is used."""

_UNIQUE = frozenset(
    {"HTTP_SEC_WEBSOCKET_KEY", "REMOTE_PORT", "QUERY_STRING", "RAW_URI", "REQUEST_URI"}
)


def _kept(environ: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The names and the values of what outlives the request."""
    if len(_shared) >= _MOST_SHARED:
        _shared.clear()
    share = _shared.setdefault
    names, values = [], []
    for name, value in environ.items():
        if name in _LEFT_OUT:
            continue
        if type(value) is str and name not in _UNIQUE and len(value) <= _LONGEST_SHARED:
            value = share(value, value)
        names.append(name)
        values.append(value)
    all_names = tuple(names)
    return share(all_names, all_names), tuple(values)


def _has_teardown(app: Flask) -> bool:
    """Whether anything but the receivers of signals is to be called at the end of a request.

    Worth asking: Flask looks for it by the request's blueprints, for which the request would have
    to be made.
    """
    return bool(
        app.teardown_request_funcs
        or app.teardown_appcontext_funcs
        or type(app).do_teardown_request is not Flask.do_teardown_request
        or type(app).do_teardown_appcontext is not Flask.do_teardown_appcontext
    )


class KeptGlobals(NamedTuple):
    """What a callback's `g` begins with."""

    #: Attributes of the handshake's.
    values: dict[str, Any]
    #: What the URL processors are called with; None if there are none.
    matched_args: Mapping[str, Any] | None


class Connected(Protocol):
    """The connection that the request has become."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def transport(self) -> Transport: ...


def user_in(session: object, remote_user: object) -> str | None:
    """Whom a session of Flask's is of, by Flask-Login; or the server's REMOTE_USER."""
    found: object = None
    if isinstance(session, dict):
        # Not by the session's own method, which may be anybody's.
        found = dict.get(session, "_user_id")
    if found is None:
        found = remote_user
    return str(found) if type(found) in (str, int) else None


class RequestSnapshot:
    """The handshake's request, from which the request can be made again."""

    __slots__ = (
        "_attributes",
        "_connection",
        "_keys",
        "_values",
        "app",
        "connection_id",
        "has_teardown",
        "kept_globals",
        "recent",
        "session",
        "subprotocol",
        "taken_at_s",
        "url_rule",
        "user_id",
        "variables",
        "view_args",
    )

    def __init__(
        self,
        app: Flask,
        request: Request,
        session: SessionMixin,
        subprotocol: str | None = None,
        connection_id: str | None = None,
    ) -> None:
        """`connection_id` is made up if none is given."""
        self.app = app
        self.connection_id = connection_id or new_connection_id()
        #: Whether the app has anything to be called at the end of a request. Final: Flask refuses
        #: to add more once it has had a request.
        self.has_teardown = _has_teardown(app)
        self.subprotocol = subprotocol
        self.taken_at_s = time.time()
        #: Whose login is checked again and again; None unless that is asked for.
        self.user_id: object = None
        #: What its callbacks find in their `g`; None for nothing.
        self.kept_globals: KeptGlobals | None = None
        #: The context variables of its callbacks; None while none is set. Not entered by two
        #: threads: the connection's turn is one at a time.
        self.variables: Context | None = None
        #: While its connection is open and active. Guarded by the lock of `recent_requests`.
        self.recent: RecentRequest | NoRequest = UNKEPT
        self._connection: Connected | None = None
        self.note_changes(request, session)

    def note_changes(self, request: Request, session: SessionMixin) -> None:
        """Keep what the view has made of its request and its session so far."""
        #: None where it can be opened again from the request just as well.
        self.session = _kept_session(session)
        self.url_rule: Rule | None = request.url_rule
        self.view_args: dict[str, Any] | None = request.view_args or None
        self._keys, self._values = _kept(request.environ)
        self._attributes: dict[str, Any] | None = None
        new = self.new_request()
        self._attributes = changed_attributes(request, new)
        break_cycle(new)

    def opened(self, connection: Connected) -> None:
        """Its connection is open: keep a request at hand while it is active."""
        self._connection = connection
        self.recent = NOT_USED_LATELY

    @property
    def is_connected(self) -> bool:
        """Whether its connection is open at this moment. Any thread."""
        return self._connection is not None and self._connection.is_connected

    @property
    def transport(self) -> Transport:
        """What its client speaks, or has spoken last. Any thread."""
        if self._connection is not None:
            return self._connection.transport
        return requested_over_http(self.environ()) or Transport.WEBSOCKET

    def closed(self) -> None:
        """Its connection is over."""
        recent_requests.remove(self)

    def known_user(self) -> str | None:
        """Who the client is, as far as that can be said without the app's code.

        Flask-Login's id in the session that was kept, or the server's REMOTE_USER.
        """
        if type(self.user_id) in (str, int):
            return str(self.user_id)
        return user_in(self.session, self.get("REMOTE_USER"))

    def reopen_session(self) -> None:
        """Have the session opened anew, if it is more than a cookie of the handshake."""
        if not isinstance(self.app.session_interface, SecureCookieSessionInterface):
            self.session = None

    def environ(self) -> dict[str, Any]:
        """The WSGI environ of the handshake, without what belonged to its server's request."""
        environ: dict[str, Any] = dict(zip(self._keys, self._values, strict=True))
        environ["wsgi.input"] = io.BytesIO()
        environ["wsgi.errors"] = sys.stderr
        return environ

    def get(self, key: str, default: Any = None) -> Any:
        """One value of the environ."""
        try:
            return self._values[self._keys.index(key)]
        except ValueError:
            return default

    def request(self) -> Request:
        """The request for a callback, which gives it to `let_go` at its end."""
        recent = self.recent
        if recent.request is None:
            recent = self._made_recent()
        recent.is_used = True
        return recent.request if recent.is_reusable else self.new_request()

    def let_go(self, request: Request) -> None:
        """A callback is done with its request."""
        recent = self.recent
        if recent.request is not request:
            request.close()
            break_cycle(request)
        elif recent.changes.any or len(request.__dict__) != recent.known_attributes:
            recent.tidy()

    def hand_on(self, request: Request) -> None:
        """Another thread goes on with the request of this callback; the next gets another."""
        recent = self.recent
        if recent.request is request:
            recent.changes.any = True

    @property
    def shown_request(self) -> Request:
        """The request, to read values of that can't be changed."""
        recent = self.recent
        if recent.request is None:
            recent = self._made_recent()
        recent.is_used = True
        return recent.request

    @property
    def url_adapter(self) -> MapAdapter | None:
        """What URLs are built with."""
        recent = self.recent
        if recent.request is None:
            recent = self._made_recent()
        recent.is_used = True
        return recent.url_adapter

    def _made_recent(self) -> RecentRequest:
        recent = self.recent
        if isinstance(recent, NoRequest):
            is_kept = recent is NOT_USED_LATELY
            recent = RecentRequest(self.app, self.new_request)
            if is_kept:
                recent_requests.add(self, recent)
        return recent

    def new_request(self, cls: type[Request] | None = None) -> Request:
        """The request, made again; of the app's class, or of a `tracked` one with its environ."""
        app = self.app
        environ = self.environ()
        request = app.request_class(environ) if cls is None else cls(TrackedDict(environ))
        request.json_module = app.json
        request.url_rule = self.url_rule
        request.view_args = {} if self.view_args is None else dict(self.view_args)
        trusted_hosts = app.config.get("TRUSTED_HOSTS")
        if trusted_hosts is not None:
            request.trusted_hosts = trusted_hosts
        if self._attributes:
            set_attributes(request, self._attributes)
        return request


def _kept_session(session: SessionMixin) -> SessionMixin | None:
    return session if session or session.modified else None
