"""Questions to all processes: who is waited for, what is refused, how much one answer may be."""

import json
import threading
import time

import pytest

from flask_wshandler.bus import Kind
from flask_wshandler.bus.envelope import encode
from flask_wshandler.bus.node import BusNode
from flask_wshandler.bus.rpc import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES, SETTLE_S
from flask_wshandler.testing.memory_bus import MemoryBus, MemoryNetwork
from tests.deadlines import wait_for


@pytest.fixture
def network():
    return MemoryNetwork()


def node_on(bus, respond=None):
    """A process that can ask and be asked, and does nothing else."""
    return BusNode(bus, deliver=[].extend, takers={}, started=lambda: None, respond=respond)


@pytest.fixture
def make_node(network):
    nodes = []

    def make(respond=None):
        node = node_on(MemoryBus(network), respond)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.bus.close()


def says(answer):
    return lambda verb, arguments: {"verb": verb, **arguments, "says": answer}


def test_all_others_answer(make_node):
    """Those that are reachable, each once; without waiting longer than for the last."""
    others = [make_node(says(number)) for number in range(3)]
    for other in others:
        assert other.be_reachable() is not None
    began_s = time.monotonic()
    heard = make_node(says("never asked")).ask("what", {"a": 1}, timeout_s=60)
    assert time.monotonic() - began_s < 30
    assert heard.silent_count == 0
    assert heard.by_process == {
        other.process: {"verb": "what", "a": 1, "says": number}
        for number, other in enumerate(others)
    }


def test_nobody_is_there(make_node):
    """Nobody is waited for."""
    assert make_node().ask("what", {}, timeout_s=60).by_process == {}


def test_a_process_without_answers_says_so(make_node):
    """A program on the bus that is no server is not waited for."""
    other = make_node()
    other.be_reachable()
    heard = make_node().ask("what", {}, timeout_s=60)
    assert (heard.by_process, heard.silent_count) == ({other.process: {}}, 0)


def test_who_does_not_answer_is_counted(make_node):
    """After the time that was given."""
    lets_go = threading.Event()
    slow = make_node(lambda verb, arguments: {"went": lets_go.wait(60)})
    quick = make_node(says("quick"))
    slow.be_reachable()
    quick.be_reachable()
    heard = make_node().ask("what", {}, timeout_s=0.2)
    assert list(heard.by_process) == [quick.process]
    assert heard.silent_count == 1
    lets_go.set()


def test_one_answer_can_be_enough(make_node):
    """The others are not waited for."""
    lets_go = threading.Event()
    slow = make_node(lambda verb, arguments: {"went": lets_go.wait(60)})
    quick = make_node(says("quick"))
    slow.be_reachable()
    quick.be_reachable()
    heard = make_node().ask(
        "what", {}, timeout_s=60, is_enough=lambda answer: answer.get("says") == "quick"
    )
    assert heard.silent_count == 0
    lets_go.set()


class CantCount(MemoryBus):
    """As Redis, which does not tell how many listen."""

    def peer_count(self):
        return None


def test_a_bus_that_can_not_count_is_waited_for_until_it_is_quiet(network, make_node):
    """All the same, whoever is known is not waited for any longer than he takes."""
    others = [make_node(says("")) for _ in range(3)]
    for other in others:
        other.be_reachable()
    node = node_on(CantCount(network))
    names = {other.process for other in others}
    began_s = time.monotonic()
    assert node.ask("what", {}, timeout_s=60).by_process.keys() == names
    took_s = time.monotonic() - began_s
    assert SETTLE_S <= took_s < 30
    began_s = time.monotonic()
    for _ in range(40):
        assert node.ask("what", {}, timeout_s=60, known=names).by_process.keys() == names
    assert time.monotonic() - began_s < 40 * SETTLE_S / 2
    node.bus.close()


class NeverUp(MemoryBus):
    """As Redis, when it takes connections and answers nothing."""

    def wait_until_subscribed(self, timeout_s=1.0):
        return False


def test_nobody_is_asked_over_a_bus_that_is_not_up_in_time(network, make_node):
    """No answer could come; and whoever asks is told so, rather than that nobody is there."""
    asked = []
    other = make_node(lambda verb, arguments: asked.append(verb) or {})
    other.be_reachable()
    node = node_on(NeverUp(network))
    heard = node.ask("what", {}, timeout_s=60)
    assert (heard.by_process, heard.silent_count, heard.was_asked) == ({}, 0, False)
    assert make_node().ask("another", {}, timeout_s=60).was_asked
    assert asked == ["another"]
    node.bus.close()


def test_an_answer_that_is_too_large_is_none(make_node):
    """Its process says nothing rather than fill the queues of others."""
    other = make_node(says("x" * MAX_ANSWER_BYTES))
    other.be_reachable()
    assert make_node().ask("what", {}, timeout_s=60).by_process == {other.process: {}}


QUESTION = ["0123456789abcdef", "what", {}]


@pytest.mark.parametrize(
    ("kind", "topic", "body"),
    [
        (Kind.QUESTION, "", b"no JSON"),
        (Kind.QUESTION, "", b"[" * 100_000),
        (Kind.QUESTION, "", json.dumps(QUESTION[:2])),
        (Kind.QUESTION, "", json.dumps(["no number", "what", {}])),
        (Kind.QUESTION, "", json.dumps([*QUESTION[:2], []])),
        (Kind.QUESTION, "", json.dumps([*QUESTION[:2], {"x": "x" * MAX_QUESTION_BYTES}])),
        (Kind.ANSWER, "", b"no JSON"),
        (Kind.ANSWER, "", json.dumps(["process", None])),
        (Kind.ANSWER, "", json.dumps([1, {}])),
        (Kind.ANSWER, "", json.dumps(["process", {"x": "x" * MAX_ANSWER_BYTES}])),
    ],
)
def test_what_makes_no_sense_is_refused_and_counted(make_node, network, kind, topic, body):
    """And the process goes on."""
    asked = []
    node = make_node(lambda verb, arguments: asked.append(verb) or {})
    node.be_reachable()
    stranger = MemoryBus(network)
    data = encode(kind, stranger.sender, topic, body.encode() if isinstance(body, str) else body)
    stranger.send(topic, data)
    wait_for(lambda: node.bus.stats().malformed == 1)
    assert asked == []
    assert make_node(says("")).ask("still there?", {}, timeout_s=60).by_process == {
        node.process: {}
    }


def test_answers_to_nobodys_question_are_thrown_away(make_node, network):
    """Nothing is kept of what was not asked for."""
    node = make_node()
    node.be_reachable()
    stranger = MemoryBus(network)
    body = json.dumps(["process", {}]).encode()
    stranger.send("", encode(Kind.ANSWER, stranger.sender, "", body))
    wait_for(lambda: node.bus.is_idle and node.bus.stats().received == 1)
    assert node._queries._gathered == {}
