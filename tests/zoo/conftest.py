"""The servers of the zoo: one of each kind for most apps, and its own for one that changes more
than itself."""

import pytest

from tests.live.serving import Server, starting

KINDS = ["gthread", "sync", "gevent", "werkzeug"]
FRONT = "tests.zoo.front:app"


@pytest.fixture(scope="session", params=KINDS)
def session_server(request, tmp_path_factory):
    running = Server(request.param, tmp_path_factory.mktemp(request.param), app=FRONT)
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path):
    """Start a server for one app only: `start(kind)`."""
    with starting(tmp_path, app=FRONT) as start:
        yield start
