"""Limits of a whole process, and what is said when they are reached."""

import concurrent.futures
import resource

import pytest

from .serving import KINDS
from .wire import close


def test_connections_from_one_address(start):
    """429 past `WSHANDLER_MAX_CONNECTIONS_PER_IP`, with Retry-After; a close frees a place."""
    server = start("gthread", WSHANDLER_MAX_CONNECTIONS_PER_IP=3)
    clients = [server.raw("/echo") for _ in range(3)]
    refused = server.raw("/echo")
    assert refused.status == 429
    assert int(refused.header("Retry-After")) > 0
    clients[0].send(close(1000))
    assert clients[0].read_close()[0] == 1000
    server.wait_for(lambda: server.raw("/echo").status == 101, "free place")


def test_no_more_are_let_in_at_once_than_one_after_the_other(start):
    """Places are taken at the handshake, not when the connection opens."""
    server = start("gthread", WSHANDLER_MAX_CONNECTIONS=5)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: server.raw("/echo").status, range(20)))
    assert sorted(statuses) == [101] * 5 + [503] * 15


def test_descriptors_bound_the_connections_too(start):
    """Else the server could not accept the next connection, and gunicorn's worker would end."""
    server = start("gthread")
    pid = server.worker_pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (100, 100))
    clients = [server.raw("/echo") for _ in range(80)]
    assert [client.status for client in clients] == [101] * 75 + [503] * 5
    assert "ulimit -n" in server.log
    assert server.worker_pid == pid
    for client in clients[:10]:
        client.end()
    server.wait_for(lambda: server.raw("/echo").status == 101, "free place")


def test_a_handshake_that_is_not_finished_takes_no_place(start):
    """An `after_request` function has replaced the response."""
    server = start("gthread", WSHANDLER_MAX_CONNECTIONS=1)
    for _ in range(3):
        assert server.raw("/echo?replace=1").status == 418
    assert server.raw("/echo").status == 101


def test_a_slow_callback_is_logged_with_its_stack(start):
    """`WSHANDLER_SLOW_CALLBACK_S`; others go on meanwhile."""
    server = start("gthread", WSHANDLER_SLOW_CALLBACK_S=0.2)
    client = server.connect("/record/recorder/slow-callback")
    client.send("sleep 5")
    server.wait_for(lambda: "has been running for over 0.2 seconds" in server.log, "warning")
    assert "Recorder.on_message on /record/recorder/slow-callback" in server.log
    assert "time.sleep" in server.log
    other = server.connect("/echo")
    other.send("quick")
    assert other.recv() == "quick"
    other.close()


@pytest.mark.parametrize(
    "kind, arguments", [*((kind, ()) for kind in KINDS), ("werkzeug", ("--debug",))]
)
def test_who_is_gone_before_the_answer_takes_no_place(start, kind, arguments):
    """Nor is it an error: a reset while the view is still busy."""
    server = start(kind, *arguments, WSHANDLER_MAX_CONNECTIONS=2)
    for number in range(4):
        client = server.raw()
        client.send(client.request(f"/late/{number}"))
        server.wait_for_event("asked", str(number))
        client.reset()
        server.wait_for_event("accepted", str(number))
    clients = []

    def connect():
        client = server.raw("/echo")
        clients.append(client)
        return client.status == 101

    for _ in range(2):
        server.wait_for(connect, "a place")
    assert server.raw("/echo").status == 503
    assert "Traceback" not in server.log
