"""The contract of a log: what was broadcast to collections with history, numbered.

A log is outside of the processes that write to it, and outlives them. What it holds of a topic are
the last messages, in the order of their numbers. `tests/history` holds every log to this contract,
with real processes.

Invariants:
- A number is given once: to one message of one topic, for as long as the log has its id. Later
  messages have higher numbers. Usually there is none between two messages; after a part of a log
  was lost there may be.
- Whoever is told a number can read the message at once, and all that have lower numbers and are
  kept.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import NamedTuple

LOG_ID_BYTES = 6
NO_LOG = bytes(LOG_ID_BYTES)
"""The id of a topic's log that does not exist yet, where each topic has one of its own."""

EXCLUDED_BYTES = 8
NOBODY = bytes(EXCLUDED_BYTES)
"""Excluded is nobody."""

MAX_NUMBER = 2**53
"""Beyond this JavaScript can't count."""

APPEND_TIMEOUT_S = 0.25
"""So long `append` may wait for other writers."""
READ_TIMEOUT_S = 1.0
"""So long any other call may wait."""

DEFAULT_SIZE_BYTES = 64 * 2**20

MOST_READ = 1000
MOST_READ_BYTES = 4 * 2**20
"""Of payloads in a page, unless there is but one message in it."""

ENTRY_COST_BYTES = 64
"""About what an entry takes beside its payload."""


class LogUnavailable(Exception):
    """The log can't be used at this moment; the message says why, and what to do if known."""


class LogBusy(LogUnavailable):
    """Others use it, and were not done in time: it works, and is worth another try."""


class LogSilent(LogUnavailable):
    """What carries the messages of the log is not heard of, and will leave out a number.

    What was sent to others by the same way would reach them later than what is logged then.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a topic is kept."""

    count: int
    age_s: float


class Draft(NamedTuple):
    """A message that has no number yet."""

    is_text: bool
    #: As it stands in a frame; that of a text is UTF-8.
    payload: bytes
    #: Which member it is not for, by its key: see `collections.feed`.
    excluded: bytes = NOBODY


class Entry(NamedTuple):
    """A message in the log."""

    number: int
    is_text: bool
    payload: bytes
    excluded: bytes
    #: When it was appended, by the clock of the writer or of the log's server: seconds since 1970.
    at_s: float


class Position(NamedTuple):
    """A place in the log of a topic."""

    #: Of the log, `LOG_ID_BYTES` at random: one that was lost and begun anew has another. Topics
    #: that can be lost one by one have one each.
    log_id: bytes
    #: How often something may be missing in it that was broadcast.
    generation: int
    #: Of the message that is there; 0 is before the first.
    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Some of a topic, as of one moment."""

    #: That of the last message that has ever been appended, also if it is not kept.
    last: Position
    #: The lowest number that is kept; one behind the last if nothing is.
    first_number: int
    #: In the order of their numbers.
    entries: list[Entry]


@dataclasses.dataclass(frozen=True, slots=True)
class LogSize:
    """What a log holds of all topics."""

    messages: int
    #: Of payloads, with `ENTRY_COST_BYTES` for each.
    bytes: int


def check_fits(draft: Draft, size_bytes: int) -> None:
    """Raise `LogUnavailable` if a message is larger than a log of this size."""
    if len(draft.payload) + ENTRY_COST_BYTES > size_bytes:
        raise LogUnavailable(f"a message of {len(draft.payload)} bytes; the log holds {size_bytes}")


class Log(abc.ABC):
    """What was broadcast. Any thread; no method is called with a lock held that it could need."""

    #: Whether what is appended is brought to every process that has subscribed to the topic of the
    #: bus, to this one, too, and in the order of the numbers; so nobody need publish it. Such a log
    #: says itself, to the log of the app, when it does not work and when it does again.
    carries = False

    #: Whether reading takes microseconds, and waits for nobody's answer.
    is_at_hand = True

    def exists(self) -> bool:
        """Whether there may be something to read. Makes nothing, and opens nothing.

        Raises `LogUnavailable` where it is seen already that it can't be used.
        """
        return True

    @abc.abstractmethod
    def append(
        self, topic: str, draft: Draft, bounds: Bounds, *, after_gap: bool = False
    ) -> Position | None:
        """Append a message, and keep as much of the topic from now on as `bounds` say.

        Waits `APPEND_TIMEOUT_S` at most, for other threads and processes. None if the log
        `carries`: then it comes by the bus when it has a number. `after_gap` says that something
        was broadcast without being appended: the generation rises with this message.

        Raises `LogUnavailable`, or `LogBusy` of it; then it is not appended, and will not be. Where
        a log was lost, it is begun anew without an exception: the position has another log id.
        """

    @abc.abstractmethod
    def read(self, topic: str, after: int, most: int = MOST_READ) -> Page:
        """The messages with numbers above `after`, the oldest first: `most` of them, some MB.

        Those that are out of the topic's bounds are not among them, and never will be again. A
        topic that nothing was appended to has the number 0; or, once a log has forgotten topics
        that nothing is kept of, one from which on it has given none to any of those. Raises
        `LogUnavailable`.
        """

    @abc.abstractmethod
    def newest(self, topic: str, count: int) -> Page:
        """The last `count` messages, some MB of them. Raises `LogUnavailable`."""

    @abc.abstractmethod
    def last_of(self, topics: list[str]) -> dict[str, Position]:
        """The position of the last message of each. Raises `LogUnavailable`."""

    @abc.abstractmethod
    def topics(self) -> list[str]:
        """All topics of which messages are kept. Slow. Raises `LogUnavailable`."""

    @abc.abstractmethod
    def tidy(self) -> None:
        """Forget what is older than its bounds, and the oldest of what is too much in all.

        To be called from time to time, by any process. Raises `LogUnavailable`.
        """

    @abc.abstractmethod
    def size(self) -> LogSize:
        """How much it holds. Raises `LogUnavailable`."""

    def close(self) -> None:  # noqa: B027  # not every log has something open
        """Let go of what is open. It opens again when it is used."""

    def reset_after_fork(self) -> None:  # noqa: B027
        """In a forked child: use nothing that the parent has opened. Once more does no harm."""
