"""The packet that goes with a client's socket: what is in it comes out, and nothing else."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_wshandler.protocol.carrier import Carrier, Transport
from flask_wshandler.resume.endpoint import Return
from flask_wshandler.resume.passing import (
    MAX_PACKET_BYTES,
    MAX_PATH_BYTES,
    CannotBePassed,
    MalformedPacket,
    Passed,
    decode,
    encode,
)

from .keeper import passed

TEXT = st.text(st.characters(), max_size=20) | st.just("\ud800")
NUMBERS = st.integers(0, 2**53)
BITS = st.integers(8, 15)
SESSIONS = st.sampled_from(["12345678", "0123abcd~secret", "-_~" * 42])
CARRIERS = st.builds(
    Carrier, st.sampled_from(Transport), st.none() | st.tuples(BITS, BITS), st.booleans()
)
CLIENTS = st.builds(
    Passed,
    st.builds(Return, SESSIONS, NUMBERS, NUMBERS, NUMBERS),
    TEXT,
    TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    CARRIERS,
    st.binary(max_size=200),
    st.none() | TEXT,
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(CLIENTS)
def test_what_goes_in_comes_out(client):
    """Whatever is in its texts, lone surrogates as well."""
    assert decode(encode(client)) == client


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_packet(packet):
    """They are refused with a reason."""
    with pytest.raises(MalformedPacket, match="bytes"):
        decode(packet)


@settings(derandomize=True, max_examples=500, deadline=None)
@given(CLIENTS, st.integers(0, 400), st.binary(max_size=20))
def test_a_changed_packet_is_one_or_malformed(client, position, noise):
    """Cut off, or with a few bytes replaced."""
    packet = encode(client)
    for changed in (packet[:position], packet[:position] + noise + packet[position + len(noise) :]):
        try:
            found = decode(changed)
        except MalformedPacket as fault:
            assert str(fault)
        else:
            assert decode(encode(found)) == found


FAULTS = [
    (0, None), (0, "r.short.1.2.3"), (0, "r.0123abcd~secret.-1.2.3"),
    (0, ["r.0123abcd~secret.1.2.3"]), (0, "r.0123abcd~secret.1.2." + "9" * 16),
    (0, "chat"), (1, None), (1, 7), (1, "x" * 4097),
    (2, None), (2, ["a"]), (3, 7), (4, {}), (5, 12), (5, [15]), (5, [15, 12, 9]), (5, [7, 12]),
    (5, [15, 16]), (5, [15, True]), (5, [15.0, 12]), (5, "ab"), (6, 1),
    (7, "carrier pigeon"), (7, None), (7, ["stream"]), (8, 1), (8, None),
]  # fmt: skip


@pytest.mark.parametrize(("index", "value"), FAULTS)
def test_a_wrong_value_is_malformed(index, value):
    """Each is checked by its type and its range."""
    packet = encode(passed())
    size = int.from_bytes(packet[4:6], "big")
    said = json.loads(packet[6 : 6 + size])
    said[index] = value
    text = json.dumps(said).encode()
    with pytest.raises(MalformedPacket):
        decode(packet[:4] + len(text).to_bytes(2, "big") + text)


@pytest.mark.parametrize(
    "text", [b"[" * 15000, b"{}", b"null", b"[1]", b"\xff\xfe", b"1" * 5000, b'"12345678"']
)
def test_another_text_is_malformed(text):
    """Deep ones and long numbers as well."""
    with pytest.raises(MalformedPacket):
        decode(b"wsd2" + len(text).to_bytes(2, "big") + text)


def test_what_is_too_large_can_not_be_passed():
    """By its path, or by all of it."""
    fits = dataclasses.replace(passed(), path="ä" * (MAX_PATH_BYTES // 2), data=b"")
    assert decode(encode(fits)) == fits
    with pytest.raises(CannotBePassed, match="path"):
        encode(dataclasses.replace(fits, path=fits.path + "x"))
    rest = MAX_PACKET_BYTES - len(encode(passed(data=b"")))
    assert len(encode(passed(data=b"x" * rest))) == MAX_PACKET_BYTES
    with pytest.raises(CannotBePassed, match="16385 bytes"):
        encode(passed(data=b"x" * (rest + 1)))


def test_the_session_is_not_shown():
    """It is a secret, and a `repr` comes into logs."""
    assert "secret" not in repr(passed(data=b"secret"))
