"""The log on a Redis that is killed, stopped, emptied or full: nothing twice, or out of order.

What came by the bus is `[log, generation, number, text]`. What holds for every log is in
test_contract.py.
"""

import contextlib
import itertools
import signal
import socket
import threading
import time

import pytest

from flask_wshandler.bus import connect
from flask_wshandler.history import redis_appends, stream
from flask_wshandler.history.log import Bounds, Draft, LogUnavailable
from flask_wshandler.history.redis_log import MOST_MESSAGE_BYTES, RedisLog
from tests.bus import networks
from tests.bus.networks import RedisNetwork, RedisServer
from tests.deadlines import DEADLINE_S, wait_for
from tests.ports import free_port

BOUNDS = Bounds(1000, 60.0)
JUMP = 2**20
HASH = "wshandler:{test/0}:?log:t"
STREAM = "wshandler:{test/0}:?entries:t"


class Process(networks.Member):
    """A `redis_member.LogMember`, from its parent's side."""

    module = "tests.history.redis_member"

    def wait_for_text(self, text):
        """Everything that has come, when that has."""

        def came():
            found = self.came()
            return found if any(each[3] == text for each in found) else None

        return wait_for(came, text)


@pytest.fixture
def network(tmp_path):
    network = RedisNetwork(tmp_path)
    yield network
    network.stop()


@pytest.fixture
def server(network):
    return network._server


@pytest.fixture
def admin(server):
    with server.client() as client:
        yield client


@pytest.fixture
def join(network):
    """Start a process, which subscribes to the topic "t"."""
    processes = []

    def join(**options):
        processes.append(Process(network, **options))
        assert processes[-1].subscribe("t")
        return processes[-1]

    yield join
    for process in processes:
        process.end()


class Here:
    """A log in this process, and what came of the topic "t"."""

    def __init__(self, url, size_bytes=2**26):
        self.bus = connect(url, "test")
        self.came = []
        self.bus.attach(self._receive)
        self.log = RedisLog(self.bus, size_bytes)
        self.bus.subscribe("t")
        assert self.bus.wait_until_subscribed(5)

    def _receive(self, envelopes):
        self.came += [stream.decode(each.body) for each in envelopes]

    def append(self, text, topic="t", bounds=BOUNDS):
        self.log.append(topic, Draft(True, text.encode()), bounds)

    def wait_for_text(self, text):
        """Its position."""

        def found():
            return [place for place, draft in self.came if draft.payload == text.encode()]

        return wait_for(found, text)[0]

    def refusal(self, text="refused"):
        """Append; why not, if it can't be."""
        try:
            self.append(text)
        except LogUnavailable as reason:
            return str(reason)
        return ""

    def say(self, text):
        self.append(text)
        return self.wait_for_text(text)

    def texts(self, topic="t"):
        return [each.payload.decode() for each in self.log.read(topic, 0).entries]

    def close(self):
        self.bus.close()
        self.log.close()


@pytest.fixture
def here(network):
    here = Here(network.url)
    yield here
    here.close()


def check_numbers(came):
    """Nothing came twice, and no number of a log was given to two messages."""
    texts = [text for *_, text in came]
    assert len(set(texts)) == len(texts)
    places = [(log_id, number) for log_id, _, number, _ in came]
    assert len(set(places)) == len(places)
    for _, group in itertools.groupby(came, lambda each: each[0]):
        positions = [each[1:3] for each in group]
        assert positions == sorted(positions)


def test_everybody_hears_the_log_in_its_order(join):
    """Four processes append at the same time; two others hear what a third one reads, and they
    hear themselves."""
    writers = [join() for _ in range(4)]
    listeners = [join() for _ in range(2)]
    for number, writer in enumerate(writers):
        writer.order("append_many", "t", number, 500)
    assert [writer.done() for writer in writers] == [500] * 4
    for process in listeners + writers:
        wait_for(lambda process=process: process.came_count() == 2000, "2000 messages")
    came = listeners[0].came()
    check_numbers(came)
    assert [number for _, _, number, _ in came] == list(range(1, 2001))
    assert all(process.came() == came for process in [listeners[1], *writers])
    _, _, entries = listeners[1].read("t")
    assert entries == [each[2:] for each in came]
    for number in range(4):
        texts = [text for *_, text in came if text.startswith(f"{number} ")]
        assert texts == [f"{number} {index}" for index in range(500)]


