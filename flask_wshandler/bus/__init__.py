"""What carries broadcasts between the processes of an app: a contract, and its implementations.

`local` finds the processes of one machine, `redis_bus` those of many. None of them knows Flask,
connections or collections: see `flask_wshandler.collections.registry` for those.
"""

from __future__ import annotations

import re
import socket

from ..runtime.private_paths import UnsafeDirectory
from ..runtime.redaction import without_password
from .base import Bus, BusStats
from .envelope import Envelope, Kind, Malformed
from .null import NoBus

DEFAULT_QUEUE_BYTES = 16 * 2**20
_REDIS = re.compile(r"(redis|valkey|unix)[a-z+]*://")

__all__ = [
    "DEFAULT_QUEUE_BYTES",
    "Bus",
    "BusStats",
    "Envelope",
    "Kind",
    "Malformed",
    "NoBus",
    "UnsafeDirectory",
    "connect",
]


def connect(
    url: str, name: str | None = None, *, max_queue_bytes: int = DEFAULT_QUEUE_BYTES
) -> Bus:
    """A bus for programs outside of the Flask app: scripts, task workers, other services::

        bus = flask_wshandler.bus.connect("redis://localhost:6379/0")
        WebSocketCollection("orders", bus=bus).broadcast_json({"id": 7})

    `url` is the app's `WSHANDLER_BUS`, `name` its `WSHANDLER_BUS_NAME`: "local" needs one. Past
    `max_queue_bytes` that others have not taken, the oldest envelopes are dropped.

    Nothing is opened before the first use. What is broadcast is out of this process when the call
    returns, unless the bus is down or takes longer than two seconds; `bus.close()` ends its
    threads. Raises ValueError for an address or an option of it that can't be used, and ImportError
    for Redis without redis-py.
    """
    if url == "none":
        return NoBus()
    if url == "local":
        from .local import LocalBus

        if not name:
            raise ValueError("a local bus needs the app's WSHANDLER_BUS_NAME as its name")
        if not hasattr(socket, "AF_UNIX"):
            return NoBus("This system has no Unix sockets (Windows)")
        return LocalBus(name, max_queue_bytes)
    if isinstance(url, str) and _REDIS.match(url):
        try:
            from .redis_bus import RedisBus
        except ImportError as error:
            raise ImportError(
                f"the bus {without_password(repr(url))} needs redis-py: "
                "pip install 'flask-wshandler[redis]'"
            ) from error
        return RedisBus(url, name or "", max_queue_bytes)
    found = without_password(repr(url))
    raise ValueError(
        "a bus is 'local', 'none', or the address of a Redis such as 'redis://localhost:6379/0', "
        f"not {found}"
    )
