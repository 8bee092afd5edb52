"""A client's WebSocket once it is open: bytes in, messages out, and the other way round.

It never waits, apart from `wait`. All of it is its thread's.
"""

from __future__ import annotations

import collections
import contextlib
import selectors
import socket
import ssl

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

from ..protocol.carrier import Transport
from ..protocol.errors import CloseCode
from ..protocol.frames import Message
from ..resume.endpoint import SUBPROTOCOL
from ..resume.places import own_size
from .reaching import NOT_NOW

_READ_BYTES = 16 * 1024
"""Few: compressed it may be a thousand times as much."""

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_NO_TEXT = "a text that is no UTF-8"


class WebSocketConnection:
    """One WebSocket: a `NetworkConnection`."""

    transport = Transport.WEBSOCKET

    def __init__(
        self, channel: socket.socket, protocol: ClientProtocol, max_size: int | None
    ) -> None:
        """Take over a socket whose opening handshake is done.

        `max_size` is that of the application's messages; of the protocol's `OWN_BYTES` more.
        """
        channel.setblocking(False)
        self._socket = channel
        self._protocol = protocol
        self._unwritten: collections.deque[bytes] = collections.deque()
        self._begun = 0
        self._max_size = max_size
        self._fragments = bytearray()
        self._is_text = False
        self._is_broken = False
        #: Bytes that wait for the network.
        self.unwritten_bytes = 0
        #: Whether nothing comes any more.
        self.is_over = False
        self._selector = selectors.DefaultSelector()
        self._waits_for = selectors.EVENT_READ
        self._selector.register(channel, self._waits_for)
        # Often the first message comes together with the answer to the handshake.
        self._early = self._messages(protocol.events_received())
        self._collect()

    @property
    def subprotocol(self) -> str | None:
        """What the server has answered to the offer."""
        return self._protocol.subprotocol

    @property
    def is_open(self) -> bool:
        """Whether no close frame was sent or received."""
        return self._protocol.state is State.OPEN and not self.is_over

    @property
    def is_closed_by_server(self) -> bool:
        """Whether its close frame has come."""
        return self._protocol.close_rcvd is not None

    @property
    def was_cut(self) -> bool:
        """Whether the network has ended it."""
        return self.close_code == CloseCode.ABNORMAL_CLOSURE

    @property
    def close_code(self) -> int:
        """Of the server's close frame, or else of ours; 1006 if there is none."""
        close = self._protocol.close_rcvd or self._protocol.close_sent
        return CloseCode.ABNORMAL_CLOSURE if close is None else int(close.code)

    @property
    def close_reason(self) -> str:
        """What the close frame says besides."""
        close = self._protocol.close_rcvd or self._protocol.close_sent
        return "" if close is None else close.reason

    def wake_on(self, waker: socket.socket) -> None:
        """Have `wait` end when there is something to read from `waker`."""
        self._selector.register(waker, selectors.EVENT_READ)

    def wait(self, seconds: float | None, *, reads: bool) -> bool:
        """Wait until there is something to do; whether there is something to read."""
        if reads and (self._early or self._is_broken or self._has_decrypted()):
            return True
        self._wait_for(reads)
        ready = self._selector.select(seconds)
        return any(
            key.fileobj is self._socket and events & selectors.EVENT_READ for key, events in ready
        )

    def _has_decrypted(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _wait_for(self, reads: bool) -> None:
        wanted = selectors.EVENT_READ if reads else 0
        wanted |= selectors.EVENT_WRITE if self._unwritten else 0
        if wanted == self._waits_for:
            return
        if not self._waits_for:
            self._selector.register(self._socket, wanted)
        elif not wanted:
            self._selector.unregister(self._socket)
        else:
            self._selector.modify(self._socket, wanted)
        self._waits_for = wanted

    def read(self) -> list[Message] | None:
        """The messages that have come; None if nothing has."""
        if self._early:
            early, self._early = self._early, []
            return early
        try:
            data = self._socket.recv(_READ_BYTES)
        except NOT_NOW:
            self.is_over = self._is_broken
            return None
        except (OSError, ValueError):
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
            self.is_over = True
        messages = self._messages(self._protocol.events_received())
        self._collect()
        return messages

    def _messages(self, events: list[Event]) -> list[Message]:
        messages: list[Message] = []
        for event in events:
            if not isinstance(event, Frame) or event.opcode not in _DATA:
                continue
            if event.opcode is not Opcode.CONT:
                self._is_text = event.opcode is Opcode.TEXT
            self._fragments += event.data
            if event.fin:
                data, self._fragments = bytes(self._fragments), bytearray()
                if self._is_too_big(data):
                    reason = f"a message of more than {self._max_size} bytes"
                    self._protocol.fail(CloseCode.MESSAGE_TOO_BIG, reason)
                    break
                try:
                    messages.append(data.decode() if self._is_text else data)
                except UnicodeDecodeError:
                    self._protocol.fail(CloseCode.INVALID_DATA, _NO_TEXT)
                    break
        return messages

    def _is_too_big(self, data: bytes) -> bool:
        if self._max_size is None or len(data) <= self._max_size:
            return False
        is_ours = self.subprotocol == SUBPROTOCOL
        return len(data) - (own_size(data) if is_ours else 0) > self._max_size

    def send(self, message: Message) -> None:
        """Put a message behind what is not written."""
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._collect()

    def ping(self) -> None:
        """Have the server's system answer."""
        self._protocol.send_ping(b"")
        self._collect()

    def close(self, code: int, reason: str) -> None:
        """Put a close frame behind what is not written, unless there was one."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._collect()

    def _collect(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._unwritten.append(data)
                self.unwritten_bytes += len(data)

    def flush(self) -> bool:
        """Write what the network takes; whether it has taken something."""
        before = self.unwritten_bytes
        try:
            while self._unwritten:
                self._write()
        except NOT_NOW:
            pass
        except (OSError, ValueError):
            # What has come before the loss is still to be read, a close frame for one.
            self._is_broken = True
            self._unwritten.clear()
            self._begun = self.unwritten_bytes = 0
        return self.unwritten_bytes < before

    def _write(self) -> None:
        if len(self._unwritten) > 1 and not self._begun:
            joined = b"".join(self._unwritten)
            self._unwritten.clear()
            self._unwritten.append(joined)
        written = self._socket.send(memoryview(self._unwritten[0])[self._begun :])
        self._begun += written
        self.unwritten_bytes -= written
        if self._begun == len(self._unwritten[0]):
            self._unwritten.popleft()
            self._begun = 0

    def abort(self) -> None:
        """Let go of the socket at once."""
        self.is_over = True
        self._selector.close()
        with contextlib.suppress(OSError):
            self._socket.close()
