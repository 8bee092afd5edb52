"""What is measured: the one list of it, from which every exporter makes its own."""

from __future__ import annotations

import dataclasses
import enum


class Kind(enum.Enum):
    """How values of several processes and moments belong together."""

    #: What is at this moment; gone with its process.
    GAUGE = enum.auto()
    #: The same of something that all processes share: the one that sees most of it is right.
    SHARED_GAUGE = enum.auto()
    #: What has been counted since the start; stays when its process is gone.
    COUNTER = enum.auto()
    #: Durations, counted by how long they are.
    HISTOGRAM = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """One thing that is measured, perhaps by labels."""

    #: Its name, without the prefix of the package and without `_total`.
    name: str
    kind: Kind
    #: In UCUM's notation, as OpenTelemetry wants it: "By", "s", or what is counted.
    unit: str
    help: str
    #: Of each, the number of values is bounded: see docs/monitoring.md.
    labels: tuple[str, ...] = ()


CALLBACK_SECONDS = Family(
    "callback_seconds",
    Kind.HISTOGRAM,
    "s",
    "Time that callbacks have taken.",
    ("handler", "callback"),
)

FAMILIES = (
    Family(
        "processes", Kind.GAUGE, "{process}", "Processes that have served a WebSocket or a scrape."
    ),
    Family("connections", Kind.GAUGE, "{connection}", "Open connections."),
    Family(
        "transports",
        Kind.GAUGE,
        "{connection}",
        "Open connections, by what carries them.",
        ("transport",),
    ),
    Family("away", Kind.GAUGE, "{connection}", "Clients that are away and may come back."),
    Family("connections_max", Kind.GAUGE, "{connection}", "Connections that there may be."),
    Family("queued_bytes", Kind.GAUGE, "By", "Bytes that clients have not taken yet."),
    Family("queued_bytes_max", Kind.GAUGE, "By", "Bytes that they may leave untaken together."),
    Family("threads", Kind.GAUGE, "{thread}", "Threads for callbacks."),
    Family("threads_max", Kind.GAUGE, "{thread}", "Threads for callbacks that there may be."),
    Family(
        "bus_down_processes", Kind.GAUGE, "{process}", "Processes that the bus does not work for."
    ),
    Family(
        "history_down_processes",
        Kind.GAUGE,
        "{process}",
        "Processes that can't use the log of broadcasts.",
    ),
    Family(
        "history_log_messages", Kind.SHARED_GAUGE, "{message}", "Messages in the log of broadcasts."
    ),
    Family("history_log_bytes", Kind.SHARED_GAUGE, "By", "Bytes of these."),
    Family("accepted", Kind.COUNTER, "{connection}", "Connections that have been opened."),
    Family("closes", Kind.COUNTER, "{connection}", "Connections that have ended.", ("code",)),
    Family("returns", Kind.COUNTER, "{connection}", "Clients that came back.", ("outcome",)),
    Family("refusals", Kind.COUNTER, "{handshake}", "Handshakes refused.", ("reason",)),
    Family("posts", Kind.COUNTER, "{request}", "What clients over HTTP said.", ("outcome",)),
    Family("messages_received", Kind.COUNTER, "{message}", "Messages of clients."),
    Family("messages_sent", Kind.COUNTER, "{message}", "Messages sent or queued, by client."),
    Family("messages_dropped", Kind.COUNTER, "{message}", "Messages that full queues dropped."),
    Family("received_bytes", Kind.COUNTER, "By", "Bytes of frames of clients."),
    Family("sent_bytes", Kind.COUNTER, "By", "Bytes of frames that the system has taken."),
    Family("failures", Kind.COUNTER, "{exception}", "Exceptions of callbacks.", ("callback",)),
    Family("faults", Kind.COUNTER, "{fault}", "Faults of the package's threads.", ("where",)),
    Family("bus_published", Kind.COUNTER, "{envelope}", "Envelopes to other processes."),
    Family("bus_received", Kind.COUNTER, "{envelope}", "Envelopes of other processes."),
    Family("bus_dropped", Kind.COUNTER, "{envelope}", "Envelopes that somebody has missed."),
    Family("bus_malformed", Kind.COUNTER, "{envelope}", "What came and was no envelope."),
    Family("history_logged", Kind.COUNTER, "{message}", "Broadcasts that were numbered."),
    Family("history_unlogged", Kind.COUNTER, "{message}", "Broadcasts that the log did not take."),
    Family(
        "history_unnumbered",
        Kind.COUNTER,
        "{message}",
        "Broadcasts of processes that do not know of the history, by process that has got them.",
    ),
    Family("history_wait_seconds", Kind.COUNTER, "s", "Time that broadcasts waited for the log."),
    Family("history_slow", Kind.COUNTER, "{message}", "Broadcasts that waited for over 1 ms."),
    Family("history_repairs", Kind.COUNTER, "{repair}", "How often something was read up."),
    Family("history_gaps", Kind.COUNTER, "{gap}", "How often members have missed something."),
    Family("history_replayed", Kind.COUNTER, "{message}", "Messages of the past, by client."),
    CALLBACK_SECONDS,
)

SHARED_GAUGES = frozenset(family.name for family in FAMILIES if family.kind is Kind.SHARED_GAUGE)
GAUGES = SHARED_GAUGES | {family.name for family in FAMILIES if family.kind is Kind.GAUGE}
