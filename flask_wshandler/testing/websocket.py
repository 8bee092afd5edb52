"""The client's side of one WebSocket in a test, by the protocol of the package `websockets`.

It has no thread: it reads, and answers pings and closes, inside its own calls and whenever the
clock is moved or everything is waited for. Who does not call it is a client that takes nothing.
"""

from __future__ import annotations

import collections
import contextlib
import json
import select
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN

from ..errors import CloseCode, check_close
from .errors import ConnectionClosed, TimedOut

if TYPE_CHECKING:
    import socket

    from websockets.client import ClientProtocol
    from werkzeug.test import TestResponse

    from .engine import Served
    from .failures import Failures

DEFAULT_TIMEOUT_S = 5.0
_DISCARD_TIMEOUT_S = 0.5

_LOOK_EVERY_S = 0.05
"""Another thread that moves the clock may take from the socket what this one waits for."""
_SOON_S = 0.0005
"""For what does not come through the socket."""

_READ_BYTES = 65536
_READS_AT_ONCE = 1000
_SHOWN_MESSAGES = 5
_SHOWN_CHARACTERS = 80

Message = str | bytes


class Server(Protocol):
    """The app's process that the client is connected to."""

    def settle(self) -> None: ...

    def running(self) -> list[str]: ...

    def gone(self, client: ClientWebSocket) -> None: ...


