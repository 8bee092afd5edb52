"""How many connections there may be in a process: in all, and from one client; why there is none.

Invariant: a slot is given back once: when its connection ends, or when it is
forgotten because the handshake's response never left.
"""

from __future__ import annotations

import enum
import sys
import threading
from collections.abc import Callable

try:
    import resource
except ImportError:  # pragma: no cover - not a Unix
    resource = None  # type: ignore[assignment]

_SPARE_DESCRIPTORS = 100


class RefusalReason(str, enum.Enum):
    """Why a handshake got no connection."""

    #: 400: it is no valid WebSocket request.
    INVALID = "invalid"
    #: 426: another WebSocket version than 13.
    VERSION = "version"
    #: 400: the server does not give its socket away.
    SERVER = "server"
    #: 403: a page of an origin that is not allowed.
    ORIGIN = "origin"
    #: 503: this process ends.
    STOPPING = "stopping"
    #: 429: `WSHANDLER_MAX_CONNECTIONS_PER_IP`.
    ADDRESS = "address"
    #: 503: `WSHANDLER_MAX_CONNECTIONS`, or no more descriptors.
    FULL = "full"


class Capacity:
    """The slots of one app in one process. Any thread."""

    def __init__(
        self,
        max_slots: int,
        max_per_client: int | None,
        most_descriptors: Callable[[], int] | None = None,
    ) -> None:
        """`most_descriptors` tells how many files the process may have open at this moment."""
        self._max_slots = max_slots
        self.max_per_client = max_per_client
        self._most_descriptors = most_descriptors
        # Reentrant: a slot may be given back by the garbage collector, at any moment.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._taken = 0
        self._by_client: dict[str, int] = {}

    @property
    def max_slots(self) -> int:
        """How many there are: no more than the process can have descriptors for.

        Some are left for its files and requests. A server that has none left for the next
        connection may well end itself, and all of its clients.
        """
        if self._most_descriptors is None:
            return self._max_slots
        most = self._most_descriptors()
        return min(self._max_slots, most - min(_SPARE_DESCRIPTORS, most // 4))

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._taken

    def take(self, client: str | None) -> Slot | None:
        """Take a slot for `client`; None if all are taken, or all that it may have."""
        with self._lock:
            if self._taken >= self.max_slots or self.has_too_many(client):
                return None
            self._taken += 1
            if self.max_per_client is None or client is None:
                return Slot(self, None)
            self._by_client[client] = self._by_client.get(client, 0) + 1
            return Slot(self, client)

    def has_too_many(self, client: str | None) -> bool:
        """Whether one client has all the slots it may have."""
        if self.max_per_client is None or client is None:
            return False
        return self._by_client.get(client, 0) >= self.max_per_client

    def give_back(self, client: str | None) -> None:
        """Take back a slot of `client`."""
        with self._lock:
            self._taken -= 1
            if client is not None:
                count = self._by_client[client] - 1
                if count:
                    self._by_client[client] = count
                else:
                    del self._by_client[client]


class Slot:
    """One connection's place."""

    __slots__ = ("_capacity", "_client")

    def __init__(self, capacity: Capacity, client: str | None) -> None:
        self._capacity: Capacity | None = capacity
        self._client = client

    def release(self) -> None:
        """Give the slot back; a second time does nothing."""
        capacity, self._capacity = self._capacity, None
        if capacity is not None:
            capacity.give_back(self._client)

    def __del__(self) -> None:
        self.release()


def most_descriptors() -> int:
    """How many files this process may have open."""
    if resource is None:
        return sys.maxsize
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if most == resource.RLIM_INFINITY else most
