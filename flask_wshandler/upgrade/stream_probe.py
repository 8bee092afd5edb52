"""A response over HTTP to a client that only looks at the app: it is told something, and is silent.

It has no session, so there is nothing to come back to, and nothing can be posted to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.closing_handshake import Cause
from ..protocol.connection import Connection
from ..protocol.event_stream import LAST_CHUNK, chunk, close_event, message_event

if TYPE_CHECKING:
    from ..protocol.carrier import Carrier
    from ..protocol.connection import Callbacks, Place
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget

PING = "p"
"""What is said to a client for which there is nothing else, as `wshandler.1` has it."""


class StreamProbe(Connection):
    """The response, until either end closes it. It is in no figures."""

    __slots__ = ("_is_chunked", "transport")

    def __init__(
        self,
        callbacks: Callbacks,
        settings: ClientSettings,
        carrier: Carrier,
        budget: QueueBudget,
        slot: Place | None,
    ) -> None:
        super().__init__(callbacks, settings, budget=budget, slot=slot, is_probe=True)
        self._is_chunked = carrier.is_chunked
        self.transport = carrier.transport

    def say(self, text: str) -> None:
        """Send a text message. Any thread."""
        with self._lock:
            self._put(self._text_event(text))

    def receive_data(self, data: bytes) -> None:
        """Throw away what no client sends that waits for a response to end."""

    # With _lock held.

    def _put_ping(self) -> None:
        self._awaited_pongs = 0  # nobody can answer here
        self._put(self._text_event(PING))

    def _text_event(self, text: str) -> bytes:
        return self._encoded(message_event(text.encode(), is_text=True))

    def _start_close(self, code: int, reason: str) -> None:
        self._note_close(code, reason)
        last_chunk = LAST_CHUNK if self._is_chunked else b""
        self._put_last(self._encoded(close_event(code, reason)) + last_chunk)
        self._move(Cause.FAILED)
        self._transport.request_turn()

    def _encoded(self, event: bytes) -> bytes:
        return chunk(event) if self._is_chunked else event