class ClientWebSocket:
    """One client of an app under test. In a `with` block it is closed at the end.

    One thread at a time. What a callback of this client's handler has raised is raised by the
    next call of `receive`, `send`, `close` or `wait_closed` for which there is no message any
    more, or at the end of the `with` block, if Flask would propagate exceptions (see
    `PROPAGATE_EXCEPTIONS`): each exception once, with its own traceback.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: ClientProtocol,
        response: TestResponse,
        served: Served,
        server: Server,
        failures: Failures,
    ) -> None:
        """`sock` is non-blocking and becomes this object's; the handshake's answer is in it."""
        #: The handshake's answer, as Flask's test client returns it: status 101.
        self.response = response
        #: How often the server has sent a ping.
        self.ping_count = 0
        self._socket = sock
        self._protocol = protocol
        self._served = served
        self._server = server
        self._failures = failures
        # The clock pumps, whatever thread it is moved in.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._inbox: collections.deque[Message] = collections.deque()
        self._fragments: list[bytes] = []
        self._is_text = False
        self._outgoing = bytearray()
        self._has_hung_up = False
        self._is_silent = False
        self._handshake: Response | None = None
        # For the message of a time-out.
        self._came = 0
        self._last: collections.deque[str] = collections.deque(maxlen=_SHOWN_MESSAGES)
        self._hang_up_if_forgotten = weakref.finalize(self, sock.close)

    # What has become of it.

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._protocol.subprotocol

    @property
    def is_compressed(self) -> bool:
        """Whether permessage-deflate was agreed on."""
        return bool(self._protocol.extensions)

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
        close = self._close()
        return None if close is None else close[0]

    @property
    def close_reason(self) -> str:
        """The reason in the first close frame; empty if it had none."""
        close = self._close()
        return "" if close is None else close[1]

    # What it can do.

    def send(self, message: str | bytes, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a text (str) or binary (bytes-like) message.

        Raises `ConnectionClosed`, and `TimedOut` if the server has not taken it in `timeout`
        seconds of real time.
        """
        self._speak()
        try:
            if isinstance(message, str):
                self._write(lambda protocol: protocol.send_text(message.encode()))
            elif isinstance(message, bytes | bytearray | memoryview):
                self._write(lambda protocol: protocol.send_binary(bytes(message)))
            else:
                raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        except InvalidState:
            self._read()
            self._raise_failure()
            raise self._closed_error() from None
        what = f"the server did not read {_shown(message)}"
        self._wait_until(lambda: not self._outgoing, timeout, what)

    def send_json(self, obj: Any) -> None:
        """Send `obj` as JSON in a text message."""
        self.send(json.dumps(obj))

    def receive(self, timeout: float = DEFAULT_TIMEOUT_S) -> Message:
        """The next message: str or bytes.

        What was sent before a close is received after it, too; then `ConnectionClosed` is raised,
        with the code and the reason. Raises `TimedOut` after `timeout` seconds of real time, 0
        to only look.
        """
        self._speak()
        self._wait_until(lambda: self._inbox or self._is_over(), timeout, "no message came")
        with self._lock:
            if self._inbox:
                return self._inbox.popleft()
        self._raise_failure()
        raise self._closed_error()

    def receive_json(self, timeout: float = DEFAULT_TIMEOUT_S) -> Any:
        """The next message, which has to be JSON. Raises what `receive` does, and ValueError."""
        return json.loads(self.receive(timeout))

    def receive_all(self) -> list[Message]:
        """Everything that has come, once all that was sent so far has been handled: maybe nothing.

        It waits until no callback of the app runs or is due, so it can prove that a client was
        sent nothing. It can't know of threads that are not the package's, such as those of
        flask-sock functions and of the app's own. Does not raise when the connection is closed.
        """
        self._speak()
        self._server.settle()
        with self._lock:
            self._read()
            messages = list(self._inbox)
            self._inbox.clear()
        if not messages:
            self._raise_failure()
        return messages

    def wait_closed(self, timeout: float = DEFAULT_TIMEOUT_S) -> int:
        """Wait for the end of the connection and of `on_close`; returns the close code.

        What has come before can still be received. Raises `TimedOut` after `timeout` seconds of
        real time.
        """
        self._speak()
        self._end(timeout, "the server did not close")
        self._raise_failure()
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

        What has come before can still be received. A second call does nothing. Raises
        ValueError for a code or reason that may not be sent, and `TimedOut` after `timeout`
        seconds of real time.
        """
        check_close(code, reason)
        self._speak()
        self._close_and_wait(code, reason, timeout)
        self._raise_failure()

    def abort(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Be gone without a close frame, as when a network ends; wait for `on_close`.

        Raises `TimedOut` after `timeout` seconds of real time.
        """
        with self._lock:
            self._read()
            self._hang_up()
            self._protocol.receive_eof()
        self._end(timeout, "on_close did not come to its end")
        self._raise_failure()

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
                self._close_and_wait(CloseCode.NORMAL_CLOSURE, "", DEFAULT_TIMEOUT_S)
            finally:
                self._failures.raise_all()
            return
        with contextlib.suppress(TimedOut):
            self._close_and_wait(CloseCode.NORMAL_CLOSURE, "", DEFAULT_TIMEOUT_S)
        self._failures.show_below(error)

    def __repr__(self) -> str:
        with self._lock:
            state = "open" if (code := self.close_code) is None else f"closed: {code}"
        return f"<{type(self).__name__} {self.response.request.path} {state}>"

    # For the process that it is connected to.

    @property
    def served(self) -> Served:
        """The server's side."""
        return self._served

    def pump(self) -> bool:
        """Read, and answer pings, unless it is silent. Says whether anything came."""
        with self._lock:
            return not self._is_silent and self._read()

    def open(self, timeout: float) -> None:
        """Read the handshake's answer, and wait until `on_open` has run.

        Raises the `websockets` package's InvalidHandshake, and `TimedOut`.
        """
        self._wait_until(
            lambda: self._handshake or self._has_hung_up, timeout, "no answer came to the handshake"
        )
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        self._wait_until(lambda: self._served.is_idle, timeout, "on_open did not end", _SOON_S)

    def discard(self) -> None:
        """Close for good, as when a page is left; wait for the server, but not for long."""
        with contextlib.suppress(TimedOut):
            self._close_and_wait(CloseCode.GOING_AWAY, "", _DISCARD_TIMEOUT_S)
        self.drop()

    def drop(self) -> None:
        """Be gone without a close frame; wait for the server, but not for long."""
        with self._lock:
            self._hang_up()
        self._served.wait_until_released(time.monotonic() + _DISCARD_TIMEOUT_S)
        self._server.gone(self)

    # The end.

    def _close_and_wait(self, code: int, reason: str, timeout: float) -> None:
        with contextlib.suppress(InvalidState):  # the server was faster
            self._write(lambda protocol: protocol.send_close(code, reason))
        self._end(timeout, "the server did not answer the close")

    def _end(self, timeout: float, what: str) -> None:
        until_s = time.monotonic() + timeout
        self._wait_until(lambda: self._has_hung_up, timeout, what)
        if not self._served.wait_until_finished(until_s):
            raise TimedOut(f"on_close did not end in {timeout:g} s{self._what_runs()}")
        self._served.wait_until_released(until_s)
        self._server.gone(self)

    def _hang_up(self) -> None:
        """Be done with the socket. With _lock held."""
        if not self._has_hung_up:
            self._has_hung_up = True
            self._outgoing.clear()
            self._hang_up_if_forgotten.detach()
            self._socket.close()

    # Reading.

    def _wait_until(
        self,
        question: Callable[[], Any],
        timeout: float,
        what: str,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """Read and write until the answer is true."""
        until_s = time.monotonic() + timeout
        while True:
            self._read()
            if question():
                return
            rest_s = until_s - time.monotonic()
            if rest_s <= 0:
                raise TimedOut(f"{what} in {timeout:g} s{self._what_came()}{self._what_runs()}")
            self._wait(min(rest_s, look_every_s))

    def _wait(self, seconds: float) -> None:
        """Wait until something can be read, or what is to be written can be."""
        with self._lock:
            if self._has_hung_up:
                fd, events = -1, 0
            else:
                fd = self._socket.fileno()
                events = select.POLLIN | (select.POLLOUT if self._outgoing else 0)
        poll = select.poll()
        if events:
            poll.register(fd, events)
        poll.poll(1000 * seconds)

    def _read(self) -> bool:
        """Take what has come, and answer what is to be answered. Says whether anything came."""
        with self._lock:
            for count in range(_READS_AT_ONCE):
                if not self._read_once():
                    return count > 0
            return True

    def _read_once(self) -> bool:
        if self._has_hung_up:
            return False
        self._flush()
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            self._take(event)
        self._collect()
        if data:
            self._flush()
        else:
            self._hang_up()
        return True

    def _take(self, event: object) -> None:
        if isinstance(event, Response):
            self._handshake = event
        elif not isinstance(event, Frame):
            raise TypeError(f"{event!r} is nothing that a client receives")
        elif event.opcode is Opcode.PING:
            self.ping_count += 1
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if event.opcode is not Opcode.CONT:
                self._is_text = event.opcode is Opcode.TEXT
            self._fragments.append(bytes(event.data))
            if event.fin:
                self._put(b"".join(self._fragments))
                self._fragments.clear()

    def _put(self, data: bytes) -> None:
        message: Message = data.decode() if self._is_text else data
        self._inbox.append(message)
        self._came += 1
        self._last.append(_shown(message))

    # Writing.

    def _speak(self) -> None:
        self._is_silent = False

    def _write(self, send: Callable[[ClientProtocol], None]) -> None:
        with self._lock:
            send(self._protocol)
            self._collect()
            self._flush()

    def _collect(self) -> None:
        """Take what the protocol has to say. Its last word, an empty one, is the closing."""
        for data in self._protocol.data_to_send():
            self._outgoing += data

    def _flush(self) -> None:
        while self._outgoing and not self._has_hung_up:
            try:
                count = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError:  # the server has ended the connection; what it sent is still there
                self._outgoing.clear()
                return
            del self._outgoing[:count]

    # What is told.

    def _is_over(self) -> bool:
        return self._has_hung_up or self._protocol.state is not OPEN

    def _close(self) -> tuple[int, str] | None:
        with self._lock:
            if not self._is_silent:
                self._read()
            protocol = self._protocol
            first = protocol.close_rcvd
            if protocol.close_sent is not None and not protocol.close_rcvd_then_sent:
                first = protocol.close_sent
            if first is not None:
                return int(first.code), first.reason
            return (CloseCode.ABNORMAL_CLOSURE.value, "") if self._has_hung_up else None

    def _closed_error(self) -> ConnectionClosed:
        code, reason = self._close() or (CloseCode.ABNORMAL_CLOSURE.value, "")
        error = ConnectionClosed(code, reason)
        error.__cause__ = self._protocol.parser_exc  # the server broke the protocol
        return error

    def _raise_failure(self) -> None:
        self._failures.raise_next()

    def _what_came(self) -> str:
        if not self._came:
            came = "nothing had come before"
        else:
            last = ", ".join(self._last)
            came = f"{self._came} had come before" + (
                f": {last}" if self._came <= _SHOWN_MESSAGES else f", the last of them {last}"
            )
        state = "open" if (code := self.close_code) is None else f"closed with {code}"
        return f"; {came}; the connection is {state}"

    def _what_runs(self) -> str:
        running = self._server.running()
        return f"; {', '.join(running)} is running" if running else ""


def _shown(message: Message | bytearray | memoryview) -> str:
    shown = repr(message[: _SHOWN_CHARACTERS + 1])
    return shown if len(message) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
