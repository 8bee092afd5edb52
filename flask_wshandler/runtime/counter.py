"""Counts by a key of which there are few: close codes, reasons of refusals, names of callbacks."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Key = TypeVar("Key")


class KeyedCounter(Generic[Key]):
    """Any thread. Its size is that of the set of keys, which the caller bounds."""

    def __init__(self) -> None:
        # Reentrant: garbage may be collected amid a count, and its `__del__` may count, too.
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._counts: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Count one."""
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def counts(self) -> dict[Key, int]:
        """All counts, as they are at this moment."""
        with self._lock:
            return dict(self._counts)
