"""Clients of `wshandler.1` over HTTP, as small as can be, with the methods of `returning`."""

import base64
import collections
import contextlib
import http.client
import json
import ssl

from tests.deadlines import DEADLINE_S

from .wire import RawClient

SUBPROTOCOL = "wshandler.1"


class EventStream:
    """One response: its head, and its events as (kind, text or bytes), None at the end."""

    def __init__(self, server, path, transport, offer, *, headers=(), version="HTTP/1.1"):
        self.wire = RawClient(server.host, server.scheme == "https")
        server._ends.append(self.wire.end)
        lines = [
            f"GET {path} {version}",
            f"Host: {server.host}",
            "Accept: text/event-stream",
            f"X-WSHandler: {transport}",
            f"X-WSHandler-Offer: {', '.join(offer)}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        self.wire.send("\r\n".join([*lines, "", ""]).encode())
        self.status = self.wire.read_response()
        self._is_chunked = self.wire.header("Transfer-Encoding") == "chunked"
        self._events = b""
        #: Whether the end was the last chunk.
        self.has_ended_well = False

    def header(self, name):
        return self.wire.header(name)

    def read_event(self):
        while b"\n\n" not in self._events:
            piece = self._read_piece()
            if piece is None:
                return None
            self._events += piece
        event, _, self._events = self._events.partition(b"\n\n")
        kind, data = "", []
        for line in event.split(b"\n"):
            name, _, value = line.partition(b": ")
            if name == b"event":
                kind = value.decode()
            elif name == b"data":
                data.append(value)
        body = b"\n".join(data)
        if kind in ("binary", "text"):
            body = base64.b64decode(body, validate=True)
        return kind, body if kind == "binary" else body.decode()

    def _read_piece(self):
        try:
            if not self._is_chunked:
                if not self.wire._buffer:
                    self.wire._fill()
                return self.wire._read(len(self.wire._buffer))
            size = int(self.wire._read_until(b"\r\n"), 16)
            piece = self.wire._read(size)
            assert self.wire._read(2) == b"\r\n"
        except (EOFError, ConnectionResetError):
            return None
        if not size:
            self.has_ended_well = True
            return None
        return piece


class OverHttp:
    """A client that counts what it gets; what it sends it does not keep."""

    transport = None

    def __init__(self, server, path, *subprotocols, headers=(), version="HTTP/1.1"):
        self.server = server
        self.path = path
        self.subprotocols = subprotocols
        self.headers = list(headers)
        self.version = version
        self.session = None
        self.received = 0
        self.sent = 0
        self.tries = -1
        self.hello = None
        self.close_said = None
        self._got = collections.deque()
        self.come_back()

    def come_back(self, **hello):
        """Connect; the hello, which has these values."""
        self.tries += 1
        offer = [SUBPROTOCOL, *self.subprotocols]
        if self.session is not None:
            offer.append(f"r.{self.session}.{self.received}.{self.sent}.{self.tries}")
        self.stream = EventStream(
            self.server,
            self.path,
            self.transport,
            offer,
            headers=self.headers,
            version=self.version,
        )
        assert self.stream.status == 200, self.stream.status
        assert self.stream.header("X-WSHandler") == self.transport
        kind, said = self.stream.read_event()
        assert (kind, said[0]) == ("", "h")
        self.hello = json.loads(said[1:])
        assert self.hello.items() >= hello.items()
        self.session = self.hello["session"]
        return self.hello

    def post(self, entries, first=None, *, headers=(), method="POST", body=None):
        """The status of a request that says so."""
        given = {
            "Content-Type": "application/json",
            "X-WSHandler-Session": self.session,
            **({} if first is None else {"X-WSHandler-First": str(first)}),
            **dict(headers),
        }
        body = json.dumps(entries) if body is None else body
        with contextlib.closing(self._connection()) as connection:
            address = self.stream.header("X-WSHandler-Send")
            given = {name: value for name, value in given.items() if value is not None}
            connection.request(method, address, body, given)
            response = connection.getresponse()
            response.read()
            self.last_response = response
            return response.status

    def _connection(self):
        if self.server.scheme == "https":
            context = ssl._create_unverified_context()
            return http.client.HTTPSConnection(
                self.server.host, timeout=DEADLINE_S, context=context
            )
        return http.client.HTTPConnection(self.server.host, timeout=DEADLINE_S)

    def send(self, message):
        assert self.post([entry(message)], self.sent + 1) == 204
        self.sent += 1

    def recv(self):
        """The next message of the application."""
        while True:
            if self._got:
                return self._got.popleft()
            self._hear()

    def _hear(self):
        found = self.stream.read_event()
        if found is None:
            self._go_on()
            return
        kind, said = found
        head = b"m" if kind == "binary" else "m"
        if kind == "close":
            self.close_said = tuple(json.loads(said))
            raise EOFError(self.close_said)
        if said[:1] == head:
            self.received += 1
            self._got.append(said[1:])
        else:
            assert said[:1] in ("a", "p"), found

    def _go_on(self):
        raise EOFError

    def ask(self, message):
        self.send(message)
        return self.recv()

    def close(self, code=1000):
        """Close; what the server says to that."""
        assert self.post([f"c{code} "]) == 204
        return self.read_close()

    def read_close(self):
        """Skip to the close: its code and reason."""
        try:
            while True:
                self.recv()
        except EOFError:
            return self.close_said or ("EOF", "")

    def cut(self):
        """Vanish with a RST."""
        self.stream.wire.reset()

    def leave(self):
        """End without a word."""
        self.stream.wire.end()


class Streaming(OverHttp):
    """By a response that goes on."""

    transport = "stream"


class Polling(OverHttp):
    """By one response after the other."""

    transport = "poll"

    def _go_on(self):
        assert self.stream.has_ended_well
        self.stream.wire.end()
        self.come_back()


def entry(message):
    """A message in a post."""
    if isinstance(message, str):
        return "m" + message
    return {"b": base64.b64encode(b"m" + message).decode()}
