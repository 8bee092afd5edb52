"""Clients that come back: nothing is lost either way, and the service waits meanwhile."""

import random
import threading

import pytest
from flask import Flask

from flask_wshandler import TcpGateway, WebSockets, accept_websocket_request
from flask_wshandler.client import connect
from flask_wshandler.testing import websocket_connect, worker_of
from tests.deadlines import DEADLINE_S
from tests.resume.cutting_proxy import Cut, CuttingProxy

from .services import Service, read_exactly
from .test_gateway import SIZE, pattern

AT_ONCE = {"_jitter": lambda limit_s: 0.0}
ECHOED = 3 * 2**20
CUTS = 8


def receive_bytes(client, size):
    """The payloads of messages, together so long."""
    data = bytearray()
    while len(data) < size:
        data += client.recv(DEADLINE_S)
    return bytes(data)


@pytest.mark.parametrize("transport", ["websocket", "stream"])
@pytest.mark.parametrize("module_server", ["gthread", "gevent"], indirect=True)  # not TLS
def test_a_stream_goes_on_over_cuts(module_server, transport):
    """Both ways at once, however much was on its way; then the service's end comes last."""
    chance = random.Random(7)
    plan = [
        (chance.randrange(100_000, 600_000), chance.choice([Cut.RESET, Cut.HALF_CLOSE]))
        for _ in range(CUTS)
    ]
    data = pattern(ECHOED)
    server = module_server.server
    with CuttingProxy(server.port, plan) as proxy:
        uri = f"ws://127.0.0.1:{proxy.port}/to/echo"
        with connect(uri, transport=transport, **AT_ONCE) as client:

            def send():
                for at in range(0, ECHOED, 30_000):
                    client.send(data[at : at + 30_000], DEADLINE_S)

            sending = threading.Thread(target=send)
            sending.start()
            assert receive_bytes(client, ECHOED) == data
            sending.join(DEADLINE_S)
            assert client.gaps == 0
        assert len(proxy.cuts) >= CUTS // 2


@pytest.fixture
def service():
    running = Service()
    yield running
    running.stop()


@pytest.fixture
def app(service):
    app = Flask(__name__)
    WebSockets(app)

    @app.get("/")
    def gateway():
        return accept_websocket_request(TcpGateway(tuple(service.address)))

    return app


def receive_all(client, size):
    data = bytearray()
    while len(data) < size:
        data += client.receive()
    return bytes(data)


def test_the_service_is_held_up_while_the_client_is_away(app, service):
    """What is read of it then is bounded; all of it arrives, and the end of the stream behind."""
    data = pattern(SIZE)
    with websocket_connect(app.test_client(), "/", resumable=True) as client:
        connection = service.accept()
        client.send(b"before")
        client.cut()
        assert read_exactly(connection, 6) == b"before"
        is_sent = threading.Event()

        def send():
            connection.sendall(data)
            connection.close()
            is_sent.set()

        sending = threading.Thread(target=send)
        sending.start()
        assert not is_sent.wait(0.1)
        assert client.come_back()
        assert receive_all(client, SIZE) == data
        assert client.wait_closed() == 1000
        sending.join(DEADLINE_S)


def test_the_end_of_the_service_waits_for_a_client_that_is_away(app, service):
    """It is told when it is back, behind what it lacks."""
    with websocket_connect(app.test_client(), "/", resumable=True) as client:
        connection = service.accept()
        client.go_silent()
        connection.sendall(b"last words")
        connection.close()
        client.cut()
        assert client.come_back()
        assert client.receive() == b"last words"
        assert client.wait_closed() == 1000


def test_a_client_that_does_not_come_back_ends_the_service(app, service):
    """When its time is over."""
    with websocket_connect(app.test_client(), "/", resumable=True) as client:
        connection = service.accept()
        client.cut()
        worker_of(app).clock.advance(3600)
        assert connection.recv(1) == b""
        assert client.wait_closed() == 1006
