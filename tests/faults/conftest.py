"""One server for the whole folder: what it goes through, it has to survive."""

import pytest

from tests.live.serving import starting

APP = "tests.faults.app:app"
SETTINGS = {
    "app": APP,
    "in_earnest": True,  # the app has to be there before what it makes fail is imported
    "WSHANDLER_PING_INTERVAL": 0.3,
    "WSHANDLER_CLOSE_TIMEOUT": 0.5,
    "WSHANDLER_PRESENCE_LEASE": 1.0,
}


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    with starting(tmp_path_factory.mktemp("faults")) as start:
        server = start("gthread", "--workers", "2", **SETTINGS)
        server.wait_for(lambda: len(server.workers) == 2, "two workers")
        yield server


@pytest.fixture
def start(tmp_path):
    """Start a server of one worker, which nobody has visited."""
    with starting(tmp_path) as start:
        yield lambda: start("gthread", **SETTINGS)
