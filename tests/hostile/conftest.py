"""Servers that hostile clients meet; whatever they do, the next client must be served."""

import re
import time

import pytest

from tests.live.serving import Server, starting
from tests.live.wire import text

KINDS = ["sync", "gthread", "gevent", "werkzeug"]
APP = "tests.hostile.app:app"
POOL_THREADS = 4  # `--threads`
MAX_MESSAGE_BYTES = 100_000
CLOSE_TIMEOUT_S = 1.0
REST_DEADLINE_S = 40  # a thread that was added for a storm ends after 10 s without work


def check_serves(server):
    """A client and an HTTP request are answered."""
    with server.raw("/echo") as client:
        assert client.status == 101
        client.send(text("still there?"))
        assert client.read_text() == "still there?"
    assert server.get("/").body == "plain"


def check_log(server, log):
    """Nobody has had to be surprised."""
    assert not re.search(r"Traceback|given up|WORKER TIMEOUT|Worker \(pid", log), log[-5000:]


@pytest.fixture(scope="session", params=KINDS)
def session_server(request, tmp_path_factory):
    running = Server(
        request.param,
        tmp_path_factory.mktemp(request.param),
        app=APP,
        in_earnest=True,
        WSHANDLER_COMPRESSION=True,
        WSHANDLER_MAX_MESSAGE_SIZE=MAX_MESSAGE_BYTES,
        WSHANDLER_CLOSE_TIMEOUT=CLOSE_TIMEOUT_S,
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def resting_server(session_server):
    """A server whose worker has as many threads and descriptors in the end as in the beginning."""
    server = session_server
    for _ in range(20):
        check_serves(server)
    pid = server.worker_pid
    server.wait_for(server.is_on_the_bus, "place on the bus")  # it has a descriptor for that
    descriptors, threads = rest(server, pid)
    yield server
    assert server.worker_pid == pid
    server.wait_for(
        lambda: server.descriptors_of(pid) <= descriptors,
        f"return to {descriptors} descriptors",
        REST_DEADLINE_S,
    )
    # gunicorn starts the threads of its pool one by one, when it needs them.
    most = threads + (POOL_THREADS - 1 if server.kind == "gthread" else 0)
    server.wait_for(
        lambda: server.threads_of(pid) <= most, f"return to {most} threads", REST_DEADLINE_S
    )


def rest(server, pid):
    """The descriptors and threads of a worker that has no clients any more."""
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")
    found = None

    def is_stable():
        nonlocal found
        last, found = found, (server.descriptors_of(pid), server.threads_of(pid))
        return last == found

    server.wait_for(is_stable, "rest")
    return found


@pytest.fixture
def server(resting_server):
    """One of each kind, which must serve the next client and have nothing odd in its log."""
    server = resting_server
    pid = server.worker_pid
    seen = len(server.log)
    yield server
    server.end_clients()
    check_serves(server)
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")
    assert server.worker_pid == pid
    check_log(server, server.log[seen:])


@pytest.fixture
def start(tmp_path):
    """Start a server of one's own: `start(kind, *arguments, WSHANDLER_…=…)`."""
    with starting(tmp_path, app=APP) as start:
        yield start


@pytest.fixture
def wait_until():
    """Ask until the answer is true: `wait_until(question, what)`."""

    def wait_until(question, what, deadline_s=30):
        until_s = time.monotonic() + deadline_s
        while not question():
            assert time.monotonic() < until_s, f"no {what} in {deadline_s} s"
            time.sleep(0.01)

    return wait_until
