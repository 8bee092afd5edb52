"""What a resumable connection sends: numbered, given to the leg that there is, and kept.

A message is kept until the client has said that it has it. While there is no leg it waits, within a
buffer; `unwritten` are those at the end of what is kept that no leg was given.

Invariant: messages are numbered in the order in which they are written: `_lock` is held for both.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING

from ..protocol.errors import CloseCode
from ..protocol.limits import QueuePolicy
from .endpoint import MESSAGE_COST_BYTES, Endpoint
from .leg import Leg, numbered_frame, numbered_message

if TYPE_CHECKING:
    from ..protocol.frames import OutgoingMessage, Sendable
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget

_MOST_ON_THE_WAY_BYTES = 4 * 2**20
"""What a fast client far away has not acknowledged yet, beside what is queued for it: as much as
Linux keeps for a socket."""

_CHARGE_STEP_BYTES = 16 * 1024
"""A change of less is not told to the budget, while the client is there."""


class KeepingHalf:
    """Of a resumable connection, what sends and keeps. The rest of it is in the derived class."""

    __slots__ = (
        "_budget",
        "_charged_bytes",
        "_dropped",
        "_is_passing",
        "_later",
        "_lock",
        "_settings",
        "_speaking",
        "_unwritten",
        "_unwritten_bytes",
        "endpoint",
    )

    def __init__(
        self, settings: ClientSettings, budget: QueueBudget | None, endpoint: Endpoint[bytes]
    ) -> None:
        self._settings = settings
        self._budget = budget
        self.endpoint = endpoint
        # Reentrant, as garbage may be collected amid a send, and its `__del__` may send something.
        self._lock = threading.RLock()
        # Guarded by _lock.
        #: The leg that has said hello, to which messages are given at once.
        self._speaking: Leg | None = None
        self._is_passing = False
        self._later: collections.deque[tuple[bytes, OutgoingMessage | None]] | None = None
        #: Of the kept messages, those at the end that no leg was given.
        self._unwritten = 0
        self._unwritten_bytes = 0
        self._charged_bytes = 0
        self._dropped = 0

    def send(self, message: Sendable) -> bool:
        """Send a message, or keep it for the client's return. False if it will not get it."""
        frame = numbered_frame(message)
        with self._lock:
            return self._pass(frame, None)

    def deliver(self, message: OutgoingMessage) -> bool:
        """Send or keep a message that others are sent, too."""
        numbered = numbered_message(message)
        frame = numbered.plain_frame or numbered.frame(None)
        with self._lock:
            return self._pass(frame, numbered)

    def deliver_all(self, messages: list[OutgoingMessage]) -> None:
        """Send or keep messages that came together."""
        for message in messages:
            self.deliver(message)

    # Of the derived class.

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close for good."""
        raise NotImplementedError

    @property
    def _lasts(self) -> bool:
        """Whether the client may still come back, and is to get what is sent. With _lock held."""
        raise NotImplementedError

    # What is sent. With _lock held.

    def _pass(self, frame: bytes, message: OutgoingMessage | None) -> bool:
        """Give a message its number, and to the leg if there is one.

        `frame` is the message uncompressed, `message` the same if others are sent it, too.
        """
        if self._is_passing:
            # By a `__del__` or a signal handler, amid another one's: it comes after that.
            if self._later is None:
                self._later = collections.deque()
            self._later.append((frame, message))
            return True
        self._is_passing = True
        try:
            leg = self._speaking
            if leg is None:
                return self._keep_for_return(frame)
            self.endpoint.keep(frame, len(frame))
            return leg.give(frame, message) or self._take_back(leg, frame)
        finally:
            self._is_passing = False
            if self._later:
                self._pass(*self._later.popleft())
            if self.endpoint.kept_bytes - self._charged_bytes > _CHARGE_STEP_BYTES:
                self._charge()
                self._check_way()

    def _take_back(self, leg: Leg, frame: bytes) -> bool:
        """The leg has not taken the message that was kept last; whether the client may get it."""
        if not leg.is_open and leg.may_be_followed:
            self._unwritten += 1
            self._unwritten_bytes += len(frame) + MESSAGE_COST_BYTES
            return True
        self.endpoint.take_back()
        return False

    def _check_way(self) -> None:
        """Close a client that takes what it is sent and never says so."""
        most = self._most_on_the_way
        leg = self._speaking
        if leg is not None and self.endpoint.kept_bytes > most:
            leg.close(CloseCode.TRY_AGAIN_LATER, f"over {most} bytes were not acknowledged")

    @property
    def _most_on_the_way(self) -> int:
        return self._settings.max_queue_size + _MOST_ON_THE_WAY_BYTES

    def _keep_for_return(self, frame: bytes) -> bool:
        if not self._lasts:
            return False
        if self._is_over_buffer(len(frame)) and not self._apply_policy(len(frame)):
            return False
        self.endpoint.keep(frame, len(frame))
        self._unwritten += 1
        self._unwritten_bytes += len(frame) + MESSAGE_COST_BYTES
        self._charge()
        return True

    def _is_over_buffer(self, size: int) -> bool:
        size += MESSAGE_COST_BYTES
        buffer = self._settings.resume_buffer
        if self._unwritten_bytes + size > buffer:
            return True
        # Whoever comes back again and again and acknowledges nothing begins no new buffer.
        if self.endpoint.kept_bytes + size > self._most_on_the_way + buffer:
            return True
        return self._budget is not None and self._budget.is_over(size)

    def _apply_policy(self, size: int) -> bool:
        """Make room for a message by the queue's policy. False when it is not to be kept."""
        if self._settings.queue_policy is QueuePolicy.CLOSE:
            reason = f"over {self._settings.resume_buffer} bytes came while it was away"
            self.close(CloseCode.TRY_AGAIN_LATER, reason)
            return False
        if self._settings.queue_policy is QueuePolicy.DROP_OLDEST:
            while self._unwritten and self._is_over_buffer(size):
                self._dropped += 1
                self._unwritten_bytes -= self.endpoint.forget(1, self._unwritten - 1)
                self._unwritten -= 1
            self._charge()
            if not self._is_over_buffer(size):
                return True
        self._dropped += 1
        return False

    def _forget_taken(self, number: int) -> None:
        """The client has taken the messages up to `number`."""
        self.endpoint.acknowledge(number)
        if self._charged_bytes - self.endpoint.kept_bytes > _CHARGE_STEP_BYTES:
            self._charge()

    def _charge(self) -> None:
        """Have the budget know what is kept."""
        change = self.endpoint.kept_bytes - self._charged_bytes
        if self._budget is not None and change:
            self._charged_bytes += change
            self._budget.change(change)

    def _uncharge(self) -> None:
        """Nothing is kept any more."""
        self.endpoint = Endpoint(self.endpoint.sent, self.endpoint.received)
        self._charge()
