"""The figures of an app's WebSockets in one process."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..protocol.connection import Connection


class ReturnOutcome(str, enum.Enum):
    """What has become of a client that has come back."""

    #: Its handler goes on.
    RESUMED = "resumed"
    #: Its handler goes on in another process of this machine, which was given the socket.
    PASSED = "passed"
    #: Its handler had to end, because its process can't be given the socket; it has a new one, and
    #: has missed nothing.
    RELEASED = "released"
    #: Its handler is gone, or what the client lacks is; it has a new one.
    LOST = "lost"


@dataclasses.dataclass(frozen=True, slots=True)
class Stats:
    """What an app's WebSockets in this process have done and are doing.

    What is counted "since the start" never gets less, whoever connects and leaves.
    """

    #: Open connections.
    connections: int
    #: Of these, by what carries them: "websocket", "stream", "poll".
    transports: Mapping[str, int]
    #: Clients that are waited for: `WSHANDLER_RESUME_S`.
    away: int
    #: Connections that there may be: `WSHANDLER_MAX_CONNECTIONS`, or what descriptors allow.
    max_connections: int
    #: Connections that have been opened since the start.
    accepted: int
    #: Messages that handlers have received since the start.
    messages_received: int
    #: Messages that were sent or queued since the start, one per client of a broadcast.
    messages_sent: int
    #: Messages that a full queue has dropped since the start.
    messages_dropped: int
    #: Bytes of frames, with their heads and pings, that have come since the start.
    bytes_received: int
    #: Bytes of frames, with their heads and pings, that the system has taken since the start.
    bytes_sent: int
    #: Bytes that clients have not taken yet.
    queued_bytes: int
    #: Bytes that they may leave untaken together: `WSHANDLER_MAX_TOTAL_QUEUE_SIZE`.
    max_queued_bytes: int
    #: Threads for callbacks.
    threads: int
    #: Threads that there may be: `WSHANDLER_THREADS`.
    max_threads: int
    #: Connections that have ended since the start, by `close_code`.
    closes: Mapping[int, int]
    #: Clients that have come back since the start, by what has become of them: "resumed", "passed",
    #: "released" or "lost".
    returns: Mapping[str, int]
    #: Handshakes that were refused since the start, by reason, such as "full" or "origin".
    refusals: Mapping[str, int]
    #: Requests by which clients have spoken that are served over HTTP, by outcome: "taken",
    #: "unknown", "gap", "full", "too_large", "invalid", "origin", "slow", "unreachable".
    posts: Mapping[str, int]
    #: Exceptions of callbacks since the start, by the callback's name.
    failures: Mapping[str, int]
    #: Faults of this package and of log handlers since the start, of the whole process, by where:
    #: the name of a thread without "wshandler-", "turn", "log", "put off".
    faults: Mapping[str, int]


@dataclasses.dataclass(slots=True)
class Totals:
    """Sums over connections."""

    messages_received: int = 0
    messages_sent: int = 0
    messages_dropped: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0

    def add(self, connection: Connection) -> None:
        """Add what has come and gone on `connection` so far."""
        self.messages_received += connection.received_messages
        self.messages_sent += connection.sent_messages
        self.messages_dropped += connection.dropped_messages
        self.bytes_received += connection.received_bytes
        self.bytes_sent += connection.sent_bytes
