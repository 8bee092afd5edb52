"""The envelopes that wait to be published: two lanes, of a bounded size and age.

The lock of the publisher guards it.

Invariants: each lane is in the order of `put`. Past the limit the oldest are dropped, what is
urgent last; but not the next to be published, which may be larger than all that may wait.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from typing import NamedTuple

from .parts import PART_BYTES

_BATCH = 512
_BATCH_BYTES = PART_BYTES
_ENVELOPE_COST_BYTES = 128
"""About what a queued envelope takes beside its bytes."""
_MAX_AGE_S = 10.0
"""What could not be published for so long is no news any more."""


@dataclasses.dataclass(slots=True)
class Queued:
    """An envelope that waits."""

    topic: str
    data: bytes
    queued_s: float


class Batch(NamedTuple):
    """What is to be published next: small envelopes, or one above `PART_BYTES`."""

    envelopes: list[Queued]
    #: How many of them are not urgent.
    patient_count: int
    #: How many others were too old.
    dropped_count: int


class PublishQueue:
    """What is urgent, and what waits behind it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._patient: collections.deque[Queued] = collections.deque()
        self._urgent: collections.deque[Queued] = collections.deque()
        self._bytes = 0
        #: How many envelopes that are not urgent have been queued, and how many of these are done
        #: with; the first are the first.
        self.put_count = 0
        self.done_count = 0
        #: Whether something was dropped since it was empty last.
        self.is_overflowing = False

    def __len__(self) -> int:
        return len(self._patient) + len(self._urgent)

    @property
    def has_urgent(self) -> bool:
        """Whether something urgent waits."""
        return bool(self._urgent)

    def put(self, topic: str, data: bytes, *, is_urgent: bool) -> int:
        """Queue an envelope; returns how many were dropped for it."""
        lane = self._urgent if is_urgent else self._patient
        lane.append(Queued(topic, data, time.monotonic()))
        self.put_count += not is_urgent
        self._bytes += len(data) + _ENVELOPE_COST_BYTES
        dropped = self._drop_oldest()
        self.is_overflowing = self.is_overflowing or dropped > 0
        return dropped

    def take(self, *, is_urgent: bool = False) -> Batch:
        """What is news of the oldest; `is_urgent`: only what is urgent and not large.

        Of what is taken and not urgent `done_count` is to be told when it is published, or lost.
        """
        batch: list[Queued] = []
        size = dropped = patient_count = 0
        oldest_s = time.monotonic() - _MAX_AGE_S
        while lane := self._urgent or (not is_urgent and self._patient):
            first = lane[0]
            if first.queued_s < oldest_s:
                self._drop(lane)
                dropped += 1
                continue
            is_large = len(first.data) > PART_BYTES
            if (is_large and is_urgent) or (batch and size + len(first.data) > _BATCH_BYTES):
                break
            batch.append(self._pop(lane))
            size += len(first.data)
            patient_count += lane is self._patient
            if is_large or len(batch) == _BATCH:
                break
        if not self:
            self.is_overflowing = False
        return Batch(batch, patient_count, dropped)

    def clear(self) -> int:
        """Forget everything; returns how many that were."""
        count = len(self)
        self._patient.clear()
        self._urgent.clear()
        return count

    def _drop_oldest(self) -> int:
        dropped = 0
        while len(self) > 1:
            lane = self._patient or self._urgent
            next_bytes = len(lane[0].data) + _ENVELOPE_COST_BYTES
            if self._bytes - next_bytes <= self._max_bytes:
                break
            self._drop(lane)
            dropped += 1
        return dropped

    def _drop(self, lane: collections.deque[Queued]) -> None:
        self._pop(lane)
        self.done_count += lane is self._patient

    def _pop(self, lane: collections.deque[Queued]) -> Queued:
        taken = lane.popleft()
        self._bytes -= len(taken.data) + _ENVELOPE_COST_BYTES
        return taken
