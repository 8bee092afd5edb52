"""The 101 response: an ordinary one for Flask, until the server iterates over it.

It goes through `after_request`, session saving and the access log like any other. Its iterator
takes the socket over; if something replaces the response on its way out, or the client is gone,
nobody iterates, and the handler never opens.
"""

from __future__ import annotations

import functools
import http
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from werkzeug.wsgi import ClosingIterator

from .transports.handoff import expect_no_other_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

    from .connection import Connection
    from .transports.engine import Engine
    from .transports.handoff import ServerSocket

logger = logging.getLogger(__name__)


class _Upgrade:
    """What makes a response class one that upgrades."""

    _about_to_leave: Callable[[], None]
    _engine: Engine
    _server_socket: ServerSocket
    _connection: Connection

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        assert isinstance(self, Response)
        if self.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
            expect_no_other_request(start_response)
        called: Iterable[bytes] = super().__call__(environ, start_response)  # type: ignore[misc]  # mixed in
        return called

    def get_app_iter(self, environ: dict[str, Any]) -> Iterable[bytes]:
        assert isinstance(self, Response)
        if self.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            plain: Iterable[bytes] = super().get_app_iter(environ)  # type: ignore[misc]  # mixed in
            return plain
        self._about_to_leave()
        return ClosingIterator(self._take_over(environ), self.close)

    def _take_over(self, environ: dict[str, Any]) -> Iterator[bytes]:
        head = b""
        if self._server_socket.server_writes_head:
            # gunicorn sends its head with the first chunk, an empty one too. Not one chunk
            # more: between the last one and close() Werkzeug throws away what the client sends.
            yield b""
        else:
            head = self._head(environ)
        try:
            if self._engine.can_use_epoll(self._server_socket):
                self._engine.adopt(self._server_socket, self._connection, head)
            else:
                self._engine.serve(self._server_socket, self._connection, head)
        except BaseException as error:
            # Not when it is forgotten: Werkzeug's debugger keeps the traceback for ever.
            self._connection.leave_seat()
            if not isinstance(error, ConnectionError):  # the client was gone before the head
                raise

    def _head(self, environ: dict[str, Any]) -> bytes:
        assert isinstance(self, Response)
        lines = [f"HTTP/1.1 {self.status}"]
        lines += [f"{name}: {value}" for name, value in self.get_wsgi_headers(environ)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@functools.cache
def _response_class(base: type[Response]) -> type[Response]:
    # Of the app's own response class: Flask would convert any other to it.
    return type("WebSocketResponse", (_Upgrade, base), {})


def upgrade_response(
    app: Flask,
    headers: list[tuple[str, str]],
    about_to_leave: Callable[[], None],
    engine: Engine,
    server_socket: ServerSocket,
    connection: Connection,
) -> Response:
    """The response that, once it has left, has `engine` serve `connection`.

    `about_to_leave` is called before, after the view and all of Flask's `after_request` work.
    """
    response = _response_class(app.response_class)(status=http.HTTPStatus.SWITCHING_PROTOCOLS)  # type: ignore[arg-type]  # a class is hashable
    del response.headers["Content-Type"]
    response.headers.extend(headers)
    response._about_to_leave = about_to_leave  # type: ignore[attr-defined]  # _Upgrade's, which mypy can't see
    response._engine = engine  # type: ignore[attr-defined]
    response._server_socket = server_socket  # type: ignore[attr-defined]
    response._connection = connection  # type: ignore[attr-defined]
    return response
