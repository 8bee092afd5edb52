"""One collection in all workers: every broadcast once to everybody, whoever it comes from."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.bus.networks import ROOT

SHELL = """
from tests.shared.app import app, clients
with app.app_context():
    for number in range(50):
        clients.broadcast(f"shell {number}")
"""

SCRIPT = """
import sys
from flask_wshandler import WebSocketCollection, bus
collection = WebSocketCollection("all", bus=bus.connect(*sys.argv[1:]))
for number in range(50):
    collection.broadcast(f"script {number}")
"""


def run(cluster, code, *arguments):
    """A Python program beside the servers, with the app's settings."""
    settings = {key: json.dumps(value) for key, value in cluster.settings.items()}
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **settings, "XDG_RUNTIME_DIR": cluster.runtime},
        cwd=ROOT,
        check=True,
        timeout=30,
    )


def numbered(prefix, count):
    return [f"{prefix} {number}" for number in range(count)]


def test_reaches_every_client_once_from_everywhere(cluster, crowd):
    """From a view, a callback, an app's shell, and a plain script, while workers are killed."""
    cluster.settings["WSHANDLER_BUS_NAME"] = "shop"
    server = cluster.start(workers=4)
    crowd.join_each(server, 50)

    victim = crowd.clients[0].pid
    os.kill(victim, signal.SIGKILL)
    killed = [client for client in crowd.clients if client.pid == victim]
    others = [client for client in crowd.clients if client.pid != victim]

    view = threading.Thread(target=server.get, args=("/say/view/50",))
    view.start()
    crowd.tell(others[0], "flood", "callback", 50)
    run(cluster, SHELL)
    run(cluster, SCRIPT, cluster.bus, "shop")
    view.join()
    for prefix in ("view", "callback", "shell", "script"):
        crowd.wait_for_texts(prefix, numbered(prefix, 50), others)

    crowd.wait_for(lambda: all(c.close_code == 1006 for c in killed), "end of the killed")
    for client in killed:
        crowd.clients.remove(client)
        texts = client.texts()
        assert len(texts) == len(set(texts))
    crowd.join(server.url("/ws"), 40)
    server.get("/say/later/50")
    crowd.wait_for_texts("later", numbered("later", 50))
    for client in others:
        assert len(client.messages) == 250


def test_nothing_is_lost_or_doubled_while_workers_come_and_go(cluster, crowd):
    """A stream from one worker, three kills of others; who stays connected misses nothing."""
    server = cluster.start(workers=4)
    speaker, *others = crowd.join_each(server, 10)
    for round_number, victim in enumerate([client.pid for client in others]):
        crowd.tell(speaker, "flood", f"before{round_number}", 300)
        os.kill(victim, signal.SIGKILL)
        crowd.tell(speaker, "flood", f"after{round_number}", 300)
        gone = [client for client in crowd.clients if client.pid == victim]
        for client in gone:
            crowd.clients.remove(client)
            texts = client.texts()
            assert len(texts) == len(set(texts))
        for when in ("before", "after"):
            prefix = f"{when}{round_number}"
            crowd.wait_for_texts(prefix, numbered(prefix, 300))
        crowd.join(server.url("/ws"), 5)


def test_two_servers_are_one_app(cluster, crowd):
    """Two gunicorns on two ports, as on two machines; no sticky sessions."""
    servers = [cluster.start(workers=2), cluster.start(workers=2)]
    for server in servers:
        crowd.join_each(server, 10)
    for number, server in enumerate(servers):
        server.get(f"/say/server{number}/50")
    for number in range(2):
        crowd.wait_for_texts(f"server{number}", numbered(f"server{number}", 50))


def test_text_bytes_and_json_arrive_as_they_were_sent(cluster, crowd):
    """Byte for byte, also what is large."""
    server = cluster.start(workers=2)
    crowd.join_each(server, 5)
    crowd.tell(crowd.clients[0], "say", "ä€😀\0")
    crowd.tell(crowd.clients[0], "say_bytes", 1 << 18)
    crowd.tell(crowd.clients[0], "say", "")
    server.get("/json")
    crowd.wait_for(lambda: all(len(c.messages) == 4 for c in crowd.clients), "messages")
    for client in crowd.clients:
        text = ["ä€😀\0", bytes(range(256)) * 1024, "", '{"\\u00e4": [1, null]}']
        assert sorted(map(repr, client.messages)) == sorted(map(repr, text))
        assert client.messages[:3] == text[:3] or client.messages.index("ä€😀\0") < 2


