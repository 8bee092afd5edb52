"""What goes wrong on our own side: descriptors, disks, networks, and the user's code."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile

import pytest

from tests.live.serving import HERE
from tests.live.wire import RawClient, text
from tests.ports import free_port

from .conftest import APP, KINDS, check_serves

FEW_DESCRIPTORS = 60


def events_of(server, id):
    return [event["event"] for event in server.events(id)]


# The user's code.

EXCEPTIONS = ["ValueError", "SystemExit", "RecursionError", "MemoryError"]
OTHERS = ["KeyboardInterrupt", "CancelledError", "GeneratorExit", "Timeout"]
WHERES = {
    "on_open": ["on_open", "on_error", "on_close"],
    "on_message": ["on_open", "on_message", "on_error", "on_close"],
    "on_error": ["on_open", "on_error", "on_close"],
    "on_close": ["on_open", "on_message", "on_close", "on_error"],
    "all": ["on_open", "on_error", "on_close"],
}


@pytest.fixture(scope="module")
def fault_server(session_server):
    """Its log may be full of tracebacks; it serves and stays all the same."""
    yield session_server
    session_server.end_clients()


def check_ends_its_client_only(server, where, error):
    id = f"{server.kind}-{where}-{error}"
    pid = server.worker_pid
    with server.raw("/echo") as other, server.raw(f"/raises/{where}/{error}/{id}") as client:
        if where not in ("on_open", "all"):
            client.send(text("x"))
        if where != "on_close":
            assert client.read_close()[0] == 1011
        client.end()
        server.wait_for(lambda: len(events_of(server, id)) >= len(WHERES[where]), "callbacks")
        assert events_of(server, id) == WHERES[where], (where, error)
        other.send(text("and you?"))
        assert other.read_text() == "and you?"
    check_serves(server)
    assert server.worker_pid == pid


@pytest.mark.matrix(
    "ValueError-on_open",
    "SystemExit-on_message",
    "RecursionError-on_error",
    "MemoryError-on_close",
    "SystemExit-all",
)
@pytest.mark.parametrize("where", WHERES)
@pytest.mark.parametrize("error", EXCEPTIONS)
def test_a_callback_that_raises_ends_its_client_only(fault_server, where, error):
    """With 1011; the client beside it notices nothing."""
    check_ends_its_client_only(fault_server, where, error)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_exception_ends_its_client_only(start, kind):
    """Such as `asyncio.CancelledError` and `gevent.Timeout`, which code in a callback may raise."""
    server = start(kind)
    for error in OTHERS:
        for where in WHERES:
            check_ends_its_client_only(server, where, error)


def test_a_teardown_function_that_raises_ends_its_client_only(fault_server):
    """As a callback's exception does."""
    server = fault_server
    id = f"{server.kind}-teardown"
    with server.raw("/echo") as other, server.raw(f"/raises-in-teardown/{id}") as client:
        client.send(text("x"))
        assert client.read_close()[0] == 1011
        client.end()
        server.wait_for_event("close", id)
        assert events_of(server, id) == ["open", "message", "close"]
        other.send(text("and you?"))
        assert other.read_text() == "and you?"
    check_serves(server)


# Descriptors.


def is_served(client):
    """Whether a client gets its handshake and an answer; not if it is refused or cut off."""
    try:
        if client.handshake("/echo") != 101:
            return False
        client.send(text("x"))
        return client.read_text() == "x"
    except (OSError, EOFError, TypeError):
        return False


# Not gthread: gunicorn ends such a worker when it can accept nobody for lack of descriptors. That
# our clients leave it some is in tests/live/test_limits.py.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gthread"])
def test_a_process_without_descriptors_keeps_its_clients(start, kind):
    """New ones are refused, until some of the old ones leave; nobody else is cut off."""
    server = start(kind)
    pid = server.worker_pid
    check_serves(server)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, FEW_DESCRIPTORS))
    clients = []
    while True:
        assert len(clients) < FEW_DESCRIPTORS
        client = server.raw()
        client.socket.settimeout(1)
        if not is_served(client):
            client.end()
            break
        clients.append(client)
    assert len(clients) > 10
    crowd = [server.raw() for _ in range(FEW_DESCRIPTORS)]  # more than can be accepted
    for client in crowd:
        client.send(client.request("/echo"))
    for client in clients:
        client.send(text("still there?"))
        assert client.read_text() == "still there?"
    for client in (*crowd, *clients[:10]):
        client.end()
    server.wait_for(lambda: is_served(server.raw()), "place for a new client")
    for client in clients[10:]:
        client.send(text("still there?"))
        assert client.read_text() == "still there?"
    assert server.worker_pid == pid


# The network.


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_vanish_without_a_word_are_noticed(start, kind):
    """By their silence after a ping: idle, amid a frame, and with a full queue."""
    server = start(
        kind, WSHANDLER_PING_INTERVAL=0.2, WSHANDLER_PING_TIMEOUT=0.4, WSHANDLER_CLOSE_TIMEOUT=0.5
    )
    server.raw("/recorder/idle")
    server.raw("/recorder/half").send(text("hello")[:-1])
    server.raw("/last-words/full").send(text("8000000"))
    assert server.wait_for_event("close", "idle")["code"] == 1006
    assert server.wait_for_event("close", "half")["code"] == 1006
    assert server.wait_for_event("close", "full")["code"] == 4000
    server.wait_for(lambda: server.get("/stats").json()["connections"] == 0, "departure")
    check_serves(server)


# The disk.


class ServerWithoutLog:
    """A server that can write nowhere what it has to say."""

    def __init__(self, kind, directory):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        events = directory / "events"
        events.touch()
        self._runtime = tempfile.TemporaryDirectory(prefix="ws-")
        if kind == "werkzeug":
            command = ["flask", "--app", APP, "run", "--port", str(self.port)]
            self._stop_signal = signal.SIGINT
        else:
            options = ["--threads", "4"] if kind == "gthread" else ["--worker-class", kind]
            command = ["gunicorn", "--bind", self.host, *options, "--access-logfile", "-", APP]
            self._stop_signal = signal.SIGTERM
        with open("/dev/full", "wb") as full:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={
                    **os.environ,
                    "EVENTS": str(events),
                    "PYTHONPATH": str(HERE.parents[1]),
                    "PYTHONUNBUFFERED": "1",
                    "XDG_RUNTIME_DIR": self._runtime.name,
                },
                cwd=directory,
                stdout=full,
                stderr=full,
            )

    def raw(self, path):
        client = RawClient(self.host)
        assert client.handshake(path) == 101
        return client

    def stop(self):
        self.process.send_signal(self._stop_signal)
        self.process.wait(30)
        self._runtime.cleanup()


@pytest.fixture(params=["sync", "gthread", "gevent"])
def server_without_log(request, tmp_path):
    server = ServerWithoutLog(request.param, tmp_path)
    yield server
    server.stop()


def answers(server):
    with contextlib.suppress(OSError, EOFError), RawClient(server.host) as client:
        return client.handshake("/echo") == 101
    return False


def test_a_full_disk_under_the_log_stops_nothing(server_without_log, wait_until):
    """Not even callbacks that raise, which want their tracebacks written."""
    server = server_without_log
    wait_until(lambda: answers(server), "answer")
    with server.raw("/echo") as other:
        for error in ("ValueError", "SystemExit"):
            with server.raw(f"/raises/all/{error}/x") as client:
                assert client.read_close()[0] == 1011
        other.send(text("and you?"))
        assert other.read_text() == "and you?"
    assert server.process.poll() is None
