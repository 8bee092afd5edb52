"""The user's callbacks: in Flask's contexts, and with what happens when they raise.

Invariant: nothing that a callback, an `on_error` or a teardown function raises goes further than
this module, and what it raises closes this client and no other. All of one client's callbacks run
in one `contextvars.Context`, which no other client's do.
"""

from __future__ import annotations

import threading
from contextvars import Context
from types import MethodType
from typing import TYPE_CHECKING

from flask import got_request_exception
from werkzeug.exceptions import BadRequestKeyError, HTTPException

from ..protocol.errors import CloseCode
from ..runtime import logs
from ..runtime.redaction import one_line, shown, shown_path
from .access_log import log_close
from .app_records import records_of
from .callback_context import FLASKS_VARIABLES, CallbackContext
from .flask_internals import entered
from .handler import end_handler, late_callback, open_handler, shown_callback_of, shown_name_of
from .named_callback import name_of, named
from .signals import (
    message_received,
    websocket_connected,
    websocket_disconnected,
    with_connected_signal,
    with_disconnected_signal,
    with_message_signal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.frames import Message
    from .handler import Peer, WebSocketHandler
    from .request_snapshot import RequestSnapshot
    from .slow_callbacks import Running


FAILURES_KEY = "flask_wshandler.failures"
"""Under which the WSGI environ of a test's handshake has a list for what is raised here."""


_CLIENT_ERRORS = (400, 499)
"""The statuses of HTTP that say whose mistake it was."""


def run(
    callbacks: HandlerCallbacks,
    variables: Context,
    callback: Callable[..., object],
    message: Message | None,
) -> BaseException | None:
    """Call `callback` in Flask's contexts, in `variables`, which are kept if it has set some.

    Returns what it or a teardown function raises. A function, as a method takes a detour through C.
    """
    error: BaseException | None = None
    fault: BaseException | None = None
    snapshot = callbacks._snapshot
    context = entered(CallbackContext, snapshot)
    running = callbacks._running
    ident = threading.get_ident()
    running[ident] = callback
    try:
        # Not by *args, which takes another one.
        returned = callback() if message is None else callback(message)
        if returned is not None and not isinstance(returned, bool):  # send() returns one
            callbacks.log_returned(callback, returned)
    except BaseException as raised:
        # Also what is no Exception: a CancelledError or gevent's Timeout that got away would
        # end the thread that serves the others.
        error = raised
        callbacks.report(callback, raised)
        fault = raised if callbacks.is_fault(raised) else None
    try:
        context.end(fault)
    except BaseException as raised:
        error = error or raised
        callbacks.report_teardown(callback, raised)
    running.pop(ident, None)  # a callback may have run another app's in this very thread
    if snapshot.variables is not None or len(variables) > FLASKS_VARIABLES:
        snapshot.variables = variables
        context.leave()
    context.tokens = None
    return error


class HandlerCallbacks:
    """Calls one handler. In the connection's turn, except where noted."""

    __slots__ = ("_handler", "_running", "_snapshot")

    def __init__(
        self,
        handler: WebSocketHandler,
        snapshot: RequestSnapshot,
        running: Running,
    ) -> None:
        """In `running` stands each callback while it runs, by its thread."""
        self._handler = handler
        self._snapshot = snapshot
        self._running = running

    @property
    def handler(self) -> WebSocketHandler:
        """Whose callbacks these are. Any thread."""
        return self._handler

    @property
    def snapshot(self) -> RequestSnapshot:
        """The handshake's request. Any thread."""
        return self._snapshot

    def opened(self, connection: Peer) -> int | None:
        """Make the handler's methods work, and call `on_open`."""
        handler = self._handler
        self._snapshot.opened(connection)
        open_handler(handler, connection)
        on_open: Callable[..., None] = named(handler.on_open, handler, "on_open")
        if websocket_connected.receivers:
            on_open = with_connected_signal(on_open, handler, self._snapshot.app)
        return self.call(on_open)

    def message_received(self, message: Message) -> int | None:
        """Call `on_text` or `on_binary`, which call `on_message` unless overridden."""
        handler = self._handler
        name = handler._text_callback if type(message) is str else handler._binary_callback
        if name is None:
            name = late_callback(handler, isinstance(message, str))
            if name is None:
                self._log_unsupported(message)
                return CloseCode.UNSUPPORTED_DATA
        callback = getattr(handler, name)
        if (
            callback.__class__ is not MethodType
        ):  # `named` would look, but is called for nothing else
            callback = named(callback, handler, name)
        if message_received.receivers:
            callback = with_message_signal(callback, handler, self._snapshot.app)
        return self.call(callback, message)

    def _log_unsupported(self, message: Message) -> None:
        """Say once of a class what it does not take."""
        kind = "text" if isinstance(message, str) else "binary"
        self._log_once(
            f"{shown_name_of(self._handler)} overrides neither on_message nor on_{kind}: a client "
            f"that sent a {kind} message is closed with {CloseCode.UNSUPPORTED_DATA:d}"
        )

    def _log_once(self, reason: str) -> None:
        app = self._snapshot.app
        logged = records_of(app).reasons_logged
        if reason not in logged:
            logged.add(reason)
            logs.of_app(app).warning("%s", reason)

    def session_check_came(self) -> int | None:
        """Call `check_session`, with the session as it is now."""
        handler = self._handler
        self._snapshot.reopen_session()
        answers: list[bool] = []

        def check_session() -> None:
            answers.append(handler.check_session())

        code = self.call(named(check_session, handler, "check_session"))
        if code is None and not answers[0]:
            return CloseCode.SESSION_ENDED
        return code

    def went_away(self) -> int | None:
        """Call `on_away`."""
        return self.call(named(self._handler.on_away, self._handler, "on_away"))

    def came_back(self) -> int | None:
        """Call `on_back`."""
        return self.call(named(self._handler.on_back, self._handler, "on_back"))

    def closed(self, code: int, reason: str) -> None:
        """Call `on_close`, and log the end."""
        handler = self._handler
        handler.close_code = code
        handler.close_reason = reason
        end_handler(handler)
        on_close: Callable[..., None] = named(handler.on_close, handler, "on_close")
        if websocket_disconnected.receivers:
            on_close = with_disconnected_signal(on_close, handler, self._snapshot.app)
        self.call(on_close)
        (self._snapshot.variables or Context()).run(log_close, handler)
        self._snapshot.closed()

    def call(self, callback: Callable[..., object], message: Message | None = None) -> int | None:
        """Call `callback`, with the message if there is one, in Flask's contexts.

        Returns None, or the close code for what it has raised, which `on_error` has been told.
        """
        variables = self._snapshot.variables or Context()
        error = variables.run(run, self, variables, callback, message)
        return None if error is None else self.failed(error)

    def log_returned(self, callback: Callable[..., object], returned: object) -> None:
        """Say once of a callback that what it returns goes nowhere."""
        shown_callback = shown_callback_of(self._handler, name_of(callback))
        self._log_once(
            f"{shown_callback} has returned {type(returned).__name__}, which goes nowhere: a "
            "callback sends by self.send(…)"
        )

    def failed(self, error: BaseException) -> int:
        """Call `on_error`, unless it has been called; returns the close code."""
        handler = self._handler
        if handler.error is None:
            handler.error = error
            self.call(named(handler.on_error, handler, "on_error"))
        return CloseCode.INTERNAL_ERROR if self.is_fault(error) else CloseCode.POLICY_VIOLATION

    def is_fault(self, error: BaseException) -> bool:
        """Whether it is no answer to a client that does wrong, as `abort(403)` in a view is one."""
        if not isinstance(error, HTTPException) or self._snapshot.app.trap_http_exception(error):
            return True
        status = error.code if error.response is None else error.response.status_code
        return status is None or not _CLIENT_ERRORS[0] <= status <= _CLIENT_ERRORS[1]

    def report(self, callback: Callable[..., object], error: BaseException) -> None:
        """Log what `callback` has raised, and tell the receivers of `got_request_exception`.

        They are not told of an answer to the client, as they are not of a view's.
        """
        if not self.is_fault(error):
            self._log_refusal(callback, error)
            return
        if self._follows_from_the_first(error):
            self._log_missing(callback, error)
        else:
            self._log("", callback, error)
        app = self._snapshot.app
        try:
            if isinstance(error, Exception):
                got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
        except BaseException as raised:
            self._log("a receiver of got_request_exception for ", callback, raised)

    def _log_refusal(self, callback: Callable[..., object], refusal: BaseException) -> None:
        logs.of_app(self._snapshot.app).warning(
            "%s on %s refuses its client, which is closed with %d: %s%s",
            shown_callback_of(self._handler, name_of(callback)),
            shown_path(self._snapshot.get("PATH_INFO", "")),
            CloseCode.POLICY_VIOLATION,
            one_line(str(refusal)),
            _advice_about_missing(refusal),
        )

    def _follows_from_the_first(self, error: BaseException) -> bool:
        """Whether the handler lacks what a callback would have set that raised instead."""
        handler = self._handler
        if handler.error is None or handler.error is error:
            return False
        return isinstance(error, AttributeError) and error.obj is handler

    def _log_missing(self, callback: Callable[..., object], error: BaseException) -> None:
        """Log that, without a traceback: what to mend is in that of the first exception."""
        name = getattr(error, "name", "")
        self._log(
            "",
            callback,
            error,
            f": there is no self.{name}, which was not set when the exception above came. Give the "
            f"class one, as `{name} = None`, for callbacks that use it then",
            has_traceback=False,
        )

    def report_teardown(self, callback: Callable[..., object], error: BaseException) -> None:
        """Log what a teardown function has raised after `callback`."""
        self._log("a teardown function after ", callback, error)

    def _log(
        self,
        where: str,
        callback: Callable[..., object],
        error: BaseException,
        advice: str | None = None,
        *,
        has_traceback: bool = True,
    ) -> None:
        snapshot = self._snapshot
        records_of(snapshot.app).failures.add(name_of(callback))
        logs.of_app(snapshot.app).error(
            "Exception in %s%s on %s%s",
            where,
            shown_callback_of(self._handler, name_of(callback)),
            shown_path(snapshot.get("PATH_INFO", "")),
            _advice_about(error) if advice is None else advice,
            error=error if has_traceback else None,
        )
        failures = snapshot.get(FAILURES_KEY)
        if failures is not None:
            failures.append(error)


def callbacks_class_of(handler: WebSocketHandler) -> type[HandlerCallbacks]:
    """What calls handlers of this kind."""
    return handler._callbacks_class or HandlerCallbacks


def _advice_about(error: BaseException) -> str:
    """What to do about an exception that would have been an answer in a view; else empty."""
    if isinstance(error, HTTPException):
        return ": an HTTP error answers nobody after the handshake; self.close(code, reason) does"
    return ""


def _advice_about_missing(refusal: BaseException) -> str:
    """How to ask for a value of the request that may be missing; else empty."""
    if isinstance(refusal, BadRequestKeyError) and refusal.args:
        return (
            f" The request has no {shown(refusal.args[0])}: use .get(), or ask for it in the view, "
            "which answers 400."
        )
    return ""
