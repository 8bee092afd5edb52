"""From messages to the bytes on the wire (RFC 6455 section 5.2, server to client: unmasked).

Invariant: an encoded frame is whole and immutable, so one object may be queued to any number of
connections.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode

from .errors import CloseCode

Message = str | bytes
"""What a handler receives: str for a text message, bytes for a binary one."""

Sendable = str | bytes | bytearray | memoryview
"""What a handler can send: a text message as str, a binary one as bytes or what is like them."""

_FIN = 0b1000_0000
_TEXT = _FIN | Opcode.TEXT
_BINARY = _FIN | Opcode.BINARY
_CLOSE = _FIN | Opcode.CLOSE
_PING = _FIN | Opcode.PING
_PONG = _FIN | Opcode.PONG

_DEFLATED = 0b0100_0000
_COMPRESS_FROM_BYTES = 64
"""Below this, deflate without context takeover makes a message longer rather than shorter."""
_MEMORY_LEVEL = 5
"""How much memory zlib takes; with its default, 8, ordinary messages become no shorter."""
_EMPTY_BLOCK = b"\x00\x00\xff\xff"
"""What a flush ends with; RFC 7692 section 7.2.1 has it left out."""
_MOST_KEPT_COMPRESSORS = 8

_compressors: dict[int, list[Any]] = {bits: [] for bits in range(9, 16)}
"""Those that nobody uses at the moment, by the size of their window. One takes up to 150 kB, and a
quarter of a short message's time to be made."""


_SHORT_HEADS = {
    first: [bytes((first, size)) for size in range(126)]
    for first in (_TEXT, _BINARY, _TEXT | _DEFLATED, _BINARY | _DEFLATED, _CLOSE, _PING, _PONG)
}
_SHORT_TEXT_HEADS = _SHORT_HEADS[_TEXT]


def as_message(sendable: Sendable) -> Message:
    """What a client sends, as its handler will receive it. TypeError for what is no message."""
    if isinstance(sendable, str):
        return sendable
    if isinstance(sendable, bytes | bytearray | memoryview):
        return bytes(sendable)
    raise TypeError(f"a message is str or bytes, not {type(sendable).__name__}")


def _frame(first_byte: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return _SHORT_HEADS[first_byte][size] + payload
    if size < 65536:
        return struct.pack("!BBH", first_byte, 126, size) + payload
    return struct.pack("!BBQ", first_byte, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; without a payload for 1005, which stands for its absence."""
    if code == CloseCode.NO_STATUS_RECEIVED:
        return _frame(_CLOSE, b"")
    return _frame(_CLOSE, struct.pack("!H", code) + reason.encode())


def ping_frame() -> bytes:
    """A ping without a payload: any byte of the peer answers it."""
    return _frame(_PING, b"")


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping, with the ping's payload."""
    return _frame(_PONG, payload)


def is_data_frame(frame: bytes | memoryview) -> bool:
    """Whether dropping this whole frame drops a message, rather than a pong or a close."""
    return not frame[0] & 0b1000


def _encoded(message: Sendable) -> tuple[int, bytes]:
    """The first byte of a message's frame, and its payload."""
    if isinstance(message, str):
        return _TEXT, message.encode()
    if isinstance(message, bytes):
        return _BINARY, message
    if isinstance(message, bytearray | memoryview):
        return _BINARY, bytes(message)
    raise TypeError(
        f"a message is str or bytes, not {type(message).__name__}; send_json() and "
        "broadcast_json() send an object as JSON"
    )


def message_frame(message: Sendable) -> bytes:
    """The uncompressed frame of a message. TypeError for what is none."""
    if type(message) is str:
        payload = message.encode()
        size = len(payload)
        if size < 126:  # what nearly every message is
            return _SHORT_TEXT_HEADS[size] + payload
    return _frame(*_encoded(message))


class OutgoingMessage:
    """A message to be sent, each of its encodings made once and only when needed.

    Any thread: encoding it twice at once only wastes the work.
    """

    __slots__ = (
        "_compressed",
        "_first_byte",
        "as_chunk",
        "in_subprotocol",
        "payload",
        "place",
        "plain_frame",
    )

    def __init__(self, message: Sendable) -> None:
        self._first_byte, self.payload = _encoded(message)
        #: The frame for connections without compression, once `frame` has made it.
        self.plain_frame: bytes | None = None
        #: The same as a subprotocol of this package's sends it, once it has made that.
        self.in_subprotocol: OutgoingMessage | None = None
        #: The same as an event in a chunk of HTTP, once that is made.
        self.as_chunk: bytes | None = None
        #: Where it is in a log, which that tells its clients; None if it is in none.
        self.place: str | None = None
        self._compressed: dict[int, bytes] | None = None

    @classmethod
    def of_payload(cls, payload: bytes, is_text: bool) -> OutgoingMessage:
        """The message of a payload as it stands in a frame; that of a text is UTF-8."""
        message = cls(payload)
        if is_text:
            message._first_byte = _TEXT
        return message

    @property
    def is_text(self) -> bool:
        """Whether it is a text message, rather than a binary one."""
        return self._first_byte == _TEXT

    def __len__(self) -> int:
        """Bytes of the payload, before compression."""
        return len(self.payload)

    def frame(self, deflate: PerMessageDeflate | None) -> bytes:
        """The frame for a connection that negotiated `deflate`, or nothing."""
        if deflate is None or len(self.payload) < _COMPRESS_FROM_BYTES:
            if self.plain_frame is None:
                self.plain_frame = _frame(self._first_byte, self.payload)
            return self.plain_frame
        if self._compressed is None:
            self._compressed = {}
        window_bits = deflate.local_max_window_bits
        if window_bits not in self._compressed:
            deflated = _deflated(self.payload, window_bits)
            self._compressed[window_bits] = _frame(self._first_byte | _DEFLATED, deflated)
        return self._compressed[window_bits]


def _deflated(payload: bytes, window_bits: int) -> bytes:
    """A message's payload as RFC 7692 has it, without context takeover."""
    kept = _compressors[window_bits]
    try:
        compressor = kept.pop()
    except IndexError:
        compressor = zlib.compressobj(wbits=-window_bits, memLevel=_MEMORY_LEVEL)
    # After a full flush nothing refers to what was before it, which was somebody else's message.
    deflated: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_FULL_FLUSH)
    if len(kept) < _MOST_KEPT_COMPRESSORS:
        kept.append(compressor)
    return deflated.removesuffix(_EMPTY_BLOCK)
