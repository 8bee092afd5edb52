"""A client of `wshandler.1`, as small as can be: tests say when it is cut and when it returns."""

import json
import select

from .wire import close, frame, text

SUBPROTOCOL = "wshandler.1"


class Returning:
    """One that counts what it gets, and has it repeated; what it sends it does not keep."""

    def __init__(self, server, path, *subprotocols, headers=()):
        self.server = server
        self.path = path
        self.subprotocols = subprotocols
        self.headers = list(headers)
        self.session = None
        self.received = 0
        self.sent = 0
        self.tries = -1
        self.hello = None
        self.come_back()

    def come_back(self, **hello):
        """Connect; the hello, which has these values."""
        self.tries += 1
        offer = [SUBPROTOCOL, *self.subprotocols]
        if self.session is not None:
            offer.append(f"r.{self.session}.{self.received}.{self.sent}.{self.tries}")
        headers = [*self.headers, ("Sec-WebSocket-Protocol", ", ".join(offer))]
        self.wire = self.server.raw(self.path, headers=headers)
        assert self.wire.status == 101, self.wire.status
        assert self.wire.header("Sec-WebSocket-Protocol") == SUBPROTOCOL
        said = self.wire.read_text()
        assert said[0] == "h"
        self.hello = json.loads(said[1:])
        assert self.hello.items() >= hello.items()
        self.session = self.hello["session"]
        return self.hello

    def send(self, message):
        self.sent += 1
        self.wire.send(
            text("m" + message) if isinstance(message, str) else frame(2, b"m" + message)
        )

    def recv(self):
        """The next message of the application."""
        while True:
            opcode, payload = self.wire.read_frame()
            if payload[:1] == b"m":
                self.received += 1
                return payload[1:].decode() if opcode == 1 else payload[1:]
            assert payload[:1] in (b"a", b"p"), (opcode, payload)

    def ask(self, message):
        self.send(message)
        return self.recv()

    def close(self, code=1000):
        self.wire.send(close(code))
        return self.wire.read_to_end()

    def cut(self):
        """Vanish with a RST."""
        self.wire.reset()

    def leave(self):
        """End without a close frame."""
        self.wire.end()

    @property
    def has_something(self):
        return bool(select.select([self.wire.socket], [], [], 0)[0])
