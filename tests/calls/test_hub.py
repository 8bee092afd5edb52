"""Calls to a hub, and what the hub calls."""

import json
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_wshandler import WebSockets
from flask_wshandler.calls import Answer, CallError, Hub, call, to
from flask_wshandler.testing import websocket_connect

from .app import Board, Move, Page, players
from .conftest import Peer


def test_positions_names_and_defaults(peer):
    """Of dataclasses, TypedDicts, structs, and what stands behind a star."""
    score = {"name": "ada", "points": 1}
    assert peer.result("add", score) == {"name": "ada", "points": 2}
    assert peer.result("add", {"name": "ada"}, 5) == {"name": "ada", "points": 5}
    peer.send(
        id=1,
        method="add",
        params={"score": {"name": "ada"}, "options": {"loud": True}, "points": 2},
    )
    assert peer.receive()["result"] == {"name": "ADA", "points": 2}
    assert peer.result("sum") == 0
    assert peer.result("sum", 1, 2, 3) == 6
    assert peer.result("echo", {"deep": [1, None, "ä"]}) == {"deep": [1, None, "ä"]}
    peer.send(id="a", method="get_data")
    assert peer.receive() == {"jsonrpc": "2.0", "id": "a", "result": ["hello", 5]}


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        ("double", ["1"], "Expected `int`, got `str` - at `number`"),
        ("double", [1.5], "Expected `int`, got `float` - at `number`"),
        ("double", [True], "Expected `int`, got `bool` - at `number`"),
        ("double", [None], "Expected `int`, got `null` - at `number`"),
        ("double", [], "Expected `array` of at least length 1, got 0"),
        ("double", [1, 2], "Expected `array` of at most length 1"),
        ("double", {}, "Object missing required field `number`"),
        ("double", {"number": 1, "self": 2}, "Object contains unknown field `self`"),
        ("double", {"number": "x"}, "Expected `int`, got `str` - at `number`"),
        ("move", [{"x": 100}], "Expected `int` <= 99 - at `move.x`"),
        ("move", [{"x": 1, "y": 1}], "Object contains unknown field `y` - at `move`"),
        ("move", [{}], "Object missing required field `x` - at `move`"),
        ("add", [{"name": 1}], "Expected `str`, got `int` - at `score.name`"),
        ("sum", [1, "2"], "Expected `int`, got `str`"),
    ],
)
def test_wrong_arguments(peer, method, params, reason):
    """-32602, with the place; the method is not called."""
    peer.send(id=1, method=method, params=params)
    error = peer.receive()["error"]
    assert (error["code"], error["message"]) == (-32602, "Invalid params")
    assert error["data"].startswith(reason)
    peer.assert_well()


@pytest.mark.parametrize(
    "name",
    ["_private", "unmarked", "__init__", "__class__", "on_open", "on_message", "send", "close",
     "client", "context", "moves", "total", "", "a" * 10_000, "$/item", "$/nothing", "rpc.x"],
)  # fmt: skip
def test_what_is_not_marked_can_not_be_called(peer, name):
    """Whatever the object has."""
    error = peer.error(name)
    assert (error["code"], error["message"]) == (-32601, "Method not found")
    assert len(error["data"]) < 200
    peer.assert_well()


def test_errors(peer, caplog):
    """A CallError and an abort are for the caller; all else is for the log."""
    assert peer.error("refused") == {"code": 7, "message": "No", "data": {"why": "so"}}
    error = peer.error("forbidden")
    assert (error["code"], error["message"]) == (403, "Forbidden")
    assert not caplog.records
    for method, shown in (
        ("fault", "LookupError"),
        ("wrong_type", "Board.wrong_type returns str"),
        ("wrong_arguments", "Page.moved takes no int for who"),
        ("deadlock", "Page.confirm can't be answered"),
    ):
        peer.send(id=1, method=method)
        while (answer := peer.receive()).get("method"):
            pass
        assert answer["error"] == {"code": -32603, "message": "Internal error"}
        [record] = caplog.records
        assert f"Exception in Board.{method} on /board" in record.getMessage()
        assert shown in caplog.text
        caplog.clear()
    peer.assert_well()


def test_notifications_are_not_answered(peer, caplog):
    """Not even with an error."""
    for method in ("fault", "refused", "double", "nothing", "replay", "move"):
        peer.send(method=method, params=[])
    assert peer.result("double", 1) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "Exception in Board.fault on /board"
    ]


def test_flask_in_a_call(client):
    """The handshake's request and session, and a `g` of each call."""
    client.get("/login/ada")
    with websocket_connect(client, "/board") as ws:
        peer = Peer(ws)
        for _ in range(2):
            assert peer.result("who") == {"path": "/board", "user": "ada", "seen": 1}
        Board.is_waiting.set()
        assert peer.result("wait") == "/board ada"


