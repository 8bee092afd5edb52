"""One order for all members of a logged topic, whatever becomes of what the bus carries."""

import itertools

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flask_wshandler.collections.feed import Feed
from flask_wshandler.collections.history import History
from flask_wshandler.collections.history_stats import FeedCounts
from flask_wshandler.collections.ordering import Arrival
from flask_wshandler.handlers.member import Member
from flask_wshandler.history.log import NOBODY, Bounds, Draft, LogUnavailable
from flask_wshandler.history.memory_log import MemoryLog
from flask_wshandler.history.stream import key_of, place_text

TOPIC = "c:chat"


class Client:
    """What a member's messages come to, and what a client of `client.js` knows."""

    def __init__(self, places=None, former_id=None):
        self.came = []
        self.gaps = []
        self.places = dict(places or {})
        self.former_id = former_id
        self.place = None

    @property
    def positions(self):
        return self

    def take_place(self, stream):
        return self.places.pop(stream, None)

    def tell_place(self, place):
        self.place = place

    def tell_gap(self, place):
        self.gaps.append(place)
        self.came.append(None)
        self.place = place

    def deliver(self, message):
        self.came.append(message.payload.decode())
        if message.place is not None:
            self.place = message.place
        return True

    def deliver_all(self, messages):
        for message in messages:
            self.deliver(message)

    def close(self, code=1000, reason=""):
        raise AssertionError(code)

    def give_up(self, fault):
        raise fault


class Switch:
    """A log that can be out of order, and replaced by an empty one."""

    carries = False

    def __init__(self, is_at_hand):
        self.is_at_hand = is_at_hand
        self.log = MemoryLog()
        self.is_down = False

    def __getattr__(self, name):
        if self.is_down:
            raise LogUnavailable("out of order")
        return getattr(self.log, name)


class Process:
    """A feed, and the thread that repairs it if the log is not at hand."""

    def __init__(self, log, history):
        self.to_repair = []
        self.counts = FeedCounts()
        self.feed = Feed(TOPIC, history, log, self.counts, self.to_repair.append)
        self.doorbells = []
        self.members = []

    def join(self, client, name):
        member = Member(name, client)
        self.members.append((member, client))
        self.feed.expect(member)
        self.feed.opened(member)
        return member

    def repair(self):
        while self.to_repair:
            self.to_repair.pop(0).repair()


class OneOrder(RuleBasedStateMachine):
    """Some processes broadcast, and the bus loses, doubles and swaps what it carries."""

    @initialize(
        is_at_hand=st.booleans(), replay=st.integers(0, 5), count=st.sampled_from([6, 1000])
    )
    def begin(self, is_at_hand, replay, count):
        self.log = Switch(is_at_hand)
        self.history = History(Bounds(count, 3600.0), min(replay, count))
        self.processes = [Process(self.log, self.history) for _ in range(3)]
        self.names = itertools.count()
        self.said = []
        self.begun = {}

    @rule(index=st.integers(0, 2), is_killed=st.booleans())
    def broadcast(self, index, is_killed):
        """By a process that may be killed before it has told anybody."""
        text = f"m{len(self.said)}"
        draft = Draft(True, text.encode())
        arrival = Arrival(self.log.append(TOPIC, draft, self.history.bounds), draft)
        self.said.append(text)
        if is_killed:
            return
        for number, process in enumerate(self.processes):
            if number == index:
                process.feed.arrived([arrival])
            else:
                process.doorbells.append(arrival)

    @rule(data=st.data(), index=st.integers(0, 2), is_doubled=st.booleans())
    def ring(self, data, index, is_doubled):
        process = self.processes[index]
        if process.doorbells:
            number = data.draw(st.integers(0, len(process.doorbells) - 1))
            arrival = process.doorbells.pop(number)
            process.feed.arrived([arrival, arrival] if is_doubled else [arrival])

    @rule(data=st.data(), index=st.integers(0, 2))
    def lose_doorbell(self, data, index):
        doorbells = self.processes[index].doorbells
        if doorbells:
            doorbells.pop(data.draw(st.integers(0, len(doorbells) - 1)))

    @rule(index=st.integers(0, 2))
    def repair(self, index):
        self.processes[index].repair()

    @rule(index=st.integers(0, 2))
    def join(self, index):
        client = Client()
        self.processes[index].join(client, f"id{next(self.names)}")
        self.begun[client] = self.processes[index].feed.position.number

    @precondition(lambda self: any(process.members for process in self.processes))
    @rule(data=st.data(), index=st.integers(0, 2))
    def move(self, data, index):
        """A client loses its handler, and comes to a new one with its place."""
        process = data.draw(st.sampled_from([each for each in self.processes if each.members]))
        member, client = process.members.pop(data.draw(st.integers(0, len(process.members) - 1)))
        process.feed.discard(member)
        if client.place is not None:
            stream, _, place = client.place.partition(".")
            client.places = {stream: place}
        self.processes[index].join(client, f"id{next(self.names)}")

    @invariant()
    def each_has_a_part_of_one_order(self):
        """Nothing twice, nothing swapped, and nothing left out without a gap."""
        for process in getattr(self, "processes", ()):
            for _, client in process.members:
                self.check(client)

    def check(self, client):
        numbers = [None if text is None else self.said.index(text) for text in client.came]
        for before, after in itertools.pairwise(numbers):
            if before is not None and after is not None:
                assert after == before + 1, client.came
        known = [number for number in numbers if number is not None]
        assert known == sorted(set(known)), client.came

    def teardown(self):
        """When all has been compared, each has all since it has joined."""
        for process in getattr(self, "processes", ()):
            process.feed.compare(self.log.last_of([TOPIC])[TOPIC])
            process.repair()
            process.feed.compare(self.log.last_of([TOPIC])[TOPIC])
            process.repair()
            for _, client in process.members:
                self.check(client)
                after = self.said[self.begun[client] :]
                assert None in client.came or client.came[len(client.came) - len(after) :] == after


