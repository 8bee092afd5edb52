"""Frames that break the protocol, cut at every byte; and legal ones in quantities."""

import contextlib
import random
import struct
import zlib

import pytest
from websockets.frames import Opcode

from tests.live.wire import close, frame, text

from .conftest import MAX_MESSAGE_BYTES, check_serves

WORDS = "aκ😀ß".encode()
DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


def head(first, length, *, is_masked=True, long=False):
    """A frame's first bytes, with the length in 16 bits, or in 64."""
    second, mask = (0x80, b"mask") if is_masked else (0, b"")
    if long:
        return struct.pack("!BBQ", first, second | 127, length) + mask
    return struct.pack("!BBH", first, second | 126, length) + mask


def reason(data, code=1000):
    return frame(Opcode.CLOSE, struct.pack("!H", code) + data)


BAD = {
    "an unmasked text": (b"\x81\x05hello", 1002),
    "an unmasked close": (b"\x88\x02\x03\xe8", 1002),
    "an unmasked ping": (b"\x89\x00", 1002),
    "RSV1 on a ping": (b"\xc9\x80mask", 1002),
    "RSV2": (b"\xa1\x80mask", 1002),
    "RSV3": (b"\x91\x80mask", 1002),
    "all reserved bits": (b"\xf1\x80mask", 1002),
    "a ping that goes on": (b"\x09\x80mask", 1002),
    "a pong that goes on": (b"\x0a\x80mask", 1002),
    "a close that goes on": (b"\x08\x82mask" + bytes(2), 1002),
    "a ping of 126 bytes": (head(0x89, 126), 1002),
    "a close of 126 bytes": (head(0x88, 126), 1002),
    "a ping with a length in 16 bits": (head(0x89, 5), 1002),
    "a pong with a length in 64 bits": (head(0x8A, 5, long=True), 1002),
    "5 in 16 bits": (head(0x81, 5) + bytes(5), 1002),
    "0 in 16 bits": (head(0x82, 0), 1002),
    "125 in 16 bits": (head(0x81, 125) + bytes(125), 1002),
    "5 in 64 bits": (head(0x81, 5, long=True) + bytes(5), 1002),
    "65535 in 64 bits": (head(0x82, 65535, long=True), 1002),
    "the highest bit of the length": (head(0x82, 2**63, long=True), 1002),
    "all bits of the length": (head(0x81, 2**64 - 1, long=True), 1002),
    "a message of 2^63 - 1 bytes": (head(0x82, 2**63 - 1, long=True), 1009),
    "a message of a terabyte": (head(0x81, 2**40, long=True), 1009),
    "a byte too many": (head(0x82, MAX_MESSAGE_BYTES + 1, long=True), 1009),
    "a fragment of a terabyte": (frame(2, b"x", fin=False) + head(0, 2**40, long=True), 1009),
    "a byte too many in fragments": (
        frame(2, bytes(MAX_MESSAGE_BYTES), fin=False) + frame(0, b"x"),
        1009,
    ),
    "more fragments than a message may have": (
        frame(1, b"x", fin=False) + frame(0, b"y", fin=False) * 3000,
        1009,
    ),
    "empty fragments without end": (
        frame(2, b"", fin=False) + frame(0, b"", fin=False) * 20_000,
        1009,
    ),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "a continuation of nothing that goes on": (frame(0, b"x", fin=False), 1002),
    "a continuation after the end": (frame(1, b"x", fin=False) + frame(0) * 2, 1002),
    "a text inside a text": (frame(1, b"x", fin=False) + text("y"), 1002),
    "a binary inside a text": (frame(1, b"x", fin=False) + frame(2, b"y", fin=False), 1002),
    "a close of one byte": (frame(8, b"\x03"), 1002),
    "a reason cut in a character": (reason("ß".encode()[:1]), 1007),
    "a reason that is a surrogate": (reason(b"\xed\xa0\x80"), 1007),
    "a reason of 123 bytes with one that is none": (reason(b"r" * 122 + b"\xff"), 1007),
}
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    BAD[f"opcode {opcode}"] = (bytes((0x80 | opcode, 0x80)) + b"mask", 1002)
for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
    BAD[f"close code {code}"] = (close(code), 1002)


def cuts(data):
    """Where to cut: everywhere in what is short, in the first bytes of what is long."""
    return range(1, len(data)) if len(data) < 40 else (1, 2, 3, 4, 9, 14, len(data) - 1)


def send_anyway(client, data):
    """Send to a server that may have closed by now."""
    with contextlib.suppress(ConnectionError):
        client.send(data)


