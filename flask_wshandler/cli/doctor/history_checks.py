"""What can be wrong with the history of collections. Each is found only where there are some."""

from __future__ import annotations

import math

from .evidence import Facts
from .findings import Finding, Severity

_MIB = 2**20


def history_unusable(facts: Facts) -> Finding | None:
    """Broadcasts are not kept."""
    if facts.history is None or facts.bus_trouble or facts.server_bus_trouble:
        return None  # the bus is down for the same reason
    told = [each["history_trouble"] for each in facts.processes if each["history_trouble"]]
    trouble = f"a worker: {told[0]}" if told else ""
    if not trouble and facts.history.trouble:
        trouble = f"here: {facts.history.trouble}"
    if not trouble:
        return None
    return Finding(
        "history-unusable",
        Severity.WARNING,
        f"The log of broadcasts can't be used from {trouble.rstrip('.')}.",
        "Mend what is said there. Meanwhile broadcasts reach the members that are connected, but "
        "without a number; clients that come back are told that something is missing.",
    )


def history_not_known(facts: Facts) -> Finding | None:
    """Somebody broadcasts past the log."""
    count = sum(each["history_unnumbered"] for each in facts.processes)
    if not count:
        return None
    return Finding(
        "history-not-known",
        Severity.WARNING,
        f"{count:,} messages have come to workers from a process that does not know that the "
        "collection has a history. Clients that were away have missed them.",
        "The workers' log names the collection. Make it with the same history=… in that process, "
        "too: a script, or workers of an older deploy.",
    )


def history_on_foreign_file_system(facts: Facts) -> Finding | None:
    """SQLite shares memory between processes, which a file system of the network does not."""
    found = facts.history
    if found is None or not found.foreign_file_system:
        return None
    return Finding(
        "history-on-network-file-system",
        Severity.WARNING,
        f"The log of broadcasts is in {found.directory}, whose file system "
        f"({found.foreign_file_system}) is another machine's: it can be slow and get lost, and "
        "processes of two machines would spoil the log.",
        "Set XDG_RUNTIME_DIR to a directory of this machine, best in memory such as /run/user/1000 "
        "or systemd's RuntimeDirectory=, for the server and for commands alike.",
    )


def history_too_small(facts: Facts) -> Finding | None:
    """The log forgets sooner than the collections say."""
    forgotten = None if facts.history is None else facts.history.forgotten
    if forgotten is None:
        return None
    size = facts.setup["history_size"]
    enough = math.ceil(size / forgotten.share / _MIB) if forgotten.share else 0
    more = f" {enough:,} MiB would do by what was seen" if enough else ""
    return Finding(
        "history-too-small",
        Severity.WARNING,
        f"The log of broadcasts is full, and keeps of {forgotten.named} {forgotten.messages:,} "
        f"messages, of the last {_duration(forgotten.seconds)}. It was to keep "
        f"history={forgotten.wanted_messages}, history_s={forgotten.wanted_seconds:g}. Clients "
        "that come back later are told of a gap.",
        f"Raise WSHANDLER_HISTORY_SIZE, which is {size:,} bytes:{more or ' the double, say'}. Or "
        "lower history and history_s, of this collection or of those that fill the log.",
    )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def history_evictable(facts: Facts) -> Finding | None:
    """Redis may forget logs when its memory is full."""
    redis = None if facts.history is None else facts.history.redis
    if redis is None or not redis.max_memory or redis.policy == "noeviction":
        return None
    return Finding(
        "history-evictable",
        Severity.WARNING,
        f"Redis may use {redis.max_memory:,} bytes, and past that it removes keys "
        f"(maxmemory-policy {redis.policy}): the logs of broadcasts are among them, with all that "
        "they keep.",
        "Take a Redis of its own for WSHANDLER_BUS, with maxmemory-policy noeviction and more "
        "memory than WSHANDLER_HISTORY_SIZE.",
    )


def history_not_persistent(facts: Facts) -> Finding | None:
    """A restart of Redis begins with nothing."""
    redis = None if facts.history is None else facts.history.redis
    if redis is None or redis.is_persistent is not False:
        return None
    return Finding(
        "history-not-persistent",
        Severity.NOTE,
        "Redis writes nothing to disk (appendonly no, and no save): after its restart the history "
        "of all collections is gone, and clients that come back are told of a gap.",
        "Nothing, if that is all right; else `appendonly yes` in its configuration.",
    )


CHECKS = (
    history_unusable,
    history_not_known,
    history_on_foreign_file_system,
    history_too_small,
    history_evictable,
    history_not_persistent,
)
