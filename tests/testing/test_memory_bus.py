"""The bus in memory keeps to the contract of a bus."""

import threading
import time

import pytest

from flask_wshandler.bus import Kind
from flask_wshandler.testing.memory_bus import MemoryBus, MemoryNetwork
from tests.deadlines import DEADLINE_S


class Member:
    """One member of a network, and what has come to it."""

    def __init__(self, network, *topics, max_queue_bytes=2**20):
        self.bus = MemoryBus(network, max_queue_bytes)
        self.bodies = []
        self.gate = threading.Event()
        self.gate.set()
        self.bus.attach(self._take)
        for topic in topics:
            self.bus.subscribe(topic)

    def _take(self, envelopes):
        self.gate.wait(DEADLINE_S)
        self.bodies += [envelope.body for envelope in envelopes]

    def say(self, body, topic="t"):
        self.bus.publish(Kind.BINARY, topic, body)

    def heard(self):
        until_s = time.monotonic() + DEADLINE_S
        while not self.bus.is_idle:
            assert time.monotonic() < until_s
            time.sleep(0.001)
        return self.bodies


@pytest.fixture
def network():
    return MemoryNetwork()


def test_reaches_all_others_in_order(network):
    """Never the sender, and only who has subscribed."""
    speaker, listener = Member(network, "t"), Member(network, "t")
    stranger = Member(network, "other")
    for number in range(1000):
        speaker.say(b"%d" % number)
    assert listener.heard() == [b"%d" % number for number in range(1000)]
    assert speaker.heard() == stranger.heard() == []
    assert speaker.bus.stats().published == listener.bus.stats().received == 1000
    assert speaker.bus.peer_count() == 2


def test_publishes_without_subscribing(network):
    """As a script does."""
    listener = Member(network, "t")
    Member(network).say(b"hi")
    assert listener.heard() == [b"hi"]
    assert listener.bus.peer_count() == 0


def test_unsubscribed_and_closed_hear_nothing(network):
    """From that moment on."""
    speaker, first, second = (Member(network, "t") for _ in range(3))
    first.bus.unsubscribe("t")
    second.bus.close()
    speaker.say(b"hi")
    assert first.heard() == second.heard() == []
    assert speaker.bus.peer_count() == 1


def test_queue_is_bounded(network):
    """Past the bound the oldest go, and are counted."""
    speaker, slow = Member(network), Member(network, "t", max_queue_bytes=1000)
    slow.gate.clear()
    for number in range(100):
        speaker.say(b"%099d" % number)
    slow.gate.set()
    heard = [int(body) for body in slow.heard()]
    assert heard[-1] == 99
    assert heard == sorted(heard)
    dropped = speaker.bus.stats().dropped
    assert dropped > 80
    assert dropped + len(heard) == 100


def test_members_that_answer_each_other(network):
    """Nobody waits for anybody, so none is locked out."""
    first, second = Member(network, "t"), Member(network, "t")
    for member in (first, second):

        def answer(envelopes, member=member):
            member._take(envelopes)
            for envelope in envelopes:
                if len(envelope.body) < 100:
                    member.say(envelope.body + b"x")

        member.bus.attach(answer)
    first.say(b"")
    until_s = time.monotonic() + DEADLINE_S
    while len(first.bodies) + len(second.bodies) < 101:
        assert time.monotonic() < until_s
        time.sleep(0.001)


def test_no_thread_at_rest(network):
    """It begins with the first envelope, and ends with the last."""
    before = set(threading.enumerate())
    listener = Member(network, "t")
    Member(network).say(b"hi")
    listener.heard()
    until_s = time.monotonic() + DEADLINE_S
    while any(thread.name == "wshandler-bus" for thread in set(threading.enumerate()) - before):
        assert time.monotonic() < until_s
        time.sleep(0.001)
