"""What a client and a handler say to each other."""

import concurrent.futures
import contextlib
import os
import threading
import time

import pytest

from flask_wshandler import WebSockets
from flask_wshandler.testing import ConnectionClosed, TimedOut, WebSocketClient, worker_of
from flask_wshandler.testing.patience import Patience
from tests.deadlines import wait_for

from .app import DEADLINE_S, Stuck, create_app


@pytest.fixture(params=["epoll", "blocking"])
def app(request):
    """In both ways of serving: `blocking` is what systems without epoll have."""
    return create_app(WSHANDLER_TRANSPORT=request.param)


@pytest.fixture
def stuck():
    """Callbacks that wait for the test."""
    Stuck.let_go.clear()
    Stuck.closed_with = None
    yield Stuck
    Stuck.let_go.set()


def test_text_and_bytes_come_back(client):
    """Each as what it was sent, in order."""
    with client.websocket_connect("/echo") as ws:
        ws.send("text")
        ws.send(b"bytes")
        ws.send(bytearray(b"more"))
        ws.send(memoryview(b"and more"))
        received = [ws.receive(timeout=DEADLINE_S) for _ in range(4)]
        assert received == ["text", b"bytes", b"more", b"and more"]
        with pytest.raises(TypeError, match="str or bytes, not int"):
            ws.send(1)


def test_json_comes_back(client):
    """By `send_json` and `receive_json`."""
    with client.websocket_connect("/echo") as ws:
        ws.send_json({"a": [1, None, "ü"]})
        assert ws.receive_json() == {"a": [1, None, "ü"]}


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 900_000])
def test_sizes(client, size):
    """Whatever length a frame has, and more than a socket holds."""
    message = os.urandom(size)
    with client.websocket_connect("/echo") as ws:
        ws.send(message)
        assert ws.receive() == message


def test_many_messages_without_reading(client):
    """The client has no thread that reads; the server waits for nobody."""
    with client.websocket_connect("/echo") as ws:
        for number in range(2000):
            ws.send(str(number))
        assert [ws.receive() for _ in range(2000)] == [str(number) for number in range(2000)]


def test_several_clients(client):
    """Of one test client, and of several; who hears what is certain, as is who hears nothing."""
    other = client.application.test_client()
    with (
        client.websocket_connect("/chat?name=ann") as ann,
        client.websocket_connect("/chat", query_string={"name": "bob"}) as bob,
        other.websocket_connect("/echo") as eve,
    ):
        ann.send("hi")
        bob.send("ho")
        assert sorted(ann.receive_all()) == ["ann: hi", "bob: ho"]
        assert sorted(bob.receive_all()) == ["ann: hi", "bob: ho"]
        assert eve.receive_all() == ann.receive_all() == []
        ann.close()
        assert bob.receive() == "ann has gone"


def test_what_is_held_back_is_waited_for(app, client):
    """The pollers write some answers only after the turns of others, for whom nothing is due."""
    with client.websocket_connect("/echo") as ws, concurrent.futures.ThreadPoolExecutor() as pool:
        (connection,) = app.extensions["wshandler"].engine.connections()
        connection.is_corked = True  # as it is while others have their turn
        connection.send("hi")
        received = pool.submit(ws.receive_all)
        with pytest.raises(concurrent.futures.TimeoutError):
            received.result(0.1)
        connection.uncork()
        assert received.result(DEADLINE_S) == ["hi"]


def test_large_messages_come_whole(client):
    """Though they are written piece by piece, whenever the client has taken the one before."""
    with client.websocket_connect("/large") as ws:
        for _ in range(20):
            ws.send("300000")
            assert [len(message) for message in ws.receive_all()] == [300_000]


@pytest.mark.parametrize("then", ["more", "close"])
def test_what_there_is_room_for_is_waited_for(stuck, then):
    """Though no thread has begun to write it. What there is no room for is not."""
    app = create_app(WSHANDLER_TRANSPORT="epoll", WSHANDLER_THREADS=1)
    worker = worker_of(app)
    ws = worker.websocket_connect("/large")
    (connection,) = app.extensions["wshandler"].engine.connections()
    other = worker.websocket_connect("/stuck")
    ws.go_silent()
    connection.send(900_000 * "x")
    if then == "close":
        connection.close(4000)
    worker.settle()
    assert ws.served.is_idle
    other.send("stay")
    wait_for(worker.running)
    with pytest.raises(TimedOut):
        ws.receive(timeout=0)  # it has read what there was
    assert not ws.served.is_idle
    assert ws.served.has_handled_all  # which is enough for on_open to be over
    stuck.let_go.set()
    worker.settle()
    assert [len(message) for message in ws.receive_all()] == [900_000]
    assert ws.close_code == (4000 if then == "close" else None)
    worker.close()


