"""The members of a collection in this process.

An open handler is kept by its connection, and leaves its collections with it. One that is not open
yet may never be: the view fails, its response is replaced, the client is gone. So a part does not
keep that one either, and the hub is told when it is gone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Protocol

from ..handlers.handler import WebSocketHandler
from ..runtime import locks


class Owner(Protocol):
    """The hub, as far as it concerns us."""

    lock: locks.Lock

    def remove(self, topic: str, handler: WebSocketHandler) -> bool: ...


class Waiting(weakref.ref[WebSocketHandler]):
    """A member that is not open yet."""

    __slots__ = ("key", "part")

    key: int
    part: Part


Gone = Callable[[Waiting], None]
"""Told of a `Waiting` whose handler is gone. Called by the garbage collector, whatever runs and
whatever is locked in that moment."""


class Part:
    """A topic's members here. The hub's lock guards all but reading."""

    __slots__ = ("_hub", "_members", "_snapshot", "_waiting_count", "topic")

    def __init__(self, hub: Owner, topic: str) -> None:
        self._hub = hub
        self.topic = topic
        # By the identity of handlers, each with the id under which it is known elsewhere.
        self._members: dict[int, tuple[WebSocketHandler | Waiting, str]] = {}
        self._waiting_count = 0
        self._snapshot: tuple[WebSocketHandler, ...] | None = ()

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, handler: object) -> bool:
        found = self._members.get(id(handler))
        return found is not None and _handler_of(found[0]) is handler

    def id_of(self, handler: WebSocketHandler) -> str | None:
        """The id under which a handler is known elsewhere; None if it is not in."""
        return self._members[id(handler)][1] if handler in self else None

    def put(self, handler: WebSocketHandler, connection_id: str, gone: Gone) -> None:
        """Add a handler, which is not in."""
        member: WebSocketHandler | Waiting = handler
        if handler._peer is None:
            member = Waiting(handler, gone)
            member.key, member.part = id(handler), self
            self._waiting_count += 1
        self._members[id(handler)] = member, connection_id
        self._snapshot = None

    def pop(self, handler: WebSocketHandler) -> str | None:
        """Take a handler out: the connection id, or None if it was not in."""
        return self._pop(id(handler)) if handler in self else None

    def pop_gone(self, waiting: Waiting) -> str | None:
        """Take out one who is gone: the connection id, or None if that is done."""
        found = self._members.get(waiting.key)
        return self._pop(waiting.key) if found is not None and found[0] is waiting else None

    def pop_former(self, handler: WebSocketHandler) -> str | None:
        """Take out one who is gone, and in whose place in memory `handler` is now."""
        is_former = id(handler) in self._members and handler not in self
        return self._pop(id(handler)) if is_former else None

    def _pop(self, key: int) -> str:
        member, connection_id = self._members.pop(key)
        self._waiting_count -= isinstance(member, Waiting)
        self._snapshot = None
        return connection_id

    def now(self) -> tuple[WebSocketHandler, ...]:
        """Those who are in at this moment. Any thread."""
        snapshot = self._snapshot
        if snapshot is None:
            with self._hub.lock:
                handlers = [_handler_of(member) for member, _ in list(self._members.values())]
                snapshot = tuple(handler for handler in handlers if handler is not None)
                if not self._waiting_count:
                    self._snapshot = snapshot
        return snapshot

    # A handler's membership.

    def opened(self, handler: WebSocketHandler) -> None:
        """The handler is open: it will leave by itself."""
        with self._hub.lock:
            found = self._members.get(id(handler))
            if found is not None and isinstance(found[0], Waiting) and handler in self:
                self._members[id(handler)] = handler, found[1]
                self._waiting_count -= 1

    def discard(self, handler: WebSocketHandler) -> None:
        """The handler has ended."""
        self._hub.remove(self.topic, handler)


def _handler_of(member: WebSocketHandler | Waiting) -> WebSocketHandler | None:
    return member() if isinstance(member, Waiting) else member
