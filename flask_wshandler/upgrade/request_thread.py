"""A request that is dispatched in a thread of its own, in which a function can go on with it.

To a flask-sock function it is one request from `before_request` to the teardown functions, and one
thread: a connection of sqlite3 may be used by the thread that has opened it and by no other, and a
`scoped_session` is a thread's. The server's thread is not to be kept that long. So it waits only
for the response; the thread that has dispatched the request stays in it, below Flask's `wsgi_app`,
and pops Flask's contexts when the function has returned.

Invariant: the thread ends. Its function begins when the connection has opened, and not at all once
that can't happen any more, or has not happened in `_MOST_WAIT_S`.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from flask import Flask
from werkzeug.exceptions import ServiceUnavailable

from ..handlers.callback_context import request_variables
from ..handlers.flask_internals import end_with_request
from ..protocol import opening_handshake
from ..protocol.carrier import requested_over_http
from ..runtime import logs
from ..transports.handoff import frames_here, note_frames

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed.wsgi import StartResponse, WSGIApplication

_KEY = "flask_wshandler.request_thread"
_MOST_WAIT_S = 60.0
"""From the response's leaving Flask to the first callback: a moment, unless something keeps it."""
_RETRY_AFTER_S = 5


class Staying(Protocol):
    """What goes on with a request in its thread."""

    def run(self) -> None:
        """Do the rest of the request, in its thread and contexts, with the connection open."""

    def finish(self, error: BaseException | None) -> None:
        """The request is over; with what its teardown functions have raised."""


class Body(Protocol):
    """A response's body that takes its socket over."""

    @property
    def is_over(self) -> bool:
        """Whether it has done so, or given up."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class RequestThread:
    """One request, from its server's thread and back to it."""

    def __init__(
        self, wsgi_app: WSGIApplication, environ: dict[str, Any], start_response: StartResponse
    ) -> None:
        self._wsgi_app = wsgi_app
        self._environ = environ
        self._start_response = start_response
        self._answered = threading.Event()
        # Written before _answered is set, taken after it.
        self._body: Iterable[bytes] | None = None
        self._error: BaseException | None = None
        # The thread's own.
        self._has_responded = False
        self._stayed: Staying | None = None
        # Whoever pops it decides whether the function begins, and releases _decided. Atomic, and
        # no lock that a garbage collection in its holder's thread could want again.
        self._undecided = [None]
        self._begins = False
        # Until the socket is found: the server's objects are not to live as long as a function.
        self._server_frames: list[FrameType] = []
        self._decided = threading.Lock()
        self._decided.acquire()

    # The server's thread.

    def start(self) -> None:
        """Begin to dispatch the request. RuntimeError if no thread can start."""
        self._environ[_KEY] = self
        variables = request_variables()
        self._server_frames = frames_here()
        threading.Thread(
            target=variables.run, args=(self._run,), name="wshandler-request", daemon=True
        ).start()

    def answer(self) -> Iterable[bytes]:
        """Wait for the response; its body, or what `wsgi_app` has raised."""
        self._answered.wait()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame
        body, self._body = self._body, None
        assert body is not None
        return body

    @property
    def is_over(self) -> bool:
        """Whether the server has been given a body."""
        return self._answered.is_set()

    # In the thread.

    def _run(self) -> None:
        note_frames(self._server_frames)
        self._server_frames = []
        error: BaseException | None = None
        body: Iterable[bytes] = ()
        try:
            body = self._wsgi_app(self._environ, self._note_response)
            if not self._has_responded:
                body = _Begun(body)  # a middleware that is a generator
            if self._stayed is not None:
                _close(body)
        except BaseException as raised:
            error = raised
        if self._stayed is None:
            self._body, self._error = body, error
            self._answered.set()
        elif self._begins:
            self._stayed.finish(error)

    def _note_response(self, *args: Any) -> Callable[[bytes], object]:
        self._has_responded = True
        return self._start_response(*args)

    def stay(self, staying: Staying, body: Body) -> None:
        """Give the server `body`, and go on with the request when the connection opens."""
        end_with_request(self._environ)
        note_frames(())
        self._body = _HandedBody(body, self.abandon)
        self._stayed = staying
        self._answered.set()
        if not self._decided.acquire(timeout=_MOST_WAIT_S):
            self.abandon()
            self._decided.acquire()
        if self._begins:
            staying.run()

    # Any thread.

    def begin(self) -> bool:
        """The connection has opened. False if the thread has given it up."""
        return self._decide(begins=True)

    def abandon(self) -> None:
        """The connection will not open. Does nothing if it has."""
        self._decide(begins=False)

    def _decide(self, *, begins: bool) -> bool:
        try:
            self._undecided.pop()
        except IndexError:
            return self._begins
        self._begins = begins
        self._decided.release()
        return begins


