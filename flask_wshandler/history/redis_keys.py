"""What the logs of an app are called on a Redis.

Invariant: all names have the braces of the bus's channels, so one node of a cluster has them all.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from ..bus.envelope import SENT_BY_A_LOG, Kind, encode
from ..bus.redis_bus import RedisBus


class TopicNames(NamedTuple):
    """Of one topic."""

    topic: bytes
    channel: bytes
    hash: bytes
    stream: bytes
    #: How the envelopes begin that bring its messages.
    envelope_head: bytes


class Keys:
    """The names, most of them made before."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus
        #: Of the sorted set of topics.
        self.index = bus.channel_of("?logs")
        self.of = functools.lru_cache(1000)(self._names)

    def _names(self, topic: str) -> TopicNames:
        return TopicNames(
            topic.encode(),
            self._bus.channel_of(topic),
            self._bus.channel_of("?log:" + topic),
            self._bus.channel_of("?entries:" + topic),
            encode(Kind.LOGGED, SENT_BY_A_LOG, topic, b""),
        )
