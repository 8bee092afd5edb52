"""What collections send to a handler that is not open yet: kept, and sent when it opens.

Between `add` and the opening a few milliseconds pass, and then it is nobody's fault if a message
comes, or the order to close.
"""

from __future__ import annotations

import threading
from typing import Protocol

from ..protocol.errors import CloseCode
from ..protocol.frames import OutgoingMessage

_MOST_BYTES = 2**20
_MESSAGE_COST_BYTES = 64
"""About what a kept message takes beside its payload."""


class Receiver(Protocol):
    """The connection, as far as it concerns us."""

    def deliver(self, message: OutgoingMessage) -> bool: ...

    def deliver_all(self, messages: list[OutgoingMessage]) -> None: ...

    def close(self, code: int = ..., reason: str = ...) -> None: ...

    def give_up(self, fault: Exception) -> None: ...


class EarlyMessages:
    """Stands for a connection until it is there, and hands on to it from then on. Any thread.

    Invariant: it is locked while it hands on what is kept, so nothing overtakes that.
    """

    __slots__ = ("_close", "_kept", "_lock", "_receiver", "_size")

    def __init__(self) -> None:
        # Reentrant: garbage may be collected meanwhile, and its `__del__` may broadcast.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._receiver: Receiver | None = None
        self._kept: list[OutgoingMessage] = []
        self._size = 0
        self._close: tuple[int, str] | None = None

    def deliver(self, message: OutgoingMessage) -> bool:
        """Keep a message, or hand it on. False when it will never be sent."""
        with self._lock:
            if self._receiver is not None:
                return self._receiver.deliver(message)
            if self._close is not None:
                return False
            self._size += len(message) + _MESSAGE_COST_BYTES
            if self._size > _MOST_BYTES:
                self._kept.clear()
                reason = f"over {_MOST_BYTES} bytes came before it was open"
                self._close = CloseCode.TRY_AGAIN_LATER, reason
                return False
            self._kept.append(message)
            return True

    def deliver_all(self, messages: list[OutgoingMessage]) -> None:
        """Keep messages, or hand them on."""
        for message in messages:
            self.deliver(message)

    def close(self, code: int, reason: str) -> None:
        """Have it closed, after what has come before."""
        with self._lock:
            if self._receiver is not None:
                self._receiver.close(code, reason)
            elif self._close is None:
                self._close = code, reason

    def give_up(self, fault: Exception) -> None:
        """Have it closed after a fault of this package's."""
        with self._lock:
            receiver = self._receiver
        if receiver is not None:
            receiver.give_up(fault)
        else:
            self.close(CloseCode.INTERNAL_ERROR, "")

    def hand_on_to(self, receiver: Receiver) -> None:
        """The connection is there."""
        with self._lock:
            if self._kept:
                try:
                    receiver.deliver_all(self._kept)
                except Exception as fault:
                    receiver.give_up(fault)
                self._kept = []
            if self._close is not None:
                receiver.close(*self._close)
            self._receiver = receiver
