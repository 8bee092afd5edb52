"""A server whose part over HTTP the test plays, and which decides whether WebSockets get through.

Its network connections are like those of `peer`: each is a response that does not end, and the
messages in what the page posts meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.deadlines import DEADLINE_S

from .peer import CONTENT_SECURITY_POLICY, TYPES, Closed, Peer, file_of

TARGET = "/prefix/wshandler/send"
AWAY = 4000


class Post:
    """What a page has posted; to be answered."""

    def __init__(self, headers: Any, body: bytes) -> None:
        self.session = headers["X-WSHandler-Session"]
        self.first = int(headers["X-WSHandler-First"] or 0)
        self.content_type = headers["Content-Type"]
        self.messages = [
            each if isinstance(each, str) else base64.b64decode(each["b"], validate=True)
            for each in json.loads(body)
        ]
        self._answers: queue.SimpleQueue[tuple[int, dict[str, str]] | None] = queue.SimpleQueue()

    def answer(self, status: int = 204, **headers: str) -> None:
        """Answer with a status, and headers (`Retry_After`)."""
        self._answers.put((status, headers))

    def cut(self) -> None:
        """End the network connection without an answer."""
        self._answers.put(None)

    def decide(self) -> tuple[int, dict[str, str]] | None:
        return self._answers.get(timeout=DEADLINE_S)


class HttpConnection:
    """One that a page has asked for, by a request; to be answered first."""

    def __init__(self, handler: _Handler) -> None:
        offered = handler.headers["X-WSHandler-Offer"]
        #: The subprotocols that the page offers.
        self.offer = offered.split(", ")
        #: "stream" or "poll".
        self.transport = handler.headers["X-WSHandler"]
        self.accepted = handler.headers["Accept"]
        self._handler = handler
        self._answers: queue.SimpleQueue[int | str | None] = queue.SimpleQueue()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._is_open = threading.Event()
        self._has_ended = False
        self.session: str | None = None
        self._next_number = 0

    def accept(self, subprotocol: str | None = "wshandler.1") -> None:
        """Answer with 200, and wait until that is written."""
        assert subprotocol == "wshandler.1"
        self._answers.put("stream")
        assert self._is_open.wait(DEADLINE_S)

    def refuse(self, status: int = 503) -> None:
        """Answer with an ordinary response, also with 200."""
        self._answers.put(status)

    def cut(self) -> None:
        """End it without a close event, or without an answer. What was sent arrives."""
        if self._is_open.is_set():
            self.end()
        else:
            self._answers.put(None)

    def tear(self) -> None:
        """End it amid the body. A browser throws away what the page has not read."""
        self._end()

    def send(self, message: str | bytes) -> None:
        """Send a message, if the page is still there."""
        if isinstance(message, str) and message.startswith("h{"):
            with contextlib.suppress(ValueError):
                hello = json.loads(message[1:])
                self.session = hello.get("session")
                self._next_number = (hello.get("received") or 0) + 1
        self.write(event_of(message))

    def write(self, text: str) -> None:
        """Send a part of the body."""
        data = text.encode()
        with contextlib.suppress(OSError):
            self._handler.connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def close(self, code: int, reason: str = "") -> None:
        """Close with a close event."""
        self.write(f"event: close\ndata: {json.dumps([code, reason])}\n\n")
        self.end()

    def end(self) -> None:
        """End the body."""
        with contextlib.suppress(OSError):
            self._handler.connection.sendall(b"0\r\n\r\n")
        self._end()

    def _end(self) -> None:
        self._has_ended = True
        with contextlib.suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)

    def receive(self, timeout_s: float = DEADLINE_S) -> Any:
        """The next message, or how it has ended. Raises queue.Empty."""
        return self._received.get(timeout=timeout_s)

    def take(self, post: Post) -> int:
        """The status of what a server does with it."""
        if self._has_ended or post.session != self.session:
            return 404
        if post.first > self._next_number:
            return 409
        number = post.first
        for message in post.messages:
            if message[:1] in ("m", b"m"):
                if number >= self._next_number:
                    self._received.put(message)
                    self._next_number = number + 1
                number += 1
            elif message[:1] == "c":
                code, _, reason = message[1:].partition(" ")
                self._received.put(Closed(int(code)))
                self.close(int(code), reason)
            else:
                self._received.put(message)
        return 204

    def go_on(self, before: HttpConnection) -> None:
        """Be the next poll of the same client."""
        self.session, self._next_number = before.session, before._next_number

    def decide(self) -> int | str | None:
        return self._answers.get(timeout=DEADLINE_S)

    def read(self) -> None:
        """Until the page leaves, in the server's thread."""
        self._is_open.set()
        with contextlib.suppress(OSError):
            while self._handler.connection.recv(1024):
                pass
        self._received.put(Closed(1006 if self._has_ended else AWAY))


