"""What a test's client calls, and what it is called."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from flask import Flask

from flask_wshandler import WebSockets
from flask_wshandler.calls import CallError, Hub, call
from flask_wshandler.testing import ConnectionClosed, TimedOut, websocket_connect, worker_of
from tests.calls.app import Board, create_app
from tests.deadlines import DEADLINE_S

WAYS = {"plain": {}, "resumable": {"resumable": True}, "stream": {"transport": "stream"}}


@pytest.fixture
def app():
    return create_app()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture(params=WAYS)
def ws(request, client):
    with websocket_connect(client, "/board?name=ann", **WAYS[request.param]) as ws:
        yield ws


class Ticker(Hub):
    """Yields until it is cancelled, one item in a hundredth of a second."""

    has_ended = threading.Event()

    @call(thread=True)
    def ticks(self) -> Iterator[int]:
        never = threading.Event()
        try:
            for number in range(1_000_000):
                yield number
                never.wait(0.01)
        finally:
            self.has_ended.set()

    @call
    def double(self, number: int) -> int:
        return 2 * number


@pytest.fixture(params=WAYS)
def ticker(request):
    app = Flask(__name__)
    WebSockets(app).route("/ticker")(Ticker)
    Ticker.has_ended.clear()
    with websocket_connect(app.test_client(), "/ticker", **WAYS[request.param]) as ws:
        yield ws


def test_a_call_returns_the_result(ws):
    """By places and by names."""
    assert ws.call("double", 21) == 42
    assert ws.call("add", score={"name": "ada"}, points=3) == {"name": "ada", "points": 3}
    with pytest.raises(TypeError, match="not both"):
        ws.call("double", 1, number=2)


def test_a_call_raises_what_it_is_answered(ws):
    """`CallError`, as at the client."""
    with pytest.raises(CallError) as refused:
        ws.call("refused")
    assert (refused.value.code, refused.value.message) == (7, "No")
    assert refused.value.data == {"why": "so"}
    with pytest.raises(CallError, match="403 Forbidden"):
        ws.call("forbidden")
    with pytest.raises(CallError, match="-32601"):
        ws.call("unmarked")
    assert ws.call("double", 1) == 2


def test_a_fault_of_the_app_is_raised_itself(app, client):
    """With the traceback of the method, where Flask would propagate exceptions."""
    app.testing = True
    with websocket_connect(client, "/board") as ws:
        with pytest.raises(LookupError, match="a secret") as caught:
            ws.call("fault")
        assert caught.traceback[-1].name == "fault"
        assert ws.call("double", 1) == 2


def test_a_fault_is_an_error_where_flask_propagates_none(ws):
    """As a client gets it."""
    with pytest.raises(CallError, match=r"-32603 Internal error$"):
        ws.call("fault")


def test_what_comes_meanwhile_can_be_received_afterwards(ws):
    """In its order, as text."""
    assert ws.call("move", {"x": 1}) == 1
    assert ws.call("move", {"x": 2}) == 2
    ws.send(b"binary")
    assert ws.call("double", 2) == 4
    moved = ws.receive_json()
    assert moved["method"] == "moved"
    assert moved["params"] == ["ann", {"x": 1}]
    call = ws.receive_call()
    assert (call.name, call.arguments) == ("moved", ["ann", {"x": 2}])
    assert ws.receive() == b"binary"
    assert ws.receive_all() == []


def test_messages_of_the_test_s_own_are_not_mixed_up(ws):
    """It may use any ids that are numbers."""
    ws.send_json({"jsonrpc": "2.0", "id": 1, "method": "double", "params": [4]})
    assert ws.call("double", 1) == 2
    assert ws.receive_json() == {"jsonrpc": "2.0", "id": 1, "result": 8}


def test_a_stream_is_iterated_over(ws):
    """Until it returns, or raises."""
    assert list(ws.stream("replay", 40)) == [{"x": number} for number in range(40)]
    assert list(ws.stream("slow_replay", 3)) == [0, 1, 2]
    items = ws.stream("fails_amid", 2)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(CallError, match="-32603"):
        next(items)
    assert ws.receive_all() == []


def test_two_streams_at_a_time(ws):
    """Each has its own items."""
    pairs = list(zip(ws.stream("replay", 20), ws.stream("slow_replay", 20), strict=True))
    assert pairs == [({"x": number}, number) for number in range(20)]


def test_leaving_a_stream_cancels_it(ticker):
    """Nothing of it comes any more, and its generator is closed."""
    for number in ticker.stream("ticks"):
        if number == 3:
            break
    assert Ticker.has_ended.wait(DEADLINE_S)
    assert ticker.receive_all() == []
    assert ticker.call("double", 1) == 2


def test_a_call_of_what_yields_says_what_to_do(ws):
    """TypeError."""
    with pytest.raises(TypeError, match=r"iterate over ws.stream\('replay'"):
        ws.call("replay", 1)


def test_a_notification(ws):
    """Nothing is answered; it has been handled when the next call is."""
    ws.notify("update", 1, 2)
    assert ws.call("move", {"x": 0}) == 4


def test_the_server_s_calls_are_answered(ws):
    """While one of the client's waits for that."""
    started = ws.start_call("ask", "Really?")
    call = ws.receive_call()
    assert (call.name, call.arguments, call.is_answered) == ("confirm", ["Really?"], True)
    call.answer(True)
    assert started.result() is True
    assert started.result() is True


