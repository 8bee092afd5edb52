"""`list`, `stats`, `send`, `close`: over the bus, to gunicorn's workers, on each bus."""

import json
import os
import signal

import pytest

from flask_wshandler.runtime.run_directory import RunDirectory
from tests.bus.networks import RedisServer
from tests.live.serving import starting
from tests.shared.conftest import Cluster


@pytest.fixture
def server(cluster):
    return cluster.start(workers=2)


def connections(commands):
    return commands.json("list")


def test_list_shows_the_connections_of_all_workers(server, crowd, commands_of):
    """Each with what is known of it, the oldest of a process first."""
    crowd.join_each(server, 2)
    commands = commands_of(server)
    found = connections(commands)
    assert {each["id"] for each in found} == {client.id for client in crowd.clients}
    pid_of = {client.id: client.pid for client in crowd.clients}
    for each in found:
        assert int(each["process"].split(":")[1]) == pid_of[each["id"]]
        assert (each["handler"], each["path"]) == ("Member", "/ws")
        assert (each["address"], each["user"]) == ("127.0.0.1", None)
        assert (each["sent"], each["received"], each["queued_bytes"]) == (1, 0, 0)
        assert each["age_s"] > 0
    done = commands.run("list")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head.split()[:4] == ["ID", "HANDLER", "USER", "ADDRESS"]
    assert [line.split()[0] for line in lines] == [each["id"] for each in found]


@pytest.mark.parametrize("width", [120, 80, 40])
def test_list_breaks_no_id_on_a_terminal(tmp_path, commands_of, width):
    """It is copied from there for `close`, and the process for the log."""
    with starting(tmp_path) as start:
        server = start("gthread")
        commands = commands_of(server, "tests.live.app:app")
        server.connect("/echo")
        [found] = server.wait_for(lambda: connections(commands), "connection")
        shown = commands.on_a_terminal(width, "list")
        assert found["id"] in shown
        assert found["process"] in shown


@pytest.mark.parametrize("kind", ["gthread", "gevent", "werkzeug"])
def test_list_reaches_workers_that_use_no_collection(cluster, tmp_path, commands_of, kind):
    """They listen from their first WebSocket on; nobody has called anything of its collections."""
    with starting(tmp_path, **cluster.settings) as start:
        server = start(kind)
        commands = commands_of(server, "tests.live.app:app")
        server.connect("/echo")
        [found] = server.wait_for(lambda: connections(commands), "connection")
        assert found["handler"] == "Echo"


def test_list_names_users(tmp_path, commands_of):
    """Whom Flask-Login has logged in, without asking the app's user loader."""
    with starting(tmp_path) as start:
        server = start("gthread")
        commands = commands_of(server, "tests.live.app:app")
        cookie = server.get("/login/ann").headers["Set-Cookie"].partition(";")[0]
        server.connect("/private", cookie=cookie)
        [found] = server.wait_for(lambda: connections(commands), "connection")
        assert (found["user"], found["path"]) == ("ann", "/private")


