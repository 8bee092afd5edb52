"""The account of one process: its members of each topic, as of a count of changes.

Nothing here waits or sends, or knows the time. The lock of the `Account` guards it.

Invariant: what is known of another process's topic is as of that process's count, or is doubted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from .presence_messages import AnswerPart, Change, Pairs

Members = dict[str, dict[str, Any]]
"""Metadata by connection id."""


class Difference(NamedTuple):
    """Which members of a topic are new, have gone, and have other metadata."""

    joined: Pairs
    left: Pairs
    updated: Pairs


NO_DIFFERENCE = Difference([], [], [])


class OwnAccount:
    """The members of this process, and how often they have changed."""

    def __init__(self) -> None:
        self.count = 0
        self._members: dict[str, Members] = {}

    def __contains__(self, topic: object) -> bool:
        return topic in self._members

    def of(self, topic: str) -> Members:
        """The members of a topic, to be read."""
        return self._members.get(topic, {})

    def put(self, topic: str, connection_id: str, metadata: dict[str, Any]) -> None:
        """A member is in, or has other metadata."""
        self.count += 1
        self._members.setdefault(topic, {})[connection_id] = metadata

    def pop(self, topic: str, connection_id: str) -> dict[str, Any] | None:
        """A member is in no more: its metadata, or None if it was not in."""
        members = self._members.get(topic, {})
        metadata = members.pop(connection_id, None)
        if metadata is not None:
            self.count += 1
            if not members:
                del self._members[topic]
        return metadata

    def clear(self) -> None:
        """Nobody is in."""
        self._members.clear()


@dataclasses.dataclass(slots=True)
class PeerAccount:
    """What another process has told."""

    heard_s: float
    #: Of its changes, as of which `accounts` are.
    count: int
    follows: bool = False
    #: Its members of each topic that is followed here and known.
    accounts: dict[str, Members] = dataclasses.field(default_factory=dict)
    #: Of these, the ones that a lost change may have made wrong.
    _doubted: set[str] = dataclasses.field(default_factory=set)
    #: Parts of an answer that is not complete: (topic, next index, members).
    _partial: tuple[str, int, Members] | None = None
    #: The topic and index of `_partial` at the last beat: without progress something was lost.
    _awaited: tuple[str, int] | None = None

    def of(self, topic: str) -> Members:
        """Its members of a topic, as far as they are known; to be read."""
        return self.accounts.get(topic, {})

    def drop(self, topic: str) -> None:
        """Know nothing of a topic any more."""
        self.accounts.pop(topic, None)
        self._doubted.discard(topic)

    def doubt_all(self, count: int) -> None:
        """Changes up to `count` were lost on the way."""
        self.count = count
        self._partial = None
        self._doubted.update(self.accounts)

    def unknown(self, followed: Iterable[str]) -> set[str]:
        """The followed topics for which an answer has not come, at a beat."""
        unknown = set(followed) - self.accounts.keys() | self._doubted
        awaited = None if self._partial is None else self._partial[:2]
        if awaited is not None and awaited != self._awaited:
            unknown.discard(awaited[0])  # it is under way
        self._awaited = awaited
        return unknown

    def take_change(self, change: Change) -> Difference:
        """Make the next change."""
        self.count = change.count
        topic = change.topic
        if self._partial is not None and self._partial[0] == topic:
            _apply(self._partial[2], change)
        known = self.accounts.get(topic)
        return NO_DIFFERENCE if known is None else _apply(known, change)

    def take_part(self, part: AnswerPart) -> Difference:
        """Put a part to those before it; with the last one the topic is known."""
        topic = part.topic
        gathered: Members = {}
        if part.index:
            if self._partial is None or self._partial[:2] != (topic, part.index):
                self._partial = None  # a part was lost; the next question is asked with the beat
                return NO_DIFFERENCE
            gathered = self._partial[2]
        gathered.update(part.members)
        if part.index + 1 < part.of:
            self._partial = topic, part.index + 1, gathered
            return NO_DIFFERENCE
        self._partial = None
        known = self.of(topic)
        self.accounts[topic] = gathered
        self._doubted.discard(topic)
        return _difference(known, gathered)


def _difference(old: Members, new: Members) -> Difference:
    if old == new:
        return NO_DIFFERENCE
    return Difference(
        [(key, new[key]) for key in new if key not in old],
        [(key, old[key]) for key in old if key not in new],
        [(key, new[key]) for key in new if key in old and new[key] != old[key]],
    )


def _apply(members: Members, change: Change) -> Difference:
    """Make a change to members."""
    gone = []
    for connection_id in change.left:
        metadata = members.pop(connection_id, None)
        if metadata is not None:
            gone.append((connection_id, metadata))
    new, updated = [], []
    for connection_id, metadata in change.joined:
        former = members.get(connection_id)
        if former is None:
            new.append((connection_id, metadata))
        elif former != metadata:
            updated.append((connection_id, metadata))
        members[connection_id] = metadata
    return Difference(new, gone, updated)