def test_binary_messages_are_the_handlers(peer):
    """Beside the calls."""
    peer.ws.send(b"\x00")
    assert peer.ws.receive() == b"\x00"
    peer.assert_well()


# Streams.


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
def test_a_stream(peer, count):
    """Items, then what the generator returned."""
    peer.send(id=1, method="replay", params=[count])
    items, end = peer.items()
    assert items == [{"x": number % 100} for number in range(count)]
    assert end["result"] == {"count": count}


@pytest.mark.parametrize("method", ["replay", "slow_replay"])
def test_two_streams_and_calls_in_between(endless_peer, method):
    """One does not wait for the other's end."""
    for id in (1, 2):
        endless_peer.send(id=id, method=method, params=[10**9])
    endless_peer.send(id=3, method="double", params=[4])
    counts, ends = {1: 0, 2: 0}, {}
    while not all(counts.values()) or 3 not in ends:
        message = endless_peer.receive()
        if message.get("method") == "$/item":
            counts[message["params"]["id"]] += 1
        else:
            ends[message["id"]] = message
    assert ends == {3: {"jsonrpc": "2.0", "id": 3, "result": 8}}


def test_a_stream_that_fails(peer, caplog):
    """After its items."""
    peer.send(id=1, method="fails_amid", params=[3])
    items, end = peer.items()
    assert items == [0, 1, 2]
    assert end["error"] == {"code": -32603, "message": "Internal error"}
    assert "a secret" in caplog.text
    peer.assert_well()


def test_cancelling(endless_peer):
    """The generator is closed, and nothing comes behind the response."""
    Board.ends.clear()
    endless_peer.send(id="s", method="replay", params=[10**9])
    endless_peer.receive()
    endless_peer.send(method="$/cancel", params={"id": "s"})
    _, end = endless_peer.items("s")
    assert end["error"] == {"code": -32800, "message": "Cancelled"}
    assert Board.ends == ["closed"]
    endless_peer.assert_well()


def test_cancelling_a_stream_of_a_thread(endless_peer):
    """It ends at its next item."""
    Board.ends.clear()
    endless_peer.send(id="s", method="slow_replay", params=[10**9])
    endless_peer.receive()
    endless_peer.send(method="$/cancel", params={"id": "s"})
    while endless_peer.receive().get("method") == "$/item":
        pass
    endless_peer.assert_well()
    for _ in range(100):
        if Board.ends:
            break
        endless_peer.assert_well()
    assert Board.ends == ["wshandler-call"]


@pytest.mark.parametrize("params", [{}, [], [1], {"id": None}, {"id": 7}, {"id": [1]}, None, "x"])
@pytest.mark.parametrize("method", ["$/cancel", "$/pause", "$/resume"])
def test_notes_about_nothing(peer, method, params):
    """Are of no consequence."""
    peer.ws.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))
    peer.assert_well()


def test_pausing(endless_peer):
    """Nothing comes but what was on its way, until the caller goes on."""
    endless_peer.send(id=1, method="replay", params=[10**9])
    endless_peer.send(method="$/pause", params={"id": 1})
    endless_peer.send(id=2, method="double", params=[1])
    while endless_peer.receive().get("id") != 2:
        pass
    for _ in range(3):
        endless_peer.assert_well()
    endless_peer.send(method="$/resume", params={"id": 1})
    assert endless_peer.receive()["method"] == "$/item"
    endless_peer.send(method="$/cancel", params={"id": 1})
    assert endless_peer.items()[1]["error"]["code"] == -32800


def test_the_id_of_a_call_that_goes_on(endless_peer):
    """Is not another's; what has it is not answered in its name."""
    endless_peer.send(id=1, method="replay", params=[10**9])
    endless_peer.send(method="$/pause", params={"id": 1})
    endless_peer.send(id=1, method="double", params=[1])
    while (message := endless_peer.receive()).get("method"):
        pass
    assert message["id"] is None
    assert message["error"]["code"] == -32600


def test_streams_at_a_time(client):
    """Are bounded, per client."""
    with websocket_connect(client, "/few") as ws:
        peer = Peer(ws)
        for number in range(3):
            peer.send(id=number, method="replay", params=[10**9])
            peer.send(method="$/pause", params={"id": number})
        peer.send(id=3, method="replay", params=[1])
        while (message := peer.receive()).get("method"):
            pass
        assert message["id"] == 3
        assert message["error"]["code"] == -32000
        peer.send(id=4, method="double", params=[1])
        assert peer.receive()["result"] == 2


