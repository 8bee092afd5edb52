"""Parts of envelopes: whatever is lost or mixed up, what comes out is whole."""

import itertools
import random

import pytest

from flask_wshandler.bus.envelope import MAX_ENVELOPE_BYTES, Kind, Malformed, encode
from flask_wshandler.bus.parts import PART_BYTES, Assembler, is_part, split


def message(sender, number, size):
    body = random.Random(number).randbytes(size)
    return encode(Kind.BINARY, sender, "t", body)


def parts_of(sender, number, size):
    return list(split(message(sender, number, size), sender, "t", number))


@pytest.mark.parametrize("size", [PART_BYTES - 15, PART_BYTES - 13, PART_BYTES, 3 * PART_BYTES])
def test_what_was_split_is_put_together(size):
    """At the edges of a part, too."""
    sender = bytes(8)
    parts = parts_of(sender, 7, size)
    assert all(is_part(part) for part in parts)
    assembler = Assembler()
    *before, last = [assembler.take(part, 0) for part in parts]
    assert before == [None] * len(before)
    assert last == message(sender, 7, size)
    assert len(assembler) == 0


@pytest.mark.parametrize("seed", range(20))
def test_of_what_is_lost_nothing_comes_out(seed):
    """Several senders, mixed by chance; any part may be lost, as long as each keeps its order."""
    dice = random.Random(seed)
    senders = [bytes([number] * 8) for number in range(3)]
    queues = {}
    whole = {}
    for sender in senders:
        queues[sender] = []
        for number in range(4):
            parts = parts_of(sender, number, dice.randrange(1, 4 * PART_BYTES))
            kept = [part for part in parts if dice.random() > 0.1]
            queues[sender] += kept
            if kept == parts:
                whole.setdefault(sender, []).append(message_of(parts))
    assembler = Assembler()
    came = {}
    while any(queues.values()):
        sender = dice.choice([each for each in senders if queues[each]])
        taken = assembler.take(queues[sender].pop(0), 0)
        if taken is not None:
            came.setdefault(sender, []).append(taken)
    assert came == whole


def message_of(parts):
    assembler = Assembler()
    return [assembler.take(part, 0) for part in parts][-1]


def test_what_is_not_complete_is_given_up_in_time():
    """30 seconds after its last part; it is counted."""
    first, second = parts_of(bytes(8), 1, PART_BYTES + 1)
    assembler = Assembler()
    assembler.take(first, 0)
    assembler.expire(30)
    assert len(assembler) == 1
    assembler.expire(30.1)
    assert (len(assembler), assembler.lost_count) == (0, 1)
    assert assembler.take(second, 31) is None
    assert assembler.lost_count == 1


def test_what_is_not_complete_is_bounded():
    """In number and in bytes; the oldest goes."""
    assembler = Assembler()
    for number in range(1001):
        assembler.take(parts_of(number.to_bytes(8, "big"), 1, PART_BYTES + 1)[0], 0)
    assert (len(assembler), assembler.lost_count) == (1000, 1)
    assert assembler.take(parts_of(bytes(8), 1, PART_BYTES + 1)[1], 0) is None
    large = Assembler()
    data = bytes(MAX_ENVELOPE_BYTES - 100)
    for number in range(9):
        sender = number.to_bytes(8, "big")
        for part in itertools.islice(split(data, sender, "t", 1), 127):
            large.take(part, 0)
    assert large.lost_count == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 12,  # no bytes of the message
        b"\0" * 8 + b"\x10\0\0\0" + b"x",  # more than is taken of anybody
        b"\0" * 8 + b"\0\0\0\1" + b"xx",  # more than it says
    ],
)
def test_what_can_be_no_part_is_malformed(body):
    """Rather than kept."""
    assembler = Assembler()
    with pytest.raises(Malformed):
        assembler.take(encode(Kind.PART, bytes(8), "t", body), 0)
    assert len(assembler) == 0


def test_a_message_in_parts_is_its_senders():
    """Neither another's, nor of another topic, nor a part again."""
    assembler = Assembler()
    for inner in (
        encode(Kind.TEXT, b"another!", "t", b"x"),
        encode(Kind.TEXT, bytes(8), "other", b"x"),
        encode(Kind.PART, bytes(8), "t", b"x"),
        b"\x01\x01",
    ):
        [part] = split(inner, bytes(8), "t", 1)
        with pytest.raises(Malformed):
            assembler.take(part, 0)
