"""What a resumable connection sends: numbered, given to the leg that there is, and kept.

A message is kept until the client has said that it has it. While no leg has said hello it waits,
within a buffer; `unwritten` are those at the end of what is kept that no leg was given.

Invariant: messages are numbered in the order in which they are written. The lock of the resumable
connection is held for both, and in whatever else is called here, except where noted. It is
reentrant, as garbage may be collected amid a send, and its `__del__` may send something.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, Protocol

from ..protocol.errors import CloseCode
from ..protocol.limits import QueuePolicy
from .endpoint import MESSAGE_COST_BYTES, Endpoint

if TYPE_CHECKING:
    from ..protocol.frames import OutgoingMessage
    from ..protocol.limits import ClientSettings
    from ..protocol.send_queue import QueueBudget
    from ..protocol.sending import Drained
    from .leg import Leg

_MOST_ON_THE_WAY_BYTES = 4 * 2**20
"""What a fast client far away has not acknowledged yet, beside what is queued for it: as much as
Linux keeps for a socket."""

_CHARGE_STEP_BYTES = 16 * 1024
"""A change of less is not told to the budget, while the client is there."""


class Owner(Protocol):
    """The connection whose messages they are. With its lock held."""

    @property
    def lasts(self) -> bool:
        """Whether the client may still come back, and is to get what is sent."""

    @property
    def is_open(self) -> bool:
        """The same for any thread, and whether its leg has not closed it."""

    def close(self, code: int = ..., reason: str = ...) -> None:
        """Close for good."""


class Outbox:
    """The messages to one client, over all its legs."""

    __slots__ = (
        "_asked",
        "_budget",
        "_changed",
        "_charged_bytes",
        "_drained",
        "_is_sending",
        "_later",
        "_lock",
        "_owner",
        "_settings",
        "_unwritten",
        "_unwritten_bytes",
        "dropped_messages",
        "endpoint",
        "leg",
    )

    def __init__(
        self,
        owner: Owner,
        lock: threading.RLock,
        settings: ClientSettings,
        budget: QueueBudget | None,
        endpoint: Endpoint[bytes],
    ) -> None:
        """`lock` is the owner's, and guards all of it."""
        self._owner = owner
        self._lock = lock
        self._settings = settings
        self._budget = budget
        #: The numbers of both directions, and what is kept.
        self.endpoint = endpoint
        #: The leg that has said hello, to which messages are given at once.
        self.leg: Leg | None = None
        self._is_sending = False
        self._later: collections.deque[tuple[bytes, OutgoingMessage | None]] | None = None
        #: Of the kept messages, those at the end that no leg was given.
        self._unwritten = 0
        self._unwritten_bytes = 0
        self._charged_bytes = 0
        #: Tells of another leg, or of none; None until somebody waits.
        self._changed: threading.Condition | None = None
        #: Who waits until there is a leg that has taken all, or the client has.
        self._drained: Drained | None = None
        #: The leg whose client was asked what it has.
        self._asked: Leg | None = None
        #: Those for which the buffer had no room.
        self.dropped_messages = 0

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not taken yet, or that wait for its return."""
        leg = self.leg
        return self._unwritten_bytes if leg is None else leg.queued_bytes

    # Any thread.

    def wait_until_writable(self, size: int) -> bool:
        """Wait until `size` more bytes fit. False once the connection is over."""
        while self._owner.is_open:
            leg = self.leg
            if self.has_room(size) if leg is None else leg.wait_until_writable(size):
                return True
            self._wait_for_other_leg(leg)
        return False

    def _wait_for_other_leg(self, leg: Leg | None) -> None:
        with self._lock:
            if self._changed is None:
                self._changed = threading.Condition(self._lock)
            while self.leg is leg and self._owner.is_open:
                self._changed.wait()

    # With the connection's lock held.

    def is_drained(self, drained: Drained) -> bool:
        """Whether there is a leg that has nothing queued. Else `drained` is told when it may be."""
        self._drained = drained
        return self.leg is not None and self.leg.is_drained(drained)

    def has_all_been_taken(self, drained: Drained) -> bool:
        """Whether the client has said that it has all. Else `drained` is told when it has."""
        self._drained = drained
        if not len(self.endpoint):
            return True
        if self.leg is not None and self.leg is not self._asked:
            self._asked = self.leg
            self.leg.ask()
        return False

    def send(self, frame: bytes, message: OutgoingMessage | None) -> bool:
        """Give a message its number, and to the leg if there is one. False if it is not sent.

        `frame` is the message uncompressed, `message` the same if others are sent it, too.
        """
        if self._is_sending:
            # By a `__del__` or a signal handler, amid another one's: it comes after that.
            if self._later is None:
                self._later = collections.deque()
            self._later.append((frame, message))
            return True
        self._is_sending = True
        leg, endpoint = self.leg, self.endpoint
        try:
            if leg is not None:  # as _give does, which would cost another 0.1 µs
                endpoint.keep(frame)
                try:
                    is_sent = leg.give(frame, message) or self._take_back(leg, frame)
                except BaseException:
                    leg.abort()
                    raise
            else:
                is_sent = self._keep_for_return(frame)
            if self._later:
                self._give_later()
        finally:
            self._is_sending = False
            if endpoint.kept_bytes - self._charged_bytes > _CHARGE_STEP_BYTES:
                self._charge()
                self._check_way()
        return is_sent

    def _give(self, frame: bytes, message: OutgoingMessage | None) -> bool:
        leg = self.leg
        if leg is None:
            return self._keep_for_return(frame)
        self.endpoint.keep(frame)
        try:
            is_given = leg.give(frame, message)
        except BaseException:
            leg.abort()  # whether it was written nobody knows, but the client when it is back
            raise
        return is_given or self._take_back(leg, frame)

    def _give_later(self) -> None:
        while self._later:
            self._give(*self._later.popleft())

    def _take_back(self, leg: Leg, frame: bytes) -> bool:
        """The leg has not taken the message that was kept last; whether the client may get it."""
        self.endpoint.take_back()
        return not leg.is_open and leg.may_be_followed and self._keep_for_return(frame)

    def _check_way(self) -> None:
        """Close a client that takes what it is sent and never says so."""
        most = self._most_on_the_way
        leg = self.leg
        if leg is not None and self.endpoint.kept_bytes > most:
            leg.close(CloseCode.TRY_AGAIN_LATER, f"over {most} bytes were not acknowledged")

    @property
    def _most_on_the_way(self) -> int:
        return self._settings.max_queue_size + _MOST_ON_THE_WAY_BYTES

    def _keep_for_return(self, frame: bytes) -> bool:
        if not self._owner.lasts:
            return False
        if not self.has_room(len(frame)) and not self._apply_policy(len(frame)):
            return False
        self.endpoint.keep(frame)
        self._unwritten += 1
        self._unwritten_bytes += len(frame) + MESSAGE_COST_BYTES
        self._charge()
        return True

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes may be kept for the client's return."""
        size += MESSAGE_COST_BYTES
        buffer = self._settings.resume_buffer
        if self._unwritten_bytes + size > buffer:
            return False
        # Whoever comes back again and again and acknowledges nothing begins no new buffer.
        if self.endpoint.kept_bytes + size > self._most_on_the_way + buffer:
            return False
        return self._budget is None or not self._budget.is_over(size)

    def _apply_policy(self, size: int) -> bool:
        """Make room for a message by the queue's policy. False when it is not to be kept."""
        if self._settings.queue_policy is QueuePolicy.CLOSE:
            reason = f"over {self._settings.resume_buffer} bytes came while it was away"
            self._owner.close(CloseCode.TRY_AGAIN_LATER, reason)
            return False
        if self._settings.queue_policy is QueuePolicy.DROP_OLDEST:
            while self._unwritten and not self.has_room(size):
                self.dropped_messages += 1
                self._unwritten_bytes -= self.endpoint.forget(1, self._unwritten - 1)
                self._unwritten -= 1
            self._charge()
            if self.has_room(size):
                return True
        self.dropped_messages += 1
        return False

    def start(self, leg: Leg, hello: str) -> None:
        """Say hello by `leg`, send what the client lacks, and give it what is sent from now on."""
        self.endpoint.tell()  # the hello does
        if leg.start(hello, self.endpoint, self._unwritten):
            self._unwritten = self._unwritten_bytes = 0
        self._set_leg(leg)

    def wait_for_leg(self) -> None:
        """Keep what is sent for the next leg."""
        self._set_leg(None)
        self._charge()

    def _set_leg(self, leg: Leg | None) -> None:
        self.leg = leg
        if self._changed is not None:
            self._changed.notify_all()
        if self._drained is not None:
            self._drained.set()

    def go_on_with(self, endpoint: Endpoint[bytes]) -> None:
        """Take the numbers of another connection, and what it has kept. Before the first leg."""
        self.endpoint = endpoint
        self._unwritten = len(endpoint)
        self._unwritten_bytes = endpoint.kept_bytes
        self._charge()

    def take_back_from(self, received: int) -> bool:
        """Take note of what a client has that returns; whether all that it lacks is kept."""
        is_unsent = received > self.endpoint.sent - self._unwritten
        if is_unsent or not self.endpoint.can_go_on_from(received):
            return False
        self.endpoint.acknowledge(received)
        return True

    def acknowledged(self, leg: Leg, number: int) -> bool:
        """The client has taken so many messages, it says by `leg`. False if that was known.

        Raises `ResumeProtocolError` if it can't be.
        """
        if leg is not self.leg:
            return True  # it has come back already, and has said so there
        if number == self.endpoint.acknowledged:
            return False
        self.endpoint.acknowledge(number)
        if self._charged_bytes - self.endpoint.kept_bytes > _CHARGE_STEP_BYTES:
            self._charge()
        if self._drained is not None and not len(self.endpoint):
            self._drained.set()
        return True

    def clear(self) -> None:
        """Keep nothing any more: it is over."""
        self.endpoint = Endpoint(self.endpoint.sent, self.endpoint.received)
        self._charge()
        self._set_leg(None)
        self._drained = self._asked = None

    def _charge(self) -> None:
        """Have the budget know what is kept."""
        change = self.endpoint.kept_bytes - self._charged_bytes
        if self._budget is not None and change:
            self._charged_bytes += change
            self._budget.change(change)
