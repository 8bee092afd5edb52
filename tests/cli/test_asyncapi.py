"""`asyncapi`: the app's WebSockets in AsyncAPI 3.0, as its own parser reads it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Optional, Protocol

import msgspec
import pytest
from flask import Flask
from jsonschema import Draft7Validator

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.calls import Hub, call

from .test_types import TYPES, Circle, Point, Square
from .test_types import Board as OtherBoard

PARSER = Path(__file__).with_name("asyncapi_parser.mjs")
PACKAGES = Path(__file__).parents[1] / ".venv" / "node"


class Move(msgspec.Struct):
    x: int
    colour: Literal["black", "white"] = "black"
    after: Optional["Move"] = None


class Page(Protocol):
    def moved(self, who: str, move: Move) -> None: ...
    def confirm(self, question: str) -> bool: ...


class Board(Hub[Page]):
    @call
    def move(self, move: Move, times: int = 1) -> int:
        """Make a move.

        Its number is returned.
        """

    @call
    def replay(self, game: int) -> Iterator[Move]: ...

    @call
    def leave(self) -> None: ...

    @call
    def add(self, *numbers: int) -> int: ...

    @call
    def named(self, *, only: Point) -> Circle | Square: ...

    @call("a b")
    def spaced(self) -> int: ...

    @call("a+b")
    def added(self) -> str: ...


class AllTypes(Hub):
    @call
    def it(self, value: tuple[tuple(annotation for annotation, *_ in TYPES.values())]) -> None: ...


class Plain(WebSocketHandler):
    pass


def make_app():
    app = Flask("shop")
    app.config["WSHANDLER_BUS"] = "none"
    sockets = WebSockets(app)
    sockets.route("/board/<int(min=1):game>/<player>")(Board)
    sockets.route("/also", endpoint="also")(type("Board", (Hub,), {"__module__": "also"}))
    sockets.route("/again", endpoint="again")(Board)
    sockets.route("/plain{}", endpoint="plain.old")(Plain)
    sockets.route("/other", endpoint="other")(OtherBoard)

    @sockets.route("/function")
    def function(ws):
        pass

    return app


@pytest.fixture
def run():
    runner = make_app().test_cli_runner()
    return lambda *arguments: runner.invoke(args=["websockets", "asyncapi", *arguments])


@pytest.fixture
def document(run):
    return json.loads(run().output)


def what_the_parser_says(*paths):
    """Of each document, but that there is a newer AsyncAPI."""
    node = shutil.which("node")
    if node is None or not PACKAGES.exists():
        pytest.skip("@asyncapi/parser is missing: tests/run installs it by npm")
    command = [node, PARSER, PACKAGES, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        [line for line in lines if not line.startswith("asyncapi-latest-version")]
        for lines in json.loads(done.stdout)
    ]


def app_with(*hubs):
    app = Flask("small")
    app.config["WSHANDLER_BUS"] = "none"
    sockets = WebSockets(app)
    for hub in hubs:
        sockets.route("/hub")(hub)
    return app


def test_its_parser_has_nothing_against_it(run, tmp_path):
    """Neither an error nor a warning, also of all types and of none; of a wrong document it has."""
    whole, empty, typed, wrong = paths = [tmp_path / f"{number}.json" for number in range(4)]
    run("--server", "wss://example.org/shop", "--out", str(whole))
    for path, app in ((empty, app_with()), (typed, app_with(AllTypes))):
        app.test_cli_runner().invoke(args=["websockets", "asyncapi", "--out", str(path)])
    wrong.write_text(typed.read_text().replace('"action": "receive"', '"action": "publish"'))
    *found, found_wrong = what_the_parser_says(*paths)
    assert found == [[], [], []]
    assert found_wrong


def test_channels_are_the_routes(document):
    """By their endpoints, with the variables of their URLs."""
    channels = document["channels"]
    assert {name: each["address"] for name, each in channels.items()} == {
        "again": "/again",
        "also": "/also",
        "other": "/other",
        "Board": "/board/{game}/{player}",
        "function": "/function",
        "plain.old": "/plain%7B%7D",
    }
    assert channels["Board"]["parameters"] == {
        "game": {"description": "int"},
        "player": {"description": "string"},
    }


def test_operations_are_the_calls(document):
    """The app receives what clients call, and sends what it calls; with what is answered."""
    operations = document["operations"]
    names = {name.partition(".")[2] for name in operations if name.startswith("again.")}
    assert names == {
        *(f"receive.{name}" for name in ("move", "replay", "leave", "add", "named")),
        *("receive.a_b", "receive.a_b_2", "receive.-"),
        *("send.moved", "send.confirm", "send.-"),
    }
    move = operations["again.receive.move"]
    assert move["action"] == "receive"
    assert (move["summary"], move["description"]) == ("Make a move.", "Its number is returned.")
    assert answers(operations, "again.receive.move") == ["response", "error"]
    assert answers(operations, "again.receive.replay") == ["item", "response", "error"]
    assert operations["again.send.confirm"]["action"] == "send"
    assert answers(operations, "again.send.confirm") == ["response", "error"]
    assert "reply" not in operations["again.send.moved"]


def answers(operations, name):
    return [
        each["$ref"].rpartition("/")[2].rpartition(".")[2]
        for each in operations[name]["reply"]["messages"]
    ]


def test_other_handlers_have_a_message_of_their_own_making(document):
    """Either way, and nothing is said of it."""
    for name in ("plain.old", "function"):
        [message] = document["channels"][name]["messages"].values()
        assert message["payload"] == {}
        assert document["operations"][f"{name}.receive"]["action"] == "receive"
        assert document["operations"][f"{name}.send"]["action"] == "send"


def request(method, params, **more):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **more}


MOVE = {"x": 1, "after": {"x": 2, "colour": "white"}}
MESSAGES = [
    ("move.request", request("move", [MOVE]), True),
    ("move.request", request("move", [MOVE, 2]), True),
    ("move.request", request("move", {"move": MOVE}), True),
    ("move.request", request("move", [MOVE], id="one"), True),
    ("move.request", request("move", [MOVE, 2, 3]), False),
    ("move.request", request("move", [{"x": "1"}]), False),
    ("move.request", request("move", {"move": MOVE, "more": 1}), False),
    ("move.request", request("move", []), False),
    ("move.request", request("mover", [MOVE]), False),
    ("move.request", {"jsonrpc": "2.0", "id": 1, "method": "move"}, False),
    ("leave.request", {"jsonrpc": "2.0", "id": 1, "method": "leave"}, True),
    ("leave.request", request("leave", [1]), False),
    ("add.request", request("add", [1, 2, 3]), True),
    ("add.request", request("add", [1, "2"]), False),
    ("named.request", request("named", {"only": [1, 2]}), True),
    ("named.request", request("named", {"only": ["1", 2]}), False),
    ("named.request", request("named", [[1, 2]]), False),
    (
        "named.response",
        {"jsonrpc": "2.0", "id": 1, "result": {"kind": "circle", "radius": 1}},
        True,
    ),
    ("named.response", {"jsonrpc": "2.0", "id": 1, "result": {"kind": "ring", "radius": 1}}, False),
    ("leave.response", {"jsonrpc": "2.0", "id": 1, "result": None}, True),
    ("leave.response", {"jsonrpc": "2.0", "id": 1, "result": 1}, False),
    (
        "replay.item",
        {"jsonrpc": "2.0", "method": "$/item", "params": {"id": 1, "value": MOVE}},
        True,
    ),
    ("replay.item", {"jsonrpc": "2.0", "method": "$/item", "params": {"id": 1}}, False),
]


@pytest.mark.parametrize(("name", "message", "is_right"), MESSAGES)
def test_payloads_are_those_of_the_wire(document, name, message, is_right):
    """As JSON Schema of draft 7 says, which AsyncAPI has."""
    assert is_valid(document, f"Board.{name}", message) is is_right


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("error", {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "No"}}),
        ("cancel", {"jsonrpc": "2.0", "method": "$/cancel", "params": {"id": "a"}}),
        ("pause", {"jsonrpc": "2.0", "method": "$/pause", "params": {"id": 1}}),
        ("Page.moved", {"jsonrpc": "2.0", "method": "moved", "params": ["ann", MOVE]}),
    ],
)
def test_what_is_no_call(document, name, message):
    """Errors, notes about calls, notifications."""
    assert is_valid(document, name, message)


def is_valid(document, name, message):
    messages = document["channels"]["again"]["messages"]
    [reference] = [each["$ref"] for key, each in messages.items() if key.endswith(name)]
    schema = {"allOf": [{"$ref": f"{reference}/payload"}], "components": document["components"]}
    return Draft7Validator(schema).is_valid(message)


def test_classes_of_one_name_are_two(document):
    """So are calls whose names a key can't have."""
    messages = document["components"]["messages"]
    of_board = [name for name in messages if name.endswith(".move.request")]
    assert len(of_board) == 2
    found = {
        messages[name]["payload"]["properties"]["method"]["const"]
        for name in messages
        if "a_b" in name and name.endswith(".request")
    }
    assert found == {"a b", "a+b"}


def test_what_the_document_is_of(run):
    """The app's name, unless something else is said; where it is served, if it is said."""
    assert json.loads(run().output)["info"] == {"title": "shop", "version": "0.0.0"}
    given = run("--title", "Shop", "--version", "1.2", "--server", "ws://localhost:5000")
    found = json.loads(given.output)
    assert found["info"] == {"title": "Shop", "version": "1.2"}
    assert found["servers"] == {"default": {"host": "localhost:5000", "protocol": "ws"}}
    wrong = run("--server", "https://example.org")
    assert wrong.exit_code == 1
    assert "a server is ws://… or wss://…, not 'https://example.org'" in wrong.output


def test_a_file_is_written_and_held_to_the_app(run, tmp_path):
    """The same app has the same document."""
    path = tmp_path / "asyncapi.json"
    assert run("--out", str(path)).output == ""
    assert run("--check", str(path)).exit_code == 0
    differs = run("--check", str(path), "--version", "2")
    assert differs.exit_code == 1
    assert '+    "version": "2"\n' in differs.output


def test_without_msgspec(run, monkeypatch):
    """What is missing is said."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    result = run()
    assert result.exit_code == 1
    assert "pip install 'flask-wshandler[calls]'" in result.output
