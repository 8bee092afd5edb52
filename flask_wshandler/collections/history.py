"""What a collection is to remember, and what it tells of that."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ..history.log import Bounds
from ..protocol.frames import Message

DEFAULT_AGE_S = 86400.0
MOST_MESSAGES = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """How much of a collection's broadcasts is kept, and what whoever joins gets of it."""

    bounds: Bounds
    #: The last messages that a new member gets.
    replay: int

    def __str__(self) -> str:
        return f"history={self.bounds.count}, history_s={self.bounds.age_s:g}, replay={self.replay}"


class LoggedMessage(NamedTuple):
    """A message that was broadcast to a collection with history."""

    #: Its place in the one order of the collection's messages. There may be none between two.
    number: int
    #: str for a text message, bytes for a binary one.
    message: Message
    #: When it was broadcast: seconds since 1970.
    sent_at: float


def checked_history(
    history: int | None, history_s: float | None, replay: int | None
) -> History | None:
    """The options of a collection; None if it has no history. Raises TypeError or ValueError."""
    if history is None:
        for name, value in (("history_s", history_s), ("replay", replay)):
            if value is not None:
                raise ValueError(f"{name}={value!r} needs history=…: how many messages are kept")
        return None
    count = _checked_count("history", history, 1, MOST_MESSAGES)
    age_s = DEFAULT_AGE_S if history_s is None else history_s
    if isinstance(age_s, bool) or not isinstance(age_s, int | float):
        raise TypeError(f"history_s is a number of seconds, not {age_s!r}")
    if not 0 < age_s < float("inf"):
        raise ValueError(f"history_s is {age_s!r}, but must be above 0 and finite")
    shown = _checked_count("replay", 0 if replay is None else replay, 0, count)
    return History(Bounds(count, float(age_s)), shown)


def _checked_count(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a number of messages, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, but must be from {least} to {most}")
    return value
