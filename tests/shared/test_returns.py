"""Clients that come back to any of several workers: whoever has their handler gets the socket."""

import collections
import contextlib
import json
import os
import random
import signal
import tempfile

import pytest

from tests.live.returning import Returning
from tests.live.serving import starting

_RETURNS = 60


APP = "tests.live.app:app"


@pytest.fixture
def start(tmp_path):
    with starting(tmp_path, app=APP) as start:
        yield start


def outcomes_of(server, workers):
    """What has become of returns, in all workers together."""
    found = {}

    def have_all_answered():
        stats = server.get("/stats").json()
        found[stats["pid"]] = stats["returns"]
        return len(found) == workers

    server.wait_for(have_all_answered, "answers of all workers")
    return sum(map(collections.Counter, found.values()), collections.Counter())


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_each_return_finds_the_handler(start, kind):
    """Whichever worker takes the handshake, and whether the loss was noticed or not."""
    server = start(kind, "--workers", "3", WSHANDLER_COMPRESSION=True)
    deflate = ("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover")
    clients = [
        Returning(server, f"/record/recorder/{number}", headers=[deflate] * (number % 2))
        for number in range(4)
    ]
    ends = [Returning.cut, Returning.leave, lambda client: None]
    kept = []
    for number in range(_RETURNS):
        client = clients[number % 4]
        client.send("burst 2")
        random.choice(ends)(client)
        kept.append(client.wire)
        client.come_back(resumed=True)
        if client.hello["received"] < client.sent:
            client.sent = client.hello["received"]  # the cut has swallowed it
            client.send("burst 2")
        assert [client.recv(), client.recv()] == ["burst 0", "burst 1"]
    outcomes = outcomes_of(server, workers=3)
    assert outcomes["passed"] > _RETURNS / 4
    assert outcomes["passed"] + outcomes["resumed"] == _RETURNS
    for client in clients:
        client.close()
        client.leave()
    for number in range(4):
        assert server.wait_for_event("close", str(number))["code"] == 1000
        opened = [event for event in server.events(str(number)) if event["event"] == "open"]
        assert len(opened) == 1


@pytest.fixture
def machines():
    """Run directories of two machines, with paths that are short enough."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-")) for _ in range(2)]


@pytest.mark.parametrize(
    ("cluster", "kind"),
    [("local", "gevent"), ("redis", "gevent"), ("redis", "gthread")],
    indirect=["cluster"],
)
def test_where_no_socket_can_be_passed_the_handler_is_let_go(cluster, kind, machines):
    """The client gets another, and misses nothing; both go on counting."""
    if not cluster.redis:
        machines = [None, None]
    servers = [cluster.start(1, kind, app=APP, runtime=machine) for machine in machines]
    client = Returning(servers[0], "/record/returning/released")
    for number in range(4):
        client.send(f"count {number}")
        assert client.recv().split()[::3] == ["1", str(number)]
        client.cut()
        servers[number % 2].wait_for_event("away", "released")
        client.server = servers[(number + 1) % 2]
        client.come_back(resumed=False, lost=False, received=number + 1)
        assert client.recv() == "while you were away"
    for server in servers:
        outcomes = outcomes_of(server, workers=1)
        assert outcomes == {"released": 2}
        server.wait_for(lambda server=server: len(ends_of(server, "released")) == 2, "ends")
    client.close()
    client.leave()
    servers[0].wait_for(lambda: len(ends_of(servers[0], "released")) == 3, "the last end")
    codes = [each["code"] for server in servers for each in ends_of(server, "released")]
    assert sorted(codes) == [1000] + [1001] * 4


def ends_of(server, id):
    return [event for event in server.events(id) if event["event"] == "close"]


def test_a_reload_loses_nothing(start):
    """The last acknowledgement is exact; the new handler is told where to go on."""
    server = start("gthread", "--workers", "2", WSHANDLER_DRAIN_SECONDS=0)
    client = Returning(server, "/record/recorder/reloaded")
    for _ in range(5):
        client.send("burst 1")
        assert client.recv() == "burst 0"
    server.signal(signal.SIGHUP)
    taken = client.wire.read_text()
    while not taken.startswith("a"):
        taken = client.wire.read_text()
    assert taken == "a5"
    assert client.wire.read_close()[0] == 1012
    client.close(1012)
    client.leave()
    client.come_back(resumed=False, lost=True, received=5)
    client.send("burst 1")
    assert client.recv() == "burst 0"


@pytest.mark.parametrize(("sleeps_s", "is_answered"), [(0.9, True), (4, False)])
def test_what_was_taken_is_answered_before_a_stop(start, sleeps_s, is_answered):
    """What a callback sends within a second arrives; who needs longer holds up no stop."""
    server = start("gthread", "--workers", "1", WSHANDLER_DRAIN_SECONDS=0)
    client = Returning(server, "/record/recorder/asking")
    client.send(f"sleep {sleeps_s}")
    server.wait_for_event("message", "asking")
    server.signal(signal.SIGTERM)
    texts = []
    while (frame := client.wire.read_frame())[0] == 1:
        texts.append(frame[1].decode())
    assert frame[1][:2] == (1012).to_bytes(2, "big")
    assert ("mawake" in texts) == is_answered
    assert "a1" in texts
    client.leave()


def test_a_killed_owner_is_gone(start):
    """The client begins anew, at once, and goes on counting."""
    server = start("gthread", "--workers", "2")
    client = Returning(server, "/record/recorder/killed")
    client.send("pid")
    victim = json.loads(client.recv())
    os.kill(victim, signal.SIGKILL)
    client.leave()
    client.come_back(resumed=False, lost=True, received=1)
    client.send("pid")
    assert json.loads(client.recv()) != victim