@pytest.mark.parametrize("data", ["without data", "with older data"])
def test_a_redis_that_was_killed_gives_no_number_again(network, server, admin, join, data):
    """Amid appends. Its log is another one, or in another generation and far ahead."""
    writers, listener = [join(), join()], join()
    for writer in writers:
        writer.append_many("t", f"{writer.process.pid} before", 100)
    wait_for(lambda: listener.came_count() == 200, "messages")
    if data == "with older data":
        admin.save()
    for writer in writers:
        writer.order("append_many", "t", f"{writer.process.pid} amid", 3000)
    wait_for(lambda: listener.came_count() > 300, "more messages")
    server.process.kill()
    server.process.wait(DEADLINE_S)
    for writer in writers:
        writer.done()
    known = listener.came()[-1]
    server.start()
    wait_for(lambda: listener.stats()["is_up"], "return")
    listener.subscribe("t")
    for writer in writers:
        writer.append("t", f"{writer.process.pid} last")
    came = [listener.wait_for_text(f"{writer.process.pid} last") for writer in writers][-1]
    came = listener.came()
    check_numbers(came)
    last = came[-1]
    if data == "with older data":
        assert last[0] == known[0]
        assert last[1] > known[1]
        assert last[2] > known[2] + JUMP / 2
    else:
        assert last[0] != known[0]
    _, _, entries = listener.read("t")
    texts = [text for _, text in entries]
    assert len(set(texts)) == len(texts)


def test_what_is_in_doubt_is_appended_once(network, server, join):
    """Redis stands still and answers nothing, though it has taken what was sent."""
    network.url += "?socket_timeout=1"
    writer, listener = join(), join()
    writer.append_many("t", "before", 10)
    wait_for(lambda: listener.came_count() == 10, "messages")
    server.process.send_signal(signal.SIGSTOP)
    writer.append_many("t", "amid", 1000)
    wait_for(lambda: not writer.stats()["is_up"], "time-out")
    server.process.send_signal(signal.SIGCONT)
    wait_for(lambda: writer.stats()["is_up"], "return")
    assert writer.append_many("t", "after", 10) == 10

    def entries():
        found = writer.read("t")[2]
        return found if found[-1][1] == "after 9" else None

    texts = [text for _, text in wait_for(entries, "the last")]
    assert texts == [
        f"{word} {index}"
        for word, count in (("before", 10), ("amid", 1000), ("after", 10))
        for index in range(count)
    ]
    assert writer.stats()["dropped"] == 0


class Deaf:
    """A way to a Redis on which `swallow_answers` has answers get lost, and the connection."""

    def __init__(self, port):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._target = ("127.0.0.1", port)
        self._is_deaf = False
        #: How many connections there were, and how many have ended so.
        self.accepted_count = self.lost_count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow_answers(self):
        self._is_deaf = True

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted_count += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(ConnectionRefusedError), client:
            self._carry(client, socket.create_connection(self._target))

    def _carry(self, client, server):
        with server:
            answering = threading.Thread(target=self._answer, args=(server, client))
            answering.start()
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    server.sendall(data)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            answering.join()

    def _answer(self, server, client):
        with contextlib.suppress(OSError):
            while (data := server.recv(65536)) and not self._is_deaf:
                client.sendall(data)
        if self._is_deaf:
            self._is_deaf = False
            self.lost_count += 1
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def way(server):
    way = Deaf(server.port)
    yield way
    way.stop()


