"""What a client speaks that has no WebSocket, in the shape of the protocol that others speak.

The response that goes on is read from the client's socket; what the client says is a request of the
test client, made in the thread that says it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import h11
from websockets.datastructures import Headers
from websockets.exceptions import InvalidState
from websockets.frames import Close as CloseFrame
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import CLOSED, CLOSING, OPEN, Event, State

from ..client.event_stream import Close, EventStream, StreamError
from ..client.post_queue import Body, PostQueue
from ..protocol.errors import CloseCode
from ..protocol.frames import Message
from ..resume.endpoint import SUBPROTOCOL, ResumeProtocolError, parse_hello

Posting = Callable[[str, str, Body], int]
"""Post to a path, of a session, a body; the status of the answer. Raises what a refusal does."""

_TOO_LARGE = 413


class HttpProtocol:
    """One response's: as much of websockets.client.ClientProtocol as a `Wire` uses."""

    subprotocol = SUBPROTOCOL
    extensions: Sequence[object] = ()
    handshake_exc: Exception | None = None

    def __init__(self, posting: Posting) -> None:
        self._posting = posting
        self._http = h11.Connection(h11.CLIENT)
        self._http.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
        self._http.send(h11.EndOfMessage())
        self._events = EventStream(None)
        self._found: list[Event] = []
        self._posts: PostQueue | None = None
        self._session = ""
        self._path = ""
        self._is_over = False
        self._is_posting = False
        self.parser_exc: Exception | None = None
        self.close_rcvd: CloseFrame | None = None
        self.close_sent: CloseFrame | None = None
        #: Whether the server was the first.
        self.close_rcvd_then_sent: bool | None = None

    @property
    def state(self) -> State:
        """Whether both may speak."""
        if self._is_over:
            return CLOSED
        return CLOSING if self.close_sent or self.close_rcvd else OPEN

    def receive_data(self, data: bytes) -> None:
        """Take what has come."""
        self._http.receive_data(data)
        try:
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._take_head(event)
                elif isinstance(event, h11.Data):
                    self._take_body(bytes(event.data))
                else:
                    self._is_over = True
                    break
        except (h11.RemoteProtocolError, StreamError) as error:
            self.parser_exc = error if self.close_rcvd is None else None
            self._is_over = True

    def receive_eof(self) -> None:
        """The network is gone."""
        self._is_over = True

    def _take_head(self, head: h11.Response) -> None:
        headers = Headers({name.decode(): value.decode() for name, value in head.headers})
        self._path = headers["X-WSHandler-Send"]
        self._found.append(Response(head.status_code, head.reason.decode(), headers))

    def _take_body(self, data: bytes) -> None:
        for event in self._events.feed(data):
            if isinstance(event, Close):
                self.close_rcvd = CloseFrame(event.code, event.reason)
                self.close_rcvd_then_sent = self.close_sent is None
                return
            if self._posts is None:
                self._note_hello(event)
            is_text = isinstance(event, str)
            payload = event.encode() if isinstance(event, str) else event
            self._found.append(Frame(Opcode.TEXT if is_text else Opcode.BINARY, payload))

    def _note_hello(self, message: Message) -> None:
        try:
            hello = parse_hello(message)
        except ResumeProtocolError:
            return
        self._session = hello.session
        self._posts = PostQueue(hello.received)

    def events_received(self) -> list[Event]:
        """What has come since the last call."""
        found, self._found = self._found, []
        return found

    def send_text(self, data: bytes) -> None:
        """Say a text. Raises InvalidState."""
        self._opened().put(data.decode())

    def send_binary(self, data: bytes) -> None:
        """Say bytes. Raises InvalidState."""
        self._opened().put(data)

    def send_close(self, code: int, reason: str) -> None:
        """Say the last. Raises InvalidState."""
        self._opened().put_close(code, reason)
        self.close_sent = CloseFrame(code, reason)

    def _opened(self) -> PostQueue:
        if self.state is not OPEN or self._posts is None:
            raise InvalidState("the connection is not open")
        return self._posts

    def data_to_send(self) -> list[bytes]:
        """Nothing for the socket; what was said is posted."""
        # What a callback sends is read within the request, and answered behind it.
        if self._is_posting or self._posts is None:
            return []
        self._is_posting = True
        try:
            while not self._is_over and (body := self._posts.body) is not None:
                status = self._posting(self._path, self._session, body)
                self._posts.taken()
                if status == _TOO_LARGE:
                    self._posts.clear()
                    self.send_close(CloseCode.MESSAGE_TOO_BIG, "")
        finally:
            self._is_posting = False
        return []