def test_threads_of_one_client(client):
    """Are some of those there are, whether it wants answers or not."""
    Board.is_waiting.clear()
    try:
        with (
            websocket_connect(client, "/board") as ws,
            websocket_connect(client, "/board") as other,
        ):
            peer = Peer(ws)
            for _ in range(40):
                peer.send(method="wait")
            error = peer.error("wait")
            assert (error["code"], error["data"]) == (-32000, "8 threads run for this client")
            Peer(other).send(id=1, method="slow_replay", params=[1])
            assert Peer(other).items()[0] == [0]
    finally:
        Board.is_waiting.set()


def test_a_client_that_leaves_amid_its_streams(client):
    """They are closed, before `on_close`."""
    Board.ends.clear()
    ws = websocket_connect(client, "/board")
    peer = Peer(ws)
    peer.send(id=1, method="replay", params=[10**9])
    peer.receive()
    ws.abort()
    assert Board.ends == ["closed"]


# Calls to the client.


def test_a_call_to_all(client):
    """One message for everybody."""
    with (
        websocket_connect(client, "/board?name=ada") as one,
        websocket_connect(client, "/board") as other,
    ):
        peer = Peer(one)
        assert peer.call("move", {"x": 3}) == {
            "jsonrpc": "2.0",
            "method": "moved",
            "params": ["ada", {"x": 3}],
        }
        assert peer.receive()["result"] == 1
        assert json.loads(other.receive())["params"] == ["ada", {"x": 3}]


def test_a_call_to_all_from_a_view(app, client):
    """By the contract."""
    with websocket_connect(client, "/board") as ws, app.app_context():
        to(players, Page).moved("a view", Move(1))
        assert json.loads(ws.receive())["params"] == ["a view", {"x": 1}]
        with pytest.raises(TypeError, match=r"Page\.confirm is answered, which many can't"):
            to(players, Page).confirm("?")
        with pytest.raises(AttributeError, match="Page has no shout: confirm, moved, score_of"):
            Board.to(players).shout()
        with pytest.raises(TypeError, match=r"Page\.moved takes 2 arguments, not 1"):
            Board.to(players).moved("a")
        with pytest.raises(TypeError, match=r"Page\.moved takes no int for move"):
            Board.to(players).moved("a", 1)


def test_an_answer(peer):
    """Of the client's, as a callback of the handler's."""
    question = peer.call("resign")
    assert question["method"] == "confirm"
    assert question["params"] == ["Really?"]
    assert peer.receive()["result"] is None
    peer.send(id=question["id"], result=True)
    assert peer.receive()["params"] == ["resigned: True", {"x": 1}]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"error": {"code": 5, "message": "No", "data": 1}}, "5 No"),
        ({"error": {"code": 5}}, "5 "),
        ({"result": "yes"}, "-32603 Internal error"),
        ({"result": None}, "-32603 Internal error"),
    ],
)
def test_an_answer_that_is_none(peer, answer, told):
    """An error, or something else than the contract says."""
    question = peer.call("resign")
    peer.receive()
    peer.send(id=question["id"], **answer)
    assert peer.receive()["params"][0] == told
    peer.assert_well()


def test_no_answer(app):
    """After some time the client is told that it need not."""
    with app.test_client() as client, websocket_connect(client, "/board") as ws:
        peer = Peer(ws)
        question = peer.call("resign")
        peer.receive()
        app.extensions["wshandler"].timer.clock.advance(Board.call_timeout_s + 1)
        assert peer.receive()["params"] == {"id": question["id"]}
        assert peer.receive()["params"][0] == "-32002 Timed out"
        peer.send(id=question["id"], result=True)
        peer.assert_well()


@pytest.mark.parametrize("id", [0, 7, -1, "1", None, 2**60, 1.5])
def test_answers_nobody_asked_for(peer, id):
    """Are of no consequence."""
    peer.send(id=id, result=1)
    peer.send(id=1, method="double", params=[21])
    while (answer := peer.receive()).get("id") != 1:
        assert answer["error"]["code"] == -32600
    assert answer["result"] == 42


def test_waiting_for_an_answer(peer):
    """In a thread of its own."""
    question = peer.call("ask", "Sure?", id=9)
    assert question["params"] == ["Sure?"]
    peer.assert_well()
    peer.send(id=question["id"], result=True)
    assert peer.receive() == {"jsonrpc": "2.0", "id": 9, "result": True}


def test_a_hub_without_a_contract(client):
    """Everything is asked, and answered by anything."""
    with websocket_connect(client, "/free") as ws:
        peer = Peer(ws)
        question = peer.call("ask")
        assert (question["method"], question["params"]) == ("anything", [1, "two"])
        peer.receive()
        peer.send(id=question["id"], result={"any": "thing"})
        assert peer.receive()["params"] == [{"any": "thing"}]


