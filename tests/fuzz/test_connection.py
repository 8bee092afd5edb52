"""Any bytes, cut anywhere, among anything else that may happen to a connection."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.utils import apply_mask

from flask_wshandler.protocol.message_reader import Failed, MessageReader, PeerClosed, Reply
from tests.core.rig import events_of

from .drive import Driver

LIMIT = 1000


def deflate():
    return PerMessageDeflate(True, True, 15, 15)


def masked(opcode, payload, fin, is_compressed=False):
    """A client's frame, with whatever is against the rules in it."""
    first = opcode | (0x80 if fin else 0)
    if is_compressed:
        packer = zlib.compressobj(wbits=-15)
        payload = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        first |= 0x40
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + b"mask" + apply_mask(payload, b"mask")


def broken(data, position, value):
    """The same with one byte changed."""
    position %= len(data)
    return data[:position] + bytes((value,)) + data[position + 1 :]


HEADS = st.builds(
    lambda first, second, length, rest: (
        bytes((first, second)) + length.to_bytes(8, "big")[8 - size_of(second) :] + rest
    ),
    st.integers(0, 255),
    st.integers(0, 255),
    st.one_of(st.integers(0, 70_000), st.integers(0, 2**64 - 1)),
    st.binary(max_size=30),
)


def size_of(second):
    return {126: 2, 127: 8}.get(second & 0x7F, 0)


FRAMES = st.builds(
    masked,
    st.sampled_from(list(Opcode)),
    st.one_of(
        st.binary(max_size=125),
        st.text(max_size=30).map(str.encode),
        st.just(b"close"),
        st.integers(0, 5000).map(lambda code: struct.pack("!H", code)),
        st.integers(900, 1100).map(bytes),
        st.integers(4000, 5000).map(bytes),
    ),
    st.booleans(),
    st.booleans(),
)
PIECES = st.one_of(
    FRAMES,
    st.builds(broken, FRAMES, st.integers(0, 200), st.integers(0, 255)),
    HEADS,
    st.binary(max_size=50),
)
CUTS = st.lists(st.integers(1, 200), max_size=10)


def cut(data, sizes):
    """`data` in pieces of these sizes, and the rest."""
    position = 0
    for size in sizes:
        if position < len(data):
            yield data[position : position + size]
        position += size
    if position < len(data):
        yield data[position:]


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=8).map(b"".join), CUTS, st.booleans())
def test_a_reader_takes_any_bytes(data, sizes, is_compressed):
    """Never an exception, the same events however they are cut, and nothing after the end."""
    readers = [MessageReader(LIMIT, deflate() if is_compressed else None) for _ in range(2)]
    whole = readers[0].receive_data(data) if data else []
    events = []
    for piece in cut(data, sizes):
        events += events_of(readers[1], piece)
    assert events == whole
    for event in events:
        assert isinstance(event, str | bytes | Reply | Failed | PeerClosed)
        assert not isinstance(event, str | bytes) or len(event) <= LIMIT
    if any(isinstance(event, Failed | PeerClosed) for event in events):
        assert isinstance(events[-1], Failed | PeerClosed)
        assert events_of(readers[0], b"\x81\x80\0\0\0\0") == []


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), PIECES, CUTS),
        st.tuples(st.just("send"), st.one_of(st.text(max_size=300), st.binary(max_size=3000))),
        st.tuples(st.just("close"), st.sampled_from([1000, 1001, 1011, 3000, 4999])),
        st.tuples(st.just("pass_time"), st.sampled_from([0.0, 0.1, 5.0, 20.0, 100.0])),
        st.tuples(st.sampled_from(["cork", "uncork", "flush", "lose_network", "pause", "resume"])),
    ),
    max_size=15,
)


@pytest.mark.parametrize("is_compressed", [False, True])
@settings(derandomize=True, max_examples=250, deadline=None)
@given(
    actions=ACTIONS, capacities=st.lists(st.integers(0, 500), max_size=20), is_drained=st.booleans()
)
def test_a_connection_takes_anything(is_compressed, actions, capacities, is_drained):
    """Never an exception, always a legal state, and what it writes are frames with one end."""
    driver = Driver(
        max_message_bytes=LIMIT,
        capacities=capacities,
        deflate=deflate() if is_compressed else None,
        client_deflate=deflate() if is_compressed else None,
    )
    for name, *arguments in actions:
        if name == "receive":
            for piece in cut(*arguments):
                driver.receive(piece)
        else:
            getattr(driver, name)(*arguments)
    if is_drained:
        driver.drain()
    driver.finish()
    driver.check_sent()