def event_of(message: str | bytes) -> str:
    """What is in the body."""
    if isinstance(message, bytes):
        return f"event: binary\ndata: {base64.b64encode(message).decode()}\n\n"
    if "\r" in message:
        return f"event: text\ndata: {base64.b64encode(message.encode()).decode()}\n\n"
    return "".join(f"data: {line}\n" for line in message.split("\n")) + "\n"


class HttpPeer:
    """The server; between `with` and the end of its block."""

    is_over_http = True

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[HttpConnection] = queue.SimpleQueue()
        self.posts: queue.SimpleQueue[Post] = queue.SimpleQueue()
        self._unanswered: list[Any] = []
        self._last: HttpConnection | None = None
        #: What is done with WebSockets: a status, "silence", or a `Peer` that gets them.
        self.websockets: int | str | Peer = 400
        #: Whether the test answers each post itself.
        self.has_posts = False
        #: What is asked for: "websocket", "stream", "poll", and names of files.
        self.requests: list[str] = []
        #: Whether pages have a policy, which lets them connect to their own origin only.
        self.is_strict = True
        #: Files that are not there.
        self.missing: set[str] = set()

    def __enter__(self) -> HttpPeer:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.peer = self
        self.netloc = "{}:{}".format(*self._server.server_address)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.forget()
        self._server.shutdown()
        self._server.end()
        self._thread.join()
        self._server.server_close()

    def next(self, timeout_s: float = DEADLINE_S) -> HttpConnection:
        """The next network connection that a page asks for. Raises queue.Empty."""
        return self._asked.get(timeout=timeout_s)

    def next_post(self, timeout_s: float = DEADLINE_S) -> Post:
        """What the page posts next. Raises queue.Empty."""
        return self.posts.get(timeout=timeout_s)

    def forget(self) -> None:
        """Let go of what no test has asked for, and do as at the beginning."""
        for each in list(self._unanswered):
            each.cut()
        for all_of in (self._asked, self.posts):
            with contextlib.suppress(queue.Empty):
                while True:
                    all_of.get_nowait()
        self.websockets = 400
        self.has_posts = False
        self.is_strict = True
        self.requests.clear()
        self.missing.clear()

    def ask(self, asked: HttpConnection) -> int | str | None:
        """Have the test answer."""
        self._last = asked
        return self._decided(asked, self._asked)

    def take(self, post: Post) -> tuple[int, dict[str, str]] | None:
        """Take it as a server does, or have the test answer."""
        if not self.has_posts:
            return (404 if self._last is None else self._last.take(post)), {}
        return self._decided(post, self.posts)

    def _decided(self, asked: Any, all_of: queue.SimpleQueue[Any]) -> Any:
        self._unanswered.append(asked)
        all_of.put(asked)
        decision = asked.decide()
        self._unanswered.remove(asked)
        return decision


class _Server(ThreadingHTTPServer):
    """Ends what is under way when it ends."""

    daemon_threads = True
    peer: HttpPeer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sockets: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What a page breaks off is no news here."""

    def end(self) -> None:
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One network connection of HTTP."""

    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def log_message(self, *arguments: Any) -> None:
        """No news either."""

    def do_GET(self) -> None:
        if self.headers["Upgrade"]:
            self._shake_hands()
        elif "X-WSHandler" in self.headers:
            self._stream()
        else:
            self._send_file()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == TARGET
        answer = self.server.peer.take(Post(self.headers, body))
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers = answer
        self._send_status(status, headers)

    def _send_status(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def _stream(self) -> None:
        self.close_connection = True
        peer = self.server.peer
        asked = HttpConnection(self)
        peer.requests.append(asked.transport)
        status = peer.ask(asked)
        if status is None:
            return
        if isinstance(status, int):
            self._send_status(status)
            return
        self.send_response(200)
        self.send_header("Connection", "close")
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store, no-transform")
        self.send_header("X-WSHandler", asked.transport)
        self.send_header("X-WSHandler-Send", TARGET)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        asked.read()

    def _shake_hands(self) -> None:
        self.close_connection = True
        peer = self.server.peer
        peer.requests.append("websocket")
        if isinstance(peer.websockets, Peer):
            self._pass_on(peer.websockets)
        elif peer.websockets == "silence":
            self.connection.recv(1)
        else:
            self._send_status(int(peer.websockets))

    def _pass_on(self, peer: Peer) -> None:
        host, _, port = peer.netloc.partition(":")
        with socket.create_connection((host, int(port))) as other:
            lines = [self.requestline, *map(": ".join, self.headers.items())]
            other.sendall("\r\n".join([*lines, "", ""]).encode())
            back = threading.Thread(target=_copy, args=(other, self.connection))
            back.start()
            _copy(self.connection, other)
            back.join()

    def _send_file(self) -> None:
        path = self.path.partition("?")[0]
        self.server.peer.requests.append(path)
        file = file_of(path)
        if not file.is_file() or path in self.server.peer.missing:
            self._send_status(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", TYPES[file.suffix])
        self.send_header("Content-Length", str(file.stat().st_size))
        if self.server.peer.is_strict:
            self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.end_headers()
        with file.open("rb") as opened:
            shutil.copyfileobj(opened, self.wfile)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
