"""A client that loses the network and comes back: what it, its handler and others see."""

import threading
import time

import pytest
from flask import Flask, abort, g, request, session

from flask_wshandler import (
    WebSocketCollection,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
)
from flask_wshandler.testing import (
    ConnectionClosed,
    HandshakeRefused,
    TimedOut,
    enable,
    worker_of,
)
from tests.deadlines import DEADLINE_S

room = WebSocketCollection("room of those that come back")


class Noting(WebSocketHandler):
    """Notes what happens to it, and answers with what it was sent and with what number."""

    def __init__(self, events):
        self.events = events

    def on_open(self):
        self.events.append("open")
        room.add(self, name="ann")

    def on_message(self, message):
        self.events.append(message)
        if message == "raise":
            raise LookupError("as it was told")
        if message.startswith("close "):
            self.close(int(message.removeprefix("close ")))
        else:
            self.send(f"{message} is number {self.message_number}")

    def on_away(self):
        self.events.append("away")

    def on_back(self):
        self.events.append("back")

    def on_close(self):
        self.events.append(f"close {self.close_code}")


class Other(Noting):
    """Another class."""


def create_app(**settings):
    """One app; all of one `events` note in that."""
    app = Flask(__name__)
    app.config.update(TESTING=True, SECRET_KEY="of tests", **settings)
    sockets = WebSockets(app)
    app.events = []

    @app.get("/noting")
    def noting():
        if session.get("is_banned"):
            abort(403, "banned")
        kind = Other if session.get("is_other") else Noting
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        app.offered = offered
        chosen = "chat.v2" if "chat.v2" in offered else None
        return accept_websocket_request(kind(app.events), subprotocol=chosen)

    @sockets.route("/function")
    def function(ws):
        count = 0
        while True:
            message = ws.receive()
            count += 1
            ws.send(f"{count}: {message}")

    return app


@pytest.fixture(params=["epoll", "blocking"])
def app(request):
    return create_app(WSHANDLER_TRANSPORT=request.param)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def events(app):
    return app.events


def test_without_a_cut_it_is_a_client_as_any_other(client, events):
    """The subprotocol shows nowhere: not in messages, in what was agreed on, to the app."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.send("hi")
        assert ws.receive() == "hi is number 1"
        assert ws.subprotocol is None
        assert (ws.was_resumed, ws.was_lost, ws.closed) == (False, False, False)
        assert client.application.offered == ""
    assert events == ["open", "hi", "close 1000"]


def test_the_handler_goes_on(client, events):
    """It is told of both, in their order; the numbers go on."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.send("one")
        ws.cut()
        assert events == ["open", "one", "away"]
        assert (ws.closed, ws.close_code) == (False, None)
        assert ws.come_back() is True
        assert events == ["open", "one", "away", "back"]
        assert (ws.was_resumed, ws.was_lost) == (True, False)
        ws.send("two")
        assert [ws.receive(), ws.receive()] == ["one is number 1", "two is number 2"]
    assert events == ["open", "one", "away", "back", "two", "close 1000"]


def test_messages_meanwhile(client, events):
    """Those to the client come at its return, and its own are sent then; each once, in order."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.cut()
        with client.application.app_context():
            room.broadcast("news")
            room.broadcast(b"more")
        ws.send("one")
        ws.send("two")
        assert events == ["open", "away"]
        with pytest.raises(TimedOut, match="away: come_back"):
            ws.receive()
        assert ws.come_back()
        assert events == ["open", "away", "back", "one", "two"]
        expected = ["news", b"more", "one is number 1", "two is number 2"]
        assert ws.receive_all() == expected


def test_what_a_client_has_not_read_comes_again(client, wshandler):
    """Messages that the network has swallowed, and those that have come before once only."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.send("one")
        assert ws.receive() == "one is number 1"
        ws.go_silent()
        with client.application.app_context():
            room.broadcast("swallowed")
        wshandler.settle()
        ws.go_silent()
        ws.cut()
        assert ws.come_back()
        assert ws.receive_all() == ["swallowed"]


