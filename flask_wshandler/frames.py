"""From messages to the bytes on the wire (RFC 6455 section 5.2, server to client: unmasked).

Invariant: an encoded frame is whole and immutable, so one object may be queued to any number of
connections.
"""

from __future__ import annotations

import struct

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from .errors import CloseCode

Message = str | bytes
"""What a handler receives: str for a text message, bytes for a binary one."""

_FIN = 0b1000_0000
_TEXT = _FIN | Opcode.TEXT
_BINARY = _FIN | Opcode.BINARY
_CLOSE = _FIN | Opcode.CLOSE
_PING = _FIN | Opcode.PING
_PONG = _FIN | Opcode.PONG

_COMPRESS_FROM_BYTES = 64
"""Below this, deflate without context takeover makes a message longer rather than shorter."""


_SHORT_HEADS = {
    first: [bytes((first, size)) for size in range(126)]
    for first in (_TEXT, _BINARY, _CLOSE, _PING, _PONG)
}
_SHORT_TEXT_HEADS = _SHORT_HEADS[_TEXT]


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


def _encoded(message: str | bytes | bytearray | memoryview) -> tuple[int, bytes]:
    """The first byte of a message's frame, and its payload."""
    if isinstance(message, str):
        return _TEXT, message.encode()
    if isinstance(message, bytes):
        return _BINARY, message
    if isinstance(message, bytearray | memoryview):
        return _BINARY, bytes(message)
    raise TypeError(f"a message is str or bytes, not {type(message).__name__}")


def message_frame(message: str | bytes | bytearray | memoryview) -> bytes:
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

    __slots__ = ("_compressed", "_first_byte", "payload", "plain_frame")

    def __init__(self, message: str | bytes | bytearray | memoryview) -> None:
        self._first_byte, self.payload = _encoded(message)
        #: The frame for connections without compression, once `frame` has made it.
        self.plain_frame: bytes | None = None
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
            self._compressed[window_bits] = self._deflated(deflate)
        return self._compressed[window_bits]

    def _deflated(self, deflate: PerMessageDeflate) -> bytes:
        # A new object, because encode() keeps its compressor on the extension, and two threads
        # may be sending. Without context takeover there is no state to share.
        encoder = PerMessageDeflate(
            remote_no_context_takeover=True,
            local_no_context_takeover=True,
            remote_max_window_bits=deflate.remote_max_window_bits,
            local_max_window_bits=deflate.local_max_window_bits,
            compress_settings=deflate.compress_settings,
        )
        frame = Frame(Opcode(self._first_byte & 0x0F), self.payload)
        return frame.serialize(mask=False, extensions=[encoder])
