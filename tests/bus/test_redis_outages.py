"""A Redis that refuses, drops or comes back: what is up is what it has confirmed."""

import socket
import threading

import pytest
import redis

from tests.deadlines import DEADLINE_S, wait_for

from .networks import Member, RedisNetwork


@pytest.fixture
def network(tmp_path):
    network = RedisNetwork(tmp_path)
    network.kind = "redis"
    yield network
    network.stop()


@pytest.fixture
def admin(network):
    with network._server.client() as client:
        yield client


def connections(admin):
    return int(admin.info("stats")["total_connections_received"])


def is_down(member):
    return not member.stats()["is_up"]


REFUSALS = {
    "the channels": ["ON", "nopass", "+@all", "resetchannels"],
    "SUBSCRIBE": ["ON", "nopass", "+@all", "-subscribe", "allchannels"],
    "PUBLISH": ["ON", "nopass", "+@all", "-publish", "allchannels"],
    "the password": ["ON", "resetpass", ">other", "+@all", "allchannels"],
}


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_refusal_is_an_outage(network, admin, refused):
    """One line with the reason, ever longer pauses; and back when Redis does what it is asked."""
    admin.execute_command("ACL", "SETUSER", "app", "reset", *REFUSALS[refused])
    network.url = network.url.replace("127.0.0.1", "app:secret@127.0.0.1")
    member = Member(network)
    member.order("subscribe", "t")
    member.done()
    member.say("t", "nobody hears it")
    wait_for(lambda: is_down(member), "sign of the refusal")
    before = connections(admin)
    wait_for(lambda: connections(admin) >= before + 3, "further attempts")
    assert is_down(member)
    assert "secret" not in member.log

    admin.execute_command("ACL", "SETUSER", "app", "+@all", "allchannels", "resetpass", ">secret")
    other = Member(network)
    assert other.subscribe("t")
    wait_for(lambda: member.stats()["is_up"], "return")
    other.say("t", "from the other")
    member.wait_for_texts("t", ["from the other"])
    member.say("t", "from the member")
    wait_for(lambda: other.texts("t")[-1:] == ["from the member"], "message")
    other.end()
    log = member.end()
    assert log.count("\n") == 2, log
    assert any(word in log for word in ("Redis refuses", "invalid username")), log


class Closing:
    """A Redis that answers as if all were well, and is gone at the next moment."""

    def __init__(self, answer_count):
        self._answer_count = answer_count
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.environment = {}
        self.count = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while True:
            sock, _ = self._listener.accept()
            with sock:
                sock.settimeout(DEADLINE_S)
                if not self._serve(sock):
                    return
            self.count += 1

    def _serve(self, sock):
        for _ in range(self._answer_count):
            data = sock.recv(65536)
            if data == b"end":
                return False
            # redis-py names itself by two commands that come together.
            for command in data.split(b"*")[1:]:
                sock.sendall(self._answer(command))
        return True

    @staticmethod
    def _answer(command):
        words = command.split(b"\r\n")[2::2]
        if words[0] == b"SUBSCRIBE":
            return b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(words[1]), words[1])
        return b":0\r\n" if words[0] == b"PUBLISH" else b"+OK\r\n"

    def stop(self):
        with socket.create_connection(self._listener.getsockname()) as last:
            last.sendall(b"end")
        self._thread.join(DEADLINE_S)
        self._listener.close()


@pytest.mark.parametrize("answer_count", [1, 2, 3])
def test_a_connection_that_does_not_last_is_no_return(answer_count):
    """Whatever it has answered before: neither line upon line nor attempt upon attempt."""
    server = Closing(answer_count)
    member = Member(server)
    try:
        member.order("subscribe", "t")
        member.done()
        wait_for(lambda: server.count >= 7, "seven attempts")
        assert member.log.count("\n") <= 3, member.log
    finally:
        member.end()
        server.stop()


