"""The client's side of one WebSocket in a test, by the protocol of the package `websockets`.

It has no thread: it reads, and answers pings and closes, inside its own calls and whenever the
clock is moved or everything is waited for. Who does not call it is a client that takes nothing.

It is long by its docstrings, which are the reference documentation of one public class. Bytes and
messages are in `wire`, what is waited for in `waiting`, what is called in `calls`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from websockets.exceptions import InvalidState

from ..protocol.errors import CloseCode, check_close
from ..protocol.frames import Message, as_message
from .calls import CallingClient
from .errors import HandshakeRefused, TimedOut
from .patience import DEFAULT_TIMEOUT_S, Patience
from .resumable_wire import ResumableWire
from .waiting import Process, Waiting
from .wire import AnyProtocol, Wire

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from .failures import Failures
    from .served import Served

_DISCARD_TIMEOUT_S = 0.5
_STUCK_S = 1.0
"""For what the server has on its hands before a network is lost."""


class Server(Process, Protocol):
    """The app's process that the client is connected to."""

    def settle(self, timeout: float = ...) -> None: ...

    def spread(self) -> None: ...

    def connected(self, client: ClientWebSocket) -> None: ...

    def gone(self, client: ClientWebSocket) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """A handshake that an app has accepted."""

    #: The client's end, in which is the answer; with what has asked for it.
    sock: socket.socket
    protocol: AnyProtocol
    #: The answer, as Flask's test client returns it.
    response: TestResponse
    #: The server's side.
    served: Served
    server: Server


class Way(Protocol):
    """How a client comes to its WebSocket."""

    def go(self, subprotocols: list[str], client: FlaskClient | None = None) -> Arrival:
        """Make the handshake, by `client` if that is given. Raises what a refused one does."""


