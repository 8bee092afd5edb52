"""The order of callbacks, and the close code, under any interleaving of both sides and of time."""

import contextlib
import select
import socket
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from tests.deadlines import DEADLINE_S, wait_for

from .rig import ManualClock, Rig, frame, text

OURS, PEERS, HANDLERS, SLOW, LOST = 4000, 4001, 4002, 1013, 1006


def close(code):
    return frame(Opcode.CLOSE, struct.pack("!H", code))


def answer(connection, message):
    """What the callback does with a message."""
    if message == "close":
        connection.close(HANDLERS)
    elif message == "fail":
        return 1011
    elif message.startswith("say"):
        for _ in range(3):
            connection.send(message)
    return None


class Interleaving:
    """One connection, what has been done to it, and how it may end by that.

    `codes` are the close codes that are possible so far; once the end `is_decided`, nothing adds
    to them.
    """

    def __init__(self, kind):
        self.clock = ManualClock()
        self.rig = Rig(kind, self.clock)
        self.peer, self.callbacks = self.rig.serve(
            answer,
            receive_buffer=10_000,
            ping_interval=20.0,
            ping_timeout=20.0,
            max_queue_size=200_000,
        )
        self.connection = self.callbacks.connection
        self.sent = []
        self.codes = set()
        self.is_decided = False
        self.is_paused = False
        self.has_peer_closed = False
        self.threads = []

    def run(self, actions):
        try:
            for name, number in actions:
                getattr(self, name)(number)
            self.end()
            self.check()
        finally:
            for thread in self.threads:
                thread.join(DEADLINE_S)
            self.rig.stop()

    def _in_thread(self, function):
        self.threads.append(threading.Thread(target=function))
        self.threads[-1].start()

    def _may_end(self, code):
        if not self.is_decided:
            self.codes.add(code)

    def _ends(self, code):
        """We have ended it ourselves, at once: nothing else counts if nothing came before."""
        if not self.codes:
            self.is_decided = True
            self.codes.add(code)
        self._may_end(code)

    def _settle(self, number):
        """Wait for what the peer has brought about, or go on with the next action meanwhile."""
        if number % 2 and self.codes and not self.is_paused:
            wait_for(lambda: not self.connection.is_open, "end")
            self.is_decided = True

    def _from_peer(self, *pieces):
        with contextlib.suppress(OSError):
            for piece in pieces:
                if piece:
                    self.peer.sendall(piece)

    def _messages(self, messages, cut):
        data = b"".join(map(text, messages))
        if not self.has_peer_closed:
            self.sent += messages
        self._from_peer(data[: cut % len(data)], data[cut % len(data) :])

    # The peer.

    def one_message(self, number):
        self._messages([f"message {number}"], number)

    def many_messages(self, number):
        self._messages([f"{number} of many, {index}" for index in range(5)], 2 * number)

    def asks_for_answers(self, number):
        self._messages([f"say {number}"] * 3, number)

    def asks_for_the_end(self, number):
        self._messages(["close" if number % 3 else "fail"], number)
        self._may_end(HANDLERS if number % 3 else 1011)
        self._settle(number)

    def ping(self, number):
        data = frame(Opcode.PING, b"p" * (number % 126))
        self._from_peer(data[: number % len(data)], data[number % len(data) :])

    def peer_closes(self, number):
        self.has_peer_closed = True
        self._from_peer(close(PEERS))
        self._may_end(PEERS)
        self._settle(number)

    def peer_breaks_the_protocol(self, number):
        self.has_peer_closed = True
        self._from_peer(b"\xff\xff")
        self._may_end(1002)
        self._settle(number)

    def peer_ends_its_stream(self, number):
        self.has_peer_closed = True
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_WR)
        self._may_end(LOST)
        self._settle(number)

    def peer_is_reset(self, number):
        """What we have sent is unread, which makes the close a reset."""
        self.connection.send("unread")
        self.has_peer_closed = True
        self.peer.close()
        self._may_end(LOST)
        self._settle(number)

    def peer_reads(self, number):
        with contextlib.suppress(OSError, ValueError):
            while select.select([self.peer], [], [], 0)[0] and self.peer.recv(65536):
                pass

    # This side.

    def thread_sends(self, number):
        self._in_thread(lambda: [self.connection.send(f"x{number}") for _ in range(10)])

    def thread_floods(self, number):
        def flood():
            for _ in range(20):
                self.connection.send(bytes(30_000))

        self._may_end(SLOW)
        self._in_thread(flood)

    def we_close(self, number):
        self.connection.close(OURS)
        self._ends(OURS)

    def both_close(self, number):
        barrier = threading.Barrier(2)

        def close_ours():
            barrier.wait(DEADLINE_S)
            self.connection.close(OURS)

        self._in_thread(close_ours)
        barrier.wait(DEADLINE_S)
        self.has_peer_closed = True
        self._from_peer(close(PEERS))
        self._may_end(OURS)
        self._may_end(PEERS)

    def network_is_lost(self, number):
        self.connection.abort()
        self._ends(LOST)

    def pause(self, number):
        self.connection.pause()
        self.is_paused = True

    def resume(self, number):
        self.connection.resume()
        self.is_paused = False

    def time_passes(self, number):
        """Past the time-outs for pings and closes, or not."""
        self._may_end(LOST)
        self.clock.advance(number % 30)

    # What has to be true.

    def end(self):
        for thread in self.threads:
            thread.join(DEADLINE_S)
        self.resume(0)
        if not self.codes:
            wait_for(lambda: len(self.callbacks.messages) == len(self.sent), "all messages")
        self._may_end(LOST)
        self.peer.close()
        wait_for(self.callbacks.is_closed.is_set, "close")
        wait_for(lambda: self.rig.owner.released_count == 1, "release")

    def check(self):
        events = self.callbacks.events
        names = [event[0] for event in events]
        assert (names[0], names[-1]) == ("opened", "closed")
        assert (names.count("opened"), names.count("closed")) == (1, 1)
        assert self.callbacks.messages == self.sent[: len(self.callbacks.messages)]
        assert events[-1][1] in self.codes
        assert self.connection.close_code == events[-1][1]
        assert not self.connection.send("never")
        assert self.connection.queued_bytes == 0
        assert self.callbacks.events == events


ACTIONS = [
    name
    for name, value in vars(Interleaving).items()
    if callable(value) and name[0] != "_" and name not in ("run", "end", "check")
]
INTERLEAVINGS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 200)), max_size=12)


@pytest.mark.parametrize("kind", ["epoll", "blocking"])
@settings(derandomize=True, max_examples=150, deadline=None)
@given(actions=INTERLEAVINGS)
def test_opened_is_first_and_closed_is_last_and_once(kind, actions):
    """Messages whole and in order between them, and the code of the first close frame."""
    Interleaving(kind).run(actions)


@pytest.mark.parametrize("kind", ["epoll", "blocking"])
@pytest.mark.parametrize("first", ACTIONS)
def test_every_pair_of_actions(kind, first):
    """Each action before each other one."""
    for second in ACTIONS:
        Interleaving(kind).run([(first, 1), (second, 1)])