@pytest.mark.parametrize("meanwhile", ["nothing", "FLUSHALL", "a restart"])
def test_an_answer_that_is_lost_costs_no_doubling(here, network, server, admin, way, meanwhile):
    """It was appended. Where Redis can't tell any more it is not tried again, but a gap."""
    sender = Here(network.url.replace(str(server.port), str(way.port)))
    first = sender.say("first")
    here.wait_for_text("first")
    connections = way.accepted_count
    way.swallow_answers()
    sender.append("in doubt")
    here.wait_for_text("in doubt")
    if meanwhile == "a restart":
        admin.save()
        server.process.kill()
        server.process.wait(DEADLINE_S)
        server.start()
    elif meanwhile == "FLUSHALL":
        admin.flushall()
    wait_for(lambda: way.lost_count, "loss")
    # Until then the bus may not have noticed.
    wait_for(lambda: way.accepted_count > connections, "connection anew")
    wait_for(lambda: sender.bus.is_up and here.bus.is_up, "return")
    last = sender.say("last")
    texts = [draft.payload.decode() for _, draft in here.came]
    assert texts.count("in doubt") == 1
    assert sender.texts().count("in doubt") <= 1
    if meanwhile == "nothing":
        assert last == first._replace(number=3)
        assert sender.bus.stats().dropped == 0
    sender.close()


def test_a_replica_that_becomes_the_master_gives_no_number_again(here, server, tmp_path):
    """Though it may not have got the last ones. While it is a replica, it is told that it is."""
    before = [here.say(f"before {index}") for index in range(5)][-1]
    (tmp_path / "replica").mkdir()
    replica = RedisServer(
        tmp_path / "replica", "--replicaof", "127.0.0.1", str(server.port),
        "--repl-diskless-sync-delay", "0",
    )  # fmt: skip
    there = Here(replica.url)
    try:
        with replica.client() as client:
            wait_for(lambda: client.hget(HASH, "number") == b"5", "replication")
        seen = there.log.last_of(["t"])["t"]
        assert (seen.log_id, seen.generation) == (before.log_id, before.generation + 1)

        assert "read only replica" in wait_for(there.refusal, "refusal")
        server.process.kill()
        with replica.client() as admin:
            admin.replicaof("NO", "ONE")
        wait_for(lambda: not there.refusal(), "return")
        after = there.say("after")
        assert after.log_id == before.log_id
        assert after.generation > before.generation
        assert after.number > before.number + JUMP
    finally:
        there.close()
        replica.stop()


LOSSES = {
    "everything": lambda admin: admin.flushall(),
    "the hash": lambda admin: admin.delete(HASH),
    "the stream": lambda admin: admin.delete(STREAM),
    "the hash to a text": lambda admin: admin.set(HASH, "?"),
    "the stream to a text": lambda admin: admin.set(STREAM, "?"),
    "a field of the hash": lambda admin: admin.hdel(HASH, "number"),
    "some numbers": lambda admin: admin.hset(HASH, "number", 1),
}


@pytest.mark.parametrize("is_read", [False, True], ids=["appended", "read first"])
@pytest.mark.parametrize("lost", LOSSES)
def test_who_loses_keys_to_others_goes_on(here, admin, lost, is_read):
    """It is another log then, or the next generation of it; and its reader sees the same."""
    before = [here.say(f"before {index}") for index in range(3)][-1]
    LOSSES[lost](admin)
    if is_read:
        here.log.last_of(["t"])
    after = here.say("after")
    assert (after.log_id, after.generation) != (before.log_id, before.generation)
    if after.log_id == before.log_id:
        assert after.number > before.number
    page = here.log.read("t", 0)
    assert page.last == after
    assert [entry.payload for entry in page.entries] == [b"after"]
    assert here.log.size().messages == 1
    again = here.say("again")
    assert again == after._replace(number=after.number + 1)


def test_what_nothing_was_appended_to_is_the_same_log_afterwards(here):
    """So nobody is told that something is missing."""
    place = here.log.last_of(["t"])["t"]
    assert place.number == 0
    assert here.log.read("t", 0).last == place
    assert here.say("first") == place._replace(number=1)


def test_a_redis_that_forgets_the_script_learns_it_again(here, network, admin):
    """Amid appends, of which none is lost; also when another process teaches it meanwhile."""
    other = Here(network.url)
    is_done = threading.Event()

    def forget():
        while not is_done.wait(0.002):
            admin.script_flush()

    thread = threading.Thread(target=forget)
    thread.start()
    texts = [str(index) for index in range(1000)]
    for text in texts:
        here.append(text)
        here.append(text, topic="u")
        other.append(text, topic="v")
    here.wait_for_text("999")
    is_done.set()
    thread.join(DEADLINE_S)
    assert here.texts() == [draft.payload.decode() for _, draft in here.came] == texts
    wait_for(lambda: len(other.texts("u")) == len(other.texts("v")) == 1000, "the others")
    assert other.texts("u") == other.texts("v") == texts
    assert here.bus.stats().dropped == 0
    other.close()


