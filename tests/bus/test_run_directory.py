"""Where the processes of one machine meet: nobody else gets in, and nothing is left behind."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from flask_wshandler.bus import Kind, connect
from flask_wshandler.runtime.run_directory import RunDirectory
from tests.deadlines import DEADLINE_S, wait_for

NOBODY = 65534
_NO_PROCESS = 2**22 + 1
"""Past the highest number that Linux gives."""


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


def test_too_long_a_path_is_passed_over(runtime, open_bus, monkeypatch):
    """The next place has room for sockets, and everybody with these variables goes there."""
    long = runtime / ("x" * 80)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(runtime))
    bus, other = open_bus(), open_bus()
    bus.subscribe("t")
    assert bus.wait_until_subscribed()
    other.publish(Kind.TEXT, "t", b"hello")
    wait_for(lambda: bus.heard == ["hello"], "message")
    assert RunDirectory("test").path.is_relative_to(runtime)
    assert list(long.iterdir()) == []


def test_root_with_the_variables_of_another_user_takes_no_place_of_theirs(runtime, open_bus):
    """`sudo -E`, or a service's variables in root's shell: their names are apart."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(runtime, NOBODY, NOBODY)
    bus = open_bus()
    bus.subscribe("t")
    assert bus.wait_until_subscribed()
    assert [path.name for path in runtime.iterdir()] == ["flask-wshandler-0"]


PRELOADED = """
import os, sys, time
from flask_wshandler.bus import Kind, connect

bus = connect("local", "test")  # as root, like a server's master that loads the app
if "used" in sys.argv:
    bus.subscribe("before")
    bus.wait_until_subscribed()
ready, is_ready = os.pipe()

def worker(work):
    if os.fork():
        return
    os.setgid(65534)
    os.setuid(65534)
    if "umask" in sys.argv:
        os.umask(0o777)
    try:
        work()
        bus.close()
        os._exit(0)
    finally:
        os._exit(1)

def listen():
    heard = []
    bus.attach(lambda came: heard.extend(each.body for each in came))
    bus.subscribe("t")
    if bus.wait_until_subscribed():
        os.write(is_ready, b"!")
    until_s = time.monotonic() + 20
    while not heard and time.monotonic() < until_s:
        time.sleep(0.005)
    assert heard == [b"hello"], (heard, bus.trouble)

def speak():
    os.read(ready, 1)
    bus.publish(Kind.TEXT, "t", b"hello")

worker(listen)
os.close(is_ready)
worker(speak)
statuses = [os.wait()[1] for _ in range(2)]
bus.close()
assert statuses == [0, 0], statuses
"""


def as_another_user(script, *arguments, directory):
    """Run a script that leaves root behind; processes meet in `directory`."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    directory.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"XDG_RUNTIME_DIR": "", "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("before", ["fresh", "used", "umask"])
def test_who_was_loaded_as_root_is_found_as_another_user(runtime, before):
    """`gunicorn --user nobody --preload`: where a process belongs is seen in the process itself.

    An umask keeps nobody out, not even its own user, who is not root here.
    """
    assert as_another_user(PRELOADED, before, directory=runtime) == ""
    assert list(runtime.iterdir()) == []


BECOMES_ANOTHER = """
import os, time
from flask_wshandler.bus import Kind, connect

bus, other = connect("local", "test"), connect("local", "test")
bus.subscribe("t")
heard = []
bus.attach(lambda came: heard.extend(each.body for each in came))
assert bus.wait_until_subscribed()
os.setgid(65534)
os.setuid(65534)
until_s = time.monotonic() + 20
while not heard and time.monotonic() < until_s:
    other.publish(Kind.TEXT, "t", b"hello")
    time.sleep(0.01)
assert heard, bus.trouble
"""


def test_a_process_that_becomes_another_users_moves(runtime):
    """A server that has bound its port as root, and used the bus meanwhile."""
    as_another_user(BECOMES_ANOTHER, directory=runtime)


ROOT = Path(__file__).resolve().parents[2]
READ_ONLY = """
import logging
from flask import Flask
from flask_wshandler import WebSocketCollection, WebSockets

logging.basicConfig()
app = Flask("shop")
sockets = WebSockets(app)
app.test_client().get("/")
print("quiet", flush=True)
clients = WebSocketCollection("clients")
with app.app_context():
    print(sockets.bus_stats().is_up)
    clients.broadcast("one")
    clients.broadcast("two")
    print(sockets.bus_stats().is_up, clients.count())
