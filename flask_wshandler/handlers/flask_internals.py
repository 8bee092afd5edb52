"""What the package needs of Flask and Werkzeug that they do not document.

Nothing else in the package names it, so another Flask is a matter of this module alone. Up to 3.1
Flask has two contexts, the app's and the request's, in a context variable each; 3.2 has one of one
class. Which it is is found by looking for the second variable, not by the version.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flask import appcontext_pushed
from flask import globals as flask_globals
from flask.ctx import AppContext

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SessionMixin

_app_variable: ContextVar[Any] = flask_globals._cv_app

COMPUTED_FROM_BODY = frozenset({"_cached_data", "_cached_json", "_parsed_content_type"})
"""The attributes in which Werkzeug's request keeps what it has read of its body."""


class HasApp(Protocol):
    """What a context is made of."""

    app: Flask


Own = TypeVar("Own", bound="OwnContext")

_new = object.__new__


class _OwnParts:
    """What a context has beside its documented parts, and how it is pushed again."""

    if TYPE_CHECKING:
        app: Flask
        request: Request
        session: SessionMixin

    _waiting_functions: list[Any] | None = None
    _nested_tokens: list[list[Token[Any]]] | None = None

    @property
    def _after_request_functions(self) -> list[Any]:
        # after_this_request() may be called; there is no response for what it is given.
        if self._waiting_functions is None:
            self._waiting_functions = []
        return self._waiting_functions

    def push_again(self) -> None:
        """Make it current once more, until `pop_again`."""
        if self._nested_tokens is None:
            self._nested_tokens = []
        self._nested_tokens.append([variable.set(self) for variable in VARIABLES])

    def pop_again(self) -> bool:
        """Undo the last `push_again`; False if there was none."""
        if not self._nested_tokens:
            return False
        tokens = self._nested_tokens.pop()
        for variable, token in zip(VARIABLES, tokens, strict=True):
            variable.reset(token)
        return True


# `entered` is called for every message, so it is written out for both. Types are checked for the
# first only: one Flask is installed.
if TYPE_CHECKING or hasattr(flask_globals, "_cv_request"):
    from flask.ctx import RequestContext

    _request_variable: ContextVar[Any] = flask_globals._cv_request

    VARIABLES: tuple[ContextVar[Any], ...] = (_app_variable, _request_variable)
    """The context variables that Flask sets while a context is current."""

    # Both have _cv_tokens, and _after_request_functions is no property there.
    class OwnContext(_OwnParts, RequestContext, AppContext):  # type: ignore[misc, override]
        """What Flask takes for its current context; a subclass makes its documented parts.

        Without `__init__`, which would make the request, its URL adapter and a `g`.
        """

        flashes = None

        _snapshot: HasApp
        #: For `leave`. Each knows the `contextvars.Context`, which knows this object: whoever does
        #: not leave it, but throws the other away, sets None, or the garbage collector has to come.
        tokens: tuple[Token[Any], ...] | None

        def leave(self) -> None:
            """Be no longer current."""
            assert self.tokens is not None
            app_token, request_token = self.tokens
            _request_variable.reset(request_token)
            _app_variable.reset(app_token)

        def reenter(self) -> None:
            """Be current again after `leave`."""
            self.tokens = (_app_variable.set(self), _request_variable.set(self))

        def tear_down(self, exc: BaseException | None) -> None:
            """Call the app's teardown functions, and send the signals that go with them."""
            try:
                self.app.do_teardown_request(exc)
            finally:
                self.app.do_teardown_appcontext(exc)

    def entered(cls: type[Own], snapshot: HasApp) -> Own:
        """A context of `cls` that is Flask's current one until it is left.

        Sends `appcontext_pushed`. Without `__init__`, which would make the request and its URL
        adapter; another method of our own would take longer than the rest of this.
        """
        context = _new(cls)
        context.app = snapshot.app
        context._snapshot = snapshot
        context.tokens = (_app_variable.set(context), _request_variable.set(context))
        if appcontext_pushed.receivers:
            appcontext_pushed.send(context.app, _async_wrapper=context.app.ensure_sync)
        return context

    def current_request_context() -> RequestContext | None:
        """The context that `flask.request` is taken from; None outside of a request."""
        context: RequestContext | None = _request_variable.get(None)
        return context

    def new_request_context(app: Flask, request: Request, session: SessionMixin) -> RequestContext:
        """An ordinary context of a request that there is already."""
        return RequestContext(app, request.environ, request, session)

else:
    VARIABLES = (_app_variable,)

    class OwnContext(_OwnParts, AppContext):
        _flashes = None
        has_request = True

        # Where Flask's own methods look.

        @property
        def _request(self) -> Request:
            return self.request

        @property
        def _session(self) -> SessionMixin:
            return self.session

        def leave(self) -> None:
            _app_variable.reset(self.tokens[0])

        def reenter(self) -> None:
            self.tokens = (_app_variable.set(self),)

        def tear_down(self, exc: BaseException | None) -> None:
            try:
                self.app.do_teardown_request(self, exc)
            finally:
                self.app.do_teardown_appcontext(self, exc)

    def entered(cls: type[Own], snapshot: HasApp) -> Own:
        context = _new(cls)
        context.app = snapshot.app
        context._snapshot = snapshot
        context.tokens = (_app_variable.set(context),)
        if appcontext_pushed.receivers:
            appcontext_pushed.send(context.app, _async_wrapper=context.app.ensure_sync)
        return context

    def current_request_context() -> AppContext | None:
        context = _app_variable.get(None)
        return context if context is not None and context.has_request else None

    def new_request_context(app: Flask, request: Request, session: SessionMixin) -> AppContext:
        return AppContext(app, request=request, session=session)


def tell_teardown(error: BaseException) -> None:
    """Have the teardown functions of the current request be given `error`.

    Flask itself tells them of what the view raises, not of what comes after that.
    """
    context = current_request_context()
    assert context is not None
    pop = context.pop

    # Flask ends a request by the `pop` of its context, whoever has put it there.
    def pop_with_error(exc: BaseException | None = None) -> None:
        del exc, context.pop  # and no reference to itself
        pop(error)

    context.pop = pop_with_error  # type: ignore[method-assign]


def end_with_request(environ: dict[str, Any]) -> None:
    """Have nobody who wants to look at a request's contexts later keep them from being popped.

    As test clients in a `with` block and Werkzeug's debugger do.
    """
    environ.pop("werkzeug.debug.preserve_context", None)