RIGHTS = (
    "ON", "nopass", "resetchannels", "&wshandler:*", "+@pubsub",
    "~wshandler:*", "+@read", "+@write", "+@scripting", "+info", "+time",
)  # fmt: skip
"""As docs/topics/scaling-out.md has them."""

REFUSALS = {
    "EVALSHA": (("-evalsha", "-eval"), "evalsha"),
    "XADD": (("-xadd",), "xadd"),
    "the keys": (("resetkeys",), "key"),
    "INFO": (("-info",), "info"),
}


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_refusal_is_told_once_and_leaves_the_bus_alone(network, admin, join, refused):
    """What was appended is lost or late; then there is an error at once, until it works again."""
    rules, named = REFUSALS[refused]
    admin.execute_command("ACL", "SETUSER", "app", "reset", *RIGHTS, *rules)
    network.url = network.url.replace("127.0.0.1", "app:x@127.0.0.1")
    writer, listener = join(), join()
    wait_for(lambda: named in writer.append("t", "refused").lower(), "refusal")
    writer.say("t", "said")
    listener.wait_for_texts("t", ["said"])
    assert writer.stats()["is_up"]
    admin.execute_command("ACL", "SETUSER", "app", *RIGHTS)
    wait_for(lambda: writer.append("t", "appended") == "", "return")
    listener.wait_for_text("appended")
    log = writer.end()
    assert log.count(" is down: ") == log.count("the log on ") - log.count(" is back") == 1, log


def test_a_full_redis_refuses_and_recovers(here, admin):
    """It carries what is published all the same."""
    before = here.say("before")
    admin.config_set("maxmemory", 1)
    here.append("late")

    assert "maxmemory" in wait_for(here.refusal, "refusal")
    assert here.bus.is_up
    assert [entry.payload for entry in here.log.read("t", 0).entries] == [b"before"]
    admin.config_set("maxmemory", 0)
    here.wait_for_text("late")
    wait_for(lambda: not here.refusal(), "return")
    assert here.say("after").log_id == before.log_id


def test_what_waits_too_long_is_a_gap(here, server, admin, monkeypatch):
    """While Redis is away it is kept for some seconds; past these there is an error at once. When
    Redis is back a number is left out, also if nothing more is appended."""
    monkeypatch.setattr(redis_appends, "MAX_AGE_S", 0.3)
    before = here.say("before")
    admin.save()
    server.stop()
    here.append("too old")
    time.sleep(0.31)
    assert "0.3 seconds" in here.refusal()
    monkeypatch.undo()
    server.start()
    wait_for(lambda: here.bus.is_up, "return")

    def last():
        try:
            return here.log.last_of(["t"])["t"]
        except LogUnavailable:
            return before

    def left_out():
        found = last()
        return found if found.generation > before.generation + 1 else None

    wait_for(left_out, "a number that is left out")
    assert last().number > before.number + JUMP
    assert here.texts() == ["before"]
    assert here.bus.stats().dropped > 0
    assert here.say("after").number == last().number


def test_a_node_of_a_cluster_tells_of_the_one_to_be_used(tmp_path):
    """The log's names are on one of them. To form a cluster takes two seconds."""
    nodes = []
    for name in ("wrong", "right"):
        (tmp_path / name).mkdir()
        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        nodes.append(RedisServer(tmp_path / name, *cluster))
    wrong, right = nodes
    try:
        with right.client() as client, wrong.client() as other:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            port = int(cluster[-1])
            other.execute_command("CLUSTER", "MEET", "127.0.0.1", right.port, port)
            wait_for(lambda: b"cluster_state:ok" in raw_info(other), "cluster", DEADLINE_S)
        here = Here(wrong.url)
        with pytest.raises(
            LogUnavailable, match=rf"node of a cluster.* now 127\.0\.0\.1:{right.port}"
        ):
            here.log.read("t", 0)
        here.append("queued")
        wait_for(lambda: f"now 127.0.0.1:{right.port}" in here.refusal(), "refusal")
        here.close()
        here = Here(right.url)
        assert here.say("taken").number == 1
        here.close()
    finally:
        for node in nodes:
            node.stop()


