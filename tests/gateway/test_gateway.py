"""Bytes both ways, on every kind of server, and how either side ends."""

import threading

import pytest

from tests.deadlines import DEADLINE_S
from tests.live.wire import close, frame

from .services import read_exactly, read_to_end, reset

BINARY = 2
GATEWAYS = 60
SIZE = 32 * 2**20
"""More than the kernel keeps for two connections."""


def pattern(size):
    """Bytes of which no piece looks like its neighbour."""
    block = b"".join(n.to_bytes(4, "big") for n in range(16384))
    return (block * (size // len(block) + 1))[:size]


def read_bytes(client, size):
    """The payloads of binary messages, together so long."""
    data = bytearray()
    while len(data) < size:
        opcode, payload = client.read_frame()
        assert opcode == BINARY, (opcode, payload)
        assert len(payload) <= 65536
        data += payload
    return bytes(data)


@pytest.mark.parametrize("name", ["echo", "unix"])
def test_bytes_go_both_ways(served, name):
    """By TCP and by a Unix socket; a text is its UTF-8."""
    with served.server.raw(f"/to/{name}") as client:
        client.send(frame(BINARY, b"\x00\xff") + frame(1, "ä"))
        assert read_bytes(client, 4) == b"\x00\xff\xc3\xa4"


def test_a_class_with_an_address_can_be_routed(served):
    """`address` as an attribute."""
    with served.server.raw("/routed") as client:
        client.send(frame(BINARY, b"hello"))
        assert read_bytes(client, 5) == b"hello"


def test_what_the_client_sends_first_waits_for_the_connection(served):
    """It comes behind the handshake's request, before the service has accepted."""
    early = frame(BINARY, b"early")
    with served.server.raw("/to/played", early=early):
        assert read_exactly(served.services["played"].accept(), 5) == b"early"


def test_much_arrives_whole_at_a_slow_service(served):
    """The client is held up as long as the service does not read."""
    data = pattern(SIZE)
    with served.server.raw("/to/played") as client:
        service = served.services["played"].accept()
        frames = [frame(BINARY, data[at : at + 50_000]) for at in range(0, SIZE, 50_000)]
        is_sent = threading.Event()
        writing = threading.Thread(target=lambda: (client.send(b"".join(frames)), is_sent.set()))
        writing.start()
        assert not is_sent.wait(0.1)
        assert read_exactly(service, len(data)) == data
        writing.join(DEADLINE_S)


def test_much_arrives_whole_at_a_slow_client(served):
    """The service is held up as long as the client does not read."""
    data = pattern(SIZE)
    with served.server.raw("/to/played") as client:
        service = served.services["played"].accept()
        is_sent = threading.Event()
        writing = threading.Thread(target=lambda: (service.sendall(data), is_sent.set()))
        writing.start()
        assert not is_sent.wait(0.1)
        assert read_bytes(client, len(data)) == data
        writing.join(DEADLINE_S)


def test_the_end_of_the_service_closes_after_all_is_delivered(served):
    """With 1000."""
    data = pattern(3_000_000)
    with served.server.raw("/to/played") as client:
        service = served.services["played"].accept()
        writing = threading.Thread(target=lambda: (service.sendall(data), service.close()))
        writing.start()
        assert read_bytes(client, len(data)) == data
        assert client.read_close() == (1000, "")
        writing.join(DEADLINE_S)


@pytest.mark.parametrize("name", ["dead", "nowhere"])
def test_a_service_that_is_not_there_closes_with_1014(served, name):
    """And one line in the log, which the client does not see."""
    server = served.server
    before = server.log.count("can't reach the service")
    with server.raw(f"/to/{name}") as client:
        assert client.read_close() == (1014, "the service can't be reached")
    assert server.log.count("can't reach the service") == before + 1


def test_a_reset_closes_with_1014(served):
    """What was broken is not called an end."""
    with served.server.raw("/to/played") as client:
        service = served.services["played"].accept()
        client.send(frame(BINARY, b"hello"))
        assert read_exactly(service, 5) == b"hello"
        reset(service)
        assert client.read_close() == (1014, "the service was lost")


def test_what_a_client_has_sent_before_its_close_is_written(served):
    """Though the service reads it only afterwards; then its stream ends."""
    data = pattern(3_000_000)
    with served.server.raw("/to/played") as client:
        service = served.services["played"].accept()
        frames = [frame(BINARY, data[at : at + 60_000]) for at in range(0, len(data), 60_000)]
        writing = threading.Thread(target=lambda: client.send(b"".join(frames) + close()))
        writing.start()
        assert read_to_end(service) == data
        service.close()
        assert client.read_close()[0] == 1000
        writing.join(DEADLINE_S)


def test_a_client_that_vanishes_ends_the_service(served):
    """By a reset, amid it."""
    client = served.server.raw("/to/played")
    service = served.services["played"].accept()
    client.send(frame(BINARY, b"last words"))
    assert read_exactly(service, 10) == b"last words"
    client.reset()
    assert read_to_end(service) == b""


def test_a_gateway_has_no_thread_of_its_own(serve):
    """Where clients have none: its sockets are in the pollers' set."""
    served = serve("gthread")
    server = served.server
    with server.raw("/to/echo") as client:
        client.send(frame(BINARY, b"x"))
        assert read_bytes(client, 1) == b"x"
    before = server.threads_of(server.worker_pid)
    clients = [server.raw("/to/echo") for _ in range(GATEWAYS)]
    for client in clients:
        client.send(frame(BINARY, b"x"))
        assert read_bytes(client, 1) == b"x"
    assert server.threads_of(server.worker_pid) < before + GATEWAYS // 4
    server.end_clients()
