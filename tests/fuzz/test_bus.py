"""What comes from a bus is data of strangers: refused with a reason, or taken; nothing else."""

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_wshandler import WebSocketHandler
from flask_wshandler.bus import Kind, Malformed
from flask_wshandler.bus.base import Bus
from flask_wshandler.bus.envelope import Envelope, decode, encode
from flask_wshandler.collections.account import Account
from flask_wshandler.collections.registry import CollectionRegistry
from flask_wshandler.handlers.handler import open_handler
from tests.core.rig import ManualClock

from .drive import Driver

SENDER = b"stranger"
TOPICS = st.sampled_from(["", "t", "c:chat", "ä", "\0", "x" * 1000])


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_malformed(data):
    """And an envelope is what its bytes say."""
    try:
        envelope = decode(data)
    except Malformed as fault:
        assert str(fault)
    else:
        assert encode(envelope.kind, envelope.sender, envelope.topic, envelope.body) == data


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.sampled_from(Kind), TOPICS, st.binary(max_size=200), st.integers(0, 30), st.binary())
def test_a_changed_envelope_is_one_or_malformed(kind, topic, body, position, noise):
    """Cut off, or with a few bytes replaced."""
    data = encode(kind, SENDER, topic, body)
    assert decode(data) == Envelope(kind, SENDER, topic, body)
    for changed in (data[:position], data[:position] + noise + data[position + len(noise) :]):
        try:
            decode(changed)
        except Malformed as fault:
            assert str(fault)


# Accounts of members.