def raw_info(client):
    """What a node knows of its cluster."""
    client.set_response_callback("CLUSTER INFO", bytes)
    return client.execute_command("CLUSTER INFO")


def test_a_gap_raises_the_generation_of_its_topic_alone(here, admin, monkeypatch):
    """What was dropped, and what the caller says was broadcast without being appended."""
    first = here.say("first")
    here.log.append("t", Draft(True, b"second"), BOUNDS, after_gap=True)
    second = here.wait_for_text("second")
    assert second == first._replace(generation=1, number=2)
    monkeypatch.setattr(here.bus, "max_queue_bytes", 500)
    admin.execute_command("CLIENT", "PAUSE", 300, "ALL")
    for index in range(20):
        here.append(f"dropped {index}")
    last = here.say("last")
    assert last.generation > 1
    numbers = [place.number for place, _ in here.came]
    assert any(later > number + 1 for number, later in itertools.pairwise(numbers))
    here.append("one", topic="other")
    wait_for(lambda: here.texts("other"), "one")
    assert here.log.last_of(["other"])["other"].generation == 0


@pytest.mark.parametrize("size", [300_000, MOST_MESSAGE_BYTES])
def test_large_messages_come_whole(here, size):
    """Up to a limit, past which there is an error at once."""
    here.say("before")
    here.append("x" * size)
    here.append("behind")
    assert here.wait_for_text("behind").number == 3
    assert len(here.came[1][1].payload) == size
    assert [len(entry.payload) for entry in here.log.read("t", 1, 1).entries] == [size]
    assert [entry.number for entry in here.log.read("t", 2).entries] == [3]
    with pytest.raises(LogUnavailable, match=f"{MOST_MESSAGE_BYTES} at most"):
        here.append("x" * (MOST_MESSAGE_BYTES + 1))


def test_all_topics_fit_into_the_size(network):
    """The largest give way; what is too old is forgotten; none ever has more than all may."""
    here = Here(network.url, size_bytes=100_000)
    for index in range(200):
        here.append("x" * 932 + f"{index:4}", topic="large")
    for topic in ("t", "small"):
        for index in range(20):
            here.append("x" * 932 + f"{index:4}", topic=topic)
    here.append("old", topic="old", bounds=Bounds(10, 0.001))
    here.say("last")
    assert sorted(here.log.topics()) in (["large", "small", "t"], ["large", "old", "small", "t"])
    page = here.log.read("large", 0)
    assert (page.first_number, page.last.number, len(page.entries)) == (101, 200, 100)
    here.log.tidy()
    size = here.log.size()
    assert 95_000 < size.bytes <= 100_000
    assert len(here.texts("small")) == 20
    assert len(here.texts("t")) == 21
    assert here.texts("large")[-1].endswith(" 199")
    here.close()


def test_a_child_appends_as_itself(join):
    """And its parent goes on; neither appends what the other has queued."""
    parent, other = join(), join()
    parent.append("t", "before")
    other.wait_for_text("before")
    assert parent.fork_and_append("t", "from the child")
    parent.append("t", "after")
    assert [text for *_, text in other.wait_for_text("after")] == [
        "before", "from the child", "after",
    ]  # fmt: skip


def test_reading_waits_no_longer_than_a_second(here, server):
    """For a Redis that stands still; and then there are answers again."""
    here.say("one")
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(LogUnavailable):
        here.log.read("t", 0)
    with pytest.raises(LogUnavailable):
        here.log.last_of(["t"])
    server.process.send_signal(signal.SIGCONT)

    def texts():
        try:
            return here.texts()
        except LogUnavailable:
            return None

    assert wait_for(texts, "answer") == ["one"]


def test_threads_read_at_the_same_time(here):
    """More of them than there are connections."""
    here.say("one")
    results = []
    threads = [
        threading.Thread(target=lambda: results.extend(here.texts() for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert results == [["one"]] * 160
