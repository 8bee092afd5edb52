"""The client's end of a socket pair, and the protocol on it: bytes to messages and back.

No thread of its own: whoever waits for something reads. Pings and closes are answered by reading.
"""

from __future__ import annotations

import collections
import socket
import threading
from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN

from ..protocol.carrier import Transport
from ..protocol.errors import CloseCode
from ..protocol.frames import Message
from ..transports.readiness import READABLE, WRITABLE, new_watch
from .http_protocol import HttpProtocol

AnyProtocol = ClientProtocol | HttpProtocol

_READ_BYTES = 65536
_READS_AT_ONCE = 1000
_REMEMBERED_MESSAGES = 5


class Wire:
    """One client's connection. Any thread."""

    def __init__(self, sock: socket.socket, protocol: AnyProtocol) -> None:
        """`sock` is ours from now on; the answer to the handshake is in it."""
        sock.setblocking(False)
        # Guarded by _lock where another one can follow.
        self._socket = sock
        self._protocol = protocol
        # Reentrant: what is sent is collected where something is read.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._inbox: collections.deque[Message] = collections.deque()
        self._fragments: list[bytes] = []
        self._is_text = False
        self._outgoing = bytearray()
        #: The answer to the handshake, once it has come.
        self.answer: Response | None = None
        #: Whether the socket is closed.
        self.has_hung_up = False
        self.ping_count = 0
        #: How often something has been read.
        self.read_count = 0
        #: How many messages have come, and the latest of them.
        self.message_count = 0
        self.latest: collections.deque[Message] = collections.deque(maxlen=_REMEMBERED_MESSAGES)

    @property
    def handshake_error(self) -> Exception | None:
        """What is wrong with the answer to the handshake."""
        return self._protocol.handshake_exc

    @property
    def protocol_error(self) -> Exception | None:
        """How the server has broken the protocol."""
        return self._protocol.parser_exc

    @property
    def transport(self) -> Transport:
        """What it speaks."""
        is_stream = isinstance(self._protocol, HttpProtocol)
        return Transport.STREAM if is_stream else Transport.WEBSOCKET

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._protocol.subprotocol

    @property
    def is_compressed(self) -> bool:
        """Whether permessage-deflate was agreed on."""
        return bool(self._protocol.extensions)

    @property
    def has_begun(self) -> bool:
        """Whether messages can be sent."""
        return self.answer is not None

    @property
    def is_waiting(self) -> bool:
        """Whether the network is lost, and the client could come back."""
        return False

    @property
    def is_over(self) -> bool:
        """Whether no message will come any more but those that have come."""
        return self.has_hung_up or self._protocol.state is not OPEN

    @property
    def has_message(self) -> bool:
        """Whether a message has come that nobody has taken."""
        return bool(self._inbox)

    @property
    def has_written_all(self) -> bool:
        """Whether the server has been given everything."""
        return not self._outgoing

    @property
    def close(self) -> tuple[int, str] | None:
        """Code and reason of the first close frame, whoever sent it; None while it is open."""
        with self._lock:
            protocol = self._protocol
            first = protocol.close_rcvd
            if protocol.close_sent is not None and not protocol.close_rcvd_then_sent:
                first = protocol.close_sent
            if first is not None:
                return int(first.code), first.reason
            return (CloseCode.ABNORMAL_CLOSURE.value, "") if self.has_hung_up else None

    def take(self) -> Message | None:
        """The next message; None if there is none."""
        with self._lock:
            return self._inbox.popleft() if self._inbox else None

    def take_first(self, is_wanted: Callable[[Message], bool]) -> Message | None:
        """The first message that is wanted; the others stay. None if there is none."""
        with self._lock:
            for place, message in enumerate(self._inbox):
                if is_wanted(message):
                    del self._inbox[place]
                    return message
            return None

    def take_all(self) -> list[Message]:
        """All messages that have come."""
        with self._lock:
            messages = list(self._inbox)
            self._inbox.clear()
            return messages

    def read(self) -> bool:
        """Take what has come, and answer what is to be answered. Says whether anything came."""
        with self._lock:
            for count in range(_READS_AT_ONCE):
                if not self._read_once():
                    return count > 0
            return True

    def send(self, message: Message) -> None:
        """Send a message, as far as the server takes it.

        Raises InvalidState of the package `websockets` when the connection is not open.
        """
        self._write(message)

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake. Raises InvalidState when it has begun or is over."""
        with self._lock:
            self._protocol.send_close(code, reason)
            self._collect()
            self._flush()

    def wait(self, seconds: float) -> None:
        """Wait until something can be read, or what is to be written can be."""
        watch = new_watch()
        with self._lock:
            if not self.has_hung_up:
                watch.register(self._socket, READABLE | (WRITABLE if self._outgoing else 0))
        watch.wait(seconds)

    def hang_up(self) -> None:
        """Close the socket."""
        with self._lock:
            if not self.has_hung_up:
                self.has_hung_up = True
                self._outgoing.clear()
                self._socket.close()
                self._protocol.receive_eof()
                _forget_frames(self._protocol.parser_exc)

    def _write(self, message: Message) -> None:
        with self._lock:
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
            self._collect()
            self._flush()

    # With _lock held.

    def _read_once(self) -> bool:
        if self.has_hung_up:
            return False
        self._flush()
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.read_count += 1
        if not data:
            self.hang_up()
            return True
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            self._take_event(event)
        self._collect()
        self._flush()
        return True

    def _take_event(self, event: object) -> None:
        if isinstance(event, Response):
            self.answer = event
        elif isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.ping_count += 1
        elif isinstance(event, Frame) and event.opcode in _OF_MESSAGES:
            if event.opcode is not Opcode.CONT:
                self._is_text = event.opcode is Opcode.TEXT
            self._fragments.append(bytes(event.data))
            if event.fin:
                data = b"".join(self._fragments)
                self._fragments.clear()
                self._receive(data.decode() if self._is_text else data)

    def _receive(self, message: Message) -> None:
        self._inbox.append(message)
        self.latest.append(message)
        self.message_count += 1

    def _collect(self) -> None:
        """Take what the protocol has to say. Its last word is an empty one: the end."""
        for data in self._protocol.data_to_send():
            self._outgoing += data

    def _flush(self) -> None:
        while self._outgoing and not self.has_hung_up:
            try:
                count = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError:  # the server has gone; what it sent before can still be read
                self._outgoing.clear()
                return
            del self._outgoing[:count]


_OF_MESSAGES = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


def _forget_frames(error: BaseException | None) -> None:
    """Keep no frames of the test's by the traceback of an error that is kept."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