NAMES = st.sampled_from(["p", "q", "", "\ud800", "us", "x" * 300])
INTEGERS = st.one_of(
    st.integers(-3, 5), st.sampled_from([2**31, 2**64, -(2**63), 10**400]), st.booleans()
)
JSON = st.recursive(
    st.one_of(st.none(), INTEGERS, st.floats(), st.text(max_size=5), NAMES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
TOPIC = st.one_of(st.sampled_from(["t", "u", "\udfff"]), JSON)
MEMBERS = st.one_of(
    st.lists(
        st.tuples(st.sampled_from(["1", "2", "3"]), st.dictionaries(st.text(), JSON)), max_size=3
    ),
    JSON,
)
WAITS = [timedelta(seconds=1), timedelta(seconds=10)]  # and no float, which a message may be
MESSAGES = st.one_of(
    st.tuples(st.just("b"), NAMES, INTEGERS, st.booleans(), st.booleans()),
    st.tuples(st.just("a"), NAMES, st.one_of(st.lists(TOPIC, max_size=3), JSON)),
    st.tuples(st.just("m"), NAMES, INTEGERS, TOPIC, INTEGERS, INTEGERS, MEMBERS),
    st.tuples(st.just("c"), NAMES, INTEGERS, TOPIC, MEMBERS, st.one_of(st.lists(TOPIC), JSON)),
    st.tuples(st.just("x"), NAMES),
    st.lists(JSON, max_size=8),
    JSON,
)


class Port:
    """Takes what an account publishes, which must be JSON."""

    is_up = True

    def publish(self, kind, topic, body):
        assert (kind, topic) == (Kind.PRESENCE, "")
        json.loads(body)

    def peer_count(self):
        return 0


def new_account(news):
    clock = ManualClock()
    account = Account("us", Port(), clock, 6.0, lambda *change: news.append(change))
    account.begin()
    account.joined("t", "own", {"name": "Ada"})
    account.follow("t")
    account.follow("u")
    return account, clock


@settings(derandomize=True, max_examples=250, deadline=None)
@given(st.lists(st.one_of(MESSAGES, st.sampled_from(WAITS)), max_size=12))
def test_an_account_takes_any_message_or_refuses_it(messages):
    """It goes on living, keeps its own members, and its news are changes."""
    news = []
    account, clock = new_account(news)
    for message in messages:
        if isinstance(message, timedelta):
            clock.advance(message.total_seconds())
            assert account.on_time() > 0
            continue
        try:
            account.receive(json.dumps(message).encode("utf-8", "surrogatepass"))
        except Malformed as fault:
            assert str(fault)
    members = account.members("t", 0)
    assert ("us", "own", {"name": "Ada"}) in members
    for topic, joined, left in news:
        assert topic in ("t", "u")
        assert joined or left
    # In steps that are shorter than the lease: after a longer one it would think that it had been
    # stopped itself, and that the others had been heard of meanwhile.
    for _ in range(10):
        clock.advance(2.0)
        account.on_time()
    assert [member.process for member in account.members("t", 0)] == ["us"]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.binary(max_size=100))
def test_an_account_takes_no_other_bytes(data):
    """Only JSON lists of its own kind."""
    account, _ = new_account([])
    try:
        account.receive(data)
    except Malformed as fault:
        assert str(fault)


@pytest.mark.parametrize("depth", [10, 100, 500, 900, 930, 960, 980, 990, 1000, 5000])
def test_metadata_of_any_depth(depth):
    """Told twice, so that it is compared."""
    account, _ = new_account([])
    metadata = '{"a":' * depth + "1" + "}" * depth
    message = f'["m","p",1,"t",0,1,[["id",{metadata}]]]'.encode()
    for _ in range(2):
        try:
            account.receive(message)
        except Malformed as fault:
            assert str(fault)


# The registry.


class StrangersBus(Bus):
    """Carries nothing; a test says what comes."""

    def __init__(self):
        super().__init__(2**20)
        self.subscribe("")
        self.has_failed = False

    def send(self, topic, data):
        decode(data)

    def subscribe(self, topic):
        self._topics[topic] = None

    def unsubscribe(self, topic):
        self._topics.pop(topic, None)

    def wait_until_subscribed(self, timeout_s=1.0):
        return True

    def peer_count(self):
        return 0

    def close(self, timeout_s=0.0):
        pass

    def come(self, came):
        """Encoded envelopes come together."""
        self._deliver(came)


@pytest.fixture(scope="module")
def registry():
    registry = CollectionRegistry(StrangersBus(), clock=ManualClock())
    yield registry
    registry.stop()


ENVELOPES = st.lists(
    st.one_of(
        st.builds(
            encode,
            st.sampled_from([Kind.TEXT, Kind.BINARY]),
            st.just(SENDER),
            st.sampled_from(["t", "u", ""]),
            st.one_of(st.binary(max_size=50), st.text(max_size=20).map(str.encode)),
        ),
        st.builds(
            encode,
            st.just(Kind.CLOSE),
            st.just(SENDER),
            st.sampled_from(["t", "u"]),
            st.one_of(
                st.binary(max_size=200),
                st.sampled_from([b"\x03\xe8", b"\x03\xee", b"\x0f\xa0\xff"]),
            ),
        ),
        st.builds(
            encode,
            st.just(Kind.PRESENCE),
            st.just(SENDER),
            st.sampled_from(["", "t"]),
            MESSAGES.map(lambda message: json.dumps(message).encode()),
        ),
        st.builds(
            encode,
            st.sampled_from([Kind.QUESTION, Kind.ANSWER]),
            st.just(SENDER),
            st.sampled_from(["", "t"]),
            st.one_of(
                JSON.map(lambda found: json.dumps(found).encode()),
                st.tuples(st.just("0123456789abcdef"), NAMES, JSON).map(
                    lambda found: json.dumps(found).encode()
                ),
                st.binary(max_size=50),
            ),
        ),
        st.builds(
            encode,
            st.sampled_from([Kind.LETTER, Kind.REPLY, Kind.SEARCH]),
            st.just(SENDER),
            st.sampled_from(["", "t"]),
            st.binary(max_size=50),
        ),
        st.binary(max_size=60),
    ),
    max_size=8,
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(came=st.lists(ENVELOPES, max_size=4))
def test_a_registry_takes_any_envelopes(registry, caplog_at_error, came):
    """Its clients get frames, and it is still there for the next."""
    driver = Driver()
    handler = WebSocketHandler()
    open_handler(handler, driver.connection)
    registry.add("t", handler, {})
    try:
        for together in came:
            registry.bus.come(together)
            driver.check()
        assert not caplog_at_error()
        was_open = driver.connection.is_open
        registry.bus.come([encode(Kind.TEXT, SENDER, "t", b"the next")])
        assert driver.transport.written.endswith(b"the next") == was_open
    finally:
        registry.remove("t", handler)
    driver.finish()
