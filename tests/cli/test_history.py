"""`history`, and `send` to what has one: with nobody there, and beside gunicorn's workers."""

import re

import pytest
from websockets.sync.client import connect

from tests.bus.networks import RedisServer
from tests.deadlines import DEADLINE_S
from tests.docs.programs import gunicorn

APP = """\
from flask import Flask
from flask_wshandler import WebSocketCollection, WebSocketGroups, WebSocketHandler, WebSockets

app = Flask(__name__)
app.config.from_prefixed_env()
sockets = WebSockets(app)
clients = WebSocketCollection("chat", history=100, replay=5)
rooms = WebSocketGroups("room", history=2)
news = WebSocketCollection("news")

@sockets.route("/ws")
class Chat(WebSocketHandler):
    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        clients.broadcast(message)
"""


@pytest.fixture
def app(tmp_path, commands):
    """The commands of an app with a history; nothing of it runs."""
    (tmp_path / "site_app.py").write_text(APP)
    return commands


def send(app, *arguments, **options):
    """Nobody is there, which is said; it is kept all the same."""
    done = app.run("send", *arguments, **options)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Nobody is in" in done.stderr


def test_the_last_messages(app):
    """Numbered, though this process's app has not used its collection; what is binary as such."""
    for number in range(1, 4):
        send(app, "chat", f"message {number}")
    send(app, "chat", "--binary", "-", given="\x01\x02")
    done = app.run("history", "chat", "--last", "3")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["NUMBER", "TIME", "MESSAGE"]
    shown = [re.fullmatch(r" *(\d+)  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (.*)", line) for line in lines]
    assert [match.groups() for match in shown] == [
        ("2", "message 2"),
        ("3", "message 3"),
        ("4", "binary, 2 bytes: 01 02"),
    ]


def test_json_has_all(app):
    """One document; bytes in base64."""
    send(app, "chat", "ä\n")
    send(app, "chat", "--binary", "x")
    first, second = app.json("history", "chat")
    assert first.pop("sent_at") <= second.pop("sent_at")
    assert first == {"number": 1, "type": "text", "message": "ä\n"}
    assert second == {"number": 2, "type": "binary", "message": "eA=="}


def test_messages_are_shown_and_not_obeyed(app):
    """A terminal's control characters are escaped, and a long message is cut, but not in JSON."""
    text = "\x1b[31m[red]\u202e" + "x" * 1000
    send(app, "chat", text)
    shown = app.on_a_terminal(80, "history", "chat")
    assert "\x1b[31m[red]" not in shown
    assert "\\x1b[31m[red]\\u202e" in re.sub(r"\s", "", shown)
    assert "(1,011 characters)" in " ".join(shown.split())
    assert shown.count("x") < 300
    [found] = app.json("history", "chat")
    assert found["message"] == text


def test_more_than_a_page_of_the_log(app):
    """Which has some megabytes."""
    for number in range(4):
        send(app, "chat", "-", given=f"{number}" * 1_500_000)
    found = app.json("history", "chat")
    assert [each["message"][0] for each in found] == ["0", "1", "2", "3"]
    assert [each["number"] for each in app.json("history", "chat", "--last", "3")] == [2, 3, 4]


def test_groups(app):
    """One of a WebSocketGroups, which has its own numbers."""
    send(app, "room", "--group", "lobby", "hello")
    [found] = app.json("history", "room", "--group", "lobby")
    assert (found["number"], found["message"]) == (1, "hello")
    done = app.run("history", "room")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "No history of the collection 'room' is known.\n'room' are groups: say which by --group.\n"
    )


def test_all_that_have_a_history(app):
    """With what is kept of each; also those of which nothing is, if the app knows them."""
    for number in range(4):
        send(app, "room", "--group", "lobby", f"{number}")
    send(app, "room", "--group", "attic", "hello")
    chat, attic, lobby = app.json("history")
    assert chat == {
        "collection": "chat",
        "group": None,
        "messages": 0,
        "oldest": None,
        "newest": None,
        "oldest_at": None,
    }
    assert (attic["group"], attic["messages"]) == ("attic", 1)
    assert (lobby["messages"], lobby["oldest"], lobby["newest"]) == (2, 3, 4)
    done = app.run("history")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["COLLECTION", "GROUP", "MESSAGES", "OLDEST", "NEWEST", "SINCE"]
    assert [line.split()[:5] for line in lines] == [
        ["chat", "-", "0", "-", "-"],
        ["room", "attic", "1", "1", "1"],
        ["room", "lobby", "2", "3", "4"],
    ]


