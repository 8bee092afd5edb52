"""The client's end of a connection that goes on after the network was lost: `wshandler.1`.

Invariant: what it says besides the application's messages it says while it reads or begins; so it
has no thread and no time, and probes of the server stand for the latter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.client import ClientProtocol

from ..protocol.errors import CloseCode
from ..resume.endpoint import (
    MESSAGE,
    PROBE,
    SUBPROTOCOL,
    Endpoint,
    Hello,
    Offer,
    Return,
    parse_acknowledgement,
    parse_hello,
)
from .wire import Message, Wire

if TYPE_CHECKING:
    import socket

_ANEW = (CloseCode.SERVICE_RESTART, CloseCode.GOING_AWAY)
"""Of a server that has ended the handler before it has closed, so that nothing was lost."""
_COMES_BACK = (*_ANEW, CloseCode.TRY_AGAIN_LATER, CloseCode.INTERNAL_ERROR)


class ResumableWire(Wire):
    """One client's connection, over any number of sockets. Any thread.

    With a server that does not agree to `wshandler.1` the messages are as in a `Wire`.
    """

    def __init__(
        self, sock: socket.socket, protocol: ClientProtocol, subprotocols: tuple[str, ...]
    ) -> None:
        """`subprotocols` are those of the application that it offers each time."""
        super().__init__(sock, protocol)
        self._subprotocols = subprotocols
        # Guarded by _lock.
        self._endpoint = Endpoint[Message]()
        self._session = ""
        self._tries = 0
        self._hello: Hello | None = None

    @property
    def subprotocol(self) -> str | None:
        """The application's subprotocol that was agreed on."""
        if not self._is_agreed:
            return super().subprotocol
        return None if self._hello is None else self._hello.protocol

    @property
    def has_begun(self) -> bool:
        """Whether it is known who goes on with the client, who has been told what it has sent."""
        return super().has_begun and (self._hello is not None or not self._is_agreed)

    @property
    def is_waiting(self) -> bool:
        """Whether the network is lost, and the client could come back."""
        return self.has_hung_up and self._protocol.close_rcvd is None

    @property
    def may_come_back(self) -> bool:
        """Whether the client would come back of itself, or be there still."""
        close = self._protocol.close_rcvd
        return close is None or close.code in _COMES_BACK

    @property
    def is_resumed(self) -> bool:
        """Whether the server went on with the same handler at the last return."""
        return self._hello is not None and self._hello.resumed

    @property
    def is_lost(self) -> bool:
        """Whether messages of the server may have been lost before the last return."""
        return self._tries > 0 and (not self._is_agreed or self._is_told_of_loss)

    @property
    def _is_told_of_loss(self) -> bool:
        return self._hello is not None and self._hello.lost

    @property
    def _is_agreed(self) -> bool:
        return self._protocol.subprotocol == SUBPROTOCOL

    def send(self, message: Message) -> None:
        """Send a message, or keep it for the return.

        Raises InvalidState of the package `websockets` when the connection is over.
        """
        with self._lock:
            if not (self.has_hung_up and self.may_come_back):
                self._write(self._on_the_wire(message))
            if self._is_agreed or self.has_hung_up:
                self._endpoint.keep(message, len(message))

    def next_offer(self) -> list[str]:
        """The subprotocols to offer at the next return. Counts it as a try."""
        with self._lock:
            self._tries += 1
            return Offer(self._subprotocols, self._return()).tokens()

    def _return(self) -> Return | None:
        if not self._session:
            return None
        close = self._protocol.close_rcvd
        is_anew = close is not None and close.code in _ANEW
        kept = self._endpoint
        return Return(self._session, kept.received, kept.acknowledged, self._tries, is_anew)

    def go_on(self, sock: socket.socket, protocol: ClientProtocol) -> None:
        """Go on over another socket, in which is the answer to a handshake with `next_offer`."""
        sock.setblocking(False)
        with self._lock:
            self.hang_up()
            self._socket = sock
            self._protocol = protocol
            self._fragments.clear()
            self._hello = None
            self.answer = None
            self.has_hung_up = False

    # With _lock held.

    def _take_event(self, event: object) -> None:
        super()._take_event(event)
        if event is self.answer and not self._is_agreed:
            self._send_kept()
            self._endpoint.acknowledge(self._endpoint.sent)  # for nobody does

    def _put(self, data: bytes) -> None:
        if not self._is_agreed:
            super()._put(data)
        elif self._hello is None:
            self._begin(parse_hello(data.decode()))
        elif data[:1] == MESSAGE.encode():
            super()._put(data[1:])
            if self._endpoint.take(len(data)):
                self._write(self._endpoint.tell())
        elif data == PROBE.encode():
            self.ping_count += 1
            self._write(self._endpoint.tell())
        else:
            self._endpoint.acknowledge(parse_acknowledgement(data.decode()))

    def _begin(self, hello: Hello) -> None:
        self._hello = hello
        self._session = hello.session
        self._endpoint.acknowledge(hello.received)
        self._send_kept()

    def _send_kept(self) -> None:
        for message in self._endpoint:
            self._write(self._on_the_wire(message))

    def _on_the_wire(self, message: Message) -> Message:
        if not self._is_agreed:
            return message
        return MESSAGE + message if isinstance(message, str) else MESSAGE.encode() + message
