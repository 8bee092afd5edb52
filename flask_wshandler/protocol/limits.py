"""What one connection may cost, and what happens past that."""

from __future__ import annotations

import dataclasses
import enum


class QueuePolicy(str, enum.Enum):
    """What happens when a client has left more than `max_queue_size` bytes untaken."""

    CLOSE = "close"
    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"


class RatePolicy(str, enum.Enum):
    """What happens when a client sends more messages than `message_rate` allows."""

    CLOSE = "close"
    SLOW_DOWN = "slow_down"


@dataclasses.dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many a second in the long run."""

    per_second: float
    burst: int


@dataclasses.dataclass(frozen=True, slots=True)
class ClientSettings:
    """The settings that concern one client: an app's, with its handler's attributes over them."""

    max_message_size: int
    max_queue_size: int
    queue_policy: QueuePolicy
    message_rate: Rate | None
    message_rate_policy: RatePolicy
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float
    recheck_session_s: float | None
    #: Seconds that a client which can come back is waited for; 0: not at all.
    resume_s: float = 0.0
    #: Bytes that are kept for it meanwhile.
    resume_buffer: int = 0