@pytest.mark.matrix(
    "an unmasked text",
    "RSV2",
    "a ping of 126 bytes",
    "the highest bit of the length",
    "a message of a terabyte",
    "a byte too many in fragments",
    "empty fragments without end",
    "a continuation of nothing",
    "a reason that is a surrogate",
    "opcode 3",
    "close code 1005",
)
@pytest.mark.parametrize("what", BAD)
def test_a_peer_that_breaks_the_protocol_is_failed(server, what):
    """With the code that says why, cut anywhere; then the stream ends without a reset."""
    data, code = BAD[what]
    for cut in cuts(data):
        id = f"{server.kind}-{what}-{cut}".replace(" ", "-")
        with server.raw(f"/recorder/{id}") as client:
            client.send(data[:cut])
            send_anyway(client, data[cut:])
            assert client.read_close()[0] == code, cut
            assert client.read_to_end()
        assert server.wait_for_event("close", id)["code"] == code


def broken_texts():
    """Each byte of a text made one that can't be, and each beginning that ends in a character."""
    for position in range(len(WORDS)):
        for wrong in (0xFF, 0xC0):
            yield WORDS[:position] + bytes((wrong,)) + WORDS[position + 1 :]
    for end in range(len(WORDS)):
        if WORDS[end] & 0xC0 == 0x80:
            yield WORDS[:end]
    yield b"\xf4\x90\x80\x80"  # past U+10FFFF
    yield b"\xe0\x80\xaf"  # longer than it need be
    yield b"\xed\xbf\xbf"  # a surrogate


@pytest.mark.matrix()
def test_broken_text_is_failed_wherever_it_is_broken(server):
    """In one frame, and in two fragments with any cut, a ping between them."""
    for data in broken_texts():
        with server.raw("/echo") as client:
            client.send(frame(1, data))
            assert client.read_close()[0] == 1007, data
        for cut in range(len(data) + 1):
            with server.raw("/echo") as client:
                client.send(frame(1, data[:cut], fin=False) + frame(9) + frame(0, data[cut:]))
                assert client.read_close()[0] == 1007, (data, cut)


@pytest.mark.matrix()
def test_text_may_be_cut_inside_characters(server):
    """At every two places."""
    with server.raw("/echo") as client:
        for first in range(len(WORDS) + 1):
            for second in range(first, len(WORDS) + 1):
                client.send(frame(1, WORDS[:first], fin=False))
                client.send(frame(0, WORDS[first:second], fin=False) + frame(0, WORDS[second:]))
                assert client.read_text() == WORDS.decode()


def test_what_comes_behind_a_close_frame_is_thrown_away(server):
    """However much it is, and whether or not it is a frame; our answer arrives."""
    for rest in (text("x") * 1000, bytes(300_000), b"\xff" * 300_000, close(1001), frame(9)):
        id = f"{server.kind}-behind-{len(rest)}-{rest[0]}"
        with server.raw(f"/recorder/{id}") as client:
            client.send(text("before") + close(1000, "bye") + rest)
            assert client.read_close()[0] == 1000
            assert client.read_to_end()
        assert server.wait_for_event("close", id)["code"] == 1000
        assert sum(event["event"] == "message" for event in server.events(id)) == 1


def test_some_hundred_pings_and_pongs_are_all_right(server):
    """While nothing is read; then every ping has its pong, in order."""
    with server.raw("/echo") as client:
        for number in range(400):
            client.send(frame(Opcode.PING, b"%d" % number) + frame(Opcode.PONG, bytes(125)))
        client.send(text("and now"))
        for number in range(400):
            assert client.read_frame() == (Opcode.PONG, b"%d" % number)
        assert client.read_text() == "and now"


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
def test_control_frames_without_end_while_nothing_is_read(server, opcode):
    """1008; the pongs are bounded, and no message behind the flood counts."""
    id = f"{server.kind}-flood-{opcode.name}"
    with server.raw(f"/recorder/{id}") as client:
        for _ in range(200):
            send_anyway(client, frame(opcode, bytes(125)) * 100)
        assert client.read_close()[0] == 1008
    assert server.wait_for_event("close", id)["code"] == 1008


def test_as_many_empty_fragments_as_a_message_may_have(server):
    """With pings between them; the message arrives."""
    with server.raw("/echo") as client:
        client.send(frame(1, b"a", fin=False) + frame(0, b"", fin=False) * 1000)
        client.send(frame(9, b"still") + frame(0, b"b"))
        assert client.read_frame() == (Opcode.PONG, b"still")
        assert client.read_text() == "ab"


def test_frames_byte_by_byte(server):
    """Of every kind, in fragments, with a ping inside."""
    data = frame(1, WORDS[:3], fin=False) + frame(9, b"p") + frame(0, WORDS[3:]) + frame(10, b"x")
    data += frame(2, bytes(200)) + close(1000, "bye")
    with server.raw("/echo") as client:
        for byte in data:
            client.send(bytes((byte,)))
        assert client.read_frame() == (Opcode.PONG, b"p")
        assert client.read_text() == WORDS.decode()
        assert client.read_frame() == (Opcode.BINARY, bytes(200))
        assert client.read_close()[0] == 1000
        assert client.read_to_end()


def test_many_clients_amid_a_frame_hold_up_nobody(server):
    """At each byte of one, and in a large one."""
    half = text("hello")
    for end in range(1, len(half)):
        server.raw("/echo").send(half[:end])
    for _ in range(20):
        server.raw("/echo").send(head(0x82, 90_000, long=True) + bytes(50_000))
    check_serves(server)


