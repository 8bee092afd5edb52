"""The answer to an accepted request, on its way out of the app.

The view returns a response with status 101, or 200 where it is a stream over HTTP; an ordinary one
for Flask: it goes through `after_request`, session saving and the access log like any other, and
may be changed and copied there. Whatever leaves the app with that status (and the header that marks
a stream) is the handshake's, and gets the body that takes the socket over. What leaves otherwise is
an ordinary response, and the handler never opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from websockets.utils import accept_key
from werkzeug.wsgi import ClosingIterator

from ..runtime import logs
from ..runtime.redaction import shown, shown_path
from .answer import is_event_stream, is_switching
from .resumption import take_offer
from .takeover import Upgrade

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logs.logger(__package__)

_DEPARTURE_KEY = "wshandler.departure"
"""Under which the environ of a request has what has been accepted of it."""


class _Accepted:
    """What has been accepted of a request: in its environ, which middlewares may copy."""

    def __init__(self) -> None:
        self.upgrade: Upgrade | None = None


class _Departure:
    """A request while the app works on it, and its response until it has left the app."""

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._path = environ.get("PATH_INFO", "")
        self._key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
        # An app that calls another one within its own request has the same.
        self._accepted: _Accepted = environ.setdefault(_DEPARTURE_KEY, _Accepted())
        self._start_response = start_response
        self._status = ""
        self._is_handshake = False
        self._instead: bytes | None = None

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        """Begin the response in the app's place. WSGI's `start_response`."""
        upgrade = self._accepted.upgrade
        if upgrade is None and self._is_of_another(status, headers):
            status, headers = self._refuse(status)
        self._status = status
        self._is_handshake = upgrade is not None and upgrade.answer.is_in(status, headers)
        if upgrade is not None:
            leave = upgrade.leaves if self._is_handshake else upgrade.answer.without_own
            headers = leave(headers)
        if exc_info is None:
            write = self._start_response(status, headers)
        else:
            write = self._start_response(status, headers, exc_info)
        if upgrade is not None and self._is_handshake:
            upgrade.has_left()
        return write

    def _is_of_another(self, status: str, headers: list[tuple[str, str]]) -> bool:
        """Whether it answers another request, which was accepted."""
        if is_event_stream(status, headers):
            return True
        return is_switching(status) and not self._is_own_answer(headers)

    def _is_own_answer(self, headers: list[tuple[str, str]]) -> bool:
        """Whether a 101 may be another's answer to this very handshake, or no WebSocket's."""
        accepts = [value for name, value in headers if name.lower() == "sec-websocket-accept"]
        return not accepts or accepts == [accept_key(self._key)]

    def _refuse(self, status: str) -> tuple[str, list[tuple[str, str]]]:
        """Answer 500 instead: there is no connection behind the answer to another request."""
        logger.error(
            "The response to the request for %s is the %s of another request's WebSocket: "
            "something keeps responses and gives them to others. Tell it to leave out those to "
            "which is_websocket_request() applies",
            shown_path(self._path),
            status[:3],
        )
        self._instead = b"This response was made for another request."
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(self._instead)))]
        return "500 Internal Server Error", headers

    def left_with(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The app has returned `body`: what to return in its place."""
        has_begun = self._status or self._accepted.upgrade is not None
        return self.answered_with(body) if has_begun else _LateBody(self, body)

    def answered_with(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The app has answered the request with `body`: what to return in its place."""
        if self._instead is not None:
            return ClosingIterator([self._instead], getattr(body, "close", None))
        upgrade = self._accepted.upgrade
        if upgrade is None or upgrade is body:
            return body
        if not self._is_handshake:
            logger.warning(
                "A WebSocket on %s does not open: it was accepted, but the response has left the "
                "app with the status %s. Return what accept_websocket_request() returns, as it is, "
                "and let no after_request function replace it",
                shown_path(self._path),
                shown(self._status),
            )
            upgrade.abandon()
            return body
        upgrade.is_body_instead_of(body)
        return upgrade

    def failed(self) -> None:
        """Give up what was accepted: the app has raised an exception."""
        if self._accepted.upgrade is not None:
            self._accepted.upgrade.abandon()


class _LateBody:
    """A body whose app begins to work when it is iterated over, as behind a middleware that is a
    generator."""

    def __init__(self, departure: _Departure, body: Iterable[bytes]) -> None:
        self._departure = departure
        self._body = body
        self._chunks = iter(body)
        self._is_first = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._is_first:
            return next(self._chunks)
        self._is_first = False
        try:
            first = next(self._chunks, None)
        except BaseException:
            self._departure.failed()
            raise
        answer = self._departure.answered_with(self._body)
        if answer is not self._body:
            self._body, self._chunks = answer, iter(answer)
            return next(self._chunks)
        if first is None:
            raise StopIteration
        return first

    def close(self) -> None:
        """Close the body: the server or a middleware is done with it."""
        close: Callable[[], None] | None = getattr(self._body, "close", None)
        if close is not None:
            close()


def let_upgrades_leave(app: Flask) -> None:
    """Have accepted requests of `app` become WebSockets when their responses have left it."""
    wsgi_app = app.wsgi_app

    def leave(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        take_offer(environ)
        departure = _Departure(environ, start_response)
        try:
            body = wsgi_app(environ, departure.start_response)
        except BaseException:
            departure.failed()
            raise
        return departure.left_with(body)

    app.wsgi_app = leave  # type: ignore[method-assign]  # where Flask wants its middlewares


def upgrade_response(app: Flask, environ: WSGIEnvironment, upgrade: Upgrade) -> Response:
    """The response from the view to the request `environ`, which becomes `upgrade`.

    Raises RuntimeError for a request that has not come through `app.wsgi_app`.
    """
    accepted = environ.get(_DEPARTURE_KEY)
    if accepted is None:
        upgrade.abandon()
        raise RuntimeError(
            "app.wsgi_app does not call what WebSockets(app) has put there: a middleware has to "
            "call the app.wsgi_app that it has found"
        )
    accepted.upgrade = upgrade
    answer = upgrade.answer
    # No sequence: of that Flask would know the length.
    response = app.response_class(iter(()), status=answer.status)
    headers = answer.completed(list(response.headers))  # the class may have some of its own
    response.headers.clear()
    response.headers.extend(headers)
    return response
