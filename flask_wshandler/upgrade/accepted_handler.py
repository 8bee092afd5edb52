"""A handler whose request is accepted: what its callbacks will have of that request."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import Flask, Request, g, has_request_context, request, session
from flask.sessions import SessionMixin

from ..handlers.callback_context import ACCEPTED_KEY, copied_variables, kept_globals
from ..handlers.callbacks import callbacks_class_of
from ..handlers.context import WebSocketContext, user_id_of
from ..handlers.flask_sock import FunctionHandler
from ..handlers.handler import WebSocketHandler, accept_handler, end_handler, find_member
from ..handlers.instrumentation import Interceptor, instrumentations_of, instrumented
from ..handlers.middleware import around_callback, middlewares_of
from ..handlers.request_snapshot import RequestSnapshot, user_in
from ..resume.registry import Client, Who

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..handlers.callbacks import HandlerCallbacks
    from ..handlers.slow_callbacks import Running
    from .takeover import Upgrade


class AcceptedHandler:
    """One handler until its connection opens, or will not. In the thread of its request."""

    def __init__(
        self,
        handler: WebSocketHandler,
        app: Flask,
        subprotocol: str | None,
        keep_in_g: tuple[str, ...],
    ) -> None:
        """Look at the current request; `keep_in_g` are names in `g` that callbacks will find."""
        self._handler = handler
        self._keep_in_g = keep_in_g
        member = find_member(handler)
        self._snapshot = RequestSnapshot(
            app,
            _current_request(),
            _current_session(),
            subprotocol,
            None if member is None else member.connection_id,
        )
        self._snapshot.variables = copied_variables()

    def callbacks(self, running: Running) -> HandlerCallbacks:
        """What calls the handler, with what observes it around."""
        handler, snapshot = self._handler, self._snapshot
        kind = callbacks_class_of(handler)
        instrumentations = instrumentations_of(snapshot.app)
        middlewares = middlewares_of(snapshot.app, type(handler))
        if isinstance(handler, FunctionHandler):
            handler.use_middlewares(middlewares)  # for the function itself
            middlewares = ()
        if not instrumentations and not middlewares:
            return kind(handler, snapshot, running)
        # The innermost first.
        interceptors: list[Interceptor] = [
            functools.partial(around_callback, middleware, handler)
            for middleware in reversed(middlewares)
        ]
        interceptors += [each.accepted(handler, snapshot) for each in instrumentations]
        return instrumented(kind)(handler, snapshot, running, interceptors)

    def take_request(self) -> None:
        """Make the current request the handler's, and no other's."""
        accept_handler(self._handler, WebSocketContext(self._snapshot))
        request.environ[ACCEPTED_KEY] = self._snapshot
        self._note_user()

    @property
    def client(self) -> Client:
        """Who has to be known again when it comes back."""
        snapshot, kind = self._snapshot, type(self._handler)
        # One for all clients of a class: it is kept with each.
        handler = sys.intern(f"{kind.__module__}.{kind.__qualname__}")
        user = snapshot.known_user() or _user_in_g(self._keep_in_g)
        who = Who(snapshot.get("PATH_INFO", ""), handler, user)
        session_user = user_in(_current_session(), snapshot.get("REMOTE_USER"))
        return Client(snapshot.connection_id, who, snapshot.subprotocol, session_user)

    # What becomes of the response: see `takeover.Accepted`.

    def about_to_leave(self) -> None:
        """Take note of what the view has done after the accepting: that counts, too."""
        if has_request_context():
            self._snapshot.note_changes(_current_request(), _current_session())
            self._snapshot.kept_globals = kept_globals(self._keep_in_g)
            self._note_user()

    def stay(self, upgrade: Upgrade) -> None:
        """Run a function in its request; returns at once for any other handler."""
        if isinstance(self._handler, FunctionHandler):
            self._handler.stay(upgrade, self._snapshot)

    def never_opens(self) -> None:
        """Take the handler out of what it has joined."""
        end_handler(self._handler)
        if isinstance(self._handler, FunctionHandler):
            self._handler.abandon()

    def _note_user(self) -> None:
        if self._handler.recheck_session_s is not None:
            self._snapshot.user_id = user_id_of(self._handler.context.user)


def _user_in_g(names: Iterable[str]) -> str | None:
    """Whom an extension has admitted that keeps a name in `g`, or the claims of a token."""
    for name in names:
        value = g.get(name)
        if isinstance(value, Mapping):
            value = value.get("sub")
        if isinstance(value, str | int):
            return str(value)
    return None


def _current_request() -> Request:
    return request._get_current_object()  # type: ignore[attr-defined, no-any-return]


def _current_session() -> SessionMixin:
    return session._get_current_object()  # type: ignore[attr-defined, no-any-return]
