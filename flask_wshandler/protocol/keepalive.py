"""How long a silent peer, or a slow one, is waited for: the rules, without a clock or a socket.

Silence is what was listened to. A time limit that is over does not end a connection: it has a turn
read what has come, and only a turn that has read everything and found nothing may judge. So nobody
is taken for dead whose answer lies unread behind a callback, behind busy threads, or behind a
process that was stopped.

Taking is life, too. What stands before a ping keeps the peer from answering it, so a ping that has
not reached the peer's system waits for as long as the peer takes anything, and one that has reached
it is given the time that a slow peer, or a proxy, needs for what stood before it. After our close
frame there is less patience: only a peer that keeps `SLOWEST_BYTES_PER_S` is waited for.
"""

from __future__ import annotations

SLOWEST_BYTES_PER_S = 32 * 1024
"""A peer that takes less is not waited for, where somebody waits."""

STOOD_STILL_S = 2.0
"""A timer that is so late shows that this process, or the whole machine, stood still. Then the peer
may have stood still as well, and is asked once more."""

_MOST_AHEAD_BYTES = 8 * 1024 * 1024
"""What a system and a proxy keep for a peer: buffers of 6 MB to receive and 4 MB to send are the
largest that Linux makes by itself."""


def time_to_take_s(size: int) -> float:
    """What the slowest peer needs for `size` bytes that are with it, or with a proxy, already.

    Nothing for what it can take within a second.
    """
    if size < SLOWEST_BYTES_PER_S:
        return 0.0
    return min(size, _MOST_AHEAD_BYTES) / SLOWEST_BYTES_PER_S


def has_kept_pace(untaken_before: int, untaken: int, seconds: float) -> bool:
    """Whether a peer has taken enough in so many seconds to be waited for longer.

    What can be taken within a second is no queue: it buys no time.
    """
    if untaken_before < SLOWEST_BYTES_PER_S:
        return False
    taken = untaken_before - untaken
    return taken >= min(untaken_before, SLOWEST_BYTES_PER_S * seconds)