def test_list_without_connections(server, commands_of):
    """Says who has been found. Nobody at all is a failure, with where was looked."""
    done = commands_of(server).run("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No connections, and no other process was found." in done.stderr
    assert "Looked " in done.stderr
    assert connections(commands_of(server)) == []
    server.connect("/ws").close()
    server.wait_for(lambda: not connections(commands_of(server)), "end")
    done = commands_of(server).run("list")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "No connections. Processes that have answered: 1.\n"


def test_stats_shows_each_worker_and_the_sum(server, crowd, commands_of):
    """And their JSON has all figures."""
    crowd.join_each(server, 2)
    commands = commands_of(server)
    found = commands.json("stats")
    assert [each["connections"] for each in found] == [2, 2]
    assert sorted(each["facts"]["pid"] for each in found) == sorted(server.workers)
    assert all(each["facts"]["worker_count"] == 2 for each in found)
    assert all(each["bus"]["is_up"] for each in found)
    done = commands.run("stats")
    assert (done.returncode, done.stderr) == (0, "")
    *_, last = done.stdout.splitlines()
    assert last.split()[:4] == ["all", "4", "0", "4"]


def test_send_reaches_all_members(server, crowd, commands_of):
    """And says how many, in how many processes."""
    crowd.join_each(server, 2)
    commands = commands_of(server)
    done = commands.run("send", "all", "hello")
    assert (done.stdout, done.returncode) == ("Sent to 4 members in 2 processes.\n", 0)
    commands.run("send", "all", "--json", '{"n": 1}')
    commands.run("send", "all", "--binary", "-", given="bytes")
    for client in crowd.clients:
        server.wait_for(lambda client=client: len(client.messages) == 3, "3 messages")
        assert client.messages == ["hello", '{"n": 1}', b"bytes"]


def test_send_to_a_group(server, crowd, commands_of):
    """One of a WebSocketGroups."""
    one, two = (first for first in crowd.join_each(server, 1))
    crowd.tell(one, "enter", "lobby")
    server.wait_for(lambda: "entered lobby" in one.messages, "entry")
    done = commands_of(server).run("send", "room", "--group", "lobby", "to the lobby")
    assert (done.stdout, done.returncode) == ("Sent to 1 member in 1 process.\n", 0)
    server.wait_for(lambda: "to the lobby" in one.messages, "message")
    assert two.messages == []


def test_send_to_nobody(server, commands_of):
    """A misspelt name, most likely; or there is nobody at all, which is said then."""
    done = commands_of(server).run("send", "nobody", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Nobody is in 'nobody'.\nNo other process was found.\n")
    server.connect("/ws")
    done = commands_of(server).run("send", "nobody", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Nobody is in 'nobody'.\n"


def test_close_ends_one_connection_wherever_it_is(server, crowd, commands_of):
    """With a code and a reason; and a second time nobody has it."""
    for client in crowd.join_each(server, 1):
        commands = commands_of(server)
        done = commands.run("close", client.id, "--code", "4000", "--reason", "bye")
        assert done.returncode == 0
        assert done.stdout.startswith("Closed in ")
        assert f":{client.pid}:" in done.stdout
        server.wait_for(lambda client=client: client.close_code is not None, "close")
        assert (client.close_code, client.close_reason) == (4000, "bye")
        done = commands.run("close", client.id)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"Nobody has the connection '{client.id}'." in done.stderr


class TestSilentWorkers:
    """One that is stopped does not hold up the others, and is told of."""

    @pytest.fixture
    def half(self, tmp_path, crowd):
        """A server of which one worker is stopped: (server, a client of the other).

        On the local bus: Redis does not count who listens.
        """
        cluster = Cluster(tmp_path, "local")
        server = cluster.start(workers=2)
        one, two = crowd.join_each(server, 1)
        server.signal_process(one.pid, signal.SIGSTOP)
        yield server, two
        server.signal_process(one.pid, signal.SIGCONT)
        cluster.stop()

    @pytest.mark.parametrize("command", [["list"], ["stats"], ["close", "0123456789abcdef"]])
    def test_are_told_of(self, half, commands_of, command):
        """The exit status says that the answer is not complete."""
        server, two = half
        done = commands_of(server).run(*command, "--timeout", "0.7")
        assert done.returncode == 1
        assert "Processes that have not answered in time: 1." in done.stderr
        if command == ["list"]:
            assert two.id in done.stdout

    def test_do_not_keep_a_close_from_the_others(self, half, commands_of):
        """It is over with the one who has the connection."""
        server, two = half
        done = commands_of(server).run("close", two.id, "--timeout", "60")
        assert done.returncode == 0


COMMANDS = [["list"], ["stats"], ["send", "all", "hello"], ["close", "0123456789abcdef"]]


class TestWithoutABus:
    """Only the own process can be seen, and that is said."""

    @pytest.mark.parametrize("command", COMMANDS)
    def test_is_said(self, tmp_path, commands, command):
        """With the exit status, too."""
        self.write(tmp_path)
        done = commands.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert 'WSHANDLER_BUS is "none": only this process can be seen' in done.stderr

    @staticmethod
    def write(directory, bus="none"):
        (directory / "site_app.py").write_text(
            "from flask import Flask\nfrom flask_wshandler import WebSockets\n"
            f"app = Flask(__name__)\napp.config['WSHANDLER_BUS'] = {bus!r}\nWebSockets(app)\n"
        )

    @pytest.mark.parametrize("command", COMMANDS)
    def test_redis_that_is_away_is_told_of(self, tmp_path, commands, command):
        """Without its password."""
        self.write(tmp_path, "redis://:secret@127.0.0.1:1/0")
        done = commands.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("The workers can't be asked: ")
        assert "secret" not in done.stderr

    @pytest.mark.parametrize("command", COMMANDS)
    def test_redis_that_refuses_the_password_is_told_of(self, tmp_path, commands, command):
        """As one that is away."""
        redis = RedisServer(tmp_path)
        try:
            with redis.client() as client:
                client.config_set("requirepass", "another")
            self.write(tmp_path, f"redis://:secret@127.0.0.1:{redis.port}/0")
            done = commands.run(*command)
        finally:
            redis.stop()
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("The workers can't be asked: ")
        assert "password" in done.stderr
        assert "secret" not in done.stderr


class TestSilentRedis:
    """One that takes connections and answers nothing is as bad as one that is away."""

    @pytest.fixture
    def redis(self, tmp_path):
        redis = RedisServer(tmp_path)
        TestWithoutABus.write(tmp_path, redis.url)
        redis.process.send_signal(signal.SIGSTOP)
        os.waitpid(redis.process.pid, os.WUNTRACED)
        yield redis
        redis.stop()

    @pytest.mark.parametrize("command", COMMANDS)
    def test_is_told_of(self, redis, commands, command):
        """With the time that was waited, and the exit status."""
        done = commands.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        bus = f"the bus on redis://127.0.0.1:{redis.port}"
        told, *_ = done.stderr.splitlines()
        assert told == f"The workers can't be asked: no answer of {bus} in 2 seconds"
        assert "no other process was found" not in done.stderr


class TestUsage:
    """What is wrong in the command line itself: status 2, and what is possible."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["close"], "Missing argument 'ID'"),
            (["close", "x", "--code", "1005"], "close code 1005 can't be sent"),
            (["close", "x", "--reason", "x" * 124], "longer than 123"),
            (["send", "all", "{", "--json"], "is no JSON"),
            (["send", "all", '{"n": NaN}', "--json"], "is no JSON: NaN is no value of it"),
            (["send", "all", "--json", "--", "-Infinity"], "is no JSON: -Infinity"),
            (["send", "all", "[" * 100_000, "--json"], "is no JSON"),
            (["send", "all", "1", "--json", "--binary"], "exclude each other"),
            (["send", "", "1"], "a collection's name is a non-empty str"),
            (["list", "--timeout", "0"], "0.1<=x<=60"),
            (["nothing"], "No such command 'nothing'"),
        ],
    )
    def test_is_refused(self, tmp_path, commands, arguments, words):
        """Nothing is asked or sent."""
        TestWithoutABus.write(tmp_path)
        done = commands.run(*arguments)
        assert done.returncode == 2
        assert words in done.stderr

    def test_standard_input_that_is_closed(self, tmp_path, commands):
        """As a service manager may start a command."""
        TestWithoutABus.write(tmp_path)
        done = commands.run("send", "all", "-", has_input=False)
        assert done.returncode == 2
        assert '"-" reads standard input, which is closed' in done.stderr

    @pytest.mark.parametrize(
        ("size", "words"),
        [
            (40_000_000, "it has more than 33554432 bytes, and other processes take no more"),
            (32 * 2**20, "of 33554432 bytes is more than other processes take: at most 33554415"),
        ],
    )
    def test_a_message_that_is_too_large(self, tmp_path, commands, size, words):
        """With the limit, and with its size where that is known: nobody reads on to its end."""
        TestWithoutABus.write(tmp_path, "local")
        done = commands.run("send", "all", "-", given="x" * size)
        assert done.returncode == 2
        assert words in " ".join(done.stderr.split())

    def test_help_lists_the_commands(self, tmp_path, commands):
        """In the order of the documentation."""
        TestWithoutABus.write(tmp_path)
        done = commands.run("--help")
        listed = [line.split()[0] for line in done.stdout.split("Commands:\n")[1].splitlines()]
        assert listed == [
            "routes",
            "list",
            "stats",
            "send",
            "history",
            "close",
            "types",
            "asyncapi",
            "doctor",
        ]

    def test_json_is_json_with_nothing_else_on_the_output(self, tmp_path, commands):
        """Whatever there is to say is said on standard error."""
        TestWithoutABus.write(tmp_path)
        assert json.loads(commands.run("list", "--json").stdout) == []


class TestNobodyIsThere:
    """The commands find no process: they say so, and leave nothing behind."""

    @pytest.fixture
    def app(self, tmp_path):
        (tmp_path / "site_app.py").write_text(
            "from flask import Flask\n"
            "from flask_wshandler import WebSockets\n"
            "app = Flask(__name__)\n"
            "WebSockets(app)\n"
        )
        return tmp_path / "site_app"

    @pytest.mark.parametrize("command", [*COMMANDS, ("doctor",)])
    def test_a_command_that_only_asks_creates_nothing(self, app, commands, runtime, command):
        """Root's would be in the way of the service, whose first WebSocket is still to come."""
        done = commands.run(*command)
        assert list(runtime.iterdir()) == []
        if command != ("doctor",):
            assert (done.returncode, done.stdout) == (1, "")
            assert str(app) in done.stderr
            assert str(runtime) in done.stderr

    @pytest.mark.parametrize(
        ("user_id", "user", "written"),
        [(65534, "nobody", "nobody"), (54321, "#54321", "'#54321'")],
        ids=["a name", "none, as in containers"],
    )
    def test_where_they_may_be_instead(
        self, app, commands, runtime, monkeypatch, user_id, user, written
    ):
        """The directory of another user, and of another XDG_RUNTIME_DIR."""
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory away")
        monkeypatch.setenv("TMPDIR", str(runtime))
        here = RunDirectory(str(app))
        here.make()
        top = runtime / f"flask-wshandler-{user_id}"
        (top / here.name).mkdir(parents=True)
        os.chown(top, user_id, user_id)
        done = commands.run("list", XDG_RUNTIME_DIR="/nowhere", TMPDIR=str(runtime))
        assert done.returncode == 1
        assert f"The app was in {top}, as the user {user}: see `sudo -u {written}`." in done.stderr
        assert f"The app was in {here.path.parent}, by another XDG_RUNTIME_DIR." in done.stderr
