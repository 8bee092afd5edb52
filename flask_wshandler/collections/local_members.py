"""The members of a collection in this process.

An open handler is kept by its connection, and leaves its collections with it. One that is not open
yet may never be: the view fails, its response is replaced, the client is gone. So its collections
do not keep that one either, and the registry is told when it is gone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from ..handlers.handler import WebSocketHandler
from ..handlers.member import Member, Receiver
from ..history.stream import key_of
from ..runtime import locks
from .feed import Feed


class Owner(Protocol):
    """The registry, as far as it concerns us."""

    lock: locks.Lock

    def remove_member(self, topic: str, member: Member) -> bool: ...


class Unopened(weakref.ref[WebSocketHandler]):
    """The handler of a member that is not open yet."""

    __slots__ = ("member", "members")

    member: Member
    members: LocalMembers


Gone = Callable[[Unopened], None]
"""Told of an `Unopened` whose handler is gone. Called by the garbage collector, whatever runs and
whatever is locked in that moment."""


class LocalMembers:
    """A topic's members in this process. The registry's lock guards all but reading."""

    __slots__ = (
        "_handlers",
        "_owner",
        "_receivers",
        "_unopened_count",
        "feed",
        "knows_history",
        "topic",
    )

    def __init__(self, owner: Owner, topic: str) -> None:
        self._owner = owner
        self.topic = topic
        #: What gives the members what is logged; None of a topic without history.
        self.feed: Feed | None = None
        #: Whether it has one, or is about to.
        self.knows_history = False
        self._handlers: dict[Member, WebSocketHandler | Unopened] = {}
        self._unopened_count = 0
        #: What `receivers` returns; None if that has to be found out. Those of members that are not
        #: open are not kept here, for they change when these open.
        self._receivers: tuple[Receiver, ...] | None = ()

    def __len__(self) -> int:
        return len(self._handlers)

    def __contains__(self, member: object) -> bool:
        return member in self._handlers

    def put(self, member: Member, handler: WebSocketHandler, gone: Gone) -> None:
        """Add a member, which is not in, with its handler."""
        kept: WebSocketHandler | Unopened = handler
        if not member.is_open:
            kept = Unopened(handler, gone)
            kept.member, kept.members = member, self
            self._unopened_count += 1
        self._handlers[member] = kept
        self._receivers = None

    def pop(self, member: Member) -> bool:
        """Take a member out. Says whether it was in."""
        kept = self._handlers.pop(member, None)
        self._unopened_count -= isinstance(kept, Unopened)
        self._receivers = None
        return kept is not None

    def pop_gone(self, unopened: Unopened) -> bool:
        """Take a member out whose handler is gone. Says whether it was in."""
        return self._handlers.get(unopened.member) is unopened and self.pop(unopened.member)

    def handlers(self) -> list[WebSocketHandler]:
        """Those that are in at this moment. Any thread."""
        with self._owner.lock:
            kept = list(self._handlers.values())
        found = [each() if isinstance(each, Unopened) else each for each in kept]
        return [handler for handler in found if handler is not None]

    def receivers(self, exclude: Member | None = None) -> Sequence[Receiver]:
        """What takes the messages of those that are in at this moment, but `exclude`. Any thread.

        A broadcast's own way: what does not change from one to the next is not made anew.
        """
        receivers = self._receivers
        if receivers is None:
            receivers = self._keep_receivers()
            if receivers is None:
                return self._find_receivers(exclude)
        if exclude is None:
            return receivers
        excluded = exclude.receiver  # the last one, for all of these are open
        return [receiver for receiver in receivers if receiver is not excluded]

    def _keep_receivers(self) -> tuple[Receiver, ...] | None:
        with self._owner.lock:
            if not self._unopened_count:
                self._receivers = tuple([member.receiver for member in self._handlers])
            return self._receivers

    def _find_receivers(self, exclude: Member | None) -> list[Receiver]:
        with self._owner.lock:
            items = list(self._handlers.items())
        return [
            member.receiver
            for member, kept in items
            if member is not exclude and not (isinstance(kept, Unopened) and kept() is None)
        ]

    def members(self) -> list[Member]:
        """Those that are in. With the registry's lock held."""
        return list(self._handlers)

    def member_of(self, key: bytes) -> Member | None:
        """The member that a log calls so. Any thread."""
        with self._owner.lock:
            return {key_of(each.connection_id): each for each in self._handlers}.get(key)

    # A member's view of it.

    def opened(self, member: Member) -> None:
        """The handler is open: it will leave by itself, and can be given what was before it."""
        with self._owner.lock:
            kept = self._handlers.get(member)
            handler = kept() if isinstance(kept, Unopened) else None
            if handler is not None:
                self._handlers[member] = handler
                self._unopened_count -= 1
        if self.feed is not None:
            self.feed.opened(member)

    def discard(self, member: Member) -> None:
        """The handler has ended."""
        self._owner.remove_member(self.topic, member)
