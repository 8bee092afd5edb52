"""A Redis that Sentinels know of: the master is asked for, also when it is another one."""

import contextlib
import subprocess

import pytest
import redis

from tests.deadlines import DEADLINE_S, wait_for
from tests.ports import free_port

from .networks import Member, RedisServer

PASSWORD = "of-sentinel"


class Sentinel:
    """Debian's redis-server, as the only Sentinel of a master and a replica."""

    def __init__(self, directory):
        self.environment = {}
        self.nodes = []
        for name in ("master", "replica"):
            (directory / name).mkdir()
            arguments = ["--replicaof", f"127.0.0.1 {self.nodes[0].port}"] if self.nodes else []
            self.nodes.append(RedisServer(directory / name, *arguments))
        self.port = free_port()
        self.place = f"127.0.0.1:{self.port}/shop/0?sentinel_password={PASSWORD}"
        # The first of them does not answer.
        self.url = f"redis+sentinel://127.0.0.1:{free_port()},{self.place}"
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {PASSWORD}\ndir {directory}\n"
            f"sentinel monitor shop 127.0.0.1 {self.nodes[0].port} 1\n"
            "sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 10000\n"
        )
        with (directory / "sentinel.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", config, "--sentinel"], stdout=log, stderr=subprocess.STDOUT
            )
        wait_for(self._knows_a_replica, "word of the replica")

    def client(self):
        return redis.Redis(port=self.port, password=PASSWORD)

    def _knows_a_replica(self):
        try:
            with self.client() as client:
                replicas = client.execute_command("SENTINEL", "REPLICAS", "shop")
        except redis.RedisError:
            return False
        return any(b"ok" in str(each).encode() for each in replicas)

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE_S)
        for node in self.nodes:
            node.stop()


@pytest.fixture
def network(tmp_path):
    network = Sentinel(tmp_path)
    yield network
    network.stop()


@pytest.fixture
def pair(network):
    pair = [Member(network), Member(network)]
    for member in pair:
        assert member.subscribe("t")
    yield pair
    for member in pair:
        member.end()


def assert_carries(pair, text):
    alice, bob = pair
    alice.say("t", text)
    wait_for(lambda: bob.texts("t")[-1:] == [text], "message")
    assert alice.stats()["is_up"]
    assert bob.stats()["is_up"]


def is_master(client):
    """A Redis that becomes one ends the connections of its clients."""
    with contextlib.suppress(redis.ConnectionError):
        return client.role()[0] == b"master"
    return False


def test_a_killed_master_has_a_successor(network, pair):
    """One outage in the log, which ends by itself; and all are on the new master."""
    assert_carries(pair, "before")
    network.nodes[0].process.kill()
    with network.nodes[1].client() as successor:
        channel = "wshandler:{test/0}:t"
        wait_for(lambda: is_master(successor), "successor")
        wait_for(lambda: successor.pubsub_numsub(channel)[0][1] == 2, "subscriptions")
    for member in pair:
        wait_for(lambda member=member: member.stats()["is_up"], "return")
    assert_carries(pair, "after")
    for member in pair:
        log = member.end()
        assert log.count(" is down: ") == 1, log
        assert "redis+sentinel://127.0.0.1:" in log
        assert PASSWORD not in log


def is_ordered(client):
    """Order a failover; False while Sentinel knows of no replica that can be a master."""
    try:
        client.execute_command("SENTINEL", "FAILOVER", "shop")
    except redis.ResponseError as refusal:
        assert "NOGOODSLAVE" in str(refusal)
        return False
    return True


def test_an_ordered_failover_leaves_nobody_behind(network, pair):
    """The old master lives on as a replica, where nobody is heard any more."""
    assert_carries(pair, "before")
    with network.client() as client:
        wait_for(lambda: is_ordered(client), "a replica that Sentinel takes for a good one")
    with network.nodes[1].client() as successor:
        channel = "wshandler:{test/0}:t"
        wait_for(lambda: is_master(successor), "successor")
        wait_for(lambda: successor.pubsub_numsub(channel)[0][1] == 2, "subscriptions")
    assert_carries(pair, "after")


def test_what_is_no_master_is_told(network):
    """By the name that was asked for, and what each Sentinel has said."""
    network.url = network.url.replace("/shop/", "/other/")
    member = Member(network)
    member.say("t", "to nobody")
    wait_for(lambda: not member.stats()["is_up"], "sign of it")
    log = member.end()
    assert f"127.0.0.1:{network.port} knows no such master" in log
    assert "the master other" in log
