"""A process that listens idly on the local bus: no thread, and nothing is lost."""

import os
import shutil
import threading

import pytest

from flask_wshandler.bus import Kind
from flask_wshandler.runtime.run_directory import RunDirectory
from tests.deadlines import wait_for

from .test_run_directory import open_bus, runtime  # noqa: F401  # fixtures


@pytest.fixture
def idle(runtime, open_bus):  # noqa: F811
    """One that does, and others to publish."""
    before = set(threading.enumerate())
    bus = open_bus()
    bus.subscribe("t")
    assert bus.listen_idly()
    assert set(threading.enumerate()) <= before
    return bus


def test_nobody_comes(idle):
    """A look changes nothing, however often."""
    assert idle.look()
    assert idle.look()
    assert not idle._loop.is_running


def test_what_came_before_the_look_is_received(idle, open_bus):  # noqa: F811
    """It has waited in the kernel."""
    publisher = open_bus()
    assert publisher.peer_count() == 1
    for number in range(100):
        publisher.publish(Kind.TEXT, "t", str(number).encode())
    assert idle.heard == []
    assert not idle.look()
    wait_for(lambda: len(idle.heard) == 100, "messages")
    assert idle.heard == [str(number) for number in range(100)]
    assert publisher.stats().dropped == 0


def test_the_first_use_ends_it(idle, open_bus):  # noqa: F811
    """Whoever waits for his subscription is heard from then on."""
    assert idle.wait_until_subscribed()
    assert not idle.look()
    open_bus().publish(Kind.TEXT, "t", b"hello")
    wait_for(lambda: idle.heard == ["hello"], "message")


def test_a_thread_that_runs_anyway_accepts(idle, open_bus, monkeypatch):  # noqa: F811
    """It was started for something else; at its next check it sees to the listener."""
    monkeypatch.setattr("flask_wshandler.bus.local._CHECK_S", 0.05)
    with idle._lock:
        idle._loop.start()
    open_bus().publish(Kind.TEXT, "t", b"hello")
    wait_for(lambda: idle.heard == ["hello"], "message")
    assert not idle.look()


def test_a_directory_that_is_gone_is_noticed(idle, open_bus):  # noqa: F811
    """The thread starts, and makes it again."""
    directory = RunDirectory("test").path
    shutil.rmtree(directory)
    assert not idle.look()
    wait_for(lambda: directory.exists() and any(directory.iterdir()), "socket")
    open_bus().publish(Kind.TEXT, "t", b"hello")
    wait_for(lambda: idle.heard == ["hello"], "message")


def test_the_end_leaves_nothing(idle):
    """Neither a file nor a descriptor."""
    descriptor = idle._listener.fileno()
    idle.close()
    assert not RunDirectory("test").path.exists()
    with pytest.raises(OSError):
        os.fstat(descriptor)
    assert not idle.look()


def test_a_directory_that_can_not_be_used(runtime, open_bus):  # noqa: F811
    """Nothing is idle then: the thread tries again."""
    path = RunDirectory("test").path
    path.parent.mkdir(0o755)
    bus = open_bus()
    bus.subscribe("t")
    assert not bus.listen_idly()
    assert "0700" in bus.trouble
    path.parent.chmod(0o700)
    wait_for(lambda: bus.is_up, "return")
    assert bus.trouble == ""