@pytest.mark.parametrize("name", ["send", "close", "abort", "pause"])
def test_what_one_client_does_to_another_leaves_a_trace(app, client, wshandler, name):
    """Who is looked at one after the other may be given work after the look."""
    arguments = ("hi",) if name == "send" else ()
    with client.websocket_connect("/echo"):
        (connection,) = app.extensions["wshandler"].engine.connections()
        before = wshandler.traces
        assert wshandler.traces == before
        getattr(connection, name)(*arguments)
        assert wshandler.traces != before
        connection.resume()


def test_what_is_read_leaves_a_trace(app, client, wshandler):
    """Another thread of the test may read it, and so make room for more."""
    with client.websocket_connect("/echo") as ws:
        (connection,) = app.extensions["wshandler"].engine.connections()
        connection.send("hi")
        before = wshandler.traces
        ws.receive()
        assert wshandler.traces != before


def test_clients_in_threads(client):
    """Each client in one thread."""
    found = []

    def talk(number):
        with client.application.test_client().websocket_connect("/echo") as ws:
            for each in range(50):
                ws.send(f"{number} {each}")
                found.append(ws.receive() == f"{number} {each}")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert found == [True] * 400


def test_what_came_before_the_close_is_received_after_it(client):
    """Then it is an error, with the code and the reason, again and again."""
    with client.websocket_connect("/closing") as ws:
        ws.send("4001 go away")
        assert ws.wait_closed(timeout=DEADLINE_S) == 4001
        assert [ws.receive(timeout=DEADLINE_S), ws.receive(timeout=0)] == ["last", "very last"]
        for _ in range(2):
            with pytest.raises(ConnectionClosed, match="4001 go away") as closed:
                ws.receive()
            assert (closed.value.code, closed.value.reason) == (4001, "go away")
        with pytest.raises(ConnectionClosed, match="4001"):
            ws.send("too late")
        assert (ws.closed, ws.close_code, ws.close_reason) == (True, 4001, "go away")
        assert ws.receive_all() == []


def test_open_until_it_is_closed(client):
    """`closed`, `close_code` and `close_reason`, of a close by the client."""
    ws = client.websocket_connect("/closing")
    assert (ws.closed, ws.close_code, ws.close_reason) == (False, None, "")
    assert repr(ws) == "<ClientWebSocket /closing open>"
    ws.close(4000, "mine")
    assert (ws.closed, ws.close_code, ws.close_reason) == (True, 4000, "mine")
    ws.close()
    ws.abort()
    assert ws.wait_closed() == 4000
    assert repr(ws) == "<ClientWebSocket /closing closed: 4000>"


def test_close_takes_what_may_be_sent(client):
    """As a browser does."""
    with client.websocket_connect("/echo") as ws, pytest.raises(ValueError, match="1005"):
        ws.close(1005)


def test_close_waits_for_on_close(client, stuck):
    """So a test may look at what it has done."""
    ws = client.websocket_connect("/stuck")
    ws.close(4003)
    assert stuck.closed_with == 4003


def test_abort_is_no_close(client, stuck):
    """The handler sees 1006, the client too."""
    with client.websocket_connect("/stuck") as ws:
        ws.abort()
        assert stuck.closed_with == ws.close_code == 1006


def test_receive_says_what_came_instead(client):
    """A time-out is a TimeoutError with the latest messages, the state, and what still runs."""
    with client.websocket_connect("/echo") as ws:
        with pytest.raises(TimedOut, match=r"no message came in 0 s; nothing had come before"):
            ws.receive(timeout=0)
        for number in range(7):
            ws.send(str(number))
            ws.receive()
        ws.send("x" * 1000)
        ws.receive()
        started_s = time.monotonic()
        with pytest.raises(TimeoutError) as error:
            ws.receive(timeout=0.05)
        assert time.monotonic() - started_s >= 0.05
        assert str(error.value) == (
            "no message came in 0.05 s; 8 had come before, the last of them '3', '4', '5', '6', "
            f"'{'x' * 79}…; the connection is open"
        )


def test_receive_says_what_runs(client, stuck):
    """The callback that the test waits for."""
    with client.websocket_connect("/stuck") as ws:
        ws.send("stay")
        with pytest.raises(TimedOut, match=r"Stuck\.on_message is running"):
            ws.receive(timeout=0.1)
        with pytest.raises(TimedOut, match=r"did not answer the close in 0\.1 s.*Stuck"):
            ws.close(timeout=0.1)
        stuck.let_go.set()


def test_waiting_takes_as_long_as_it_may(client, wshandler, stuck):
    """Also for all clients, and at the end of a block."""
    with (
        pytest.raises(TimedOut, match=r"did not answer the close in 0\.1 s"),
        client.websocket_connect("/stuck", timeout=0.1) as ws,
    ):
        ws.send("stay")
        with pytest.raises(TimedOut, match=r"Stuck\.on_message has not come to an end in 0\.2 s"):
            ws.receive_all(timeout=0.2)
        with pytest.raises(TimedOut, match=r"Stuck\.on_message has not come to an end in 0\.2 s"):
            wshandler.settle(timeout=0.2)
    stuck.let_go.set()


