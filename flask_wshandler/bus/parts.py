"""Large envelopes in parts, for a bus that is better off with small ones.

A part is an envelope itself, of the same sender and topic, whose body is

    number of the message   where the part begins   size of the whole   part of the whole
    4 bytes                 4 bytes                 4 bytes             the rest

One sender's parts come in order, and those of one message are not mixed with another's. So a part
that does not begin where the last one ended is the rest of a message of which something is lost.

Invariant: what is kept of messages that are not complete is at most `_MOST_BYTES` of at most
`_MOST_SENDERS`, each for `_LONGEST_GAP_S` after its last part.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from .envelope import MAX_ENVELOPE_BYTES, Kind, Malformed, decode, encode

PART_BYTES = 256 * 1024
"""The size of a part, and of the largest envelope that is carried whole."""

_HEAD = struct.Struct("!III")
_MOST_BYTES = 8 * MAX_ENVELOPE_BYTES
_MOST_SENDERS = 1000
_LONGEST_GAP_S = 30.0


def is_part(data: bytes) -> bool:
    """Whether an encoded envelope says that it is a part."""
    return data[1:2] == bytes([Kind.PART])


def split(data: bytes, sender: bytes, topic: str, number: int) -> Iterator[bytes]:
    """An encoded envelope of `sender` to `topic` as the parts to carry instead."""
    whole = memoryview(data)
    for begin in range(0, len(data), PART_BYTES):
        head = _HEAD.pack(number % 2**32, begin, len(data))
        yield encode(Kind.PART, sender, topic, head + whole[begin : begin + PART_BYTES])


@dataclasses.dataclass(slots=True)
class _Incomplete:
    """A message of which the beginning has come."""

    number: int
    size: int
    came: bytearray
    last_s: float


class Assembler:
    """Puts parts together again. One thread's."""

    def __init__(self) -> None:
        # By sender; the one whose last part came first goes first.
        self._incomplete: dict[bytes, _Incomplete] = {}
        #: Messages that were given up because a part was lost or late, or there were too many.
        self.lost_count = 0

    def __len__(self) -> int:
        return len(self._incomplete)

    def take(self, data: bytes, now_s: float) -> bytes | None:
        """Take a part that came; return the envelope that it completes, if it does.

        Raises `Malformed`.
        """
        self.expire(now_s)
        part = decode(data)
        if len(part.body) <= _HEAD.size:
            raise Malformed(f"a part of {len(part.body)} bytes")
        number, begin, size = _HEAD.unpack_from(part.body)
        piece = memoryview(part.body)[_HEAD.size :]
        if not begin + len(piece) <= size <= MAX_ENVELOPE_BYTES:
            raise Malformed(f"a part of a message of {size} bytes; {MAX_ENVELOPE_BYTES} are taken")
        message = self._incomplete.pop(part.sender, None)
        if begin == 0:
            self.lost_count += message is not None
            message = _Incomplete(number, size, bytearray(), now_s)
        elif message is None:
            return None  # it was given up already, or began before this process listened
        elif (message.number, message.size, len(message.came)) != (number, size, begin):
            self.lost_count += 1
            return None
        message.came += piece
        if len(message.came) < size:
            message.last_s = now_s
            self._incomplete[part.sender] = message
            self._limit()
            return None
        return _checked(bytes(message.came), part.sender, part.topic)

    def expire(self, now_s: float) -> None:
        """Give up what nothing has come of for too long."""
        for sender, message in list(self._incomplete.items()):
            if now_s - message.last_s <= _LONGEST_GAP_S:
                return
            self._give_up(sender)

    def _limit(self) -> None:
        kept = sum(len(message.came) for message in self._incomplete.values())
        for sender in list(self._incomplete):
            if kept <= _MOST_BYTES and len(self._incomplete) <= _MOST_SENDERS:
                return
            kept -= len(self._incomplete[sender].came)
            self._give_up(sender)

    def _give_up(self, sender: bytes) -> None:
        del self._incomplete[sender]
        self.lost_count += 1


def _checked(data: bytes, sender: bytes, topic: str) -> bytes:
    if is_part(data):
        raise Malformed("a part of a part")
    whole = decode(data)
    if whole.sender != sender or whole.topic != topic:
        raise Malformed("a message whose parts are another's")
    return data
