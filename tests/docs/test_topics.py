"""docs/topics/handlers.md holds what it says: its programs answer as it says."""

import ast
import http.client
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.deadlines import DEADLINE_S

from .chat import handshake_status
from .markdown_page import MarkdownPage
from .programs import gunicorn

HANDLERS = MarkdownPage(Path(__file__).resolve().parents[2] / "docs" / "topics" / "handlers.md")
CONTEXTS = MarkdownPage(HANDLERS.path.with_name("threads-and-contexts.md"))


def test_the_handlers_of_the_page_answer(tmp_path):
    """In a view, in a view class, with an address of its own; the blocks are one program."""
    view, view_class = HANDLERS.code("In any view", "python")
    [route] = HANDLERS.code("With an address of its own", "python")
    (tmp_path / "program.py").write_text(view + view_class + route)
    with gunicorn("gunicorn --threads 4 program:app", tmp_path) as server:
        url = f"ws://{server.netloc}"
        with connect(f"{url}/greet?name=Ada") as client:
            assert client.recv(DEADLINE_S) == "hello Ada"
        with connect(f"{url}/greet.ashx") as client:
            assert client.recv(DEADLINE_S) == "hello you"
        assert handshake_status(server, path="/greet") == 400
        for path in ("/greet", "/greet.ashx"):
            connection = http.client.HTTPConnection(server.netloc, timeout=DEADLINE_S)
            connection.request("GET", path)
            assert connection.getresponse().status == 426
            connection.close()
        with connect(f"{url}/game/lobby") as client:
            client.send("hello")
            answer = client.recv(DEADLINE_S)
            assert ast.literal_eval(answer) == {"room": "lobby", "you": "hello"}
            client.send(b"hello")
            with pytest.raises(ConnectionClosed, match="1003"):
                client.recv(DEADLINE_S)


def test_what_lasts_is_an_attribute(tmp_path):
    """The excerpt of the page on contexts, in a program that says what it has kept."""
    [excerpt] = CONTEXTS.code("Flask's contexts in callbacks", "python")
    program = (
        "from flask import Flask, request\n"
        "from flask_wshandler import WebSocketHandler, WebSockets\n"
        "app = Flask(__name__)\nsockets = WebSockets(app)\n"
        f"{excerpt}    def on_text(self, text):\n        self.send(self.room)\n"
        'sockets.route("/")(ChatHandler)\n'
    )
    (tmp_path / "program.py").write_text(program)
    with (
        gunicorn("gunicorn --threads 4 program:app", tmp_path) as server,
        connect(f"ws://{server.netloc}/?room=lobby") as client,
    ):
        client.send("which?")
        assert client.recv(DEADLINE_S) == "lobby"
