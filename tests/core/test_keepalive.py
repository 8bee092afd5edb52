"""Who is waited for, and how long: the rules, and a connection by a clock that the test moves."""

import threading

import pytest
from websockets.frames import Opcode

from flask_wshandler.protocol.keepalive import SLOWEST_BYTES_PER_S, has_kept_pace, time_to_take_s
from tests.deadlines import DEADLINE_S, wait_for

from .rig import FrameReader, frame, text

SECOND = SLOWEST_BYTES_PER_S
MOST_UNASKED = 1000
"""Pongs that may come at once."""


@pytest.mark.parametrize(
    "untaken_before, untaken, seconds, has_kept",
    [
        (0, 0, 5, False),  # nothing to take: only an answer is missing
        (SECOND - 1, 0, 5, False),  # a close frame and some messages are no queue
        (100 * SECOND, 100 * SECOND, 5, False),  # takes nothing
        (100 * SECOND, 96 * SECOND, 5, False),  # takes too little
        (100 * SECOND, 95 * SECOND, 5, True),
        (3 * SECOND, 0, 5, True),  # has just taken the last of it
    ],
)
def test_who_keeps_pace_is_waited_for(untaken_before, untaken, seconds, has_kept):
    """At the least speed, or to the end of what there was."""
    assert has_kept_pace(untaken_before, untaken, seconds) is has_kept


def test_the_time_to_take_is_bounded():
    """By what systems and proxies keep."""
    assert time_to_take_s(0) == 0
    assert time_to_take_s(2 * SECOND) == 2
    assert time_to_take_s(10**12) < 300


def is_lost_after(callbacks, clock):
    """How long a connection lives from now on."""

    def is_closed():
        clock.advance(1)
        return callbacks.is_closed.wait(0.02)

    started_s = clock.now_s()
    wait_for(is_closed, "the loss")
    assert callbacks.events[-1] == ("closed", 1006, "")
    return clock.now_s() - started_s


def wait_for_ping(rig, clock, reader):
    clock.advance(20.2)
    assert reader.read() == (Opcode.PING, b"")


def test_a_peer_that_has_been_sent_much_is_given_time_for_it(rig, clock):
    """The system or a proxy may have it, and the ping behind it, while the peer still reads."""
    peer, callbacks = rig.serve(None, ping_interval=20.0, ping_timeout=20.0)
    reader = FrameReader(peer)
    callbacks.connection.send(bytes(15 * SECOND))
    assert reader.read()[0] is Opcode.BINARY
    wait_for_ping(rig, clock, reader)
    assert 19 + 15 <= is_lost_after(callbacks, clock) < 25 + 15


def test_what_was_taken_before_the_last_pong_buys_no_time(rig, clock):
    """The pong has said that it was taken."""
    peer, callbacks = rig.serve(None, ping_interval=20.0, ping_timeout=20.0)
    reader = FrameReader(peer)
    callbacks.connection.send(bytes(15 * SECOND))
    assert reader.read()[0] is Opcode.BINARY
    for _ in range(2):
        wait_for_ping(rig, clock, reader)
        peer.sendall(frame(Opcode.PONG))
        wait_for(lambda: not callbacks.connection._awaited_pongs)
    wait_for_ping(rig, clock, reader)
    assert 19 <= is_lost_after(callbacks, clock) < 25


def test_a_timer_that_comes_late_has_the_peer_asked_again(rig, clock):
    """The whole machine stood still; a second ping, and its time, before anybody is given up."""
    peer, callbacks = rig.serve(None, ping_interval=20.0, ping_timeout=20.0)
    reader = FrameReader(peer)
    wait_for_ping(rig, clock, reader)
    clock.advance(300)
    assert reader.read() == (Opcode.PING, b"")
    assert 19 <= is_lost_after(callbacks, clock) < 25


def test_who_is_held_up_is_pinged_all_the_same(rig, clock):
    """Else a proxy would end the connection, on which nothing goes to and fro."""
    peer, callbacks = rig.serve(ping_interval=20.0, ping_timeout=20.0)
    callbacks.connection.pause()
    reader = FrameReader(peer)
    for _ in range(5):
        wait_for_ping(rig, clock, reader)
    assert callbacks.connection.is_open


def test_the_pongs_of_a_long_callback_are_no_flood(rig, clock):
    """They were asked for, one by one, and are read together."""
    is_over = threading.Event()

    def block(connection, message):
        if message == "block":
            assert is_over.wait(DEADLINE_S)

    peer, callbacks = rig.serve(block, ping_interval=20.0, ping_timeout=20.0)
    peer.sendall(text("block"))
    wait_for(lambda: callbacks.messages)
    reader = FrameReader(peer)
    wait_for_ping(rig, clock, reader)
    clock.advance(20.2)
    wait_for(lambda: callbacks.connection.is_overdue)  # and nobody can judge
    for _ in range(29):
        wait_for_ping(rig, clock, reader)
    peer.sendall(frame(Opcode.PONG) * (MOST_UNASKED + 30))
    peer.sendall(text("here"))
    is_over.set()
    wait_for(lambda: callbacks.messages == ["block", "here"])
    assert callbacks.connection.is_open
