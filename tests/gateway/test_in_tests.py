"""Gateways in the test client, on the pollers and on threads, and what a fork leaves of them."""

import os
import resource

import pytest
from flask import Flask

from flask_wshandler import TcpGateway, WebSockets, accept_websocket_request
from flask_wshandler.testing import websocket_connect, worker_of

from .services import Service, read_exactly


@pytest.fixture
def service():
    running = Service()
    yield running
    running.stop()


@pytest.fixture(params=["auto", "blocking"])
def app(service, request):
    app = Flask(__name__)
    app.config["WSHANDLER_TRANSPORT"] = request.param
    WebSockets(app)

    @app.get("/")
    def gateway():
        return accept_websocket_request(TcpGateway(tuple(service.address)))

    return app


def test_bytes_go_both_ways(app, service):
    """As under a server."""
    with websocket_connect(app.test_client(), "/") as client:
        connection = service.accept()
        client.send(b"to")
        assert read_exactly(connection, 2) == b"to"
        connection.sendall(b"fro")
        assert client.receive() == b"fro"
        connection.close()
        assert client.wait_closed() == 1000


def test_a_service_that_stays_is_left_when_its_time_is_over(app, service):
    """By the test's clock."""
    with websocket_connect(app.test_client(), "/") as client:
        connection = service.accept()
        client.send(b"last")
        client.close()
        assert read_exactly(connection, 4) == b"last"
        assert connection.recv(1) == b""
        worker_of(app).clock.advance(10)
        # Whoever writes to a closed socket is told so, the second time.
        with pytest.raises(OSError):
            while True:
                connection.send(b"still here?")


def test_a_forked_child_has_none_of_it(app, service):
    """It closes its copy, and the stream goes on in the parent."""
    with websocket_connect(app.test_client(), "/") as client:
        connection = service.accept()
        client.send(b"x")
        assert read_exactly(connection, 1) == b"x"
        child = os.fork()
        if not child:
            os._exit(len(connections_to(service)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(connections_to(service)) == 1
        connection.sendall(b"y")
        assert client.receive() == b"y"


def connections_to(service):
    """This process's sockets whose other end is the service."""
    port = f":{service.address[1]:04X}"
    with open("/proc/net/tcp") as file:
        fields = [line.split() for line in file][1:]
    inodes = {each[9] for each in fields if each[2].endswith(port)}
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # that of the listing
            continue
    return {inode for inode in inodes if f"socket:[{inode}]" in found}


@pytest.mark.parametrize(
    "address", [None, "", ("localhost",), ("localhost", "5900"), ("localhost", 0), 5900]
)
def test_what_is_no_address_is_refused_in_the_view(address):
    """Not only when a client comes."""
    with pytest.raises(TypeError, match="needs an address"):
        TcpGateway(address)


def test_an_unknown_host_closes_with_1014(app, service, caplog):
    """Names that end so are never known."""

    @app.get("/unknown")
    def unknown():
        return accept_websocket_request(TcpGateway(("service.invalid", 5900)))

    with websocket_connect(app.test_client(), "/unknown") as client:
        assert client.wait_closed(20) == 1014
    assert [each for each in caplog.messages if "can't reach the service" in each]


class Starved(TcpGateway):
    """Begins in a process that may open nothing more."""

    def on_open(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            super().on_open()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_lack_of_descriptors_is_one_client_s_matter(app, service):
    """It is closed with 1013, and another goes on."""

    @app.get("/starved")
    def starved():
        return accept_websocket_request(Starved(tuple(service.address)))

    with websocket_connect(app.test_client(), "/") as other:
        connection = service.accept()
        with websocket_connect(app.test_client(), "/starved") as client:
            assert client.wait_closed() == 1013
        other.send(b"on")
        assert read_exactly(connection, 2) == b"on"