def test_there_is_no_such_history(app):
    """A misspelt name, or one without; the app's are named."""
    for name in ("caht", "news"):
        done = app.run("history", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"No history of the collection '{name}' is known.\n" in done.stderr
        assert "There is one of: chat, room.\n" in done.stderr


def test_nothing_is_kept_yet(app, runtime):
    """Which is no error, and nothing is made by looking."""
    done = app.run("history", "chat")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Nothing is kept of the collection 'chat'.\n"
    assert app.json("history", "chat") == []
    assert list(runtime.iterdir()) == []


def test_a_log_that_can_not_be_read(app, runtime):
    """It says why, and what to do."""
    send(app, "chat", "hello")
    [file] = runtime.glob("*/*.history")
    file.chmod(0o644)
    for arguments in (["chat"], []):
        done = app.run("history", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("The history can't be read: ")
        assert "must be 0600" in done.stderr


def test_without_a_bus(app):
    """Each process remembers for itself."""
    done = app.run("history", "chat", FLASK_WSHANDLER_BUS='"none"')
    assert (done.returncode, done.stdout) == (1, "")
    assert 'WSHANDLER_BUS is "none", so each process has its own' in done.stderr


@pytest.mark.parametrize("arguments", [["--group", "x"], ["chat", "--last", "0"], [""]])
def test_usage(app, arguments):
    """What is wrong in the command line: status 2."""
    assert app.run("history", *arguments).returncode == 2


def test_beside_running_workers(app, tmp_path):
    """What clients have said, and what is sent by a command, in one order and told to all."""
    with (
        gunicorn("gunicorn --workers 2 --threads 4 site_app:app", tmp_path) as server,
        connect(f"ws://{server.netloc}/ws", open_timeout=DEADLINE_S) as ws,
    ):
        ws.send("one")
        assert ws.recv(DEADLINE_S) == "one"
        done = app.run("send", "chat", "two")
        assert done.stdout == "Sent to 1 member in 1 process.\n"
        assert ws.recv(DEADLINE_S) == "two"
        ws.send("three")
        assert ws.recv(DEADLINE_S) == "three"
        found = app.json("history", "chat")
    assert [(each["number"], each["message"]) for each in found] == [
        (1, "one"),
        (2, "two"),
        (3, "three"),
    ]


class TestOnRedis:
    """The same where the log is on a Redis."""

    @pytest.fixture
    def redis(self, tmp_path):
        redis = RedisServer(tmp_path)
        text = APP.replace(
            "app.config.from", f"app.config['WSHANDLER_BUS'] = {redis.url!r}\napp.config.from"
        )
        (tmp_path / "site_app.py").write_text(text)
        yield redis
        redis.stop()

    def test_what_was_sent(self, redis, commands):
        """Numbered, though nobody is there; also of a group, and in the list of all."""
        assert commands.json("history", "chat") == []
        send(commands, "chat", "one")
        send(commands, "chat", "--binary", "x")
        send(commands, "room", "--group", "lobby", "hello")
        found = commands.json("history", "chat")
        assert [(each["number"], each["message"]) for each in found] == [(1, "one"), (2, "eA==")]
        found = [
            (each["collection"], each["group"], each["messages"], each["newest"])
            for each in commands.json("history")
        ]
        assert found == [("chat", None, 2, 2), ("room", "lobby", 1, 1)]

    def test_beside_running_workers(self, redis, commands, tmp_path):
        """In one order with what clients say."""
        with (
            gunicorn("gunicorn --workers 2 --threads 4 site_app:app", tmp_path) as server,
            connect(f"ws://{server.netloc}/ws", open_timeout=DEADLINE_S) as ws,
        ):
            ws.send("one")
            assert ws.recv(DEADLINE_S) == "one"
            done = commands.run("send", "chat", "two")
            assert done.stdout == "Sent to 1 member in 1 process.\n"
            assert ws.recv(DEADLINE_S) == "two"
            found = commands.json("history", "chat")
        assert [(each["number"], each["message"]) for each in found] == [(1, "one"), (2, "two")]

    def test_redis_is_away(self, redis, commands):
        """It is said, without a traceback."""
        redis.stop()
        for arguments in (["chat"], []):
            done = commands.run("history", *arguments)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("The history can't be read: ")
            assert done.stderr.count("\n") == 1