def test_random_bytes(server):
    """Of whatever length: failed, or waited for more; never anything else."""
    chance = random.Random(7)
    for _ in range(100):
        with server.raw("/echo") as client:
            client.send(chance.randbytes(chance.randrange(1, 300)))
            client.send(close(1000))
            client.socket.shutdown(1)
            while (found := client.read_frame()) is not None:
                assert found[0] in (Opcode.CLOSE, Opcode.TEXT, Opcode.BINARY, Opcode.PONG)


# Compression, which these servers agree to.


def deflated(data, level=9, flush=zlib.Z_SYNC_FLUSH):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(flush)).removesuffix(b"\0\0\xff\xff")


def deflated_with_memory(data):
    """As by a compressor that remembers having sent `data` before."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, 0, data)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


BOMB = deflated(bytes(2**26))
SENTENCE = b"what was said before"

BAD_DEFLATE = {
    "a bomb": (frame(2, BOMB, rsv1=True), {1009}),
    "a bomb in fragments": (
        frame(2, BOMB[:100], fin=False, rsv1=True)
        + b"".join(frame(0, BOMB[i : i + 1000], fin=False) for i in range(100, 60_000, 1000)),
        {1009},
    ),
    "a byte too many": (frame(2, deflated(bytes(MAX_MESSAGE_BYTES + 1)), rsv1=True), {1009}),
    "a block of type 3": (frame(1, b"\x07\x00", rsv1=True), {1002, 1007}),
    "bytes that are no stream": (frame(1, b"\xff" * 50, rsv1=True), {1002, 1007}),
    "a stored block with a wrong length": (frame(1, b"\x00\x05\x00\x00\x00hi", rsv1=True), {1002}),
    "text that is none": (frame(1, deflated(b"\xff" * 100), rsv1=True), {1007}),
    "text that is none in a fragment": (
        frame(1, deflated(b"\xff" * 100), fin=False, rsv1=True),
        {1007},
    ),
    "RSV1 on a continuation": (
        frame(1, deflated(b"abc"), fin=False, rsv1=True) + frame(0, b"", rsv1=True),
        {1002},
    ),
    "RSV1 on a continuation of what is not compressed": (
        frame(1, b"abc", fin=False) + frame(0, deflated(b"abc"), rsv1=True),
        {1002},
    ),
    "RSV1 on a close": (frame(8, struct.pack("!H", 1000), rsv1=True), {1002}),
    "a copy of an earlier message, against the agreement": (
        frame(1, deflated(SENTENCE), rsv1=True)
        + frame(1, deflated_with_memory(SENTENCE)[:-4], rsv1=True),
        {1002, 1007},
    ),
    "RSV2 besides": (b"\xe1\x80mask", {1002}),
}


@pytest.mark.matrix(
    "a bomb",
    "a bomb in fragments",
    "a block of type 3",
    "RSV1 on a continuation",
)
@pytest.mark.parametrize("what", BAD_DEFLATE)
def test_bad_compression_is_failed(server, what):
    """Without being unpacked past the limit."""
    data, codes = BAD_DEFLATE[what]
    pid = server.worker_pid
    for cut in (1, 2, 7, len(data)):
        with server.raw("/echo", DEFLATE) as client:
            assert "permessage-deflate" in client.header("Sec-WebSocket-Extensions")
            client.send(data[:cut])
            send_anyway(client, data[cut:])
            assert client.read_close()[0] in codes
    assert server.worker_pid == pid


def test_compressed_bytes_are_refused_without_agreement(server):
    """RSV1 is a reserved bit then."""
    with server.raw("/echo") as client:
        client.send(frame(1, deflated(b"abc"), rsv1=True))
        assert client.read_close()[0] == 1002


ODD_DEFLATE = {
    "an empty payload": (b"", b""),
    "one byte 0, as RFC 7692 writes an empty message": (b"\0", b""),
    "not compressed at all": (deflated(b"abc" * 100, level=0), b"abc" * 100),
    "many empty blocks": (b"\0\0\0\xff\xff" * 1000 + deflated(b"abc"), b"abc"),
    "as much as is allowed": (deflated(bytes(MAX_MESSAGE_BYTES)), bytes(MAX_MESSAGE_BYTES)),
}


@pytest.mark.matrix("an empty payload", "as much as is allowed")
@pytest.mark.parametrize("what", ODD_DEFLATE)
def test_odd_compression_is_understood(server, what):
    """Whatever a compressor may write."""
    data, message = ODD_DEFLATE[what]
    with server.raw("/recorder/" + f"{server.kind}-{what}".replace(" ", "-"), DEFLATE) as client:
        client.send(frame(2, data, rsv1=True) + text("close"))
        assert client.read_close()[0] == 4000
    found = server.wait_for_event("message", f"{server.kind}-{what}".replace(" ", "-"))
    assert found["size"] == len(message)