TestOneOrder = OneOrder.TestCase
TestOneOrder.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture
def log():
    return Switch(is_at_hand=True)


HISTORY = History(Bounds(100, 3600.0), 3)


def said(log, *texts, excluded=NOBODY, history=HISTORY):
    drafts = [Draft(True, text.encode(), excluded) for text in texts]
    return [Arrival(log.append(TOPIC, draft, history.bounds), draft) for draft in drafts]


def test_who_joins_gets_the_last_ones_first(log):
    """`replay` of them, and what comes while it gets them."""
    process = Process(log, HISTORY)
    process.feed.arrived(said(log, *"abcde"))
    member, client = Member("one", Client()), None
    client = member.receiver
    process.feed.expect(member)
    process.feed.arrived(said(log, "f"))
    process.feed.opened(member)
    process.feed.arrived(said(log, "g"))
    assert client.came == [*"cdefg"]


def test_who_was_not_meant_is_not_when_it_comes_back_either(log):
    """`exclude` holds for the handler that follows one that was killed."""
    process = Process(log, HISTORY)
    client = Client()
    process.join(client, "one")
    process.feed.arrived(said(log, "a"))
    said(log, "mine", excluded=key_of("one"))
    said(log, "b")
    stream, _, place = client.place.partition(".")
    back = Client({stream: place}, former_id="one")
    Process(log, HISTORY).join(back, "two")
    assert (client.came, back.came, back.gaps) == (["a"], ["b"], [])


def test_a_log_that_was_lost_is_followed_by_the_new_one(log):
    """Members get all that is in it; who comes back is told of a gap, and gets all of it."""
    process = Process(log, HISTORY)
    client = Client()
    process.join(client, "one")
    process.feed.arrived(said(log, "a", "b"))
    place = client.place
    late = said(log, "c")
    log.log = MemoryLog()
    fresh = said(log, "d", "e")
    process.feed.arrived(fresh[1:])
    process.feed.arrived(late)
    assert client.came == ["a", "b", "d", "e", "c"]
    back = Client(dict([place.split(".", 1)]))
    process.join(back, "two")
    assert back.came == [None, "d", "e"]
    assert client.gaps == []


@pytest.mark.parametrize("is_at_hand", [True, False])
def test_what_comes_of_a_new_log_that_can_not_be_read_yet_comes_once(is_at_hand):
    """Also what is read of it as soon as it can be."""
    log = Switch(is_at_hand)
    process = Process(log, HISTORY)
    client = Client()
    process.join(client, "one")
    process.feed.arrived(said(log, "a"))
    log.log = MemoryLog()
    _, *fresh = said(log, *"bcd")
    log.is_down = True
    process.feed.arrived(fresh)
    process.repair()
    log.is_down = False
    process.feed.arrived(said(log, "e"))
    process.feed.compare(log.last_of([TOPIC])[TOPIC])
    process.repair()
    assert client.came == ["a", None, "c", "d", "e"]


