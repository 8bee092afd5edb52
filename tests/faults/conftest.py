"""One server of each kind for the whole folder: what it goes through, it has to survive."""

import contextlib
import functools

import pytest

from tests.bus.networks import RedisServer
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
def servers(tmp_path_factory):
    """Those that have been asked for, by the names of `server`."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def server(name):
            kind, bus = name.split(", ")
            directory = tmp_path_factory.mktemp("faults")
            settings = dict(SETTINGS)
            if bus == "redis":
                redis = RedisServer(directory)
                running.callback(redis.stop)
                settings["WSHANDLER_BUS"] = redis.url
            start = running.enter_context(starting(directory))
            server = start(kind, "--workers", "2", **settings)
            server.wait_for(lambda: len(server.workers) == 2, "two workers")
            return server

        yield server


@pytest.fixture
def server(request, servers):
    """One of two workers: "gthread, local", or with another bus, or with greenlets."""
    return servers(request.param)


@pytest.fixture
def start(tmp_path):
    """Start a server of one worker, which nobody has visited."""
    with starting(tmp_path) as start:
        yield lambda: start("gthread", **SETTINGS)
