"""Servers with several workers, on each bus, and clients by the hundred."""

import contextlib
import itertools
import tempfile

import pytest

from tests.bus.networks import RedisServer
from tests.live.serving import Server

from .crowd import Crowd

APP = "tests.shared.app:app"


class Cluster:
    """One gunicorn or more, whose workers are one app."""

    def __init__(self, directory, bus):
        self._stack = contextlib.ExitStack()
        self._directory = directory
        self._numbers = itertools.count()
        self.redis = None
        self.settings = {"WSHANDLER_PRESENCE_LEASE": 1.0}
        self.runtime = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-"))
        if bus == "redis":
            self.redis = RedisServer(directory)
            self._stack.callback(self.redis.stop)
            self.settings["WSHANDLER_BUS"] = self.redis.url
        self.bus = self.settings.get("WSHANDLER_BUS", "local")

    def start(self, workers=4, kind="gthread", *arguments, app=APP, runtime=None, **settings):
        directory = self._directory / f"server-{next(self._numbers)}"
        directory.mkdir()
        server = Server(
            kind,
            directory,
            "--workers",
            str(workers),
            *arguments,
            app=app,
            runtime=runtime or self.runtime,
            **(self.settings | settings),
        )
        self._stack.callback(server.stop)
        server.wait_for(lambda: len(server.workers) == workers, f"{workers} workers")
        return server

    def stop(self):
        self._stack.close()


@pytest.fixture(params=["local", "redis"])
def cluster(request, tmp_path):
    cluster = Cluster(tmp_path, request.param)
    yield cluster
    cluster.stop()


@pytest.fixture
def crowd():
    crowd = Crowd()
    yield crowd
    crowd.end()
