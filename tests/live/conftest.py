"""Servers that live as long as the test session, and special ones for one test."""

import pytest

from .serving import KINDS, Server, starting


@pytest.fixture
def server(session_server):
    """One of each kind; the tests leave it as they found it."""
    yield session_server
    session_server.end_clients()


@pytest.fixture(scope="session", params=KINDS)
def session_server(request, tmp_path_factory):
    running = Server(request.param, tmp_path_factory.mktemp(request.param), in_earnest=True)
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path):
    """Start a server of one's own: `start(kind, *arguments, WSHANDLER_…=…)`."""
    with starting(tmp_path) as start:
        yield start
