"""Services and clients that do wrong, and what a process lacks: one client's matter each."""

import contextlib
import os
import re
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S
from tests.live.wire import close, frame

from .services import read_exactly, read_to_end, reset
from .test_gateway import BINARY, SIZE, read_bytes

KINDS = ["gthread", "gevent", "tls"]
"""Each way of serving: on the pollers, in a greenlet, in a thread."""


MAX_GROWTH_BYTES = 16 * 2**20


@pytest.fixture(scope="module")
def resting(module_server):
    """How many descriptors the worker has that has served a gateway, and serves none."""
    server = module_server.server
    check_serves(module_server)
    server.wait_for(server.is_on_the_bus, "place on the bus")
    pid = server.worker_pid
    server.wait_for(lambda: not links_of(module_server, pid), "end of the gateway")
    return server.descriptors_of(pid)


@pytest.fixture
def quiet(module_server, resting):
    """A server whose worker has as many descriptors in the end as in the beginning."""
    server = module_server.server
    pid = server.worker_pid
    yield module_server
    server.end_clients()
    module_server.end_services()
    assert server.worker_pid == pid
    server.wait_for(lambda: server.descriptors_of(pid) <= resting, f"return to {resting} files")
    assert "given up" not in server.log


def links_of(served, pid):
    """The worker's connections to the service that echoes."""
    port = f":{served.services['echo'].address[1]:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {fields[9] for fields in map(str.split, lines) if fields[2].endswith(port)}
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(path).removeprefix("socket:[").removesuffix("]"))
    return found & inodes


def memory_of(pid):
    """What of its memory is there, in bytes."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def check_serves(served):
    """Another client is served meanwhile."""
    with served.server.raw("/to/echo") as client:
        client.send(frame(BINARY, b"still there?"))
        assert read_bytes(client, 12) == b"still there?"


def test_a_service_that_never_reads_holds_up_its_client_only(quiet):
    """What waits for it is bounded, and the client's end ends it."""
    with quiet.server.raw("/to/played?id=stuck") as client:
        service = quiet.services["played"].accept()
        client.socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            client.send(frame(BINARY, bytes(60_000)) * (SIZE // 60_000))
        check_serves(quiet)
        client.socket.settimeout(DEADLINE_S)
    # A client that is not read is found to be gone when it is pinged; this one says it.
    service.close()


def test_a_service_that_floods_fills_no_memory(quiet):
    """Neither while its client reads nothing nor behind the client's end."""
    pid = quiet.server.worker_pid
    before_bytes = memory_of(pid)
    client = quiet.server.raw("/to/played")
    service = quiet.services["played"].accept()
    sent = []

    def flood():
        with contextlib.suppress(OSError):
            while True:
                sent.append(service.send(bytes(65536)))

    flooding = threading.Thread(target=flood)
    flooding.start()
    check_serves(quiet)
    quiet.server.wait_for(lambda: sum(sent) > 2**20, "flood")
    assert memory_of(pid) < before_bytes + MAX_GROWTH_BYTES
    client.reset()
    flooding.join(DEADLINE_S)
    assert not flooding.is_alive()


def test_a_service_that_stays_behind_its_client_is_left(quiet):
    """It is told the end, and has some seconds for its own."""
    with quiet.server.raw("/to/played") as client:
        service = quiet.services["played"].accept()
        client.send(close())
        assert client.read_close()[0] == 1000
    assert read_to_end(service) == b""


@pytest.mark.parametrize("name", ["reset", "close", "end"])
def test_a_client_may_vanish_before_its_service_accepts(quiet, name):
    """At once behind the handshake."""
    client = quiet.server.raw("/to/played")
    if name == "close":
        client.send(close())
    (client.reset if name == "reset" else client.end)()
    # The kernel has accepted for the service, perhaps.
    service = quiet.services["played"].accept()
    with contextlib.suppress(ConnectionResetError):
        assert read_to_end(service) == b""
    service.close()
    check_serves(quiet)


def test_a_service_that_resets_amid_a_stream(quiet):
    """While both directions are full."""
    with quiet.server.raw("/to/played") as client:
        service = quiet.services["played"].accept()

        def send():
            with contextlib.suppress(OSError):
                client.send(frame(BINARY, bytes(60_000)) * 100)

        sending = threading.Thread(target=send)
        sending.start()
        read_exactly(service, 100_000)
        reset(service)
        assert client.read_close() == (1014, "the service was lost")
        sending.join(DEADLINE_S)


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_does_not_answer_is_given_up(serve, kind):
    """After `connect_timeout`; whose client vanishes before that is given up at once."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(8):
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(full.getsockname())
        waiting.append(each)
    served = serve(kind, addresses={"silent": list(full.getsockname())})
    server = served.server
    with server.raw("/to/silent") as client:
        assert client.read_close() == (1014, "the service can't be reached")
    assert "timed out" in server.log
    server.raw("/to/silent?id=gone").reset()
    assert server.wait_for_event("close", "gone")["code"] == 1006
    for each in (full, *waiting):
        each.close()


def test_a_unix_service_may_be_busy_for_a_while(serve, tmp_path):
    """Its listener's queue is full: the kernel does not wait, so the gateway does."""
    path = str(tmp_path / "busy")
    busy = socket.socket(socket.AF_UNIX)
    busy.bind(path)
    busy.listen(0)
    waiting = []
    for _ in range(8):
        each = socket.socket(socket.AF_UNIX)
        each.setblocking(False)
        each.connect_ex(path)
        waiting.append(each)
    served = serve("gthread", addresses={"busy": path})
    with served.server.raw("/to/busy") as client:
        client.send(frame(BINARY, b"hello"))
        for each in waiting:
            each.close()
        busy.settimeout(DEADLINE_S)
        found = b""
        while found != b"hello":
            service, _ = busy.accept()
            with service:
                found = service.recv(5)
    busy.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_gateways_in_time(serve, kind, number):
    """Also those whose service takes nothing."""
    served = serve(kind, WSHANDLER_CLOSE_TIMEOUT=1.0, WSHANDLER_DRAIN_SECONDS=0.1)
    server = served.server
    pid = server.worker_pid
    stuck = server.raw("/to/played")
    service = served.services["played"].accept()
    stuck.socket.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        stuck.send(frame(BINARY, bytes(60_000)) * (SIZE // 60_000))
    with server.raw("/to/played") as client:
        other = served.services["played"].accept()
        server.signal(number)
        assert client.read_close()[0] in (1001, 1012)
        client.send(close(1001))
        assert read_to_end(other) == b""
    server.wait_for(lambda: not server.is_running(pid), "end of the worker", 20)
    service.close()
