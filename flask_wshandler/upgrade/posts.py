"""What clients post that are served over HTTP: one address of the extension, in front of the app.

Invariant: who posts knows the secret of the connection, is no page of another origin, and is the
user that the connection is of, as far as the app's session says so. Nothing of the app is called
but what opens its session.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from typing import TYPE_CHECKING

from flask import Flask, Request, Response
from werkzeug.exceptions import HTTPException, default_exceptions

from ..handlers.instrumentation import instrumentations_of
from ..handlers.request_snapshot import user_in
from ..protocol.origins import is_origin_allowed
from ..resume.endpoint import ResumeProtocolError
from ..resume.postbox import Posted
from ..resume.posts import MAX_POST_BYTES, Post, parse_first
from ..runtime.first_use import MadeOnFirstUse
from ..transports.handoff import find_socket
from .admission import is_of_foreign_page
from .answer import SEND_PATH
from .app_state import find_state
from .body import Bodies, BodyTooLarge, BodyTooSlow, NoSeat, is_thrown_away

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .app_state import AppState

_SESSION_KEY = "HTTP_X_WSHANDLER_SESSION"
_FIRST_KEY = "HTTP_X_WSHANDLER_FIRST"

_RETRY_AFTER_S = 1
_LEAST_BODY_BYTES = 1024 * 1024
_BODY_BYTES_PER_MESSAGE_BYTE = 2
"""For base64, and for what JSON escapes."""

_TAKEN = 204
_STATUS_OF = {
    Posted.TAKEN: _TAKEN,
    Posted.INVALID: 400,
    Posted.UNKNOWN: 404,
    Posted.GAP: 409,
    Posted.TOO_LARGE: 413,
    Posted.FULL: 429,
    Posted.UNREACHABLE: 503,
}


class _Refused(Exception):
    """The status to answer with, and what is counted."""

    def __init__(self, status: int, outcome: str) -> None:
        super().__init__(status)
        self.status = status
        self.outcome = outcome


class _Posts:
    """An app's `wsgi_app`, behind the address that clients post to."""

    def __init__(self, app: Flask) -> None:
        # Weak: the app has this in it.
        self._app_of = weakref.ref(app)
        self._wsgi_app: WSGIApplication = app.wsgi_app
        self._bodies = Bodies()

    _lock = MadeOnFirstUse(lambda _: threading.Lock())
    # Guarded by _lock: whose posts are being read.
    _sessions = MadeOnFirstUse["set[str]"](lambda _: set())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != SEND_PATH or _SESSION_KEY not in environ:
            return self._wsgi_app(environ, start_response)
        app = self._app_of()
        state = None if app is None else find_state(app)
        if app is None or state is None or not state.settings.fallback:
            return self._wsgi_app(environ, start_response)
        for instrumentation in instrumentations_of(app):
            instrumentation.request_came()
        try:
            posted = self._take(app, state, environ)
            status, outcome = _STATUS_OF[posted], posted.value
        except _Refused as refused:
            status, outcome = refused.status, refused.outcome
            if not is_thrown_away(environ):
                _read_no_more(environ)
        state.engine.posts.add(outcome)
        response = _response(status)
        return response(environ, start_response)

    def _take(self, app: Flask, state: AppState, environ: WSGIEnvironment) -> Posted:
        session = environ.pop(_SESSION_KEY)
        if environ.get("REQUEST_METHOD") != "POST":
            raise _Refused(405, "invalid")
        request = Request(environ)
        origin = request.headers.get("Origin")
        allowed = state.settings.allowed_origins
        if is_of_foreign_page(request) or (
            origin is not None
            and not is_origin_allowed(origin, allowed, request.scheme, request.host)
        ):
            raise _Refused(403, "origin")
        if request.mimetype != "application/json":
            raise _Refused(415, "invalid")
        try:
            first = parse_first(environ[_FIRST_KEY]) if _FIRST_KEY in environ else 0
        except ResumeProtocolError:
            raise _Refused(400, "invalid") from None
        if not state.resumables.may_have(session):
            raise _Refused(404, Posted.UNKNOWN.value)
        body = self._read(state, environ, session)
        return state.resumables.post(Post(session, _user_of(app, environ), first, body))

    def _read(self, state: AppState, environ: WSGIEnvironment, session: str) -> bytes:
        with self._lock:
            if session in self._sessions:
                raise _Refused(429, "full")  # one at a time
            self._sessions.add(session)
        message_bytes = state.settings.max_message_size
        most = max(_LEAST_BODY_BYTES, _BODY_BYTES_PER_MESSAGE_BYTE * message_bytes)
        most = min(most, MAX_POST_BYTES)
        try:
            return self._bodies.read(environ, most)
        except BodyTooLarge:
            raise _Refused(413, Posted.TOO_LARGE.value) from None
        except NoSeat:
            raise _Refused(429, Posted.FULL.value) from None
        except BodyTooSlow:
            raise _Refused(408, "slow") from None
        finally:
            with self._lock:
                self._sessions.discard(session)


def _user_of(app: Flask, environ: WSGIEnvironment) -> str | None:
    session: object = None
    with contextlib.suppress(Exception):  # of the app: then it knows nobody
        session = app.session_interface.open_session(app, app.request_class(environ))
    return user_in(session, environ.get("REMOTE_USER"))


def _read_no_more(environ: WSGIEnvironment) -> None:
    """Have the server not wait for the rest of the body, to find the next request behind it."""
    sock = find_socket(environ)
    if sock is not None:
        # Not by its own method: with TLS that would have the answer go out without.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as plain:
            plain.shutdown(socket.SHUT_RD)


def _response(status: int) -> Response:
    if status == _TAKEN:
        response = Response(status=status)
    else:
        error = default_exceptions.get(status, HTTPException)()
        response = Response(error.get_body(), status, mimetype="text/html")
        if status in (429, 503):
            response.headers["Retry-After"] = str(_RETRY_AFTER_S)
        if status == 405:
            response.headers["Allow"] = "POST"
    response.headers["Cache-Control"] = "no-store"
    return response


def take_posts(app: Flask) -> None:
    """Have `app` take what clients post that are served over HTTP."""
    app.wsgi_app = _Posts(app)  # type: ignore[method-assign]  # where Flask wants its middlewares
