"""Where the processes of one machine meet: nobody else gets in, and nothing is left behind."""

import os
import socket
import stat
import tempfile
import time
from pathlib import Path

import pytest

from flask_wshandler.bus import Kind, UnsafeDirectory, connect
from flask_wshandler.bus.run_directory import RunDirectory

from .networks import wait_for


@pytest.fixture
def runtime(monkeypatch):
    """A short XDG_RUNTIME_DIR."""
    with tempfile.TemporaryDirectory(prefix="ws-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield Path(path)


@pytest.fixture
def open_bus():
    opened = []

    def open_bus(name="test"):
        bus = connect("local", name)
        opened.append(bus)
        bus.heard = []
        bus.attach(lambda came: bus.heard.extend(each.body.decode() for each in came))
        return bus

    yield open_bus
    for bus in opened:
        bus.close()


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_only_its_user_gets_in(runtime, open_bus):
    """0700, both directories, whatever the umask."""
    previous = os.umask(0)
    try:
        bus = open_bus()
        bus.subscribe("t")
        assert bus.wait_until_subscribed()
    finally:
        os.umask(previous)
    top = runtime / "flask-wshandler"
    assert mode_of(top) == mode_of(next(top.iterdir())) == 0o700


def test_without_a_runtime_directory_it_is_the_temporary_one(runtime, monkeypatch):
    """With the user in its name."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(runtime))
    assert RunDirectory("x").path.parent == runtime / f"flask-wshandler-{os.geteuid()}"


@pytest.mark.parametrize("where", ["top", "own"])
@pytest.mark.parametrize("fault", ["link", "mode", "owner", "file"])
def test_a_directory_that_could_be_somebody_elses_is_not_used(
    runtime, open_bus, caplog, where, fault
):
    """Not to listen, and not to publish: what is published would reach the other."""
    if fault == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    path = RunDirectory("test").path
    path.parent.mkdir(0o700)
    path.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path / "1-00000000"))
        stranger.listen()
        stranger.setblocking(False)
        bad = path.parent if where == "top" else path
        if fault == "link":
            bad.rename(runtime / "elsewhere")
            bad.symlink_to(runtime / "elsewhere")
        elif fault == "mode":
            bad.chmod(0o755)
        elif fault == "owner":
            os.chown(bad, 12345, 12345)
        else:
            bad.rename(runtime / "elsewhere")
            bad.touch()
        bus = open_bus()
        bus.subscribe("t")
        assert not bus.wait_until_subscribed()
        bus.publish(Kind.TEXT, "t", b"secret")
        with pytest.raises(BlockingIOError):
            stranger.accept()
    assert not bus.is_up
    assert len([r for r in caplog.records if "is down" in r.message]) == 1


def test_it_is_used_when_it_is_put_right(runtime, open_bus):
    """Without a restart."""
    path = RunDirectory("test").path
    path.parent.mkdir(0o755)
    bus, other = open_bus(), open_bus()
    bus.subscribe("t")
    assert not bus.wait_until_subscribed()
    path.parent.chmod(0o700)
    wait_for(lambda: bus.is_up, "return")
    other.publish(Kind.TEXT, "t", b"hello")
    wait_for(lambda: bus.heard == ["hello"], "message")


def test_too_long_a_path_is_an_error_at_the_start(runtime, monkeypatch):
    """It names the path and the limit."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / ("x" * 80)))
    (runtime / ("x" * 80)).mkdir()
    with pytest.raises(UnsafeDirectory, match="103"):
        connect("local", "test")


def test_what_the_dead_left_is_cleared(runtime, open_bus):
    """A socket that nobody listens on, and one that never got that far."""
    bus, publisher = open_bus(), open_bus()
    bus.subscribe("t")
    assert bus.wait_until_subscribed()
    directory = RunDirectory("test").path
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / "1-dead"))
    with socket.socket(socket.AF_UNIX) as unfinished:
        unfinished.bind(str(directory / ".1-old"))
    os.utime(directory / ".1-old", (1, 1))
    with socket.socket(socket.AF_UNIX) as newcomer:
        newcomer.bind(str(directory / ".1-new"))
        publisher.publish(Kind.TEXT, "t", b"hello")
        assert not (directory / "1-dead").exists()
        assert not (directory / ".1-old").exists()
        assert (directory / ".1-new").exists()
    wait_for(lambda: bus.heard == ["hello"], "message")


def test_a_removed_socket_comes_back(runtime, open_bus):
    """Something tidied up: others find the process again, and nobody hears twice."""
    bus, old, new = open_bus(), open_bus(), open_bus()
    bus.subscribe("t")
    assert bus.wait_until_subscribed()
    old.publish(Kind.TEXT, "t", b"one")
    directory = RunDirectory("test").path
    for path in directory.iterdir():
        path.unlink()
    wait_for(lambda: any(directory.iterdir()), "socket")
    old.publish(Kind.TEXT, "t", b"two")
    new.publish(Kind.TEXT, "t", b"three")
    wait_for(lambda: "three" in bus.heard, "message")
    assert bus.heard == ["one", "two", "three"]


def test_names_are_separate(runtime, open_bus):
    """Whatever is in them."""
    buses = [open_bus(name) for name in ("a", "b", "../a", "a" * 1000, "ä/\0")]
    for bus in buses:
        bus.subscribe("t")
        assert bus.wait_until_subscribed()
    for number, bus in enumerate(buses):
        speaker = open_bus(("a", "b", "../a", "a" * 1000, "ä/\0")[number])
        speaker.publish(Kind.TEXT, "t", str(number).encode())
        wait_for(lambda bus=bus, number=number: bus.heard == [str(number)], "message")


def test_newcomers_within_one_clock_tick_are_found(runtime, open_bus):
    """The directory's time has not changed since the last look."""
    publisher = open_bus()
    until_s = time.monotonic() + 1
    number = 0
    while time.monotonic() < until_s and number < 50:
        newcomer = open_bus()
        newcomer.subscribe("t")
        assert newcomer.wait_until_subscribed()
        publisher.publish(Kind.TEXT, "t", str(number).encode())
        wait_for(lambda newcomer=newcomer: newcomer.heard, "message")
        number += 1
        newcomer.close()


def test_close_ends_a_thread_that_is_wide_awake(open_bus, runtime, monkeypatch):
    """It may be gone before `close` gets to wake it up."""
    monkeypatch.setattr("flask_wshandler.bus.local._CHECK_S", 0.0)
    for _ in range(20):
        bus = open_bus()
        bus.subscribe("t")
        assert bus.wait_until_subscribed()
        bus.close()