def test_who_is_excluded_gets_nothing(cluster, crowd):
    """All others do, in its process and elsewhere."""
    server = cluster.start(workers=2)
    crowd.join_each(server, 10)
    speaker, *others = crowd.clients
    crowd.tell(speaker, "say_to_others", "psst")
    crowd.tell(speaker, "say", "hello")
    crowd.wait_for_texts("", ["psst", "hello"], others)
    crowd.wait_for_texts("", ["hello"], [speaker])


def test_rooms_are_in_all_workers(cluster, crowd):
    """Groups: several for one handler, left by themselves at the close, dropped when empty."""
    server = cluster.start(workers=2)
    crowd.join_each(server, 6)
    for number, client in enumerate(crowd.clients):
        for room in ("all", "even" if number % 2 == 0 else "odd"):
            crowd.tell(client, "enter", room)
        crowd.wait_for(lambda client=client: len(client.texts("entered")) == 2, "entering")
    crowd.tell(crowd.clients[1], "say_in", "even", "to the even")
    crowd.tell(crowd.clients[1], "say_in", "all", "to all")
    even, odd = crowd.clients[::2], crowd.clients[1::2]
    crowd.wait_for_texts("to ", ["to the even", "to all"], even)
    crowd.wait_for_texts("to ", ["to all"], odd)

    query = "/rooms?room=all&room=even&room=odd&room=none"

    def counts():
        return server.get(query).json()["counts"]

    assert counts() == {"all": 12, "even": 6, "odd": 6, "none": 0}
    crowd.tell(even[0], "leave", "all")
    crowd.wait_for(lambda: even[0].texts("left"), "leaving")
    crowd.leave(*odd)
    crowd.wait_for(lambda: counts() == {"all": 5, "even": 6, "odd": 0, "none": 0}, "counts")
    crowd.wait_for(lambda: server.get(query).json()["here"] == ["all", "even"], "rooms here")


def test_close_all_reaches_all_workers(cluster, crowd):
    """With its code and reason."""
    server = cluster.start(workers=2)
    crowd.join_each(server, 10)
    crowd.tell(crowd.clients[0], "close_all", 4000, "closing time")
    crowd.wait_for(lambda: all(c.close_code == 4000 for c in crowd.clients), "closing")
    assert {client.close_reason for client in crowd.clients} == {"closing time"}


@pytest.mark.parametrize("kind", ["sync", "gevent"])
def test_other_workers(cluster, crowd, kind):
    """The collection is the same with sync workers and with gevent's."""
    server = cluster.start(2, kind)
    crowd.join_each(server, 10)
    server.get("/say/view/50")
    crowd.tell(crowd.clients[0], "flood", "callback", 50)
    for prefix in ("view", "callback"):
        crowd.wait_for_texts(prefix, numbered(prefix, 50))
    crowd.wait_for(lambda: len(server.get("/presence").json()["ids"]) == 20, "presence")


def test_preloaded_apps(cluster, crowd):
    """--preload: nothing of the bus is made before the fork."""
    server = cluster.start(2, "gthread", "--preload")
    crowd.join_each(server, 10)
    server.get("/say/view/50")
    crowd.wait_for_texts("view", numbered("view", 50))


def test_names_keep_deployments_apart(cluster, crowd):
    """WSHANDLER_BUS_NAME: two deployments of one app by one user."""
    blue = cluster.start(workers=1, WSHANDLER_BUS_NAME="blue")
    green = cluster.start(workers=1, WSHANDLER_BUS_NAME="green")
    (blue_client,) = crowd.join(blue.url("/ws"))
    (green_client,) = crowd.join(green.url("/ws"))
    blue.get("/say/blue/5")
    green.get("/say/green/5")
    crowd.wait_for_texts("", numbered("blue", 5), [blue_client])
    crowd.wait_for_texts("", numbered("green", 5), [green_client])


def test_a_flood_with_a_stopped_worker(cluster, crowd):
    """50,000 broadcasts: who runs gets all of them, and the sleeper what is left when it wakes."""
    server = cluster.start(workers=3)
    speaker, bystander, sleeper = crowd.join_each(server, 1)
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        crowd.tell(speaker, "flood", "m", 50_000)
        crowd.wait_for_texts("m", numbered("m", 50_000), [speaker, bystander])
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    crowd.tell(speaker, "say", "end")
    crowd.wait_for(lambda: sleeper.texts("end"), "waking up")
    numbers = [int(text[2:]) for text in sleeper.texts("m")]
    assert numbers == sorted(set(numbers))
