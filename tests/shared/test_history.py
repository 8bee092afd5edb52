"""Collections with a history, over several workers: one order, nothing lost, nothing twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading

import pytest

from flask_wshandler import WebSocketCollection
from flask_wshandler.bus import connect as connect_bus
from flask_wshandler.client import ConnectionClosed, Gap, connect
from tests.deadlines import DEADLINE_S
from tests.resume.cutting_proxy import Cut, CuttingProxy

_LAST = "the last one"


class Listener:
    """A client that hears until the last one, whatever becomes of its connection."""

    def __init__(self, url):
        self.heard = []
        self.gaps = []
        self.has_heard_last = threading.Event()
        self._connection = connect(url, on_gap=self.gaps.append)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def send(self, text):
        self._connection.send(text)

    def _listen(self):
        try:
            while not self.has_heard_last.is_set():
                self.heard.append(self._connection.recv(DEADLINE_S))
                if self.heard[-1] == _LAST:
                    self.has_heard_last.set()
        except (ConnectionClosed, TimeoutError):
            pass

    def end(self):
        self._connection.close()
        self._thread.join()


@pytest.fixture
def listeners():
    started = []

    def listen(count, url):
        started.extend([Listener(url) for _ in range(count)])
        return started[-count:]

    yield listen
    for each in started:
        each.end()


def history_of(server):
    return json.loads(server.get("/log/history/100000").body)


def say_until_taken(server, prefix, count):
    """By a view, whose worker may be killed: then it can't be known, and it is said otherwise."""
    try:
        return server.get(f"/log/say/{prefix}/{count}").status == 200
    except OSError:
        return False


def test_one_order_over_reloads_kills_and_cuts(cluster, listeners, monkeypatch):
    """From views, callbacks and another program: each gets each message once, and in one order."""
    server = cluster.start(3, WSHANDLER_BUS_NAME="histories", WSHANDLER_DRAIN_SECONDS=0.2)
    plan = [
        (random.randint(500, 3000), random.choice([Cut.RESET, Cut.HALF_CLOSE])) for _ in range(9)
    ]
    monkeypatch.setenv("XDG_RUNTIME_DIR", cluster.runtime)
    bus = connect_bus(cluster.bus, "histories")
    outside = WebSocketCollection("log", bus=bus, history=100_000, replay=1000)
    try:
        with CuttingProxy(server.port, plan) as proxy:
            clients = listeners(6, f"{proxy.uri}log")
            said = []
            for round_number in range(12):
                clients[round_number % 6].send(f"callback {round_number}")
                if say_until_taken(server, f"view-{round_number}", 5):
                    said += [f"view-{round_number} {number}" for number in range(5)]
                for number in range(5):
                    outside.broadcast(f"outside {round_number} {number}")
                    said.append(f"outside {round_number} {number}")
                if round_number % 4 == 1:
                    os.kill(random.choice(server.workers), signal.SIGKILL)
                elif round_number % 4 == 3:
                    server.signal(signal.SIGHUP)
            callbacks = {f"callback {number}" for number in range(12)}
            server.wait_for(lambda: callbacks <= set(history_of(server)), "what clients have said")
            outside.broadcast(_LAST)
            for each in clients:
                assert each.has_heard_last.wait(DEADLINE_S)
                each.end()
    finally:
        bus.close()
    order = history_of(server)
    for each in clients:
        # What a client had sent to a killed process it may send again, also after the last one.
        assert each.heard == order[: order.index(_LAST) + 1]
        assert Gap.HISTORY not in each.gaps
    assert all(order.count(text) == 1 for text in said)


def test_who_comes_gets_the_last_ones(cluster):
    """By any worker, also without this package's client; each group has its own."""
    server = cluster.start(2)
    speaker = server.connect("/lobby/one")
    for number in range(5):
        speaker.send(str(number))
    assert [speaker.recv() for _ in range(5)] == [*"01234"]
    for _ in range(4):
        late = server.connect("/lobby/one")
        assert [late.recv() for _ in range(3)] == [*"234"]
    other = server.connect("/lobby/two")
    other.send("alone")
    assert other.recv() == "alone"


_KILLED_AMID_BROADCAST = """
import os
from flask_wshandler import WebSocketCollection
from flask_wshandler.bus import connect

bus = connect("local", "told")
bus.publish = lambda *_: os.kill(os.getpid(), 9)
WebSocketCollection("log", bus=bus, history=100_000, replay=1000).broadcast("untold")
"""


@pytest.mark.parametrize("cluster", ["local"], indirect=True)
def test_what_a_killed_process_has_not_told_comes_all_the_same(cluster, listeners):
    """It is in the log: so everybody gets it, also if nothing follows."""
    server = cluster.start(2, WSHANDLER_BUS_NAME="told")
    clients = listeners(4, server.url("/log"))
    clients[0].send("first")
    server.wait_for(lambda: all(each.heard == ["first"] for each in clients), "the first")
    environment = os.environ | {"XDG_RUNTIME_DIR": cluster.runtime}
    killed = subprocess.run([sys.executable, "-c", _KILLED_AMID_BROADCAST], env=environment)
    assert killed.returncode == -signal.SIGKILL
    server.wait_for(
        lambda: all(each.heard == ["first", "untold"] for each in clients), "what was not told"
    )