def test_what_had_come_before_the_cut_can_be_received(client):
    """While it is away, too."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.send("one")
        ws.cut()
        assert ws.receive() == "one is number 1"
        ws.come_back()
        assert ws.receive_all() == []


def test_many_messages_and_many_cuts(client):
    """More than are acknowledged at once; whatever was on its way."""
    sent = [f"{number}" for number in range(400)]
    received = []
    with client.websocket_connect("/noting", resumable=True) as ws:
        for number, message in enumerate(sent):
            ws.send(message)
            if number % 90 == 50:
                ws.cut()
            if number % 90 == 70:
                assert ws.come_back()
            if number % 30 == 0:
                received += ws.receive_all()
        ws.cut()
        assert ws.come_back()
        received += ws.receive_all()
    assert received == [f"{each} is number {n}" for n, each in enumerate(sent, 1)]


def test_come_back_before_the_loss_is_noticed(client, events):
    """The server has still the old network connection: no callback tells of it."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.go_silent()
        assert ws.come_back()
        ws.send("hi")
        assert ws.receive() == "hi is number 1"
    assert events == ["open", "hi", "close 1000"]


def test_silence_is_a_loss(client, wshandler, events):
    """After the time for a pong."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        wshandler.clock.advance(60)
        assert ws.ping_count == 3
        assert events == ["open"]
        ws.go_silent()
        wshandler.clock.advance(45)
        assert events == ["open", "away"]
        assert ws.come_back()
    assert events == ["open", "away", "back", "close 1000"]


def test_a_member_stays_one(app, client):
    """Of collections and of their presence, until its time is over."""
    with app.app_context(), client.websocket_connect("/noting", resumable=True) as ws:
        [before] = room.presence()
        ws.cut()
        assert (len(room), room.count(), room.presence()) == (1, 1, [before])
        ws.come_back()
        assert room.presence() == [before]
        ws.cut()
        worker_of(app).clock.advance(61)
        assert (len(room), room.presence()) == (0, [])


def test_time_runs_out(client, wshandler, events):
    """By the clock of the test; the next return is to another handler, which knows that."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.send("one")
        wshandler.clock.advance(1.2)  # it is acknowledged
        ws.cut()
        wshandler.clock.advance(59)
        assert events == ["open", "one", "away"]
        wshandler.clock.advance(1.2)
        assert events == ["open", "one", "away", "close 1006"]
        assert (ws.closed, ws.close_code, ws.wait_closed()) == (True, 1006, 1006)
        assert ws.come_back() is False
        assert (ws.was_resumed, ws.was_lost, ws.closed) == (False, True, False)
        assert ws.receive() == "one is number 1"
        ws.send("two")
        assert ws.receive() == "two is number 2"
    assert events[4:] == ["open", "two", "close 1000"]


def test_what_is_not_acknowledged_is_repeated(client, wshandler, events):
    """To a new handler, by which it is told from others: the number is the same."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.send("one")
        ws.cut()
        wshandler.clock.advance(61)
        assert not ws.come_back()
        assert ws.receive_all() == ["one is number 1"] * 2
    assert events == ["open", "one", "away", "close 1006", "open", "one", "close 1000"]


def test_time_is_waited_for_with_what_it_brings(client, wshandler, monkeypatch):
    """`on_close` tells others, who have heard it when `advance` returns."""
    monkeypatch.setattr(Noting, "on_close", lambda self: room.broadcast("gone"))
    with client.websocket_connect("/noting") as other:
        client.websocket_connect("/noting", resumable=True).cut()
        wshandler.clock.advance(61)
        assert other.receive(timeout=0) == "gone"


@pytest.mark.parametrize("leave", ["close", "abort", "block"])
@pytest.mark.parametrize("is_away", [True, False])
def test_whoever_leaves_is_not_waited_for(client, events, leave, is_away):
    """A client that has been told to go does not come back, and nothing is left of it."""
    ws = client.websocket_connect("/noting", resumable=True)
    if is_away:
        ws.cut()
    if leave == "block":
        with ws:
            pass
    else:
        getattr(ws, leave)()
    is_lost = is_away or leave == "abort"
    away = ["away"] if is_lost else []
    assert events == ["open", *away, "close 1006" if is_lost else "close 1000"]
    assert ws.close_code == (1006 if is_lost else 1000)
    for call in (ws.come_back, ws.receive, lambda: ws.send("late")):
        with pytest.raises(ConnectionClosed):
            call()
    ws.cut()
    ws.close()


def test_guards_are_asked_again(client, events):
    """Who is refused is away as before, and may be let in later."""
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.cut()
        with client.session_transaction() as kept:
            kept["is_banned"] = True
        with pytest.raises(HandshakeRefused, match="banned") as refused:
            ws.come_back()
        assert refused.value.response.status_code == 403
        assert events == ["open", "away"]
        with client.session_transaction() as kept:
            kept["is_banned"] = False
        assert ws.come_back()
    assert events == ["open", "away", "back", "close 1000"]


@pytest.mark.parametrize("other", ["user", "class"])
def test_another_user_gets_another_handler(client, events, wshandler, other):
    """And another class's handler is another; the first one goes on waiting."""
    client.environ_base["REMOTE_USER"] = "ann"
    ws = client.websocket_connect("/noting", resumable=True)
    ws.cut()
    if other == "user":
        client.environ_base["REMOTE_USER"] = "bob"
    else:
        with client.session_transaction() as kept:
            kept["is_other"] = True
    assert ws.come_back() is False
    assert (ws.was_resumed, ws.was_lost) == (False, True)
    assert events == ["open", "away", "open"]
    wshandler.clock.advance(61)
    assert events == ["open", "away", "open", "close 1006"]
    ws.close()


