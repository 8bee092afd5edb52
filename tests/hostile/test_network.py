"""Clients that vanish, stand still, or come in crowds."""

import contextlib
import os
import selectors
import socket
import struct
import threading

import pytest

from tests.live.wire import close, frame, text

from .conftest import CLOSE_TIMEOUT_S, check_serves

#: `HOSTILE_STORM=10000` for more than fits into a run of all tests.
STORM_CLIENTS = int(os.environ.get("HOSTILE_STORM", "500"))
STORM_DEADLINE_S = 60
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

HALF_FRAMES = {
    "nothing": b"",
    "a byte of a frame": b"\x81",
    "half a head": b"\x82\xff\0\0\0",
    "half a mask": b"\x81\x85\0\0",
    "half a text": text("hello")[:-2],
    "half a large message": b"\x82\xff" + struct.pack("!Q", 90_000) + bytes(40_000),
    "half a close": close(1000, "bye")[:-2],
    "a fragment": frame(1, b"begun", fin=False),
}


def id_of(server, *parts):
    return "-".join((server.kind, *parts)).replace(" ", "-")


def check_closed_once(server, id, *codes):
    """`on_close`, last and once, with one of these codes."""
    assert server.wait_for_event("close", id)["code"] in codes
    names = [event["event"] for event in server.events(id)]
    assert (names[0], names[-1]) == ("open", "close")
    assert names.count("close") == 1


@pytest.mark.matrix("nothing", "half a large message", "a fragment")
@pytest.mark.parametrize("what", HALF_FRAMES)
def test_a_client_is_reset_amid_a_frame(server, what):
    """1006."""
    id = id_of(server, "reset", what)
    client = server.raw(f"/recorder/{id}")
    server.wait_for_event("open", id)
    client.send(HALF_FRAMES[what])
    client.reset()
    check_closed_once(server, id, 1006)


@pytest.mark.matrix("nothing", "half a large message", "a fragment")
@pytest.mark.parametrize("what", HALF_FRAMES)
def test_a_client_ends_its_stream_amid_a_frame(server, what):
    """1006; and our end of the stream is ended, too."""
    id = id_of(server, "half-closed", what)
    with server.raw(f"/recorder/{id}") as client:
        client.send(HALF_FRAMES[what])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_close()[0] == "EOF"
        check_closed_once(server, id, 1006)


def test_a_client_is_reset_amid_the_closing_handshake(server):
    """After our close frame, and after its own."""
    for number in range(20):
        id = id_of(server, "reset-in-close", str(number))
        client = server.raw(f"/recorder/{id}")
        server.wait_for_event("open", id)
        client.send(text("close") if number % 2 else close(1000))
        if number % 4 < 2:
            client.read_close()
        client.reset()
        # Depends on whether the reset came before what was sent before it was read.
        check_closed_once(server, id, 4000, 1000, 1006)


def test_a_client_ends_its_stream_behind_its_close_frame(server):
    """The answer still comes, and no reset."""
    for number in range(20):
        id = id_of(server, "end-behind-close", str(number))
        with server.raw(f"/recorder/{id}") as client:
            client.send(close(1000))
            client.socket.shutdown(socket.SHUT_WR)
            assert client.read_close()[0] == 1000
            assert client.read_to_end()
        check_closed_once(server, id, 1000)


def test_a_client_that_goes_on_sending_when_it_is_closed(server):
    """What it had sent is not answered with a reset, which would take our close frame from it."""
    for number in range(10):
        id = id_of(server, "sends-at-close", str(number))
        with server.raw(f"/recorder/{id}") as client:
            client.send(text("close") + text("x" * 1000) * 500)
            assert client.read_close()[0] == 4000
            client.send(close(4000))
            assert client.read_to_end()
        check_closed_once(server, id, 4000)
        assert sum(event["event"] == "message" for event in server.events(id)) == 1


def test_a_client_that_sends_for_ever_after_our_close(server):
    """It is let go of after `close_timeout`, however much it still sends."""
    id = id_of(server, "never-stops")
    client = server.raw(f"/recorder/{id}")
    client.send(close(1000))
    junk = bytes(65536)
    client.socket.settimeout(30)
    with contextlib.suppress(ConnectionError):
        while True:
            client.send(junk)
    check_closed_once(server, id, 1000)