"""


@pytest.mark.parametrize("shared_memory", ["ro", "rw"])
def test_a_read_only_machine(shared_memory):
    """The app starts, and says once that its bus is down; with /dev/shm it is up."""
    hidden = [
        place for place in ("/tmp", "/var/tmp", "/usr/tmp", "/dev/shm") if Path(place).is_dir()
    ]
    modes = dict.fromkeys(hidden, "ro") | {"/dev/shm": shared_memory}
    # The checkout and its Python may be in one of these, so they are seen at another place.
    mounts = [
        "mount -t tmpfs none /mnt",
        "mkdir /mnt/checkout",
        f"mount --bind {ROOT} /mnt/checkout",
        *(f"mount -t tmpfs -o {mode} none {place}" for place, mode in modes.items()),
    ]
    python = Path(sys.executable)
    if python.is_relative_to(ROOT):
        python = "/mnt/checkout" / python.relative_to(ROOT)
    command = ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'cd / && exec "$@"']), "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs to mount something of its own")
    done = subprocess.run(
        [*command, python, "-c", READ_ONLY],
        env={
            **{k: v for k, v in os.environ.items() if k not in ("XDG_RUNTIME_DIR", "TMPDIR")},
            "PYTHONPATH": "/mnt/checkout",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    if shared_memory == "rw":
        assert done.stdout.splitlines() == ["quiet", "True", "True 0"]
        assert done.stderr == ""
    else:
        assert done.stdout.splitlines() == ["quiet", "True", "False 0"]
        assert done.stderr.count("is down") == len(done.stderr.splitlines()) == 1, done.stderr
        assert "XDG_RUNTIME_DIR" in done.stderr


def test_troubles_are_kept_quiet_until_the_bus_is_used(runtime, open_bus, caplog):
    """Who has no collection is told nothing, but whoever asks."""
    RunDirectory("test").path.parent.mkdir(0o755)
    bus = open_bus()
    bus.subscribe("t")
    bus.listen_idly()
    assert not bus.is_up
    assert "0700" in bus.trouble
    assert caplog.records == []
    bus.publish(Kind.TEXT, "t", b"hello")
    assert len([r for r in caplog.records if "is down" in r.message]) == 1


def test_the_last_one_removes_the_directories(runtime, open_bus):
    """And nobody before."""
    one, other = open_bus(), open_bus("other")
    for bus in (one, other):
        bus.subscribe("t")
        assert bus.wait_until_subscribed()
    one.close()
    assert not RunDirectory("test").path.exists()
    assert RunDirectory("other").path.exists()
    other.close()
    assert list(runtime.iterdir()) == []


def test_coming_and_going_in_one_moment(runtime):
    """Who comes is found, whoever removes the directory meanwhile."""
    directories = [RunDirectory("test") for _ in range(4)]
    faults = []

    def come_and_go(directory):
        for _ in range(200):
            name = directory.new_name()
            try:
                with directory.listen(name), socket.socket(socket.AF_UNIX) as client:
                    client.connect(directory.address(name))
            except Exception as fault:
                faults.append(fault)
            directory.remove(name)
            directory.remove_if_empty()

    threads = [threading.Thread(target=come_and_go, args=[each]) for each in directories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert faults == []
    assert list(runtime.iterdir()) == []


def test_what_dead_apps_left_is_removed_by_the_next(runtime, open_bus):
    """An empty directory, and one with a killed process's socket; nothing of the living."""
    living = open_bus("living")
    living.subscribe("t")
    assert living.wait_until_subscribed()
    top = runtime / "flask-wshandler"
    killed = RunDirectory("killed")
    killed.listen(f"{_NO_PROCESS}-00000000").close()
    RunDirectory("empty").make()
    foreign = RunDirectory("foreign")
    foreign.make()
    (foreign.path / "notes").write_text("not ours")
    (top / "link").symlink_to(runtime)
    bus = open_bus("test")
    bus.subscribe("t")
    assert bus.wait_until_subscribed()
    kept = {RunDirectory(name).path.name for name in ("living", "foreign", "test")} | {"link"}
    wait_for(lambda: {path.name for path in top.iterdir()} == kept, "clearing")
    assert (foreign.path / "notes").exists()


def test_a_runtime_directory_that_goes_when_its_user_logs_out(runtime, open_bus, monkeypatch):
    """The next place is taken: without a restart, and by all."""
    elsewhere = runtime / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "session"))
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    (runtime / "session").mkdir()
    bus = open_bus()
    bus.subscribe("t")
    assert bus.wait_until_subscribed()
    shutil.rmtree(runtime / "session")
    wait_for(lambda: any(elsewhere.iterdir()), "another place")
    publisher = open_bus()
    wait_for(lambda: publisher.peer_count() == 1, "listener")
    publisher.publish(Kind.TEXT, "t", b"hello")
    wait_for(lambda: bus.heard == ["hello"], "message")


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


@pytest.mark.parametrize("waits", ["idly", "for messages"])
def test_a_socket_looks_used(runtime, open_bus, monkeypatch, waits):
    """What removes files of ten days ago leaves it alone: it has a new time every hour."""
    monkeypatch.setattr("flask_wshandler.bus.local._CHECK_S", 0.05)
    bus = open_bus()
    bus.subscribe("t")
    if waits == "idly":
        assert bus.listen_idly()
    else:
        assert bus.wait_until_subscribed()
    (path,) = RunDirectory("test").path.iterdir()
    ten_days_ago_s = time.time() - 10 * 86400
    os.utime(path, (ten_days_ago_s, ten_days_ago_s))
    if waits == "idly":
        assert bus.look()
    wait_for(lambda: path.stat().st_mtime > time.time() - 60, "new time of the socket")
    assert path.stat().st_atime > time.time() - 60
    is_just_marked_s = path.stat().st_mtime_ns
    bus.look()
    assert path.stat().st_mtime_ns == is_just_marked_s
