"""Flask's contexts around one callback.

Flask copies and pushes a request context in 13 µs: it makes a URL adapter, matches the URL again
and opens the session. Here all of that waits until somebody asks. What remains is a fresh `g`,
two context variables, and the teardown functions, if there are any: see docs/performance.md for
the figures.
"""

from __future__ import annotations

import contextlib
import decimal
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from flask import (
    Flask,
    Request,
    appcontext_popped,
    appcontext_tearing_down,
    current_app,
    g,
    request_tearing_down,
)
from flask.ctx import _AppCtxGlobals
from flask.sessions import SessionMixin
from werkzeug.exceptions import HTTPException

from .flask_internals import VARIABLES, OwnContext, current_request_context, new_request_context
from .request_snapshot import KeptGlobals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask.ctx import RequestContext
    from werkzeug.routing import MapAdapter

    from .request_snapshot import RequestSnapshot

ACCEPTED_KEY = "flask_wshandler.accepted"
"""Under which the WSGI environ of an accepted handshake has its snapshot, if it has one."""

FLASKS_VARIABLES = len(VARIABLES)
"""How many context variables there are while a context is current and nobody has set others."""

_NOT_MADE: Any = object()


class CallbackContext(OwnContext):
    """Flask's context for one callback, whose parts are made when they are used.

    For one callback and one thread, made current by `entered`: run the callback, `end` with its
    exception. Where the callback's `contextvars.Context` is thrown away after it, that is all; else
    `leave`. Like Flask's it may be pushed again meanwhile, as `stream_with_context` does, and
    popped: only `end` runs the teardown functions.
    """

    # As class attributes, so that a context that nobody looks at costs three assignments.
    _made_request: Request | None = None
    _adapter: MapAdapter | None = _NOT_MADE
    _globals: _AppCtxGlobals | None = None

    app: Flask
    _snapshot: RequestSnapshot

    @property
    def g(self) -> _AppCtxGlobals:  # type: ignore[override]  # an attribute there, lazy here
        if self._globals is None:
            self._globals = self.app.app_ctx_globals_class()
            if self._snapshot.kept_globals is not None:
                self._fill(self._globals, self._snapshot.kept_globals)
        return self._globals

    def _fill(self, new: _AppCtxGlobals, kept: KeptGlobals) -> None:
        for name, value in kept.values.items():
            setattr(new, name, value)
        if kept.matched_args is None:
            return
        # As before each request, and before all that could miss what they set.
        request, values = self.request, dict(kept.matched_args)
        for blueprint in (None, *reversed(request.blueprints)):
            for preprocess in self.app.url_value_preprocessors.get(blueprint, ()):
                preprocess(request.endpoint, values)

    @property
    def request(self) -> Request:  # type: ignore[override]  # an attribute there, lazy here
        if self._made_request is None:
            self._made_request = self._snapshot.request()
        return self._made_request

    @property
    def url_adapter(self) -> MapAdapter | None:  # type: ignore[override]  # the same
        if self._adapter is _NOT_MADE:
            self._adapter = self._snapshot.url_adapter
        return self._adapter

    @property
    def session(self) -> SessionMixin:  # type: ignore[override]  # the same
        session = self._snapshot.session
        if session is None:
            interface = self.app.session_interface
            session = interface.open_session(self.app, self.request)
            if session is None:
                session = interface.make_null_session(self.app)
            self._snapshot.session = session
        return session

    def copy(self) -> RequestContext:
        """An ordinary request context, for another thread or greenlet."""
        request = self.request
        self._snapshot.hand_on(request)
        request.environ[ACCEPTED_KEY] = self._snapshot  # for `is_current`, in that thread
        return new_request_context(self.app, request, self.session)

    def match_request(self) -> None:
        """The URL was matched at the handshake."""

    def end(self, exc: BaseException | None) -> None:
        """Run the teardown functions, and let the request go. It stays current until `leave`."""
        try:
            if (
                self._snapshot.has_teardown
                or request_tearing_down.receivers
                or appcontext_tearing_down.receivers
            ):
                self.tear_down(exc)
        finally:
            if self._made_request is not None:
                self._snapshot.let_go(self._made_request)
            if appcontext_popped.receivers:
                self._tell_popped()

    def push(self) -> None:
        self.push_again()

    def pop(self, exc: BaseException | None = None) -> None:
        if self.pop_again():
            return
        try:
            self.end(exc)
        finally:
            self.leave()

    def _tell_popped(self) -> None:
        self.leave()
        try:
            appcontext_popped.send(self.app, _async_wrapper=self.app.ensure_sync)
        finally:
            self.reenter()


class ContextApart(CallbackContext):
    """One that may be current while a callback of the same client runs, with another request."""

    @property
    def request(self) -> Request:  # type: ignore[override]  # an attribute there, lazy here
        if self._made_request is None:
            self._made_request = self._snapshot.new_request()
        return self._made_request


def is_current(snapshot: RequestSnapshot) -> bool:
    """Whether this thread is in a callback of the handshake's client, or in the view itself."""
    context = current_request_context()
    # Another app's context may have been pushed in it.
    if context is None or not current_app or current_app != snapshot.app:
        return False
    if isinstance(context, CallbackContext):
        return context._snapshot is snapshot
    return context.request.environ.get(ACCEPTED_KEY) is snapshot


def kept_globals(names: Iterable[str]) -> KeptGlobals | None:
    """What callbacks are to find in their `g`, as the request is at this moment; None for nothing.

    `names` are those of attributes of `g` that are kept. What the app's URL processors have put
    there comes by calling them again.
    """
    context = current_request_context()
    assert context is not None
    values = {name: getattr(g, name) for name in names if hasattr(g, name)}
    matched_args = None
    if context.app.url_value_preprocessors and context.url_adapter is not None:
        # Again, because the processors take out of view_args what the view is not to see.
        with contextlib.suppress(HTTPException):
            _, matched_args = context.url_adapter.match(return_rule=True)
    if not values and matched_args is None:
        return None
    return KeptGlobals(values, matched_args)


def copied_variables() -> Context | None:
    """The context variables of the view that runs, for its callbacks; None if there are none.

    Flask's own are left out, since they would keep the whole request. A variable can't be removed
    from a copy, so this is a new context with the others.
    """
    found = [each for each in copy_context().items() if each[0] not in VARIABLES]
    if not found:
        return None
    variables = Context()
    for variable, value in found:
        variables.run(variable.set, _own(value))
    return variables


def request_variables() -> Context:
    """All context variables as they are now, for a thread that goes on with a request."""
    variables = copy_context()
    for variable, value in list(variables.items()):
        if _own(value) is not value:
            variables.run(variable.set, _own(value))
    return variables


def _own(value: Any) -> Any:
    # Python's own, and the same object for all that a server's thread serves: what one client's
    # callback sets there would be another's precision.
    return value.copy() if isinstance(value, decimal.Context) else value
