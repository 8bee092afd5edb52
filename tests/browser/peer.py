"""A server whose part in each network connection the test plays, and which serves the pages too."""

from __future__ import annotations

import contextlib
import http
import logging
import queue
import socket
import threading
from pathlib import Path
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.sync.server import serve

from tests.deadlines import DEADLINE_S

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1] / "flask_wshandler" / "browser"
#: A page may run this server's files and connect to this server, and nothing else.
CONTENT_SECURITY_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript"}

# What a page breaks off is no news here.
_log = logging.Logger("peer", logging.CRITICAL + 1)


class Closed:
    """The end of a network connection, among what was received: 1006 without a close frame."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Closed) and other.code == self.code

    def __repr__(self) -> str:
        return f"Closed({self.code})"


class NetworkConnection:
    """One that a page has asked for; to be answered first."""

    def __init__(self, connection: Any, request: Any) -> None:
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        #: The subprotocols that the page offers.
        self.offer = offered.split(", ") if offered else []
        self._connection = connection
        self._answers: queue.SimpleQueue[str | Response | None] = queue.SimpleQueue()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._is_open = threading.Event()

    def accept(self, subprotocol: str | None = "wshandler.1") -> None:
        """Answer with 101, and wait until that is written."""
        self._answers.put(subprotocol)
        assert self._is_open.wait(DEADLINE_S)

    def refuse(self, status: int = 503) -> None:
        """Answer with an ordinary response."""
        self._answers.put(Response(status, http.HTTPStatus(status).phrase, Headers(), b""))

    def cut(self) -> None:
        """End it without a close frame, or without an answer."""
        with contextlib.suppress(OSError):
            self._connection.socket.shutdown(socket.SHUT_RDWR)
        if not self._is_open.is_set():
            self.refuse()

    def send(self, message: str | bytes) -> None:
        """Send a message, if the page is still there."""
        with contextlib.suppress(ConnectionClosed):
            self._connection.send(message)

    def close(self, code: int) -> None:
        """Close with a close frame."""
        self._connection.close(code)

    def receive(self, timeout_s: float = DEADLINE_S) -> Any:
        """The next message, or how it has ended. Raises queue.Empty."""
        return self._received.get(timeout=timeout_s)

    def decide(self) -> str | Response | None:
        return self._answers.get(timeout=DEADLINE_S)

    def read(self) -> None:
        """Until its end, in the server's thread."""
        self._is_open.set()
        try:
            while True:
                self._received.put(self._connection.recv())
        except ConnectionClosed as closed:
            self._received.put(Closed(closed.rcvd.code if closed.rcvd else 1006))


class Peer:
    """The server; between `with` and the end of its block."""

    is_over_http = False

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[NetworkConnection] = queue.SimpleQueue()
        self._unanswered: list[NetworkConnection] = []

    def __enter__(self) -> Peer:
        self._server = serve(
            lambda connection: connection.network_connection.read(),
            "127.0.0.1",
            0,
            process_request=self._process_request,
            select_subprotocol=lambda connection, _: connection.subprotocol_of_test,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            close_timeout=1,
            max_size=None,
            logger=_log,
        )
        self.netloc = "{}:{}".format(*self._server.socket.getsockname())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.forget()
        self._server.shutdown()
        self._thread.join()

    def next(self, timeout_s: float = DEADLINE_S) -> NetworkConnection:
        """The next network connection that a page asks for. Raises queue.Empty."""
        return self._asked.get(timeout=timeout_s)

    def forget(self) -> None:
        """Let go of what no test has asked for."""
        for each in list(self._unanswered):
            each.refuse()
        with contextlib.suppress(queue.Empty):
            while True:
                self._asked.get_nowait()

    def _process_request(self, connection: Any, request: Any) -> Response | None:
        """Serve a file, or do with a handshake as the test says."""
        if "Upgrade" not in request.headers:
            return _file_response(request.path.partition("?")[0])
        asked = connection.network_connection = NetworkConnection(connection, request)
        self._unanswered.append(asked)
        self._asked.put(asked)
        decision = asked.decide()
        self._unanswered.remove(asked)
        if isinstance(decision, Response):
            return decision
        connection.subprotocol_of_test = decision
        return None


def file_of(path: str) -> Path:
    """That which is asked for: the package's, or one of the tests' pages."""
    script = SCRIPTS / Path(path).name
    return script if script.is_file() else HERE / "pages" / Path(path).name


def _file_response(path: str) -> Response:
    file = file_of(path)
    if not file.is_file():
        return Response(404, "Not Found", Headers(), b"")
    body = file.read_bytes()
    headers = Headers(
        {
            "Content-Type": TYPES[file.suffix],
            "Content-Length": str(len(body)),
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Connection": "close",
        }
    )
    return Response(200, "OK", headers, body)
