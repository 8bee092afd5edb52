"""The client's end of a connection that goes on after the network was lost: `wshandler.1`.

What it offers, counts and keeps is the Python client's `ClientSession`; here it has the sockets of
a test, one after the other.

Invariant: what it says besides the application's messages it says while it reads or begins; so it
has no thread and no time, and probes of the server stand for the latter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.exceptions import InvalidState
from websockets.protocol import OPEN

from ..client.session import ClientSession, Gap, comes_back
from ..protocol.errors import CloseCode
from ..protocol.frames import Message
from ..resume.endpoint import PROBE, SUBPROTOCOL
from .wire import AnyProtocol, Wire

if TYPE_CHECKING:
    import socket

_NO_TIME_S = 0.0


class ResumableWire(Wire):
    """One client's connection, over any number of sockets. Any thread.

    With a server that does not agree to `wshandler.1` the messages are as in a `Wire`.
    """

    def __init__(self, sock: socket.socket, protocol: AnyProtocol, session: ClientSession) -> None:
        """`session` has made the offer of the handshake, and is this one's from now on."""
        super().__init__(sock, protocol)
        # Guarded by _lock.
        self._session = session
        self._has_come_back = False
        #: Those of the session before the last return.
        self._gaps_before = 0

    @property
    def subprotocol(self) -> str | None:
        """The application's subprotocol that was agreed on."""
        return self._session.protocol

    @property
    def has_begun(self) -> bool:
        """Whether it is known who goes on with the client, who has been told what it has sent."""
        return self._session.is_open

    @property
    def is_waiting(self) -> bool:
        """Whether the network is lost, and the client could come back."""
        return self.has_hung_up and self._protocol.close_rcvd is None

    @property
    def may_come_back(self) -> bool:
        """Whether the client would come back of itself, or be there still."""
        return comes_back(self._code_of_loss)

    @property
    def is_resumed(self) -> bool:
        """Whether the server went on with the same handler at the last return."""
        return self.answer is not None and self._session.is_resumed

    @property
    def is_lost(self) -> bool:
        """Whether messages of the server may have been lost before the last return."""
        is_told = self._gaps > self._gaps_before
        return self._has_come_back and (is_told or self._protocol.subprotocol != SUBPROTOCOL)

    @property
    def _gaps(self) -> int:
        return self._session.gaps - self._session.history_gaps

    @property
    def history_gaps(self) -> int:
        """How often the server has said that messages in a log can't be had."""
        return self._session.history_gaps

    @property
    def _code_of_loss(self) -> int:
        close = self._protocol.close_rcvd
        return CloseCode.ABNORMAL_CLOSURE if close is None else int(close.code)

    def send(self, message: Message) -> None:
        """Send a message, or keep it for the return.

        Raises InvalidState of the package `websockets` when the connection is over.
        """
        with self._lock:
            if self.is_over and not (self.has_hung_up and self.may_come_back):
                raise InvalidState("the connection is over")
            self._session.send(message)
            self._write_outgoing()

    def next_offer(self) -> list[str]:
        """The subprotocols to offer at the next return. Counts it as a try."""
        with self._lock:
            if self.is_over:
                self._session.lost(self._code_of_loss)
            return self._session.offer()

    def hang_up(self) -> None:
        """Close the socket: the network is lost."""
        with self._lock:
            super().hang_up()
            self._session.lost(self._code_of_loss)

    def go_on(self, sock: socket.socket, protocol: AnyProtocol) -> None:
        """Go on over another socket, in which is the answer to a handshake with `next_offer`."""
        sock.setblocking(False)
        with self._lock:
            self.hang_up()
            self._socket = sock
            self._protocol = protocol
            self._fragments.clear()
            self._has_come_back = True
            self._gaps_before = self._gaps
            self.answer = None
            self.has_hung_up = False

    # With _lock held.

    def _take_event(self, event: object) -> None:
        super()._take_event(event)
        if event is self.answer and self._protocol.state is OPEN:
            self._session.answered(self._protocol.subprotocol, _NO_TIME_S)
            self._write_outgoing()

    def _receive(self, message: Message) -> None:
        self._session.receive(message, _NO_TIME_S)
        if message == PROBE and not self._session.is_plain:
            self.ping_count += 1
        while self._session.taken:
            taken = self._session.taken.popleft()
            if not isinstance(taken, Gap):
                super()._receive(taken)
        self._write_outgoing()

    def _write_outgoing(self) -> None:
        while self._session.has_outgoing and self._protocol.state is OPEN:
            self._write(self._session.next_outgoing())
