"""What collections and groups are called on the bus, and in the log.

c:<name>                              a collection
g:<length of name>:<name>:<key>       a group: with the length, no name and key run together
                                      like another's
#<number>                             a collection without a name, of one process
"""

from __future__ import annotations

import re
from typing import NamedTuple

_GROUP = re.compile(r"g:([0-9]{1,3}):")


class Named(NamedTuple):
    """A collection, or a group of groups."""

    name: str
    #: None of a collection.
    key: str | None = None

    def __str__(self) -> str:
        if self.key is None:
            return f"the collection {self.name!r}"
        return f"the group {self.key!r} of {self.name!r}"


def topic_of_collection(name: str) -> str:
    """That of a collection."""
    return f"c:{name}"


def prefix_of_groups(name: str) -> str:
    """With which the topics of groups begin; their keys follow."""
    return f"g:{len(name)}:{name}:"


def topic_of(named: Named) -> str:
    """That of a collection or group."""
    if named.key is None:
        return topic_of_collection(named.name)
    return prefix_of_groups(named.name) + named.key


def named_by(topic: str) -> Named:
    """What a topic stands for. One that is no collection's is a name by itself."""
    if topic.startswith("c:"):
        return Named(topic[2:])
    match = _GROUP.match(topic)
    if match is not None:
        begin = match.end()
        end = begin + int(match[1])
        if topic[end : end + 1] == ":":
            return Named(topic[begin:end], topic[end + 1 :])
    return Named(topic)
