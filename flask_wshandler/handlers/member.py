"""A handler as a member of collections: what it is called, what takes its messages, what it is in.

Between `add` and the opening a few milliseconds pass, and then it is nobody's fault if a message
comes, or the order to close: both are kept until the handler opens.

Invariant: the fault of one member, which is closed for it, does not concern the next.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from ..protocol.errors import CloseCode
from ..runtime import faults, logs
from ..runtime.first_use import ModuleLock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.frames import OutgoingMessage

logger = logs.logger(__package__)

_MOST_BYTES = 2**20
_MESSAGE_COST_BYTES = 64
"""About what a kept message takes beside its payload."""

_FEW_MEMBERSHIPS = 8
"""So many are kept in a tuple, which takes a quarter of a dict's memory."""

_lock = ModuleLock()
"""Guards `_memberships` of all members: joining is rare and quick. Reentrant: garbage may be
collected meanwhile, and its `__del__` may join or leave."""


class Positions(Protocol):
    """Where a client is in the logs of collections: see `collections.feed`."""

    @property
    def former_id(self) -> str | None:
        """The connection id of the client's last handler, if that is gone."""

    def take_place(self, stream: str) -> str | None:
        """Where it says that it is in `stream`; None if it does not say, or was asked before."""

    def tell_place(self, place: str) -> None:
        """Tell it that it is at `place`, which begins with the stream."""

    def tell_gap(self, place: str) -> None:
        """Tell it that messages up to `place`, which begins with the stream, can't be had."""


class Receiver(Protocol):
    """What takes a member's messages: its connection, or what stands for one."""

    @property
    def positions(self) -> Positions | None:
        """Of a client that can tell, and be told; None for one that can't."""

    def deliver(self, message: OutgoingMessage) -> bool: ...

    def deliver_all(self, messages: list[OutgoingMessage]) -> None: ...

    def close(self, code: int = ..., reason: str = ...) -> None: ...

    def give_up(self, fault: Exception) -> None: ...


class Membership(Protocol):
    """A collection, as a member sees it."""

    topic: str

    def opened(self, member: Member) -> None: ...

    def discard(self, member: Member) -> None: ...


class Member:
    """A handler that has joined a collection, or has ended. Any thread."""

    __slots__ = ("_memberships", "connection_id", "receiver")

    def __init__(self, connection_id: str, connection: Receiver | None) -> None:
        """`connection` is None while the handler is not open."""
        #: What the handler is called in other processes: its `context.connection_id`.
        self.connection_id = connection_id
        #: What takes its messages. Changes once, when the handler opens.
        self.receiver: Receiver = PendingMessages() if connection is None else connection
        # Guarded by _lock. None once the handler has ended. A dict when they are many, so that one
        # more costs the same: its order is that of joining.
        self._memberships: tuple[Membership, ...] | dict[Membership, None] | None = ()

    @property
    def is_open(self) -> bool:
        """Whether the handler has been connected."""
        return not isinstance(self.receiver, PendingMessages)

    @property
    def topics(self) -> list[str]:
        """The topics of the collections that the handler is in."""
        return [membership.topic for membership in self._joined()]

    def join(self, membership: Membership) -> bool:
        """Leave `membership` when the handler ends. False if it has ended."""
        with _lock:
            joined = self._memberships
            if joined is None:
                return False
            if isinstance(joined, dict):
                joined[membership] = None
            elif len(joined) < _FEW_MEMBERSHIPS:
                self._memberships = (*joined, membership)
            else:
                self._memberships = dict.fromkeys((*joined, membership))
            return True

    def leave(self, membership: Membership) -> None:
        """Forget one `join`."""
        with _lock:
            joined = self._memberships
            if isinstance(joined, dict):
                joined.pop(membership, None)
            elif joined is not None:
                self._memberships = tuple(each for each in joined if each is not membership)

    def open(self, connection: Receiver) -> None:
        """Send to `connection` what has come for the handler, and whatever comes from now on.

        Once, and only if there was no connection before.
        """
        if isinstance(self.receiver, PendingMessages):
            # Whoever still has it comes after this, and through it to the connection.
            self.receiver.hand_on_to(connection)
        self.receiver = connection
        for membership in self._joined():
            try:
                membership.opened(self)
            except Exception as fault:
                connection.give_up(fault)

    def end(self) -> None:
        """Leave all collections, and join none from now on."""
        with _lock:
            memberships, self._memberships = self._memberships or (), None
        for membership in memberships:
            try:
                membership.discard(self)
            except Exception as fault:
                faults.note("turn")
                topic = membership.topic
                logger.error("a handler has not left the collection %r", topic, error=fault)

    def _joined(self) -> tuple[Membership, ...]:
        with _lock:
            return tuple(self._memberships or ())


class PendingMessages:
    """Stands for a connection until it is there, and hands on to it from then on. Any thread.

    Invariant: it is locked while it hands on what is kept, so nothing overtakes that.
    """

    __slots__ = ("_close", "_connection", "_kept", "_lock", "_size")

    positions = None

    def __init__(self) -> None:
        # Reentrant: garbage may be collected meanwhile, and its `__del__` may broadcast.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._connection: Receiver | None = None
        self._kept: list[OutgoingMessage] = []
        self._size = 0
        self._close: tuple[int, str] | None = None

    def deliver(self, message: OutgoingMessage) -> bool:
        """Keep a message, or hand it on. False when it will never be sent."""
        with self._lock:
            if self._connection is not None:
                return self._connection.deliver(message)
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

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Have it closed, after what has come before."""
        with self._lock:
            if self._connection is not None:
                self._connection.close(code, reason)
            elif self._close is None:
                self._close = code, reason

    def give_up(self, fault: Exception) -> None:
        """Have it closed after a fault of this package's."""
        with self._lock:
            connection = self._connection
        if connection is not None:
            connection.give_up(fault)
        else:
            self.close(CloseCode.INTERNAL_ERROR, "")

    def hand_on_to(self, connection: Receiver) -> None:
        """Send to `connection` what was kept, and whatever comes from now on."""
        with self._lock:
            if self._kept:
                try:
                    connection.deliver_all(self._kept)
                except Exception as fault:
                    connection.give_up(fault)
                self._kept = []
            if self._close is not None:
                connection.close(*self._close)
            self._connection = connection


def deliver_to_each(receivers: Iterable[Receiver], message: OutgoingMessage) -> None:
    """Send one message to many."""
    for receiver in receivers:
        try:
            receiver.deliver(message)
        except Exception as fault:
            receiver.give_up(fault)


def deliver_together(receiver: Receiver, messages: list[OutgoingMessage]) -> None:
    """Send messages that came together to one."""
    try:
        receiver.deliver_all(messages)
    except Exception as fault:
        receiver.give_up(fault)


def close_each(receivers: Iterable[Receiver], code: int, reason: str) -> None:
    """Close many; those that are not open yet when they open."""
    for receiver in receivers:
        try:
            receiver.close(code, reason)
        except Exception as fault:
            receiver.give_up(fault)