@pytest.mark.parametrize(
    ("name", "value"), [("flask_httpauth_user", str), ("_jwt_extended_jwt", dict)]
)
def test_another_user_of_an_extension_gets_another_handler(app, client, events, name, value):
    """Flask-HTTPAuth and Flask-JWT-Extended keep in `g` whom they have admitted."""
    users = iter(["ann", "ann", "bob"])

    @app.before_request
    def admit():
        user = next(users)
        setattr(g, name, user if value is str else {"sub": user, "iat": time.time()})

    ws = client.websocket_connect("/noting", resumable=True)
    ws.cut()
    assert ws.come_back() is True
    ws.cut()
    assert ws.come_back() is False
    ws.close()


@pytest.mark.parametrize(
    ("code", "is_to_stay_away", "is_lost"),
    [
        (1000, True, False),
        (4001, True, False),
        (1012, False, False),
        (1014, False, True),
        (4000, False, True),
    ],
)
def test_codes_of_the_server(client, events, code, is_to_stay_away, is_lost):
    """After some a client comes back, to a new handler; what it says is kept.

    They are those of the Python client. After 1012 it knows that it has everything.
    """
    with client.websocket_connect("/noting", resumable=True) as ws:
        ws.send(f"close {code}")
        assert ws.wait_closed() == code
        if is_to_stay_away:
            with pytest.raises(ConnectionClosed, match=str(code)):
                ws.come_back()
            with pytest.raises(ConnectionClosed, match=str(code)):
                ws.send("late")
            return
        ws.send("kept")
        assert ws.come_back() is False
        assert (ws.was_resumed, ws.was_lost, ws.closed) == (False, is_lost, False)
        assert ws.receive() == "kept is number 2"
    assert events == ["open", f"close {code}", f"close {code}", "open", "kept", "close 1000"]


def test_where_clients_can_not_come_back(events):
    """By WSHANDLER_RESUME_S: a cut is the end of the handler, and the client connects anew."""
    app = create_app(WSHANDLER_RESUME_S=0)
    with app.test_client().websocket_connect("/noting", resumable=True) as ws:
        ws.send("one")
        assert ws.receive() == "one is number 1"
        ws.cut()
        assert app.events == ["open", "one", "close 1006"]
        ws.send("kept")
        assert ws.come_back() is False
        assert (ws.was_resumed, ws.was_lost) == (False, True)
        assert ws.receive() == "kept is number 1"


def test_subprotocols(client):
    """The application's are agreed on as ever, each time."""
    offered = ["chat.v1", "chat.v2"]
    with client.websocket_connect("/noting", resumable=True, subprotocols=offered) as ws:
        assert ws.subprotocol == "chat.v2"
        ws.cut()
        assert ws.come_back()
        assert ws.subprotocol == "chat.v2"
        assert client.application.offered == "chat.v1, chat.v2"


def test_compression():
    """A return agrees on it anew."""
    app = create_app(WSHANDLER_COMPRESSION=True)
    with app.test_client().websocket_connect("/noting", resumable=True) as ws:
        for _ in range(2):
            assert ws.is_compressed
            ws.send("x" * 1000)
            ws.cut()
            assert ws.come_back()
            assert len(ws.receive()) > 1000


