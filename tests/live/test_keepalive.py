"""Pings, silent peers and peers that do not answer a close; and what an idle client costs."""

import time

import pytest
from websockets.frames import Opcode

from .wire import frame, text

KINDS = ["gthread", "gevent", "tls"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_peer_is_noticed(start, kind):
    """Pings every interval; who answers nothing for the time-out is lost, `on_close` runs."""
    server = start(kind, WSHANDLER_PING_INTERVAL=0.2, WSHANDLER_PING_TIMEOUT=0.6)
    dead, alive = server.raw("/record/recorder/dead"), server.raw("/record/recorder/alive")
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s:
        assert alive.read_frame() == (Opcode.PING, b"")
        alive.send(frame(Opcode.PONG))
    assert server.wait_for_event("close", "dead")["code"] == 1006
    alive.send(text("burst 1"))
    while (found := alive.read_frame())[0] is Opcode.PING:
        pass
    assert found == (Opcode.TEXT, b"burst 0")
    dead.end()
    alive.end()


@pytest.mark.parametrize("kind", KINDS)
def test_a_close_that_is_not_answered_ends_all_the_same(start, kind):
    """`WSHANDLER_CLOSE_TIMEOUT`."""
    server = start(kind, WSHANDLER_CLOSE_TIMEOUT=0.3)
    with server.raw("/record/recorder/unanswered") as client:
        client.send(text("close 4000"))
        assert client.read_close()[0] == 4000
        assert server.wait_for_event("close", "unanswered")["code"] == 4000
        assert client.read_frame() is None


@pytest.mark.parametrize(("kind", "threads"), [("sync", 1), ("gthread", 1 + 4)])
def test_idle_clients_cost_no_threads(start, kind, threads):
    """Promise 3: a timer, a monitor and a poller, beside what the server has without us."""
    server = start(kind)
    clients = [server.raw("/echo") for _ in range(300)]
    for client in clients[:20]:
        client.send(text("x"))
        assert client.read_text() == "x"
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 300, "all")
    # A busy machine may have made the monitor add pollers; they end after 10 s without work.
    pid = server.worker_pid
    server.wait_for(lambda: server.threads_of(pid) <= threads + 3, "return to few threads", 25)
    for client in clients:
        client.end()
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")


def test_nothing_is_left_of_clients_that_have_gone(server):
    """Descriptors, after 200 that come and go in all manners."""
    pid = server.worker_pid
    server.connect("/echo").close()
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")
    before = server.descriptors_of(pid)
    for number in range(200):
        client = server.raw("/echo")
        if number % 4 == 0:
            client.send(text("x"))
            client.read_text()
        if number % 2:
            client.reset()
        else:
            client.end()
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")
    server.wait_for(lambda: server.descriptors_of(pid) <= before + 2, "closing of descriptors")
