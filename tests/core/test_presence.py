"""The account of members, on a bus in memory that loses what a test wants it to lose."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_wshandler.bus import Kind, Malformed
from flask_wshandler.collections.account import Account
from flask_wshandler.collections.presence import checked_metadata
from flask_wshandler.collections.presence_messages import (
    AnswerPart,
    Beat,
    Change,
    End,
    Question,
    decode,
    encode,
)

from .rig import ManualClock

LEASE_S = 6.0
ANSWER_S = 1.0


class Network:
    """Accounts of several processes; envelopes arrive when `carry` is called."""

    def __init__(self):
        self.clock = ManualClock()
        self.ports = {}
        self.loses = lambda sender, receiver: False
        self.is_up = True
        #: Who has asked to be woken soon.
        self.waiting = set()

    def process(self, name):
        port = self.ports[name] = Port(self, name)
        return port

    def carry(self):
        """Deliver everything that is under way, and what that brings about."""
        while any(port.sent for port in self.ports.values()):
            for name, port in list(self.ports.items()):
                sent, port.sent = port.sent, []
                for body in sent:
                    for other_name, other in list(self.ports.items()):
                        if other_name != name and not self.loses(name, other_name):
                            other.account.receive(body)

    def finish(self):
        """Let pass as little time as it takes until nobody has anything to add."""
        self.carry()
        while self.waiting:
            waiting, self.waiting = self.waiting, set()
            self.clock.advance(0.1)
            for name in waiting & self.ports.keys():
                self.ports[name].account.on_time()
            self.carry()

    def pass_time(self, seconds):
        """A third of a lease at a time, as the timer would."""
        passed_s = 0.0
        while passed_s < seconds:
            self.clock.advance(LEASE_S / 3)
            passed_s += LEASE_S / 3
            for port in list(self.ports.values()):
                port.account.on_time()
            self.carry()


class Port:
    """One process."""

    def __init__(self, network, name):
        self.network = network
        self.sent = []
        self.news = []
        self.updates = []
        self.account = Account(
            name,
            self,
            network.clock,
            LEASE_S,
            lambda *news: self.news.append(news),
            lambda *update: self.updates.append(update),
            lambda seconds: network.waiting.add(name),
        )
        self.account.begin()
        network.carry()

    @property
    def is_up(self):
        return self.network.is_up

    def publish(self, kind, topic, body):
        assert (kind, topic) == (Kind.PRESENCE, "")
        self.sent.append(body)

    def peer_count(self):
        return len(self.network.ports) - 1

    def ids(self, topic="t"):
        # No waiting: who asks for the first time is answered when the network carries it.
        self.account.members(topic, 0)
        self.network.carry()
        return sorted(member.connection_id for member in self.account.members(topic, 0))

    def kill(self):
        del self.network.ports[self.account.process]


@pytest.fixture
def network():
    return Network()


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (Beat("p", 7, follows=True, asks=False), '["b","p",7,true,false]'),
        (Question("p", ["t", "ä"]), '["a","p",["t","ä"]]'),
        (AnswerPart("p", 7, "t", 0, 1, [("1", {"n": 1})]), '["m","p",7,"t",0,1,[["1",{"n":1}]]]'),
        (Change("p", 7, "t", [("1", {})], ["2"]), '["c","p",7,"t",[["1",{}]],["2"]]'),
        (End("p"), '["x","p"]'),
    ],
)
def test_what_is_said_is_the_same_in_all_releases(message, body):
    """For a while processes of two run side by side."""
    assert encode(message) == body.encode()
    assert decode(body.encode()) == message


def test_members_of_other_processes(network):
    """Before and after the first question; with what they brought."""
    alice, bob = network.process("alice"), network.process("bob")
    alice.account.joined("t", "a1", {"name": "Ada"})
    assert bob.ids() == ["a1"]
    alice.account.joined("t", "a2", {})
    bob.account.joined("t", "b1", {})
    network.carry()
    assert alice.ids() == bob.ids() == ["a1", "a2", "b1"]
    (ada,) = [each for each in bob.account.members("t", 0) if each.connection_id == "a1"]
    assert ada == ("alice", "a1", {"name": "Ada"})
    alice.account.left("t", "a1")
    network.carry()
    assert bob.ids() == ["a2", "b1"]


def test_a_newcomer_learns_and_is_learned_of(network):
    """Both ways, also when the others followed long before."""
    alice = network.process("alice")
    alice.account.joined("t", "a1", {})
    assert alice.ids() == ["a1"]
    bob = network.process("bob")
    bob.account.joined("t", "b1", {})
    network.carry()
    assert alice.ids() == ["a1", "b1"]
    assert bob.ids() == ["a1", "b1"]


def test_many_members_come_in_parts(network):
    """More than one message takes."""
    alice, bob = network.process("alice"), network.process("bob")
    for number in range(1001):
        alice.account.joined("t", f"{number:04}", {})
    assert len(bob.ids()) == 1001


def test_changed_metadata_is_told_everywhere(network):
    """As an update, and as nothing else; what has not changed is not told."""
    alice, bob = network.process("alice"), network.process("bob")
    alice.account.joined("t", "a1", {"name": "Ada", "tags": [1]})
    for each in (alice, bob):
        each.account.follow("t")
    network.carry()
    for each in (alice, bob):
        each.news.clear()
    assert alice.account.updated("t", "a1", {"name": "Ida"})
    assert alice.account.updated("t", "a1", {"tags": [1]})
    assert not alice.account.updated("t", "b1", {"name": "Bob"})
    assert not alice.account.updated("u", "a1", {"name": "Bob"})
    network.carry()
    told = [("t", [("alice", "a1", {"name": "Ida", "tags": [1]})])]
    assert alice.updates == bob.updates == told
    assert alice.news == bob.news == []
    (seen,) = bob.account.members("t", 0)
    assert seen.metadata == {"name": "Ida", "tags": [1]}


def test_a_lost_update_is_told_later(network):
    """Once, whatever else was asked anew."""
    alice, bob = network.process("alice"), network.process("bob")
    alice.account.joined("t", "a1", {"n": 1})
    alice.account.joined("t", "a2", {})
    bob.account.follow("t")
    network.carry()
    bob.news.clear()
    network.loses = lambda sender, receiver: True
    alice.account.updated("t", "a1", {"n": 2})
    network.carry()
    network.loses = lambda sender, receiver: False
    network.pass_time(LEASE_S)
    assert bob.updates == [("t", [("alice", "a1", {"n": 2})])]
    assert bob.news == []


def test_an_update_has_the_limit_of_metadata(network):
    """For all of it together; what it was stays."""
    alice = network.process("alice")
    alice.account.joined("t", "a1", {"a": "x" * 3000})
    with pytest.raises(ValueError, match="at most 4096"):
        alice.account.updated("t", "a1", {"b": "x" * 3000})
    assert alice.account.members("t", 0)[0].metadata == {"a": "x" * 3000}


LARGEST_MESSAGE = 80_000
LARGEST_BURST = 700_000


def sizes(sent):
    return [len(body) for body in sent]


def test_much_metadata_leaves_little_by_little(network):
    """Else it would fill the queues of others, and what does not fit there is lost."""
    alice, bob = network.process("alice"), network.process("bob")
    for number in range(1000):
        alice.account.joined("t", f"{number:04}", {"n": number, "x": "x" * 4000})
    network.carry()
    bob.account.members("t", 0)
    [question], bob.sent = bob.sent, []
    alice.account.receive(question)
    assert max(sizes(alice.sent)) < LARGEST_MESSAGE
    assert sum(sizes(alice.sent)) < LARGEST_BURST
    # What happens amid the answer is told once, too.
    network.carry()
    alice.account.left("t", "0001")  # was told already
    alice.account.left("t", "0999")  # was not
    alice.account.updated("t", "0002", {"n": -2})
    alice.account.updated("t", "0998", {"n": -998})
    alice.account.joined("t", "new", {"n": 0})
    assert bob.account.members("t", 0) == []
    network.finish()
    seen = {each.connection_id: each.metadata["n"] for each in bob.account.members("t", 0)}
    expected = {f"{number:04}": number for number in range(1000)} | {"new": 0}
    expected |= {"0002": -2, "0998": -998}
    del expected["0001"], expected["0999"]
    assert seen == expected


def test_two_who_ask_one_after_the_other_get_it_all(network):
    """The second amid the answer to the first."""
    alice, bob = network.process("alice"), network.process("bob")
    for number in range(1000):
        alice.account.joined("t", f"{number:04}", {"x": "x" * 4000})
    bob.account.members("t", 0)
    network.carry()
    carol = network.process("carol")
    carol.account.members("t", 0)
    network.finish()
    assert bob.account.count("t", 0) == carol.account.count("t", 0) == 1000


@pytest.mark.parametrize("lost", ["first", "middle", "last"])
def test_a_lost_part_of_an_answer_is_asked_for_again(network, lost):
    """With the next beats."""
    alice, bob = network.process("alice"), network.process("bob")
    for number in range(500):
        alice.account.joined("t", f"{number:04}", {})
    network.carry()
    bob.account.members("t", 0)
    [question], bob.sent = bob.sent, []
    alice.account.receive(question)
    parts = alice.sent
    assert len(parts) == 3
    del parts[{"first": 0, "middle": 1, "last": 2}[lost]]
    network.carry()
    assert bob.account.count("t", 0) == 0
    network.pass_time(LEASE_S)
    assert bob.account.count("t", 0) == 500


def test_questions_are_bounded_and_the_heartbeat_goes_on(network):
    """Of names that are 40 MB together, for which no envelope has room."""
    alice = network.process("alice")
    for number in range(5000):
        alice.account.follow(f"{number:08000}")
    alice.sent.clear()
    bob = network.process("bob")
    network.pass_time(LEASE_S / 3)
    for _ in range(5):
        network.clock.advance(0.1)
        alice.account.on_time()
        assert 0 < max(sizes(alice.sent)) < LARGEST_MESSAGE
        assert sum(sizes(alice.sent)) < LARGEST_BURST
        alice.sent.clear()
    for number in range(5000):
        alice.account.unfollow(f"{number:08000}")
    network.pass_time(3 * LEASE_S)
    assert "alice" in bob.account._peers


def test_nothing_is_told_while_nobody_follows(network):
    """Who uses no presence pays for none."""
    alice = network.process("alice")
    network.process("bob")
    alice.account.joined("t", "a1", {})
    assert alice.sent == []


def test_the_silent_are_gone_after_a_lease(network):
    """And the watchers are told."""
    alice, bob = network.process("alice"), network.process("bob")
    alice.account.joined("t", "a1", {"x": 1})
    assert bob.ids() == ["a1"]
    alice.kill()
    network.pass_time(LEASE_S / 3)
    assert bob.ids() == ["a1"]
    network.pass_time(LEASE_S)
    assert bob.ids() == []
    assert bob.news[-1] == ("t", [], [("alice", "a1", {"x": 1})])


def test_who_ends_is_gone_at_once(network):
    """It says so."""
    alice, bob = network.process("alice"), network.process("bob")
    alice.account.joined("t", "a1", {})
    assert bob.ids() == ["a1"]
    alice.account.end()
    network.carry()
    assert bob.ids() == []


@pytest.mark.parametrize("lost", ["join", "leave"])
def test_a_lost_change_is_noticed(network, lost):
    """By the count in the next beat."""
    alice, bob = network.process("alice"), network.process("bob")
    alice.account.joined("t", "a1", {})
    assert bob.ids() == ["a1"]
    network.loses = lambda sender, receiver: True
    if lost == "join":
        alice.account.joined("t", "a2", {})
    else:
        alice.account.left("t", "a1")
    network.carry()
    network.loses = lambda sender, receiver: False
    assert bob.ids() == ["a1"]
    network.pass_time(LEASE_S / 3)
    assert bob.ids() == (["a1", "a2"] if lost == "join" else [])


def test_a_process_that_slept_does_not_take_the_others_for_dead(network):
    """What they said meanwhile is still unread."""
    alice, bob = network.process("alice"), network.process("bob")
    alice.account.joined("t", "a1", {})
    assert bob.ids() == ["a1"]
    network.clock.advance(10 * LEASE_S)
    bob.account.on_time()
    assert bob.ids() == ["a1"]


def test_watchers_hear_of_everybody_once(network):
    """Of this process and others."""
    alice, bob = network.process("alice"), network.process("bob")
    bob.account.joined("t", "b0", {})
    alice.account.follow("t")
    network.carry()
    alice.account.joined("t", "a1", {})
    bob.account.joined("t", "b1", {})
    network.carry()
    network.pass_time(3 * LEASE_S)
    alice.account.left("t", "a1")
    assert alice.news == [
        ("t", [("bob", "b0", {})], []),
        ("t", [("alice", "a1", {})], []),
        ("t", [("bob", "b1", {})], []),
        ("t", [], [("alice", "a1", {})]),
    ]


def test_what_nobody_asks_for_is_forgotten(network):
    """After a minute; a later question is a first one."""
    alice, bob = network.process("alice"), network.process("bob")
    assert bob.ids() == []
    network.pass_time(70)
    alice.account.joined("t", "a1", {})
    assert alice.sent == []
    assert bob.ids() == ["a1"]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "ask", "kill", "end", "start", "time", "lose", "find"]),
        st.integers(0, 3),
        st.sampled_from(["t", "u"]),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_is_right_after_anything(actions):
    """Once two leases have passed without loss, whatever was before."""
    network = Network()
    names = iter(range(1000))
    members = {}
    lost = set()
    network.loses = lambda sender, receiver: (sender, receiver) in lost

    def start():
        name = f"p{next(names)}"
        network.process(name)
        members[name] = {"t": [], "u": []}

    start()
    for action, number, topic in actions:
        running = sorted(network.ports)
        name = running[number % len(running)] if running else None
        if action == "start" and len(running) < 4:
            start()
        elif action == "time":
            network.pass_time(LEASE_S / 3)
        elif action == "find":
            lost.clear()
        elif name is None:
            continue
        elif action == "join":
            connection_id = f"c{next(names)}"
            members[name][topic].append(connection_id)
            network.ports[name].account.joined(topic, connection_id, {})
        elif action == "leave" and members[name][topic]:
            network.ports[name].account.left(topic, members[name][topic].pop())
        elif action == "ask":
            network.ports[name].ids(topic)
        elif action == "lose":
            lost.add((name, running[(number + 1) % len(running)]))
        elif action in ("kill", "end"):
            if action == "end":
                network.ports[name].account.end()
                network.carry()
            network.ports[name].kill()
            del members[name]
        if action != "join":
            network.carry()
    lost.clear()
    network.carry()
    network.pass_time(2 * LEASE_S)
    for topic in ("t", "u"):
        expected = sorted(each for own in members.values() for each in own[topic])
        for port in network.ports.values():
            assert port.ids(topic) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b'["b"]',
        b'["?","p"]',
        b'["b","p"]',
        b'["b","p","many",true,true]',
        b'["b",1,1,true,true]',
        b'["m","p",1,"t",0,1,[["id",7]]]',
        b'["m","p",1,"t",0,1,[7]]',
        b'["m","p",1,"t","x",1,[]]',
        b'["c","p",99,"t",7,[]]',
        b'["a","p",[[]]]',
        b"[" * 100_000,
    ],
)
def test_nonsense_is_malformed(network, body):
    """It is refused with a reason, and changes nothing."""
    alice, bob = network.process("alice"), network.process("bob")
    bob.account.joined("t", "b1", {})
    assert alice.ids() == ["b1"]
    if body.startswith((b'["c"', b'["m"')):
        alice.account.receive(b'["b","p",98,false,false]')
        alice.account.receive(b'["m","p",98,"t",0,1,[]]')
    with pytest.raises(Malformed):
        alice.account.receive(body)
    assert alice.ids() == ["b1"]


def test_metadata_is_what_json_brings_to_others():
    """Tuples are lists everywhere, not only elsewhere."""
    assert checked_metadata({"a": (1, "ä")}) == {"a": [1, "ä"]}
    assert checked_metadata({}) == {}


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"a": object()}, TypeError),
        ({"a": float("nan")}, ValueError),
        ({"a": "x" * 4096}, ValueError),
    ],
)
def test_metadata_is_checked(metadata, error):
    """At `add`, with the limit."""
    with pytest.raises(error):
        checked_metadata(metadata)
    assert json.dumps({"a": "x" * 4000})
