"""From the bytes of an event stream to what the server says in it.

No I/O. `protocol.event_stream` is the other end.

Invariant: it holds no more than one event of `max_size` bytes, and what was fed last.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Iterator

from ..protocol.errors import CloseCode, WebSocketError, check_close
from ..protocol.frames import Message
from ..resume.places import own_size
from .network import OWN_BYTES

_MOST_KINDS_BYTES = 16
_LINE_HEAD_BYTES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Close:
    """What stands in the place of a close frame."""

    code: int
    reason: str


class StreamError(WebSocketError):
    """The server breaches what was agreed upon: with which code to close, and what to say."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class EventStream:
    """One response's."""

    def __init__(self, max_size: int | None) -> None:
        """`max_size` is that of the application's messages; None: any."""
        self._max_size = max_size
        # Base64 takes four bytes for three.
        self._most_bytes = None if max_size is None else (max_size + OWN_BYTES) * 4 // 3
        self._rest = bytearray()
        self._searched = 0
        self._kind = b""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, data: bytes) -> Iterator[Message | Close]:
        """The events that are complete now; all are to be taken before more is fed.

        Raises `StreamError` where one is none, and is of no use then.
        """
        self._rest += data
        begin = 0
        while (end := self._rest.find(b"\n", max(begin, self._searched))) >= 0:
            event = self._take_line(bytes(self._rest[begin:end]))
            if event is not None:
                yield event
            begin = end + 1
        del self._rest[:begin]
        self._searched = len(self._rest)
        self._check_size(self._data_bytes + len(self._rest) - _LINE_HEAD_BYTES)

    def _check_size(self, size: int) -> None:
        if self._most_bytes is not None and size > self._most_bytes:
            raise self._too_big()

    def _too_big(self) -> StreamError:
        reason = f"a message of more than {self._max_size} bytes"
        return StreamError(CloseCode.MESSAGE_TOO_BIG, reason)

    def _take_line(self, line: bytes) -> Message | Close | None:
        """The event that ends with a line."""
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            self._check_size(self._data_bytes - 1)
        elif name == b"event":
            self._kind = value[:_MOST_KINDS_BYTES]
        return None  # all else is for others, or for nobody

    def _end_event(self) -> Message | Close | None:
        kind, self._kind = self._kind, b""
        pieces, self._data = self._data, []
        self._data_bytes = 0
        if not pieces:
            return None
        data = b"\n".join(pieces)
        if kind == b"close":
            return _close(data)
        if kind == b"binary":
            return self._checked(_decoded(data))
        if kind == b"text":
            data = _decoded(data)
        elif kind:
            raise StreamError(CloseCode.PROTOCOL_ERROR, f"no event is {kind!r}")
        return _text(self._checked(data))

    def _checked(self, message: bytes) -> bytes:
        if self._max_size is not None and len(message) - own_size(message) > self._max_size:
            raise self._too_big()
        return message


def _decoded(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise StreamError(CloseCode.PROTOCOL_ERROR, "an event is no base64") from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise StreamError(CloseCode.INVALID_DATA, "a text that is no UTF-8") from None


def _close(data: bytes) -> Close:
    try:
        code, reason = json.loads(data)
        if type(code) is not int:
            raise ValueError
        check_close(code, reason)
    except (ValueError, TypeError, RecursionError):
        raise StreamError(CloseCode.PROTOCOL_ERROR, "a close event without its code") from None
    return Close(code, reason)
