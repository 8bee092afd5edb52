"""What `doctor` finds of collections with history, and that it finds nothing of apps without."""

import pytest
from websockets.sync.client import connect

from flask_wshandler.cli.doctor.history_look import file_system_of
from flask_wshandler.runtime.run_directory import RunDirectory
from tests.bus.networks import RedisServer
from tests.deadlines import DEADLINE_S

from .test_doctor import OPEN, Site, http

HISTORY = """
from flask_wshandler import WebSocketCollection, WebSocketGroups

clients = WebSocketCollection("chat", history=1000, history_s=3600)

@sockets.route("/chat")
class Chat(WebSocketHandler):
    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        clients.broadcast(message)
"""


@pytest.fixture
def site(tmp_path, commands):
    return Site(tmp_path, commands)


def log_of(site, runtime):
    """The file of the app's log."""
    name = RunDirectory(str(site.directory.resolve() / "site_app")).name
    return runtime / "flask-wshandler" / f"{name}.history"


def send(commands, *messages):
    for message in messages:
        assert "Nobody is in 'chat'" in commands.run("send", "chat", "-", given=message).stderr


def test_nothing_is_wrong(site, commands, runtime):
    """Before the first broadcast, when looking makes nothing; and after it."""
    site.write(HISTORY)
    assert site.findings() == {}
    assert list(runtime.iterdir()) == []
    send(commands, "hello")
    assert site.findings() == {}
    assert log_of(site, runtime).exists()


def test_the_log_is_of_a_newer_version(site, commands, runtime):
    """Here; a finding of no app without a history."""
    import sqlite3

    site.write(HISTORY)
    send(commands, "hello")
    connection = sqlite3.connect(log_of(site, runtime))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    assert site.findings() == {"history-unusable": "warning"}
    assert "is of a newer flask-wshandler (version 99" in site.text
    site.write()
    assert site.findings() == {}


def test_others_may_read_the_file(site, commands, runtime):
    """It is not used then."""
    site.write(HISTORY)
    send(commands, "hello")
    log_of(site, runtime).chmod(0o640)
    assert site.findings() == {"history-unusable": "warning"}
    assert "must be 0600" in site.text


def test_a_worker_can_not_use_the_log(site, commands, runtime):
    """It says so itself, while from here nothing is wrong."""
    site.write(HISTORY + OPEN)
    send(commands, "hello")
    with site.serve() as server:
        url = f"ws://{server.netloc}/chat"
        log_of(site, runtime).chmod(0o640)  # it is looked at when a process opens it
        with connect(url, open_timeout=DEADLINE_S, max_size=None) as ws:
            ws.send("x")
            assert ws.recv(DEADLINE_S) == "x"
            log_of(site, runtime).chmod(0o600)
            # It is so until a broadcast is numbered again.
            found = site.findings_at_leisure(http(server))
    assert found == {"history-unusable": "warning"}
    assert "can't be used from a worker: " in site.text


def test_a_log_that_is_too_small(site, commands):
    """It is full, and what is kept is less than half of what was asked for, by number and time."""
    site.write(HISTORY, WSHANDLER_HISTORY_SIZE=4000)
    send(commands, *(8 * ["x" * 900]))
    assert site.findings() == {"history-too-small": "warning"}
    assert "keeps of the collection 'chat' " in site.text
    assert "WSHANDLER_HISTORY_SIZE, which is 4,000 bytes: " in site.text


def test_a_full_log_that_is_large_enough(site, commands):
    """What was asked for is kept."""
    small = HISTORY.replace("history=1000", "history=4")
    site.write(small, WSHANDLER_HISTORY_SIZE=4000)
    send(commands, *(8 * ["x" * 900]))
    assert site.findings() == {}


def test_broadcasts_of_who_does_not_know(site, commands):
    """A worker has got them."""
    site.write(HISTORY + OPEN)
    script = (
        "import sys\n"
        "from flask_wshandler import WebSocketCollection, bus\n"
        "WebSocketCollection('chat', bus=bus.connect('local', sys.argv[1])).broadcast('news')\n"
    )
    (site.directory / "script.py").write_text(script)
    with site.serve() as server:
        url = f"ws://{server.netloc}/chat"
        with connect(url, open_timeout=DEADLINE_S) as ws:
            ws.send("hello")
            assert ws.recv(DEADLINE_S) == "hello"
            name = str(site.directory.resolve() / "site_app")
            commands.run_python("script.py", name)
            assert ws.recv(DEADLINE_S) == "news"
            assert site.findings_at_leisure(http(server)) == {"history-not-known": "warning"}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"save": "3600 1"}, {}),
        ({"appendonly": "yes"}, {}),
        ({}, {"history-not-persistent": "note"}),
        (
            {"save": "3600 1", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"},
            {"history-evictable": "warning"},
        ),
        (
            {"save": "3600 1", "maxmemory": "100mb", "maxmemory-policy": "volatile-ttl"},
            {"history-evictable": "warning"},
        ),
        ({"save": "3600 1", "maxmemory": "100mb", "maxmemory-policy": "noeviction"}, {}),
        ({"save": "3600 1", "maxmemory-policy": "allkeys-lru"}, {}),
    ],
)
def test_what_redis_does_with_its_memory(site, settings, found):
    """Whether it may remove logs, and whether it has them after a restart."""
    server = RedisServer(site.directory)
    try:
        with server.client() as client:
            for name, value in settings.items():
                client.config_set(name, value)
        site.write(HISTORY, WSHANDLER_BUS=server.url)
        assert site.findings() == found
        site.write(WSHANDLER_BUS=server.url)
        assert site.findings() == {}
    finally:
        server.stop()


def test_redis_refuses_the_rights(site):
    """Of a user who may publish, and run no scripts."""
    server = RedisServer(site.directory)
    try:
        with server.client() as client:
            client.config_set("save", "3600 1")
            rights = ["~*", "&*", "+@all", "-@scripting"]
            client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", *rights)
        address = server.url.replace("redis://", "redis://limited:secret@")
        site.write(HISTORY, WSHANDLER_BUS=address)
        assert site.findings() == {"history-unusable": "warning"}
        assert "no permissions" in site.text.lower()
        assert "secret" not in site.text
        site.write(WSHANDLER_BUS=address)
        assert site.findings() == {}
    finally:
        server.stop()


MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
//server/share /mnt/with\\040space cifs rw 0 0
tmpfs /home/local tmpfs rw 0 0
/dev/vdb /data ext4 rw 0 0
server:/data /data nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/x", "ext4"),
        ("/run/user/1000", "tmpfs"),
        ("/home", "nfs4"),
        ("/home/ann/run", "nfs4"),
        ("/home/local/run", "tmpfs"),
        ("/homes/ann", "ext4"),
        ("/mnt/with space/run", "cifs"),
        ("/data/run", "nfs"),
    ],
)
def test_the_file_system_of_a_directory(path, kind):
    """The innermost mount, the last of several in one place."""
    assert file_system_of(path, MOUNTS) == kind
