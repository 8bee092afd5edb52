"""flask-sock's model on this engine: a function that talks to one client in its own thread."""

from __future__ import annotations

import collections
import contextlib
import copy
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flask import g
from simple_websocket import ConnectionClosed

from .callbacks import HandlerCallbacks
from .errors import CloseCode
from .frames import Message, OutgoingMessage
from .handler import WebSocketHandler

if TYPE_CHECKING:
    from .connection import Connection

_MOST_WAITING = 64
_MOST_WAITING_BYTES = 2**20
"""Messages that wait for `receive`; then the client is held up, by TCP."""


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
        """The close code, when the connection is over."""
        code = self._connection.close_code
        return CloseCode.NO_STATUS_RECEIVED if code is None else code

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
        if not self._connection.wait_for_room(len(message) + 14):
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


class FunctionHandler(WebSocketHandler):
    """Runs a function in a thread, from `on_open` until it returns."""

    #: Where a user has set what is set here.
    _settings_name = "SOCK_SERVER_OPTIONS"

    def __init__(
        self,
        function: Callable[..., Any],
        view_args: Mapping[str, Any],
        options: Mapping[str, Any],
        handshake_g: object,
    ) -> None:
        """`options` are flask-sock's `SOCK_SERVER_OPTIONS`.

        `handshake_g` is the `g` of the handshake: to the function, as in flask-sock, it is one
        request from beginning to end.
        """
        self._function = function
        self._view_args = view_args
        self._handshake_g = handshake_g
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
        return getattr(self._function, "__qualname__", "function")

    def on_open(self) -> None:
        """Start the function's thread."""
        name = f"wshandler-{getattr(self._function, '__name__', 'function')}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def function_name(self) -> str:
        """What the function is called."""
        return str(getattr(self._function, "__qualname__", "function"))

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

    def _run(self) -> None:
        # Not among the callbacks that are watched: it may run for as long as the client stays.
        snapshot = copy.copy(self.context._snapshot)
        if snapshot.variables is not None:  # entered by the turn's callbacks meanwhile
            snapshot.variables = snapshot.variables.copy()
        callbacks = HandlerCallbacks(self, snapshot, running={})
        self.close(callbacks.call(self._function_in_context) or CloseCode.NORMAL_CLOSURE)

    def _function_in_context(self) -> None:
        vars(g._get_current_object()).update(vars(self._handshake_g))
        with contextlib.suppress(ConnectionClosed):
            self._function(Socket(self, self.context.server_variables), **self._view_args)


FunctionHandler._function_in_context.__name__ = "function"
