"""Which log goes with which bus: one that is reached by the same processes."""

from __future__ import annotations

from ..bus import Bus, NoBus
from ..bus.local import LocalBus
from .log import Log
from .memory_log import MemoryLog
from .sqlite_log import SqliteLog


def log_on(bus: Bus, size_bytes: int) -> Log:
    """The log of the processes that `bus` connects, which keeps `size_bytes`. Opens nothing yet."""
    if isinstance(bus, LocalBus):
        return SqliteLog(bus.app_name, size_bytes)
    if not isinstance(bus, NoBus):
        try:
            from ..bus.redis_bus import RedisBus
            from .redis_log import RedisLog
        except ImportError:  # there is no redis-py, so it is another bus
            return MemoryLog(size_bytes)
        if isinstance(bus, RedisBus):
            return RedisLog(bus, size_bytes)
    return MemoryLog(size_bytes)
