"""Frames on real connections: splits, bursts, and what the protocol forbids."""

import struct
import zlib

import pytest
from websockets.frames import Opcode
from websockets.sync.client import connect

from .wire import close, frame, text


def test_frames_behind_the_handshake_request_are_not_lost(server):
    """They come in the same segment, and the server has read them with the request."""
    with server.raw("/echo", early=text("early") + text("bird")) as client:
        assert client.status == 101
        assert [client.read_text(), client.read_text()] == ["early", "bird"]
        client.send(text("late"))
        assert client.read_text() == "late"


def test_a_frame_may_be_cut_anywhere(server):
    """Every boundary of two frames."""
    data = text("ä" * 70) + frame(Opcode.PING, b"p")
    with server.raw("/echo") as client:
        for boundary in range(1, len(data)):
            client.send(data[:boundary])
            client.send(data[boundary:])
            assert client.read_text() == "ä" * 70
            assert client.read_frame() == (Opcode.PONG, b"p")


def test_many_messages_at_once_are_answered_in_order(server):
    """One segment, a thousand messages."""
    with server.raw("/echo") as client:
        client.send(b"".join(text(str(number)) for number in range(1000)))
        assert [client.read_text() for _ in range(1000)] == [str(number) for number in range(1000)]


def test_fragments_make_one_message_with_control_frames_between(server):
    """RFC 6455 section 5.4."""
    with server.raw("/echo") as client:
        client.send(frame(1, "ä".encode()[:1], fin=False) + frame(9, b"!"))
        client.send(frame(0, b"", fin=False) + frame(0, "ä".encode()[1:] + b"b"))
        assert client.read_frame() == (Opcode.PONG, b"!")
        assert client.read_text() == "äb"


FAILURES = {
    "unmasked": (b"\x81\x01a", 1002),
    "reserved bit": (b"\xc1\x80mask", 1002),
    "reserved opcode": (b"\x83\x80mask", 1002),
    "reserved control opcode": (b"\x8b\x80mask", 1002),
    "continuation of nothing": (frame(0, b"x"), 1002),
    "message inside a message": (frame(1, b"x", fin=False) + text("y"), 1002),
    "fragmented ping": (b"\x09\x80mask", 1002),
    "long ping": (b"\x89\xfe\x00\x7emask" + bytes(126), 1002),
    "length that is not minimal": (b"\x81\xfe\x00\x05mask" + bytes(5), 1002),
    "broken text": (frame(1, b"\xff"), 1007),
    "broken text in a fragment": (frame(1, b"\xff", fin=False), 1007),
    "surrogate": (frame(1, b"\xed\xa0\x80"), 1007),
    "close code 1005": (close(1005), 1002),
    "close code 999": (close(999), 1002),
    "close of one byte": (frame(8, b"x"), 1002),
    "broken close reason": (frame(8, struct.pack("!H", 1000) + b"\xff"), 1007),
    "too large": (b"\x82\xff" + struct.pack("!Q", 2**20 + 1) + b"mask", 1009),
    "too large in fragments": (
        frame(2, bytes(2**19), fin=False) + frame(0, bytes(2**19 + 1)),
        1009,
    ),
    "endless empty fragments": (
        frame(1, b"", fin=False) + frame(0, b"", fin=False) * 16_400,
        1009,
    ),
}


@pytest.mark.matrix(
    "unmasked",
    "continuation of nothing",
    "long ping",
    "broken text",
    "close of one byte",
    "too large in fragments",
)
@pytest.mark.parametrize("what", FAILURES)
def test_fails_a_peer_that_breaks_the_protocol(server, what):
    """A close frame with the code that says why, then the end of the stream, and `on_close`."""
    data, code = FAILURES[what]
    id = f"failure-{what.replace(' ', '-')}"
    with server.raw(f"/record/recorder/{id}") as client:
        client.send(data)
        assert client.read_close()[0] == code
        assert client.read_to_end()
    assert server.wait_for_event("close", id)["code"] == code


def test_after_the_close_frame_nothing_counts(server):
    """RFC 6455 section 1.4: data behind a close frame is thrown away."""
    with server.raw("/record/recorder/after-close") as client:
        client.send(text("before") + close(1000, "bye") + text("after"))
        assert client.read_close()[0] == 1000
    closed = server.wait_for_event("close", "after-close")
    assert (closed["code"], closed["reason"]) == (1000, "bye")
    messages = [e["message"] for e in server.events("after-close") if e["event"] == "message"]
    assert messages == ["before"]


def test_a_close_without_a_code_is_answered_without_one(server):
    """1005 stands for it in `close_code`."""
    with server.raw("/record/recorder/no-code") as client:
        client.send(frame(8))
        assert client.read_close() == (1005, "")
    assert server.wait_for_event("close", "no-code")["code"] == 1005


def test_a_close_inside_a_fragmented_message(server):
    """A control frame, so it is legal there."""
    with server.raw("/record/recorder/close-inside") as client:
        client.send(frame(1, b"begun", fin=False) + close(1001))
        assert client.read_close()[0] == 1001
    assert server.wait_for_event("close", "close-inside")["code"] == 1001


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_compression_is_agreed_on_when_it_is_switched_on(start, kind):
    """permessage-deflate without context takeover, by the client of `websockets`."""
    server = start(kind, WSHANDLER_COMPRESSION=True)
    long = "compress me " * 1000
    with connect(server.url("/echo")) as client:
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        for message in (long, "short", long.encode(), b""):
            client.send(message)
            assert client.recv() == message
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    with server.raw("/echo", offer) as client:
        client.send(text(long))
        opcode, payload = client.read_frame()
        assert opcode is Opcode.TEXT
        assert client.rsv1
        assert len(payload) < len(long) / 10


def test_a_bomb_is_too_big_after_decompression(start):
    """The limit counts what comes out: 64 kB that become 64 MB."""

    server = start("gthread", WSHANDLER_COMPRESSION=True)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(2**26)) + packer.flush(zlib.Z_SYNC_FLUSH)
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    with server.raw("/echo", offer) as client:
        client.send(frame(2, bomb[:-4], rsv1=True))
        assert client.read_close()[0] == 1009


def test_a_window_that_can_not_be_had_is_declined(start):
    """zlib compresses with 9 bits and more; to agree to 8 failed at the first message."""
    server = start("gthread", WSHANDLER_COMPRESSION=True)
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=8")]
    with server.raw("/echo", offer) as client:
        assert client.status == 101
        assert client.header("Sec-WebSocket-Extensions") is None
        client.send(text("x" * 1000))
        assert client.read_text() == "x" * 1000
