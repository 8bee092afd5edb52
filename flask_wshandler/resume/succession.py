"""The legs of one client, one after the other, and what went over all of them.

Invariant: a leg becomes the current one when that before it has done its last act. Until then it is
the next, of which there is one: the client's last return counts, and returns may arrive in another
order than they were made in.

With the lock of the resumable connection held, apart from the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.carrier import Transport

if TYPE_CHECKING:
    from ..protocol.token_bucket import TokenBucket
    from .leg import Leg


class Succession:
    """Which leg there is, and which is next."""

    __slots__ = (
        "_is_paused",
        "_past_dropped",
        "_past_received_bytes",
        "_past_sent_bytes",
        "_past_transport",
        "_rate_bucket",
        "_tries",
        "current",
        "next",
    )

    def __init__(self) -> None:
        #: The one that the client has, or had last until that has ended.
        self.current: Leg | None = None
        #: The one that begins when `current` is over.
        self.next: Leg | None = None
        #: Those of the client's last return.
        self._tries = 0
        self._is_paused = False
        self._past_dropped = 0
        self._past_received_bytes = 0
        self._past_sent_bytes = 0
        self._past_transport = Transport.WEBSOCKET
        self._rate_bucket: TokenBucket | None = None

    @property
    def transport(self) -> Transport:
        """What the client speaks, or spoke last."""
        return self._past_transport if self.current is None else self.current.transport

    @property
    def dropped_messages(self) -> int:
        """Messages that full queues of legs have dropped."""
        leg = self.current
        return self._past_dropped + (0 if leg is None else leg.dropped_messages)

    @property
    def received_bytes(self) -> int:
        """Of frames and their heads."""
        leg = self.current
        return self._past_received_bytes + (0 if leg is None else leg.received_bytes)

    @property
    def sent_bytes(self) -> int:
        """Of frames and their heads."""
        leg = self.current
        return self._past_sent_bytes + (0 if leg is None else leg.sent_bytes)

    def begin(self, leg: Leg, tries: int) -> None:
        """The client's first leg, after so many tries elsewhere."""
        self.current = leg
        self._tries = tries

    def is_overtaken(self, tries: int) -> bool:
        """Whether the client has made that return before one that has arrived."""
        return tries <= self._tries

    def supersede(self, tries: int) -> None:
        """End the legs that there are: the client has come back by another way."""
        self._tries = tries
        following, self.next = self.next, None
        for leg in (following, self.current):
            if leg is not None:
                leg.supersede()

    def add(self, leg: Leg) -> bool:
        """Let `leg` follow. Whether it is the current one already, since there was none."""
        if self.current is None:
            self.current = leg
            return True
        self.next = leg
        return False

    def forget_next(self, leg: Leg) -> None:
        """`leg` has ended: if it was the next, there is none now."""
        if self.next is leg:
            self.next = None

    def take_next(self) -> Leg | None:
        """The leg that would have been next; it will not be."""
        following, self.next = self.next, None
        return following

    def move_on(self, leg: Leg) -> Leg | None:
        """Have the next take the place of `leg`, which has ended; None if there is none."""
        self._past_dropped += leg.dropped_messages
        self._past_received_bytes += leg.received_bytes
        self._past_sent_bytes += leg.sent_bytes
        self._past_transport = leg.transport
        self._rate_bucket = leg.rate_bucket
        self.current, self.next = self.next, None
        return self.current

    def pause(self) -> None:
        """Have no leg read until `resume`."""
        self._is_paused = True
        if self.current is not None:
            self.current.pause()

    def resume(self) -> None:
        """Have the legs read on."""
        self._is_paused = False
        if self.current is not None:
            self.current.resume()

    def started(self, leg: Leg) -> None:
        """`leg` reads from now on, unless that is to be paused; its rate is the client's."""
        if leg.rate_bucket is None:
            leg.rate_bucket = self._rate_bucket
        if self._is_paused:
            leg.pause()
