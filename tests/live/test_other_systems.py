"""Systems without epoll (macOS), and without all that only a Unix has (Windows).

Not those systems: Python without the names that they lack.
"""

import signal
import subprocess
import sys

import pytest

from tests.deadlines import DEADLINE_S

from .serving import HERE
from .wire import close

SYSTEMS = ["like_macos", "like_windows"]

IN_PROCESS = """
from flask import Flask
from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from flask_wshandler.testing import enable, worker_of

app = Flask(__name__)
app.testing = True
sockets = WebSockets(app)
enable(app)
everybody = WebSocketCollection("everybody")

@sockets.route("/everybody")
class Member(WebSocketHandler):
    def on_open(self):
        everybody.add(self)
    def on_message(self, message):
        everybody.broadcast(message)

@sockets.route("/function")
def function(ws):
    ws.send(ws.receive())

one, other = (app.test_client().websocket_connect("/everybody") for _ in range(2))
one.send("hello")
assert one.receive() == other.receive() == "hello"
one.close()
other.close()
with app.test_client().websocket_connect("/function") as ws:
    ws.send("echo")
    assert ws.receive() == "echo"
worker_of(app).close()
print("done")
"""


@pytest.fixture(params=SYSTEMS)
def system(request):
    return request.param


@pytest.fixture
def server(start, system):
    return start("werkzeug", first_path=HERE / system)


def test_flask_run_serves(server):
    """Handlers, collections and functions, each client in its own thread."""
    with server.raw("/echo") as raw:
        raw.send(b"\x81\x80\0\0\0\0" * 3)
        assert [raw.read_text() for _ in range(3)] == [""] * 3
    one = server.connect("/chat?name=one")
    assert one.recv() == "one has connected."
    other = server.connect("/chat?name=other")
    assert one.recv() == other.recv() == "other has connected."
    for number in range(20):
        one.send(str(number))
        assert one.recv() == other.recv()
    other.send("close")
    function = server.connect("/function/f")
    assert function.recv().startswith("f ")
    function.send("close")
    assert server.get("/").body == "plain"


def test_a_broadcast_wakes_a_thread_that_waits(server):
    """What a client does not take at once is written by its own thread, by and by."""
    client = server.connect("/record/recorder/flooded")
    client.send("flood 15")
    messages = [client.recv() for _ in range(15)]
    assert {len(message) for message in messages} == {65536}


def test_a_client_that_vanishes_is_noticed(server):
    """By the end of its stream, whatever the system tells."""
    client = server.raw("/record/recorder/vanished")
    server.wait_for_event("open", "vanished")
    client.reset()
    assert server.wait_for_event("close", "vanished")["code"] == 1006


def test_a_stop_closes_the_clients(server):
    """Ctrl-C: 1001, and the process ends by itself."""
    client = server.raw("/record/recorder/stopped")
    server.wait_for_event("open", "stopped")
    server.signal(signal.SIGINT)
    assert client.read_close()[0] == 1001
    client.send(close(1001))
    client.end()
    server.wait_for_end()
    assert server.wait_for_event("close", "stopped")["code"] == 1001


def test_the_test_client_works(server):
    """In process, with socket pairs."""
    run_program(server, ["-c", IN_PROCESS], "done")


def test_figures_are_this_processs(server):
    """Prometheus gets them, and nothing is logged."""
    program = """
from flask import Flask
from flask_wshandler import WebSockets
from flask_wshandler.prometheus import PrometheusMetrics

app = Flask(__name__)
WebSockets(app)
PrometheusMetrics(app, path="/metrics")
print(app.test_client().get("/metrics").text)
"""
    done = run_program(server, ["-c", program], "wshandler_connections")
    assert done.stderr == ""


class TestCommands:
    """`flask websockets`."""

    def run(self, server, *arguments, returncode=0):
        command = ["-m", "flask", "--app", "tests.live.app:app", "websockets", *arguments]
        return run_program(server, command, "", returncode)

    def test_those_that_need_no_other_process(self, server):
        """Routes, and the doctor at the running server."""
        assert "/echo" in self.run(server, "routes").stdout
        done = self.run(server, "doctor", "--url", server.origin, "--json", returncode=None)
        assert done.stderr == ""
        assert "looked_at" in done.stdout

    @pytest.mark.parametrize("system", ["like_windows"], indirect=True)
    def test_those_that_need_others_say_what_they_can_not(self, server):
        """There is no local bus on Windows."""
        for arguments in (["list"], ["stats"], ["close", "x"], ["send", "chat", "hello"]):
            done = self.run(server, *arguments, returncode=1)
            assert "This system has no Unix sockets" in done.stderr
            assert "Traceback" not in done.stderr


def run_program(server, arguments, expected, returncode=0):
    """Run Python as the server does, on the same system."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=server.environment,
        cwd=server.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert expected in done.stdout, done.stderr
    assert returncode in (done.returncode, None), done.stderr
    return done
