"""The stream from one process to another: frames, each with its size before it.

`Link` is the end that writes, with a bounded queue. No lock: the bus's guards it. A frame is
written whole and in order; of those that are not begun the oldest are dropped when there are too
many. It looks like `protocol.send_queue`, but the bus does not know the protocol, and a client's
queue has rules of its own: control frames stay, a budget is shared, a TLS write is repeated as it
was.
"""

from __future__ import annotations

import collections
import os
import socket
import struct

_SIZE = struct.Struct("!I")

_LARGEST_WRITE_BYTES = 256 * 1024
_FRAME_COST_BYTES = 64
"""About what a queued frame takes beside its bytes."""


class Link:
    """A non-blocking socket to one other process, and what it has not taken yet."""

    __slots__ = ("_max_bytes", "frames", "has_kept_waiting", "is_overflowing", "is_watched", "name",
                 "queued_bytes", "socket")  # fmt: skip

    def __init__(self, name: str, sock: socket.socket, max_bytes: int) -> None:
        self.name = name
        self.socket = sock
        self._max_bytes = max_bytes
        #: The first may be the rest of a frame that is begun; then it is a memoryview.
        self.frames: collections.deque[bytes | memoryview] = collections.deque()
        self.queued_bytes = 0
        self.is_overflowing = False
        #: Whether it was waited for in vain to take what is queued.
        self.has_kept_waiting = False
        #: Whether the bus's thread waits for it to be writable.
        self.is_watched = False

    def put(self, frame: bytes) -> int:
        """Write or queue a frame; return how many were dropped for it. Raises OSError."""
        if self.frames:
            self._append(frame)
            return self._drop_oldest() if self.queued_bytes > self._max_bytes else 0
        taken = self._write(frame)
        if taken < len(frame):
            self._append(memoryview(frame)[taken:] if taken else frame)
        return 0

    def flush(self) -> None:
        """Write what is queued, as far as it is taken. Raises OSError."""
        while self.frames:
            data = self._next_write()
            taken = self._write(data)
            self._remove(taken)
            if taken < len(data):
                return
        self.is_overflowing = self.has_kept_waiting = False

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self.socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def _append(self, frame: bytes | memoryview) -> None:
        self.frames.append(frame)
        self.queued_bytes += len(frame) + _FRAME_COST_BYTES

    def _drop_oldest(self) -> int:
        begun = self.frames.popleft() if isinstance(self.frames[0], memoryview) else None
        # What is begun does not count: it may be larger than all that may wait.
        most_bytes = self._max_bytes + (0 if begun is None else len(begun) + _FRAME_COST_BYTES)
        dropped = 0
        # The newest stays, however large it is.
        while self.queued_bytes > most_bytes and len(self.frames) > 1:
            self.queued_bytes -= len(self.frames.popleft()) + _FRAME_COST_BYTES
            dropped += 1
        if begun is not None:
            self.frames.appendleft(begun)
        return dropped

    def _next_write(self) -> bytes | memoryview:
        first = self.frames[0]
        if len(self.frames) == 1 or len(first) >= _LARGEST_WRITE_BYTES:
            return first
        pieces: list[bytes | memoryview] = []
        size = 0
        for frame in self.frames:
            size += len(frame)
            if size > _LARGEST_WRITE_BYTES and pieces:
                break
            pieces.append(frame)
        return b"".join(pieces)

    def _remove(self, taken: int) -> None:
        while taken:
            first = self.frames[0]
            if taken < len(first):
                self.frames[0] = memoryview(first)[taken:]
                self.queued_bytes -= taken
                return
            taken -= len(first)
            self.queued_bytes -= len(first) + _FRAME_COST_BYTES
            self.frames.popleft()


def framed(data: bytes) -> bytes:
    """An encoded envelope as a frame."""
    return _SIZE.pack(len(data)) + data


def take_frames(buffer: bytearray, max_bytes: int) -> tuple[list[bytes], int]:
    """Take the complete frames from the beginning of `buffer`, and return what is in them.

    Also returns the size of the next one if that is more than `max_bytes`, else 0.
    """
    came = []
    begin = too_large = 0
    while len(buffer) - begin >= _SIZE.size:
        (size,) = _SIZE.unpack_from(buffer, begin)
        if size > max_bytes:
            too_large = size
            break
        end = begin + _SIZE.size + size
        if len(buffer) < end:
            break
        came.append(bytes(buffer[begin + _SIZE.size : end]))
        begin = end
    if begin:
        del buffer[:begin]
    return came, too_large


def is_own_user(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as this user, where the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory keeps others out
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())
