"""What lies between a process and its Redis: who cuts off silent connections; moved services."""

import contextlib

import pytest

from tests.deadlines import wait_for

from .networks import Member, RedisServer
from .ways import Way

IDLE_S = 1.5
CHANNEL = "wshandler:{test/0}:t"


class Place:
    """Where processes meet."""

    def __init__(self, port, options=""):
        self.environment = {}
        self.url = f"redis://127.0.0.1:{port}/0{options}"


def calls(admin, command):
    """How often a command was called."""
    return admin.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


@pytest.fixture
def ends():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def start(tmp_path, ends):
    def start(*arguments):
        directory = tmp_path / f"redis-{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        server = RedisServer(directory, *arguments)
        ends.callback(server.stop)
        return server

    return start


@pytest.fixture
def lead(ends):
    def lead(*arguments, **options):
        way = Way(*arguments, **options)
        ends.callback(way.stop)
        return way

    return lead


@pytest.fixture
def join(ends):
    def join(place, *topics):
        member = Member(place)
        ends.callback(member.end)
        if topics:
            assert member.subscribe(*topics)
        return member

    return join


@pytest.mark.parametrize("silent", [False, True], ids=["closed", "dropped"])
def test_silent_connections_that_are_cut_off_are_silent_no_more(start, lead, join, silent):
    """haproxy's `timeout client`, a firewall's memory: it happens once or twice, not for ever."""
    way = lead(start().port, IDLE_S, silent=silent)
    place = Place(way.port, "?health_check_interval=2")
    alice, bob = join(place, "t"), join(place, "t")
    for member in (alice, bob):
        member.say("other", "so that it has a connection to publish")
    wait_for(way.cut_count, "cut")
    wait_for(lambda: sum(age_s > 4 * IDLE_S for age_s in way.ages_s()) == 4, "four that stay", 60)
    alice.say("t", "from alice")
    bob.wait_for_texts("t", ["from alice"])
    bob.say("t", "from bob")
    alice.wait_for_texts("t", ["from bob"])
    for member in (alice, bob):
        assert member.stats()["is_up"]
        assert member.end().count(" is down: ") <= 3


def test_a_connection_to_publish_that_was_closed_for_silence_is_no_outage(start, join):
    """Redis's `timeout 1`, which spares those who listen."""
    server = start("--timeout", "1")
    place = Place(server.port)
    alice, bob = join(place), join(place, "t")
    alice.say("t", "one")
    bob.wait_for_texts("t", ["one"])

    def is_alone():
        with server.client() as admin:
            return len(admin.client_list()) == 2  # bob's, and this one

    wait_for(is_alone, "end of the connection")
    alice.say("t", "two")
    bob.wait_for_texts("t", ["one", "two"])
    assert alice.stats()["dropped"] == 0
    assert alice.end() == ""
    assert bob.end() == ""


def test_a_master_that_became_a_replica_is_left(start, lead, join):
    """The service's address is the new master's; nobody stays behind where he is not heard."""
    old, new = start(), start()
    way = lead(old.port)
    place = Place(way.port, "?health_check_interval=0.5")
    alice = join(place, "t")
    alice.say("t", "nobody hears it")
    with old.client() as admin:
        admin.ping()
        before = calls(admin, "hello")
        wait_for(lambda: calls(admin, "hello") >= before + 2, "sight of a master, twice")
    way.target_port = new.port
    with old.client() as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", new.port)
        bob = join(place, "t")
        wait_for(lambda: admin.pubsub_numsub(CHANNEL)[0][1] == 0, "end of the subscription")
    with new.client() as admin:
        wait_for(lambda: admin.pubsub_numsub(CHANNEL)[0][1] == 2, "both of them")
    wait_for(lambda: alice.stats()["is_up"], "return")
    alice.say("t", "from alice")
    bob.wait_for_texts("t", ["from alice"])
    bob.say("t", "from bob")
    alice.wait_for_texts("t", ["from bob"])


def test_a_replica_will_do(start, join):
    """For all who meet there; it was no master before."""
    master, replica = start(), start()
    with replica.client() as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", master.port)
    place = Place(replica.port, "?health_check_interval=0.2")
    alice, bob = join(place, "t"), join(place, "t")
    for number in range(3):
        alice.say("t", str(number))
    bob.wait_for_texts("t", ["0", "1", "2"])
    assert alice.end() == ""
