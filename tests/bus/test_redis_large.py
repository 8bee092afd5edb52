"""Large messages over Redis, which cuts off whoever has too much waiting."""

import pytest

from tests.deadlines import wait_for

from .networks import Member, RedisNetwork, SlowWay
from .test_contract import of_seed


@pytest.fixture
def network(tmp_path):
    network = RedisNetwork(tmp_path)
    yield network
    network.stop()


class Slowly:
    """The same Redis by a slow way."""

    def __init__(self, network, bytes_per_s, options=""):
        self.way = SlowWay(network._server.port, bytes_per_s)
        self.url = f"redis://127.0.0.1:{self.way.port}/0{options}"
        self.environment = {}


def test_a_slow_subscriber_gets_it(network):
    """By Redis's own limits: 32 MB at once, 8 MB for a minute."""
    slowly = Slowly(network, 10_000_000)
    sender, quick, slow = Member(network), Member(network), Member(slowly)
    try:
        for member in (quick, slow):
            assert member.subscribe("t")
        sender.publish_large("t", 31_000_000, 1)
        for member in (quick, slow):
            wait_for(lambda member=member: member.count() == 1, "message")
            assert member.digests() == [of_seed(31_000_000, 1)]
            assert member.log == ""
    finally:
        for member in (sender, quick, slow):
            member.end()
        slowly.way.stop()


def test_a_slow_sender_sends_it_and_is_not_taken_for_dead(network):
    """The limit is the time without progress; and who it is that lives is told meanwhile."""
    slowly = Slowly(network, 1_000_000, "?socket_timeout=1")
    sender, receiver = Member(slowly), Member(network)
    try:
        assert receiver.subscribe("t", "")
        sender.publish_large("t", 4_000_000, 1)
        sender.say("", "it lives")
        wait_for(lambda: receiver.count() == 2, "messages")
        urgent, large = receiver.digests()
        assert (urgent[0], large) == (len("it lives"), of_seed(4_000_000, 1))
        assert sender.log == ""
    finally:
        sender.end()
        receiver.end()
        slowly.way.stop()


def test_a_message_whose_sender_is_killed_is_lost_alone(network):
    """What came of it is forgotten with the next of anybody's; others are whole."""
    slowly = Slowly(network, 1_000_000)
    victim, other, receiver = Member(slowly), Member(network), Member(network)
    try:
        assert receiver.subscribe("t")
        with network._server.client() as client:
            victim.publish_large("t", 5_000_000, 1)
            wait_for(
                lambda: client.info("commandstats").get("cmdstat_publish", {}).get("calls", 0) > 3,
                "parts",
            )
        victim.kill()
        other.publish_large("t", 5_000_000, 2)
        wait_for(lambda: receiver.count() == 1, "message")
        assert receiver.digests() == [of_seed(5_000_000, 2)]
    finally:
        for member in (victim, other, receiver):
            member.end()
        slowly.way.stop()
