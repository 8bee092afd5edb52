"""A client's call from its arrival to its response, and the streams of what goes on after that."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from ..handlers.handler import connection_of
from ..handlers.named_callback import NamedCallback
from . import messages
from .errors import CallError, CallErrorCode, call_error

if TYPE_CHECKING:
    from ..handlers.handler import WebSocketHandler
    from .callees import Callee

Send = Callable[[str], object]

_ITEMS_PER_TURN = 16
_SECONDS_PER_TURN = 0.002
"""Then it is the others' turn, and this client's next message."""


class Request:
    """One call of a client. In its turn, or in the thread that runs it."""

    __slots__ = ("_handler", "_incoming", "_send", "_text", "_token", "callee")

    def __init__(
        self,
        handler: WebSocketHandler,
        callee: Callee,
        incoming: messages.Incoming,
        text: str,
        send: Send,
    ) -> None:
        """`send` takes the response. `text` is the message that `incoming` was read from."""
        self._handler = handler
        self.callee = callee
        self._incoming = incoming
        self._text = text
        self._send = send
        #: Who pops it answers, be it a thread or who has cancelled: once.
        self._token = [None]

    @property
    def id(self) -> messages.Id:
        """What the caller calls it."""
        return self._incoming.id  # type: ignore[return-value]  # floats are refused

    @property
    def has_answer(self) -> bool:
        """Whether the caller waits for a response."""
        return self._incoming.has_answer

    @property
    def is_answered(self) -> bool:
        """Whether it has had its response."""
        return not self._token

    @property
    def name(self) -> str:
        """The call's, in logs and metrics."""
        return self.callee.signature.name

    def callback(self, run: Callable[..., None]) -> NamedCallback:
        """`run`, called like the call."""
        return NamedCallback(self._handler, self.callee.signature.name, run)

    def run(self, text: str | None = None) -> None:
        """Call the method, and answer. What it raises is let out."""
        self.answer(self.invoke(text))

    def invoke(self, text: str | None = None) -> Any:
        """Call the method; what it returns. Raises `CallError` for wrong arguments.

        A middleware may have made another message of it.
        """
        incoming = self._incoming
        if text is not self._text and text is not None:
            found = messages.parse(text)
            if isinstance(found, messages.Incoming):
                incoming = found
        callee = self.callee
        args, kwargs = callee.arguments.decode(incoming.params)
        return getattr(self._handler, callee.signature.attribute)(*args, **kwargs)

    def answer(self, value: Any) -> None:
        """Send the result. Raises TypeError for one that is not of its type."""
        encoded = self.callee.result.encode(value)
        if self._takes_turn():
            self._send(messages.result(self.id, encoded))

    def answer_end(self, value: Any) -> None:
        """Send the result of a stream, which has no type."""
        encoded = messages.encoded(value)
        if self._takes_turn():
            self._send(messages.result(self.id, encoded))

    def fail(self, error: BaseException) -> None:
        """Send the error."""
        if self._takes_turn():
            self._send(messages.error(self.id, error_of(error)))

    def _takes_turn(self) -> bool:
        """Whether there is something to be sent, which then is."""
        try:
            self._token.pop()
        except IndexError:
            return False
        return self._incoming.id is not messages.NO_ID


def error_of(error: BaseException) -> CallError:
    """What the caller is told. Of a fault of ours, nothing but that there was one."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, HTTPException):
        status = error.code if error.response is None else error.response.status_code
        if status is not None and 400 <= status <= 499:
            return CallError(status, error.name, error.description)
    return call_error(CallErrorCode.INTERNAL_ERROR)


class Stream:
    """What a generator yields, some of it in each turn of the client's."""

    def __init__(
        self, handler: WebSocketHandler, request: Request, run: Callable[[Stream], None]
    ) -> None:
        """`run` has `take_items` called as a callback."""
        self._handler = handler
        self.request = request
        self._run = run
        self._items: Iterator[Any] = iter(())
        self._is_over = False
        self._is_paused = False
        self._is_waiting = False

    def begin(self, items: Iterator[Any]) -> None:
        """Go on with the next turns."""
        self._items = items
        self._go_on()

    def pause(self) -> None:
        """The caller has enough for now."""
        self._is_paused = True

    def resume(self) -> None:
        """The caller goes on."""
        self._is_paused = False
        self._go_on()

    def _go_on(self) -> None:
        connection = connection_of(self._handler)
        if connection is not None and not (self._is_waiting or self._is_over):
            self._is_waiting = True
            connection.when_ready(self._step)

    def _step(self) -> None:
        self._is_waiting = False
        if not (self._is_over or self._is_paused):
            self._run(self)

    def take_items(self) -> None:
        """Send some. What the generator raises is let out."""
        until_s = time.monotonic() + _SECONDS_PER_TURN
        for count in itertools.count(1):
            try:
                value = next(self._items)
            except StopIteration as stop:
                self._is_over = True
                self.request.answer_end(stop.value)
                return
            except BaseException:
                self._is_over = True
                raise
            if not send_item(self._handler, self.request, value):
                self.close()
                return
            if count >= _ITEMS_PER_TURN or time.monotonic() >= until_s:
                break
        self._go_on()

    def close(self) -> None:
        """End the generator. What it raises is let out."""
        self._is_over = True
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self._is_over


def send_item(handler: WebSocketHandler, request: Request, value: Any) -> bool:
    """Send one of a stream. False if the client is gone. Raises TypeError for a wrong type."""
    return handler.send(messages.item(request.id, request.callee.result.encode(value)))


class ThreadedCall:
    """A call in a thread of its own: what others may do to it."""

    def __init__(self, handler: WebSocketHandler, request: Request) -> None:
        self._handler = handler
        self.request = request
        self._is_cancelled = False
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._is_ready = threading.Event()

    def pause(self) -> None:
        """The caller of a stream has enough for now."""
        self._may_go_on.clear()

    def resume(self) -> None:
        """The caller goes on."""
        self._may_go_on.set()

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._is_cancelled = True
        self._may_go_on.set()
        self._is_ready.set()

    def run(self, text: str | None = None) -> None:
        """Call the method, and answer. What it raises is let out."""
        returned = self.request.invoke(text)
        if not self.request.callee.signature.is_stream:
            self.request.answer(returned)
            return
        items = iter(returned)
        try:
            self._send_all(items)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def _send_all(self, items: Iterator[Any]) -> None:
        while self._wait_until_ready():
            try:
                value = next(items)
            except StopIteration as stop:
                self.request.answer_end(stop.value)
                return
            if self._is_cancelled or not send_item(self._handler, self.request, value):
                return

    def _wait_until_ready(self) -> bool:
        """Wait until the client has taken what was sent. False if it is over."""
        self._may_go_on.wait()
        connection = connection_of(self._handler)
        if self._is_cancelled or connection is None:
            return False
        self._is_ready.clear()
        connection.when_ready(self._is_ready.set)
        if self._is_cancelled:  # between the two
            return False
        self._is_ready.wait()
        return not self._is_cancelled
