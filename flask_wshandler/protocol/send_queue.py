"""The frames that a peer has not taken yet: a queue with a bound.

No lock: the connection's guards it.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

from .frames import is_data_frame

Write = Callable[[bytes | memoryview], int]
"""Writes without waiting and returns how many bytes were taken."""

_FRAME_COST_BYTES = 64
"""About what a queued frame takes beside its bytes: so many short ones count as more than these."""

_FEW_FRAMES = 16
"""So many may be queued whatever their number costs."""

_LARGEST_WRITE_BYTES = 256 * 1024
"""Queued frames are joined up to this size, so that one system call sends many."""


class QueueBudget:
    """What the queues of all connections hold together, and may hold. Any thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        # Reentrant: garbage may be collected anywhere, and its `__del__` may send something.
        self._lock = threading.RLock()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """What they hold."""
        return self._used_bytes

    def change(self, size: int) -> None:
        """A queue has grown by `size` bytes, or shrunk."""
        with self._lock:
            self._used_bytes += size

    def is_over(self, size: int) -> bool:
        """Whether `size` bytes more are too much."""
        return self._used_bytes + size > self.max_bytes


class SendQueue:
    """Whole frames in order, the first of them perhaps begun.

    Invariants: `queued_bytes` is 0 if and only if nothing is queued. A frame that has been given
    to `write`, even if nothing of it was taken, is written to its end. (TLS must repeat a write
    that would have blocked as it was.) Such frames are memoryviews here, untried ones are bytes.
    """

    __slots__ = (
        "_budget",
        "_charged_bytes",
        "_frames",
        "_max_bytes",
        "_only",
        "queued_bytes",
    )

    def __init__(self, max_bytes: int, budget: QueueBudget | None = None) -> None:
        self._max_bytes = max_bytes
        self._budget = budget
        self._charged_bytes = 0
        #: The only frame. More of them are in `_frames`, which takes 0.7 kB.
        self._only: bytes | memoryview | None = None
        self._frames: collections.deque[bytes | memoryview] | None = None
        self.queued_bytes = 0

    def is_over(self, size: int) -> bool:
        """Whether a frame of `size` bytes is too much.

        Not if nothing is queued: a message larger than the bound could never be sent.
        """
        if not self.queued_bytes:
            return False
        count = len(self._frames) if self._frames else 1
        return (
            self.queued_bytes + size > self._max_bytes
            or (count >= _FEW_FRAMES and count >= self._max_bytes // _FRAME_COST_BYTES)
            or (self._budget is not None and self._budget.is_over(size))
        )

    @property
    def message_count(self) -> int:
        """How many queued messages have not been tried to be written, so that they may be dropped.

        A frame that is queued as a memoryview is never dropped.
        """
        frames = self._frames or (() if self._only is None else (self._only,))
        return sum([isinstance(frame, bytes) and is_data_frame(frame) for frame in frames])

    def append(self, frame: bytes | memoryview) -> None:
        """Queue a frame. The budget is charged when it stays: with the next `flush`."""
        if not self.queued_bytes:
            self._only = frame
        else:
            self._many().append(frame)
        self.queued_bytes += len(frame)

    def put(self, frame: bytes | memoryview, write: Write) -> None:
        """Write a frame, or queue what is not taken of it."""
        if self.queued_bytes:
            self.append(frame)
            self._charge()
            return
        taken = write(frame)
        if taken < len(frame):
            self.put_rest(frame, taken, write)

    def put_rest(self, frame: bytes | memoryview, taken: int, write: Write) -> None:
        """Queue what was not taken of a frame that was tried while nothing was queued."""
        self._only = memoryview(frame)[taken:]
        self.queued_bytes = len(frame) - taken
        # Once more: the kernel may have said that there is room again before this thread has
        # queued the rest, and whoever heard it has looked at queued_bytes without the lock.
        self.flush(write)

    def flush(self, write: Write) -> None:
        """Write what is queued, as far as it is taken."""
        if self._only is None:
            self._write_on(write)
        else:
            self._write_only(self._only, write)
        self._charge()

    def _write_only(self, frame: bytes | memoryview, write: Write) -> None:
        taken = write(frame)
        if self._only is None:
            return  # the writer has found the peer lost, and cleared the queue
        self.queued_bytes -= taken
        self._only = memoryview(frame)[taken:] if self.queued_bytes else None

    def _many(self) -> collections.deque[bytes | memoryview]:
        """All that is queued, however few they are."""
        if self._frames is None:
            self._frames = collections.deque()
        if self._only is not None:
            self._frames.append(self._only)
            self._only = None
        return self._frames

    def _write_on(self, write: Write) -> None:
        while self._frames:
            data, count = self._next_write(self._frames)
            taken = write(data)
            if not self._frames:
                return  # the writer has found the peer lost, and cleared the queue
            self.queued_bytes -= taken
            if taken < len(data):
                self._keep_rest(self._frames, count, taken)
                return
            for _ in range(count):
                self._frames.popleft()
        self._frames = None

    def drop_oldest(self, size: int) -> int:
        """Drop the oldest messages until `size` more bytes fit; return how many were dropped."""
        return self._drop_while(lambda: self.is_over(size))

    def drop_all(self) -> int:
        """Drop all messages that are not begun; return how many."""
        return self._drop_while(lambda: True)

    def clear(self) -> None:
        """Forget everything: nobody will take it."""
        self._only = self._frames = None
        self.queued_bytes = 0
        self._charge()

    def _charge(self) -> None:
        change = self.queued_bytes - self._charged_bytes
        if change and self._budget is not None:
            self._charged_bytes += change
            self._budget.change(change)

    def _drop_while(self, is_wanted: Callable[[], bool]) -> int:
        frames = self._many()
        kept: list[bytes | memoryview] = []
        dropped = 0
        while frames and is_wanted():
            frame = frames.popleft()
            if isinstance(frame, memoryview) or not is_data_frame(frame):
                kept.append(frame)
            else:
                self.queued_bytes -= len(frame)
                dropped += 1
        frames.extendleft(reversed(kept))
        self._charge()
        return dropped

    @staticmethod
    def _next_write(
        frames: collections.deque[bytes | memoryview],
    ) -> tuple[bytes | memoryview, int]:
        """The first frames as one piece of data, and how many they are."""
        if len(frames) == 1:
            return frames[0], 1
        size = count = 0
        for frame in frames:
            size += len(frame)
            if count and size > _LARGEST_WRITE_BYTES:
                break
            count += 1
        return b"".join(frames[index] for index in range(count)), count

    @staticmethod
    def _keep_rest(frames: collections.deque[bytes | memoryview], count: int, taken: int) -> None:
        """Of `count` frames that were tried, remove the `taken` bytes and mark what is left."""
        for index in range(count):
            frames[index] = memoryview(frames[index])
        while taken >= len(frames[0]):
            taken -= len(frames.popleft())
        if taken:
            frames[0] = frames[0][taken:]