class ClientWebSocket(CallingClient):
    """One client of an app under test. In a `with` block it is closed at the end.

    One thread at a time. What a callback of this client's handler has raised is raised by the
    next call of `receive`, `send`, `close` or `wait_closed` for which there is no message any
    more, or at the end of the `with` block, if Flask would propagate exceptions (see
    `PROPAGATE_EXCEPTIONS`): each exception once, with its own traceback.
    """

    def __init__(self, wire: Wire, arrival: Arrival, way: Way, failures: Failures) -> None:
        #: The answer to the last handshake, of Flask's test client: status 101, or a stream's 200.
        self.response = arrival.response
        #: The server's side.
        self.served = arrival.served
        self._wire = wire
        self._server = arrival.server
        self._waiting = Waiting(wire, arrival.served, arrival.server)
        #: Other processes that it was connected to; one of them may have its handler.
        self._earlier: list[Server] = []
        self._way = way
        self._failures = failures
        self._is_silent = False
        #: Whether it was told not to come back.
        self._has_left = False
        self._timeout_s = DEFAULT_TIMEOUT_S
        self._finalizer = self._new_finalizer()
        arrival.server.connected(self)

    def _new_finalizer(self) -> weakref.finalize[[Wire, Served], ClientWebSocket]:
        finalizer = weakref.finalize(self, _forget, self._wire, self.served)
        finalizer.atexit = False
        return finalizer

    # What has become of it.

    @property
    def transport(self) -> str:
        """What it speaks: "websocket" or "stream"."""
        return self._wire.transport.value

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._wire.subprotocol

    @property
    def is_compressed(self) -> bool:
        """Whether permessage-deflate was agreed on."""
        return self._wire.is_compressed

    @property
    def ping_count(self) -> int:
        """How often the server has sent a ping, as far as the client has heard."""
        self.pump()
        return self._wire.ping_count

    @property
    def closed(self) -> bool:
        """Whether the connection is over, as far as the client has heard. Does not wait."""
        return self.close_code is not None

    @property
    def close_code(self) -> int | None:
        """The code of the first close frame, whoever sent it; None while it is open.

        1005 if the frame had no code, 1006 if the connection ended without. Does not wait:
        `wait_closed` does.
        """
        self.pump()
        close = self._waiting.close
        return None if close is None else close[0]

    @property
    def close_reason(self) -> str:
        """The reason in the first close frame; empty if it had none."""
        self.pump()
        close = self._waiting.close
        return "" if close is None else close[1]

    @property
    def was_resumed(self) -> bool:
        """Whether the same handler has gone on at the last `come_back`."""
        return isinstance(self._wire, ResumableWire) and self._wire.is_resumed

    @property
    def was_lost(self) -> bool:
        """Whether another handler has begun at the last `come_back`, and messages may be lost."""
        return isinstance(self._wire, ResumableWire) and self._wire.is_lost

    @property
    def history_gaps(self) -> int:
        """How often it was told that messages of a collection with history are gone."""
        self.pump()
        return self._wire.history_gaps if isinstance(self._wire, ResumableWire) else 0

    # What it can do.

    def send(
        self,
        message: str | bytes | bytearray | memoryview,
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Send a text (str) or binary (bytes-like) message.

        While the client is away, it is kept, and sent at its return. Raises `ConnectionClosed`,
        and `TimedOut` if the server has not taken it in `timeout` seconds of real time.
        """
        message = as_message(message)
        patience = Patience(timeout)
        self._is_silent = False
        try:
            if self._has_left:
                raise InvalidState
            self._wire.send(message)
        except InvalidState:
            self._failures.raise_next()
            raise self._waiting.closed_error() from None
        self._waiting.until_written(message, patience)

    def send_json(self, obj: Any) -> None:
        """Send `obj` as JSON in a text message."""
        self.send(json.dumps(obj))

    def receive(self, timeout: float = DEFAULT_TIMEOUT_S) -> Message:
        """The next message: str or bytes.

        What was sent before a close is received after it, too; then `ConnectionClosed` is raised,
        with the code and the reason. Raises `TimedOut` after `timeout` seconds of real time, 0
        to only look, and at once while the client is away.
        """
        patience = Patience(timeout)
        self._is_silent = False
        self._waiting.until_received(patience)
        message = self._wire.take()
        if message is not None:
            return message
        self._failures.raise_next()
        raise self._waiting.closed_error()

    def receive_json(self, timeout: float = DEFAULT_TIMEOUT_S) -> Any:
        """The next message, which has to be JSON. Raises what `receive` does, and ValueError."""
        return json.loads(self.receive(timeout))

    def receive_all(self, timeout: float = DEFAULT_TIMEOUT_S) -> list[Message]:
        """Everything that has come, once all that was sent so far has been handled: maybe nothing.

        It waits until no callback of the app runs or is due, so it can prove that a client was
        sent nothing. It can't know of threads that are not the package's, such as those of
        flask-sock functions and of the app's own. Does not raise when the connection is closed.
        Raises `TimedOut` after `timeout` seconds of real time.
        """
        patience = Patience(timeout)
        self._is_silent = False
        self._server.settle(patience.seconds)
        messages = self._wire.take_all()
        if not messages:
            self._failures.raise_next()
        return messages

    def wait_closed(self, timeout: float = DEFAULT_TIMEOUT_S) -> int:
        """Wait for the end of the connection and of `on_close`; returns the close code.

        Of a flask-sock function the return is waited for, but not if it takes longer. A client
        that is away is not told of an end: 1006 is returned when the server has given it up.

        What has come before can still be received. Raises `TimedOut` after `timeout` seconds of
        real time.
        """
        patience = Patience(timeout)
        self._is_silent = False
        self._end(patience, "the server did not close")
        self._failures.raise_next()
        code = self.close_code
        assert code is not None  # it has ended
        return code

    def close(
        self,
        code: int = CloseCode.NORMAL_CLOSURE,
        reason: str = "",
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Close, and wait for the server's answer and for its `on_close`.

        What has come before can still be received. A second call does nothing. Of a client that
        is away, which nobody can be told of, `on_close` runs with 1006, as if its time were over.

        Raises ValueError for a code or reason that may not be sent, and `TimedOut` after `timeout`
        seconds of real time.
        """
        check_close(code, reason)
        patience = Patience(timeout)
        self._is_silent = False
        self._close_and_wait(code, reason, patience)
        self._failures.raise_next()

    def abort(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Be gone without a close frame, as when a network ends; wait for `on_close`.

        For good: see `cut` for a network that comes back. Raises `TimedOut` after `timeout`
        seconds of real time.
        """
        patience = Patience(timeout)
        self._has_left = True
        self._wire.read()
        self._wire.hang_up()
        self._end(patience, "on_close did not end")
        self._failures.raise_next()

    def cut(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Lose the network, without a close frame; wait until the server has noticed.

        What the client had sent has been handled by then, and what was sent to it has come,
        unless it was silent; and `on_away` has run. The server waits for the client, which can
        `come_back`, as long as `WSHANDLER_RESUME_S` says: the clock has to be moved for that.

        Of a client that is closed, or away, nothing happens. Raises RuntimeError unless it was
        made with `resumable=True`, and `TimedOut` after `timeout` seconds of real time.
        """
        self._resumable_wire()
        patience = Patience(timeout)
        if not self._is_silent:
            with contextlib.suppress(TimedOut):
                self._waiting.until_handled(Patience(min(_STUCK_S, timeout)), "")
        self._is_silent = False
        self._wire.hang_up()
        self._waiting.until_finished(patience, "on_away did not end")
        self.served.wait_until_released(patience.look())
        self._server.spread()
        self._failures.raise_next()

    def come_back(
        self, *, client: FlaskClient | None = None, timeout: float = DEFAULT_TIMEOUT_S
    ) -> bool:
        """Come back to the handler, by another handshake; whether it is the same that goes on.

        The handshake is a request as the first one was, so guards and views are asked again. Made
        by another `client`, as one of another process of the app, it has that one's cookies.

        Returns True when `on_back` has run; and False, when `on_open` of a new handler has run,
        because there is no other any more, or the client is another user. What both sides have
        sent meanwhile has been sent.

        Raises what a first handshake does, `HandshakeRefused` for one: then the client is away as
        before. Raises `ConnectionClosed` if it was closed by itself, or with a code after which a
        client stays away, RuntimeError unless it was made with `resumable=True`.
        """
        wire = self._resumable_wire()
        patience = Patience(timeout)
        self.pump()
        if self._has_left or not wire.may_come_back:
            raise self._waiting.closed_error()
        arrival = self._return_by(wire, client)
        before = self.served
        self._is_silent = False
        wire.go_on(arrival.sock, arrival.protocol)
        self.response, self.served = arrival.response, arrival.served
        self._finalizer.detach()
        self._finalizer = self._new_finalizer()
        if arrival.server is not self._server:
            self._server.gone(self)
            self._earlier.append(self._server)
            self._server = arrival.server
        self._waiting.go_on_with(arrival.served, arrival.server)
        arrival.server.connected(self)
        self._begin(patience, "on_back")
        before.wait_until_released(patience.look())
        return wire.is_resumed

    def _return_by(self, wire: ResumableWire, client: FlaskClient | None) -> Arrival:
        """Make the handshake. What the old network connection brings meanwhile comes again."""
        was_silent, self._is_silent = self._is_silent, True
        try:
            return self._way.go(wire.next_offer(), client)
        except BaseException:
            self._is_silent = was_silent
            raise

    def _resumable_wire(self) -> ResumableWire:
        if not isinstance(self._wire, ResumableWire):
            raise RuntimeError("this client can't come back: websocket_connect(…, resumable=True)")
        return self._wire

    def go_silent(self) -> None:
        """Read and answer nothing any more, like a client whose network is gone.

        The next call that sends, receives, closes or waits ends it.
        """
        self._is_silent = True

    def __enter__(self) -> ClientWebSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._is_silent = False
                self._close_and_wait(CloseCode.NORMAL_CLOSURE, "", Patience(self._timeout_s))
            finally:
                self._failures.raise_all()
            return
        with contextlib.suppress(TimedOut):
            self._close_and_wait(CloseCode.NORMAL_CLOSURE, "", Patience(self._timeout_s))
        self._failures.show_below(error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.response.request.path} {self._waiting.state(': ')}>"

    # For the process that it is connected to.

    def pump(self) -> bool:
        """Read, and answer pings, unless it is silent. Says whether anything came."""
        return not self._is_silent and self._wire.read()

    @property
    def read_count(self) -> int:
        """How often it has read something."""
        return self._wire.read_count

    def open(self, patience: Patience) -> None:
        """Read the handshake's answer, and wait until `on_open` has run.

        The end of the `with` block will have as much patience. Raises `HandshakeRefused` and
        `TimedOut`.
        """
        self._timeout_s = patience.seconds
        self._begin(patience, "on_open")

    def _begin(self, patience: Patience, callback: str) -> None:
        self._waiting.until_answered(patience)
        error = self._wire.handshake_error
        if error is not None:
            self._wire.hang_up()
            reason = f"the answer is no handshake: {error}"
            raise HandshakeRefused(self.response, reason) from error
        self._waiting.until_begun(patience, callback)
        self._server.spread()

    def discard(self) -> None:
        """Close for good, as when a page is left; wait for the server, but not for long."""
        with contextlib.suppress(TimedOut):
            self._close_and_wait(CloseCode.GOING_AWAY, "", Patience(_DISCARD_TIMEOUT_S))
        self.drop()

    def drop(self) -> None:
        """Be gone without a close frame; wait for the server, but not for long."""
        self._wire.hang_up()
        self.served.leave()
        self.served.wait_until_released(_DISCARD_TIMEOUT_S)
        self._tell_gone()

    # The end.

    def _close_and_wait(self, code: int, reason: str, patience: Patience) -> None:
        self._has_left = True
        with contextlib.suppress(InvalidState):  # the server was faster
            self._wire.send_close(code, reason)
        self._end(patience, "the server did not answer the close")

    def _end(self, patience: Patience, what: str) -> None:
        self._waiting.until_hung_up(patience, what)
        self._waiting.until_finished(patience, "on_close did not end")
        if self._has_left:
            self.served.leave()
        self._waiting.until_ended(patience, "on_close did not end")
        self.served.wait_until_released(patience.look())
        self._server.spread()
        self._tell_gone()

    def _tell_gone(self) -> None:
        for server in (self._server, *self._earlier):
            server.gone(self)


def _forget(wire: Wire, served: Served) -> None:
    wire.hang_up()
    served.leave()
