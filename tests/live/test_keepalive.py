"""Pings, silent peers and peers that do not answer a close; and what an idle client costs."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest
from websockets.frames import Opcode

from tests.deadlines import DEADLINE_S

from .serving import Server
from .wire import frame, text

KINDS = ["gthread", "gevent", "tls"]
QUICK_PINGS = {"WSHANDLER_PING_INTERVAL": 0.2, "WSHANDLER_PING_TIMEOUT": 0.8}
LONG_S = 1.6
"""Longer than both; and a client on a busy machine may need most of them."""
MEGABYTE = 1_000_000
BLOB_HEAD_BYTES = 10


class Answering:
    """A client that answers pings at once, in a thread, and keeps the rest of what it reads."""

    def __init__(self, client):
        self._client = client
        self._changed = threading.Condition()
        # Guarded by _changed.
        self._texts = []
        self._is_over = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError, ValueError):  # the test has ended it
            while (found := self._client.read_frame()) is not None:
                opcode, payload = found
                if opcode is Opcode.PING:
                    self._client.send(frame(Opcode.PONG))
                elif opcode is Opcode.TEXT:
                    with self._changed:
                        self._texts.append(payload.decode())
                        self._changed.notify()
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def read_text(self):
        """The next text; None when the connection is over."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._texts or self._is_over, DEADLINE_S)
            return self._texts.pop(0) if self._texts else None

    def send(self, data):
        self._client.send(data)


@pytest.fixture(scope="module", params=KINDS)
def pinging(request, tmp_path_factory):
    """A server that gives a silent client a second, and a closed one as long."""
    server = Server(
        request.param,
        tmp_path_factory.mktemp("pinging"),
        WSHANDLER_CLOSE_TIMEOUT=1.0,
        **QUICK_PINGS,
    )
    yield server
    server.stop()


def check_alive(*clients):
    for client in clients:
        client.send(text("burst 1"))
        assert client.read_text() == "burst 0"


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_who_answers_behind_its_callback_is_alive(pinging, how):
    """Its pongs are unread for longer than both times; so are the other's when the hub stands."""
    client, other = (Answering(pinging.raw(f"/record/recorder/{how}-{name}")) for name in "ab")
    client.send(text(f"{how} {LONG_S}"))
    assert client.read_text() == "awake"
    check_alive(client, other)


def test_who_answers_while_it_is_opened_is_alive(pinging):
    """`on_open` is a callback as well."""
    client = Answering(pinging.raw("/record/opens-slowly/opens-slowly"))
    assert client.read_text() == "awake"
    check_alive(client)


def test_who_answers_behind_busy_threads_is_alive(start):
    """All threads are inside callbacks, and nobody reads the pongs of those who are idle."""
    server = start("gthread", WSHANDLER_THREADS=2, **QUICK_PINGS)
    clients = [Answering(server.raw(f"/record/recorder/{number}")) for number in range(6)]
    check_alive(*clients)
    for client in clients[:3]:
        client.send(text(f"sleep {LONG_S}"))
    assert [client.read_text() for client in clients[:3]] == ["awake"] * 3
    check_alive(*clients)


def test_who_answers_while_the_worker_is_stopped_is_alive(pinging):
    """SIGSTOP, as a debugger or a frozen machine has it."""
    client = Answering(pinging.raw("/record/recorder/stopped"))
    check_alive(client)
    pid = pinging.worker_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(LONG_S)  # for what is not to happen there is no event
    finally:
        os.kill(pid, signal.SIGCONT)
    check_alive(client)


def read_slowly(client, size, bytes_per_s):
    """Read `size` bytes from the socket, in small pieces."""
    started_s = time.monotonic()
    count = 0
    while count < size:
        data = client.socket.recv(min(20_000, size - count))
        assert data, f"the end came after {count} bytes"
        count += len(data)
        time.sleep(max(0.0, started_s + count / bytes_per_s - time.monotonic()))


def slow_client(server, path):
    """A client that has little room, so that what it has not read is with the server's system."""
    client = server.raw()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
    client.handshake(path)
    return client


def test_who_reads_slowly_is_alive(pinging):
    """All is with the server's system, nothing in our queue, and the ping stands behind it."""
    client = slow_client(pinging, "/record/recorder/reads-slowly")
    client.send(text(f"blob {MEGABYTE}"))
    read_slowly(client, BLOB_HEAD_BYTES + MEGABYTE, 400_000)
    check_alive(Answering(client))


def test_who_reads_slowly_gets_its_close_frame(pinging):
    """What is queued before it may take longer than the time for the close."""
    client = slow_client(pinging, "/record/recorder/closed-while-reading")
    size = 6 * MEGABYTE  # more than the system keeps
    client.send(text(f"blob {size} 4000"))
    read_slowly(client, BLOB_HEAD_BYTES + size, 3 * MEGABYTE)
    assert client.read_close()[0] == 4000


@pytest.mark.parametrize("what", ["blob 3000000", "burst 3"])
def test_who_takes_but_does_not_read_is_lost(pinging, what):
    """Its system acknowledges: all of a little, and no more than has room of much."""
    id = what.replace(" ", "-")
    slow_client(pinging, f"/record/recorder/{id}").send(text(what))
    assert pinging.wait_for_event("close", id)["code"] == 1006


@pytest.mark.parametrize("kind", KINDS)
def test_who_goes_on_sending_after_the_close_is_reset(start, kind):
    """After some megabytes, whoever closed why, long before the time for the close is over."""
    server = start(kind, WSHANDLER_CLOSE_TIMEOUT=600)
    too_much = b"\x82\xff" + (2**40).to_bytes(8, "big") + bytes(4)
    for code, last in ((4000, text("close 4000")), (1009, too_much)):
        client = server.raw(f"/record/recorder/{code}")
        client.send(last)
        check_is_stopped(client)
        assert server.wait_for_event("close", str(code))["code"] == code


def check_is_stopped(client):
    sent = 0
    junk = frame(Opcode.BINARY, bytes(65_000))
    with pytest.raises(OSError):
        while True:
            client.send(junk)
            sent += len(junk)
            assert sent < 40 * MEGABYTE


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
