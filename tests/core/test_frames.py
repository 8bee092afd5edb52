"""What outgoing messages look like, compressed."""

import random
import threading
import zlib

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from flask_wshandler.protocol.frames import OutgoingMessage


def deflate(window_bits=15):
    return PerMessageDeflate(True, True, 15, window_bits)


def payload_of(frame):
    """What a client that knows nothing of earlier messages makes of a compressed frame."""
    assert frame[0] & 0b0100_0000
    start = {126: 4, 127: 10}.get(frame[1], 2)
    inflater = zlib.decompressobj(-15)
    payload = inflater.decompress(frame[start:] + b"\x00\x00\xff\xff")
    assert not inflater.unused_data
    return payload


@pytest.mark.parametrize("window_bits", range(9, 16))
def test_each_message_is_compressed_for_itself(window_bits):
    """With no word of those before it, which other clients may have been sent."""
    chosen = random.Random(window_bits)
    words = [f"word{number}" for number in range(50)]
    for size in (10, 50, 10, 5000, 10, 20_000, 10):
        payload = " ".join(chosen.choices(words, k=size)).encode()
        for message in (payload.decode(), payload):
            frame = OutgoingMessage(message).frame(deflate(window_bits))
            assert payload_of(frame) == payload
            alone = PerMessageDeflate(True, True, 15, window_bits, {"memLevel": 5})
            opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
            assert frame == Frame(opcode, payload).serialize(mask=False, extensions=[alone])


def test_threads_compress_at_the_same_time():
    """Each its own message."""
    texts = [chr(ord("a") + number) * 100_000 for number in range(12)]
    frames = {}
    threads = [
        threading.Thread(
            target=lambda each=each: frames.update({each: OutgoingMessage(each).frame(deflate())})
        )
        for each in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each: payload_of(frame).decode() for each, frame in frames.items()} == {
        each: each for each in texts
    }
