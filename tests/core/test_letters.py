"""What is handed over to one process: how much at once, how large, and what is refused."""

import concurrent.futures
import struct
import threading

import pytest

from flask_wshandler.bus import Kind, Malformed, NoBus
from flask_wshandler.bus.envelope import encode
from flask_wshandler.bus.letters import MAX_LETTER_BYTES, MAX_REPLY_BYTES
from flask_wshandler.bus.node import BusNode
from flask_wshandler.testing.memory_bus import MemoryBus, MemoryNetwork
from tests.deadlines import wait_for


def node_on(bus, take=None):
    """A process that can hand over, and does nothing else."""
    return BusNode(bus, deliver=[].extend, takers={}, started=lambda: None, take_letter=take)


@pytest.fixture
def network():
    return MemoryNetwork()


@pytest.fixture
def make_node(network):
    nodes = []

    def make(name=None, take=None, max_queue_bytes=16 * 2**20):
        node = node_on(MemoryBus(network, max_queue_bytes), take)
        nodes.append(node)
        if name is not None:
            assert node.be_addressable(name)
        return node

    yield make
    for node in nodes:
        node.bus.close()


def test_nobody_is_there(make_node):
    """Nobody is waited for."""
    node = make_node()
    assert node.hand_over("owner", b"x", 1000) is None
    assert node_on(NoBus()).hand_over("owner", b"x", 1000) is None


def test_a_process_has_one_name_and_takes_what_it_can(make_node):
    """Said once more, nothing changes."""
    node = make_node("owner", bytes.upper)
    assert node.be_addressable("owner")
    with pytest.raises(RuntimeError, match="another"):
        node.be_addressable("another")
    with pytest.raises(RuntimeError, match="owner"):
        make_node().be_addressable("owner")
    assert make_node().hand_over("owner", b"x", 60) == b"X"


@pytest.mark.parametrize("name", ["", "!0", "a b", "x" * 65, "\udfff", "é"])
def test_what_can_be_no_name(make_node, name):
    """Nobody has it, so nothing is published; a client may have made it up."""
    owner = make_node("owner", bytes.upper)
    node = make_node()
    assert node.hand_over(name, b"x", 1000) is None
    assert owner.bus.sent_here == 0
    with pytest.raises(ValueError, match="can't be called"):
        make_node().be_addressable(name)


def test_a_name_that_nobody_has_gets_no_letter(make_node):
    """But a search, which is small."""
    owner = make_node("owner", bytes.upper)
    node = make_node()
    assert node.hand_over("nobody", bytes(1000), 0.05) is None
    assert node.bus.stats().published == 1
    assert node.hand_over("owner", b"x", 60) == b"X"
    assert node.hand_over("owner", b"y", 60) == b"Y"
    assert node.bus.stats().published == 4
    assert owner.bus.stats().received == 3


def test_threads_that_look_for_the_same_search_once(make_node):
    """All of them write when it is found."""
    lets_go = threading.Event()
    owner = make_node("owner", lambda body: str(lets_go.wait(60)).encode())
    other, node = make_node(), make_node()
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        occupied = pool.submit(other.hand_over, "owner", b"x", 60)
        wait_for(lambda: owner.bus.stats().received == 2)
        begun = [pool.submit(node.hand_over, "owner", b"x", 60) for _ in range(8)]
        wait_for(lambda: node.bus.stats().published == 1)
        lets_go.set()
        assert {future.result() for future in [occupied, *begun]} == {b"True"}
    assert node.bus.stats().published < 16
    assert node._letters._searches == {}


def test_too_large_a_letter_is_refused(make_node):
    """At the call, with the limit."""
    make_node("owner", lambda body: b"")
    node = make_node()
    assert node.hand_over("owner", bytes(MAX_LETTER_BYTES), 60) == b""
    with pytest.raises(ValueError, match=str(MAX_LETTER_BYTES)):
        node.hand_over("owner", bytes(MAX_LETTER_BYTES + 1), 60)


