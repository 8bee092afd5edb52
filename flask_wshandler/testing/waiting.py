"""Waiting for what a client of a test and its server do, and what is said when it is in vain.

The client has no thread: whoever waits reads and writes for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..protocol.errors import CloseCode
from ..protocol.frames import Message
from .errors import ConnectionClosed, TimedOut
from .patience import Patience
from .wire import Wire

if TYPE_CHECKING:
    from .served import Served

_LOOK_EVERY_S = 0.05
"""Another thread that moves the clock may take from the socket what this one waits for."""
_SOON_S = 0.0005
"""For what does not come through the socket."""

_SHOWN_CHARACTERS = 80


class Process(Protocol):
    """The app's process that the client is connected to."""

    def running(self) -> list[str]:
        """The callbacks that run at this moment."""


class Waiting:
    """Of one client. The client's thread.

    What may be waited for in vain is given a `Patience`, and `what` to say then, in `TimedOut`.
    """

    def __init__(self, wire: Wire, served: Served, process: Process) -> None:
        self._wire = wire
        self._served = served
        self._process = process

    def go_on_with(self, served: Served, process: Process) -> None:
        """The client has come back, by another network connection."""
        self._served = served
        self._process = process

    @property
    def close(self) -> tuple[int, str] | None:
        """Code and reason; None while it is open, or the server waits for the client."""
        if self._wire.is_waiting and not self._served.has_ended:
            return None
        return self._wire.close

    def until_answered(self, patience: Patience) -> None:
        """Wait for the answer to the handshake, be it another one than expected, or none."""
        wire = self._wire
        self._until(lambda: wire.answer or wire.has_hung_up, patience, "no handshake came")

    def until_begun(self, patience: Patience, callback: str) -> None:
        """Wait until both sides may send messages, and the first callback has run."""
        wire = self._wire
        self._until(lambda: wire.has_begun or wire.is_over, patience, "no hello came")
        self._until(lambda: wire.has_written_all, patience, "the server did not read")
        self.until_handled(patience, f"{callback} did not end")

    def until_written(self, message: Message, patience: Patience) -> None:
        """Wait until the server has taken what was sent: `message` is the last of it."""
        what = f"the server did not read {_shown(message)}"
        self._until(lambda: self._wire.has_written_all, patience, what)

    def until_received(self, patience: Patience) -> None:
        """Wait for a message, or until none can come any more."""
        wire = self._wire
        self._until(lambda: wire.has_message or wire.is_over, patience, "no message came")

    def until_said(self, is_there: Callable[[], bool], patience: Patience, what: str) -> None:
        """Wait for a message of a kind, or until none can come any more."""
        wire = self._wire
        self._until(lambda: is_there() or wire.is_over, patience, what)

    def until_handled(self, patience: Patience, what: str) -> None:
        """Wait until the server has handled all that it was sent."""
        served = self._served
        self._until(lambda: served.has_handled_all, patience, what, _SOON_S)

    def until_hung_up(self, patience: Patience, what: str) -> None:
        """Wait until the network connection is over."""
        self._until(lambda: self._wire.has_hung_up, patience, what)

    def until_finished(self, patience: Patience, what: str) -> None:
        """Wait for the last callback that this network connection brings."""
        served = self._served
        self._until(lambda: served.has_finished, patience, what, _SOON_S)

    def until_ended(self, patience: Patience, what: str) -> None:
        """Wait for the last callback of the handler, and for its function if that returns."""
        served = self._served
        self._until(lambda: served.has_ended, patience, what, _SOON_S)
        with contextlib.suppress(TimedOut):  # one may go on without its client
            self._until(lambda: not served.runs_a_function, patience, "", _SOON_S)

    def _until(
        self,
        question: Callable[[], object],
        patience: Patience,
        what: str,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """Read and write until the answer is true."""
        while True:
            self._wire.read()
            if question():
                return
            left_s = patience.look()
            if left_s <= 0:
                raise self._timed_out(what, patience.seconds)
            self._wire.wait(min(left_s, look_every_s))

    # What is told.

    def closed_error(self) -> ConnectionClosed | TimedOut:
        """Why nothing can be sent or received."""
        close = self.close
        if close is None and self._wire.is_waiting:
            return TimedOut("nothing comes while the client is away: come_back()")
        error = ConnectionClosed(*(close or (CloseCode.ABNORMAL_CLOSURE.value, "")))
        error.__cause__ = self._wire.protocol_error
        return error

    def _timed_out(self, what: str, timeout: float) -> TimedOut:
        parts = [f"{what} in {timeout:g} s", self._what_came()]
        parts.append(f"the connection is {self.state(' with ')}")
        running = self._process.running()
        if running:
            parts.append(f"{', '.join(running)} is running")
        return TimedOut("; ".join(parts))

    def state(self, separator: str) -> str:
        """Open, away or closed, then with the code behind `separator`."""
        close = self.close
        if close is not None:
            return f"closed{separator}{close[0]}"
        return "away" if self._wire.is_waiting else "open"

    def _what_came(self) -> str:
        count, latest = self._wire.message_count, list(self._wire.latest)
        if not count:
            return "nothing had come before"
        of_them = "" if count == len(latest) else ", the last of them"
        return f"{count} had come before{of_them or ':'} {', '.join(map(_shown, latest))}"


def _shown(message: Message) -> str:
    """The beginning of a message, for a line that people read."""
    text = repr(message[: _SHOWN_CHARACTERS + 1])
    return text if len(message) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