class _HandedBody:
    """A body for the server alone: if it is thrown away before its time nothing will ever open."""

    def __init__(self, body: Body, abandon: Callable[[], None]) -> None:
        self._body = body
        self._iterator = iter(body)
        self._abandon = abandon

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._iterator)

    def close(self) -> None:
        """Close the body: the server is done with it."""
        self._body.close()

    def __del__(self) -> None:
        if not self._body.is_over:
            self._abandon()


class _Begun:
    """A body whose first chunk has been asked for."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._iterator = iter(body)
        self._first = list(itertools.islice(self._iterator, 1))

    def __iter__(self) -> Iterator[bytes]:
        return itertools.chain(self._first, self._iterator)

    def close(self) -> None:
        """Close the body: the server is done with it."""
        _close(self._body)


def _close(body: Iterable[bytes]) -> None:
    close: Callable[[], None] | None = getattr(body, "close", None)
    if close is not None:
        close()


def request_thread_of(environ: dict[str, Any]) -> RequestThread:
    """The thread of the request that runs in it. RuntimeError if it has none."""
    thread = environ.get(_KEY)
    if not isinstance(thread, RequestThread) or thread.is_over:
        raise RuntimeError(
            "a flask-sock function has to be called by way of app.wsgi_app, as it was after "
            "WebSockets(app): wrap it, but don't replace it"
        )
    return thread


class _ThreadedDispatch:
    """An app's `wsgi_app`, in a thread of the request's own if there is a function to go on."""

    def __init__(self, app: Flask, is_function: Callable[[Any], bool]) -> None:
        # Whoever keeps the app has this in it.
        self._wsgi_app: WSGIApplication = app.wsgi_app
        self._views = app.view_functions
        # Not its logger, which is to be made when logging has been configured.
        self._app_of = weakref.ref(app)
        self._is_function = is_function
        # Written by any thread, to the same values.
        self._views_seen = 0
        self._has_functions = False

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if (
            not (
                opening_handshake.asks_for_upgrade(environ)
                or requested_over_http(environ) is not None
            )
            or _KEY in environ
            or not self._looks_for_functions()
        ):
            return self._wsgi_app(environ, start_response)
        thread = RequestThread(self._wsgi_app, environ, start_response)
        try:
            thread.start()
        except RuntimeError as error:
            app = self._app_of()
            if app is not None:
                logs.of_app(app).warning("A WebSocket was refused: %s", error)
            refusal = ServiceUnavailable("There is no thread for you.", retry_after=_RETRY_AFTER_S)
            return refusal(environ, start_response)
        return thread.answer()

    def _looks_for_functions(self) -> bool:
        count = len(self._views)
        if count != self._views_seen:
            self._has_functions = any(map(self._is_function, list(self._views.values())))
            self._views_seen = count
        return self._has_functions


def use_request_threads(app: Flask, is_function: Callable[[Any], bool]) -> None:
    """Have `app` dispatch requests for WebSockets in threads, if any of its views `is_function`.

    Which of them will be called is not known before the URL is matched, inside the request.
    """
    app.wsgi_app = _ThreadedDispatch(app, is_function)  # type: ignore[method-assign]  # as middlewares do