def test_killed_connections_come_back(network, admin):
    """Both of them; what is published then arrives."""
    alice, bob = Member(network), Member(network)
    assert alice.subscribe("t")
    assert bob.subscribe("t")
    alice.say("t", "before")
    bob.wait_for_texts("t", ["before"])
    before = connections(admin)
    admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_for(lambda: connections(admin) == before + 2, "new connections")
    wait_for(lambda: admin.pubsub_numsub("wshandler:{test/0}:t")[0][1] == 2, "subscriptions")
    alice.say("t", "one")
    bob.wait_for_texts("t", ["before", "one"])
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal")
    alice.say("t", "two")
    bob.wait_for_texts("t", ["before", "one", "two"])
    for member in (alice, bob):
        wait_for(lambda member=member: member.stats()["is_up"], "return")
        assert member.end().count("\n") <= 3


def test_what_was_joined_and_left_meanwhile_is_true_afterwards(network):
    """Nothing is subscribed to that is not wanted any more."""
    member, other = Member(network), Member(network)
    assert member.subscribe("kept", "left")
    network.lose()
    wait_for(lambda: is_down(member), "sign of the loss")
    assert not member.unsubscribe("left")
    assert not member.subscribe("joined")
    network.restore()
    wait_for(lambda: not is_down(member), "return")
    with network._server.client() as client:
        found = dict(client.pubsub_numsub(*[f"wshandler:{{test/0}}:{n}"
                                            for n in ("kept", "left", "joined")]))  # fmt: skip
    assert list(found.values()) == [1, 0, 1]
    for topic in ("kept", "joined"):
        other.say(topic, topic)
        member.wait_for_texts(topic, [topic])
    member.end()
    other.end()


def test_what_turns_out_to_be_in_the_way_is_told(network):
    """The end of the connection is not why it stays down: that is said, too, once."""
    member = Member(network)
    assert member.subscribe("t")
    network.lose()
    wait_for(lambda: is_down(member), "sign of the loss")
    network._server._arguments = ("--requirepass", "another")
    network._server.client = lambda: redis.Redis(port=network._server.port, password="another")
    network.restore()
    wait_for(lambda: "Authentication required" in member.log, "reason")
    log = member.end()
    assert log.count(" is down: ") == 1, log
    assert log.count(" is still down: ") <= 2, log  # refused in between


def test_a_redis_that_loads_its_data_is_listened_to(network, admin):
    """It carries messages, though it refuses other commands, a PING among them."""
    network._server.stop()
    network._server._arguments = ("--enable-debug-command", "yes")
    network._server._arguments += ("--loading-process-events-interval-bytes", "1024")
    network._server.start()
    network.url += "?health_check_interval=0.3"
    alice, bob = Member(network), Member(network)
    assert alice.subscribe("t")
    assert bob.subscribe("t")
    admin.execute_command("DEBUG", "POPULATE", 20000)
    admin.config_set("key-load-delay", 200)
    before = connections(admin)
    loading = threading.Thread(target=admin.execute_command, args=("DEBUG", "RELOAD"))
    loading.start()
    with network._server.client() as other:
        wait_for(lambda: is_loading(other), "loading")
        begin = questions(other)
        wait_for(lambda: questions(other) >= begin + 6, "three questions of each")
        assert is_loading(other)
        alice.say("t", "meanwhile")
        bob.wait_for_texts("t", ["meanwhile"])
        assert alice.stats()["is_up"]
        assert bob.stats()["is_up"]
        other.config_set("key-load-delay", 0)
    loading.join(DEADLINE_S)
    assert connections(admin) == before + 2  # `other`, and to publish
    assert alice.end() == ""
    assert bob.end() == ""


def is_loading(client):
    return int(client.info("persistence")["loading"])


def questions(client):
    """How often those who listen have asked for a sign of life."""
    return client.info("commandstats").get("cmdstat_unsubscribe", {"calls": 0})["calls"]
