"""The frames that hostile clients send to servers, on both ways of serving, cut at every byte."""

import contextlib
import struct

import pytest

from tests.hostile.conftest import MAX_MESSAGE_BYTES
from tests.hostile.test_frames import BAD, WORDS, broken_texts, cuts

from .rig import FrameReader, frame, text


def send(peer, data):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be closed by now
        peer.sendall(data)


def close_code_of(peer):
    """The code of our close frame; what comes before it are pongs and echoes."""
    reader = FrameReader(peer)
    while (found := reader.read())[0] != 8:
        pass
    return struct.unpack("!H", found[1][:2])[0]


@pytest.mark.parametrize("what", BAD)
def test_a_peer_that_breaks_the_protocol_is_failed(rig, what):
    """With the code that says why."""
    data, code = BAD[what]
    for cut in cuts(data):
        peer, callbacks = rig.serve(max_message_size=MAX_MESSAGE_BYTES)
        send(peer, data[:cut])
        send(peer, data[cut:])
        assert close_code_of(peer) == code, cut
        peer.close()
        assert callbacks.is_closed.wait(10), cut
        assert callbacks.events[-1][1] == code, cut


def test_broken_text_is_failed_wherever_it_is_broken(rig):
    """In one frame, and in two fragments with any cut, a ping between them."""
    for data in broken_texts():
        whole = [frame(1, data)]
        cut = [
            frame(1, data[:at], fin=False) + frame(9) + frame(0, data[at:])
            for at in range(len(data) + 1)
        ]
        for sent in whole + cut:
            peer, _ = rig.serve()
            send(peer, sent)
            assert close_code_of(peer) == 1007, sent
            peer.close()


def test_text_may_be_cut_inside_characters(rig):
    """At every two places."""
    peer, _ = rig.serve()
    reader = FrameReader(peer)
    for first in range(len(WORDS) + 1):
        for second in range(first, len(WORDS) + 1):
            send(peer, frame(1, WORDS[:first], fin=False))
            send(peer, frame(0, WORDS[first:second], fin=False) + frame(0, WORDS[second:]))
            assert reader.read() == (1, WORDS)
    send(peer, text("end"))
    assert reader.read() == (1, b"end")
