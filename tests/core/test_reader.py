"""What RFC 6455 says of incoming bytes, independent of how they are cut."""

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from flask_wshandler.protocol.message_reader import Failed, MessageReader, PeerClosed, Reply

from .rig import events_of, frame, text

LIMIT = 100_000


def pieces(data, size):
    """`data` in pieces of `size` bytes, or as one."""
    size = size or len(data)
    return [data[start : start + size] for start in range(0, len(data), size)]


def read(data, size=None, limit=LIMIT):
    """The events of `data` in pieces of `size` bytes."""
    reader = MessageReader(limit)
    return [event for piece in pieces(data, size) for event in events_of(reader, piece)]


def close(code, reason=b""):
    return frame(Opcode.CLOSE, struct.pack("!H", code) + reason)


GOOD = {
    f"{kind} of {size}": (frame(opcode, b"*" * size), [b"*" * size if opcode == 2 else "*" * size])
    for kind, opcode in (("text", 1), ("binary", 2))
    for size in (0, 1, 125, 126, 127, 128, 4096, 4097, 65535, 65536, LIMIT)
}
GOOD |= {
    "ping": (frame(9, b"p" * 125), [Reply(b"\x8a\x7d" + b"p" * 125)]),
    "pong nobody asked for": (frame(10, b"x"), []),
    "fragments": (frame(1, "a", False) + frame(0, b"", False) + frame(0, "b"), ["ab"]),
    "fragments of bytes": (frame(2, b"a", False) + frame(0, b"b"), [b"ab"]),
    "ping between fragments": (
        frame(1, "a", False) + frame(9) + frame(0, "b"),
        [Reply(b"\x8a\x00"), "ab"],
    ),
    "a character cut in two": (frame(1, b"\xc3", False) + frame(0, b"\xa4"), ["ä"]),
    "noncharacters": (text("\ufffe\uffff\U0010ffff\0"), ["\ufffe\uffff\U0010ffff\0"]),
    "messages after fragments": (frame(1, "a", False) + frame(0, "b") + text("c"), ["ab", "c"]),
    "close": (close(1000, b"bye") + text("never"), [PeerClosed(1000, "bye")]),
    "close without code": (frame(8), [PeerClosed(1005, "")]),
    "close inside a message": (frame(1, "a", False) + close(1001), [PeerClosed(1001, "")]),
}
for code in (1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999):
    GOOD[f"close {code}"] = (close(code), [PeerClosed(code, "")])

BAD = {
    "unmasked": (b"\x81\x00", 1002),
    "reserved bits": (b"\x91\x80mask", 1002),
    "rsv1 without compression": (b"\xc1\x80mask", 1002),
    "opcode 3": (b"\x83\x80mask", 1002),
    "opcode 15": (b"\x8f\x80mask", 1002),
    "fragmented close": (b"\x08\x80mask", 1002),
    "ping of 126": (b"\x89\xfe\x00\x7emask" + bytes(126), 1002),
    "only the beginning of it": (b"\x89\xfe", 1002),
    "16 bits for 125": (b"\x81\xfe\x00\x7dmask" + bytes(125), 1002),
    "64 bits for 65535": (b"\x81\xff" + struct.pack("!Q", 65535) + b"mask", 1002),
    "64 bits with the highest": (b"\x81\xff" + b"\xff" * 8 + b"mask", 1002),
    "continuation of nothing": (frame(0, b"a"), 1002),
    "continuation after the end": (frame(1, "a", False) + frame(0, "b") + frame(0, "c"), 1002),
    "message in a message": (frame(1, "a", False) + text("b"), 1002),
    "too big": (frame(2, bytes(LIMIT + 1)), 1009),
    "too big, only its head": (b"\x82\xff" + struct.pack("!Q", 2**40) + b"mask", 1009),
    "too big in fragments": (frame(2, bytes(LIMIT), False) + frame(0, b"!"), 1009),
    "empty fragments without end": (frame(1, b"", False) + frame(0, b"", False) * 1600, 1009),
    "close of one byte": (frame(8, b"\x03"), 1002),
    "close reason that is no text": (close(1000, b"\xff"), 1007),
}
for broken in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3", b"a\x80"):
    BAD[f"text {broken!r}"] = (frame(1, broken), 1007)
    BAD[f"text {broken!r} at the end of fragments"] = (
        frame(1, b"ok", False) + frame(0, broken),
        1007,
    )
for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535):
    BAD[f"close {code}"] = (close(code), 1002)


@pytest.mark.parametrize("what", GOOD)
def test_reads_what_is_right(what):
    """However the stream is cut."""
    data, events = GOOD[what]
    for size in (None, 1, 2, 3, 7, 1000) if len(data) < 10_000 else (None, 1000, 4099):
        assert read(data, size) == events, size


