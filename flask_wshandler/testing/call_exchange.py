"""What the calls of a test's client say and are told.

The ids of its calls are texts of its own, so that what a test sends by itself is not mixed up with
them: only what answers a call is taken from among the messages, and the others stay in their order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from ..calls import messages
from ..calls.errors import CallError, CallErrorCode
from ..protocol.frames import Message
from .errors import ConnectionClosed, TimedOut
from .failures import Failures
from .patience import DEFAULT_TIMEOUT_S, Patience
from .waiting import Waiting
from .wire import Wire


class CallExchange:
    """One call of a client, of which there may be several. The client's thread."""

    def __init__(
        self,
        wire: Wire,
        waiting: Waiting,
        failures: Failures,
        send: Callable[[str], None],
        number: str,
    ) -> None:
        self._wire = wire
        self._waiting = waiting
        self._failures = failures
        self._send = send
        self._number = number

    def start(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> StartedCall:
        """Send a call."""
        self._send(messages.request(self._number, name, _params(arguments, named)))
        return StartedCall(self, name)

    def stream(
        self, name: str, arguments: tuple[Any, ...], named: dict[str, Any], timeout: float
    ) -> Generator[Any, None, Any]:
        """Send a call; the generator over what it yields."""
        self.start(name, arguments, named)
        return self._items(name, timeout)

    def notify(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Send a call that is not answered."""
        self._send(messages.notification(name, _params(arguments, named)))

    def received(self, message: Message) -> ReceivedCall:
        """A call of the server's. Raises ValueError for what is none."""
        found = messages.parse(message) if isinstance(message, str) else None
        if not isinstance(found, messages.Incoming) or not isinstance(found.method, str):
            raise ValueError(f"{message!r:.200} is no call")
        return ReceivedCall(found, found.method, self._send)

    def cancel(self) -> None:
        """Tell the server that nobody waits for it."""
        self._send(messages.notification(messages.CANCEL, {"id": self._number}))

    def wait(self, name: str, timeout: float) -> messages.Incoming:
        """What comes next for it: an item, or the response."""
        patience = Patience(timeout)
        found: list[messages.Incoming] = []
        self._waiting.until_said(lambda: self._take_into(found), patience, f"no answer of {name}")
        if not found:
            self._failures.raise_next()
            raise self._waiting.closed_error()
        return found[0]

    def _take_into(self, found: list[messages.Incoming]) -> bool:
        self._wire.take_first(lambda message: self._concerns_it(message, found))
        return bool(found)

    def _concerns_it(self, message: Message, found: list[messages.Incoming]) -> bool:
        if not isinstance(message, str) or f'"{self._number}"' not in message:
            return False
        incoming = messages.parse(message)
        if not isinstance(incoming, messages.Incoming):
            return False
        is_item = incoming.method == messages.ITEM
        number = messages.id_in(incoming.params) if is_item else incoming.id
        if number != self._number or (isinstance(incoming.method, str) and not is_item):
            return False
        found.append(incoming)
        return True

    def result_of(self, response: messages.Incoming) -> Any:
        """What a response says. Raises its error, or what has been raised in the app."""
        error = messages.error_in(response)
        if error is None:
            return msgspec.json.decode(response.result)
        if error.code == CallErrorCode.INTERNAL_ERROR:
            self._failures.raise_next()
        raise error

    def _items(self, name: str, timeout: float) -> Generator[Any, None, Any]:
        while True:
            incoming = self.wait(name, timeout)
            if incoming.method != messages.ITEM:
                return self.result_of(incoming)
            try:
                yield msgspec.json.decode(incoming.params)["value"]
            except GeneratorExit:
                self._end(name, timeout)
                raise

    def _end(self, name: str, timeout: float) -> None:
        with contextlib.suppress(ConnectionClosed, TimedOut):
            self.cancel()
            while self.wait(name, timeout).method == messages.ITEM:
                pass


class StartedCall:
    """A call that is under way. Made by `start_call`."""

    def __init__(self, exchange: CallExchange, name: str) -> None:
        self._exchange = exchange
        self._name = name
        self._response: messages.Incoming | None = None

    def result(self, timeout: float = DEFAULT_TIMEOUT_S) -> Any:
        """Wait for the result. Raises what `call` does."""
        if self._response is None:
            response = self._exchange.wait(self._name, timeout)
            if response.method == messages.ITEM:
                raise TypeError(f"{self._name} yields: iterate over ws.stream({self._name!r}, …)")
            self._response = response
        return self._exchange.result_of(self._response)

    def cancel(self) -> None:
        """Have it end with the error -32800, unless it is over."""
        self._exchange.cancel()


class ReceivedCall:
    """A call of the server's to the client. Made by `receive_call`."""

    def __init__(self, incoming: messages.Incoming, name: str, send: Callable[[str], None]) -> None:
        #: What is called.
        self.name = name
        #: A list, or a dict by their names.
        self.arguments: Any = msgspec.json.decode(incoming.params) if bytes(incoming.params) else []
        #: Whether the server waits for an answer.
        self.is_answered = incoming.has_answer
        self._incoming = incoming
        self._send = send

    def answer(self, value: Any = None) -> None:
        """Send the result. Raises ValueError for a call that is not answered."""
        self._send(messages.result(self._id, messages.encoded(value)))

    def fail(self, error: CallError) -> None:
        """Send an error in its place. Raises what `answer` does."""
        self._send(messages.error(self._id, error))

    @property
    def _id(self) -> messages.Id:
        if not self.is_answered:
            raise ValueError(f"the server waits for no answer of {self.name}")
        return self._incoming.id  # type: ignore[return-value]  # floats are refused

    def __repr__(self) -> str:
        return f"<ReceivedCall {self.name} {self.arguments!r}>"


def _params(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    if arguments and named:
        raise TypeError("arguments go by their places or by their names, not both")
    return named or list(arguments)
