"""Servers that are served in another way than gunicorn's, or refused before there is a 101."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .wire import text


@pytest.fixture
def forking(start):
    return start("forking")


def children_of(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_process_for_each_request_serves_to_the_end(forking):
    """The child that has accepted serves its client itself, from the early frames to `on_close`."""
    client = forking.raw("/record/recorder/forked", early=text("early"))
    assert forking.wait_for_event("message", "forked")["message"] == "early"
    client.end()
    forking.wait_for_event("close", "forked")
    forking.wait_for(lambda: not children_of(forking.process.pid), "end of the child")


def test_processes_for_each_request_share_collections(forking):
    """On the local bus."""
    ann = forking.connect("/chat?name=ann")
    assert ann.recv() == "ann has connected."
    bob = forking.connect("/chat?name=bob")
    assert ann.recv() == "bob has connected."
    bob.send("hello")
    assert ann.recv() == "bob said: hello"
    ann.send("hello")
    said = [bob.recv() for _ in range(3)][1:]  # by two processes, which have no common order
    assert sorted(said) == ["ann said: hello", "bob said: hello"]


def test_a_process_for_a_request_that_is_interrupted(forking):
    """Ctrl+C comes to all of a terminal's processes: the last callback runs."""
    with forking.raw("/record/recorder/interrupted"):
        forking.wait_for_event("open", "interrupted")
        pid = forking.process.pid
        forking.wait_for(lambda: len(children_of(pid)) == 1, "end of what answered before")
        forking.signal_process(children_of(pid)[0], signal.SIGINT)
        assert forking.wait_for_event("close", "interrupted")["code"] == 1006


@pytest.fixture(scope="session")
def eventlet_path(request):
    """Where gunicorn 23, the last but two that has a worker for eventlet, and eventlet are."""
    directory = request.config.cache.mkdir("gunicorn-eventlet")
    if not (directory / "eventlet" / "__init__.py").exists():
        command = ["pip", "install", "--quiet", "--target", str(directory)]
        packages = ["gunicorn==23.0.0", "eventlet"]
        subprocess.run([sys.executable, "-m", *command, *packages], check=True)
    return directory


def test_eventlet_is_refused_with_the_reason(start, eventlet_path):
    """Before a 101; nobody stays counted."""
    server = start("sync", "--worker-class", "eventlet", first_path=eventlet_path)
    client = server.raw("/record/recorder/refused")
    assert client.status == 400
    assert server.raw("/echo").status == 426
    assert "'eventlet'" in server.log
    assert server.get("/stats").json()["connections"] == 0
    assert not server.events("refused")
