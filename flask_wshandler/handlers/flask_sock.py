"""flask-sock's model on this engine: a function that talks to one client in its own thread.

That thread is its request's: see `request_thread`.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flask import request
from simple_websocket import ConnectionClosed

from ..protocol.errors import CloseCode
from ..protocol.frames import Message, OutgoingMessage
from .callbacks import HandlerCallbacks
from .flask_internals import tell_teardown
from .handler import WebSocketHandler
from .middleware import Middleware, wrapped
from .signals import message_received, websocket_connected, websocket_disconnected

if TYPE_CHECKING:
    from ..protocol.connection import Connection
    from .request_snapshot import RequestSnapshot

_MOST_WAITING = 64
_MOST_WAITING_BYTES = 2**20
"""Messages that wait for `receive`; then the client is held up, by TCP."""


class Upgrade(Protocol):
    """The response that takes the socket over."""

    @property
    def is_over(self) -> bool: ...

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


class RequestThread(Protocol):
    """The thread that has dispatched the request, and can stay in it."""

    def stay(self, staying: FunctionHandler, body: Upgrade) -> None: ...

    def begin(self) -> bool: ...

    def abandon(self) -> None: ...


class Socket:
    """The object that a flask-sock function is called with: simple-websocket's API.

    `send` may be called by any thread, `receive` by one at a time.
    """

    def __init__(self, handler: FunctionHandler, environ: Mapping[str, Any]) -> None:
        self._handler = handler
        #: The WSGI environ of the handshake.
        self.environ = environ
        #: The subprotocol that was agreed on.
        self.subprotocol: str | None = handler.context.subprotocol

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self._handler.is_open

    @property
    def close_reason(self) -> int:
        """The close code, when the connection is over.

        A member of an IntEnum where it is a known one, as simple-websocket's is.
        """
        code = self._connection.close_code
        try:
            return CloseCode(CloseCode.NO_STATUS_RECEIVED if code is None else code)
        except ValueError:
            assert code is not None  # that has a name
            return code

    @property
    def close_message(self) -> str | None:
        """The close reason, when the connection is over."""
        return self._connection.close_reason or None

    def send(self, data: Any) -> None:
        """Send bytes as a binary message, anything else as the text of its str().

        Waits while the client has not taken `WSHANDLER_MAX_QUEUE_SIZE` bytes. Raises
        `simple_websocket.ConnectionClosed`.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            data = str(data)
        message = OutgoingMessage(data)
        # 14: the longest header a frame can have.
        if not self._connection.wait_until_writable(len(message) + 14):
            raise self._closed()
        if not self._connection.deliver(message):
            raise self._closed()

    def receive(self, timeout: float | None = None) -> Message | None:
        """The next message: str or bytes. None after `timeout` seconds, 0 to only look.

        Raises `simple_websocket.ConnectionClosed` when there is none and will be none.
        """
        message = self._handler.next_message(timeout)
        if message is None and not self.connected:
            raise self._closed()
        return message

    def close(self, reason: int | None = None, message: str | None = None) -> None:
        """Close with a code (1000) and a reason text.

        Raises `simple_websocket.ConnectionClosed` if it is closed already.
        """
        if not self.connected:
            raise self._closed()
        self._handler.close(reason or CloseCode.NORMAL_CLOSURE, message or "")

    @property
    def _connection(self) -> Connection:
        return self._handler.connection

    def _closed(self) -> ConnectionClosed:
        return ConnectionClosed(self.close_reason, self.close_message)


def function_name(function: Callable[..., Any]) -> str:
    """What logs and metrics call a function, or what stands for one: a partial, an object."""
    while not hasattr(function, "__qualname__"):
        inner = getattr(function, "__wrapped__", None) or getattr(function, "func", None)
        if inner is None:
            return type(function).__qualname__
        function = inner
    return str(function.__qualname__)