@pytest.mark.parametrize("what", BAD)
def test_fails_what_is_wrong(what):
    """With the code that says why, and nothing after it."""
    data, code = BAD[what]
    for size in (None, 1, 5) if len(data) < 20_000 else (None, 4099):
        events = read(data + text("never"), size)
        assert isinstance(events[-1], Failed), size
        assert events[-1].code == code
        assert sum(isinstance(event, Failed) for event in events) == 1


def test_broken_text_fails_at_its_first_broken_fragment():
    """Not only at its end."""
    assert read(frame(1, b"\xff", False))[0].code == 1007


def test_a_reader_at_rest_holds_no_protocol_object():
    """1.1 kB less for every idle client."""
    reader = MessageReader(LIMIT)
    for data in (frame(1, "a", False), frame(0, "b"), frame(2, bytes(50_000)), frame(9)):
        events_of(reader, data)
    assert reader.is_at_rest
    events_of(reader, frame(1, "a", False))
    assert not reader.is_at_rest


def deflate():
    return PerMessageDeflate(True, True, 15, 15)


def compressed(opcode, payload, fin=True):
    return Frame(Opcode(opcode), payload, fin).serialize(mask=True, extensions=[deflate()])


def test_compressed_and_plain_messages_alternate():
    """A client may send either, once compression is agreed on (RFC 7692 section 6)."""
    reader = MessageReader(LIMIT, deflate())
    long = b"again and " * 100
    data = compressed(1, long) + text("plain") + compressed(2, long) + frame(9)
    for size in (1, 10, 1000):
        events = [event for piece in pieces(data, size) for event in events_of(reader, piece)]
        assert events == [long.decode(), "plain", long, Reply(b"\x8a\x00")]


BAD_COMPRESSED = {
    "a bomb": (compressed(2, bytes(10**8)), 1009),
    "too big as it is": (frame(2, os.urandom(LIMIT + 1), rsv1=True), 1009),
    "no deflate stream": (b"\xc1\x84mask\xff\xff\xff\xff", 1002),
    "what would refer to before": (frame(1, b"\x02\x13\x00\x00", rsv1=True), 1002),
    "broken text": (compressed(1, b"\xc3" * 100), 1007),
}


@pytest.mark.parametrize("what", BAD_COMPRESSED)
@pytest.mark.parametrize("size", [None, 4099])
def test_fails_what_is_wrong_compressed(what, size):
    """However it is cut; the limit counts after decompression, too."""
    data, code = BAD_COMPRESSED[what]
    reader = MessageReader(LIMIT, deflate())
    events_of(reader, compressed(1, b"before " * 20))
    data += text("never")
    events = [event for piece in pieces(data, size) for event in events_of(reader, piece)]
    assert [event.code for event in events] == [code]


def test_a_message_on_its_way_is_not_at_rest():
    """Whole messages in one frame wait here for their rest, whatever their length."""
    for data in (text("*" * 10), text("*" * 90_000), compressed(1, b"*" * 50_000)):
        reader = MessageReader(LIMIT, deflate())
        for piece in pieces(data[:-1], 1000):
            assert events_of(reader, piece) == []
            assert not reader.is_at_rest
        (event,) = events_of(reader, data[-1:])
        assert set(event) == {"*"}
        assert reader.is_at_rest


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.builds(text, st.text(max_size=50)),
        st.builds(lambda data, fin: Frame(Opcode.BINARY, data, fin).serialize(mask=True),
                  st.binary(max_size=200), st.booleans()),
        st.builds(lambda data, fin: Frame(Opcode.CONT, data, fin).serialize(mask=True),
                  st.binary(max_size=200), st.booleans()),
        st.builds(lambda data: frame(9, data), st.binary(max_size=125)),
    ),
    max_size=8,
).map(b"".join)  # fmt: skip


@settings(derandomize=True, max_examples=400, deadline=None)
@given(PIECES, st.lists(st.integers(1, 40), max_size=20))
def test_any_bytes_in_any_pieces_give_the_same_events(data, sizes):
    """Never an exception, never an event after the end."""
    whole = read(data, limit=300) if data else []
    reader = MessageReader(300)
    events, position = [], 0
    for size in [*sizes, len(data)]:
        piece = data[position : position + size]
        position += len(piece)
        if piece:
            events += events_of(reader, piece)
    assert events == whole
    ends = [index for index, e in enumerate(events) if isinstance(e, Failed | PeerClosed)]
    assert ends in ([], [len(events) - 1])
    assert events_of(reader, text("never")) == [] or not ends
