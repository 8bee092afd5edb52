"""From the bytes on the wire to messages: the receiving half of RFC 6455, without I/O.

The protocol object of the package `websockets` does everything unusual: fragments, oversized and
malformed frames. Two things stand before it:

- A whole message in one frame, compressed or not, and a control frame, which is nearly all
  traffic, is taken apart here: 0.5 µs rather than 3.4 µs for a message of 32 bytes and its echo,
  40 rather than 57 for one of 64 kB; and a connection at rest needs no protocol object (1.1 kB).
  The object is made when the first other frame begins and dropped as soon as it holds no state.
- What the library tolerates and the RFC does not: payload lengths that are not minimal, and
  fragments without end. And what is legal, but fails there: a close frame between fragments.

Invariant: after `Failed` or `PeerClosed` no further event is ever returned.
"""

from __future__ import annotations

import codecs
import dataclasses
from typing import TYPE_CHECKING

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from .errors import CloseCode
from .frames import Message, pong_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.extensions.permessage_deflate import PerMessageDeflate

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - a build of websockets without its C extension
    from websockets.utils import apply_mask

_WHOLE_TEXT = 0b1000_0000 | Opcode.TEXT
_WHOLE_BINARY = 0b1000_0000 | Opcode.BINARY
_WHOLE_PING = 0b1000_0000 | Opcode.PING
_WHOLE_PONG = 0b1000_0000 | Opcode.PONG
_WHOLE_CLOSE = 0b1000_0000 | Opcode.CLOSE
_WHOLE_CONTROL = (_WHOLE_PING, _WHOLE_PONG, _WHOLE_CLOSE)
_DEFLATED = 0b0100_0000
_WHOLE = (_WHOLE_TEXT, _WHOLE_BINARY)
_WHOLE_OR_DEFLATED = (*_WHOLE, _WHOLE_TEXT | _DEFLATED, _WHOLE_BINARY | _DEFLATED)
_MASKED = 0b1000_0000
_LENGTH = 0b0111_1111
_CONTROL = 0b0000_1000
_HEAD_BYTES = 6
"""Of a client's short frame: two, and the mask."""
_SHORT_TEXT_BYTES = {
    bytes((_WHOLE_TEXT, _MASKED | size)): _HEAD_BYTES + size for size in range(126)
}
"""How long a whole, short text frame is, by its first two bytes."""
_LONGER_TEXT = bytes((_WHOLE_TEXT, _MASKED | 126))
"""How a text frame of 126 to 65,535 bytes begins."""
# Slices as constants: `data[:2]` would make one anew.
_BEGINNING = slice(2)
_MASK = slice(2, _HEAD_BYTES)
_PAYLOAD = slice(_HEAD_BYTES, None)
_LONGER_SIZE = slice(2, 4)
_LONGER_MASK = slice(4, 8)
_LONGER_PAYLOAD = slice(8, None)
_OPCODES = frozenset(Opcode)
_RESERVED = 0b0111_0000
_RESERVED_BUT_DEFLATE = 0b0011_0000

_MOST_LEFTOVER_BYTES = 4 * 1024 * 1024
"""Of what is still read after our close frame."""

_SMALLEST_FAIR_FRAGMENT_BYTES = 64
"""A message may come in as many fragments as it has room for of this size, at least 1,024."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A frame that the protocol demands at once: the pong to a ping."""

    data: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class PeerClosed:
    """The peer's close frame; 1005 stands for a frame without a code."""

    code: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """The peer broke the protocol or a limit; the connection is to be failed with this code."""

    code: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Flooded:
    """The peer goes on sending after our close frame, more than is worth reading."""


Event = Message | Reply | PeerClosed | Failed | Flooded


class _TooManyFragments(Exception):
    pass