class FunctionHandler(WebSocketHandler):
    """Runs a function in the thread of its request, from `on_open` until it returns."""

    #: Where a user has set what is set here.
    _settings_name = "SOCK_SERVER_OPTIONS"

    def __init__(
        self,
        function: Callable[[Socket], Any],
        options: Mapping[str, Any],
        request_thread: RequestThread,
    ) -> None:
        """`options` are flask-sock's `SOCK_SERVER_OPTIONS`; `request_thread` is this request's."""
        self._function = function
        self._request_thread = request_thread
        # The thread's.
        self._snapshot: RequestSnapshot
        self._end_code: int = CloseCode.NORMAL_CLOSURE
        self._middlewares: Sequence[Middleware] = ()
        #: Whether it is called, or its request's teardown functions are. Written by one at a time.
        self.is_running = False
        if options.get("max_message_size") is not None:
            self.max_message_size = options["max_message_size"]
        if options.get("ping_interval") is not None:
            self.ping_interval = options["ping_interval"] or None  # 0 is none there

        self._changed = threading.Condition()
        # Guarded by _changed.
        self._inbox: collections.deque[Message] = collections.deque()
        self._inbox_size = 0
        self._is_paused = False
        self._is_over = False

    @property
    def connection(self) -> Connection:
        """The connection, once it is open."""
        return self._peer  # type: ignore[return-value]  # nothing else is ever given

    @property
    def _shown_name(self) -> str:
        return function_name(self._function)

    def _shown_callback(self, name: str) -> str:
        # It is one function to its author; the others are receivers' of signals.
        return self._shown_name if name == "function" else super()._shown_callback(name)

    def on_open(self) -> None:
        """Let the function begin."""
        self.is_running = True
        if not self._request_thread.begin():
            self.is_running = False
            self.close(CloseCode.INTERNAL_ERROR)

    def on_message(self, message: Message) -> None:
        """Keep a message for `receive`; hold the client up when there are many."""
        with self._changed:
            self._inbox.append(message)
            self._inbox_size += len(message)
            if len(self._inbox) >= _MOST_WAITING or self._inbox_size >= _MOST_WAITING_BYTES:
                self._is_paused = True
                self.connection.pause()
            self._changed.notify()

    def on_close(self) -> None:
        """Let `receive` know."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def next_message(self, timeout: float | None) -> Message | None:
        """The next message, or None: after `timeout` seconds, or because there will be none."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._inbox:
                rest = None if until is None else until - time.monotonic()
                if self._is_over or (rest is not None and rest <= 0):
                    return None
                self._changed.wait(rest)
            message = self._inbox.popleft()
            self._inbox_size -= len(message)
            if (
                self._is_paused
                and len(self._inbox) <= _MOST_WAITING // 2
                and self._inbox_size <= _MOST_WAITING_BYTES // 2
            ):
                self._is_paused = False
                self.connection.resume()
            return message

    def use_middlewares(self, middlewares: Sequence[Middleware]) -> None:
        """Have them around the function."""
        self._middlewares = middlewares

    # The request's thread.

    def stay(self, upgrade: Upgrade, snapshot: RequestSnapshot) -> None:
        """Have the response leave, and call the function when the connection has opened."""
        self._snapshot = snapshot
        self._request_thread.stay(self, upgrade)
        upgrade.abandon()

    def abandon(self) -> None:
        """The connection will not open. Any thread."""
        self._request_thread.abandon()

    def run(self) -> None:
        """Call the function, inside its request."""
        threading.current_thread().name = f"wshandler-{self._shown_name}"
        try:
            wrapped(self.function, self, self._middlewares)()
        except BaseException as error:
            # Also what is no Exception, as of a callback: nobody is above to deal with it.
            callbacks = self._callbacks()
            callbacks.report(self.function, error)
            if callbacks.is_fault(error):
                tell_teardown(error)
            self._end_code = callbacks.failed(error)

    def function(self) -> None:
        """Call the function; what it raises has this name in the logs."""
        with contextlib.suppress(ConnectionClosed):
            self._function(Socket(self, request.environ))

    def finish(self, error: BaseException | None) -> None:
        """Close, after the teardown functions."""
        if error is not None:
            callbacks = self._callbacks()
            callbacks.report_teardown(self.function, error)
            self._end_code = callbacks.failed(error)
        self.is_running = False
        self.close(self._end_code)

    def _callbacks(self) -> FunctionCallbacks:
        # Not among the callbacks that are watched: it may run for as long as the client stays.
        return FunctionCallbacks(self, self._snapshot, running={})


_SIGNALS = {
    "on_open": websocket_connected,
    "on_text": message_received,
    "on_binary": message_received,
    "on_message": message_received,
    "on_close": websocket_disconnected,
}
"""What is sent with which callback."""


class FunctionCallbacks(HandlerCallbacks):
    """Calls this package's own part of a function: in Flask's contexts for receivers of signals.

    Without receivers there is nothing of the app's in it, and its teardown functions are not to
    run for that. The function has its request's contexts.
    """

    __slots__ = ()

    def call(self, callback: Callable[..., object], message: Message | None = None) -> int | None:
        """Call `callback`. Returns None, or the close code for what it has raised."""
        signal = _SIGNALS.get(callback.__name__)
        if signal is not None and signal.receivers:
            return super().call(callback, message)
        try:
            if message is None:
                callback()
            else:
                callback(message)
        except BaseException as error:
            self.report(callback, error)
            return self.failed(error)
        return None


FunctionHandler._callbacks_class = FunctionCallbacks  # which needs what the handler has
