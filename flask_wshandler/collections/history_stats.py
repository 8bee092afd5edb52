"""What collections with history have done in this process, in figures."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryStats:
    """What collections with history have done in this process."""

    #: Broadcasts that were numbered here.
    logged: int
    #: Broadcasts that the log could not take: they went out without a number.
    unlogged: int
    #: Broadcasts that have come without a number from a process which does not know that the
    #: collection has a history. Whoever is away misses them.
    unnumbered: int
    #: Of the numbered ones, those that have waited for more than a millisecond.
    slow: int
    #: Seconds that all of them have waited.
    waited_s: float
    #: How often messages had not come and were read from the log.
    repairs: int
    #: How often some were not in the log any more, so that members have not got them.
    gaps: int
    #: Messages from the log that were sent to members which have joined, or come back.
    replayed: int
    #: What the log holds of all collections, in all processes, as this one has seen it last: some
    #: seconds ago. 0 if it was not used here.
    log_messages: int
    #: Of messages, with 64 for each.
    log_bytes: int
    #: Why the log can't be used; empty if it can, as far as is known.
    trouble: str


@dataclasses.dataclass(slots=True)
class FeedCounts:
    """What the feeds of a process have had to do. Written without a lock: it is rare."""

    #: As those of `HistoryStats`.
    repairs: int = 0
    gaps: int = 0
    replayed: int = 0
