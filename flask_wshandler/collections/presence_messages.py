"""What processes tell each other of their members, as bytes and as values.

Messages are JSON lists with a letter first:

    ["b", process, count, follows, asks]                 `Beat`
    ["a", process, topics]                               `Question`
    ["m", process, count, topic, index, of, members]     `AnswerPart`
    ["c", process, count, topic, joined, left]           `Change`
    ["x", process]                                       `End`

`members` and `joined` are lists of [connection id, metadata], `left` of connection ids.

Invariant: what `decode` returns has the types that it says.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from ..bus import Malformed

Pairs = list[tuple[str, dict[str, Any]]]
"""Connection ids, each with its metadata."""


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """A process lives. One that is asked answers with a beat."""

    process: str
    #: How many changes it has made to its members.
    count: int
    #: Whether it wants to be told of changes.
    follows: bool
    asks: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """Asks all: tell me your members of these topics."""

    process: str
    topics: list[str]


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerPart:
    """Some of a process's members of a topic, as of a count."""

    process: str
    count: int
    topic: str
    #: The first part of an answer has 0.
    index: int
    #: One more than the index, in the last part only.
    of: int
    members: Pairs


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One change. Those in `joined` that were members before have other metadata now."""

    process: str
    count: int
    topic: str
    joined: Pairs
    left: list[str]


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """The process ends."""

    process: str


PresenceMessage = Beat | Question | AnswerPart | Change | End


def encode(message: PresenceMessage) -> bytes:
    """The bytes of a message."""
    names = message.__slots__
    found = [_LETTERS[type(message)], *[getattr(message, name) for name in names]]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def decode(body: bytes) -> PresenceMessage:
    """The message that some bytes are. Raises `Malformed`."""
    try:
        letter, *values = json.loads(body)
        read = _READERS[letter]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Malformed(f"no message of an account of members: {error}") from None
    try:
        return read(*values)
    except (TypeError, ValueError) as error:
        raise Malformed(f"message {letter!r} of an account: {error}") from None


def _read_beat(process: object, count: object, follows: object, asks: object) -> Beat:
    return Beat(_text(process), _integer(count), bool(follows), bool(asks))


def _read_question(process: object, topics: object) -> Question:
    return Question(_text(process), [_name(topic) for topic in _list(topics)])


def _read_answer_part(
    process: object, count: object, topic: object, index: object, of: object, members: object
) -> AnswerPart:
    return AnswerPart(
        _text(process),
        _integer(count),
        _text(topic),
        _integer(index),
        _integer(of),
        _pairs(members),
    )


def _read_change(
    process: object, count: object, topic: object, joined: object, left: object
) -> Change:
    ids = [str(connection_id) for connection_id in _list(left)]
    return Change(_text(process), _integer(count), _text(topic), _pairs(joined), ids)


def _read_end(process: object) -> End:
    return End(_text(process))


_LETTERS: dict[type[PresenceMessage], str] = {
    Beat: "b",
    Question: "a",
    AnswerPart: "m",
    Change: "c",
    End: "x",
}
_READERS: dict[str, Callable[..., PresenceMessage]] = {
    "b": _read_beat,
    "a": _read_question,
    "m": _read_answer_part,
    "c": _read_change,
    "x": _read_end,
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a string is needed, not {value!r}")
    return value


def _name(value: object) -> str:
    name = _text(value)
    name.encode()  # what can't be named can't be answered, now or later
    return name


def _integer(value: object) -> int:
    if type(value) is not int:  # nor a bool
        raise TypeError(f"an integer is needed, not {value!r}")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list is needed, not {value!r}")
    return value


def _pairs(value: object) -> Pairs:
    return [(str(connection_id), _metadata(each)) for connection_id, each in _list(value)]


def _metadata(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"metadata is an object, not {type(value).__name__}")
    return value