def test_a_function_goes_on(client):
    """In its thread, which notices nothing."""
    with client.websocket_connect("/function", resumable=True) as ws:
        ws.send("a")
        assert ws.receive() == "1: a"
        ws.cut()
        ws.send("b")
        assert ws.come_back()
        assert ws.receive() == "2: b"


def test_what_callbacks_raise_is_raised(client, events, monkeypatch):
    """Whenever it was, and by whichever network connection the client is there."""
    ws = client.websocket_connect("/noting", resumable=True)
    ws.cut()
    ws.send("raise")
    ws.come_back()
    with pytest.raises(LookupError, match="as it was told"):
        ws.receive()
    monkeypatch.setattr(Noting, "on_away", lambda self: 1 / 0)
    ws = client.websocket_connect("/noting", resumable=True)
    with pytest.raises(ZeroDivisionError):
        ws.cut()
    assert ws.close_code == 1006
    assert events[-1] == "close 1011"


def test_a_cut_amid_a_callback(client, monkeypatch):
    """`cut` waits for it, but not for ever."""
    let_go = threading.Event()
    monkeypatch.setattr(Noting, "on_message", lambda self, message: let_go.wait(DEADLINE_S))
    ws = client.websocket_connect("/noting", resumable=True)
    ws.send("stay")
    with pytest.raises(TimedOut, match=r"on_away did not end in 0.1 s.*is away.*is running"):
        ws.cut(timeout=0.1)
    let_go.set()
    assert ws.come_back()
    ws.close()


def test_other_clients_can_not(client):
    """They are as ever."""
    with client.websocket_connect("/noting") as ws:
        for call in (ws.cut, ws.come_back):
            with pytest.raises(RuntimeError, match="resumable=True"):
                call()


def second_app(app):
    """The app of another process, which notes in the same list."""
    second = create_app(
        **app.config.get_namespace("WSHANDLER_", lowercase=False, trim_namespace=False)
    )
    second.events = app.events
    return second


def test_to_another_process(app, client, wshandler, events):
    """On the pollers the handler goes on; else another one does, which knows all that it has."""
    is_passed = app.config["WSHANDLER_TRANSPORT"] == "epoll"
    with wshandler.other_process(lambda: second_app(app)) as second:
        other = second.app.test_client()
        with client.websocket_connect("/noting", resumable=True) as ws:
            ws.send("one")
            ws.cut()
            with app.app_context():
                room.broadcast("news")
            ws.send("two")
            assert ws.come_back(client=other) is is_passed
            assert ws.was_lost is False
            came = ["one is number 1", "news", "two is number 2"]
            assert ws.receive_all() == came
            ws.cut()
            assert ws.come_back(client=client) is is_passed
            assert ws.was_lost is False
    if is_passed:
        assert events == ["open", "one", "away", "back", "two", "away", "back", "close 1000"]


def test_of_a_process_that_has_ended(app, client, wshandler):
    """Its clients are told, and begin anew."""
    with wshandler.other_process(lambda: second_app(app)) as second:
        ws = second.websocket_connect("/noting", resumable=True)
        away = second.websocket_connect("/noting", resumable=True)
        away.cut()
    assert ws.closed
    with pytest.raises(ConnectionClosed):
        away.come_back(client=client)


def test_nothing_is_left(app, client):
    """Neither of one that is away, at the app's end."""
    ws = client.websocket_connect("/noting", resumable=True)
    ws.cut()
    worker_of(app).close()
    assert app.events == ["open", "away", "close 1006"]
    assert ws.close_code == 1006


def test_without_pytest():
    """By `enable` and `worker_of`."""
    app = create_app()
    enable(app)
    worker = worker_of(app)
    with worker.websocket_connect("/noting", resumable=True) as ws:
        ws.cut()
        worker.clock.advance(30)
        assert ws.come_back()
    worker.close()


def test_what_comes_amid_a_return_comes_once(app, client):
    """By the new network connection: the offer has said what was taken by the old one."""
    is_back = threading.Event()

    @app.before_request
    def tell_news():
        if is_back.is_set():
            room.broadcast("news")
            worker_of(app).settle()

    with client.websocket_connect("/noting", resumable=True) as ws:
        is_back.set()
        assert ws.come_back()
        assert ws.receive_all() == ["news"]
