"""A server of each kind, with gateways to services that the tests play."""

import pytest

from tests.live.serving import KINDS, Server

from .services import Service, echo

APP = "tests.gateway.app:app"


class Served:
    """A server, and the services that its gateways lead to."""

    def __init__(self, kind, directory, more=None, **settings):
        self.unix_path = directory / "unix"
        self.services = {
            "echo": Service(echo),
            "unix": Service(echo, path=self.unix_path),
            "played": Service(),
        }
        addresses = {name: each.address for name, each in self.services.items()}
        dead = Service()
        addresses["dead"] = dead.address
        dead.stop()
        addresses["nowhere"] = str(directory / "nowhere")
        addresses["routed"] = addresses["echo"]
        addresses.update(more or {})
        self.server = Server(kind, directory, app=APP, SERVICES=addresses, **settings)

    def end_services(self):
        """End what tests have taken of connections."""
        self.services["played"].end_connections()

    def stop(self):
        self.server.stop()
        for service in self.services.values():
            service.stop()


@pytest.fixture(scope="session", params=KINDS)
def session_server(request, tmp_path_factory):
    running = Served(request.param, tmp_path_factory.mktemp(request.param), in_earnest=True)
    yield running
    running.stop()


@pytest.fixture
def served(session_server):
    """One of each kind; the tests leave it as they found it."""
    yield session_server
    session_server.server.end_clients()
    session_server.end_services()


@pytest.fixture(scope="module", params=["gthread", "gevent", "tls"])
def module_server(request, tmp_path_factory):
    """One of each way of serving: on the pollers, in greenlets, in threads."""
    running = Served(request.param, tmp_path_factory.mktemp(request.param))
    yield running
    running.stop()


@pytest.fixture
def serve(tmp_path):
    """Start a server of one's own, with services: `serve(kind, WSHANDLER_…=…)`."""
    running = []

    def serve(kind, addresses=None, **settings):
        own = tmp_path / f"served-{len(running)}"
        own.mkdir()
        running.append(Served(kind, own, addresses, **settings))
        return running[-1]

    yield serve
    for each in running:
        each.stop()