def test_a_client_that_reads_nothing_is_given_up(server):
    """1013 when the queue is full; the socket is let go of though nothing of it is taken."""
    clients = []
    for number in range(5):
        id = id_of(server, "reads-nothing", str(number))
        clients.append(server.raw())
        clients[-1].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        clients[-1].handshake(f"/flood/{id}")
    check_serves(server)
    pid = server.worker_pid
    for number in range(5):
        check_closed_once(server, id_of(server, "reads-nothing", str(number)), 1013)
    server.wait_for(lambda: not descriptors_to(pid, clients), "release of the sockets")


def test_a_client_that_sends_much_and_reads_nothing(server):
    """What its echoes would take is bounded; it is closed, and its own sending ends."""
    client = server.raw("/echo")
    client.socket.settimeout(30)
    message = text("x" * 60_000)
    with contextlib.suppress(ConnectionError):
        while True:
            client.send(message)


def descriptors_to(pid, clients):
    """The descriptors of `pid` that are connections to `clients`."""
    ports = {client.socket.getsockname()[1] for client in clients}
    inodes = set()
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            columns = line.split()
            if int(columns[2].rpartition(":")[2], 16) in ports:
                inodes.add(f"socket:[{columns[9]}]")
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                found.append(fd)
    return found


def cpu_s(pid):
    """What a process has used of the processor, in seconds."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S


@pytest.mark.parametrize("ends_stream", [False, True])
def test_waiting_for_a_client_that_reads_nothing_costs_nothing(server, ends_stream):
    """While our last words can't be written, whether or not its own stream has ended."""
    pid = server.worker_pid
    client = server.raw()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    id = id_of(server, "last-words", str(ends_stream))
    client.handshake(f"/last-words/{id}")
    before_s = cpu_s(pid)
    client.send(text("8000000") + close(4000))
    if ends_stream:
        client.socket.shutdown(socket.SHUT_WR)
    check_closed_once(server, id, 4000)
    server.wait_for(lambda: not descriptors_to(pid, [client]), "release of the socket")
    assert cpu_s(pid) - before_s < CLOSE_TIMEOUT_S / 2


# Crowds.


def connect_all(server, count):
    """So many sockets that are connected, all begun at once."""
    address = server.host.split(":")[0], server.port
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        selector.register(sock, selectors.EVENT_WRITE)
        sockets.append(sock)
    with selector:
        while selector.get_map():
            ready = selector.select(STORM_DEADLINE_S)
            assert ready, f"{len(selector.get_map())} of {count} were not connected"
            for key, _ in ready:
                selector.unregister(key.fileobj)
    return sockets


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.matrix("half a handshake", "a message")
@pytest.mark.parametrize("sent", ["nothing", "half a handshake", "a handshake", "a message"])
def test_a_storm_of_clients_that_connect_and_reset(server, sent):
    """At any stage; the next client is served."""
    with server.raw() as client:
        request = client.request("/echo")
    data = {
        "nothing": b"",
        "half a handshake": request[:60],
        "a handshake": request,
        "a message": request + text("hello"),
    }[sent]
    sockets = connect_all(server, STORM_CLIENTS)
    for sock in sockets:
        if data:
            with contextlib.suppress(ConnectionError, BlockingIOError):
                sock.send(data)
    for sock in sockets:
        reset(sock)
    check_serves(server)


def test_a_storm_of_clients_that_are_served_and_reset(server):
    """All open at once, all answered, all gone at once."""
    sockets = connect_all(server, STORM_CLIENTS)
    with server.raw() as client:
        request = client.request("/echo") + text("hello")
    selector = selectors.DefaultSelector()
    received = {}
    for sock in sockets:
        sock.send(request)
        received[sock] = b""
        selector.register(sock, selectors.EVENT_READ)
    with selector:
        while selector.get_map():
            ready = selector.select(STORM_DEADLINE_S)
            assert ready, f"{len(selector.get_map())} of {len(sockets)} were not answered"
            for key, _ in ready:
                received[key.fileobj] += key.fileobj.recv(4096)
                if received[key.fileobj].endswith(b"\x81\x05hello"):
                    selector.unregister(key.fileobj)
    assert server.get("/stats").json()["connections"] == len(sockets)
    for sock in sockets:
        reset(sock)


def test_clients_that_come_and_go_beside_one_that_stays(server):
    """Its messages are neither lost nor mixed up."""
    failures = []

    def come_and_go():
        try:
            for number in range(50):
                client = server.raw("/echo")
                client.send(text("x")[: number % 7])
                client.reset() if number % 2 else client.end()
        except Exception as error:
            failures.append(error)

    with server.raw("/echo") as stays:
        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(300):
            stays.send(text(f"message {number}"))
            assert stays.read_text() == f"message {number}"
        for thread in threads:
            thread.join()
    assert not failures