class MessageReader:
    """Turns received bytes, in pieces of any size, into events.

    One thread at a time.
    """

    __slots__ = (
        "_body",
        "_decoder",
        "_deflate",
        "_ended",
        "_fragments",
        "_frame_rest_bytes",
        "_head",
        "_library",
        "_max_message_bytes",
        "_most_bytes",
        "_pieces",
        "_waiting",
        "_whole",
        "control_frames",
    )

    def __init__(self, max_message_bytes: int, deflate: PerMessageDeflate | None = None) -> None:
        self._max_message_bytes = max_message_bytes
        self._deflate = deflate
        # The first bytes of frames that are whole messages.
        self._whole = _WHOLE if deflate is None else _WHOLE_OR_DEFLATED
        # Of a short frame that may be taken for a whole message: none amid another.
        self._most_bytes = _HEAD_BYTES + max_message_bytes
        # A frame of which so little has come that nothing can be decided.
        self._waiting = b""
        # Of a frame that is a whole message: its first byte with its mask, and what has come of
        # its payload. A bytearray, because it grows in linear time whatever pieces it comes in.
        self._head: tuple[int, bytes] | None = None
        self._body: bytearray | None = None
        #: Pings and pongs that have come. Whoever counts them sets it back.
        self.control_frames = 0
        self._frame_rest_bytes = 0
        self._library: Protocol | None = None
        self._ended = False
        self._fragments = 0
        self._pieces: list[Message] | None = None
        self._decoder: Callable[[bytes, bool], str] | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether no message and no frame has been begun."""
        return not self._waiting and self._body is None and self._library is None

    def receive_whole_text(self, data: bytes) -> str | None:
        """The message that `data` is, if it is one whole text, as nearly all are.

        None for everything else, also for less or more: that is for `receive_data`.
        """
        beginning = data[_BEGINNING]
        try:
            if _SHORT_TEXT_BYTES.get(beginning) == len(data) <= self._most_bytes:
                return apply_mask(data[_PAYLOAD], data[_MASK]).decode()
            if beginning == _LONGER_TEXT:
                size = int.from_bytes(data[_LONGER_SIZE], "big")
                if 126 <= size == len(data) - 8 <= self._most_bytes - _HEAD_BYTES:
                    return apply_mask(data[_LONGER_PAYLOAD], data[_LONGER_MASK]).decode()
        except UnicodeDecodeError:
            pass  # receive_data says so
        return None

    def receive_data(self, data: bytes) -> list[Event]:
        """The events that `data` completes, in order."""
        if self._waiting:
            data = self._waiting + data
            self._waiting = b""
        events: list[Event] = []
        position, end = 0, len(data)
        while position < end and not self._ended:
            if self._frame_rest_bytes:
                stop = min(end, position + self._frame_rest_bytes)
                self._frame_rest_bytes -= stop - position
                self._read_on(data[position:stop], events)
            elif (
                # As _begin_frame would find out, in a third of the time.
                data[position] == _WHOLE_TEXT
                and end - position >= _HEAD_BYTES
                and 0 <= (size := data[position + 1] - _MASKED) < 126
                and (stop := position + _HEAD_BYTES + size) <= end
                and size <= self._max_message_bytes
                and self._library is None
            ):
                payload_at = position + _HEAD_BYTES
                payload = apply_mask(data[payload_at:stop], data[position + 2 : payload_at])
                self._finish_whole(_WHOLE_TEXT, payload, events)
            else:
                stop = self._begin_frame(data, position, end, events)
                if stop == position:
                    self._waiting = data[position:]
                    break
            position = stop
        is_between_messages = self.is_at_rest and not self._ended
        self._most_bytes = _HEAD_BYTES + self._max_message_bytes if is_between_messages else 0
        return events

    def _begin_frame(self, data: bytes, position: int, end: int, events: list[Event]) -> int:
        """Read the frame that begins at `position`; return where reading goes on.

        That is `position` itself while there is not enough to decide anything.
        """
        if end - position < 2:
            return position
        first, second = data[position], data[position + 1]
        if self._is_malformed(first, second, events):
            return end
        length, mask_at = second & _LENGTH, position + 2
        if length >= 126:
            mask_at += 2 if length == 126 else 8
            if end < mask_at:
                return position
            shortest = 126 if length == 126 else 65536
            length = int.from_bytes(data[position + 2 : mask_at], "big")
            # RFC 6455 section 5.2: the minimal number of bytes, and the highest bit is 0.
            if length < shortest or length >> 63:
                self._fail(CloseCode.PROTOCOL_ERROR, "payload length is not minimal", events)
                return end
        payload_at = mask_at + 4
        stop = payload_at + length
        if first in _WHOLE_CONTROL:
            if stop > end:
                return position
            payload = apply_mask(data[payload_at:stop], data[mask_at:payload_at])
            self._take_control(first, payload, events)
            return stop
        if first in self._whole and length <= self._max_message_bytes and self._library is None:
            if end < payload_at:
                return position
            mask = data[mask_at:payload_at]
            if stop <= end:
                self._finish_whole(first, apply_mask(data[payload_at:stop], mask), events)
                return stop
            self._head = (first, mask)
            self._body = bytearray(memoryview(data)[payload_at:end])
            self._frame_rest_bytes = stop - end
            return end
        head_stop = min(end, payload_at)
        self._frame_rest_bytes = stop - head_stop
        self._stream(data[position:head_stop], events)
        return head_stop

    def _take_control(self, first: int, payload: bytes, events: list[Event]) -> None:
        if first == _WHOLE_CLOSE:
            self._take_close(payload, events)
            return
        self.control_frames += 1
        if first == _WHOLE_PING:
            events.append(Reply(pong_frame(payload)))

    def _take_close(self, payload: bytes, events: list[Event]) -> None:
        try:
            close = Close.parse(payload)
        except ProtocolError as error:
            self._fail(CloseCode.PROTOCOL_ERROR, str(error), events)
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, _utf8_reason(error), events)
        else:
            events.append(PeerClosed(int(close.code), close.reason))
            self._end()

    def _is_malformed(self, first: int, second: int, events: list[Event]) -> bool:
        """Fail on what the first two bytes show; the library would wait for more."""
        if first & (_RESERVED if self._deflate is None else _RESERVED_BUT_DEFLATE):
            self._fail(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0", events)
        elif first & 0x0F not in _OPCODES:
            self._fail(CloseCode.PROTOCOL_ERROR, f"opcode {first & 0x0F} is reserved", events)
        elif not second & _MASKED:
            self._fail(CloseCode.PROTOCOL_ERROR, "frame is not masked", events)
        elif first & _CONTROL and second & _LENGTH > 125:
            self._fail(CloseCode.PROTOCOL_ERROR, "control frame too long", events)
        return self._ended

    def _read_on(self, piece: bytes, events: list[Event]) -> None:
        """Take a piece of the frame that has begun; its last one, if no rest is left."""
        body = self._body
        if body is None:
            self._stream(piece, events)
            return
        body += piece
        if not self._frame_rest_bytes:
            assert self._head is not None  # it comes before the body
            first, mask = self._head
            self._head = self._body = None
            self._finish_whole(first, apply_mask(body, mask), events)

    def _finish_whole(self, first: int, payload: bytes, events: list[Event]) -> None:
        if first & _DEFLATED:
            inflated = self._inflated(first, payload, events)
            if inflated is None:
                return
            payload = inflated
        if first & Opcode.BINARY:
            events.append(payload)
            return
        try:
            events.append(payload.decode())
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, _utf8_reason(error), events)

    def _inflated(self, first: int, payload: bytes, events: list[Event]) -> bytes | None:
        """The payload of a whole compressed message. None if that was found to be bad."""
        assert self._deflate is not None  # else its reserved bit had been refused
        frame = Frame(Opcode(first & 0x0F), payload, rsv1=True)
        try:
            return bytes(self._deflate.decode(frame, max_size=self._max_message_bytes).data)
        except PayloadTooBig as error:
            self._fail(CloseCode.MESSAGE_TOO_BIG, str(error), events)
        except ProtocolError as error:
            self._fail(CloseCode.PROTOCOL_ERROR, str(error), events)
        return None

    def _stream(self, data: bytes, events: list[Event]) -> None:
        """Give a piece of the current frame to the library and take what comes of it."""
        library = self._library
        if library is None:
            library = self._library = Protocol(
                Side.SERVER, state=State.OPEN, max_size=self._max_message_bytes
            )
            if self._deflate is not None:
                library.extensions = [self._deflate]
        library.receive_data(data)
        for frame in library.events_received():
            assert isinstance(frame, Frame)  # an open connection has no requests or responses
            self._take_frame(frame, events)
        if self._ended:
            return
        if library.parser_exc is not None:
            sent = library.close_sent
            assert sent is not None  # the library fails an open connection with a close frame
            self._fail(sent.code, sent.reason, events)
        elif not self._frame_rest_bytes and library.current_size is None:
            self._library = None

    def _take_frame(self, frame: Frame, events: list[Event]) -> None:
        try:
            self._take_data_frame(frame, events)
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, _utf8_reason(error), events)
        except _TooManyFragments:
            reason = f"over {self._max_fragments} fragments"
            self._fail(CloseCode.MESSAGE_TOO_BIG, reason, events)

    @property
    def _max_fragments(self) -> int:
        return max(1024, self._max_message_bytes // _SMALLEST_FAIR_FRAGMENT_BYTES)

    def _take_data_frame(self, frame: Frame, events: list[Event]) -> None:
        if frame.opcode is not Opcode.CONT:
            self._pieces = []
            self._fragments = 0
            self._decoder = None
            if frame.opcode is Opcode.TEXT:
                self._decoder = codecs.getincrementaldecoder("utf-8")().decode
        assert self._pieces is not None  # the library refuses a continuation of nothing
        self._fragments += 1
        if self._fragments > self._max_fragments:
            raise _TooManyFragments
        data = bytes(frame.data)
        if self._decoder is None:
            self._pieces.append(data)
        else:
            # Decoded piece by piece, so that broken text fails at once and not at its end.
            self._pieces.append(self._decoder(data, frame.fin))
        if frame.fin:
            empty: Message = b"" if self._decoder is None else ""
            events.append(empty.join(self._pieces))  # type: ignore[arg-type]  # all of one kind
            self._pieces = self._decoder = None

    def _fail(self, code: int, reason: str, events: list[Event]) -> None:
        events.append(Failed(code, reason))
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._library = self._pieces = self._decoder = self._head = self._body = None
        self._waiting = b""


def _utf8_reason(error: UnicodeDecodeError) -> str:
    return f"text is not UTF-8: {error.reason} at byte {error.start}"


class LeftoverReader:
    """Reads what comes after our close frame: for the peer's, and to throw the rest away.

    A peer may have sent much before it saw our frame, and to end the connection amid that resets
    it, which can take the frame away again. But it may also go on for ever. So as much is read as
    the buffers between us usually hold, or one message if that may be longer.
    """

    __slots__ = ("_reader", "_rest_bytes", "control_frames")

    def __init__(self, reader: MessageReader, max_message_bytes: int) -> None:
        self._reader = reader
        #: None: nobody is closed for them any more.
        self.control_frames = 0
        self._rest_bytes = max(_MOST_LEFTOVER_BYTES, max_message_bytes)

    def receive_whole_text(self, data: bytes) -> None:
        """No message counts any more."""

    def receive_data(self, data: bytes) -> list[Event]:
        """The peer's close frame or its failure, if `data` completes one."""
        if not self.discard(len(data)):
            return [Flooded()]
        events = self._reader.receive_data(data)
        return [event for event in events if isinstance(event, PeerClosed | Failed)]

    def discard(self, size: int) -> bool:
        """Count bytes that are thrown away. False when they are too many."""
        self._rest_bytes -= size
        return self._rest_bytes >= 0