def test_what_was_trimmed_is_a_gap(log):
    """A process that was stopped for long finds less in the log than it lacks."""
    history = History(Bounds(3, 3600.0), 0)
    process = Process(log, history)
    client = Client()
    process.join(client, "one")
    process.feed.arrived(said(log, "a", history=history))
    place = client.place
    last = said(log, *"bcdefg", history=history)[-1]
    process.feed.arrived([last])
    assert client.came == ["a", None, "e", "f", "g"]
    assert (process.counts.repairs, process.counts.gaps) == (1, 1)
    back = Client(dict([place.split(".", 1)]))
    process.join(back, "two")
    assert back.came == [None, "e", "f", "g"]


class Meanwhile:
    """A log in which something happens when a page of it was read."""

    carries = False
    is_at_hand = True

    def __init__(self, happen):
        self.log = MemoryLog()
        self._happen = happen

    def __getattr__(self, name):
        return getattr(self.log, name)

    def read(self, topic, after, most=2):
        page = self.log.read(topic, after, most)
        happen, self._happen = self._happen, lambda _: None
        happen(self)
        return page


def test_what_is_trimmed_while_a_member_catches_up_is_a_gap():
    """The pages that it has not got yet may be gone."""
    history = History(Bounds(6, 3600.0), 0)
    log = Meanwhile(lambda log: said(log, *"hijk", history=history))
    arrivals = said(log, *"abcdef", history=history)
    process = Process(log, history)
    process.join(Client(), "one")
    back = Client({process.feed.stream: place_text(arrivals[0].position)})
    process.join(back, "two")
    assert back.came == ["b", "c", None, "e", "f"]
    assert back.gaps == [f"{process.feed.stream}.{place_text(arrivals[3].position)}"]


def test_a_log_that_is_lost_while_a_member_catches_up_is_a_gap():
    """It has got a page of it, and nothing says what else was in it."""

    def lose(log):
        log.log = MemoryLog()

    log = Meanwhile(lose)
    arrivals = said(log, *"abcdef")
    process = Process(log, HISTORY)
    process.join(Client(), "one")
    back = Client({process.feed.stream: place_text(arrivals[0].position)})
    process.join(back, "two")
    assert back.came == ["b", "c", None]


def test_a_rise_of_the_generation_is_a_gap_for_whoever_was_away(log):
    """Something went out without a number; who was there has got it."""
    process = Process(log, HISTORY)
    client = Client()
    process.join(client, "one")
    process.feed.arrived(said(log, "a"))
    place = client.place
    draft = Draft(True, b"b")
    process.feed.arrived([Arrival(log.append(TOPIC, draft, HISTORY.bounds, after_gap=True), draft)])
    back = Client(dict([place.split(".", 1)]))
    process.join(back, "two")
    assert (client.came, back.came) == (["a", "b"], [None, "b"])


def test_a_rise_of_the_generation_is_a_gap_for_whoever_had_come_back_before(log):
    """What went out without a number, while it was away, nobody knew of when it came back."""
    process = Process(log, HISTORY)
    there = Client()
    process.join(there, "one")
    process.feed.arrived(said(log, "a"))
    back = Client(dict([there.place.split(".", 1)]))
    process.join(back, "two")
    for text in "bc":
        draft = Draft(True, text.encode())
        position = log.append(TOPIC, draft, HISTORY.bounds, after_gap=text == "b")
        process.feed.arrived([Arrival(position, draft)])
    assert (there.came, back.came) == (["a", "b", "c"], [None, "b", "c"])


@pytest.mark.parametrize("is_at_hand", [True, False])
def test_a_log_that_is_out_of_order_holds_nobody_up(is_at_hand):
    """What comes is given on; what is missing before it is a gap."""
    log = Switch(is_at_hand)
    process = Process(log, HISTORY)
    client = Client()
    process.join(client, "one")
    first, _, third, fourth = said(log, *"abcd")
    process.feed.arrived([first])
    log.is_down = True
    process.feed.arrived([third])
    process.repair()
    process.feed.arrived([fourth])
    joined = Client({process.feed.stream: "0" * 12 + ".0.0"})
    process.join(joined, "two")
    assert client.came == ["a", None, "c", "d"]
    assert joined.came == [None]


def test_a_place_that_makes_no_sense_is_a_gap(log):
    """Whatever a client says, it gets what is there."""
    process = Process(log, HISTORY)
    process.feed.arrived(said(log, *"abcd"))
    for place in ("0.0", "f" * 12 + ".0.9", "f" * 12 + ".99999999999.1"):
        client = Client({process.feed.stream: place})
        process.join(client, place)
        assert client.came[:1] == [None], place