@pytest.mark.parametrize(
    ("timeout", "error"), [(None, TypeError), ("1", TypeError), (float("nan"), ValueError)]
)
def test_timeouts_are_numbers(client, timeout, error):
    """What is none is named, and nothing is done."""
    match = f"a timeout is a number of seconds, not {timeout!r}"
    with client.websocket_connect("/echo") as ws:
        for call in (ws.receive, ws.receive_json, ws.receive_all, ws.wait_closed, ws.abort):
            with pytest.raises(error, match=match):
                call(timeout=timeout)
        with pytest.raises(error, match=match):
            ws.close(timeout=timeout)
        with pytest.raises(error, match=match):
            ws.send("hi", timeout=timeout)
        with pytest.raises(error, match=match):
            client.websocket_connect("/echo", timeout=timeout)
        assert ws.receive_all() == []
        assert not ws.closed


def test_time_in_which_nothing_can_happen_does_not_count():
    """A machine that stands still for seconds makes nobody late."""
    patience = Patience(0.25)
    for left_s in (0.15, 0.05, -0.05):
        time.sleep(0.12)  # as if the process had not run
        assert patience.look() == pytest.approx(left_s)


def test_connecting_waits_for_on_open(client, stuck):
    """For a time; the client is gone after that."""
    with pytest.raises(TimedOut, match=r"on_open did not end in 0\.1 s.*Stuck\.on_open"):
        client.websocket_connect("/stuck?in=open", timeout=0.1)
    stuck.let_go.set()


def test_refused_messages_close(client):
    """What no callback takes: 1003; what is too large: 1009."""
    with client.websocket_connect("/echo") as ws:
        ws.send("x" * (2**20 + 1))
        assert ws.wait_closed() == 1009


def test_slow_client_is_one_that_does_not_receive(app, client):
    """Nothing reads behind the test's back, so a queue fills up: 1013."""
    with client.websocket_connect("/chat?name=slow") as slow:
        with client.websocket_connect("/chat") as quick:
            for _ in range(30):
                quick.send("x" * 100_000)
                assert len(quick.receive()) == len("nobody: ") + 100_000
        assert slow.wait_closed() == 1013


@pytest.mark.parametrize("compresses", [True, False])
def test_compression_is_the_apps_decision(compresses):
    """The client offers it, as browsers do."""
    app = create_app(WSHANDLER_COMPRESSION=compresses)
    client = WebSocketClient(app)
    with client.websocket_connect("/echo") as ws:
        assert ws.is_compressed is compresses
        ws.send("x" * 10_000)
        assert ws.receive() == "x" * 10_000
    with client.websocket_connect("/echo", compression=False) as ws:
        assert not ws.is_compressed


def test_functions(client):
    """flask-sock's, with an argument from the URL."""
    with client.websocket_connect("/function/ann") as ws:
        ws.send("hi")
        assert ws.receive() == "ann: hi"
        ws.send("bye")
        assert ws.wait_closed() == 4002
        assert ws.close_reason == "enough"


@pytest.mark.parametrize("leave", ["close", "abort", "block"])
def test_the_end_of_a_client_waits_for_its_function(app, leave):
    """What it does when the client has gone is done, and its request is over."""
    done = []
    wait_a_moment = threading.Event().wait  # so that whoever did not wait would be too early

    @sockets_of(app).route("/slow-to-leave")
    def slow_to_leave(ws):
        try:
            ws.receive()
        finally:
            wait_a_moment(0.1)
            done.append("returned")

    app.teardown_request(lambda error: done.append("torn down"))
    ws = app.test_client().websocket_connect("/slow-to-leave")
    with ws if leave == "block" else contextlib.nullcontext():
        assert done == []
    if leave != "block":
        getattr(ws, leave)()
    assert done == ["returned", "torn down"]


def test_a_function_that_goes_on_without_its_client(app, stuck):
    """Is waited for as long as the client has patience, and is no failure."""

    @sockets_of(app).route("/goes-on")
    def goes_on(ws):
        stuck.let_go.wait(DEADLINE_S)

    ws = app.test_client().websocket_connect("/goes-on")
    ws.close(timeout=0.2)
    stuck.let_go.set()
    wait_for(lambda: not ws.served.runs_a_function)


def sockets_of(app):
    """A `WebSockets` object more."""
    sockets = WebSockets()
    sockets.init_app(app)
    return sockets


def test_function_that_receives_nothing_holds_the_client_up(client):
    """By the socket, as TCP does: `send` says so."""
    with client.websocket_connect("/function/ann") as ws:
        for number in range(200):
            ws.send(str(number))
        assert [ws.receive() for _ in range(200)][-1] == "ann: 199"