def test_the_server_s_calls_fail(ws):
    """With the error that the test gives."""
    ws.call("resign")
    ws.receive_call().fail(CallError(5, "never"))
    assert ws.receive_call().arguments == ["5 never", {"x": 2}]


def test_an_answer_that_does_not_come(client):
    """The app's time is the test's."""
    with websocket_connect(client, "/board") as ws:
        ws.call("resign")
        assert ws.receive_call().name == "confirm"
        worker_of(client.application).clock.advance(Board.call_timeout_s + 1)
        said = [ws.receive_call() for _ in range(2)]
        assert sorted(call.name for call in said) == ["$/cancel", "moved"]
        [moved] = [call for call in said if call.name == "moved"]
        assert moved.arguments == ["-32002 Timed out", {"x": 2}]
        assert not moved.is_answered
        with pytest.raises(ValueError, match="no answer of moved"):
            moved.answer()


def test_a_message_that_is_no_call(ws):
    """ValueError, with the message."""
    ws.send(b"binary")
    with pytest.raises(ValueError, match="b'binary' is no call"):
        ws.receive_call()


def test_what_is_not_answered_in_time(client):
    """`TimedOut`; the result can be waited for again, or the call cancelled."""
    Board.is_waiting.clear()
    with websocket_connect(client, "/board") as ws:
        started = ws.start_call("wait")
        with pytest.raises(TimedOut, match="no answer of wait in 0"):
            started.result(timeout=0)
        other = ws.start_call("wait")
        other.cancel()
        with pytest.raises(CallError, match="-32800 Cancelled"):
            other.result()
        Board.is_waiting.set()
        assert started.result() == "/board None"


def test_a_call_over_a_cut_connection(client):
    """Is answered when the client has come back to its handler."""
    with websocket_connect(client, "/board", resumable=True) as ws:
        ws.cut()
        started = ws.start_call("double", 4)
        assert ws.come_back()
        assert started.result() == 8


def test_a_closed_connection_ends_calls(ws):
    """`ConnectionClosed`, as for every message."""
    started = ws.start_call("ask", "?")
    ws.receive_call()
    ws.close()
    with pytest.raises(ConnectionClosed):
        started.result()
    with pytest.raises(ConnectionClosed):
        ws.call("double", 1)


def test_the_test_client_needs_no_msgspec():
    """But its calls do, and say so."""
    program = """
import sys
sys.modules["msgspec"] = None
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.testing import websocket_connect
app = Flask(__name__)
WebSockets(app).route("/ws")(type("Quiet", (WebSocketHandler,), {}))
with websocket_connect(app.test_client(), "/ws") as ws:
    try:
        ws.call("move")
    except ImportError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "pip install flask-wshandler[calls]" in done.stdout, done.stderr
