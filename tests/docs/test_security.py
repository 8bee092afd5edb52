"""docs/topics/security.md holds what it says: its tests exist, its logout closes."""

import ast
import contextlib
import http.client
import re
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.deadlines import DEADLINE_S

from .markdown_page import MarkdownPage
from .programs import Program, gunicorn

ROOT = Path(__file__).resolve().parents[2]
PAGE = MarkdownPage(ROOT / "docs" / "topics" / "security.md")

_TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def names_in(path: Path) -> set[str]:
    """The tests of a file, those of classes as `Class::test`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        within = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"):
                found.add(within + each.name)
    return found


def test_every_test_that_is_named_exists():
    """None was renamed or removed."""
    named = _TEST.findall(PAGE.text)
    assert len(named) == PAGE.text.count("`tests/")
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists() or name not in names_in(ROOT / file)
    ]
    assert missing == []


def test_every_threat_has_a_test():
    """And says what is done. None is named twice."""
    _, *parts = re.split(r"^## (.+)$", PAGE.text, flags=re.MULTILINE)
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        assert "- **Done.** " in text, heading
        tests = _TEST.findall(text)
        assert tests, heading
        assert len(set(tests)) == len(tests), heading


def post(server: Program, path: str, cookie: str = "") -> str:
    """Send a form; the cookie that the answer sets."""
    connection = http.client.HTTPConnection(server.netloc, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request("POST", path, headers={"Cookie": cookie})
        response = connection.getresponse()
        assert response.status == 204, response.read()
        return (response.getheader("Set-Cookie") or "").partition(";")[0]


def inbox(server: Program, cookie: str) -> ClientConnection:
    return connect(f"ws://{server.netloc}/inbox", additional_headers={"Cookie": cookie})


def test_a_logout_closes_the_users_connections_in_all_workers(tmp_path):
    """As many connections as hit both workers; another user's stay."""
    [program] = PAGE.code("Logging a user out", "python")
    program += "\n@app.after_request\ndef tell(response):\n    import os\n"
    program += "    response.headers['X-Pid'] = str(os.getpid())\n    return response\n"
    (tmp_path / "inbox.py").write_text(program)
    with (
        gunicorn("gunicorn --workers 2 --threads 4 inbox:app", tmp_path) as server,
        contextlib.ExitStack() as stack,
    ):
        with pytest.raises(InvalidStatus, match="401"):
            inbox(server, "").close()
        ada, bob = post(server, "/login/ada"), post(server, "/login/bob")
        pids: set[str] = set()
        clients: list[ClientConnection] = []
        while len(pids) < 2:
            assert len(clients) < 200
            client = stack.enter_context(inbox(server, ada))
            assert client.recv(DEADLINE_S) == "hello ada"
            assert client.response is not None
            pids.add(client.response.headers["X-Pid"])
            clients.append(client)
        other = stack.enter_context(inbox(server, bob))
        assert other.recv(DEADLINE_S) == "hello bob"
        logged_out = post(server, "/logout", ada)
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(DEADLINE_S)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "logged out")
        assert other.ping().wait(DEADLINE_S)
        with pytest.raises(InvalidStatus, match="401"):
            inbox(server, logged_out).close()


FAULTY = """
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets

app = Flask(__name__)
sockets = WebSockets(app)

@sockets.route("/faulty")
class Faulty(WebSocketHandler):
    def on_message(self, message):
        raise RuntimeError("the password is swordfish")
"""


def test_an_exceptions_text_does_not_reach_the_client(tmp_path):
    """1011 and no reason; the log has it all."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    with (
        gunicorn("gunicorn --threads 4 faulty:app", tmp_path) as server,
        connect(f"ws://{server.netloc}/faulty") as client,
    ):
        client.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(DEADLINE_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "")
        assert "swordfish" in server.log
