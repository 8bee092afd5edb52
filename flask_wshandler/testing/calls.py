"""The calls of a test's client. Without msgspec there are none, and all else is as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .patience import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from ..protocol.frames import Message
    from .call_exchange import CallExchange, ReceivedCall, StartedCall
    from .failures import Failures
    from .waiting import Waiting
    from .wire import Wire


class CallingClient:
    """A client that calls a hub, and is called by it."""

    _wire: Wire
    _waiting: Waiting
    _failures: Failures
    _is_silent: bool
    _call_count = 0

    def send(self, message: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a message."""
        raise NotImplementedError

    def receive(self, timeout: float = DEFAULT_TIMEOUT_S) -> Message:
        """The next message."""
        raise NotImplementedError

    def call(
        self, name: str, /, *arguments: Any, timeout: float = DEFAULT_TIMEOUT_S, **named: Any
    ) -> Any:
        """Call a method of a `Hub`, and return its result, as JSON has it.

        Arguments go by their places or by their names. What comes meanwhile can be received after
        it. Raises `CallError` for an error; what the method has raised itself where it is a fault
        and Flask would propagate exceptions; and what `send` and `receive` do, `TimedOut` after
        `timeout` seconds of real time.
        """
        return self.start_call(name, *arguments, **named).result(timeout)

    def start_call(self, name: str, /, *arguments: Any, **named: Any) -> StartedCall:
        """Call a method of a `Hub`; its result is waited for later, by `result(timeout)`.

        So a test can do what the result depends on, such as to answer a call of the server's;
        `cancel()` has it end with -32800.
        """
        return self._exchange.start(name, arguments, named)

    def stream(
        self, name: str, /, *arguments: Any, timeout: float = DEFAULT_TIMEOUT_S, **named: Any
    ) -> Iterator[Any]:
        """Call a method of a `Hub` that yields: an iterator over the items, as JSON has them.

        Leaving the loop early, or `close()`, cancels it: nothing of it comes after that.
        Each item is waited for so long. Raises what `call` does.
        """
        return self._exchange.stream(name, arguments, named, timeout)

    def notify(self, name: str, /, *arguments: Any, **named: Any) -> None:
        """Call a method of a `Hub`, and have nothing answered."""
        self._exchange.notify(name, arguments, named)

    def receive_call(self, timeout: float = DEFAULT_TIMEOUT_S) -> ReceivedCall:
        """The next message, which has to be a call of the server's: its `name` and `arguments`.

        `answer(value)` and `fail(error)` answer it. Raises what `receive` does, and ValueError.
        """
        exchange = self._exchange
        return exchange.received(self.receive(timeout))

    @property
    def _exchange(self) -> CallExchange:
        # First, since it says what to install where msgspec is missing.
        from ..calls import CallError as _  # noqa: F401
        from .call_exchange import CallExchange

        self._is_silent = False
        self._call_count += 1
        # Not kept: it would keep this client, which ends when nobody has it any more.
        return CallExchange(
            self._wire, self._waiting, self._failures, self.send, f"call-{self._call_count}"
        )
