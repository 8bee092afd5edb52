"""What the doctor sees of the log of broadcasts: whether it works, where it is, how long it keeps.

Invariant: nothing is made. Where there is no log yet, its place is looked at.
"""

from __future__ import annotations

import dataclasses
import os
import re
import time
from pathlib import Path

from ...bus import Bus
from ...bus.local import LocalBus
from ...collections import declared
from ...collections.logged import LoggedTopics
from ...collections.topics import Named, named_by
from ...history.log import Log, LogUnavailable
from ...runtime.private_paths import UnsafeDirectory
from ...runtime.run_directory import RunDirectory

_MOUNTS = Path("/proc/self/mounts")
_FOREIGN = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.cephfs", "fuse.glusterfs", "fuse.s3fs",
    "fuse.sshfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb2", "smb3",
    "smbfs",
})  # fmt: skip
"""File systems of other machines, where SQLite's processes do not see what others map."""

_NO_TOPIC = "doctor"
_MOST_TOPICS = 1000
_FULL = 0.9
"""Of a log that has forgotten something for its size alone: it drops a little more than it must."""
_MUCH = 0.5
"""Less than this share of what was asked for is kept."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forgotten:
    """A collection of which less is kept than it says."""

    named: Named
    messages: int
    seconds: float
    #: What it says.
    wanted_messages: int
    wanted_seconds: float

    @property
    def share(self) -> float:
        """How much of it is kept; past 1 nothing is missing."""
        return max(self.messages / self.wanted_messages, self.seconds / self.wanted_seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class RedisFacts:
    """How a Redis treats what it keeps."""

    #: Bytes that it may use; 0: any number.
    max_memory: int
    #: What it does with keys past that.
    policy: str
    #: None: it does not tell.
    is_persistent: bool | None


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryFacts:
    """The log of an app that has collections with history."""

    #: Why it can't be used from here; empty if it can.
    trouble: str
    #: Where the file is, or would be, and the type of file system if that is not made for it.
    directory: str
    foreign_file_system: str
    #: The collection of which the smallest share is kept, because the log is full; None if none is.
    forgotten: Forgotten | None
    #: None on another bus, or if it was not to be seen.
    redis: RedisFacts | None


def look_at_history(
    bus: Bus, logged: LoggedTopics, address: str, size_bytes: int, *, is_known: bool
) -> HistoryFacts | None:
    """Look at the log of an app; None if it has no collection with history.

    `is_known` says that some process has used it; `address` is that of the bus.
    """
    if not is_known and not declared.histories():
        return None
    directory = _directory_of(bus)
    trouble, forgotten = "", None
    try:
        if logged.log.exists():
            logged.log.last_of([_NO_TOPIC])  # which needs the rights that reading does
            forgotten = _worst_forgotten(logged.log, size_bytes)
    except LogUnavailable as error:
        trouble = str(error)
    return HistoryFacts(
        trouble=trouble,
        directory=directory,
        foreign_file_system=_foreign_file_system(directory),
        forgotten=forgotten,
        redis=_look_at_redis(address) if "://" in address else None,
    )


def _directory_of(bus: Bus) -> str:
    if not isinstance(bus, LocalBus):
        return ""
    try:
        return str(RunDirectory(bus.app_name).path.parent)
    except (OSError, UnsafeDirectory):  # a finding of its own
        return ""


def _foreign_file_system(directory: str) -> str:
    try:
        kind = file_system_of(os.path.realpath(directory), _MOUNTS.read_text())
    except OSError:  # only Linux tells
        return ""
    return kind if directory and kind in _FOREIGN else ""


def file_system_of(path: str, mounts: str) -> str:
    """The type of the file system that a path is on, by the lines of /proc/self/mounts."""
    found, length = "", -1
    for line in mounts.splitlines():
        _, place, kind, *_ = line.split(" ")
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)
        is_above = place == "/" or path == place or path.startswith(place + "/")
        if is_above and len(place) >= length:  # the last of several in one place
            found, length = kind, len(place)
    return found


def _worst_forgotten(log: Log, size_bytes: int) -> Forgotten | None:
    if log.size().bytes < _FULL * size_bytes:
        return None
    now_s = time.time()
    found = [_forgotten(log, topic, now_s) for topic in log.topics()[:_MOST_TOPICS]]
    return min(
        (each for each in found if each is not None and each.share < _MUCH),
        key=lambda each: each.share,
        default=None,
    )


def _forgotten(log: Log, topic: str, now_s: float) -> Forgotten | None:
    """What is kept of a topic that something was forgotten of."""
    named = named_by(topic)
    history = declared.history_of(named)
    page = log.read(topic, 0, 1)
    if history is None or not page.entries or page.first_number <= 1:
        return None
    return Forgotten(
        named,
        messages=page.last.number - page.first_number + 1,
        seconds=now_s - page.entries[0].at_s,
        wanted_messages=history.bounds.count,
        wanted_seconds=history.bounds.age_s,
    )


def _look_at_redis(address: str) -> RedisFacts | None:
    """None if it can't be asked, or does not tell: that it is away is another finding."""
    from redis.exceptions import ResponseError

    from ...bus.redis_address import LOST, RedisAddress

    try:
        connection = RedisAddress.parse(address).connect()
        try:
            memory = _told(connection, "INFO", "memory")
            persistence = _told(connection, "INFO", "persistence")
            is_persistent = "aof_enabled:1" in persistence
            try:
                saves = _told(connection, "CONFIG", "GET", "save")
            except ResponseError:  # not for everybody
                saves = None
        finally:
            connection.disconnect()
    except LOST:
        return None
    policy = re.search(r"^maxmemory_policy:(\S+)", memory, re.MULTILINE)
    most = re.search(r"^maxmemory:(\d+)", memory, re.MULTILINE)
    if policy is None or most is None:
        return None
    if not is_persistent and saves is None:
        return RedisFacts(int(most[1]), policy[1], None)
    return RedisFacts(int(most[1]), policy[1], is_persistent or bool((saves or "").strip()))


def _told(connection: object, *command: str) -> str:
    """An answer as text: of pairs the values."""
    connection.send_command(*command)  # type: ignore[attr-defined]  # redis-py has no common type
    answer = connection.read_response()  # type: ignore[attr-defined]
    if isinstance(answer, dict):
        answer = b" ".join(answer.values())
    elif isinstance(answer, list):
        answer = b" ".join(answer[1::2])
    return answer.decode() if isinstance(answer, bytes) else str(answer)