# Messages.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "null",
        "1",
        '"x"',
        "{",
        "{}",
        '{"jsonrpc":"1.0","id":1,"method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","id":{},"method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":1.5,"method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":true,"method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":1e999,"method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":9007199254740992,"method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":1' + "0" * 5_000 + ',"method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":"' + "x" * 129 + '","method":"double","params":[1]}',
        '{"jsonrpc":"2.0","id":1,"method":null,"params":[1]}',
        '{"jsonrpc":"2.0","id":1,"error":"x"}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 10_000 + "]" * 10_000,
        '{"jsonrpc":"2.0","id":1,"method":"echo","params":' + "[" * 50_000 + "]" * 50_000 + "}",
        "[" + ",".join(["1"] * 101) + "]",
    ],
)  # fmt: skip
def test_what_is_no_message(peer, text):
    """An error, for nobody's id, and the connection goes on."""
    peer.ws.send(text)
    answer = json.loads(peer.ws.receive())
    assert answer["id"] is None
    assert answer["error"]["code"] in (-32700, -32600)
    assert len(json.dumps(answer)) < 400
    peer.assert_well()


@pytest.mark.parametrize("params", ["x", 1, None, True])
def test_parameters_that_are_none(peer, params):
    """Neither an array nor an object."""
    peer.send(id=1, method="double", params=params)
    error = peer.receive()["error"]
    assert (error["code"], error["data"]) == (-32600, "params is an array or an object")
    peer.assert_well()


def test_a_batch_with_what_goes_on(peer):
    """Items come as they are; the responses together, when there are all."""
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "replay", "params": [20]},
        {"jsonrpc": "2.0", "id": 2, "method": "slow_replay", "params": [3]},
        {"jsonrpc": "2.0", "id": 3, "method": "double", "params": [3]},
    ]
    peer.ws.send(json.dumps(batch))
    count = 0
    while isinstance(message := peer.receive(), dict):
        count += 1
    assert count == 23
    assert {each["id"]: each["result"] for each in message} == {1: {"count": 20}, 2: None, 3: 6}


# Classes.


def test_overriding():
    """A call that a subclass has, or has no more."""

    class Other(Board):
        @call
        def double(self, number: int) -> str:
            return "x" * number

        def echo(self, value):
            raise AssertionError

    app = Flask("overriding")
    WebSockets(app).route("/other")(Other)
    with app.test_client() as client, websocket_connect(client, "/other") as ws:
        peer = Peer(ws)
        assert peer.result("double", 3) == "xxx"
        assert peer.error("echo", 1)["code"] == -32601
        assert peer.result("sum", 1, 2) == 3


class Opaque:
    pass


def test_what_can_not_be_called():
    """Is said when the class is made."""
    with pytest.raises(TypeError, match=r"Bad\.f is async"):

        class Bad(Hub):
            @call
            async def f(self): ...

    with pytest.raises(TypeError, match=r"Bad\.f has \*\*names"):

        class Bad(Hub):
            @call
            def f(self, **names): ...

    with pytest.raises(TypeError, match=r"Bad\.f has a parameter of a type that can't be read"):

        class Bad(Hub):
            @call
            def f(self, a: Opaque): ...

    with pytest.raises(TypeError, match=r"Bad\.on_text would never be called"):

        class Bad(Hub):
            def on_text(self, message): ...

    with pytest.raises(TypeError, match="f and g are both 'f'"):

        class Bad(Hub):
            @call
            def f(self): ...

            @call("f")
            def g(self): ...

    for name in ("_x", "$/cancel", "rpc.x", "", "x" * 129):
        with pytest.raises(ValueError, match="can't be called"):
            call(name)(lambda self: None)


def test_types_that_come_later():
    """At the first client."""

    class Early(Hub):
        @call
        def f(self, later: "Later") -> "list[Later]":  # noqa: F821  # that is what is tried
            return [later]

    globals()["Later"] = int
    app = Flask("later")
    WebSockets(app).route("/early")(Early)
    with app.test_client() as client, websocket_connect(client, "/early") as ws:
        assert Peer(ws).result("f", 1) == [1]


def test_a_client_that_is_not_there():
    """Before the handler is accepted."""
    with pytest.raises(RuntimeError, match="Board is not connected yet"):
        Board().client.moved("a", Move(1))


def test_a_call_error_says_what_it_has():
    """In a traceback."""
    assert str(CallError(7, "No", {"a": 1})) == "7 No: {'a': 1}"
    assert str(CallError(7)) == "7 "
    assert typing.get_origin(Answer[bool]) is Answer
    assert typing.get_args(Iterator[Any]) == (Any,)