@pytest.mark.parametrize(
    ("size", "most"), [(1, 64), (2**20, 8), (3 * 2**20, 2)], ids=["number", "bytes", "large"]
)
def test_what_is_under_way_at_once_is_bounded(make_node, size, most):
    """One more is not waited for; when all are answered there is room again."""
    is_taken, lets_go = threading.Event(), threading.Event()

    def take(body):
        is_taken.set()
        lets_go.wait(60)
        return b"taken"

    make_node("owner", take)
    node = make_node()
    with concurrent.futures.ThreadPoolExecutor(most) as pool:
        begun = [pool.submit(node.hand_over, "owner", bytes(size), 60) for _ in range(most)]
        wait_for(lambda: len(node._letters._under_way) == most)
        assert node.hand_over("owner", bytes(size), 1000) is None
        lets_go.set()
        assert [future.result() for future in begun] == [b"taken"] * most
    assert node.hand_over("owner", bytes(size), 60) == b"taken"
    assert (node._letters._under_way, node._letters._under_way_bytes) == ({}, 0)


def test_a_letter_goes_alone_where_the_queue_is_small(make_node):
    """However small; it is not more than the bus lets a process have waiting."""
    make_node("owner", lambda body: b"taken")
    assert make_node(max_queue_bytes=1000).hand_over("owner", bytes(10_000), 60) == b"taken"


def test_nothing_is_kept_of_what_was_not_answered(make_node):
    """The answer that comes later is thrown away."""
    lets_go = threading.Event()
    owner = make_node("owner", lambda body: b"late" if lets_go.wait(60) else b"")
    node = make_node()
    assert node.hand_over("owner", b"x", 0.05) is None
    assert (node._letters._under_way, node._letters._under_way_bytes) == ({}, 0)
    lets_go.set()
    wait_for(lambda: owner.bus.is_idle and node.bus.is_idle)
    assert node.hand_over("owner", b"x", 60) == b"late"
    assert node.bus.stats().malformed == 0


@pytest.mark.parametrize("answer", [bytes(MAX_REPLY_BYTES + 1), None], ids=["large", "malformed"])
def test_what_is_not_answered_well_is_not_answered(make_node, answer):
    """And counted; the process goes on."""

    def take(body):
        if body == b"good":
            return bytes(MAX_REPLY_BYTES)
        if answer is None:
            raise Malformed("it makes no sense")
        return answer

    owner = make_node("owner", take)
    node = make_node()
    assert node.hand_over("owner", b"bad", 0.05) is None
    wait_for(lambda: owner.bus.stats().malformed == 1)
    assert node.hand_over("owner", b"good", 60) == bytes(MAX_REPLY_BYTES)


HEAD = struct.pack("!QB", 1, 0)


@pytest.mark.parametrize("kind", [Kind.LETTER, Kind.REPLY, Kind.SEARCH])
@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("own", b""),
        ("own", HEAD[:-1]),
        ("own", struct.pack("!QB", 1, 2) + b"x"),
        ("own", struct.pack("!QB", 1, 2) + b"\xff\xff"),
        ("", HEAD + b"x"),
    ],
    ids=["empty", "head", "address", "ascii", "topic"],
)
def test_what_makes_no_sense_is_refused_and_counted(make_node, network, kind, topic, body):
    """And the process goes on."""
    taken = []
    node = make_node("owner", lambda body: taken.append(body) or b"")
    say = stranger_to(node, network, make_node)
    say(kind, topic, body)
    wait_for(lambda: node.bus.stats().malformed == 1)
    assert taken == []
    assert make_node().hand_over("owner", b"still there?", 60) == b""


@pytest.mark.parametrize(
    ("kind", "size"), [(Kind.LETTER, MAX_LETTER_BYTES + 1), (Kind.REPLY, MAX_REPLY_BYTES + 1)]
)
def test_what_is_too_large_is_refused_by_whom_it_comes_to(make_node, network, kind, size):
    """Whatever its sender keeps to."""
    node = make_node("owner", lambda body: b"")
    say = stranger_to(node, network, make_node)
    say(kind, "own", HEAD + bytes(size))
    wait_for(lambda: node.bus.stats().malformed == 1)


def stranger_to(node, network, make_node):
    """What says anything to a node that has written a letter itself."""
    make_node("other", lambda body: b"")
    assert node.hand_over("other", b"x", 60) == b""
    stranger = MemoryBus(network)

    def say(kind, topic, body):
        if topic == "own":
            is_reply = kind is Kind.REPLY
            topic = node._letters._replies_topic if is_reply else node._letters._topic
        stranger.send(topic, encode(kind, stranger.sender, topic, body))

    return say
