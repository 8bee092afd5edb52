"""docs/reference/wshandler-1.md and the page on what it is for hold what they say."""

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from flask_wshandler.protocol.event_stream import message_event
from flask_wshandler.resume.endpoint import Hello, Offer, Return, parse_hello, parse_offer
from flask_wshandler.resume.posts import parse_entries
from tests.deadlines import DEADLINE_S

from .markdown_page import MarkdownPage
from .programs import Program, gunicorn
from .test_monitoring_page import get

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = MarkdownPage(DOCS / "reference" / "wshandler-1.md")
TOPIC = MarkdownPage(DOCS / "topics" / "resumable-connections.md")

SESSION = "5f0c1a2b~c9d64a74d3b14ab0~kX3mZ0"
STREAM = "0a1b2c3d4e5f"


def test_the_offer_is_one():
    """With the values that the table explains."""
    [header] = PAGE.code("The offer", "text")
    name, _, value = header.strip().partition(": ")
    assert name == "Sec-WebSocket-Protocol"
    assert parse_offer(value.split(", ")) == Offer(("chat.v2",), Return(SESSION, 12, 7, 3))
    parts = [row[0].strip("`") for row in PAGE.rows("The offer")]
    assert parts == ["r.` or `n.", SESSION, "12", "7", "3"]


def test_the_offer_with_places_is_one():
    """As far as the client is in two logs."""
    [header] = PAGE.code("How far it is in logs", "text")
    offer = parse_offer(header.strip().partition(": ")[2].split(", "))
    assert offer == Offer((), Return(SESSION, 12, 7, 3), {STREAM: "9f.1c", "f00000000001": "9f.3"})
    parts = [row[0].strip("`") for row in PAGE.rows("How far it is in logs")]
    assert parts == ["p.", STREAM, "9f.1c"]


def test_the_hello_is_one():
    """It has the keys that the table explains."""
    [hello] = PAGE.code("The hello", "json")
    assert parse_hello(f"h{hello}") == Hello(SESSION, 7, True, ping=20, protocol="chat.v2")
    assert [row[0].strip("`") for row in PAGE.rows("The hello")] == list(json.loads(hello))


ECHO = """
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets

app = Flask(__name__)
sockets = WebSockets(app)

@sockets.route("/")
class Echo(WebSocketHandler):
    def on_text(self, text):
        if text == "one":
            self.send({"one": "uno", "two": "due"}[text])

    def on_away(self):
        self.send("due")
"""


def test_the_events_are_what_is_sent():
    """Each as it is shown, and the hello is one."""
    [events] = PAGE.code("Over HTTP", "text")
    texts = [line.partition(": ")[2] for line in events.splitlines() if line]
    assert parse_hello(texts[0]) == Hello(SESSION, 0, False, ping=20)
    sent = b"".join(message_event(text.encode(), is_text=True) for text in texts)
    assert events.rstrip() == sent.decode().rstrip()


def test_the_list_is_one():
    """Of what a client may post."""
    [posted] = PAGE.code("Over HTTP", "json")
    assert parse_entries(posted.encode()) == ["mhello", b"m\0\1", "a12", "p", "c1000 bye"]


class TestExample:
    ROWS = PAGE.rows("Example")

    def offer(self, row: int, session: str) -> list[str]:
        """What the client says in this row."""
        tokens = re.findall(r"`([^`]+)`", self.ROWS[row][0])
        return [token.replace("5f0c1a2b~…", session) for token in tokens]

    def hello(self, row: int, said: str) -> str:
        """The session in a hello that is like the one of this row."""
        shown = json.loads(self.ROWS[row][1].strip("`")[1:])
        found = json.loads(said[1:])
        assert said[0] == "h"
        assert found | {"session": ""} == shown | {"session": ""}
        return found["session"]

    def test_is_what_a_server_says(self, tmp_path):
        """Up to the cut, and after it; `mtwo` is lost, and so is `mdue`."""
        (tmp_path / "echo.py").write_text(ECHO)
        with gunicorn("gunicorn --threads 4 echo:app", tmp_path) as server:
            url = f"ws://{server.netloc}/"
            with connect(url, subprotocols=self.offer(0, "")) as client:
                session = self.hello(1, client.recv(DEADLINE_S))
                client.send(self.ROWS[2][0].strip("`"))
                assert f"`{client.recv(DEADLINE_S)}`" == self.ROWS[2][1]
                client.socket.shutdown(socket.SHUT_RDWR)
            with connect(url, subprotocols=self.offer(4, session)) as client:
                self.hello(5, client.recv(DEADLINE_S))
                client.send(self.ROWS[6][0].strip("`"))
                assert f"`{client.recv(DEADLINE_S)}`" == self.ROWS[6][1]
                client.send(self.ROWS[7][0].strip("`"))
                assert f"`{client.recv(DEADLINE_S)}`" == self.ROWS[7][1]


@contextlib.contextmanager
def ordering(server: Program, *returns: str) -> Iterator[tuple[ClientConnection, Hello]]:
    """A client of the page's program, and its hello."""
    offer = ["wshandler.1", *returns]
    with connect(f"ws://{server.netloc}/orders?page=1", subprotocols=offer) as client:
        yield client, parse_hello(client.recv(DEADLINE_S))


def test_an_order_that_is_repeated_is_one(tmp_path):
    """A worker is killed when it has done its work, and before that is acknowledged."""
    [program] = TOPIC.code("Exactly once over a crash", "python")
    program += "\n@app.get('/count')\ndef count():\n    with open_database() as database:\n"
    program += "        return [*database.execute('SELECT number, what FROM orders')]\n"
    program += "\n@app.get('/pid')\ndef pid():\n    import os\n    return str(os.getpid())\n"
    (tmp_path / "orders.py").write_text(program)
    with gunicorn("gunicorn --threads 4 orders:app", tmp_path) as server:
        with ordering(server) as (client, hello):
            client.send("mtea")
            assert client.recv(DEADLINE_S) == "mordered tea"
            os.kill(int(get(server, "/pid")), signal.SIGKILL)
            with pytest.raises(ConnectionClosed, match="no close frame"):
                client.recv(DEADLINE_S)
        with ordering(server, f"r.{hello.session}.1.0.1") as (client, hello):
            assert (hello.received, hello.resumed, hello.lost) == (0, False, True)
            client.send("mtea")
            assert client.recv(DEADLINE_S) == "mordered tea"
            client.send("mcake")
            assert client.recv(DEADLINE_S) == "mordered cake"
        assert json.loads(get(server, "/count")) == [[1, "tea"], [2, "cake"]]
